"""The harness scores our options as a plain computation from the definition does, and its prompts are ours."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pytest
import torch
import yaml
from peft import LoraConfig, get_peft_model
from tokenizers import processors

from rolora.errors import InputError
from rolora.evaluation.benchmarks import BENCHMARKS
from rolora.evaluation.benchmarks import decoder as decoders
from rolora.evaluation.benchmarks.benchmark import Option
from rolora.evaluation.benchmarks.decoder import Decoder
from rolora.evaluation.benchmarks.likelihood import Score, log_likelihoods
from rolora.keys import Key
from rolora.models import precision
from rolora.models.backbone import PACKAGED_MODELS
from rolora.models.seeding import named_stream
from tests.evaluation.conftest import CPU, HUB_ROWS, ROWS, rejected

datasets = pytest.importorskip("datasets")
lm_eval = pytest.importorskip("lm_eval")

ROUNDING = 2e-5
"""Of a sum of some tens of float32 log-probabilities of a model of two layers, between batches of other shapes."""


def options() -> list[Option]:
    names = [name for name in ROWS if name != "gsm8k"]
    return [
        option
        for name in names
        for option in BENCHMARKS[name].likelihood(ROWS[name], [ROWS[name]] if name == "mmlu" else []).options
    ]


def by_hand(decoder: Decoder, option: Option) -> tuple[float, int]:
    """log p of an option from its definition: one text, no padding, NumPy in float64."""
    alone = decoder.tokenizer(option.context.rstrip())["input_ids"]
    start, tokens = len(alone), decoder.tokenizer(option.context + option.continuation)["input_ids"]
    tokens = alone + tokens[start:]  # a merge over the border is cut off, as in the harness
    with torch.no_grad(), precision.arithmetic(decoder.model):
        logits = decoder.model(torch.tensor([tokens[:-1]])).logits[0].float().numpy().astype(np.float64)
    total = 0.0
    for position in range(start, len(tokens)):
        row = logits[position - 1]
        total += row[tokens[position]] - row.max() - np.log(np.exp(row - row.max()).sum())
    return total, len(tokens) - start


def assert_by_hand(decoder: Decoder, scored: list[Option], scores: list[Score], rounding: float = ROUNDING) -> None:
    for option, score in zip(scored, scores, strict=True):
        total, count = by_hand(decoder, option)
        assert score.log_likelihood == pytest.approx(total, rel=rounding)
        assert (score.tokens, score.cut) == (count, 0)
        assert score.characters == len(option.continuation.strip())


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_a_batch_scores_as_by_hand(decoder, batch_size):
    assert len({len(decoder.encode(option.context)) for option in options()}) > 5  # or padding is not tried
    completed = []
    scores = log_likelihoods(decoder, options(), batch_size, lambda done, total: completed.append((done, total)))
    assert_by_hand(decoder, options(), scores)
    assert completed[-1] == (len(options()),) * 2
    assert scores == log_likelihoods(decoder, options(), batch_size)


def test_half_precision_is_normalised_in_float32(decoder):
    decoder.model.to(torch.bfloat16)
    for option in options()[:6]:  # one at a time: in another shape the logits themselves round differently
        assert_by_hand(decoder, [option], log_likelihoods(decoder, [option], 1))


def test_white_space_before_an_option_belongs_to_it_wherever_it_stands(decoder):
    first, second = log_likelihoods(decoder, [Option("Is", "  so"), Option("Is  ", "so")], 2)
    assert (first.log_likelihood, first.tokens) == (second.log_likelihood, second.tokens)
    assert first.tokens > log_likelihoods(decoder, [Option("Is", "so")], 1)[0].tokens


def test_a_long_context_loses_its_beginning_and_a_long_option_is_refused(decoder):
    long = Option("x" * 600 + "?", " so")
    (score,) = log_likelihoods(decoder, [long], 1)
    assert score.cut == 1 + 601 + 3 - 1 - 512  # beginning token, context, option; its last token is no input
    tokens = decoder.encode(long.context + long.continuation)[score.cut :]
    with torch.no_grad():
        rows = decoder.model(torch.tensor([tokens])).logits[0].double().log_softmax(-1)
    expected = sum(float(rows[position - 1, tokens[position]]) for position in range(len(tokens) - 3, len(tokens)))
    assert score.log_likelihood == pytest.approx(expected, rel=ROUNDING)
    for continuation, count in (("x" * 700, 700), ("", 0)):
        with rejected("1 to 512 tokens", got=count):
            log_likelihoods(decoder, [Option("so", continuation)], 1)


def test_an_option_without_context_follows_the_beginning_token(decoder):
    (own,) = log_likelihoods(decoder, [Option("", "so")], 1)
    begun = [decoder.tokenizer.bos_token_id, *decoder.tokenizer("so", add_special_tokens=False)["input_ids"]]
    with torch.no_grad():
        rows = decoder.model(torch.tensor([begun])).logits[0].double().log_softmax(-1)
    expected = sum(float(rows[position - 1, begun[position]]) for position in range(1, len(begun)))
    assert own.log_likelihood == pytest.approx(expected, rel=ROUNDING)
    decoder.tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A")
    assert decoder.encode("so")[0] != decoder.tokenizer.bos_token_id
    assert log_likelihoods(decoder, [Option("", "so")], 1) == [own]


def test_a_model_with_an_adapter_is_scored_with_it(decoder):
    plain = log_likelihoods(decoder, options()[:4], 4)
    with named_stream(Key(0).fold("adapter"), CPU):
        adapted = get_peft_model(
            decoder.model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
        ).eval()
    wrapped = Decoder(adapted, decoder.tokenizer, CPU, decoder.max_length, {})
    scores = log_likelihoods(wrapped, options()[:4], 4)
    assert_by_hand(wrapped, options()[:4], scores)
    assert all(
        abs(score.log_likelihood - before.log_likelihood) > 1e-3 for score, before in zip(scores, plain, strict=True)
    )


def test_the_packaged_decoder_scores_as_by_hand():
    name = "SmolLM2-135M-Instruct"
    if name not in PACKAGED_MODELS:
        pytest.skip(f"{name} is not packaged here")
    try:
        packaged = decoders.load(name, torch.float32, CPU)
    except InputError as error:
        pytest.skip(str(error))
    assert_by_hand(packaged, options()[:8], log_likelihoods(packaged, options()[:8], 8), 1e-4)  # thirty layers


def harness_config(file: str) -> dict[str, Any]:
    """A task of the installed harness, with its functions and the file that it includes."""
    path = Path(lm_eval.__file__).parent / "tasks" / file

    def function(loader: yaml.Loader, node: yaml.Node) -> Any:
        module, _, name = loader.construct_scalar(node).rpartition(".")
        spec = importlib.util.spec_from_file_location(module, path.with_name(f"{module}.py"))
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        return getattr(loaded, name)

    loader = type("Loader", (yaml.SafeLoader,), {})
    loader.add_constructor("!function", function)
    config = yaml.load(path.read_text(encoding="utf-8"), loader)
    included = config.pop("include", None)
    return (harness_config(str(Path(file).parent / included)) if included else {}) | config


def rendered(template: Any, doc: dict[str, Any]) -> Any:
    """What a field of a task gives for a row: a function of it, a column of it, or a template."""
    if callable(template):
        return template(doc)
    if not isinstance(template, str) or template in doc:
        return doc.get(template) if isinstance(template, str) else template
    return (
        jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
        .from_string(template)
        .render(doc)
    )


TASKS = {
    "boolq": "super_glue/boolq/default.yaml", "piqa": "piqa/piqa.yaml", "socialiqa": "siqa/siqa.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml", "winogrande": "winogrande/default.yaml", "arc_easy": "arc/arc_easy.yaml",
    "arc_challenge": "arc/arc_challenge.yaml", "openbookqa": "openbookqa/openbookqa.yaml",
    "mmlu": "mmlu/default/mmlu_world_religions.yaml", "gsm8k": "gsm8k/gsm8k.yaml",
}  # fmt: skip


@pytest.mark.parametrize("name", TASKS)
def test_prompts_options_and_answers_are_those_of_the_harness(name):
    """From the same row as the hub has it: its task file there, our benchmark here."""
    config, doc = harness_config(TASKS[name]), dict(HUB_ROWS[name])
    if name == "boolq":
        doc["label"] = int(doc["answer"])  # the harness reads the same set from SuperGLUE
    if "process_docs" in config:
        (doc,) = config["process_docs"](datasets.Dataset.from_list([doc]))
    text, target = rendered(config["doc_to_text"], doc), rendered(config["doc_to_target"], doc)
    between, shot = config.get("target_delimiter", " "), []
    if name == "gsm8k":
        expected, gold = [(text, between + target)], 0
    else:
        choices = rendered(config["doc_to_choice"], doc)
        choices = ast.literal_eval(choices) if isinstance(choices, str) else choices
        expected, gold = [(text, between + choice) for choice in choices], target
        if name == "winogrande":  # the options are contexts there
            expected, gold = [(choice, between + target) for choice in choices], text
    if name == "mmlu":
        shot = [ROWS[name]]
        before = config["description"] + text + between + choices[gold] + config.get("fewshot_delimiter", "\n\n")
        expected = [(before + context, continuation) for context, continuation in expected]
    choice = BENCHMARKS[name].likelihood(ROWS[name], shot)
    assert [(option.context, option.continuation) for option in choice.options] == expected
    assert choice.gold == int(gold)
