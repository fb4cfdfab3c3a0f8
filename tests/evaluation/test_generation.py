"""Greedy decoding in a batch says what a plain loop over the next token says."""

from __future__ import annotations

import pytest
import torch

from rolora.evaluation.benchmarks.generation import generate
from tests.evaluation.conftest import rejected

PROMPTS = ["Question: what?\nAnswer:", "Ice is", "A long prompt, so that the others have to be padded. It goes on:"]


def plain_loop(decoder, prompt, length):
    tokens = decoder.encode(prompt)
    begun = len(tokens)
    with torch.no_grad():
        for _ in range(length):
            following = int(decoder.model(torch.tensor([tokens]), use_cache=False).logits[0, -1].argmax())
            if following == decoder.tokenizer.eos_token_id:
                break
            tokens.append(following)
    return decoder.tokenizer.decode(tokens[begun:], skip_special_tokens=True)


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_a_batch_writes_what_a_plain_loop_writes(decoder, batch_size):
    completed = []
    texts = generate(decoder, PROMPTS, (), 12, batch_size, lambda done, total: completed.append((done, total)))
    assert texts == [plain_loop(decoder, prompt, 12) for prompt in PROMPTS]
    assert len(set(texts)) == 3
    assert completed[-1] == (3, 3)
    assert len(completed) == -(-3 // batch_size)


def test_it_ends_before_a_stop_text_in_each_row(decoder):
    whole = generate(decoder, PROMPTS, (), 12, 8)
    stop = whole[0][3:5]
    stopped = generate(decoder, PROMPTS, (stop,), 12, 8)
    assert stopped == [text.partition(stop)[0] for text in whole]
    assert len(stopped[0]) < len(whole[0])


def test_a_prompt_that_is_too_long_loses_its_beginning(decoder):
    assert generate(decoder, ["x" * 900], (), 4, 1) == generate(decoder, ["x" * 508], (), 4, 1)
    with rejected("fewer than the model's 512", key="--max-new-tokens", got=512):
        generate(decoder, ["x"], (), 512, 1)


def test_the_settings_that_come_with_a_model_do_not_make_it_sample(decoder):
    decoder.model.generation_config.do_sample = True
    decoder.model.generation_config.temperature = 5.0
    assert generate(decoder, PROMPTS, (), 12, 8) == [plain_loop(decoder, prompt, 12) for prompt in PROMPTS]
