"""Every family of models through a federated run from a config alone, and its adapter through plain PEFT in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertConfig, DebertaV2Config, GPT2Config, LlamaConfig, RobertaConfig

from rolora.errors import InputError
from rolora.experiment import loop
from rolora.keys import Key
from rolora.models import backbone, peft_boundary
from tests.conftest import changed, relative_error

SIZES = {"vocab_size": 17, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
FAMILIES = {
    "bert": (BertConfig(**SIZES, max_position_embeddings=32), ["query", "value"]),
    "roberta": (RobertaConfig(**SIZES, max_position_embeddings=34, type_vocab_size=2), ["query", "value"]),
    "deberta-v2": (
        DebertaV2Config(
            **SIZES, max_position_embeddings=32, type_vocab_size=0, relative_attention=True, position_buckets=8,
            norm_rel_ebd="layer_norm", share_att_key=True, pos_att_type=["p2c", "c2p"], position_biased_input=False,
        ),
        ["query_proj", "value_proj"],
    ),
    "llama": (LlamaConfig(**SIZES, num_key_value_heads=1), ["q_proj", "v_proj"]),
    "gpt2": (GPT2Config(vocab_size=17, n_embd=16, n_layer=2, n_head=2, n_positions=32), ["c_attn"]),
}  # fmt: skip

PLAIN_PEFT = """
import json, sys
import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification

assert not [name for name in sys.modules if name.startswith("rolora")]
for case in json.loads(sys.argv[1]):
    base = AutoModelForSequenceClassification.from_pretrained(case["base"])
    model = PeftModel.from_pretrained(base, case["adapter"]).eval()
    inputs = {name: torch.tensor(rows) for name, rows in case["inputs"].items()}
    with torch.no_grad():
        save_file({"logits": model(**inputs).logits}, case["logits"])
"""


def config_of(name, table, folder, tiny_model):
    settings, _ = FAMILIES[name]
    settings.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    if name in ("llama", "gpt2"):
        tokenizer.eos_token, tokenizer.pad_token = "[SEP]", None
    tokenizer.save_pretrained(folder)
    table["lora"].pop("target_modules", None)
    return changed(
        table, model__name=str(folder), model__weights="random", federation__num_clients=2, federation__rounds=5,
        training__local_steps=2, evaluation__every=5,
    )  # fmt: skip


@pytest.fixture
def runs(tmp_path, table, tiny_model):
    """Each family's record, its logits here, and its logits in a process that knows PEFT and transformers alone."""
    found, cases = {}, []
    for name in FAMILIES:
        folder = tmp_path / name
        config = config_of(name, table, folder / "model", tiny_model)
        record = loop.run(config, folder / "run")
        # The backbone of random weights is drawn again from the seed alone, and put where PEFT can read it.
        key, device = Key(config.seed).fold("model"), torch.device("cpu")
        base = backbone.load(config.model, "classification", 2, key, torch.float32, device)
        base.model.save_pretrained(folder / "base")
        setup = loop.prepare(config)
        inputs, _ = setup.held_out.batch(torch.arange(8).numpy(), device)
        adapter = folder / "run" / "adapter"
        case = {"base": folder / "base", "adapter": adapter, "logits": folder / "logits.safetensors"}
        inputs_as_lists = {field: tensor.tolist() for field, tensor in inputs.items()}
        cases.append({field: str(path) for field, path in case.items()} | {"inputs": inputs_as_lists})
        server = trained_state(setup, adapter)
        peft_boundary.write(setup.model, server)
        with torch.no_grad():
            here = setup.model.eval()(**inputs).logits
        found[name] = record, setup, here, case["logits"]
    subprocess.run(
        [sys.executable, "-c", PLAIN_PEFT, json.dumps(cases)],
        check=True,
        capture_output=True,
        cwd=tmp_path,
        timeout=120,
    )
    return {
        name: (record, setup, here, load_file(path)["logits"]) for name, (record, setup, here, path) in found.items()
    }


def trained_state(setup, adapter: Path):
    """The state of a finished run, from its adapter's file, in this project's own terms."""
    saved = load_file(adapter / "adapter_model.safetensors")
    state = peft_boundary.read(setup.model, head=True)
    for name, layer in state.layers.items():
        layer.A.copy_(saved[f"base_model.model.{name}.lora_A.weight"].T)
        layer.B.copy_(saved[f"base_model.model.{name}.lora_B.weight"].T)
    for name, tensor in state.head.items():
        tensor.copy_(saved[f"base_model.model.{name}"])
    return state


def test_every_family_trains_from_a_config_alone_and_plain_peft_reads_its_adapter(runs):
    for name, (record, setup, here, there) in runs.items():
        assert sum(len(entry["clients"]) for entry in record["rounds"]) * 2 == 20
        assert record["model"]["target_modules"] == FAMILIES[name][1]
        assert record["model"]["name"].endswith("(random weights)")
        assert record["model"]["source"].startswith("random weights; local folder; tokenizer: its own")
        state = peft_boundary.read(setup.model, head=True)
        assert all(bool(layer.B.any()) for layer in state.layers.values()), name
        # Two layers of sums of 24 terms at most, in float32: a few roundings of 6e-8.
        assert relative_error(there, here) < 1e-5, name
        assert float(here.std()) > 1e-3, f"{name}: logits that do not depend on the text would agree anyhow"


def test_positions_that_all_rows_share_are_never_shared_by_clients(table, tmp_path, tiny_model):
    """DeBERTa sends its relative positions through the adapted query matrix, once for the whole batch."""
    config = config_of("deberta-v2", table, tmp_path / "model", tiny_model)

    def run(name, **runtime):
        chosen = config.model_copy(update={"runtime": config.runtime.model_copy(update={"dtype": "float64"} | runtime)})
        return loop.run(chosen, tmp_path / name)

    one, other = run("sequential"), run("batched", engine="batched")
    assert other["environment"]["group_size"] == 1
    for entry, same in zip(one["rounds"], other["rounds"], strict=True):
        assert same["loss"] == pytest.approx(entry["loss"], rel=1e-9)
    with pytest.raises(
        InputError, match=r"runtime.group_size: got 2, expected 1, or nothing: in this model the rows of a"
    ):
        run("several", engine="batched", group_size=2)
