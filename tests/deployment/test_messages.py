"""Messages: what is written is read bit for bit; a thousand faulty updates and byte strings are refused or harmless."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from rolora.adapter import FACTORS, Layer
from rolora.algorithms import ALGORITHMS
from rolora.deployment import protocol, support
from rolora.deployment.protocol import MAX_HEADER, ClientHello, TrainReply
from rolora.federation import ClientUpdate, ServerState, UpdateError, close_round, open_round, pack
from rolora.federation.communication import Ledger, Message
from rolora.federation.validation import Acceptance, accept
from tests.federation.test_round import perturbing, state

CPU = torch.device("cpu")
EXAMPLES = 500  # of each of the two fuzzers
EVERYTHING = frozenset({*FACTORS, "head"})
RULES = Acceptance(minimum_clients=1, norm_bound=50.0, finite_loss=True)


def in_torch(message):
    """A message in torch; arrays of float64 in float32, as adapters are."""
    by_part = {part: {} for part, _, _ in message.arrays()}
    for part, name, array in message.arrays():
        by_part[part][name] = torch.as_tensor(array.astype(np.float32) if array.dtype == np.float64 else array)
    others = {part: by_part.pop(part, {}) for part in ("head", "residual")}
    return Message(by_part, **others)


def opened_round():
    """A round of RoLoRA with three clients, and good updates for it; the updates in NumPy, as they are changed below."""
    algorithm, message = ALGORITHMS["rolora"](), in_torch(pack(state(), EVERYTHING))
    layers = {name: Layer(message.factors["A"][name], message.factors["B"][name]) for name in message.factors["A"]}
    server = ServerState(layers, message.head)
    opened = open_round(0, server, algorithm, [0, 1, 2], Ledger())
    start = state()
    updates = [perturbing(algorithm)(0, client, start, opened.trainable) for client in (0, 1, 2)]
    return server, algorithm, opened, [replace(update, kept={}) for update in updates]


SERVER, METHOD, OPENED, UPDATES = opened_round()
GOOD = [replace(update, message=in_torch(update.message)) for update in UPDATES]


def bits(server):
    return [array.numpy().tobytes() for _, _, array in pack(server, EVERYTHING).arrays()]


BEFORE = bits(SERVER)


def one_line(error):
    assert str(error).isprintable()
    assert len(str(error)) < 300


def received(update, **fields):
    """What the server reads of a client's reply that stands for an update."""
    header = TrainReply(protocol=1, client=update.client, round=update.round, weight=update.weight, loss=update.loss)
    content = protocol.content(header.model_copy(update=fields), update.message)
    reply = protocol.header_of(content, TrainReply)
    tensors = protocol.tensors_of(content, CPU, protocol.most_bytes(update.message))
    return ClientUpdate(reply.client, reply.round, reply.weight, tensors, reply.loss)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.float16])
def test_a_message_keeps_its_bits(dtype):
    sent = Message(
        {"A": {"q.0": torch.arange(6).reshape(2, 3).T.to(dtype)}, "B": {"é|v": torch.zeros(0, 3)}},
        head={"classifier.bias": torch.tensor([float("inf"), -0.0, float("nan")])},
        residual={"q.0.added.0": torch.ones(4, 2)},
    )
    given = received(ClientUpdate(2, 3, 1 / 3, sent, 0.1 + 0.2))
    assert (given.client, given.round, given.weight, given.loss) == (2, 3, 1 / 3, 0.1 + 0.2)
    again = {place[:2]: place[2] for place in given.message.arrays()}
    assert len(again) == len(list(sent.arrays()))
    for part, name, array in sent.arrays():
        assert again[part, name].dtype == array.dtype
        assert again[part, name].contiguous().view(torch.uint8).equal(array.contiguous().view(torch.uint8))
    assert math.isnan(received(ClientUpdate(2, 3, 1.0, sent)).loss)


def test_a_received_round_is_the_round():
    closed = []
    for updates in (GOOD, [received(update) for update in GOOD]):
        closed.append(close_round(OPENED, SERVER, METHOD, accept(OPENED, updates, METHOD, RULES), Ledger()))
    assert closed[0][2] == closed[1][2]
    assert bits(closed[0][0]) == bits(closed[1][0]) != BEFORE


def test_a_large_blob_travels_in_pieces():
    """Flower's array is cut where one request would be too large."""
    large = Message({"A": {"one": torch.arange(2_000_000, dtype=torch.float32).reshape(1000, 2000)}})
    content = protocol.content(TrainReply(protocol=1, round=0, client=0), large)
    assert protocol.TENSORS in content.array_records
    assert torch.equal(protocol.tensors_of(content, CPU).factors["A"]["one"], large.factors["A"]["one"])
    with pytest.raises(UpdateError, match=r"tensors of 8000\d+ bytes, expected at most 8000000$"):
        protocol.tensors_of(content, CPU, 8_000_000)


def tensors(table, content=b""):
    """A safetensors blob with any table of tensors."""
    text = json.dumps(table).encode()
    return len(text).to_bytes(8, "little") + text + content


def at(dtype, shape, end):
    return {"B|q": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}}


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (b"", "no safetensors"),
        (b"\x80\x04\x95" + bytes(60), "no safetensors"),  # as a pickle begins
        (b"not safetensors", "no safetensors"),
        ((2**60).to_bytes(8, "little") + b"{}", "no safetensors"),
        (tensors(at("F32", [2], 8)), "no safetensors"),
        (tensors(at("F32", [2**40, 2**40], 8), bytes(8)), "no safetensors"),
        (tensors(at("F32", [0, 2**62, 2**62], 0)), "no safetensors"),
        (tensors(at("F7\n", [1], 8), bytes(8)), "no safetensors"),
        (save({"C|q": torch.zeros(1)}), r"a tensor named C\|q, expected A, B, head or residual"),
        (save({"A": torch.zeros(1)}), "a tensor named A, expected"),
        (save({"A|": torch.zeros(1)}), r"a tensor named A\|, expected"),
        (save({"\x1b[2J" * 99: torch.zeros(1)}), r"a tensor named \\x1b\[2J"),
    ],
)
def test_bytes_that_are_no_tensors_are_one_line(blob, words):
    for content in ({protocol.HEADER: ConfigRecord({"all": blob})}, arrays("safetensors", blob)):
        with pytest.raises(UpdateError, match=words) as refusal:
            protocol.tensors_of(RecordDict(content), CPU)
        one_line(refusal.value)


def arrays(kind, blob):
    return {protocol.TENSORS: ArrayRecord({protocol.BLOB: Array("uint8", (len(blob),), kind, blob)})}


@pytest.mark.parametrize(
    ("content", "words"),
    [({}, "a message without tensors"), (arrays("numpy.ndarray\n", b"\x93NUMPY"), "ndarray.*expected safetensors")],
)
def test_no_other_kind_of_bytes_is_read(content, words):
    with pytest.raises(UpdateError, match=words) as refusal:
        protocol.tensors_of(RecordDict(content), CPU)
    one_line(refusal.value)


REPLY = TrainReply(protocol=1, client=1, round=0, weight=1.0, loss=0.5).model_dump()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no valid header"),
        (b"{}", "no valid header"),
        (" " * (MAX_HEADER + 1), f"at most {MAX_HEADER} characters"),
        ("[" * 60_000, "JSON"),
        ("7" * 6000, "JSON"),
        ("[]", "JSON"),
        ("{}", "protocol"),
        (json.dumps(REPLY | {"more\n": 1}), r"more\\n"),
        (json.dumps(REPLY | {"m" * 9999: 1}), "mmm"),
        (json.dumps(REPLY | {"client": True}), "client"),
        (json.dumps(REPLY | {"client": -1}), "client"),
        (json.dumps(REPLY).replace("1,", "9" * 5000 + ","), "JSON"),
        (json.dumps(REPLY | {"client": 2**53 + 1}), "client"),
        (json.dumps(REPLY | {"round": "0"}), "round"),
        (json.dumps(REPLY | {"weight": "1"}), "weight"),
        (json.dumps(REPLY | {"loss": None}), "loss"),
    ],
)  # fmt: skip
def test_a_header_that_is_none_is_one_line(text, words):
    fields = {} if text is None else {"json": text}
    with pytest.raises(UpdateError, match=words) as refusal:
        protocol.header_of(RecordDict({protocol.HEADER: ConfigRecord(fields)}), TrainReply)
    one_line(refusal.value)


@given(st.text(max_size=60))
def test_whatever_the_header_is_it_is_one_line(text):
    with pytest.raises(UpdateError) as refusal:
        protocol.header_of(RecordDict({protocol.HEADER: ConfigRecord({"json": text})}), ClientHello)
    one_line(refusal.value)


numbers = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-320, 1e38, -1e38, 3e38, math.nan, math.inf, -math.inf])
weights = st.one_of(st.floats(), st.sampled_from([0.0, -1.0, 2.0**53, 2.0**54, 5e-324]))
dtypes = st.sampled_from(["float32", "float16", "int64", "int8", "bool", "complex64", "uint8"])
shapes = st.lists(st.integers(0, 7), max_size=4).map(tuple)
names = st.one_of(st.sampled_from(["q", "v", "head.weight", "q.", ""]), st.text(max_size=12))
parts = st.sampled_from(["A", "B", "head", "residual", "C", "memory", ""])


@st.composite
def faulty_updates(draw):
    """A good update with up to three changes, of which some do no harm."""
    update = UPDATES[draw(st.integers(0, len(UPDATES) - 1))]
    factors = {factor: dict(layers) for factor, layers in update.message.factors.items()}
    head, residual, kept, fields = dict(update.message.head), {}, {}, {}
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["field", "value", "array", "missing", "surplus", "frozen", "scale", "kept"]))
        place = factors.setdefault("B", {})
        if kind == "field":
            name = draw(st.sampled_from(["client", "round", "weight", "loss"]))
            count = st.one_of(st.integers(-2, 4), st.integers())
            fields[name] = draw({"weight": weights, "loss": st.floats()}.get(name, count))
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
                place["v"] = place["v"] * 10.0 ** draw(st.integers(-40, 38))
        elif kind == "kept":
            kept = {draw(names): {draw(parts): torch.ones(draw(shapes))}}
    with np.errstate(all="ignore"):
        return replace(update, message=in_torch(Message(factors, head, residual)), kept=kept, **fields)


def harmless(updates):
    """Close the round with updates of which two are good: the others are refused, or taken and in bounds."""
    accepted = accept(OPENED, updates, METHOD, RULES)
    for refusal in accepted.refused:
        assert refusal.reason.startswith("client ")
        one_line(refusal.reason)
        assert all(size >= 0 for size in refusal.bytes_up.values())
    assert len(accepted.updates) >= 2
    after, _, report = close_round(OPENED, SERVER, METHOD, accepted, Ledger())
    assert bits(SERVER) == BEFORE
    assert all(torch.equal(after.layers[name].A, layer.A) for name, layer in SERVER.layers.items())
    # Nobody moves the mean farther than the bound, whatever weight it claims.
    pairs = zip(pack(after, EVERYTHING).arrays(), pack(SERVER, EVERYTHING).arrays(), strict=True)
    moved = torch.cat([(x.double() - y.double()).ravel() for (_, _, x), (_, _, y) in pairs])
    assert float(moved.norm()) <= RULES.norm_bound * (1 + 1e-6)
    json.dumps(report.entry(), allow_nan=False)
    return accepted


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(faulty_updates())
def test_fuzzed_updates_are_refused_or_harmless(update):
    others = [good for good in GOOD if good.client != update.client]
    accepted = harmless([update, *others, *GOOD])
    event("taken" if any(taken is update for taken in accepted.updates) else "refused")


BLOB = protocol.encode(GOOD[0].message)


@st.composite
def faulty_bytes(draw):
    """The bytes of an update's tensors cut, flipped, repeated or made up."""
    blob = bytearray(BLOB)
    entries = draw(st.booleans())  # the tensors' entries at the end, where any bits are numbers
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["flip", "replace"] if entries else ["cut", "flip", "insert", "repeat", "replace"]))
        where = draw(st.integers(max(len(blob) - 150, 0) if entries else 0, max(len(blob) - 10, 0)))
        if kind == "cut":
            del blob[where:]
        elif kind == "flip" and blob:
            blob[where] ^= 1 << draw(st.integers(0, 7))
        elif kind == "insert":
            blob[where:where] = draw(st.binary(max_size=9))
        elif kind == "repeat":
            blob[where:where] = blob[where : where + draw(st.integers(0, 99))]
        elif kind == "replace":
            piece = draw(st.binary(min_size=1, max_size=9))
            blob[where : where + len(piece)] = piece
    return bytes(blob)


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(st.one_of(faulty_bytes(), st.binary(max_size=300)))
@example(BLOB)
def test_fuzzed_bytes_are_refused_or_harmless(blob):
    try:
        message = protocol.decode(blob, CPU, 2**20)
    except UpdateError as refusal:
        one_line(refusal)
        event("no update")
        return
    event("an update")
    harmless([replace(GOOD[0], message=message), *GOOD])


def test_the_fuzzers_reach_both_ends():
    """Control: among what they make there is much that is taken and much that is refused, at every stage."""
    count = {"taken": 0, "refused": 0, "no update": 0, "decoded": 0}

    @settings(max_examples=200, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(faulty_updates(), faulty_bytes())
    def make(update, blob):
        count["taken" if accept(OPENED, [update], METHOD, RULES).updates else "refused"] += 1
        try:
            protocol.decode(blob, CPU)
            count["decoded"] += 1
        except UpdateError:
            count["no update"] += 1

    make()
    assert min(count.values()) >= 5, count


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
    with_memory = ServerState({"one": Layer(layer.A, layer.B, memory={"m": torch.ones(1)})})
    assert protocol.digest(with_memory) == protocol.digest(states[0])


def test_every_method_is_judged():
    methods = {verdict.method: verdict for verdict in support.table()}
    rejected = {name for name, verdict in methods.items() if not verdict.deployable}
    assert rejected == {"fedsa-lora", "local-only", "centralised"}
    assert all(verdict.needs != "not examined" for verdict in methods.values() if verdict.deployable)
    assert [methods[name].sums_suffice for name in ("rolora", "ffa-lora", "flexlora", "flora")] == [
        True, True, False, False,
    ]  # fmt: skip
