"""What is adapted when a config does not spell it out: modules by the model's type, layers by name."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig
from typer.testing import CliRunner

from rolora.cli.app import app
from rolora.config import LoraConfig, layer_budgets
from rolora.errors import InputError
from rolora.experiment import loop
from rolora.keys import Key
from rolora.models import adapter_targets, architectures, peft_boundary
from rolora.planning import plan
from tests.config.test_config import write
from tests.conftest import changed

SMALL = {"vocab_size": 20, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}


def bare(kind, depth=24, objective="classification"):
    given = {"vocab_size": 20, "n_embd": 16, "n_layer": depth, "n_head": 2}
    own = given if kind == "gpt2" else SMALL | {"num_hidden_layers": depth}
    settings = AutoConfig.for_model(kind, **own, pad_token_id=0)
    return architectures.from_settings(settings, torch.float32, architectures.META, objective=objective)


def resolved(model, data_name="glue/sst2", **changes):
    lora = LoraConfig(**({"rank": 2, "alpha": 4, "dropout": 0.0} | changes))
    return adapter_targets.resolve(lora, model, "the model", data_name)


@pytest.mark.parametrize(
    ("kind", "modules"),
    [
        ("bert", ("query", "value")),
        ("roberta", ("query", "value")),
        ("deberta-v2", ("query_proj", "value_proj")),
        ("llama", ("q_proj", "v_proj")),
        ("qwen2", ("q_proj", "v_proj")),
        ("phi", ("q_proj", "v_proj")),  # PEFT lists the MLP too; the papers adapt query and value
        ("gpt2", ("c_attn",)),  # query, key and value in one
    ],
)
def test_query_and_value_are_found_by_the_type_of_the_model(kind, modules):
    model = bare(kind, 2)
    assert resolved(model).target_modules == modules
    assert resolved(model, target_modules="auto").target_modules == modules
    wrapped = peft_boundary.attach(model, LoraConfig(rank=2, alpha=4, dropout=0.0), Key(0), "the model")
    assert {name.rpartition(".")[2] for name in peft_boundary.lora_layers(wrapped)} == set(modules)


def test_a_type_that_peft_does_not_list_is_one_line_with_the_names_there_are():
    with pytest.raises(
        InputError, match=r"a distilbert model, expected names, as PEFT lists none for it: classifier, k_lin"
    ):
        settings = AutoConfig.for_model("distilbert", vocab_size=20, dim=16, n_layers=2, n_heads=2, hidden_dim=24)
        resolved(architectures.from_settings(settings, torch.float32, architectures.META))


@pytest.mark.parametrize(
    ("budget", "modules"),
    [
        # arXiv 2409.02346, Table 5, as numbers of adapted modules: layers times W_q and W_v.
        ("budget-1", {"sst2": 48, "qnli": 24, "mnli": 24, "qqp": 24, "rte": 24}),
        ("budget-2", {"sst2": 12, "qnli": 18, "mnli": 18, "qqp": 18, "rte": 16}),
        ("budget-3", {"sst2": 3, "qnli": 6, "mnli": 6, "qqp": 6, "rte": 6}),
    ],
)
def test_the_papers_budgets_adapt_as_many_modules_as_its_table_says(budget, modules):
    for task, count in modules.items():
        lora = LoraConfig(rank=1, alpha=2, dropout=0.0, layers=budget)
        wrapped = peft_boundary.attach(bare("roberta"), lora, Key(0), "the model", f"glue/{task}")
        names = list(peft_boundary.lora_layers(wrapped))
        assert len(names) == count
        assert max(int(name.split(".layer.")[1].split(".")[0]) for name in names) == 23
    assert all(chosen.layers[-1] == 23 for tasks in layer_budgets.BUDGETS.values() for chosen in tasks.values())


def test_the_smallest_budget_of_sst2_is_the_value_matrix_alone():
    assert resolved(bare("roberta"), layers="budget-3").target_modules == ("value",)
    assert resolved(bare("deberta-v2"), layers="budget-3").target_modules == ("value_proj",)
    assert resolved(bare("roberta"), layers="budget-3", target_modules=["value"]).target_modules == ("value",)
    with pytest.raises(InputError, match="got query, value, expected W_v alone with this budget of glue/sst2"):
        resolved(bare("roberta"), layers="budget-3", target_modules=["query", "value"])
    with pytest.raises(
        InputError, match="a budget of W_v for the model, expected a model with these apart; it has c_attn"
    ):
        resolved(bare("gpt2"), layers="budget-3")


@pytest.mark.parametrize("objective", ["classification", "generation"])
def test_the_recalled_layers_of_llama(objective):
    lora = resolved(bare("llama", 32, objective), "commonsense", layers="llama-commonsense")
    assert lora.layers == tuple(range(26, 32))
    assert set(lora.target_modules) == {"q_proj", "k_proj", "v_proj", "o_proj"}


@pytest.mark.parametrize(
    ("name", "depth", "layers"),
    [
        ("upper-half", 24, range(12, 24)),
        ("upper-half", 5, (3, 4)),
        ("upper-third", 6, (4, 5)),
        ("upper-third", 2, (1,)),
    ],
)
def test_shares_go_by_depth(name, depth, layers):
    assert resolved(bare("bert", depth), "anything.csv", layers=name).layers == tuple(layers)


@pytest.mark.parametrize(
    ("depth", "data_name", "layers", "words"),
    [
        (
            6,
            "glue/sst2",
            "budget-1",
            "got 'budget-1', expected a model of 24 layers, .*has 6; upper-half and upper",
        ),
        (24, "glue/sst2", "llama-commonsense", "expected a model of 32 layers, where .* has 24"),
        (
            24,
            "rotten-tomatoes",
            "budget-2",
            "expected sst2, qnli, .*not 'rotten-tomatoes'",
        ),
        (24, "glue/cola", "budget-2", "not 'glue/cola'"),
        (6, "glue/sst2", [6], "lora.layers: got 6, expected 0 to 5, the layers of the model"),
    ],
)
def test_a_name_that_does_not_fit_says_what_does(depth, data_name, layers, words):
    with pytest.raises(InputError, match=words) as fault:
        resolved(bare("roberta", depth), data_name, layers=layers)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"lora__layers": "budget-9"},
            "lora.layers: got 'budget-9', expected layer numbers or one of budget-1, budget-2",
        ),
        ({"lora__layers": [0, -1]}, "lora.layers.1: got -1, expected greater than or equal to 0"),
        ({"lora__target_modules": "query"}, "lora.target_modules: got 'query', expected \"auto\" or a list of names"),
        ({"lora__target_modules": []}, "lora.target_modules: got"),
    ],
)
def test_what_a_config_cannot_mean_is_one_line(table, changes, words):
    with pytest.raises(InputError, match=words):
        changed(table, **changes)


def test_what_is_left_out_leaves_hashes_as_they_were_and_auto_is_left_out(table):
    table["lora"].pop("target_modules")
    left_out, auto = changed(table), changed(table, lora__target_modules="auto")
    assert left_out.hash() == auto.hash()
    assert "target_modules" not in left_out.resolved()["lora"]
    assert changed(table, lora__target_modules=["query"]).resolved()["lora"]["target_modules"] == ["query"]


def test_record_plan_and_dry_run_say_what_was_found(table, tmp_path):
    table["lora"].pop("target_modules")
    table["lora"]["layers"] = "upper-half"
    config = changed(table, federation__rounds=1)
    record = loop.run(config, tmp_path / "run")
    assert record["config"]["lora"]["layers"] == "upper-half"
    assert (record["model"]["layers"], record["model"]["target_modules"]) == ([1], ["query", "value"])
    spelt_out = changed(table, federation__rounds=1, lora__layers=[1], lora__target_modules=["query", "value"])
    assert peft_boundary.found(spelt_out.lora, loop.prepare(spelt_out).model) == {}
    same = loop.run(spelt_out, tmp_path / "spelt-out")
    assert same["final"] == record["final"]
    assert not {"layers", "target_modules"} & same["model"].keys()
    planned = plan.plan(config, flops_per_second=1e9)
    assert (planned.model["layers"], planned.model["target_modules"]) == ([1], ["query", "value"])
    for words in (["run", "--dry-run"], ["plan", "--flops-per-second", "1e9"]):
        answer = CliRunner().invoke(app, [words[0], str(write(tmp_path, table)), *words[1:]])
        assert answer.exit_code == 0, answer.output
        assert "lora.layers" in answer.output and "query, value" in answer.output


def test_a_plan_says_that_recalled_layers_are_unverified(table):
    table["lora"].pop("target_modules")
    config = changed(table, model__name="llama-2-7b", lora__layers="llama-commonsense")
    notes = plan.plan(config, flops_per_second=1e9).notes
    assert any("llama-commonsense are recalled from the paper, unverified" in note for note in notes)


def test_a_model_that_generates_has_no_head_and_pefts_task_for_it():
    model = bare("llama", 2, "generation")
    wrapped = peft_boundary.attach(model, LoraConfig(rank=2, alpha=4, dropout=0.0), Key(0), "the model")
    config = wrapped.peft_config[peft_boundary.ADAPTER]
    assert (config.task_type, config.modules_to_save) == ("CAUSAL_LM", None)
    assert peft_boundary.head_parameters(wrapped) == {}
    assert peft_boundary.read(wrapped, head=True).head == {}
    parts = peft_boundary.set_trainable(wrapped, frozenset("B"), head=True)
    assert list(parts) == ["B"]
    classifier = peft_boundary.attach(bare("llama", 2), LoraConfig(rank=2, alpha=4, dropout=0.0), Key(0), "the model")
    assert classifier.peft_config[peft_boundary.ADAPTER].task_type == "SEQ_CLS"
