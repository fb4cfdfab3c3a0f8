"""Runs that train together give what each gives alone."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.torch import load_file

from rolora.experiment import lockstep, loop
from rolora.training.engines.batched import Trainer
from tests.conftest import changed

COMMON = {
    "runtime__engine": "batched",
    "runtime__dtype": "float64",
    "runtime__group_size": 4,
    "federation__clients_per_round": 2,
}


def test_seeds_rates_and_methods_train_together_as_each_would_alone(table, tmp_path, monkeypatch):
    configs = [
        changed(table, **COMMON),
        changed(table, **COMMON, seed=1),
        changed(table, **COMMON, training__learning_rate=0.003, training__learning_rate_a=0.001),
        changed(table, **COMMON, algorithm="fedavg-lora"),
        changed(table, **COMMON, algorithm="fedex-lora", federation__rounds=3),
        changed(table, **COMMON, server={"optimizer": "momentum", "learning_rate": 0.5}),
    ]
    (unit,) = lockstep.sets(configs)
    sizes = []
    train = Trainer.train
    monkeypatch.setattr(Trainer, "train", lambda self, jobs, *rest: sizes.append(len(jobs)) or train(self, jobs, *rest))
    joint = lockstep.run(unit, tmp_path / "joint", resume=False, progress=lambda name, event: None)
    assert max(sizes) == 4  # clients of several runs in one group
    for config, found in zip(configs, joint, strict=True):
        name = config.run_name()
        alone = loop.run(config, tmp_path / "alone" / name)
        assert found["environment"]["runs_together"] == 6
        assert [entry["bytes_up"] for entry in found["rounds"]] == [entry["bytes_up"] for entry in alone["rounds"]]
        np.testing.assert_allclose(
            [entry["loss"] for entry in found["rounds"]], [entry["loss"] for entry in alone["rounds"]], rtol=1e-9
        )
        adapters = [
            load_file(tmp_path / kind / name / "adapter" / "adapter_model.safetensors") for kind in ("joint", "alone")
        ]
        for tensor, expected in zip(adapters[0].values(), adapters[1].values(), strict=True):
            np.testing.assert_allclose(tensor, expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(
    "changes",
    [
        {"training__local_steps": 2},
        {"lora__rank": 1},
        {"runtime__group_size": 3},
        {"model__head": "frozen", "seed": 1},
        {"evaluation__split": "validation"},
    ],
)
def test_runs_that_cannot_train_together_are_kept_apart(table, changes):
    one = changed(table, **COMMON)
    assert len(lockstep.sets([one, changed(table, **COMMON | changes)])) == 2


def test_the_sequential_engine_trains_runs_one_by_one(table):
    assert len(lockstep.sets([changed(table), changed(table, seed=1)])) == 2
