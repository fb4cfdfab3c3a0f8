"""The words of the prompts, which answers are read, and what a model is trained to answer."""

from __future__ import annotations

import pytest

from rolora.evaluation.benchmarks import BENCHMARKS, mmlu
from rolora.evaluation.benchmarks.benchmark import Option
from rolora.evaluation.benchmarks.gsm8k import read
from rolora.evaluation.benchmarks.questions import training_rows
from rolora.evaluation.benchmarks.templates import alpaca, wrapper
from tests.evaluation.conftest import ROWS, rejected, write_rows

INSTRUCTIONS = {
    "boolq": "Please answer the following question with true or false, question: is ice cold?\n\nAnswer format: true/false",
    "piqa": "Please choose the correct solution to the question: open a jar\n\nSolution1: turn the lid\n\n"
    "Solution2: turn the jar to sand\n\nAnswer format: solution1/solution2",
    "socialiqa": "Please choose the correct answer to the question: Ann ran. How is Ann?\n\n"
    "Answer1: tired Answer2: a tree Answer3: in a jar\n\nAnswer format: answer1/answer2/answer3",
    "hellaswag": "Please choose the correct ending to complete the given sentence: Ice: A man sits. He\n\n"
    "Ending1: sings. Ending2: is a jar. Ending3: melts a car. Ending4: [step] eats it.\n\n"
    "Answer format: ending1/ending2/ending3/ending4",
    "winogrande": "Please choose the correct answer to fill in the blank to complete the given sentence: "
    "Ann lent Bea a pen as _ had two.\n\nOption1: Ann Option2: Bea Answer format: option1/option2",
    "arc_easy": "Please choose the correct answer to the question: What melts?\n\n"
    "Answer1: ice Answer2: stone Answer3: air\n\nAnswer format: answer1/answer2/answer3",
}
GOLD = {
    "boolq": "true", "piqa": "solution1", "socialiqa": "answer1", "hellaswag": "ending2", "winogrande": "option1",
    "arc_easy": "answer1", "arc_challenge": "answer2", "openbookqa": "answer4",
}  # fmt: skip


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_instructions_are_llm_adapters(name):
    question = BENCHMARKS[name].generation.ask(ROWS[name], ())
    assert question.instruction == INSTRUCTIONS[name]


@pytest.mark.parametrize("name", GOLD)
def test_the_trained_response_is_read_as_the_right_answer(name):
    benchmark = BENCHMARKS[name]
    instruction, response = benchmark.training(ROWS[name])
    question = benchmark.generation.ask(ROWS[name], ())
    assert instruction == question.instruction
    assert benchmark.generation.read(response) == question.answer == GOLD[name]
    labels = benchmark.labels(ROWS[name], alpaca)
    assert labels.options[labels.gold] == Option(alpaca(instruction), response)
    assert len({option.continuation for option in labels.options}) == len(labels.options)
    cloze = benchmark.likelihood(ROWS[name], ())
    assert len(cloze.options) == len(labels.options)


@pytest.mark.parametrize(
    ("name", "text", "answer"),
    [
        ("boolq", "It is false, not true.", "false"),
        ("boolq", "True", None),  # as in LLM-Adapters: case counts
        ("piqa", "solution3 or solution2", "solution2"),
        ("hellaswag", "ending5 ending4", "ending4"),
        ("arc_challenge", "the correct answer is answer5", "answer5"),
        ("winogrande", "the second", None),
    ],
)
def test_the_first_name_of_an_option_is_the_answer(name, text, answer):
    assert BENCHMARKS[name].generation.read(text) == answer


def test_a_wiki_how_mark_is_scored_without_and_asked_with():
    options = BENCHMARKS["hellaswag"].likelihood(ROWS["hellaswag"], ()).options
    assert options[3].continuation.strip() == "eats it."
    assert "[step] eats it." in BENCHMARKS["hellaswag"].generation.ask(ROWS["hellaswag"], ()).instruction


def test_mmlu_has_57_subjects():
    assert len(set(mmlu.SUBJECTS)) == 57


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2 + 2 = 4\n#### 4", "4"),
        ("#### $1,200.50 a year", "1200.5"),
        ("#### -3.0", "-3"),
        ("#### none, so 7", "7"),
        ("It is 12, then 14.", "14"),
        ("#### \nThe answer is 5 apples", "5"),
        ("nothing", None),
    ],
)
def test_gsm8k_reads_after_the_mark_or_the_last_number(text, number):
    assert read(text) == number


def test_gsm8k_puts_worked_examples_before_the_question():
    question = BENCHMARKS["gsm8k"].generation.ask(ROWS["gsm8k"], [ROWS["gsm8k"]])
    worked = "Question: Two and two?\nAnswer: 2 + 2 = <<2+2=4>>4\n#### 4\n\n"
    assert question.instruction == worked + "Question: Two and two?\nAnswer:"
    assert question.answer == "4"


def test_training_rows_are_in_the_words_of_the_evaluation(tmp_path):
    write_rows(tmp_path / "piqa" / "train.jsonl", [ROWS["piqa"]])
    write_rows(tmp_path / "gsm8k" / "train.jsonl", [ROWS["gsm8k"]])
    (row,) = training_rows(BENCHMARKS["piqa"], tmp_path)
    assert row == {"prompt": alpaca(INSTRUCTIONS["piqa"]), "response": "the correct answer is solution1"}
    (row,) = training_rows(BENCHMARKS["gsm8k"], tmp_path)
    assert row == {"prompt": "Question: Two and two?\nAnswer:", "response": " 2 + 2 = <<2+2=4>>4\n#### 4"}
    with rejected("training rows", got="mmlu"):
        training_rows(BENCHMARKS["mmlu"], tmp_path)


def test_the_chat_template_is_the_models_own(decoder):
    assert wrapper("chat", decoder.tokenizer)("Say yes.") == "<s>user\nSay yes.\n<s>assistant\n"
    tokens = decoder.encode(wrapper("chat", decoder.tokenizer)("Say yes."))
    assert tokens.count(decoder.tokenizer.bos_token_id) == 2  # the format's own, and no further one
    decoder.tokenizer.chat_template = None
    with rejected("no chat format", key="--template", got="chat"):
        wrapper("chat", decoder.tokenizer)
