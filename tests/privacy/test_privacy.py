"""Epsilon against other accountants and a closed form; clipping and noise where the mean is taken; refusals that leave nothing."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from dp_accounting.rdp.rdp_privacy_accountant import DEFAULT_RDP_ORDERS
from opacus.accountants import RDPAccountant
from rich.console import Console
from scipy import stats

from rolora import config as configuration
from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.algorithms.server_optimizer import ServerOptimizer
from rolora.errors import InputError
from rolora.experiment import loop
from rolora.experiment.parallel import run_all
from rolora.federation import ClientUpdate, ServerState, UpdateError, close_round, open_round, pack
from rolora.federation.communication import Ledger
from rolora.keys import Key
from rolora.privacy import accounting, client_level
from rolora.privacy.accounting import Spending, epsilon, noise_for
from tests.conftest import changed, relative_error
from tests.experiment.test_experiment import Stop, adapter, measured, stop_after
from tests.training.rounds import furthest

CLIENT = {
    "privacy__mode": "client",
    "privacy__clip": 0.05,
    "privacy__noise_multiplier": 0.8,
    "privacy__delta": 1e-3,
    "federation__client_weights": "uniform",
}
MECHANISMS = [(1.0, 10, 1.0), (0.7, 300, 0.02), (2.0, 1000, 0.1), (4.0, 50, 1.0), (1.3, 1, 0.004)]
"""(noise multiplier, steps, sampling rate)"""


@pytest.mark.parametrize(("noise", "steps", "rate"), MECHANISMS)
def test_epsilon_is_the_one_of_opacus(noise, steps, rate):
    """The same bound at the same orders: at whole ones equal but for rounding. Between them, with sampling, the series of
    dp-accounting lies above the integral that Opacus' meets, by up to a third at an order below 2, so epsilon may be higher,
    never lower: by less than a thousandth here."""
    theirs = RDPAccountant()
    theirs.history = [(noise, rate, steps)]
    whole = [order for order in DEFAULT_RDP_ORDERS if float(order).is_integer()]
    ours = RdpAccountant(whole)
    ours.compose(Spending(steps, rate).event(noise))
    expected, _ = theirs.get_privacy_spent(delta=1e-5, alphas=whole)
    assert ours.get_epsilon(1e-5) == pytest.approx(expected, rel=1e-9)
    expected, _ = theirs.get_privacy_spent(delta=1e-5, alphas=list(DEFAULT_RDP_ORDERS))
    found = epsilon(noise, Spending(steps, rate), 1e-5)
    assert expected * (1 - 1e-9) <= found <= expected * (1 + (1e-9 if rate == 1 else 1e-3))


def exact_epsilon(noise, steps, delta):
    """T Gaussian mechanisms are one with z / sqrt(T); its delta(epsilon) in closed form (Balle and Wang, ICML 2018, Theorem 8)."""
    deviation = noise / math.sqrt(steps)

    def excess(e):
        tail = stats.norm.logcdf(-1 / (2 * deviation) - e * deviation)
        return stats.norm.cdf(1 / (2 * deviation) - e * deviation) - math.exp(e + tail) - delta

    low, high = 0.0, 1.0
    while excess(high) > 0:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return high


@pytest.mark.parametrize(("noise", "steps"), [(1.0, 1), (0.5, 4), (1.0, 10), (5.0, 200), (10.0, 10)])
@pytest.mark.parametrize("delta", [1e-3, 1e-6])
def test_epsilon_bounds_the_exact_one_from_above(noise, steps, delta):
    """Above, and by less than a fifth where a bound says something: one that is far off would be no good either."""
    found, exact = epsilon(noise, Spending(steps), delta), exact_epsilon(noise, steps, delta)
    assert exact < found < exact * 1.2 + 0.1


@pytest.mark.parametrize(("noise", "steps", "rate"), MECHANISMS)
def test_epsilon_is_not_below_that_of_privacy_loss_distributions(noise, steps, rate):
    one = GaussianDpEvent(noise) if rate == 1 else PoissonSampledDpEvent(rate, GaussianDpEvent(noise))
    tighter = PLDAccountant()
    tighter.compose(SelfComposedDpEvent(one, steps))
    assert tighter.get_epsilon(1e-5) <= epsilon(noise, Spending(steps, rate), 1e-5)


def test_the_accountant_writes_nothing_where_it_leaves_out_an_order():
    """In a process of its own, as it logs once it is told to: the orders below 1.4 do not converge here."""
    asked = (
        "from rolora.privacy.accounting import Spending, epsilon; print(epsilon(0.51, Spending(60, 64 / 2342), 1e-5))"
    )
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=60, check=True)
    assert 5 < float(answer.stdout) < 15
    assert answer.stderr == ""


@pytest.mark.parametrize(("steps", "rate"), [(10, 1.0), (400, 0.02)])
@pytest.mark.parametrize("target", [0.5, 3.0, 40.0])
def test_the_noise_for_a_target_is_the_least(target, steps, rate):
    spending = Spending(steps, rate)
    found = noise_for(target, spending, 1e-5)
    assert epsilon(found, spending, 1e-5) <= target < epsilon(found - 2 * accounting.TOLERANCE, spending, 1e-5)


def layers(asarray=np.asarray, width=40):
    """A server of two layers and a head, and three updates of all of it, in float64."""
    drawn = Key(0).fold("privacy tests").generator()

    def state(scale):
        factors = {
            name: Layer(
                asarray(scale * drawn.standard_normal((width, 4))), asarray(scale * drawn.standard_normal((4, width)))
            )
            for name in ("one", "two")
        }
        return ServerState(factors, {"bias": asarray(scale * drawn.standard_normal(7))})

    return state(1.0), [state(0.5) for _ in range(3)]


def opened_with(algorithm, t=0, **kind):
    server, moved = layers(**kind)
    opened = open_round(t, server, algorithm, [0, 1, 2], Ledger())
    parts = algorithm.sent(t) | {"head"}
    updates = [ClientUpdate(client, t, 1.0, pack(state, parts), 0.1) for client, state in enumerate(moved)]
    return server, opened, updates


def closed(algorithm, server, opened, updates, clip, noise, seed=0):
    def protect(opened, updates):
        return client_level.protect(
            opened, updates, clip, noise, lambda t, part, name: Key(seed).fold(t, part, name).generator()
        )

    return close_round(opened, server, algorithm, updates, Ledger(), protect=protect)[0]


def numbers(state):
    """All of a state's tensors by part and name."""
    return {(part, name): array for part, name, array in pack(state, frozenset({"A", "B", "head"})).arrays()}


def test_the_noise_is_there_and_has_its_size():
    """Sum of squares over (z C / n)^2 is chi-square; two-sided at 1e-6. Without noise the difference is zero to the bit."""
    algorithm, clip, noise = ALGORITHMS["fedavg-lora"](), 0.7, 1.5
    server, opened, updates = opened_with(algorithm)
    without = numbers(closed(algorithm, server, opened, updates, clip, 0.0))
    noised = numbers(closed(algorithm, server, opened, updates, clip, noise))
    differences = np.concatenate([(noised[key] - without[key]).ravel() for key in without])
    statistic = np.sum((differences / (noise * clip / 3)) ** 2)
    low, high = stats.chi2.ppf([5e-7, 1 - 5e-7], len(differences))
    assert len(differences) == 2 * 2 * 160 + 7
    assert low < statistic < high
    assert abs(differences.mean()) < 5 * noise * clip / 3 / math.sqrt(len(differences))
    again = numbers(closed(algorithm, server, opened, updates, clip, 0.0))
    assert all(np.array_equal(again[key], without[key]) for key in without)


def test_every_round_layer_factor_and_seed_has_noise_of_its_own():
    algorithm = ALGORITHMS["fedavg-lora"]()
    drawn = []
    for t, seed in ((0, 0), (2, 0), (0, 1)):
        server, opened, updates = opened_with(algorithm, t)
        without = numbers(closed(algorithm, server, opened, updates, 1.0, 0.0, seed))
        noised = numbers(closed(algorithm, server, opened, updates, 1.0, 1.0, seed))
        drawn += [(noised[key] - without[key]).ravel()[:7] for key in without]
    assert len(drawn) == 15
    correlations = np.corrcoef(drawn) - np.eye(15)
    assert np.abs(correlations).max() < 0.999  # the same noise twice, whatever its sign, would be 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_update_is_clipped_over_all_its_tensors_or_left_alone(dtype):
    server, _, updates = opened_with(
        ALGORITHMS["fedavg-lora"](), asarray=lambda values: np.asarray(values, dtype=dtype)
    )
    message = updates[0].message
    whole = client_level.difference(message, server)
    size = client_level.norm(whole)
    flat = np.concatenate([array.ravel() for array in whole.values()])
    assert size == pytest.approx(np.linalg.norm(flat), rel=1e-12)
    for clip in (1e-9, 0.3, 5.0, size * (1 - 1e-9)):
        found = client_level.clipped(message, server, clip)
        assert clip * (1 - 1e-11) < client_level.norm(found) <= clip
        ratios = np.concatenate([array.ravel() for array in found.values()]) / flat
        assert relative_error(ratios, np.full(len(flat), clip / size)) < 1e-11  # one scale for all of it
    for clip in (size, 2 * size):
        found = client_level.clipped(message, server, clip)
        assert all(np.array_equal(found[key], whole[key]) for key in whole)


@pytest.mark.parametrize("name", [name for name, method in ALGORITHMS.items() if method.averages])
@pytest.mark.parametrize("t", [0, 1])
def test_without_clipping_and_noise_it_is_the_method_itself(name, t):
    """And one client whose update is replaced by zero moves the mean by at most C / n."""
    algorithm = ALGORITHMS[name]()
    server, opened, updates = opened_with(algorithm, t)
    plain = numbers(close_round(opened, server, algorithm, updates, Ledger())[0])
    same = numbers(closed(algorithm, server, opened, updates, 1e9, 0.0))
    assert all(relative_error(same[key], plain[key]) < 1e-14 for key in plain)
    nothing = replace(updates[1], message=pack(server, algorithm.sent(t) | {"head"}))
    clip = 0.7
    one = numbers(closed(algorithm, server, opened, updates, clip, 0.0))
    other = numbers(closed(algorithm, server, opened, [updates[0], nothing, updates[2]], clip, 0.0))
    moved = client_level.norm({key: one[key] - other[key] for key in one})
    assert clip / 3 * (1 - 1e-9) < moved < clip / 3 * (1 + 1e-9)


def test_what_clients_return_is_checked_before_it_is_clipped():
    algorithm = ALGORITHMS["rolora"]()
    server, opened, updates = opened_with(algorithm)
    updates[1].message.factors["B"]["two"][0, 0] = np.nan
    with pytest.raises(UpdateError, match="client 1, round 0: B of two has a value that is not finite"):
        closed(algorithm, server, opened, updates, 1.0, 1.0)


def dyadic(*shape, name):
    """Multiples of 1/64 below 1: their sums and quarters are exact in float64."""
    return Key(0).fold(name).generator().integers(-64, 65, size=shape) / 64


def moved_by_common(algorithm, t):
    """The server's layer from four clients' factors, less the one from the factors before a common array was added."""
    server = Layer(dyadic(6, 3, name="A"), dyadic(3, 5, name="B"))
    plain, added, noise = [], [], {"A": dyadic(6, 3, name="noise A"), "B": dyadic(3, 5, name="noise B")}
    for client in range(4):
        own = {"A": dyadic(6, 3, name=f"A {client}"), "B": dyadic(3, 5, name=f"B {client}")}
        kept = {f: own[f] if f in algorithm.sent(t) else getattr(server, f) for f in own}
        plain.append(Layer(**kept))
        added.append(Layer(**{f: kept[f] + noise[f] * (f in algorithm.sent(t)) for f in kept}))
    one, other = (algorithm.aggregate(t, server, clients, [0.25] * 4) for clients in (plain, added))
    exact = all(
        np.array_equal(getattr(other, f) - getattr(one, f), noise[f] * (f in algorithm.sent(t))) for f in ("A", "B")
    )
    residuals = [layer.residual for layer in (one, other)]
    return exact and all(residual is None for residual in residuals)


@pytest.mark.parametrize("t", [0, 1])
@pytest.mark.parametrize("name", [name for name, method in ALGORITHMS.items() if method.averages])
def test_what_is_added_to_every_update_is_added_to_the_mean_exactly(name, t):
    assert moved_by_common(ALGORITHMS[name](), t)


@pytest.mark.parametrize("name", ["fedex-lora", "flexlora", "hetlora", "fedrot-lora", "lora-fair", "flora"])
def test_methods_that_are_refused_take_more_than_a_mean(name):
    """Control: the same test finds those whose aggregate is something else."""
    assert not ALGORITHMS[name].averages
    assert not moved_by_common(ALGORITHMS[name](), 0)


def test_the_methods_that_average_are_these():
    assert sorted(name for name, method in ALGORITHMS.items() if method.averages) == [
        "fedavg-lora",
        "ffa-lora",
        "la-lora",
        "rolora",
    ]
    assert ServerOptimizer(ALGORITHMS["rolora"](), "adam", 1.0, 0.9, 0.99, 1e-3).averages


def private_rounds(config, folder, observe=None):
    """An experiment's states: before round 0 and after every round."""
    running = loop.Experiment(config, folder)
    states = [running.server]
    while not running.over:
        opened = running.open_round()
        updates = running.engine.local_updates(opened.t, opened.broadcasts, opened.trainable)
        if observe is not None:
            observe(running.server, opened, updates)
        running.close_round(opened, updates, 0.0)
        states.append(running.server)
    return states


def test_the_factor_that_rests_keeps_its_bits_on_server_and_clients(table, tmp_path):
    def resting(server, opened, updates):
        (other,) = {"A", "B"} - opened.trainable
        for client, update in zip(opened.clients, updates, strict=True):
            assert set(update.message.factors) == set(opened.trainable)
            for name, layer in server.layers.items():
                assert (getattr(opened.broadcasts[client].layers[name], other) == getattr(layer, other)).all()

    states = private_rounds(changed(table, **CLIENT), tmp_path, resting)
    for t, (before, after) in enumerate(pairwise(states)):
        active, other = ("B", "A") if t % 2 == 0 else ("A", "B")
        for name, layer in before.layers.items():
            assert (getattr(after.layers[name], other) == getattr(layer, other)).all()
            assert (getattr(after.layers[name], active) != getattr(layer, active)).all()  # noise reaches every entry
    assert len(states) == 5


def test_a_run_clips_and_adds_the_noise_that_it_declares(table, tmp_path, monkeypatch):
    """Between what clients return and what is aggregated, in a run with two of four clients a round and all its settings."""
    seen = []

    def watch(opened, updates, clip, noise, draw):
        without = protect(opened, updates, clip, 0.0, draw)
        noised = protect(opened, updates, clip, noise, draw)
        seen.append((opened, updates, without, noised))
        return noised

    protect = client_level.protect
    monkeypatch.setattr(client_level, "protect", watch)
    config = changed(table, **CLIENT, federation__num_clients=4, federation__clients_per_round=2)
    states = private_rounds(config, tmp_path)
    differences = []
    for (opened, updates, without, noised), after in zip(seen, states[1:], strict=True):
        assert len(updates) == 2
        start = opened.broadcasts[opened.clients[0]]
        assert client_level.norm(client_level.difference(without[0].message, start)) <= 0.05 * (1 + 1e-5)
        for part, name, array in noised[0].message.arrays():
            differences.append(((array - _same(without[0].message, part, name)).double() / (0.8 * 0.05 / 2)).ravel())
            found = after.head[name] if part == "head" else getattr(after.layers[name], part)
            assert relative_error(found, array) < 1e-6
        before = [client_level.norm(client_level.difference(update.message, start)) for update in updates]
        assert max(before) > 0.05  # clipping did something
    together = np.concatenate(differences)
    low, high = stats.chi2.ppf([5e-7, 1 - 5e-7], len(together))
    assert low < np.sum(together**2) < high


def _same(message, part, name):
    return next(array for p, n, array in message.arrays() if (p, n) == (part, name))


def test_the_engines_agree_under_client_privacy(table, tmp_path):
    settings = CLIENT | {"runtime__dtype": "float64", "training__local_steps": 4}
    one = private_rounds(changed(table, **settings), tmp_path / "one")[-1]
    other = private_rounds(changed(table, **settings, runtime__engine="batched"), tmp_path / "other")[-1]
    plain = private_rounds(changed(table, **settings | {"privacy__noise_multiplier": 0.9}), tmp_path / "plain")[-1]
    assert furthest(one, other) < 1e-4  # adapters are in float32
    assert furthest(one, plain) > 1e-2


def test_a_resumed_private_run_has_the_bits_and_the_epsilon_of_a_whole_one(table, tmp_path):
    config = changed(table, **CLIENT)
    whole = loop.run(config, tmp_path / "whole")
    with pytest.raises(Stop):
        loop.run(config, tmp_path / "cut", progress=stop_after(8))
    resumed = loop.run(config, tmp_path / "cut", resume=True)
    assert adapter(tmp_path / "cut") == adapter(tmp_path / "whole")
    assert measured(resumed) == measured(whole)
    assert resumed["privacy"] == whole["privacy"]
    assert whole["privacy"]["epsilon"] == epsilon(0.8, Spending(4), 1e-3)
    assert whole["privacy"]["accountant"]["version"] == whole["environment"]["packages"]["dp-accounting"]
    assert whole["privacy"]["noise_reproducible"] is True
    assert f"({whole['privacy']['epsilon']:.4f}, 0.001)-differentially private" in accounting.sentence(whole)


def test_secret_noise_is_never_the_same_and_has_the_same_epsilon(table, tmp_path):
    config = changed(table, **CLIENT, privacy__noise="secret", federation__rounds=1)
    one, two = (loop.run(config, tmp_path / name) for name in ("one", "two"))
    assert adapter(tmp_path / "one") != adapter(tmp_path / "two")
    assert one["privacy"] == two["privacy"]
    assert one["privacy"]["noise_reproducible"] is False
    assert "follows from the seed" not in accounting.sentence(one)


def test_the_tiny_task_is_learnt_from_private_means(table, tmp_path):
    """With little noise: nothing of the mechanism stands in the way. Noise that hides three clients would drown them."""
    little = {"privacy__clip": 5.0, "privacy__noise_multiplier": 0.002}
    config = changed(table, **CLIENT | little, federation__rounds=30, training__learning_rate=0.05)
    record = loop.run(config, tmp_path)
    assert record["final"]["accuracy"] > record["data"]["majority_rate"] + 0.2
    assert record["privacy"]["epsilon"] > 1e5  # and the record says what that is worth


def test_processes_that_would_draw_other_secrets_are_refused(table, tmp_path, monkeypatch):
    monkeypatch.setattr(loop.process_group, "count", lambda: 2)
    with pytest.raises(InputError, match="2 processes") as refusal:
        loop.Experiment(changed(table, **CLIENT, privacy__noise="secret"), tmp_path / "run")
    assert (refusal.value.key, refusal.value.got) == ("privacy.noise", "secret")


def test_a_target_is_met_and_a_limit_is_kept(table, tmp_path):
    config = changed(table, **CLIENT | {"privacy__noise_multiplier": None}, privacy__target_epsilon=6.0)
    found = accounting.guarantee(config)
    assert 5.999 < found.epsilon <= 6.0
    assert found.noise_multiplier == noise_for(6.0, Spending(4), 1e-3)
    with pytest.raises(
        InputError, match=r"epsilon would be 11\.2698 at delta = 0\.001 after 4 rounds, expected at most max"
    ):
        loop.run(changed(table, **CLIENT, privacy__max_epsilon=10.0), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("mode", "missing"), [("client", "dp_accounting"), ("example", "dp_accounting"), ("example", "opacus")]
)
def test_without_its_accountant_nothing_is_loaded_or_written(table, tmp_path, monkeypatch, mode, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr(loop, "prepare", lambda config: pytest.fail("something was loaded"))
    config = changed(table, **CLIENT | {"privacy__mode": mode})
    with pytest.raises(InputError, match=f"expected {missing.replace('_', '-')} to be installed"):
        run_all([config], tmp_path / "runs", False, 1, Console(quiet=True))
    with pytest.raises(InputError, match="to be installed"):
        loop.run(config, tmp_path / "run")
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("mode", ["client", "example"])
def test_no_noise_is_refused_before_anything_is_loaded(table, tmp_path, monkeypatch, mode):
    monkeypatch.setattr(loop, "prepare", lambda config: pytest.fail("something was loaded"))
    config = changed(table, **CLIENT | {"privacy__mode": mode, "privacy__noise_multiplier": 0.0})
    with pytest.raises(InputError, match=r"epsilon is inf with noise_multiplier = 0\.0, expected a finite one"):
        loop.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


EXAMPLE = {"privacy__mode": "example"}


@pytest.mark.parametrize(
    ("changes", "key", "got", "expected"),
    [
        ({"privacy__delta": None}, "privacy.delta", None, "probability of exceeding epsilon"),
        ({"privacy__delta": 1.0}, "privacy.delta", 1.0, "less than 1"),
        ({"privacy__clip": None}, "privacy.clip", None, "L2 norm"),
        ({"privacy__clip": 0.0}, "privacy.clip", 0.0, "greater than 0"),
        ({"privacy__noise_multiplier": None}, "privacy", None, "either noise_multiplier or target_epsilon"),
        ({"privacy__target_epsilon": 1.0}, "privacy", ["noise_multiplier", "target_epsilon"], "either"),
        ({"privacy__mode": "none"}, "privacy.clip", 0.05, 'nothing with mode = "none"'),
        ({"federation__client_weights": "examples"}, "federation.client_weights", "examples", '"uniform".* sensitivity'),
        ({"federation__client_state": "shared"}, "federation.client_state", "shared", '"isolated"'),
        ({"evaluation__interference": True}, "evaluation.interference", True, "false"),
        ({"algorithm": "fedex-lora"}, "algorithm", "fedex-lora", "server needs only the mean"),
        ({"algorithm": "hetlora"}, "algorithm", "hetlora", "server needs only the mean"),
        ({"algorithm": "fedsa-lora"}, "algorithm", "fedsa-lora", "one common model"),
        ({"algorithm": "centralised"}, "algorithm", "centralised", "a federation"),
        (EXAMPLE | {"runtime__engine": "batched"}, "runtime.engine", "batched", '"sequential"'),
        (EXAMPLE | {"runtime__dtype": "bfloat16"}, "runtime.dtype", "bfloat16", '"float32" or "float64"'),
        (EXAMPLE | {"training__max_grad_norm": 1.0}, "training.max_grad_norm", 1.0, "nothing"),
        (EXAMPLE | {"training__micro_batch_size": 2}, "training.micro_batch_size", 2, "nothing"),
        (EXAMPLE | {"training__proximal": 0.1}, "training.proximal", 0.1, "0.0"),
        (
            EXAMPLE | {"runtime__gradient_checkpointing": True, "lora__dropout": 0.0},
            "runtime.gradient_checkpointing", True, "false",
        ),
        (EXAMPLE | {"data__packing": True, "data__task": "generation"}, "data.packing", True, "false"),
    ],
)  # fmt: skip
def test_what_cannot_be_private_is_refused(table, changes, key, got, expected):
    with pytest.raises(InputError) as caught:
        changed(table, **CLIENT | changes)
    fault, *_ = caught.value.faults or (caught.value,)
    assert (fault.key, fault.got) == (key, got)
    assert re.match(f".*{expected}", fault.expected)


def test_a_config_without_privacy_has_the_hash_that_it_had(table):
    resolved = changed(table).resolved()
    assert "privacy" not in resolved
    assert configuration.check(resolved | {"privacy": {"mode": "none"}}, "test").hash() == changed(table).hash()
    assert changed(table, **CLIENT).hash() != changed(table, federation__client_weights="uniform").hash()
