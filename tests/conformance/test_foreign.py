"""The adapters to other packages, on stand-ins with those packages' calls; on the packages themselves where they are installed."""

from __future__ import annotations

import importlib.util
import sys
import types

import numpy as np
import pytest
import torch

from rolora.conformance import examine, foreign
from rolora.errors import InputError


def stand_in(monkeypatch, name, **attributes):
    """A module of this name, and empty packages above it."""
    parts = name.split(".")
    for end in range(1, len(parts)):
        monkeypatch.setitem(sys.modules, ".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
    module = types.ModuleType(name)
    for attribute, value in attributes.items():
        setattr(module, attribute, value)
    monkeypatch.setitem(sys.modules, name, module)


def mean_of_lists(results):
    """As flwr's: [([arrays], examples), ...] -> [means]."""
    whole = sum(count for _, count in results)
    return [sum(np.asarray(a) * n for a, n in zip(each, [n for _, n in results], strict=True)) / whole
            for each in zip(*(arrays for arrays, _ in results), strict=True)]  # fmt: skip


class Truncated:
    """As chorus-fl's: the best approximation at the largest rank, the rest kept as a residual, both without a scale."""

    def aggregate(self, deltas, weights):
        shares, result, self.residuals = [w / sum(weights) for w in weights], {}, {}
        for key in deltas[0]:
            if "lora_A" in key:
                other = key.replace("lora_A", "lora_B")
                layer = key.split(".lora_A")[0]
                mean = sum(p * d[other].float() @ d[key].float() for p, d in zip(shares, deltas, strict=True))
                rank = max(d[key].shape[0] for d in deltas)
                u, s, vt = torch.linalg.svd(mean, full_matrices=False)
                result[key], result[other] = (
                    vt[:rank].to(deltas[0][key].dtype),
                    (u[:, :rank] * s[:rank]).to(deltas[0][key].dtype),
                )
                self.residuals[layer] = mean - (u[:, :rank] * s[:rank]) @ vt[:rank]
            elif "lora" not in key:
                result[key] = sum(p * d[key].float() for p, d in zip(shares, deltas, strict=True)).to(
                    deltas[0][key].dtype
                )
        return result

    def get_residuals(self):
        return self.residuals


class Halved(Truncated):
    """The same with a residual that is half of what is missing."""

    def get_residuals(self):
        return {name: residual / 2 for name, residual in self.residuals.items()}


def verdicts(subject, laws=(1, 2, 3, 4, 6)):
    return {finding.law: finding.verdict for finding in examine(subject, list(laws), seeds=1)}


def test_flower_is_met_as_what_it_is(monkeypatch):
    stand_in(monkeypatch, "flwr.server.strategy.aggregate", aggregate=mean_of_lists)
    assert set(verdicts(foreign.flower_fedavg).values()) == {"pass"}


def test_chorus_is_exact_with_its_residual_and_not_with_half_of_it(monkeypatch):
    stand_in(monkeypatch, "chorus.server.aggregation", STRATEGIES={"fedex-lora": Truncated})
    assert set(verdicts(foreign.chorus_fedex).values()) == {"pass"}
    stand_in(monkeypatch, "chorus.server.aggregation", STRATEGIES={"fedex-lora": Halved})
    assert verdicts(foreign.chorus_fedex)[3] == "fail"


def test_a_package_that_is_not_installed_is_one_clear_line(monkeypatch):
    for name in {"flwr", *(name for name in sys.modules if name.startswith("flwr."))}:  # whoever has loaded it before
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match="expected an installed flwr"):
        examine(foreign.flower_fedavg, [1])


@pytest.mark.parametrize(
    ("subject", "package"),
    [(foreign.flower_fedavg, "flwr"), (foreign.chorus_fedavg, "chorus"), (foreign.chorus_fedex, "chorus")],
)
def test_the_package_itself(subject, package):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    assert set(verdicts(subject).values()) == {"pass"}
