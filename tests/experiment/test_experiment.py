"""A run from config to record: repeatable, resumable to the bit, never run twice, and loadable by PEFT."""

from __future__ import annotations

import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from rolora import records
from rolora.config import check
from rolora.errors import InputError
from rolora.evaluation import evaluate
from rolora.experiment import loop
from rolora.experiment.checkpoint import load_checkpoint, save_checkpoint
from rolora.federation.communication import Ledger
from rolora.keys import Key
from rolora.models import backbone
from rolora.models.seeding import named_stream
from tests.conftest import changed


def adapter(directory):
    return (directory / "adapter" / "adapter_model.safetensors").read_bytes()


def measured(record):
    """A record without what may differ between equal runs: seconds."""
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in record["rounds"]]


def contents(folder):
    """Every file below a folder, by its path; a record without the seconds, which differ between equal runs."""
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.name == "record.json":
            record = json.loads(content)
            record.pop("seconds")
            content = record | {"rounds": measured(record)}
        files[str(path.relative_to(folder))] = content
    return files


def assert_same(folder, expected):
    files, expected = contents(folder), contents(expected)
    assert files.keys() == expected.keys()
    assert [name for name in files if files[name] != expected[name]] == []


def test_the_same_seed_gives_the_same_bits_twice(table, tmp_path, finished_run):
    """Also with other runs beside it: threads are fixed by the config, whatever this process used before."""
    torch.set_num_threads(2)
    loop.run(changed(table), tmp_path)
    assert_same(tmp_path, finished_run().folder)


class Stop(Exception):
    """A process that dies."""


def stop_after(number):
    def progress(event):
        if event.done == number:
            raise Stop

    return progress


def interrupted(config, folder, stops):
    """Interrupt a run after these numbers of local updates, one after another, and let it finish."""
    for number in stops:
        with pytest.raises(Stop):
            loop.run(config, folder, progress=stop_after(number), resume=True)
        assert not (folder / "record.json").exists()
    loop.run(config, folder, resume=True)
    return folder


@pytest.mark.parametrize(
    ("federation", "stops"),
    [
        ({}, [1, 3, 5, 8, 11]),
        ({"clients_per_round": 2, "num_clients": 4}, [1, 2, 5, 7]),
        ({"client_state": "shared"}, [1, 3, 5, 8, 11]),
        ({"client_state": "chained"}, [1, 3, 5, 8, 11]),
    ],
)
def test_an_interrupted_run_resumes_to_the_same_bits(tmp_path, finished_run, federation, stops):
    expected = finished_run(**{f"federation__{name}": value for name, value in federation.items()})
    assert_same(interrupted(expected.config, tmp_path, stops), expected.folder)


def test_a_finished_run_is_not_run_again(finished_run):
    first = finished_run()
    written = (first.folder / "record.json").stat().st_mtime_ns
    assert loop.run(first.config, first.folder, progress=stop_after(0)) == first.record
    assert (first.folder / "record.json").stat().st_mtime_ns == written


def test_an_unfinished_run_is_neither_lost_nor_continued_unasked(table, tmp_path):
    with pytest.raises(Stop):
        loop.run(changed(table), tmp_path, progress=stop_after(7))
    kept = (tmp_path / loop.CHECKPOINT).read_bytes()
    with pytest.raises(InputError, match="add --resume"):
        loop.run(changed(table), tmp_path)
    with pytest.raises(InputError, match="belongs to another config"):
        loop.run(changed(table, seed=5), tmp_path, resume=True)
    assert (tmp_path / loop.CHECKPOINT).read_bytes() == kept


def test_a_damaged_checkpoint_is_named(table, tmp_path):
    (tmp_path / loop.CHECKPOINT).write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="expected a checkpoint of this software"):
        loop.run(changed(table), tmp_path, resume=True)


def test_a_record_says_all_that_is_needed_to_run_it_again(finished_run):
    finished = finished_run()
    config, record = finished.config, finished.record
    assert records.read_json(finished.folder / "record.json") == record
    assert check(record["config"], "record") == config
    assert record["config_hash"] == config.hash()
    assert record["environment"]["threads"] == 1
    assert record["environment"]["packages"]["torch"] == torch.__version__
    assert record["model"]["trainable"] == {"A": 4 * 16 * 2, "B": 4 * 2 * 16, "head": 2 * 16 + 2}
    assert sum(record["data"]["client_sizes"]) == record["data"]["train"]
    assert [bool(entry["evaluation"]) for entry in record["rounds"]] == [False, True, False, True]
    assert json.dumps(record, allow_nan=False)


@pytest.mark.parametrize("head", ["trained", "frozen"])
def test_peft_loads_the_adapter_and_measures_what_the_record_says(finished_run, head):
    """The head is saved even when it is frozen: its random start is part of the model that was evaluated."""
    finished = finished_run(model__head=head)
    config = finished.config
    fresh = backbone.load(config.model, "classification", 2, Key(99), torch.float32, torch.device("cpu"))
    loaded = PeftModel.from_pretrained(fresh.model, finished.folder / "adapter")
    setup = loop.prepare(config)
    result = evaluate.evaluate(loaded, setup.held_out, 64, torch.device("cpu"))
    assert result.as_dict() == finished.record["final"]


def test_a_saved_adapter_names_the_model_and_no_folder_of_this_machine(table, tmp_path):
    config = changed(table, model__name="all-MiniLM-L6-v2", federation__rounds=1, lora__layers=[5])
    loop.run(config, tmp_path)
    saved = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert saved["base_model_name_or_path"] == "all-MiniLM-L6-v2"
    assert set(load_file(tmp_path / "adapter" / "adapter_model.safetensors")) == {
        *(
            f"base_model.model.bert.encoder.layer.5.attention.self.{module}.lora_{factor}.weight"
            for module in ("query", "value")
            for factor in "AB"
        ),
        "base_model.model.classifier.weight",
        "base_model.model.classifier.bias",
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"federation__num_clients": 500}, "iid leaves client"),
        ({"lora__target_modules": ["nothing"]}, "lora.target_modules: got nothing, expected linear modules"),
        ({"lora__layers": [2]}, "lora.layers: got 2, expected 0 to 1"),
        ({"model__name": "./nowhere"}, "model.name: got './nowhere'"),
        ({"runtime__device": "cuda:93"}, "runtime.device: got 'cuda:93'"),
        ({"runtime__device": "abacus"}, "runtime.device: got 'abacus'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(table, tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        loop.run(changed(table, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def architectures():
    from transformers import DebertaV2Config, GPT2Config, LlamaConfig, RobertaConfig

    small = {
        "vocab_size": 17,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
    }
    return {
        "roberta": (RobertaConfig(**small, max_position_embeddings=40, type_vocab_size=2), ["query", "value"]),
        "deberta-v2": (DebertaV2Config(**small, max_position_embeddings=40), ["query_proj", "value_proj"]),
        "llama": (LlamaConfig(**small, num_key_value_heads=1), ["q_proj", "v_proj"]),
        "gpt2": (GPT2Config(vocab_size=17, n_embd=16, n_layer=2, n_head=2, n_positions=40), ["c_attn"]),
    }


def local_model(name, tiny_model, folder):
    """Save a model with random weights and a tokenizer; return the changes of a config that uses it."""
    import transformers

    config, targets = architectures()[name]
    with named_stream(Key(0), torch.device("cpu")):
        transformers.AutoModel.from_config(config).save_pretrained(folder / name)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    if name in ("llama", "gpt2"):
        tokenizer.eos_token, tokenizer.pad_token = "[SEP]", None
    tokenizer.save_pretrained(folder / name)
    return {"model__name": str(folder / name), "lora__target_modules": targets}


@pytest.mark.parametrize("name", architectures())
def test_the_same_loop_trains_every_architecture(table, tiny_model, tmp_path, name):
    """Encoders and decoders from a local folder: heads of different names, a missing pad token, a Conv1D."""
    record = loop.run(changed(table, **local_model(name, tiny_model, tmp_path), federation__rounds=2), tmp_path / "run")
    assert record["rounds"][0]["bytes_up"]["A"] == 0 < record["rounds"][0]["bytes_up"]["B"]
    trained = load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    assert all(torch.any(tensor != 0) for label, tensor in trained.items() if "lora_B" in label)


def test_the_tiny_task_is_learnt(table, tmp_path):
    record = loop.run(changed(table, federation__rounds=30, training__learning_rate=0.05), tmp_path)
    assert record["final"]["accuracy"] > record["data"]["majority_rate"] + 0.2


def test_the_real_encoder_learns_and_rolora_alternates(tmp_path):
    """The packaged encoder on the packaged sentences, a fifth of the quickstart: far above the majority class."""
    table = {
        "algorithm": "rolora",
        "seed": 0,
        "model": {"name": "all-MiniLM-L6-v2", "max_length": 32, "head": "trained", "dropout": 0.0},
        "lora": {"rank": 4, "alpha": 16, "dropout": 0.0, "target_modules": ["query", "value"], "layers": [3, 4, 5]},
        "data": {"name": "rotten-tomatoes", "validation_examples": 500, "test_examples": 400},
        "federation": {"num_clients": 3, "rounds": 10, "partition": "iid", "client_weights": "examples"},
        "training": {"optimizer": "adamw", "learning_rate": 0.01, "local_steps": 5, "batch_size": 8},
        "evaluation": {"every": 10},
        "runtime": {"threads": 1},
    }
    record = loop.run(check(table, "test"), tmp_path)
    assert record["model"]["parameters"] == 22_713_216
    assert [entry["trained"] for entry in record["rounds"][:4]] == [["B"], ["A"], ["B"], ["A"]]
    # 400 texts: a guesser's accuracy has a standard deviation of .025, so this is four of them above the majority class.
    assert record["final"]["accuracy"] > record["data"]["majority_rate"] + 0.1


def test_a_checkpoint_holds_the_state_bit_for_bit(table, tmp_path):
    config = changed(table)
    state, ledger = loop.prepare(config).first, Ledger().after_round(0, [0, 2], {"B", "head"})
    progress = ledger, [{"round": 0, "loss": 0.1}], {"accuracy": 0.3}
    save_checkpoint(tmp_path / "c", config, state, *progress)
    read, *read_progress = load_checkpoint(tmp_path / "c", config)
    assert tuple(read_progress) == progress
    assert (read.layers.keys(), read.head.keys()) == (state.layers.keys(), state.head.keys())
    for name, layer in state.layers.items():
        assert torch.equal(read.layers[name].A, layer.A)
        assert torch.equal(read.layers[name].B, layer.B)
    assert all(torch.equal(read.head[name], state.head[name]) for name in state.head)


def test_a_bfloat16_backbone_trains_adapter_and_head_in_float32(table, tmp_path, finished_run):
    config = changed(table, runtime__dtype="bfloat16")
    setup = loop.prepare(config)
    state = setup.first
    assert {layer.A.dtype for layer in state.layers.values()} == {torch.float32}
    assert {tensor.dtype for tensor in state.head.values()} == {torch.float32}
    assert setup.model.get_base_model().bert.embeddings.word_embeddings.weight.dtype == torch.bfloat16
    half, single = loop.run(config, tmp_path), finished_run().record
    # The same batches and masks: the first round's mean loss differs by bfloat16's rounding (2^-8) of logits of order 1.
    assert half["rounds"][0]["loss"] == pytest.approx(single["rounds"][0]["loss"], abs=2**-6)
    assert half["rounds"][0]["loss"] != single["rounds"][0]["loss"]
