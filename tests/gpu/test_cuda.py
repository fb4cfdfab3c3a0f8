"""The same laws on a CUDA device. Run with: python -m pytest tests/gpu"""

from __future__ import annotations

import numpy as np
import pytest

from rolora.experiment import loop
from tests.conftest import changed
from tests.experiment.test_experiment import adapter, measured
from tests.training.test_isolation import differences, leaks, play

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_seed_gives_the_same_bits_twice(table, tmp_path, dtype):
    config = changed(table, runtime__device="cuda", runtime__dtype=dtype)
    records = [loop.run(config, tmp_path / name) for name in ("one", "two")]
    assert adapter(tmp_path / "one") == adapter(tmp_path / "two")
    assert measured(records[0]) == measured(records[1])


def test_every_client_starts_from_the_broadcast(table):
    assert leaks(changed(table, runtime__device="cuda")) == set()
    assert leaks(changed(table, runtime__device="cuda", federation__client_state="shared"))


def test_the_order_of_clients_does_not_change_a_bit(table):
    config = changed(table, runtime__device="cuda")
    assert differences(play(config)[0][-1], play(config, order=[2, 1, 0])[0][-1]) == set()


def test_cuda_agrees_with_the_cpu(table):
    """Without dropout (whose streams differ between devices), after four rounds, in float32."""
    changes = {"lora__dropout": 0.0, "model__dropout": 0.0, "training__optimizer": "sgd"}
    cpu, cuda = (play(changed(table, **changes, runtime__device=device))[0][-1] for device in ("cpu", "cuda"))
    for name, layer in cpu.layers.items():
        np.testing.assert_allclose(cuda.layers[name].update.cpu(), layer.update, rtol=1e-3, atol=1e-6)
