"""The batched score is the score of a plain loop, and of another one written from the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import processors

from rolora.errors import InputError
from rolora.evaluation.benchmarks import BENCHMARKS, likelihood
from rolora.evaluation.benchmarks import decoder as decoders
from rolora.evaluation.benchmarks.benchmark import Option
from rolora.evaluation.benchmarks.decoder import Decoder
from rolora.keys import Key
from rolora.models.backbone import PACKAGED_MODELS
from rolora.models.seeding import named_stream
from tests.evaluation.conftest import CPU, ROWS

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
    """log p of an option from its definition: character positions, one text, no padding, NumPy in float64."""
    text = option.context + option.continuation
    encoded = decoder.tokenizer(text, return_offsets_mapping=True, add_special_tokens=True)
    tokens = encoded["input_ids"]
    border = len(option.context.rstrip(" "))
    with torch.no_grad():
        logits = decoder.model(torch.tensor([tokens])).logits[0].numpy().astype(np.float64)
    total, count = 0.0, 0
    for position, (_, end) in enumerate(encoded["offset_mapping"]):
        if end > border:  # the token holds at least one character of the option
            row = logits[position - 1]
            total += row[tokens[position]] - row.max() - np.log(np.exp(row - row.max()).sum())
            count += 1
    return total, count


def test_a_batch_scores_as_one_at_a_time_and_as_by_hand(decoder):
    asked = options()
    assert len({len(decoder.encode(option.context)) for option in asked}) > 5  # or padding is not tried
    alone = [likelihood.log_likelihoods(decoder, [option], 1)[0] for option in asked]
    for batch_size in (3, 64):
        together = likelihood.log_likelihoods(decoder, asked, batch_size)
        for one, other in zip(together, alone, strict=True):
            assert one.log_likelihood == pytest.approx(other.log_likelihood, rel=ROUNDING)
            assert (one.tokens, one.characters, one.cut) == (other.tokens, other.characters, 0)
    for option, score in zip(asked, alone, strict=True):
        total, count = by_hand(decoder, option)
        assert score.log_likelihood == pytest.approx(total, rel=ROUNDING)
        assert score.tokens == count


def test_a_model_that_gives_all_logits_scores_the_same(decoder, monkeypatch):
    few = likelihood.log_likelihoods(decoder, options(), 8)
    monkeypatch.setattr(likelihood, "_can_keep_few", lambda model: False)
    for one, other in zip(few, likelihood.log_likelihoods(decoder, options(), 8), strict=True):
        assert one.log_likelihood == pytest.approx(other.log_likelihood, rel=ROUNDING)


def test_the_same_call_gives_the_same_bits(decoder):
    first, second = (likelihood.log_likelihoods(decoder, options(), 4) for _ in range(2))
    assert first == second


def test_options_that_differ_in_their_last_token_share_a_row(decoder, monkeypatch):
    rows = []
    inner = likelihood._logits
    monkeypatch.setattr(likelihood, "_logits", lambda *words: rows.append(len(words[1])) or inner(*words))
    context = "Question: which?\nAnswer:"
    found = likelihood.log_likelihoods(decoder, [Option(context, f" {letter}") for letter in "ABCD"], 8)
    assert rows == [1]
    assert len({score.log_likelihood for score in found}) == 4


def test_a_merge_over_the_border_is_the_options(decoder):
    merged = likelihood.encode(decoder, Option("Answer:", " x"))  # ":" and the blank are one token
    assert decoder.tokenizer.convert_ids_to_tokens(list(merged.tokens[merged.start :])) == [":Ġ", "x"]
    kept = likelihood.encode(decoder, Option("Answer", " the"))
    assert decoder.tokenizer.convert_ids_to_tokens(list(kept.tokens[kept.start :])) == ["Ġthe"]


def test_blanks_before_an_option_belong_to_it_wherever_they_stand(decoder):
    first, second = (likelihood.encode(decoder, Option(*words)) for words in (("Is", "  so"), ("Is  ", "so")))
    assert first == second


def test_a_long_context_loses_its_beginning_and_a_long_option_is_refused(decoder):
    long = Option("x" * 600 + "?", " so")
    (score,) = likelihood.log_likelihoods(decoder, [long], 1)
    assert score.cut == 1 + 601 + 3 - 1 - 512  # beginning token, context, option; its last token is no input
    tokens = decoder.encode(long.context + long.continuation)[score.cut :]
    with torch.no_grad():
        rows = decoder.model(torch.tensor([tokens])).logits[0].double().log_softmax(-1)
    expected = sum(float(rows[position - 1, tokens[position]]) for position in range(len(tokens) - 3, len(tokens)))
    assert score.log_likelihood == pytest.approx(expected, rel=ROUNDING)
    with pytest.raises(InputError, match="got an option of 700 tokens, expected 1 to 512"):
        likelihood.encode(decoder, Option("so", "x" * 700))
    with pytest.raises(InputError, match="got an option of 0 tokens"):
        likelihood.encode(decoder, Option("so", ""))


def test_an_option_without_context_follows_the_beginning_token(decoder):
    own = likelihood.encode(decoder, Option("", "so"))
    decoder.tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A")
    assert decoder.encode("so")[0] != decoder.tokenizer.bos_token_id
    assert likelihood.encode(decoder, Option("", "so")) == own
    assert own.tokens[0] == decoder.tokenizer.bos_token_id
    assert own.start == 1


def test_a_model_with_an_adapter_is_scored_with_it(decoder):
    plain = likelihood.log_likelihoods(decoder, options()[:4], 4)
    with named_stream(Key(0).fold("adapter"), CPU):
        adapted = get_peft_model(
            decoder.model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
        ).eval()
    wrapped = Decoder(adapted, decoder.tokenizer, CPU, decoder.max_length, {})
    for option, score, before in zip(
        options(), likelihood.log_likelihoods(wrapped, options()[:4], 4), plain, strict=False
    ):
        assert score.log_likelihood == pytest.approx(by_hand(wrapped, option)[0], rel=ROUNDING)
        assert abs(score.log_likelihood - before.log_likelihood) > 1e-3


def test_the_packaged_decoder_scores_as_by_hand():
    name = "SmolLM2-135M-Instruct"
    if name not in PACKAGED_MODELS:
        pytest.skip(f"{name} is not packaged here")
    try:
        packaged = decoders.load(name, torch.float32, CPU)
    except InputError as error:
        pytest.skip(str(error))
    asked = options()[:8]
    for option, score in zip(asked, likelihood.log_likelihoods(packaged, asked, 8), strict=True):
        total, count = by_hand(packaged, option)
        assert score.log_likelihood == pytest.approx(total, rel=1e-4)  # thirty layers
        assert score.tokens == count
