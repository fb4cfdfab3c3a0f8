"""One number changed in one record of every kind: the figure changes, and the check says which record it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paper_figures import registry
from paper_figures.building import freshness
from paper_figures.drawing import style
from paper_figures.records import sources
from tests.paper_figures.conftest import run

Change = Callable[[Any], None]


def at(*path: str | int, times: float = 1.25) -> Change:
    """Multiply the number at this place of a record."""

    def change(record: Any) -> None:
        for step in path[:-1]:
            record = record[step]
        record[path[-1]] *= times

    return change


def word(*path: str | int, old: str, new: str) -> Change:
    """The same for a number inside a sentence."""

    def change(record: Any) -> None:
        for step in path[:-1]:
            record = record[step]
        assert old in record[path[-1]]
        record[path[-1]] = record[path[-1]].replace(old, new)

    return change


FINAL = at("final", "accuracy", times=0.9)
CHANGES: dict[str, tuple[str, Change]] = {
    "claims": ("tab_claims", at(0, "measured")),
    "linear": ("fig_linear", at("series", 0, "angle_distance", -1, times=4)),
    "contraction": ("fig_contraction", at("series", 1, "worst", 3)),
    "sample_complexity": ("fig_sample_complexity", at("series", 0, "measured", 0)),
    "nonlinear": ("fig_learning_rates", at("series", 0, "test_accuracy", -1, times=0.7)),
    "nonlinear_mnist": ("fig_nonlinear_mnist_rates", at("series", 0, "test_accuracy", -1, times=0.7)),
    "finetuning": ("tab_finetuning", FINAL),
    "sweep": ("tab_learning_rates", FINAL),
    "methods_rates": ("tab_methods", FINAL),
    "methods": ("tab_methods", FINAL),
    "engines": ("tab_engines", at("jobs", "all", "contestants", "batched", "median")),
    "profile": ("fig_profile", at("engines", "sequential", "seconds", "backbone products")),
    "gpu_speed": ("tab_gpu_speed", at("contestants", "batched, groups of 2", "tokens_per_second")),
    "gpu_memory": ("tab_gpu_memory", at("cases", "within", "measured_over_planned")),
    "conformance": ("tab_conformance", word(3, "words", old="3 clients", new="4 clients")),
    "conformance_foreign": ("tab_conformance_foreign", word(3, "words", old="3 clients", new="4 clients")),
    "encoder_tasks": ("tab_encoder_tasks", FINAL),
    "dolly": ("tab_dolly", at("final", "loss", times=0.9)),
    "confound": ("tab_confound", FINAL),
    "movement": ("fig_movement", at("rounds", 0, "moved", "B")),
    "label_skew": ("fig_label_skew", FINAL),
    "participation": ("fig_participation", FINAL),
    "ranks": ("fig_ranks", FINAL),
    "layer_budgets": ("fig_layer_budgets", FINAL),
    "schedules": ("fig_schedules", FINAL),
    "rate_ratios": ("fig_rate_ratios", FINAL),
    "local_steps": ("fig_local_steps", FINAL),
    "evaluations": ("tab_benchmarks", at("results", 0, "accuracy", times=0.8)),
}
"""Kind -> a figure or table that shows it, and one number of its first file that is shown there."""


def first_file(records: Path, kind: str) -> Path:
    return min(records.glob(sources.SOURCES[kind].file))


def test_unchanged_records_are_in_step_wherever_they_lie(
    records_directory: Path, rendered: Path, tmp_path: Path
) -> None:
    shutil.copytree(records_directory, tmp_path / "records")
    ids = ("fig_linear", "tab_finetuning", "tab_paper_table1")
    result = run("check", *ids, "--records", tmp_path / "records", "--out", rendered)
    assert result.exit_code == 0 and "6 files are in step" in result.output


@pytest.mark.parametrize("kind", list(sources.SOURCES))
def test_one_changed_number_turns_the_check_red(
    kind: str, records_directory: Path, rendered: Path, tmp_path: Path
) -> None:
    assert kind in CHANGES, "a new kind of record: say above which number of it is shown where"
    id, change = CHANGES[kind]
    records = tmp_path / "records"
    shutil.copytree(records_directory, records, copy_function=os.link)
    path = first_file(records, kind)
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record)
    path.unlink()  # a link: the original stays as it is
    path.write_text(json.dumps(record), encoding="utf-8")
    result = run("check", id, "--records", records, "--out", rendered)
    assert result.exit_code == 1
    name = path.relative_to(records).as_posix()
    assert f"{id}.{'png' if id.startswith('fig') else 'md'}: out of step: {name} has changed" in result.output


def test_a_number_that_is_not_drawn_is_noticed_too(records_directory: Path, rendered: Path, tmp_path: Path) -> None:
    records = tmp_path / "records"
    shutil.copytree(records_directory, records)
    record = json.loads((records / "linear.json").read_text(encoding="utf-8"))
    record["seconds"] += 1
    (records / "linear.json").write_text(json.dumps(record), encoding="utf-8")
    result = run("check", "fig_linear", "--records", records, "--out", rendered)
    assert result.exit_code == 1
    assert "fig_linear: made from other records" in result.output and "linear.json has changed" in result.output


def test_a_record_that_is_shown_without_being_needed_is_noticed(
    records_directory: Path, rendered: Path, tmp_path: Path
) -> None:
    """The table of printed numbers needs no record, and shows our numbers where there are some."""
    records = tmp_path / "records"
    shutil.copytree(records_directory, records)
    shutil.rmtree(records / "finetuning")
    result = run("check", "tab_paper_table1", "--records", records, "--out", rendered)
    assert result.exit_code == 1 and "record.json is gone" in result.output and "more" in result.output


def test_changed_code_is_noticed_by_running_it(
    records_directory: Path, rendered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = style.MethodStyle("RoLoRA", "#123456", "o", "-")
    monkeypatch.setitem(style.METHODS, "rolora", look)
    result = run("check", "fig_linear", "--records", records_directory, "--out", rendered)
    assert result.exit_code == 1 and "fig_linear.pdf: out of step" in result.output


def test_the_changed_module_and_library_are_named(records_directory: Path, rendered: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(rendered, out)
    (out / "fig_linear.png").write_bytes(b"older")
    noted = freshness.read(out)
    noted["fig_linear"]["code"]["paper_figures/drawing/style.py"] = "0" * 16
    noted["fig_linear"]["libraries"]["matplotlib"] = "3.9.0"
    (out / freshness.NAME).write_bytes(freshness.written(noted))
    result = run("check", "fig_linear", "--records", records_directory, "--out", out)
    assert result.exit_code == 1
    assert "fig_linear.png: out of step: paper_figures/drawing/style.py has changed; matplotlib 3." in result.output
    assert "in the place of 3.9.0" in result.output and "fig_linear.pdf" not in result.output


def test_what_is_noted_of_nothing_is_surplus(records_directory: Path, rendered: Path, tmp_path: Path) -> None:
    assert freshness.surplus({}, {"fig_gone": {}}, tmp_path / "none", set()) == [
        f"{tmp_path / 'none' / freshness.NAME}: no record makes fig_gone"
    ]
    (tmp_path / freshness.NAME).write_text("[1]", encoding="utf-8")
    result = run("check", "tab_claims", "--records", records_directory, "--out", tmp_path)
    assert result.exit_code == 2 and "expected what build writes there" in result.stderr


def test_code_is_what_a_figure_imports_and_nothing_else() -> None:
    found = freshness.code_digests("paper_figures.figures.fig_linear")
    assert {
        "paper_figures/figures/fig_linear.py",
        "paper_figures/drawing/style.py",
        "paper_figures/analysis/linear_model.py",
    } <= found.keys()
    assert "paper_figures/figures/fig_methods.py" not in found and "paper_figures/registry.py" not in found
    assert all((freshness.ROOT / name).is_file() for name in found)


def test_every_entry_notes_its_records(records_directory: Path) -> None:
    records = sources.load(records_directory)
    for entry in registry.select():
        noted = freshness.made_from(entry, records)
        assert bool(noted["records"]) == bool(entry.needs or entry.uses)
        assert any(
            name.startswith(("paper_figures/figures/fig_", "paper_figures/tables/tab_")) for name in noted["code"]
        )


def test_kinds_that_are_not_there_come_from_beside(records_directory: Path, tmp_path: Path) -> None:
    """As ``make reproduce`` draws what it has made, and the committed records of the rest."""
    own = tmp_path / "own"
    shutil.copytree(records_directory / "finetuning", own / "finetuning")
    path = first_file(own, "finetuning")
    run = json.loads(path.read_text())
    at("final", "accuracy", times=0.5)(run)
    path.write_text(json.dumps(run))
    both, alone, other = sources.load(own, records_directory), sources.load(own), sources.load(records_directory)
    assert alone.missing(sources.SOURCES) and not both.missing(sources.SOURCES)
    assert both["finetuning"] == alone["finetuning"] != other["finetuning"]
    assert both["label_skew"] == other["label_skew"] and both.place("label_skew") == records_directory
    assert both.place("finetuning") == own
    made = freshness.made_from(*registry.select(["fig_label_skew"]), both)
    assert made == freshness.made_from(*registry.select(["fig_label_skew"]), other) and made["records"]
