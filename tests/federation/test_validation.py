"""Validation before aggregation (law 11): who is refused and why, that the round goes on, and what that costs."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from rolora.adapter import FACTORS
from rolora.algorithms import ALGORITHMS
from rolora.errors import InputError
from rolora.experiment import loop
from rolora.experiment.checkpoint import load_checkpoint
from rolora.federation import Accepted, ServerState, UpdateError, close_round, open_round, pack, sent_down
from rolora.federation.communication import Ledger, Message
from rolora.federation.validation import Acceptance, accept, change_norm
from rolora.keys import Key
from rolora.privacy import client_level
from rolora.training.engines import ENGINES
from tests.config.test_config import write
from tests.conftest import changed
from tests.experiment.test_experiment import Stop, adapter, measured, stop_after
from tests.federation.test_round import perturbing, state
from tests.training.test_distributed import Launch


def opened_and_answered(name="rolora", clients=(0, 1, 2, 3, 4), t=0, ledger=None, server=None):
    server, algorithm = server or state(), ALGORITHMS[name]()
    opened = open_round(t, server, algorithm, list(clients), ledger or Ledger())
    update = perturbing(algorithm)
    return (
        server,
        algorithm,
        opened,
        [update(t, client, opened.broadcasts[client], opened.trainable) for client in clients],
    )


def with_b(update, **arrays):
    """The update with other arrays of B."""
    factors = dict(update.message.factors) | {"B": dict(update.message.factors["B"]) | arrays}
    return replace(update, message=replace(update.message, factors=factors))


def bit_flipped(update):
    frozen = {"A": {name: np.ones((6, 2)) for name in ("q", "v")}}
    return replace(update, message=replace(update.message, factors=dict(update.message.factors) | frozen))


FAULTS = {
    "weight of nothing": (lambda u: replace(u, weight=0.0), "weight 0.0 is not a positive number"),
    "weight without end": (lambda u: replace(u, weight=math.inf), "weight inf is not"),
    "weight of all": (lambda u: replace(u, weight=1e300), "weight 1e+300 is not"),
    "another round": (lambda u: replace(u, round=7), "the update is of client 1, round 7"),
    "a frozen factor": (bit_flipped, "A of q was sent but is frozen or unknown"),
    "no tensors": (lambda u: replace(u, message=Message({})), "B of q is missing"),
    "another layer": (lambda u: with_b(u, **{"q\x1b[2J\n": np.ones(1)}), r"B of q\x1b[2J\n was sent but"),
    "shape": (lambda u: with_b(u, q=np.ones((2, 5))), "B of q is (2, 5) float64, expected (2, 6) float64"),
    "dtype": (lambda u: with_b(u, q=np.ones((2, 6), np.float16)), "float16, expected"),
    "no array": (lambda u: with_b(u, q=[[1.0] * 6] * 2), "B of q is a list, expected an array"),
    "nan": (lambda u: with_b(u, v=np.full((2, 6), np.nan)), "B of v has a value that is not finite"),
    "personal": (lambda u: replace(u, kept={"q": {"A": np.ones((6, 2))}}), "A of q was kept but"),
    "loss": (lambda u: replace(u, loss=math.nan), "loss nan is not a finite number"),
    "norm": (lambda u: with_b(u, q=np.full((2, 6), 1e3)), "the update's norm is"),
    "beyond products": (lambda u: with_b(u, q=np.full((2, 6), 1e200)), "B of q has a value beyond 1.2e+77"),
}
RULES = Acceptance(minimum_clients=2, norm_bound=100.0, finite_loss=True)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_client_is_named_and_the_round_goes_on_with_the_rest(fault):
    """What the server then has is, bit for bit, what it has if the client was never asked."""
    breaking, words = FAULTS[fault]
    server, algorithm, opened, updates = opened_and_answered()
    assert accept(opened, updates, algorithm, RULES) == Accepted(tuple(updates), ())
    before = pack(server, frozenset({*FACTORS, "head"}))
    before = {(part, name): array.copy() for part, name, array in before.arrays()}
    returned = [updates[0], breaking(updates[1]), *updates[2:]]
    if fault not in ("loss", "norm", "beyond products"):  # without rules the form alone stops the round
        with pytest.raises(UpdateError, match=r"^client 1, round 0: ") as stopped:
            close_round(opened, server, algorithm, returned, Ledger())
        assert words in str(stopped.value)
    accepted = accept(opened, returned, algorithm, RULES)
    (refusal,) = accepted.refused
    assert refusal.client == 1
    assert refusal.reason.startswith("client 1, round 0: ")
    assert words in refusal.reason
    assert refusal.reason.isprintable()
    assert RULES.shortage(opened, accepted) is None
    after, _, report = close_round(opened, server, algorithm, accepted, Ledger())
    without = opened_and_answered(clients=(0, 2, 3, 4))
    expected, _, _ = close_round(without[2], server, algorithm, without[3], Ledger())
    assert same(after, expected)
    assert report.refused == (refusal,)
    assert report.clients == (0, 1, 2, 3, 4)
    assert all(
        np.array_equal(array, before[part, name])
        for part, name, array in pack(server, frozenset({*FACTORS, "head"})).arrays()
    )


def same(one: ServerState, other: ServerState):
    parts = frozenset({*FACTORS, "head"})
    pairs = zip(pack(one, parts).arrays(), pack(other, parts).arrays(), strict=True)
    return all(np.array_equal(mine, its) for (_, _, mine), (_, _, its) in pairs)


def test_strangers_second_updates_and_silence_are_refused_and_order_does_not_matter():
    _, algorithm, opened, updates = opened_and_answered(clients=(3, 1, 4))
    stranger = replace(updates[0], client=9)
    again = with_b(updates[1], q=np.zeros((2, 6)))
    accepted = accept(opened, [stranger, updates[1], again, updates[0]], algorithm)
    assert [update.client for update in accepted.updates] == [3, 1]
    assert accepted.updates[1] is updates[1]
    assert [(refusal.client, refusal.reason) for refusal in accepted.refused] == [
        (9, "client 9, round 0: an update of a client that is not of this round"),
        (1, "client 1, round 0: a second update"),
        (4, "client 4, round 0: no update received"),
    ]
    assert [sum(refusal.bytes_up.values()) > 0 for refusal in accepted.refused] == [True, True, False]


def test_a_refused_client_has_sent_bytes_and_holds_what_it_was_sent():
    server, algorithm, opened, updates = opened_and_answered(clients=(0, 1, 2))
    size = {"A": 2 * 6 * 2 * 8, "B": 2 * 2 * 6 * 8, "head": 3 * 6 * 8}
    accepted = accept(opened, [updates[0], bit_flipped(updates[1])], algorithm, Acceptance(minimum_clients=1))
    after, ledger, report = close_round(opened, server, algorithm, accepted, Ledger())
    # Client 1 has sent the frozen factor too, which is why it was refused; client 2 was silent and may have got nothing.
    assert report.bytes_up == {"A": size["A"], "B": 2 * size["B"], "head": 2 * size["head"]}
    assert report.bytes_joining == {part: 3 * size[part] for part in size}
    messages = [sent_down(after, ledger, client, algorithm) for client in (0, 1, 2, 3)]
    assert [sorted(part for part, _, _ in message.arrays()) for message in messages] == [
        *[["B", "B", "head"]] * 2,
        *[["A", "A", "B", "B", "head"]] * 2,
    ]


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if not ALGORITHMS[name].pooled])
def test_any_method_goes_on_and_keeps_of_a_refused_client_what_it_had(name):
    server, ledger = state(), Ledger()
    for t in range(3):
        server_before, algorithm, opened, updates = opened_and_answered(name, (0, 1, 2), t, ledger, server)
        if algorithm.sent(t):
            part, layers = next(iter(updates[1].message.factors.items()))
            broken = {**updates[1].message.factors, part: {name: array * np.nan for name, array in layers.items()}}
            updates[1] = replace(updates[1], message=replace(updates[1].message, factors=broken))
        else:  # of what local-only sends there is the head alone
            updates[1] = replace(updates[1], round=9)
        accepted = accept(opened, updates, algorithm, Acceptance(minimum_clients=2))
        server, ledger, report = close_round(opened, server, algorithm, accepted, ledger, Key(5))
        assert [refusal.client for refusal in report.refused] == [1]
        assert server.personal.get(1) == server_before.personal.get(1) is None
        assert (2 in server.personal) == bool(algorithm.personal)


def test_the_norm_is_of_all_that_is_sent_and_exactly_at_the_bound_it_is_taken():
    _, algorithm, opened, updates = opened_and_answered(clients=(0,))
    message = updates[0].message
    start = opened.broadcasts[0]
    size = change_norm(message, start)
    expected = [array - start.layers[name].B for name, array in message.factors["B"].items()]
    expected += [array - start.head[name] for name, array in message.head.items()]
    assert size == pytest.approx(np.linalg.norm(np.concatenate([x.ravel() for x in expected])), rel=1e-14)
    assert accept(opened, updates, algorithm, Acceptance(norm_bound=size)).refused == ()
    below = accept(opened, updates, algorithm, Acceptance(norm_bound=np.nextafter(size, 0)))
    assert [refusal.client for refusal in below.refused] == [0]
    # An update that is taken is taken as it is: nothing is clipped.
    assert accept(opened, updates, algorithm, Acceptance(norm_bound=size)).updates[0] is updates[0]


def test_too_few_are_one_line_that_names_three_and_counts_the_rest():
    _, algorithm, opened, updates = opened_and_answered()
    broken = [replace(update, weight=-1.0) for update in updates[:4]]
    rules = Acceptance(minimum_clients=2)
    line = rules.shortage(opened, accept(opened, [*broken, updates[4]], algorithm, rules))
    assert line.count("is not a positive number") == 3
    assert line.endswith("; and 1 more; 1 of 5 updates can be used, expected at least 2")
    assert "\n" not in line
    everyone = Acceptance()
    assert everyone.shortage(opened, accept(opened, updates, algorithm, everyone)) is None
    assert everyone.shortage(opened, accept(opened, updates[1:], algorithm, everyone)) is not None


def huge_update(update):
    factors = {factor: {layer: 1e200 * x for layer, x in xs.items()} for factor, xs in update.message.factors.items()}
    return replace(update, message=replace(update.message, factors=factors))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_values_whose_products_overflow_are_refused_before_they_are_multiplied(name):
    """LAPACK's decomposition of a matrix with an infinity never ends: FlexLoRA's server would hang on finite updates."""
    _, algorithm, opened, updates = opened_and_answered(name, (0, 1))
    if not algorithm.sent(0):
        pytest.skip("sends no factor")
    accepted = accept(opened, [huge_update(updates[0]), updates[1]], algorithm, Acceptance(minimum_clients=1))
    assert [refusal.client for refusal in accepted.refused] == [0]
    assert "expected none whose products could overflow" in accepted.refused[0].reason


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy warns of what is then refused
def test_a_state_that_is_not_finite_is_refused_where_nothing_else_was():
    server, algorithm, opened, updates = opened_and_answered("fedex-lora", (0, 1))
    with pytest.raises(UpdateError, match=r"^round 0: residual of q is not finite after aggregation"):
        close_round(opened, server, algorithm, [huge_update(updates[0]), updates[1]], Ledger())


def test_a_refused_update_counts_as_nothing_in_a_private_mean():
    """The mean and its noise are those of a client that has not moved, to the rounding of a mean of equal arrays."""
    server, algorithm, opened, updates = opened_and_answered(clients=(0, 1, 2))
    updates = [replace(update, weight=1.0) for update in updates]
    still = replace(updates[1], message=pack(opened.broadcasts[1], algorithm.sent(0) | {"head"}))

    def private(returned):
        def protect(opened, updates):
            return client_level.protect(
                opened, updates, 0.7, 1.3, lambda t, part, name: Key(3).fold(t, part, name).generator()
            )

        accepted = accept(opened, returned, algorithm, Acceptance(minimum_clients=1, weight=1.0))
        return close_round(opened, server, algorithm, accepted, Ledger(), protect=protect)[0]

    refused = private([updates[0], with_b(updates[1], q=np.full((2, 6), np.inf)), updates[2]])
    unmoved = private([updates[0], still, updates[2]])
    moved = private(updates)

    def apart(one, other):
        parts = frozenset({*FACTORS, "head"})
        pairs = zip(pack(one, parts).arrays(), pack(other, parts).arrays(), strict=True)
        return max(float(np.abs(mine - its).max()) for (_, _, mine), (_, _, its) in pairs)

    assert apart(refused, unmoved) < 1e-14
    assert apart(refused, moved) > 1e-3
    assert same(private([updates[0], replace(updates[1], weight=2.0), updates[2]]), private([updates[0], updates[2]]))


class Poisoned:
    """An engine's class whose clients return nan where ``given`` says so: number of the call -> clients."""

    def __init__(self, engine, given):
        self.engine, self.given = engine, given
        self.calls = 0

    def __call__(self, *arguments, **options):
        inner, outer = self.engine(*arguments, **options), self

        class Engine:
            def local_updates(self, t, starts, trainable):
                bad, outer.calls = outer.given(t, outer.calls), outer.calls + 1
                return [
                    replace(update, message=spoilt(update.message)) if update.client in bad else update
                    for update in inner.local_updates(t, starts, trainable)
                ]

            def describe(self):
                return inner.describe()

        return Engine()


def spoilt(message):
    return replace(message, head={name: array * math.nan for name, array in message.head.items()})


def poison(monkeypatch, engine, given):
    monkeypatch.setitem(loop.ENGINES, engine, poisoned := Poisoned(ENGINES[engine], given))
    return poisoned


@pytest.mark.parametrize("engine", ["sequential", "batched"])
def test_a_run_goes_on_records_and_shows_who_was_refused_and_resumes_to_the_same_bits(
    table, tmp_path, monkeypatch, engine
):
    poison(monkeypatch, engine, lambda t, call: {2} if t in (1, 2) else set())
    config = changed(table, federation__minimum_clients=2, runtime__engine=engine)
    notes = []
    whole = loop.run(config, tmp_path / "whole", progress=lambda event: notes.append(event.note))
    refused = [[refusal["client"] for refusal in entry.get("refused", [])] for entry in whole["rounds"]]
    assert refused == [[], [2], [2], []]
    assert "refused" not in whole["rounds"][0]
    assert whole["rounds"][1]["refused"][0]["reason"].startswith("client 2, round 1: head of ")
    shown = [f"refused: {refusal['reason']}" for entry in whole["rounds"] for refusal in entry.get("refused", [])]
    assert [note for note in notes if note] == shown
    # What it sent counts, and what it is sent next is what all are sent.
    assert len({json.dumps(entry["bytes_up"]) for entry in whole["rounds"][::2]}) == 1
    assert whole["rounds"][2]["bytes_down"]["A"] == whole["rounds"][3]["bytes_down"]["B"] > 0
    with pytest.raises(Stop):
        loop.run(config, tmp_path / "cut", progress=stop_after(8))
    resumed = loop.run(config, tmp_path / "cut", resume=True)
    assert adapter(tmp_path / "cut") == adapter(tmp_path / "whole")
    assert measured(resumed) == measured(whole)


def test_a_round_with_too_few_is_repeated_with_other_clients_and_all_is_counted(table, tmp_path, monkeypatch):
    poison(monkeypatch, "sequential", lambda t, call: set(range(6)) if call in (1, 2) else set())
    config = changed(
        table, federation__num_clients=6, federation__clients_per_round=3, federation__minimum_clients=2,
        federation__round_attempts=3,
    )  # fmt: skip
    events, entries = [], []
    record = loop.run(config, tmp_path, progress=events.append, watch=entries.append)
    assert entries == record["rounds"]
    assert [entry["round"] for entry in record["rounds"]] == [0, 1, 2, 3]
    first, second = record["rounds"][1]["failed_attempts"]
    assert all(len(attempt["refused"]) == 3 for attempt in (first, second))
    assert (
        len({tuple(clients) for clients in (first["clients"], second["clients"], record["rounds"][1]["clients"])}) > 1
    )
    assert "failed_attempts" not in record["rounds"][0]
    asked = [*record["rounds"][0]["clients"], *first["clients"], *second["clients"], *record["rounds"][1]["clients"]]
    sizes = {"A": 4 * 16 * 2 * 4, "B": 4 * 2 * 16 * 4, "head": (2 * 16 + 2) * 4}
    assert record["rounds"][1]["bytes_up"] == {"A": 9 * sizes["A"], "B": 0, "head": 9 * sizes["head"]}
    # Everyone joins once. Those of round 0 lack what it has changed, B and head; those of a failed attempt lack nothing.
    joined = len(set(asked)) - 3
    assert record["rounds"][1]["bytes_joining"] == {part: joined * size for part, size in sizes.items()}
    behind = len(set(asked[3:]) & set(asked[:3]))
    assert record["rounds"][1]["bytes_down"] == {"A": 0, "B": behind * sizes["B"], "head": behind * sizes["head"]}
    assert events[-1].done == events[-1].total == 12
    assert sum("is repeated" in event.note for event in events) == 2


def test_a_repeated_round_survives_a_stop(table, tmp_path, monkeypatch):
    """An attempt is no checkpoint: a run that is stopped in the second begins with the first again."""
    federation = {"num_clients": 4, "clients_per_round": 2, "minimum_clients": 2, "round_attempts": 2}
    config = changed(table, **{f"federation__{name}": value for name, value in federation.items()})
    poisoned = poison(monkeypatch, "sequential", lambda t, call: {0, 1, 2, 3} if call == 2 else set())
    whole = loop.run(config, tmp_path / "whole")
    poisoned.calls = 0
    calls = []
    with pytest.raises(Stop):
        loop.run(config, tmp_path / "cut", progress=stop_in_second_attempt(calls))
    poisoned.calls = 2
    resumed = loop.run(config, tmp_path / "cut", resume=True)
    assert measured(resumed) == [
        {
            **entry,
            "failed_attempts": [{**attempt, "seconds": again["seconds"]} for attempt, again in pairs(entry, other)],
        }
        if "failed_attempts" in entry
        else entry
        for entry, other in zip(measured(whole), resumed["rounds"], strict=True)
    ]
    assert "failed_attempts" in resumed["rounds"][2]
    assert adapter(tmp_path / "cut") == adapter(tmp_path / "whole")


def pairs(entry, other):
    return zip(entry["failed_attempts"], other["failed_attempts"], strict=True)


def stop_in_second_attempt(seen):
    def progress(event):
        seen.append("is repeated" in event.note)
        if any(seen) and not seen[-1]:
            raise Stop

    return progress


@pytest.mark.parametrize("attempts", [1, 2])
def test_after_the_last_attempt_one_line_and_the_checkpoint_of_the_round_before(table, tmp_path, monkeypatch, attempts):
    poison(monkeypatch, "sequential", lambda t, call: {1} if t == 2 else set())
    config = changed(table, federation__round_attempts=attempts)
    with pytest.raises(UpdateError) as refusal:
        loop.run(config, tmp_path)
    tried = "; attempt 2 of 2" if attempts == 2 else ""
    assert str(refusal.value).startswith("client 1, round 2: head of ")
    assert str(refusal.value).endswith(f"finite; 2 of 3 updates can be used, expected at least 3{tried}")
    assert len(load_checkpoint(tmp_path / loop.CHECKPOINT, config)[2]) == 2
    monkeypatch.undo()
    assert len(loop.run(config, tmp_path, resume=True)["rounds"]) == 4


def test_two_processes_refuse_whom_one_refuses(table, tmp_path):
    """The bound lies between the clients' norms, so that a real run refuses some of them."""
    table["federation"] |= {"rounds": 2, "minimum_clients": 1}
    table["training"]["local_steps"] = 1
    running = loop.Experiment(changed(table), tmp_path / "plain")
    opened = running.open_round()
    updates = running.engine.local_updates(0, opened.broadcasts, opened.trainable)
    sizes = sorted(change_norm(update.message, opened.broadcasts[update.client]) for update in updates)
    table["federation"]["update_norm_bound"] = (sizes[1] + sizes[2]) / 2
    config = changed(table)
    record = loop.run(config, tmp_path / "one")
    assert len(record["rounds"][0]["refused"]) == 1
    path = write(tmp_path, table)
    launch = Launch(2, ["-m", "rolora", "run", path, "--out", tmp_path / "two"])
    statuses, said = launch.end()
    assert statuses == [0, 0], said
    both = json.loads((tmp_path / "two" / config.run_name() / "record.json").read_text())
    assert measured(both) == measured(record)
    assert adapter(tmp_path / "two" / config.run_name()) == adapter(tmp_path / "one")
    line = f"{config.run_name()}: refused: {record['rounds'][0]['refused'][0]['reason']}"
    assert [printed.count(line) for printed in launch.printed] == [1, 0]


def test_what_was_not_asked_for_changes_no_hash(table):
    plain = changed(table)
    names = {"minimum_clients", "round_attempts", "update_norm_bound", "aggregation", "trim_fraction"}
    assert not names & plain.resolved()["federation"].keys()
    assert changed(table, federation__round_attempts=1, federation__aggregation="mean").hash() == plain.hash()
    assert changed(table, federation__minimum_clients=3).hash() != plain.hash()


PRIVATE = {"mode": "client", "clip": 1.0, "noise_multiplier": 1.0, "delta": 1e-3}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"minimum_clients": 4}, "minimum_clients: got 4, expected at most the 3 clients of a round"),
        ({"clients_per_round": 2, "minimum_clients": 3}, "expected at most the 2 clients"),
        ({"round_attempts": 0}, "round_attempts: got 0"),
        ({"update_norm_bound": 0.0}, "update_norm_bound: got 0.0"),
        ({"round_attempts": 2, "privacy": PRIVATE}, "round_attempts: got 2, expected 1 with privacy.mode"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(table, changes, words):
    changes = dict(changes)
    privacy = changes.pop("privacy", {})
    if privacy:
        changes["client_weights"] = "uniform"
    with pytest.raises(InputError, match=words):
        changed(table, **{f"federation__{name}": value for name, value in changes.items()}, privacy=privacy)
