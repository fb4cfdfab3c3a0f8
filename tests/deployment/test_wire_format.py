"""An update as bytes: what is written is read, and a thousand faulty updates and byte strings are refused or harmless."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from rolora.adapter import FACTORS
from rolora.algorithms import ALGORITHMS
from rolora.deployment.wire import MOST_HEADER, PRELUDE, PROTOCOL, decode, encode
from rolora.federation import UpdateError, close_round, open_round, pack
from rolora.federation.acceptance import Acceptance, accept
from rolora.federation.communication import Ledger, Message
from tests.federation.test_round import perturbing, state

EXAMPLES = 500  # of each of the two fuzzers

RULES = Acceptance(minimum_clients=1, norm_bound=50.0, finite_loss=True, declared={"backbone": "abc"})


def in_single(server):
    """A server's state in float32, as adapters are."""
    layers = {
        name: replace(layer, A=layer.A.astype(np.float32), B=layer.B.astype(np.float32))
        for name, layer in server.layers.items()
    }
    return replace(server, layers=layers, head={name: x.astype(np.float32) for name, x in server.head.items()})


def round_of(name="rolora", t=0, clients=(0, 1, 2)):
    """A round of an algorithm, and good updates for it."""
    server, algorithm = in_single(state()), ALGORITHMS[name]()
    opened = open_round(t, server, algorithm, list(clients), Ledger())
    update = perturbing(algorithm)
    return (
        server,
        algorithm,
        opened,
        [
            replace(
                single(update(t, client, opened.broadcasts[client], opened.trainable)), declared={"backbone": "abc"}
            )
            for client in clients
        ],
    )


def single(update):
    message = update.message
    factors = {f: {name: x.astype(np.float32) for name, x in xs.items()} for f, xs in message.factors.items()}
    return replace(
        update, message=Message(factors, {name: x.astype(np.float32) for name, x in message.head.items()}), kept={}
    )


def arrays(update):
    return {(part, name): array for part, name, array in update.message.arrays()}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_what_is_written_is_read(dtype):
    message = Message({"B": {"q.0": np.arange(6, dtype=dtype).reshape(2, 3).T, "é|v": np.zeros((0, 3), dtype)}})
    sent = replace(round_of()[3][1], message=message, weight=1 / 3, loss=0.1)
    found = decode(encode(sent))
    assert (found.client, found.round, found.weight, found.loss, found.declared) == (1, 0, 1 / 3, 0.1, sent.declared)
    assert arrays(found).keys() == arrays(sent).keys()
    for place, array in arrays(found).items():
        assert np.array_equal(array, arrays(sent)[place])
        assert array.dtype == np.dtype(dtype).newbyteorder("=")
        assert array.flags.writeable
    assert encode(sent) == encode(replace(sent))
    assert math.isnan(decode(encode(replace(sent, loss=math.nan))).loss)


def test_torch_tensors_travel_too_and_come_back_as_the_server_has_them():
    tensor = torch.arange(6, dtype=torch.float32).reshape(2, 3).T
    sent = replace(round_of()[3][0], message=Message({"B": {"q": tensor}}))
    found = decode(encode(sent), convert=torch.from_numpy).message.factors["B"]["q"]
    assert torch.equal(found, tensor)
    assert found.dtype == tensor.dtype
    bfloat = replace(sent, message=Message({"B": {"q": tensor.bfloat16()}}))
    with pytest.raises(UpdateError, match=r"^client 0, round 0: B of q is torch.bfloat16, expected float32, float64"):
        encode(bfloat)


def test_a_decoded_round_is_the_round():
    server, algorithm, opened, updates = round_of()
    here, _, report = close_round(opened, server, algorithm, accept(opened, updates, algorithm, RULES), Ledger())
    received = [decode(encode(update)) for update in updates]
    there, _, again = close_round(opened, server, algorithm, accept(opened, received, algorithm, RULES), Ledger())
    assert report == again
    parts = frozenset({*FACTORS, "head"})
    for (_, _, one), (_, _, other) in zip(pack(here, parts).arrays(), pack(there, parts).arrays(), strict=True):
        assert np.array_equal(one, other)


def sealed(header, tensors=b"", *, magic=b"RoLoRA", protocol=PROTOCOL, length=None):
    """Bytes whose digest is right, whatever is in them."""
    content = header + tensors
    length = len(header) if length is None else length
    return PRELUDE.pack(magic, protocol, length, hashlib.sha256(content).digest()) + content


GOOD = {"client": 1, "round": 0, "weight": 1.0, "loss": 0.5, "declared": {"backbone": "abc"}}
NO_TENSORS = save({})


def header(**fields):
    return json.dumps(GOOD | fields).encode()


def tensors_of(table, content=b""):
    """A safetensors content with any table of tensors."""
    text = json.dumps(table).encode()
    return len(text).to_bytes(8, "little") + text + content


def at(dtype, shape, end):
    return {"B|q": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "0 bytes, expected at least 44"),
        (b"\x80\x04\x95" + bytes(60), "begins with 800495"),  # as a pickle does
        (sealed(header(), NO_TENSORS, protocol=2), "protocol 2, expected 1; client and server are of different"),
        (sealed(header(), NO_TENSORS, length=10**9), "a header of 1000000000 bytes"),
        (sealed(b" " * (MOST_HEADER + 1)), f"a header of {MOST_HEADER + 1} bytes, expected at most {MOST_HEADER}"),
        (sealed(header(), NO_TENSORS)[:-1] + b"x", "its digest differs"),
        (sealed(b"[" * 60_000), "not JSON"),
        (sealed(b"\xff\xfe"), "not JSON"),
        (sealed(b'{"client": NaN}'), "NaN is no JSON"),
        (sealed(b"7" * 6000), "not JSON"),
        (sealed(b"[]"), "other fields, expected client, declared, loss, round, weight"),
        (sealed(header(more=1)), "other fields"),
        (sealed(header(client=True)), "client is True, expected a whole number"),
        (sealed(header(client=-1)), "client is -1"),
        (sealed(header(round="0")), "round is 0, expected a whole number"),
        (sealed(header(weight="1")), "weight 1 is not a positive number"),
        (sealed(header(weight=0)), "weight 0 is not"),
        (sealed(header(weight=10**400)), "is not a positive number"),
        (sealed(header(loss=10**400)), "loss 1000"),
        (sealed(header().replace(b"0.5", b"1e999")), "loss is inf"),
        (sealed(header(declared={"a": 1})), "expected texts by name"),
        (sealed(header(), b"not safetensors"), "its tensors are not safetensors"),
        (sealed(header(), (2**60).to_bytes(8, "little") + b"{}"), "its tensors are not safetensors"),
        (sealed(header(), tensors_of(at("F32", [2], 8))), "its tensors are not safetensors"),
        (sealed(header(), tensors_of(at("F32", [2**40, 2**40], 8), bytes(8))), "its tensors are not safetensors"),
        (sealed(header(), tensors_of(at("F32", [0, 2**62, 2**62], 0))), "safetensors|shape that no array has"),
        (sealed(header(), tensors_of(at("F32", [1] * 100, 4), bytes(4))), "shape that no array has"),
        (sealed(header(), tensors_of(at("BF16", [2], 4), bytes(4))), "is BF16, expected one of F64, F32, F16"),
        (sealed(header(), tensors_of(at("I64", [1], 8), bytes(8))), "is I64, expected"),
        (sealed(header(), save({"residual|q.whole": np.zeros(1)})), "a tensor named residual"),
        (sealed(header(), save({"A": np.zeros(1)})), "a tensor named A, expected PART"),
    ],
)  # fmt: skip
def test_bytes_that_are_no_update_are_one_line(data, words):
    with pytest.raises(UpdateError, match=words) as refusal:
        decode(data)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 300


def test_more_bytes_than_are_expected_are_not_looked_at():
    data = encode(round_of()[3][0])
    assert decode(data, most_bytes=len(data)).client == 0
    with pytest.raises(UpdateError, match=f"{len(data)} bytes, expected at most {len(data) - 1}"):
        decode(data, most_bytes=len(data) - 1)


def test_reading_bytes_loads_no_torch_and_nothing_that_runs_them():
    program = (
        "import sys, rolora.deployment.wire, rolora.federation.acceptance;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'peft')))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0


numbers = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-320, 1e38, -1e38, 3e38, math.nan, math.inf, -math.inf])
weights = st.one_of(st.floats(), st.sampled_from([0.0, -1.0, 2.0**53, 2.0**54, 5e-324]))
dtypes = st.sampled_from(["float32", "float16", "float64", "int64", "int8", "bool", "complex64", "uint8"])
shapes = st.lists(st.integers(0, 7), max_size=4).map(tuple)
names = st.one_of(st.sampled_from(["q", "v", "head.weight", "q.", ""]), st.text(max_size=12))
parts = st.sampled_from(["A", "B", "head", "residual", "C", "memory", ""])


@st.composite
def faulty_updates(draw, good):
    """A good update with up to three changes, of which some do no harm."""
    update = good[draw(st.integers(0, len(good) - 1))]
    factors = {factor: dict(layers) for factor, layers in update.message.factors.items()}
    head, residual, kept = dict(update.message.head), {}, {}
    fields = {}
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(
            st.sampled_from(["field", "value", "array", "missing", "surplus", "frozen", "scale", "kept", "declared"])
        )
        place = factors.setdefault("B", {})
        if kind == "field":
            name = draw(st.sampled_from(["client", "round", "weight", "loss"]))
            whole = st.one_of(st.integers(-2, 4), st.integers())
            fields[name] = draw({"weight": weights, "loss": st.floats()}.get(name, whole))
        elif kind == "value" and "q" in place and place["q"].size and place["q"].dtype.kind == "f":
            place["q"] = place["q"].copy()
            with np.errstate(all="ignore"):
                place["q"].flat[draw(st.integers(0, place["q"].size - 1))] = draw(numbers)
        elif kind == "array":
            place["q"] = np.ones(draw(shapes), draw(dtypes))
        elif kind == "missing":
            draw(st.sampled_from([place, head, factors])).clear()
        elif kind == "surplus":
            part, name = draw(parts), draw(names)
            where = {"head": head, "residual": residual}.get(part)
            (factors.setdefault(part, {}) if where is None else where)[name] = np.ones(draw(shapes), draw(dtypes))
        elif kind == "frozen":
            factors["A"] = {"q": np.ones((6, 2), np.float32), "v": np.ones((6, 2), np.float32)}
        elif kind == "scale" and "v" in place:
            with np.errstate(all="ignore"):
                place["v"] = place["v"] * np.float32(10.0 ** draw(st.integers(-40, 38)))
        elif kind == "kept":
            kept = {draw(names): {draw(parts): np.ones(draw(shapes), draw(dtypes))}}
        elif kind == "declared":
            fields["declared"] = draw(st.dictionaries(st.sampled_from(["backbone", "phase", "x"]), st.text(max_size=9)))
    return replace(update, message=Message(factors, head, residual), kept=kept, **fields)


SERVER, METHOD, OPENED, UPDATES = round_of()
PARTS = frozenset({*FACTORS, "head"})
BEFORE = [array.tobytes() for _, _, array in pack(SERVER, PARTS).arrays()]


def harmless(received):
    """Whether the round goes on with what was received beside two good updates: refused, or taken and in bounds."""
    accepted = accept(OPENED, received, METHOD, RULES)
    for refusal in accepted.refused:
        assert refusal.reason.startswith("client ")
        assert refusal.reason.isprintable()
        assert len(refusal.reason) < 300
        assert all(size >= 0 for size in refusal.bytes_up.values())
    assert len(accepted.updates) >= 2
    after, _, report = close_round(OPENED, SERVER, METHOD, accepted, Ledger())
    assert [array.tobytes() for _, _, array in pack(SERVER, PARTS).arrays()] == BEFORE
    assert all(np.array_equal(after.layers[name].A, layer.A) for name, layer in SERVER.layers.items())
    # Nobody moves the mean farther than the bound, whatever weight it claims.
    moved = [
        (x - y).ravel()
        for (_, _, x), (_, _, y) in zip(pack(after, PARTS).arrays(), pack(SERVER, PARTS).arrays(), strict=True)
    ]
    assert np.linalg.norm(np.concatenate(moved).astype(np.float64)) <= RULES.norm_bound * (1 + 1e-6)
    json.dumps(report.entry(), allow_nan=False)
    return accepted


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(faulty_updates(UPDATES))
def test_fuzzed_updates_are_refused_or_harmless(update):
    others = [good for good in UPDATES if good.client != update.client]
    accepted = harmless([update, *others, *UPDATES])
    event("taken" if any(one is update for one in accepted.updates) else "refused")


@st.composite
def faulty_bytes(draw):
    """Bytes of an update cut, flipped, repeated or made up, with a wrong digest or with one that is right for them."""
    data = bytearray(encode(UPDATES[0]))
    numbers_only = draw(st.booleans())  # the tensors' entries at the end, where any bits are numbers
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(
            st.sampled_from(["flip", "replace"] if numbers_only else ["cut", "flip", "insert", "repeat", "replace"])
        )
        where = draw(st.integers(max(len(data) - 150, 0) if numbers_only else 0, max(len(data) - 10, 0)))
        if kind == "cut":
            del data[where:]
        elif kind == "flip" and data:
            data[where] ^= 1 << draw(st.integers(0, 7))
        elif kind == "insert":
            data[where:where] = draw(st.binary(max_size=9))
        elif kind == "repeat":
            data[where:where] = data[where : where + draw(st.integers(0, 99))]
        elif kind == "replace":
            piece = draw(st.binary(min_size=1, max_size=9))
            data[where : where + len(piece)] = piece
    if draw(st.booleans()) and len(data) > PRELUDE.size:
        data[PRELUDE.size - 32 : PRELUDE.size] = hashlib.sha256(data[PRELUDE.size :]).digest()
    return bytes(data)


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(faulty_bytes())
@example(encode(UPDATES[0]))
def test_fuzzed_bytes_are_refused_or_harmless(data):
    try:
        update = decode(data, most_bytes=2**20)
    except UpdateError as refusal:
        assert str(refusal).isprintable()
        assert len(str(refusal)) < 300
        event("no update")
        return
    event("an update")
    harmless([update, *UPDATES])


def test_the_fuzzers_reach_both_ends():
    """Control: among what they make there is much that is taken and much that is refused, at every stage."""
    found = {"taken": 0, "refused": 0, "no update": 0, "decoded": 0}

    @settings(max_examples=200, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(faulty_updates(UPDATES), faulty_bytes())
    def count(update, data):
        taken = accept(OPENED, [update], METHOD, RULES).updates
        found["taken" if taken else "refused"] += 1
        try:
            decode(data)
            found["decoded"] += 1
        except UpdateError:
            found["no update"] += 1

    count()
    assert min(found.values()) >= 5, found
