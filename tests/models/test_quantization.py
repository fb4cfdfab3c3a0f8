"""Quantised backbones without a GPU: what is refused, what the library would be asked for, and what bytes are planned.

The formula for a matrix was compared, byte for byte, with what bitsandbytes 0.50.2 makes on a CPU.
"""

from __future__ import annotations

from importlib import metadata

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
    LlamaConfig,
)
from typer.testing import CliRunner

from rolora.algorithms import ALGORITHMS
from rolora.cli.app import app
from rolora.config import ModelConfig
from rolora.errors import InputError
from rolora.keys import Key
from rolora.models import architectures, quantization
from rolora.models import backbone as models
from rolora.planning import plan
from tests.config.test_config import write
from tests.conftest import changed

CUDA = torch.device("cuda", 0)
FOLDING = {"flora", "fedex-lora"}


def quantised(table, kind, **changes):
    return changed(table, model__quantization=kind, **({"runtime__device": "cuda"} | changes))


@pytest.mark.parametrize("kind", ["8bit", "4bit"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"runtime__device": "cpu"}, 'expected "none" with runtime.device = "cpu": it needs a CUDA device'),
        ({"runtime__dtype": "float64"}, 'expected "none" with runtime.dtype = "float64"'),
        ({"algorithm": "flora"}, 'expected "none" with flora: it adds a residual to the backbone'),
        ({"algorithm": "fedex-lora"}, 'expected "none" with fedex-lora: it adds a residual'),
    ],
)
def test_what_cannot_be_quantised_is_refused_by_the_config(table, kind, changes, words):
    with pytest.raises(InputError, match=f"model.quantization: got '{kind}', {words}") as fault:
        quantised(table, kind, **changes)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - FOLDING))
def test_every_method_that_leaves_the_backbone_alone_is_taken(table, name):
    assert quantised(table, "4bit", algorithm=name).model.quantization == "4bit"


def test_old_hashes_stay_valid(table):
    assert changed(table, model__quantization="none", model__weights="pretrained").hash() == changed(table).hash()


def load(name, kind, objective="classification", **arguments):
    config = ModelConfig(name=str(name), max_length=8, head="trained", quantization=kind, **arguments)
    return models.load(config, objective, 3, Key(0), torch.bfloat16, CUDA)


def test_a_device_that_is_none_and_a_package_that_is_missing_are_named(tiny_model, monkeypatch):
    config = ModelConfig(name=str(tiny_model), max_length=8, head="trained", quantization="4bit")
    with pytest.raises(
        InputError, match=r'model\.quantization: got "4bit" on cpu, expected "none": it needs a CUDA device'
    ):
        models.load(config, "classification", 2, Key(0), torch.float32, torch.device("cpu"))
    monkeypatch.setattr(quantization, "find_spec", lambda package: None)
    with pytest.raises(
        InputError, match=r"the package bitsandbytes, which is not installed: pip install 'rolora\[quant"
    ):
        load(tiny_model, "4bit")


@pytest.fixture
def asked(monkeypatch):
    """What ``from_pretrained`` is asked for, on a machine that seems to have all that it takes."""
    seen = {}

    def instead_of(kind):
        def from_pretrained(location, **arguments):
            seen.update(arguments, kind=kind)
            with architectures.META:
                return kind.from_config(arguments["config"])

        return from_pretrained

    for kind in (AutoModelForSequenceClassification, AutoModelForCausalLM):
        monkeypatch.setattr(kind, "from_pretrained", instead_of(kind))
    monkeypatch.setattr(quantization, "find_spec", lambda package: package)
    # The config asks for the library's version.
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.50.2" if name == "bitsandbytes" else version(name))
    return seen


@pytest.mark.parametrize("weights", ["pretrained", "random"])
def test_4_bits_are_nf4_with_double_quantisation_and_leave_the_head_alone(table, tiny_model, asked, weights):
    backbone = load(tiny_model, "4bit", weights=weights)
    given = asked["quantization_config"]
    assert isinstance(given, BitsAndBytesConfig)
    assert (given.load_in_4bit, given.load_in_8bit) == (True, False)
    assert (given.bnb_4bit_quant_type, given.bnb_4bit_use_double_quant) == ("nf4", True)
    assert given.bnb_4bit_compute_dtype == torch.bfloat16
    assert given.llm_int8_skip_modules == ["classifier"]
    assert asked["device_map"] == {"": CUDA}
    assert asked["dtype"] == torch.bfloat16
    # Counted on the model as it is without: the packed weights are half as many numbers, and are no parameters' number.
    config = changed(table)
    assert backbone.parameters == plan.model_skeleton(config.model, config.lora, 3, torch.float32).parameters


def test_8_bits_are_the_librarys_int8(tiny_model, asked):
    load(tiny_model, "8bit")
    given = asked["quantization_config"]
    assert (given.load_in_4bit, given.load_in_8bit, given.llm_int8_threshold) == (False, True, 6.0)


def test_output_embeddings_are_left_alone(tmp_path, tiny_model, asked):
    LlamaConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24
    ).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path)
    load(tmp_path, "4bit", "generation", weights="random")
    assert asked["quantization_config"].llm_int8_skip_modules == ["lm_head"]
    assert asked["kind"] is AutoModelForCausalLM


def test_planned_bytes_are_those_counted_by_hand(table):
    """Two layers of BERT with q, k, v, o of 16 x 16, up and down of 16 x 24, and a pooler's 16 x 16; all else as it is."""
    squares, up, down = 2 * 4 + 1, 2, 2
    in_float32 = 4 * (squares * 256 + (up + down) * 384)
    # A byte a weight, and a float32 for each row: 16 of a square, 24 of up, 16 of down.
    int8 = squares * (256 + 4 * 16) + up * (384 + 4 * 24) + down * (384 + 4 * 16)
    # Half a byte a weight; 256 / 64 = 4 and 384 / 64 = 6 blocks of a byte, one float32 for all of them; 273 float32.
    nf4 = squares * (128 + 4 + 4 + 1092) + (up + down) * (192 + 6 + 4 + 1092)
    plain = plan.plan(changed(table), flops_per_second=1e9)
    assert "quantization" not in plain.model
    for kind, expected in (("8bit", int8), ("4bit", nf4)):
        planned = plan.plan(quantised(table, kind), flops_per_second=1e9)
        assert planned.memory["backbone"] == plain.memory["backbone"] - in_float32 + expected
        assert planned.model == plain.model | {"quantization": kind}
        assert [note for note in planned.notes if note not in plain.notes] == [plan.QUANTISED[kind]]


def test_llama_2_7b_in_4_bits_has_the_bytes_of_the_papers_arithmetic(table):
    """QLoRA: 4 bits and 0.127 for constants; embeddings, 32000 x 4096, and norms in 16 bits."""
    planned = plan.plan(
        quantised(
            table,
            "4bit",
            model__name="llama-2-7b",
            lora__target_modules=["q_proj", "v_proj"],
            runtime__dtype="bfloat16",
        ),
        flops_per_second=1e9,
    )
    matrices = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    other = 2 * (6_607_343_616 - matrices + 2 * 4096)
    by_the_paper = matrices * (4 + 8 / 64 + 32 / (64 * 256)) / 8
    tables = 32 * 7 * 1092
    assert planned.memory["backbone"] == pytest.approx(other + by_the_paper + tables, abs=32 * 7 * 8 + 4096)
    assert planned.memory["residual"] == 0


def test_the_command_refuses_in_one_line_and_plans_for_a_gpu_that_is_not_here(tmp_path, table):
    path = str(write(tmp_path, table))
    answer = CliRunner().invoke(app, ["run", path, "model.quantization=4bit", "--out", str(tmp_path / "runs")])
    assert answer.exit_code == 2
    assert len(answer.stderr.strip().splitlines()) == 1 and "needs a CUDA device" in answer.stderr
    assert not (tmp_path / "runs").exists()
    words = ["plan", path, "model.quantization=4bit", "runtime.device=cuda", "--flops-per-second", "1e12"]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    said = " ".join(answer.output.split())
    assert "float32, 4bit" in said and "double quantisation" in said


class Integers(torch.nn.Linear):
    """A matrix of integers that answers in the dtype of what it is given, as bitsandbytes' do."""

    def __init__(self):
        super().__init__(4, 4, bias=False)
        self.weight = torch.nn.Parameter(torch.ones(4, 4, dtype=torch.int8), requires_grad=False)

    def forward(self, x):
        return (x.bfloat16() @ self.weight.bfloat16()).to(x.dtype)


@pytest.mark.parametrize(("inside", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_quantised_matrices_take_part_in_autocast(inside, expected):
    """After a norm in float32 they answer in the dtype of autocast, as a matrix of floating-point numbers does."""
    model = torch.nn.Sequential(Integers(), torch.nn.Linear(4, 4, bias=False))
    x = torch.ones(2, 4)
    assert model[0](x).dtype == torch.float32
    quantization.narrow_inputs(model)
    with torch.autocast("cpu", torch.bfloat16, enabled=inside):
        found, plain = model[0](x), model[1](x)
    assert found.dtype == plain.dtype == expected
    assert torch.equal(found.float(), torch.full((2, 4), 4.0))
