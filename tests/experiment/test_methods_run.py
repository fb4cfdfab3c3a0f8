"""Every method, through data, model, engine, checkpoint and record."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from rolora.algorithms import ALGORITHMS
from rolora.evaluation import evaluate
from rolora.experiment import loop
from rolora.keys import Key
from rolora.models import backbone, peft_boundary
from tests.conftest import changed
from tests.experiment.test_experiment import Stop, assert_same, interrupted, stop_after

VARIANTS = {name: {"algorithm": name} for name in ALGORITHMS} | {
    "rolora, mixed with ffa": {"method": {"schedule": "BABB"}},
    "rolora, momentum at the server": {"server": {"optimizer": "momentum", "learning_rate": 0.7}},
    "fedavg, adam at the server": {"algorithm": "fedavg-lora", "server": {"optimizer": "adam", "learning_rate": 0.01}},
    "flexlora, mixed ranks": {"algorithm": "flexlora", "federation__client_ranks": [1, 2]},
    "flora, mixed ranks": {"algorithm": "flora", "federation__client_ranks": [1, 2]},
    "hetlora, mixed ranks": {"algorithm": "hetlora", "federation__client_ranks": [1, 2, 2]},
    "fedsa-lora, two of three": {"algorithm": "fedsa-lora", "federation__clients_per_round": 2},
    "fedex-lora, two of three": {"algorithm": "fedex-lora", "federation__clients_per_round": 2},
    "fedprox": {"algorithm": "fedavg-lora", "training__proximal": 0.5},
    "asymmetric": {"training__learning_rate_a": 0.001},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_interrupted_run_resumes_to_the_same_bits(tmp_path, finished_run, variant):
    expected = finished_run(**VARIANTS[variant])
    clients = len(expected.record["rounds"][0]["clients"])
    assert_same(interrupted(expected.config, tmp_path, [2 * clients + clients // 2]), expected.folder)


@pytest.mark.parametrize("name", ["flora", "fedex-lora"])
def test_adapter_and_residual_together_are_the_model_that_was_evaluated(finished_run, name):
    finished = finished_run(algorithm=name)
    config, folder = finished.config, finished.folder
    residual = load_file(folder / "residual.safetensors")
    fresh = backbone.load(config.model, "classification", 2, Key(99), torch.float32, torch.device("cpu"))
    scale = config.lora.alpha / config.lora.rank
    with torch.no_grad():
        for layer, added in residual.items():
            assert torch.any(added != 0)
            fresh.model.get_submodule(layer).weight += scale * added.T
    loaded = PeftModel.from_pretrained(fresh.model, folder / "adapter")
    setup = loop.prepare(config)
    result = evaluate.evaluate(loaded, setup.held_out, 64, torch.device("cpu"))
    assert result.as_dict() == finished.record["final"]


def test_a_residual_is_folded_once_and_can_be_taken_back(table):
    """Writing a state sets the backbone's weight; it never adds to what was folded before."""
    setup = loop.prepare(changed(table, algorithm="flora"))
    module = next(iter(peft_boundary.lora_layers(setup.model).values())).get_base_layer()
    name = next(iter(peft_boundary.lora_layers(setup.model)))
    start = module.weight.detach().clone()
    plain = peft_boundary.read(setup.model, head=True)
    layer = plain.layers[name]
    ones = torch.ones(layer.A.shape[0], layer.B.shape[1])
    with_residual = type(plain)({**plain.layers, name: type(layer)(layer.A, layer.B, ones)}, plain.head)
    for _ in range(2):
        peft_boundary.write(setup.model, with_residual)
        torch.testing.assert_close(module.weight, start + peft_boundary.scales(setup.model)[name])
    peft_boundary.write(setup.model, plain)
    assert torch.equal(module.weight, start)


def test_personal_models_are_each_measured_on_their_own_part(finished_run):
    """Every held-out example is seen once; a model per client gives another number than the server's start."""
    finished = finished_run(algorithm="local-only")
    record = finished.record
    assert record["final"]["examples"] == record["data"]["test"]
    personal = load_file(finished.folder / "personal.safetensors")
    assert {name.split("|")[0] for name in personal} == {"0", "1", "2"}
    assert {name.split("|")[1] for name in personal} == {"A", "B"}
    assert record["rounds"][0]["bytes_up"]["A"] == record["rounds"][0]["bytes_up"]["B"] == 0


def test_the_centralised_reference_has_all_data_at_one_client(finished_run):
    record = finished_run(algorithm="centralised").record
    assert record["data"]["client_sizes"] == [record["data"]["train"]]
    assert [entry["clients"] for entry in record["rounds"]] == [[0]] * len(record["rounds"])


def test_a_client_of_small_rank_trains_and_sends_its_rank(finished_run):
    """The columns beyond a client's rank stay zero while it trains; the bytes are those of its rank."""
    record = finished_run(algorithm="flexlora", federation__client_ranks=[1, 2, 2]).record
    full = finished_run(algorithm="flexlora").record
    for part in ("A", "B"):
        assert 6 * record["rounds"][0]["bytes_up"][part] == 5 * full["rounds"][0]["bytes_up"][part]


def test_flora_begins_every_round_with_a_new_adapter(table, tmp_path):
    config = changed(table, algorithm="flora")
    with pytest.raises(Stop):
        loop.run(config, tmp_path, progress=stop_after(4))
    server, *_ = loop.load_checkpoint(tmp_path / loop.CHECKPOINT, config)
    first = loop.prepare(config).first
    for name, layer in server.layers.items():
        assert torch.all(layer.B == 0)
        assert not torch.equal(layer.A, first.layers[name].A)
        assert np.abs(layer.A.numpy()).max() <= 1 / np.sqrt(layer.A.shape[0])
        assert torch.any(layer.residual != 0)


def test_a_residual_is_counted_in_the_record(finished_run):
    rounds = finished_run(algorithm="flora").record["rounds"]
    assert "residual" not in rounds[0]["bytes_down"]
    assert rounds[1]["bytes_down"]["residual"] > 0
    assert "residual" not in rounds[1]["bytes_up"]
