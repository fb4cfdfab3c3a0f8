"""What is read from a message: exactly what was written, or one line."""

from __future__ import annotations

import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from rolora.adapter import Layer
from rolora.deployment import protocol, support
from rolora.deployment.protocol import TrainReply, TrainRequest
from rolora.federation import ServerState, UpdateError, communication

CPU = torch.device("cpu")


def message(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return communication.Message(
        {
            "A": {"one": torch.randn(4, 2, generator=generator).to(dtype)},
            "B": {"one": torch.randn(2, 3, generator=generator)},
        },
        head={"classifier.bias": torch.tensor([float("inf"), -0.0])},
        residual={"one.added.0": torch.ones(4, 2)},
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_tensors_keep_their_bits(dtype):
    sent = message(dtype)
    found = protocol.decode(protocol.encode(sent), CPU)
    assert sorted(one[:2] for one in found.arrays()) == sorted(one[:2] for one in sent.arrays())
    again = {one[:2]: one[2] for one in found.arrays()}
    for part, name, array in sent.arrays():
        assert again[part, name].dtype == array.dtype
        assert torch.equal(again[part, name], array)


def test_headers_keep_their_bits():
    answer = TrainReply(protocol=1, round=3, client=2, weight=1 / 3, loss=0.1 + 0.2)
    assert protocol.header_of(protocol.content(answer), TrainReply) == answer
    lost = TrainReply(protocol=1, round=3, client=2, weight=1.0, loss=float("nan"))
    assert str(protocol.header_of(protocol.content(lost), TrainReply).loss) == "nan"


def test_a_large_blob_travels_in_pieces():
    """Flower's array is cut where one request would be too large."""
    large = communication.Message({"A": {"one": torch.arange(2_000_000, dtype=torch.float32).reshape(1000, 2000)}})
    found = protocol.content(TrainReply(protocol=1, round=0, client=0), large)
    assert protocol.TENSORS in found.array_records
    assert torch.equal(protocol.tensors_of(found, CPU).factors["A"]["one"], large.factors["A"]["one"])


@given(st.binary(max_size=300), st.integers(0, 10_000))
def test_whatever_the_bytes_are_it_is_one_line(noise, place):
    """Noise, a blob cut off, a blob with some bytes replaced: tensors of known parts, or an UpdateError."""
    blob = protocol.encode(message())
    place %= len(blob)
    for bytes_ in (noise, blob[:place], blob[:place] + noise + blob[place + len(noise) :]):
        try:
            found = protocol.decode(bytes_, CPU)
        except UpdateError as error:
            assert "\n" not in str(error)
        else:
            assert {part for part, _, _ in found.arrays()} <= {"A", "B", "head", "residual"}


@given(st.text(max_size=60))
def test_whatever_the_header_is_it_is_one_line(text):
    with pytest.raises(UpdateError) as caught:
        protocol.header_of(RecordDict({protocol.HEADER: ConfigRecord({"json": text})}), TrainRequest)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ({}, "a message without tensors"),
        (
            {"tensors": ArrayRecord({"all": Array("float32", (1,), "numpy.ndarray", b"\x93NUMPY")})},
            "expected safetensors",
        ),
        ({"tensors": ArrayRecord({"all": Array("uint8", (1,), "safetensors", b"\x80\x04K\x01.")})}, "no safetensors"),
    ],
)
def test_no_other_kind_of_bytes_is_read(records, said):
    with pytest.raises(UpdateError, match=said):
        protocol.tensors_of(RecordDict(records), CPU)


def test_a_digest_is_of_every_bit():
    layer = Layer(torch.zeros(3, 2), torch.zeros(2, 3))
    states = [
        ServerState({"one": layer}),
        ServerState({"two": layer}),
        ServerState({"one": Layer(torch.zeros(3, 2), -torch.zeros(2, 3))}),
        ServerState({"one": Layer(torch.zeros(3, 2), torch.zeros(2, 3), torch.zeros(3, 3))}),
        ServerState({"one": Layer(torch.zeros(3, 2), torch.zeros(2, 3).double())}),
        ServerState({"one": layer}, {"bias": torch.zeros(1)}),
    ]
    assert len({protocol.digest(state) for state in states}) == len(states)
    # What stays at the server is no part of what a client starts from.
    assert protocol.digest(
        ServerState({"one": Layer(layer.A, layer.B, memory={"m": torch.ones(1)})})
    ) == protocol.digest(states[0])


def test_every_method_is_judged():
    found = {verdict.method: verdict for verdict in support.table()}
    assert {name for name, verdict in found.items() if not verdict.deployable} == {
        "fedsa-lora",
        "local-only",
        "centralised",
    }
    assert all(verdict.needs != "what no one has looked into" for verdict in found.values() if verdict.deployable)
    assert found["rolora"].sums_suffice
    assert found["ffa-lora"].sums_suffice
    assert not found["flexlora"].sums_suffice
    assert not found["flora"].sums_suffice
