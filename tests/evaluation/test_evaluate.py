"""The command from data and model to table, record and comparison."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer
from typer.testing import CliRunner

from rolora.cli.app import app
from rolora.evaluation.benchmarks import BENCHMARKS, measure
from rolora.evaluation.benchmarks import decoder as decoders
from rolora.evaluation.benchmarks.questions import select
from rolora.keys import Key
from rolora.models.seeding import named_stream
from tests.evaluation.conftest import CPU, numbered, rejected, write_rows


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    for name in BENCHMARKS:
        if name in ("mmlu", "humaneval"):
            continue
        stem = f"{name}_{'test' if BENCHMARKS[name].split == 'test' else 'dev'}" if name != "gsm8k" else "gsm8k/test"
        write_rows(folder / f"{stem}.jsonl", numbered(name, 6))
    write_rows(folder / "mmlu" / "test.jsonl", numbered("mmlu", 8))
    write_rows(
        folder / "mmlu" / "dev.jsonl", [row | {"question": "D" + row["question"]} for row in numbered("mmlu", 10)]
    )
    body = {
        "test": "\n\ndef check(candidate):\n    assert candidate(2) == 4\n",
        "canonical_solution": "    return 2 * x\n",
    }
    rows = [
        {"task_id": str(n), "prompt": f'def f{n}(x):\n    """Twice."""\n', "entry_point": f"f{n}", **body}
        for n in (0, 1)
    ]
    write_rows(folder / "humaneval" / "test.jsonl", rows)
    return folder


@pytest.fixture
def evaluate(data, tiny_decoder, monkeypatch):
    pytest.importorskip("lm_eval")
    # In this process: a process of its own would load torch again for every case.
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()

    def call(*words, model=tiny_decoder):
        words = ["evaluate", str(model), "--data", str(data), *map(str, words)]
        monkeypatch.setattr("sys.argv", ["rolora", *words])
        return CliRunner().invoke(app, words)

    yield call
    torch.use_deterministic_algorithms(before[0])
    torch.set_num_threads(before[1])


def results(path: Path) -> dict[tuple[str, str], dict]:
    return {(one["benchmark"], one["how"]): one for one in json.loads(path.read_text())["results"]}


def test_all_benchmarks_in_all_ways(evaluate, tmp_path):
    answer = evaluate("--benchmark", "commonsense", "--benchmark", "mmlu", "--benchmark", "gsm8k", "--how", "all",
                      "--limit", 4, "--max-new-tokens", 8, "--json", tmp_path / "all.json")  # fmt: skip
    assert answer.exit_code == 0, answer.output
    found = results(tmp_path / "all.json")
    assert len(found) == 8 * 3 + 2 + 2
    for (name, how), one in found.items():
        assert one["questions"] == len(one["answers"]) == 4
        assert len({entry["id"] for entry in one["answers"]}) == 4
        if "accuracy" not in one:
            assert (name, how) == ("gsm8k", "likelihood")
            total = sum(entry["log_likelihood"] for entry in one["answers"])
            assert one["loss"] == pytest.approx(-total / sum(entry["tokens"] for entry in one["answers"]))
            continue
        right = sum(entry["correct"] for entry in one["answers"])
        assert one["accuracy"] == right / 4
        assert one["interval"][0] <= one["accuracy"] <= one["interval"][1]
        golds = [entry["gold"] for entry in one["answers"]]
        assert one["majority"] == max(map(golds.count, golds)) / 4
        if how == "generation":
            assert one["unreadable"] == sum(entry["read"] is None for entry in one["answers"]) / 4
        else:
            sums = [entry["log_likelihoods"] for entry in one["answers"]]
            assert all(len(set(entry)) == len(entry) for entry in sums)
            picked = [entry.index(max(entry)) for entry in sums]
            assert picked == [entry["picked"]["sum"] for entry in one["answers"]]
    assert found["piqa", "likelihood"]["chance"] == 0.5
    assert found["piqa", "generation"]["unreadable"] == 1.0  # random weights
    assert answer.output.count("more than half of the generated texts hold no answer") == 1
    assert found["arc_challenge", "likelihood"]["chance"] == 0.2
    assert set(found["mmlu", "likelihood"]["groups"]) <= {"anatomy", "astronomy"}
    shares = [group["accuracy"] for group in found["mmlu", "likelihood"]["groups"].values()]
    assert found["mmlu", "likelihood"]["macro_accuracy"] == pytest.approx(sum(shares) / len(shares))
    record = json.loads((tmp_path / "all.json").read_text())
    assert record["command"].startswith("python -m rolora evaluate ")
    assert record["complete"] is True
    assert record["environment"]["dtype"] == "float32"
    assert len(record["model"]["sha256"]) == 64


def test_an_option_that_a_model_was_taught_is_picked(decoder, data):
    """An optimiser step by step towards the right options: accuracy goes to one, or the score is of something else."""
    pytest.importorskip("lm_eval")
    questions = select(BENCHMARKS["openbookqa"], data)
    choices = [BENCHMARKS["openbookqa"].likelihood(row, ()) for row in questions.rows]
    optimizer = torch.optim.AdamW(decoder.model.requires_grad_(True).parameters(), lr=3e-3)
    for _ in range(30):
        for choice in choices:
            option = choice.options[choice.gold]
            tokens = torch.tensor([decoder.encode(option.context + option.continuation)])
            decoder.model(input_ids=tokens, labels=tokens).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    assert measure.measure(decoder, questions, "likelihood", measure.Settings())["accuracy"] == 1.0


def test_two_records_are_compared_question_by_question(evaluate, tmp_path, tiny_decoder):
    words = ("--benchmark", "piqa", "--benchmark", "gsm8k", "--limit", 5)
    assert evaluate(*words, "--json", tmp_path / "before.json").exit_code == 0
    same = evaluate(*words, "--against", tmp_path / "before.json", "--json", tmp_path / "same.json")
    assert same.exit_code == 0, same.output
    for one in json.loads((tmp_path / "same.json").read_text())["against"]["comparisons"]:
        if one["benchmark"] == "piqa":
            assert (one["questions"], one["difference"], one["p"]) == (5, 0.0, 1.0)
        else:
            assert one["loss_after"] == one["loss_before"]
    changed = json.loads((tmp_path / "before.json").read_text())
    for entry in changed["results"][0]["answers"]:
        entry["correct"] = not entry["correct"]
    (tmp_path / "other.json").write_text(json.dumps(changed))
    assert evaluate(*words, "--against", tmp_path / "other.json", "--json", tmp_path / "new.json").exit_code == 0
    (one,) = (
        one
        for one in json.loads((tmp_path / "new.json").read_text())["against"]["comparisons"]
        if one["benchmark"] == "piqa"
    )
    assert one["gained"] + one["lost"] == 5
    assert one["after"] == pytest.approx(1 - one["before"])
    refused = evaluate("--benchmark", "boolq", "--against", tmp_path / "before.json")
    assert refused.exit_code == 2
    assert "expected a record with common questions" in refused.output


def test_an_interrupt_keeps_what_is_finished(evaluate, tmp_path, monkeypatch):
    def interrupt(*words):
        raise KeyboardInterrupt

    monkeypatch.setattr("rolora.evaluation.benchmarks.generation.generate", interrupt)
    answer = evaluate("--benchmark", "piqa", "--how", "both", "--json", tmp_path / "cut.json")
    assert answer.exit_code == 130
    assert f"error: interrupted; {tmp_path / 'cut.json'} has what was finished" in answer.output
    record = json.loads((tmp_path / "cut.json").read_text())
    assert record["complete"] is False
    assert list(results(tmp_path / "cut.json")) == [("piqa", "likelihood")]


def test_programs_run_only_if_asked_for(evaluate, tmp_path, data, monkeypatch):
    words = ("--benchmark", "humaneval", "--how", "generation", "--max-new-tokens", 4)
    ran = []
    monkeypatch.setattr(
        "rolora.evaluation.benchmarks.sandbox.Sandbox.run", lambda self, program, refused=(): ran.append(program)
    )
    answer = evaluate(*words, "--json", tmp_path / "h.json")
    assert answer.exit_code == 0, answer.output
    assert "not executed" in answer.output
    assert ran == []
    one = results(tmp_path / "h.json")["humaneval", "generation"]
    assert one["executed"] is False
    assert "accuracy" not in one
    refused = evaluate(*words, "--without-isolation")
    assert (refused.exit_code, ran) == (2, [])
    assert "expected --execute-generated-code with it" in refused.output


def test_completions_are_judged_by_their_tests(evaluate, tmp_path, monkeypatch):
    texts = ["    return 2 * x\n", "    return x\n"]
    monkeypatch.setattr("rolora.evaluation.benchmarks.generation.generate", lambda *words: texts)
    answer = evaluate("--benchmark", "humaneval", "--how", "generation", "--execute-generated-code", "--without-isolation",
                      "--json", tmp_path / "h.json")  # fmt: skip
    assert answer.exit_code == 0, answer.output
    assert "ran without isolation" in answer.output
    one = results(tmp_path / "h.json")["humaneval", "generation"]
    assert [entry["outcome"] for entry in one["answers"]] == ["passed", "failed"]
    assert one["accuracy"] == one["pass_at_1"] == 0.5


@pytest.fixture
def run_folder(tmp_path, tiny_decoder):
    """The folder of a finished run: an adapter with random factors, and a record that names the base model."""
    folder = tmp_path / "run"
    with named_stream(Key(1).fold("adapter"), CPU):
        model = get_peft_model(
            AutoModelForCausalLM.from_pretrained(tiny_decoder),
            LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM"),
        )
    model.save_pretrained(folder / "adapter")
    (folder / "record.json").write_text(json.dumps({"status": "finished", "model": {"name": str(tiny_decoder)}}))
    return folder


def logits(model):
    with torch.no_grad():
        return model(torch.tensor([[5, 9, 30, 12]])).logits


def test_a_run_is_its_base_model_with_its_adapter(run_folder, tiny_decoder):
    found = decoders.load(str(run_folder), torch.float32, CPU)
    base = AutoModelForCausalLM.from_pretrained(tiny_decoder)
    plain = logits(base)
    for name, module in base.named_modules():
        if name.endswith("q_proj"):
            a, b = (found.model.get_submodule(f"base_model.model.{name}.lora_{f}.default").weight for f in "AB")
            module.weight.data += 6 / 2 * b.data @ a.data
    torch.testing.assert_close(logits(found.model), logits(base), rtol=1e-4, atol=1e-4)
    assert (logits(found.model) - plain).abs().max() > 0.01
    assert found.described["base"]["name"] == str(tiny_decoder)


def test_a_residual_that_a_run_left_is_in_the_model(run_folder, tiny_decoder):
    without = decoders.load(str(run_folder), torch.float32, CPU)
    names = [f"model.layers.{layer}.self_attn.q_proj" for layer in (0, 1)]
    generator = torch.Generator().manual_seed(0)
    residuals = {name: torch.randn(32, 32, generator=generator) / 10 for name in names}
    save_file({f"residual|{name}": value for name, value in residuals.items()}, run_folder / "residual.safetensors")
    found = decoders.load(str(run_folder), torch.float32, CPU)
    for name in names:
        before, after = (
            one.model.get_submodule(f"base_model.model.{name}").base_layer.weight for one in (without, found)
        )
        torch.testing.assert_close(after - before, 3 * residuals[name].T, rtol=1e-4, atol=1e-5)
    save_file({"residual|other": residuals[names[0]]}, run_folder / "residual.safetensors")
    with rejected("the residual of the layers of", where=run_folder / "residual.safetensors"):
        decoders.load(str(run_folder), torch.float32, CPU)


def test_what_is_no_decoder_is_refused_in_one_line(run_folder, tiny_model, tmp_path):
    state = torch.random.get_rng_state()
    with rejected("it lacks the weights", key="MODEL", got=str(tiny_model)):
        decoders.load(str(tiny_model), torch.float32, CPU)
    assert torch.equal(torch.random.get_rng_state(), state)
    masked = tmp_path / "masked"
    with named_stream(Key(0).fold("masked"), CPU):
        AutoModelForMaskedLM.from_pretrained(tiny_model).save_pretrained(masked)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(masked)
    with rejected("depend on later tokens", key="MODEL", got=str(masked)):
        decoders.load(str(masked), torch.float32, CPU)
    (run_folder / "personal.safetensors").write_bytes(b"")
    with rejected("a run whose result is one model", where=run_folder):
        decoders.load(str(run_folder), torch.float32, CPU)
    (run_folder / "personal.safetensors").unlink()
    settings = json.loads((run_folder / "adapter" / "adapter_config.json").read_text())
    (run_folder / "adapter" / "adapter_config.json").write_text(json.dumps(settings | {"task_type": "SEQ_CLS"}))
    with rejected("CAUSAL_LM", got="SEQ_CLS", where=run_folder / "adapter"):
        decoders.load(str(run_folder), torch.float32, CPU)
    shutil.rmtree(run_folder / "adapter")
    (run_folder / "checkpoint.safetensors").write_bytes(b"")
    with rejected("the run is unfinished"):
        decoders.load(str(run_folder), torch.float32, CPU)


def test_an_adapter_of_another_model_is_refused(run_folder):
    settings = json.loads((run_folder / "adapter" / "adapter_config.json").read_text())
    (run_folder / "adapter" / "adapter_config.json").write_text(json.dumps(settings | {"target_modules": ["k_proj"]}))
    with rejected("an adapter of", where=run_folder / "adapter"):
        decoders.load(str(run_folder), torch.float32, CPU)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--benchmark", "glue"], "--benchmark: got 'glue'"),
        (["--benchmark", "piqa", "--split", "train"], "expected a folder with the train split of piqa"),
        (["--benchmark", "piqa", "--how", "guess"], "--how: got 'guess'"),
        (["--benchmark", "piqa", "--shots", 2], "--shots: got 2, expected at most 0"),
        (["--benchmark", "piqa", "--subject", "x"], "--subject: got 'x', expected none"),
        (["--benchmark", "piqa", "--template", "x"], "--template: got 'x'"),
        (["--benchmark", "piqa", "--dtype", "int8"], "--dtype: got 'int8'"),
        (["--benchmark", "piqa", "--device", "abacus"], "runtime.device: got 'abacus'"),
        (["--benchmark", "piqa", "--against", "nowhere.json"], "got nowhere.json, expected a JSON file"),
        (["--benchmark", "piqa", "--execute-generated-code"], "expected --benchmark humaneval"),
    ],
)
def test_bad_input_is_one_line_and_status_2(evaluate, words, expected):
    answer = evaluate(*words)
    assert answer.exit_code == 2
    assert expected in answer.output
    assert len(answer.output.strip().splitlines()) == 1


def test_without_the_harness_likelihoods_are_refused_before_the_model_is_loaded(evaluate, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    answer = evaluate("--benchmark", "piqa", model="nowhere")
    assert answer.exit_code == 2
    assert "pip install 'rolora[evaluation]'" in answer.output
    assert evaluate("--benchmark", "piqa", "--how", "generation", "--limit", 1, "--max-new-tokens", 1).exit_code == 0


def test_training_rows_are_written_as_json_lines(data, tmp_path):
    write_rows(data / "piqa_train.jsonl", numbered("piqa", 3))
    write_rows(data / "gsm8k" / "train.jsonl", numbered("gsm8k", 2))
    out = tmp_path / "train.jsonl"
    answer = CliRunner().invoke(app, ["training-rows", "piqa", "gsm8k", "--data", str(data), "--out", str(out)])
    assert answer.exit_code == 0, answer.output
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [set(row) for row in rows] == [{"prompt", "response"}] * 5
    assert rows[1]["response"] == "the correct answer is solution2"
