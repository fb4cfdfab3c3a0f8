"""The studies: their commands, what of their runs is kept, what stops them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from paper_figures.__main__ import app
from paper_figures.records import studies
from paper_figures.records.studies import STUDIES, BeforeAndAfter, Sweep
from rolora import config as configuration
from rolora.config import locate


@pytest.mark.parametrize("scale", studies.SCALES)
@pytest.mark.parametrize("data", [None, Path("files")])
def test_every_command_of_a_study_names_a_config_that_its_overrides_fit(scale: str, data: Path | None) -> None:
    for kind, steps in studies.steps(scale).items():
        for step in steps:
            for words in step.commands(Path("out"), data, 2):
                if words[0] in ("run", "sweep"):
                    overrides = [word for word in words[2:] if "=" in word]
                    configs = configuration.read(locate(Path(words[1])), overrides)
                    assert configs, (kind, words)
                    if data is not None and isinstance(step, Sweep) and step.local:
                        assert {config.data.name.split("/")[0] for config in configs} == {"files"}


def test_a_sweep_is_one_command_and_measured_runs_one_for_each_seed() -> None:
    (words,) = Sweep("text", select="validation").commands(Path("out"), None, 2)
    assert words == [
        "sweep", "text", "--seeds", "0,1,2", "--select", "validation", "--resume", "--jobs", "2", "--out", "out/text",
    ]  # fmt: skip
    runs = Sweep("text", ("a", "sst2"), rates=False).commands(Path("out"), Path("d"), 1)
    assert [words[2:6] for words in runs] == [
        ["data.name=d/a", "data.benchmark=sst2", f"seed={seed}", "evaluation.select=last"] for seed in range(3)
    ]


def test_what_is_measured_before_stands_against_every_fine_tuning_after() -> None:
    step = BeforeAndAfter("gsm8k", "text", 5, trained_on="gsm8k", variants=(("one", ("seed=1",)), ("two", ("seed=2",))))
    commands = step.commands(Path("out"), Path("d"), 1)
    assert [words[0] for words in commands] == ["evaluate", "training-rows", "run", "evaluate", "run", "evaluate"]
    assert commands[0][-1] == "out/gsm8k_before.json"
    for label, run, after in (("one", commands[2], commands[3]), ("two", commands[4], commands[5])):
        assert "data.name=out/gsm8k.jsonl" in run
        assert run[-1] == f"out/gsm8k_{label}"
        (config,) = configuration.read(locate(Path("text")), run[2:4])
        assert after[1] == f"{run[-1]}/{config.run_name()}"  # where the run is, not where its folder is
        assert after[after.index("--against") + 1] == "out/gsm8k_before.json"
        assert after[-1] == f"out/gsm8k_{label}.json"


def write(path: Path, record: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))


def test_only_measured_runs_and_summaries_are_gathered(tmp_path: Path) -> None:
    folder, out = tmp_path / "runs" / "kind", tmp_path
    write(folder / "one" / "chosen" / "record.json", {"config": {"evaluation": {"split": "test"}}, "number": 1})
    write(folder / "one" / "choosing" / "record.json", {"config": {"evaluation": {"split": "validation"}}})
    write(folder / "one" / "earlier" / "record.json", {"config": {"evaluation": {"split": "test"}}, "number": 2})
    write(folder / "one" / "sweep.json", {"cells": [{"test": {"runs": ["chosen"]}}]})
    write(folder / "alone" / "run" / "record.json", {"config": {"evaluation": {"split": "test"}}, "number": 3})
    write(out / "kind" / "earlier" / "record.json", {})
    write(folder / "gsm8k_before.json", {"results": []})
    write(folder / "one" / "chosen" / "adapter" / "adapter_config.json", {})
    assert studies.gather("kind", folder, out) == 4
    assert {str(path.relative_to(out / "kind")) for path in (out / "kind").rglob("*.json")} == {
        "chosen/record.json", "run/record.json", "one_sweep.json", "gsm8k_before.json",
    }  # fmt: skip
    assert json.loads((out / "kind" / "chosen" / "record.json").read_text())["number"] == 1


def test_a_study_tells_first_what_it_will_take_and_stops_at_a_command_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    def fails(words: list[str], check: bool) -> SimpleNamespace:
        ran.append(words)
        return SimpleNamespace(returncode=3)

    monkeypatch.setattr(studies, "estimate", lambda *_: "an hour")
    monkeypatch.setattr(subprocess, "run", fails)
    result = CliRunner().invoke(app, ["study", "cpu", "--only", "ranks", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert result.output.startswith("ranks: ranks: an hour\nranks: ranks_bytes: an hour\npython -m rolora sweep ranks")
    assert "python -m rolora sweep ranks: ended with status 3, expected 0" in result.stderr
    assert len(ran) == 1
    told = CliRunner().invoke(app, ["study", "cpu", "--estimate", "--out", str(tmp_path)])
    assert told.exit_code == 0
    assert len(told.output.splitlines()) == sum(map(len, STUDIES["cpu"].values()))
    assert len(ran) == 1


def test_an_evaluation_that_is_complete_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr(studies, "estimate", lambda *_: "")
    monkeypatch.setattr(subprocess, "run", lambda words, check: ran.append(words[3]) or SimpleNamespace(returncode=0))
    write(tmp_path / "runs" / "kind" / "gsm8k_before.json", {"complete": True})
    write(tmp_path / "runs" / "kind" / "gsm8k_after.json", {"complete": False})
    studies.run({"kind": (BeforeAndAfter("gsm8k", "text", 5),)}, tmp_path, None, 1, lambda line: None)
    assert ran == ["run", "evaluate"]


@pytest.mark.parametrize(
    ("words", "told"),
    [(["tpu"], "scale: got 'tpu', expected one of cpu, gpu"), (["cpu", "--only", "rank"], "--only: got 'rank'")],
)
def test_an_unknown_study_is_refused(words: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["study", *words])
    assert result.exit_code == 2
    assert told in result.stderr
