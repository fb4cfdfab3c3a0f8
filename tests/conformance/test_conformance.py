"""Every method meets every law or says why not; and each fault that public code has shown is caught, by the right law."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS, Algorithm, weighted_mean
from rolora.cli.app import app
from rolora.conformance import SUBJECTS, Aggregated, examine, of_method
from rolora.conformance.engines import OurEngine, Trace, examine_engine
from rolora.conformance.laws import LAWS
from rolora.conformance.probe import MODULES, Case, Probe
from rolora.conformance.subjects import Subject, mean_of_state_dicts
from rolora.keys import Key
from rolora.training.engines import sequential


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_method_meets_every_law_or_says_why_not(name):
    findings = [*examine(SUBJECTS[name](), seeds=1), *examine_engine(OurEngine(name))]
    assert not [finding for finding in findings if finding.verdict == "fail"]
    assert {finding.law for finding in findings} == set(range(1, 12))
    assert all(finding.words for finding in findings if finding.verdict in ("exception", "not applicable"))


def verdicts(subject, laws=None):
    return {finding.law: finding for finding in examine(subject, laws, seeds=1)}


def failing(subject, laws=None):
    return {law for law, finding in verdicts(subject, laws).items() if finding.verdict == "fail"}


# Faults of aggregators.


def residual_aggregator(scale=True, transpose=None, weighted=True, head=True):
    """FedEx-LoRA over state dicts as it is often written, with one fault or another."""

    def aggregate(clients, weights, server, t):
        shares = weights if weighted else [1.0] * len(clients)
        result = mean_of_state_dicts(clients, shares, server, t)
        shares = [share / sum(shares) for share in shares]
        backbone = {}
        for name in MODULES:
            keys = [f"base_model.model.{name}.lora_{factor}.weight" for factor in "BA"]
            ideal = sum(p * (c.state[keys[0]] @ c.state[keys[1]]) for p, c in zip(shares, clients, strict=True))
            residual = ideal - result.adapter.state[keys[0]] @ result.adapter.state[keys[1]]  # (out, in)
            residual = server.scale * residual if scale else residual
            turned = transpose(name) if transpose else name == "conv"
            backbone[name] = residual.T if turned else residual
        state = result.adapter.state
        if not head:
            state = {key: clients[-1].state[key] if "head" in key else value for key, value in state.items()}
        return Aggregated(replace(result.adapter, state=state), backbone)

    return Subject(name="residual", aggregate=aggregate, mixed_ranks="a mean of factors needs factors of one rank")


def test_the_right_residual_passes():
    assert failing(residual_aggregator()) == {11}  # it refuses nothing


def test_a_residual_without_alpha_over_r_fails_law_4():
    findings = verdicts(residual_aggregator(scale=False))
    assert findings[3].verdict == "pass"  # lora_alpha = r hides it
    assert findings[4].verdict == "fail"
    assert "misses the mean update" in findings[4].words
    assert "lora_alpha" in findings[4].words


@pytest.mark.parametrize(("turned", "module"), [(lambda name: False, "conv"), (lambda name: True, "linear")])
def test_a_transposed_residual_fails_law_3(turned, module):
    finding = verdicts(residual_aggregator(transpose=turned))[3]
    assert finding.verdict == "fail"
    assert module in finding.words  # the shape alone gives it away: no module of the probe is square
    assert "expected" in finding.words


def test_unweighted_means_fail_law_4_alone():
    assert failing(residual_aggregator(weighted=False), [1, 3, 4]) == {4}


def test_a_head_that_is_not_aggregated_fails():
    finding = verdicts(residual_aggregator(head=False), [3])[3]
    assert finding.verdict == "fail"
    assert finding.words.split(": ")[1] == "head"


def test_a_mean_of_state_dicts_is_not_exact_and_is_the_interference():
    plain = Subject("plain", mean_of_state_dicts, mixed_ranks="not declared")
    assert verdicts(plain, [3])[3].verdict == "fail"
    declared = replace(plain, exactness="interference")
    assert failing(declared) == {11}


def test_an_exception_that_is_not_needed_is_a_failure():
    subject = replace(SUBJECTS["rolora"](), exceptions={2: "made up"})
    finding = verdicts(subject, [2])[2]
    assert (finding.verdict, "withdraw" in finding.words) == ("fail", True)


def test_a_frozen_factor_that_moves_fails_law_5():
    class Drifting(ALGORITHMS["ffa-lora"]):
        def aggregate(self, t, server, clients, weights):
            return Layer(server.A * 1.0000001, weighted_mean([client.B for client in clients], weights))

    assert failing(of_method(Drifting()), [5]) == {5}


def test_a_method_that_depends_on_the_basis_fails_law_6():
    class Clipped(ALGORITHMS["fedavg-lora"]):
        def aggregate(self, t, server, clients, weights):
            layer = super().aggregate(t, server, clients, weights)
            return Layer(layer.A.clip(-1, 1), layer.B)

    assert 6 in failing(of_method(Clipped()), [6])


# Faults of engines.


def test_an_active_factor_that_is_not_reset_fails_law_9():
    (finding,) = [f for f in examine_engine(OurEngine("rolora", client_state="shared")) if f.law == 9]
    assert finding.verdict == "fail"
    assert "client 1, round 1: starts with another A" in finding.words


def test_a_first_fails_law_10():
    findings = {f.law: f.verdict for f in examine_engine(OurEngine("rolora", {"schedule": "AB"}))}
    assert findings == {7: "pass", 8: "pass", 9: "pass", 10: "fail"}


class PreviousClientsB(OurEngine):
    """FedSA-LoRA whose "personal" B is that of the client that ran before."""

    def play(self, seed, order, rounds):
        real, last = sequential.peft_boundary.write, {}

        def write(model, state, parts=frozenset({"A", "B", "head"})):
            real(model, state, parts)
            if last:
                real(model, last["state"], frozenset({"B"}))

        def read(model, **options):
            last["state"] = sequential_read(model, **options)
            return last["state"]

        sequential_read = sequential.peft_boundary.read
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sequential.peft_boundary, "write", write)
            patch.setattr(sequential.peft_boundary, "read", read)
            return super().play(seed, order, rounds)


def test_a_personal_factor_of_the_previous_client_fails_law_9():
    (finding,) = [f for f in examine_engine(PreviousClientsB("fedsa-lora")) if f.law == 9]
    assert finding.verdict == "fail"
    assert "starts with another B" in finding.words


class GlobalSeed(OurEngine):
    """Client randomness that does not depend on the experiment's seed."""

    def play(self, seed, order, rounds):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                sequential.local_update,
                "batches",
                lambda key, indices, size, steps: (np.sort(indices)[:size] for _ in range(steps)),
            )
            patch.setattr(
                sequential.local_update,
                "named_dropout",
                lambda present, keys, device: real(present, [Key(0).fold("global")], device),
            )
            same = super().play(0, order, rounds)
        return Trace(**{name: getattr(same, name) for name in same.__dataclass_fields__})


real = sequential.local_update.named_dropout


def test_a_global_seed_fails_law_8():
    (finding,) = [f for f in examine_engine(GlobalSeed("fedavg-lora")) if f.law == 8]
    assert finding.verdict == "fail"
    assert "is the same with another seed" in finding.words


def test_a_head_that_is_never_reset_fails_law_9():
    class KeptHead(OurEngine):
        def play(self, seed, order, rounds):
            write = sequential.peft_boundary.write
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    sequential.peft_boundary,
                    "write",
                    lambda model, state, parts=frozenset(): write(model, state, frozenset({"A", "B"})),
                )
                return super().play(seed, order, rounds)

    (finding,) = [f for f in examine_engine(KeptHead("fedavg-lora")) if f.law == 9]
    assert finding.verdict == "fail"
    assert "head" in finding.words


# The kit itself.


def test_the_probe_sees_what_peft_does():
    """Effective weights against the formula, both kinds of module, both kinds of scale, every dtype."""
    for stabilised, dtype in product((False, True), ("float64", "float32", "bfloat16")):
        case = Case(ranks=(3,), weights=(1.0,), alpha=12.0, rank_stabilised=stabilised, dtype=dtype)
        probe = Probe(case)
        found = probe.effective(probe.server)
        scale = 12 / 3**0.5 if stabilised else 4.0
        for name in MODULES:
            a, b = (probe.server.state[f"base_model.model.{name}.lora_{f}.weight"].double() for f in "AB")
            tolerance = {"float64": 1e-13, "float32": 1e-5, "bfloat16": 0.5}[dtype]
            torch.testing.assert_close(found[name], scale * (b @ a).T, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_batched_engine_meets_the_engines_laws(name):
    findings = list(examine_engine(OurEngine(name, engine="batched")))
    assert {finding.law for finding in findings} == {7, 8, 9, 10}
    assert [finding.words for finding in findings if finding.verdict == "fail"] == []


def test_an_aggregator_that_raises_is_its_own_counterexample():
    def aggregate(clients, weights, server, t):
        raise RuntimeError("out of luck")

    finding = verdicts(Subject("broken", aggregate), [1])[1]
    assert finding.verdict == "fail"
    assert "it raises RuntimeError: out of luck" in finding.words


def test_the_command_prints_the_table_and_ends_with_status_1_on_a_failure(tmp_path):
    runner = CliRunner()
    fine = runner.invoke(app, ["conformance", "centralised", "--json", str(tmp_path / "found.json")])
    assert fine.exit_code == 0, fine.output
    assert (tmp_path / "found.json").exists()
    bad = runner.invoke(app, ["conformance", "--against", "rolora.conformance.subjects:mean_of_state_dicts"])
    assert bad.exit_code == 1, bad.output
    for name in ("no_colon", "rolora.nowhere:x", "rolora.conformance.laws:ROUNDING"):
        wrong = runner.invoke(app, ["conformance", "--against", name])
        assert wrong.exit_code == 2
        assert wrong.stderr.count("\n") == 1
    assert runner.invoke(app, ["conformance", "fedlora"]).exit_code == 2


def test_every_law_has_words():
    assert all(law.words for law in LAWS.values())
    assert issubclass(ALGORITHMS["rolora"], Algorithm)
