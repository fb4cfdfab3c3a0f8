"""What a round is said to lose, against the dense definition, for every kind of method."""

import numpy as np
import pytest

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.experiment import loop
from rolora.federation.interference import lost
from rolora.keys import Key
from tests.conftest import changed

WEIGHTS = [0.2, 0.3, 0.5]


def layers(count, rank=2):
    stream = Key(0).fold("layers").generator()
    return [Layer(stream.standard_normal((6, rank)), stream.standard_normal((rank, 5))) for _ in range(count)]


@pytest.mark.parametrize("name", ["fedavg-lora", "flexlora", "flora", "fedex-lora", "lora-fair", "hetlora"])
def test_the_loss_is_what_the_dense_definition_says(name):
    before, *clients = layers(4)
    after = ALGORITHMS[name]().aggregate(0, before, clients, WEIGHTS)
    found = lost(before, after, clients, WEIGHTS)
    ideal = sum(p * client.A @ client.B for p, client in zip(WEIGHTS, clients, strict=True))
    moved = np.linalg.norm(ideal - before.A @ before.B)
    mean_a, mean_b = (sum(p * getattr(c, f) for p, c in zip(WEIGHTS, clients, strict=True)) for f in "AB")
    assert found["interference"] == pytest.approx(np.linalg.norm(ideal - mean_a @ mean_b) / moved)
    assert found["missed"] == pytest.approx(np.linalg.norm(ideal - after.update) / moved, abs=1e-12)
    if name == "fedavg-lora":
        assert found["missed"] == pytest.approx(found["interference"])
    if name in ("flora", "fedex-lora"):
        assert found["missed"] < 1e-12 < 0.1 < found["interference"]


def test_a_common_factor_leaves_no_interference():
    before, one, two = layers(3)
    clients = [Layer(before.A, one.B), Layer(before.A, two.B)]
    after = ALGORITHMS["rolora"]().aggregate(0, before, clients, [0.5, 0.5])
    assert max(lost(before, after, clients, [0.5, 0.5]).values()) < 1e-14


def test_mixed_ranks_have_no_interference_of_factors_and_no_move_has_no_ratio():
    before, one = layers(2)
    other = Layer(one.A[:, :1], one.B[:1])
    after = ALGORITHMS["flexlora"]().aggregate(0, before, [one, other], [0.5, 0.5])
    found = lost(before, after, [one, other], [0.5, 0.5])
    assert found["interference"] is None
    assert found["missed"] > 0
    assert lost(before, before, [before], [1.0]) == {"interference": None, "missed": None}


def test_a_run_records_it_for_every_layer_and_round_if_asked(table, tmp_path):
    asked = changed(table, algorithm="fedavg-lora", evaluation__interference=True)
    record = loop.run(asked, tmp_path / "asked")
    assert all(entry["lost"].keys() == set(record["model"]["adapted_layers"]) for entry in record["rounds"])
    assert all(one["missed"] > 1e-9 for entry in record["rounds"] for one in entry["lost"].values())
    silent = loop.run(changed(table, algorithm="fedavg-lora"), tmp_path / "silent")
    assert not any("lost" in entry for entry in silent["rounds"])
    assert silent["final"] == record["final"]
    personal = changed(table, algorithm="fedsa-lora", evaluation__interference=True)
    assert not any("lost" in entry for entry in loop.run(personal, tmp_path / "personal")["rounds"])
