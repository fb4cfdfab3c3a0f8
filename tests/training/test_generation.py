"""Prompts with responses, from rows to an adapter that plain PEFT loads: engines, packing, micro-batches, partitions."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

from rolora.errors import InputError
from rolora.evaluation.evaluate import evaluate
from rolora.experiment import loop
from rolora.experiment.setup import prepare
from rolora.keys import Key
from rolora.models import peft_boundary
from rolora.models.seeding import named_stream
from rolora.training.local_update import gradients
from rolora.training.objectives import IGNORED
from rolora.training.tokenisation import framed, packed, prompted
from tests.conftest import WORDS, changed
from tests.experiment.test_experiment import architectures
from tests.training.rounds import furthest
from tests.training.test_equality import final

CPU = torch.device("cpu")
TARGETS = {"llama": ["q_proj", "v_proj"], "gpt2": ["c_attn"]}


@pytest.fixture(scope="module")
def decoders(tiny_model, tmp_path_factory):
    """Folders of tiny causal models with random weights, by architecture."""
    folders = {}
    for name in TARGETS:
        folders[name] = tmp_path_factory.mktemp(f"tiny-{name}-lm")
        with named_stream(Key(1), CPU):
            settings = architectures()[name][0]
            transformers.AutoModelForCausalLM.from_config(settings).save_pretrained(folders[name])
        tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
        tokenizer.eos_token, tokenizer.pad_token = "[SEP]", "[PAD]"
        tokenizer.save_pretrained(folders[name])
    return folders


@pytest.fixture(scope="module")
def dialogues(tmp_path_factory):
    """Rows in Dolly's form: 120 different instructions of words, some with a context, answered by their last word."""
    generator = Key(0).fold("dialogues").generator()
    path = tmp_path_factory.mktemp("dialogues") / "rows.jsonl"
    rows = {}
    while len(rows) < 120:
        words = generator.choice(WORDS, size=int(generator.integers(2, 8))).tolist()
        rows[" ".join(words)] = {
            "instruction": " ".join(words),
            "context": " ".join(words[:2]) if len(words) % 2 else "",
            "response": " ".join([words[-1]] * int(generator.integers(1, 4))),
            "category": f"kind {len(words) % 3}",
            "owner": int(generator.integers(3)),
        }
    path.write_text("".join(json.dumps(row) + "\n" for row in rows.values()))
    return path


@pytest.fixture
def asked(table, decoders, dialogues):
    """The table of a config that trains the tiny Llama on the dialogues."""
    table["model"] |= {"name": str(decoders["llama"]), "max_length": 24}
    table["lora"] |= {"target_modules": TARGETS["llama"]}
    table["data"] = {"name": str(dialogues), "task": "generation", "validation_examples": 20, "test_examples": 20}
    return table


def test_only_the_response_and_its_end_are_learned(tiny_model):
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.eos_token = "[SEP]"
    found = prompted(tokenizer, [("good film", "", "bad")], 16, "plain")
    row, targets = found.fields["input_ids"][0], found.labels[0]
    assert tokenizer.convert_ids_to_tokens(row) == ["[CLS]", "good", "film", "[SEP]", "bad", "[SEP]"]
    assert targets == [IGNORED] * 4 + row[4:]


@pytest.mark.parametrize(("prompt", "response", "kept"), [(30, 2, (14, 3)), (2, 30, (5, 12)), (30, 30, (8, 9))])
def test_what_is_too_long_keeps_the_prompts_end_and_the_responses_beginning(tiny_model, prompt, response, kept):
    """Of 17 tokens; the tokenizer adds two to the prompt, and the end one to the response."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.eos_token = "[SEP]"
    found = prompted(tokenizer, [("good " * prompt + "film", "bad " * response)], 17, "plain")
    learned = [target != IGNORED for target in found.labels[0]]
    assert (learned.count(False), learned.count(True)) == kept
    assert learned == sorted(learned)
    before = [token for token, is_learned in zip(found.fields["input_ids"][0], learned, strict=True) if not is_learned]
    assert tokenizer.convert_ids_to_tokens(before)[-2:] == ["film", "[SEP]"]


def test_frames(tiny_model):
    assert framed(None, ("Do it.", "This."), "alpaca").count("###") == 3
    assert framed(None, ("Do it.", ""), "alpaca").count("###") == 2
    assert framed(None, ("Do it.", "This."), "plain") == "Do it.\n\nThis."
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    with pytest.raises(InputError, match="no chat format"):
        framed(tokenizer, ("Do it.",), "chat")
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<answer>"
    assert framed(tokenizer, ("Do it.",), "chat") == "<user>Do it.<answer>"


@pytest.mark.parametrize("packing", [False, True])
def test_batched_is_sequential(asked, packing):
    """Unequal lengths, an incomplete last batch, dropout, clipping, in float64."""
    hard = {
        "runtime__dtype": "float64", "runtime__group_size": 2, "training__batch_size": 7, "training__max_grad_norm": 0.5,
        "data__packing": packing, "federation__partition": "dirichlet", "federation__dirichlet_alpha": 1.0,
    }  # fmt: skip
    (expected, losses), (found, others) = (
        final(changed(asked, **hard, runtime__engine=engine), 3) for engine in ("sequential", "batched")
    )
    assert furthest(found, expected) < 1e-9
    np.testing.assert_allclose(others, losses, rtol=1e-11)


def gradient_of(setup, examples, chosen, at_once=None):
    parts = peft_boundary.set_trainable(setup.model, frozenset("AB"), head=False)
    loss = gradients(setup.model.eval(), examples, chosen, at_once, CPU, None, None)
    found = [parameter.grad.clone() for each in parts.values() for parameter in each]
    setup.model.zero_grad(set_to_none=True)
    return loss, found


def in_float64(asked, **changes):
    setup = prepare(changed(asked, lora__dropout=0.0, runtime__dtype="float64", **changes))
    with torch.no_grad():
        for index, factors in enumerate(peft_boundary.factor_parameters(setup.model).values()):
            stream = Key(5).fold(index).generator()
            factors["B"].copy_(torch.from_numpy(stream.standard_normal(tuple(factors["B"].shape))))
    return setup


def test_a_packed_text_sees_no_other(asked):
    """Loss and gradient of packed rows are those of the texts alone; a mean over tokens needs no weights."""
    setup = in_float64(asked)
    clients = [np.arange(9), np.arange(9, 20)]
    packs, held = packed(setup.train, clients, 24)
    assert 1 < len(held[0]) < 9 and max(packs.texts_in_row) > 1
    assert [packs.texts(rows) for rows in held] == [9, 11]
    for texts, rows in zip(clients, held, strict=True):
        loss, found = gradient_of(setup, setup.train, texts)
        other, others = gradient_of(setup, packs, rows)
        torch.testing.assert_close(other, loss, rtol=1e-12, atol=0)
        for one, two in zip(found, others, strict=True):
            torch.testing.assert_close(two, one, rtol=1e-9, atol=1e-13)


def test_with_an_attention_mask_packing_would_leak(asked):
    """The control: one mask over the row lets a text see those before it."""
    setup = in_float64(asked)
    packs, held = packed(setup.train, [np.arange(9)], 24)
    leaky = dict(packs.fields) | {"attention_mask": [[1] * len(row) for row in packs.fields["input_ids"]]}
    packs.pad["attention_mask"] = 0
    loss, _ = gradient_of(setup, setup.train, np.arange(9))
    other, _ = gradient_of(setup, replace(packs, fields=leaky), held[0])
    assert abs(float(other / loss) - 1) > 1e-6


@pytest.mark.parametrize("at_once", [1, 3, 8, 100])
def test_micro_batches_give_the_gradient_of_the_batch(asked, at_once):
    setup = in_float64(asked)
    chosen = np.arange(3, 11)
    loss, found = gradient_of(setup, setup.train, chosen)
    other, others = gradient_of(setup, setup.train, chosen, at_once)
    torch.testing.assert_close(other, loss, rtol=1e-12, atol=0)
    for one, two in zip(found, others, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-9, atol=1e-13)


def test_the_loss_is_a_mean_over_response_tokens(asked):
    setup = in_float64(asked)
    found = evaluate(setup.model, setup.held_out, 7, CPU)
    loss, _ = gradient_of(setup, setup.held_out, np.arange(20))
    assert found.loss == pytest.approx(float(loss), rel=1e-6)
    assert found.terms == setup.held_out.terms(np.arange(20)) and found.examples == 20
    assert found.as_dict() == {"loss": found.loss, "examples": 20}


def test_clients_as_the_data_have_them(asked, dialogues):
    setup = prepare(changed(asked, federation__partition="by-column", data__client_column="owner"))
    rows = {json.loads(line)["instruction"]: json.loads(line)["owner"] for line in dialogues.read_text().splitlines()}
    for owner, share in enumerate(setup.clients):
        assert {rows[setup.data.train.texts[index][0]] for index in share} == {owner}
    assert sum(len(share) for share in setup.clients) == len(setup.train)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"federation__partition": "by-column"}, "client_column: got nothing"),
        ({"data__client_column": "owner"}, "client_column: got 'owner'"),
        ({"federation__partition": "by-column", "data__client_column": "owned"}, "no column 'owned'"),
        (
            {"federation__partition": "by-column", "data__client_column": "owner", "federation__num_clients": 4},
            "federation.num_clients: got 4, expected 3",
        ),
        ({"data__text_columns": ["instruct"]}, "no column 'instruct'"),
        ({"data__text_columns": ["instruction"], "data__response_column": "answer"}, "no column 'answer'"),
        ({"data__task": "classification", "data__packing": True}, "data.packing: got true"),
        ({"training__micro_batch_size": 2, "runtime__engine": "batched"}, "micro_batch_size: got 2"),
    ],
)
def test_what_cannot_be_met_is_one_line(asked, changes, words):
    with pytest.raises(InputError) as error:
        prepare(changed(asked, **changes))
    assert words in str(error.value) and "\n" not in str(error.value)


def test_unknown_forms_and_empty_responses_are_named(asked, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question_text": "why", "reply": "so"}\n')
    with pytest.raises(InputError, match=r"question_text, reply, expected data\.text_columns and"):
        prepare(changed(asked, data__name=str(path)))
    path.write_text('{"prompt": "why", "response": "so"}\n{"prompt": "when", "response": " "}\n')
    with pytest.raises(InputError, match=r"rows\.jsonl, line 2, column 'response': the text is empty"):
        prepare(changed(asked, data__name=str(path)))


RELOAD = """
import json, sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(sys.argv[1]), sys.argv[2]).eval()
with torch.no_grad():
    print(json.dumps(model(input_ids=torch.tensor([[5, 6, 7, 11, 12]])).logits.tolist()))
"""


@pytest.mark.parametrize("architecture", TARGETS)
def test_twenty_steps_from_a_config_and_plain_peft_gives_the_same_logits(asked, decoders, architecture, tmp_path):
    config = changed(
        asked, model__name=str(decoders[architecture]), lora__target_modules=TARGETS[architecture],
        federation__rounds=5, federation__num_clients=2, training__local_steps=4, training__learning_rate=0.02,
    )  # fmt: skip
    record = loop.run(config, tmp_path / "run")
    assert record["final"]["loss"] < record["initial_evaluation"]["loss"]
    assert record["model"]["trainable"]["head"] == 0
    adapter = str(tmp_path / "run" / "adapter")
    command = [sys.executable, "-c", RELOAD, str(decoders[architecture]), adapter]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    setup = prepare(config)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(decoders[architecture])
    from peft import PeftModel

    trained = PeftModel.from_pretrained(loaded, adapter).eval()
    held = {name: tensor for name, tensor in peft_boundary.factor_parameters(trained).items()}
    assert all(float(factors["B"].detach().abs().max()) > 0 for factors in held.values())
    with torch.no_grad():
        expected = trained(input_ids=torch.tensor([[5, 6, 7, 11, 12]])).logits
    torch.testing.assert_close(torch.tensor(json.loads(printed)), expected, rtol=1e-5, atol=1e-6)
    assert evaluate(trained, setup.held_out, 8, CPU).loss == pytest.approx(record["final"]["loss"], rel=1e-5)
