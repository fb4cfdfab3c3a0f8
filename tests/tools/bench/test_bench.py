"""The contestants do the same job, and the benchmark says so where one cannot; how long they take is no test's business."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import set_peft_model_state_dict

from rolora.errors import InputError
from rolora.models import peft_boundary
from tests.conftest import changed
from tests.tools.bench import engines, gpu, plain_loop, profile, scaling
from tests.tools.bench.__main__ import CONTESTANTS, JOBS, chosen, contest_table, job
from tests.tools.bench.contest import contest, differences, spread
from tests.tools.bench.given import build_model, load

JOB = {
    "model__max_length": 6,
    "model__dropout": 0.0,
    "lora__dropout": 0.0,
    "training__weight_decay": 0.1,
    "federation__rounds": 3,
    "evaluation__every": 3,
}


def in_float64(table, **changes):
    """A setup, what it gives to the plain loop, and the latter's model."""
    setup = engines.exact(changed(table, **JOB | {"runtime__dtype": "float64"} | changes))
    given = engines.give(setup)
    return setup, given, build_model(given)


def by_engine(setup):
    server = peft_boundary.read(setup.model, head=True)
    after = engines.federated(engines.engine_of(setup), setup.config, setup.key, server)
    return engines.state_of(setup.model, after)


@pytest.mark.parametrize("layers", [None, [1]])
@pytest.mark.parametrize("algorithm", ["fedavg-lora", "rolora"])
@pytest.mark.parametrize("engine", ["sequential", "batched"])
def test_the_plain_loop_and_the_engines_do_the_same_job(table, algorithm, engine, layers):
    """In float64 to a few thousand roundings: 3 rounds x 3 steps of AdamW, whose division enlarges the smallest entries'."""
    setup, given, model = in_float64(table, algorithm=algorithm, runtime__engine=engine, lora__layers=layers)
    plain = plain_loop.federated(model, given)
    found = by_engine(setup)
    assert found.keys() == plain.keys()
    assert all(tensor.dtype == torch.float64 for name, tensor in plain.items() if "lora" in name)
    assert differences(found, plain, given.start)["difference_of_movement"] < 1e-12
    moved = {name for name in plain if not torch.equal(plain[name], given.start[name])}
    assert moved == set(plain)


def test_another_batch_or_weight_or_order_of_factors_is_another_job(table):
    """The control: the comparison notices what a baseline could do otherwise."""
    _, given, model = in_float64(table)
    plain = plain_loop.federated(model, given)
    fewer = [[*clients[:-1], clients[-1][:-1]] for clients in given.batches]
    for other in (
        replace(given, batches=fewer),
        replace(given, weights=[1.0, 1.0, 2.0]),
        replace(given, algorithm="fedavg-lora"),
        replace(given, weight_decay=0.0),
    ):
        found = plain_loop.federated(model, other)
        assert differences(found, plain, given.start)["difference_of_movement"] > 1e-4


def test_all_batches_are_full_and_nothing_is_padded(table):
    setup = engines.exact(changed(table, **JOB))
    given = engines.give(setup)
    assert given.client_steps == 3 * 3 * 3
    assert {len(row) for row in setup.train.fields["input_ids"]} == {6}
    for clients in given.batches:
        for steps in clients:
            assert all(batch["input_ids"].shape == (4, 6) and batch["attention_mask"].min() == 1 for batch in steps)


def test_more_clients_than_texts_begin_from_the_beginning(table):
    setup = engines.exact(changed(table, **JOB, federation__num_clients=40))
    assert {len(indices) for indices in setup.clients} == {12}
    counts = np.bincount(np.concatenate(setup.clients), minlength=len(setup.train))
    assert counts.max() - counts.min() <= 1


def test_a_job_crosses_a_folder_unchanged(table, tmp_path):
    given = engines.give(engines.exact(changed(table, **JOB)))
    given.save(tmp_path)
    found = load(tmp_path)
    assert replace(found, start={}, batches=[]) == replace(given, start={}, batches=[])
    assert all(torch.equal(found.start[name], tensor) for name, tensor in given.start.items())
    pairs = zip(np.ravel(found.batches), np.ravel(given.batches), strict=True)
    assert all(torch.equal(one[name], other[name]) for one, other in pairs for name in other)


def test_a_contest_compares_processes_and_says_what_it_could_not_measure(table):
    """One pass of the plain loop and of an engine; no Flower in an interpreter that does not exist."""
    found = contest(changed(table, **JOB), ("plain", "batched", "flower"), 1, "no-such-python", {"group_size": 2})
    plain, batched, flower = (found["contestants"][name] for name in ("plain", "batched", "flower"))
    assert plain["difference"] == 0.0 and plain["speed"]["of_medians"] == 1.0
    assert batched["difference_of_movement"] < 1e-3  # float32; other sums, and AdamW divides by small roots
    assert batched["runtime"]["group_size"] == 2 and batched["seconds"][0] > 0
    assert batched["accuracy"] == plain["accuracy"]
    assert 'pip install "flwr[simulation]==' in flower["not_measured"]
    rows = contest_table("a title", found).columns
    assert list(rows[0].cells) == ["plain", "batched", "flower"]


def test_an_option_that_no_engine_has_is_one_line(table, tmp_path):
    engines.give(engines.exact(changed(table, **JOB))).save(tmp_path)
    with pytest.raises(InputError, match=r"runtime\.engine: got 'quantum', expected"):
        engines.contestant(tmp_path, {"engine": "quantum"})
    with pytest.raises(InputError, match=r"unknown key runtime\.wings"):
        engines.contestant(tmp_path, {"wings": 2})


def test_a_job_with_dropout_has_no_plain_counterpart(table):
    setup = engines.exact(changed(table, **JOB | {"lora__dropout": 0.1}))
    with pytest.raises(InputError, match=r"expected 0: a plain loop draws other masks"):
        engines.give(setup)


def test_only_names_parts_and_contestants():
    assert chosen([]) == ([*JOBS, "clients"], list(CONTESTANTS))
    assert chosen(["flower", "all"]) == (["all"], ["flower"])
    with pytest.raises(InputError, match="--only: got nothing-like-it, expected some of all, upper, clients, plain"):
        chosen(["nothing-like-it"])


@pytest.mark.parametrize("layers", [layers for _, layers in JOBS.values()])
def test_the_jobs_are_valid_configs(layers):
    config = changed(job(layers, clients=3))
    assert config.model.name == "all-MiniLM-L6-v2" and config.federation.num_clients == 3


def test_spread_and_differences_are_what_they_say():
    assert spread([2.0, 9.0, 4.0, 4.0]) == {"min": 2.0, "median": 4.0, "max": 9.0}
    start, plain, final = ({"x": torch.tensor([value, 0.0])} for value in (1.0, 4.0, 4.5))
    assert differences(final, plain, start) == {"difference": 0.125, "difference_of_movement": 1 / 6}


def test_memory_is_counted_from_after_loading(table, monkeypatch, capsys):
    config = changed(table, **JOB, runtime__engine="batched")
    monkeypatch.setattr(sys, "argv", ["scaling", json.dumps(config.resolved())])
    scaling.main()
    found = json.loads(capsys.readouterr().out)
    assert found["client_step_seconds"] > 0
    assert found["memory_peak"] >= (found["memory_before"] or 0) > 1


@pytest.mark.parametrize("engine", ["sequential", "batched"])
def test_a_profile_accounts_for_all_of_the_time(table, engine):
    """With rank 3, which no other dimension has: rank 2 could not be told from the two labels."""
    config = changed(table, **JOB, lora__rank=3, runtime__engine=engine, training__batch_size=5)
    found = profile.measure(config.resolved())
    assert sum(found["seconds"].values()) == pytest.approx(found["wall"], rel=1e-9)
    assert set(found["seconds"]) == set(profile.KINDS)
    assert all(found["seconds"][kind] > 0 for kind in profile.KINDS)
    assert len(found["operations"]) == 10


def test_the_shapes_tell_the_products_apart():
    kinds = [
        profile.kind_of(name, shapes, 4, 2)
        for name, shapes in (
            ("aten::bmm", [[4, 64, 384], [4, 384, 4]]),
            ("aten::bmm", [[4, 64, 384], [4, 384, 384]]),
            ("aten::addmm", [[2], [8, 384], [384, 2]]),
            ("aten::gelu_backward", [[8, 32, 1536]]),
            ("aten::_scaled_dot_product_flash_attention_for_cpu", [[8, 12, 32, 32]]),
            ("aten::add", [[4, 4]]),
        )
    ]
    assert kinds == [
        "adapter products", "backbone products", "head products", "normalisation and activation", "attention",
        "other operations",
    ]  # fmt: skip


@pytest.mark.parametrize("name", gpu.PARTS)
def test_a_dry_run_of_the_gpu_parts_measures_every_contestant(name, tmp_path):
    before = torch.are_deterministic_algorithms_enabled()
    part = gpu.shrunk(gpu.PARTS[name])
    gpu.run_part(name, part, torch.device("cpu"), True, 100.0, tmp_path)
    torch.use_deterministic_algorithms(before)
    record = json.loads((tmp_path / f"{name}.json").read_text())
    assert len(record["contestants"]) == 3 + len(part.groups)
    for entry in record["contestants"].values():
        assert "not_measured" not in entry
        tokens = part.clients * gpu.LOCAL_STEPS * part.rows * part.tokens
        assert entry["tokens_per_second"] == pytest.approx(tokens / min(entry["seconds"]))
    assert record["matrix_entries"] < record["parameters"]
    assert (record["matrix_entries_reached"] < record["matrix_entries"] - 1000) == name.endswith("upper")


def test_the_gpu_contestants_do_the_same_job():
    """The plain loop and both engines of the dry run, in float32, from the same first adapter."""
    part = gpu.shrunk(gpu.PARTS["roberta-large"])
    prepared = gpu.ready(part, torch.float32, torch.device("cpu"), True)
    start = engines.state_of(prepared.model, peft_boundary.read(prepared.model, head=True))
    plain = gpu.plain(prepared, {"dtype": "float32"})()
    for runtime in ({"engine": "sequential"}, {"engine": "batched", "group_size": 2}):
        set_peft_model_state_dict(prepared.model, start)
        after = gpu.by_engine(prepared, runtime | {"dtype": "float32"})()
        found = engines.state_of(prepared.model, after)
        assert differences(found, plain, start)["difference_of_movement"] < 1e-3
