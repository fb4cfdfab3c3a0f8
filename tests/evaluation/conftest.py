"""A tiny decoder with random weights, whose tokenizer knows every byte and a few merges."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rolora.errors import InputError
from rolora.evaluation.benchmarks import decoder as ours
from rolora.evaluation.benchmarks.decoder import Decoder
from rolora.keys import Key
from rolora.models.seeding import named_stream

CPU = torch.device("cpu")
CHAT = "{% for m in messages %}<s>{{ m['role'] }}\n{{ m['content'] }}\n{% endfor %}<s>assistant{{ '\n' }}"
MERGES = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("a", "n"), (":", "Ġ")]


@pytest.fixture(scope="session")
def tiny_decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a two-layer Llama of width 32; its weights are large, so that its answers differ."""
    folder = tmp_path_factory.mktemp("tiny-llama")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<pad>", "<s>", "</s>", *letters, *(first + second for first, second in MERGES)]
    inner = Tokenizer(BPE(vocab={word: number for number, word in enumerate(words)}, merges=MERGES))
    # Without a split into words, a merge can run over the border of context and option.
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>", chat_template=CHAT
    )
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        initializer_range=0.4,
    )  # fmt: skip
    with named_stream(Key(0).fold("tiny decoder"), CPU):
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def decoder(tiny_decoder: Path) -> Decoder:
    return ours.load(str(tiny_decoder), torch.float32, CPU)


ROWS = {
    "boolq": {"passage": "On ice.", "question": "is ice cold?", "answer": True},
    "piqa": {"goal": "open a jar", "choices": ["turn the lid", "turn the jar to sand"], "gold": 0},
    "socialiqa": {
        "context": "Ann ran.", "question": "How is Ann?", "choices": ["tired", "a tree", "in a jar"], "gold": 0,
    },
    "hellaswag": {
        "context": "Ice: A man sits. He", "choices": ["sings.", "is a jar.", "melts a car.", "[step] eats it."], "gold": 1,
    },
    "winogrande": {"sentence": "Ann lent Bea a pen as _ had two.", "choices": ["Ann", "Bea"], "gold": 0},
    "arc_easy": {"question": "What melts?", "choices": ["ice", "stone", "air"], "gold": 0},
    "arc_challenge": {"question": "What burns?", "choices": ["ice", "wood", "air", "stone", "sand"], "gold": 1},
    "openbookqa": {"question": "Ice is", "choices": ["cold", "hot", "blue", "an animal"], "gold": 3},
    "mmlu": {"subject": "world_religions", "question": " Q? ", "choices": ["w", "x", "y", "z"], "answer": "B"},
    "gsm8k": {"question": "Two and two?", "answer": "2 + 2 = <<2+2=4>>4\n#### 4"},
}  # fmt: skip
"""One row of each benchmark, in its own columns."""


HUB_ROWS = {
    "boolq": {"question": "is ice cold", "answer": True, "passage": "On ice."},
    "piqa": {"goal": "open a jar", "sol1": "turn the lid", "sol2": "turn the jar to sand", "label": 0},
    "socialiqa": {
        "context": "Ann ran.", "question": "How is Ann?", "answerA": "tired", "answerB": "a tree", "answerC": "in a jar",
        "label": "1",
    },
    "hellaswag": {
        "ind": 4, "activity_label": "Ice", "ctx_a": "A man sits.", "ctx_b": "he", "ctx": "A man sits. he",
        "endings": ["sings.", "is a jar.", "melts a car.", "[step] eats it."], "source_id": "x", "split": "val",
        "split_type": "indomain", "label": "1",
    },
    "winogrande": {
        "sentence": "Ann lent Bea a pen as _ had two.", "option1": "Ann", "option2": "Bea", "answer": "1",
    },
    "arc_easy": {
        "id": "M1", "question": "What melts?", "choices": {"text": ["ice", "stone", "air"], "label": ["1", "2", "3"]},
        "answerKey": "1",
    },
    "arc_challenge": {
        "id": "M2", "question": "What burns?",
        "choices": {"text": ["ice", "wood", "air", "stone", "sand"], "label": list("ABCDE")}, "answerKey": "B",
    },
    "openbookqa": {
        "id": "7-1", "question_stem": "Ice is",
        "choices": {"text": ["cold", "hot", "blue", "an animal"], "label": list("ABCD")}, "answerKey": "D",
    },
    "mmlu": {"question": " Q? ", "subject": "world_religions", "choices": ["w", "x", "y", "z"], "answer": 1},
    "gsm8k": ROWS["gsm8k"],
}  # fmt: skip
"""The hub's own columns, in which a row is the one of ROWS."""


@contextmanager
def rejected(expected: str = "", **parts: Any) -> Iterator[None]:
    """The block raises an InputError with these parts; ``expected`` is in its last one."""
    with pytest.raises(InputError) as error:
        yield
    assert {name: getattr(error.value, name) for name in parts} == parts
    assert expected in (error.value.expected or str(error.value))


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def numbered(name: str, count: int) -> list[dict]:
    """Rows that differ in a number, and in which option is right."""
    rows = []
    for number in range(count):
        row = dict(ROWS[name])
        text = next(column for column in row if isinstance(row[column], str) and column != "subject")
        row[text] = f"{number}. {row[text]}"
        if "gold" in row:
            row["gold"] = number % len(row["choices"])
        if name == "mmlu":
            row |= {"subject": ("anatomy", "astronomy")[number % 2], "answer": "ABCD"[number % 4]}
        if name == "gsm8k":
            row["answer"] = f"It is {number}.\n#### {number}"
        rows.append(row)
    return rows
