"""Notebooks: a pair that differs is noticed, nothing of a kernel stays in the file, and what they call says what it finds."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from paper_figures import registry
from paper_figures.__main__ import app
from paper_figures.notebook_support import answers, execute, gallery, linear_sliders, rerun
from paper_figures.notebook_support import shell as terminals
from paper_figures.notebook_support.sliders import PNG, WIDGET, Slider, Sliders
from paper_figures.panels import interference_by_layer
from paper_figures.records import sources
from paper_figures.records.sources import Records
from rolora.errors import InputError
from tests.paper_figures import made_up_studies
from tests.paper_figures.conftest import fake_run
from theory.studies.one_setting import Setting, account

SOURCES = execute.sources()


@pytest.fixture
def needed() -> None:
    for package in execute.NEEDED:
        pytest.importorskip(package)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["notebooks", *map(str, arguments)])


def outputs(source: Path) -> list[dict[str, Any]]:
    cells = json.loads(source.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]
    return [output for cell in cells for output in cell.get("outputs", [])]


def test_there_is_a_notebook_for_each_question() -> None:
    names = {path.stem for path in SOURCES}
    assert names >= {
        "01_linear_model", "02_nonlinear_model", "03_interference", "04_federated_finetuning", "06_paper_tables",
        "07_your_own_model",
    }  # fmt: skip


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_committed_pair_has_the_same_cells(source: Path, needed: None) -> None:
    assert execute.same_source(source), f"{source} has changed; mend with: python -m paper_figures notebooks"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_reader_sees_results_and_nothing_of_a_kernel_or_a_machine(source: Path) -> None:
    found = outputs(source)
    assert found and not [one for one in found if one["output_type"] in ("error", "stream")]
    text = json.dumps([{k: v for k, v in one.get("data", {}).items() if k != PNG} for one in found])
    for mark in ("widget-view", "<Figure", "object at 0x", "/tmp/", "/home/", "/root/", "site-packages"):
        assert mark not in text
    for alarm in ("ELSE", "OPPOSITE", "OTHER", "NOT as it", "do NOT"):
        assert alarm not in text, "the answers contradict what the notebook computed"
    answered = found[-1]["data"] if source.stem[:2] not in ("04", "06") else found[-2]["data"]
    assert "".join(answered["text/markdown"]).startswith("**"), "the answer's first sentence stands out"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_one_cell_computes_something_from_scratch(source: Path) -> None:
    code = source.read_text(encoding="utf-8")
    assert "rerun." in code or "loop.run(" in code
    assert ("RECOMPUTE = False" in code) == (source.stem[:2] not in ("05", "07"))


def written(folder: Path, code: str = "1 + 1") -> Path:
    source = folder / "01_made_up.py"
    source.write_text(f"# %% [markdown]\n# # Two?\n\n# %%\n{code}\n", encoding="utf-8")
    return source


def executing(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    # A kernel in a process of its own: its sockets' warnings are not this project's.
    command = [sys.executable, "-m", "paper_figures", "notebooks", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=execute.ROOT)


def test_a_differing_pair_is_noticed_whichever_side_has_changed(tmp_path: Path, needed: None) -> None:
    source = written(tmp_path)
    assert executing("--folder", tmp_path).returncode == 0
    pair = source.with_suffix(".ipynb")
    good = pair.read_text(encoding="utf-8")
    # Another result under the same source: only executing shows it.
    pair.write_text(good.replace('"2"', '"3"'), encoding="utf-8")
    done = executing("--check", "--folder", tmp_path)
    assert done.returncode == 1 and "01_made_up.ipynb: out of step" in done.stdout
    pair.write_text(good, encoding="utf-8")
    assert executing("--check", "--folder", tmp_path).returncode == 0
    # Another source: noticed without a kernel.
    written(tmp_path, "1 + 2")
    assert not execute.same_source(source)
    assert run("--check", "--folder", tmp_path).exit_code == 1
    assert pair.read_text(encoding="utf-8") == good, "a check writes nothing"


def test_a_missing_and_an_orphaned_notebook_are_noticed(tmp_path: Path, needed: None) -> None:
    written(tmp_path)
    assert run("--check", "--folder", tmp_path).exit_code == 1, "no .ipynb yet"
    (tmp_path / "02_alone.ipynb").write_text("{}", encoding="utf-8")
    assert "02_alone.ipynb: got a notebook without 02_alone.py" in run("--check", "--folder", tmp_path).stdout
    assert execute.orphans() == []


def test_names_choose_and_an_unknown_one_is_one_line(tmp_path: Path) -> None:
    assert [path.stem for path in execute.sources(names=["03", "01_linear_model"])] == [
        "01_linear_model",
        "03_interference",
    ]
    result = run("99")
    assert result.exit_code == 2 and "got '99', expected one of 01_linear_model" in result.stderr


def test_widgets_leave_their_picture_and_bars_leave_nothing(needed: None) -> None:
    nbformat = pytest.importorskip("nbformat")
    v4 = nbformat.v4
    shown = {WIDGET: {"model_id": "abc"}, "text/plain": "VBox(...)", PNG: "picture"}
    bar = {WIDGET: {"model_id": "def"}, "text/plain": "Output()"}
    cell = v4.new_code_cell("x", outputs=[v4.new_output("display_data", data=dict(one)) for one in (shown, bar)])
    (kept,) = execute._stable(v4.new_notebook(cells=[cell])).cells[0]["outputs"]
    assert kept["data"] == {PNG: "picture"}


def test_sliders_move_the_picture() -> None:
    pytest.importorskip("ipywidgets")
    made = Sliders(lambda x, y: f"{x} {y}".encode(), {"x": Slider("x", (1, 2), 1), "y": Slider("y", (3, 4), 4)})
    assert made.picture() == b"1 4"
    widget = made.widget()
    *controls, picture = widget.children
    controls[0].value = 2
    controls[1].value = 3
    assert bytes(picture.value) == b"2 3"
    bundle = made._repr_mimebundle_()
    assert base64.b64decode(bundle[PNG]) == b"1 4" and WIDGET in bundle
    with pytest.raises(ValueError, match="begins with 5"):
        Sliders(lambda x: b"", {"x": Slider("x", (1, 2), 5)})


def test_the_linear_models_sliders_are_its_settings() -> None:
    assert Setting(**{name: slider.first for name, slider in linear_sliders.SLIDERS.items()}) == Setting()
    for name, slider in linear_sliders.SLIDERS.items():
        account(Setting(**{"num_clients": 1} | {name: slider.values[0]}))
        assert len(set(slider.values)) == len(slider.values) > 4


def test_the_picture_has_what_was_measured_and_what_was_predicted() -> None:
    found = account(Setting(num_clients=2, samples=500))
    drawn = linear_sliders.figure(found)
    lines = [line.get_ydata() for line in drawn.axes[0].lines]
    for angles in (*found.angles.values(), found.predicted):
        assert any(np.allclose(line, np.maximum(angles, 1e-17)) for line in lines)
    points = [line.get_ydata() for line in drawn.axes[1].lines]
    assert any(len(line) == len(found.ratios()) and np.allclose(line, found.ratios()) for line in points)
    text = linear_sliders.reading(found)
    assert f"{found.on_these_data:.2f} on these data" in text and f"Measured: {found.measured:.2f}" in text
    assert "does not stay" in linear_sliders.reading(account(Setting(kappa=0.9, num_clients=2, samples=500)))
    assert "false even with" in linear_sliders.reading(account(Setting(kappa=1.2, num_clients=1)))


@pytest.fixture(scope="module")
def committed() -> Records:
    return sources.load(sources.COMMITTED)


def test_every_answer_of_the_committed_records_stands_in_its_notebook(committed: Records) -> None:
    made = {
        "02_nonlinear_model": answers.nonlinear_model(committed),
        "04_federated_finetuning": answers.federated_finetuning(committed),
        "05_confound": answers.the_confound(committed),
        "06_paper_tables": answers.paper_tables(committed),
    }
    for name, sentences in made.items():
        text = answers.written(sentences)
        pages = ["".join(one["data"].get("text/markdown", [])) for one in outputs(execute.FOLDER / f"{name}.py")]
        assert text in pages, f"{name} says something else than its records"


def turned(record: dict[str, Any], method: str, change: float) -> dict[str, Any]:
    """A run whose final accuracy is another one."""
    if record["config"]["algorithm"] != method:
        return record
    return record | {"final": record["final"] | {"accuracy": record["final"]["accuracy"] + change}}


def test_the_answers_turn_with_the_records() -> None:
    runs = [fake_run(method, clients, 5, seed) for method in answers.PAIR for clients in (3, 50) for seed in range(3)]
    level = Records(Path(), finetuning=[run | {"final": run["final"] | {"accuracy": 0.7}} for run in runs])
    assert next(answers.federated_finetuning(level)).startswith("No better than FedAvg-LoRA")
    falls = [
        turned(run, "fedavg-lora", -0.2 - 0.01 * run["seed"])
        if run["config"]["federation"]["num_clients"] == 50
        else run
        for run in level["finetuning"]
    ]
    assert next(answers.federated_finetuning(level.having(finetuning=falls))).startswith("Yes, better")
    falls = [
        turned(run, "rolora", -0.2 - 0.01 * run["seed"]) if run["config"]["federation"]["num_clients"] == 50 else run
        for run in level["finetuning"]
    ]
    assert next(answers.federated_finetuning(level.having(finetuning=falls))).startswith("No, less well")


@pytest.mark.parametrize(
    ("method", "chain", "told"),
    [(0.1, 0.1, "Both"), (0.1, 0.0, "The method"), (0.0, 0.1, "The chain"), (-0.1, 0.0, "Neither")],
)
def test_the_confounds_answer_turns_with_the_records(method: float, chain: float, told: str) -> None:
    runs = []
    for run in made_up_studies.fake_confound(seeds=3):
        federation, better = run["config"]["federation"], 0.001 * run["seed"]
        better += method * (run["config"]["algorithm"] == "rolora") + chain * (federation["client_state"] == "chained")
        runs.append(run | {"final": run["final"] | {"accuracy": 0.7 + better}})
    answer = list(answers.the_confound(Records(Path(), confound=runs, movement=made_up_studies.fake_movement())))
    assert answer[0].startswith(told) and answer[-1].startswith("A chain moves")


def test_a_chain_cannot_be_made_again_without_its_records() -> None:
    with pytest.raises(
        InputError, match="expected an isolated and a chained run of rolora with 3 clients; there are 0"
    ):
        rerun.chain(Records(Path()))


def test_the_linear_answer_turns_with_the_records(committed: Records) -> None:
    assert next(answers.linear_model(committed, committed)).startswith("No: ")
    stuck = [
        one | {"angle_distance": [0.5] * len(one["angle_distance"])} if one["algorithm"] == "fedavg-lora" else one
        for one in committed["linear"]["series"]
        if one["panel"] not in ("local-ratio", "population-map")
    ]
    other = committed.having(linear=committed["linear"] | {"series": stuck})
    first, *rest = answers.linear_model(other, committed)
    assert first.startswith("Yes.") and "something ELSE" in rest[-1]


def test_the_interference_answer_notices_a_method_that_begins_to_miss(committed: Records) -> None:
    toy = {name: [{"one": {"missed": 0.0 if name in EXACT else 0.5}}] * 2 for name in METHODS_WITH_LOSS}
    assert "name the same methods" in list(answers.interference(committed, toy))[1]
    spoilt = toy | {"rolora": [{"one": {"missed": 0.5}}] * 2}
    assert "OTHERS" in list(answers.interference(committed, spoilt))[1]


EXACT = ("ffa-lora", "rolora", "flora", "fedex-lora", "fedsvd")
METHODS_WITH_LOSS = (*EXACT, "fedavg-lora", "flexlora", "fedrot-lora", "lora-fair", "la-lora", "hetlora")


def test_layer_by_layer_draws_every_value(committed: Records) -> None:
    toy = {name: [{"spread 0.5": {"missed": 0.0 if name in EXACT else 0.5}}] for name in METHODS_WITH_LOSS}
    drawn = interference_by_layer.figure(toy, committed)
    left, right = drawn.axes[:2]
    assert [text.get_text() for text in left.texts].count("exact") == len(EXACT)
    assert len(right.texts) == len(METHODS_WITH_LOSS) * 6
    real = interference_by_layer.of_records(committed)
    assert f"{next(iter(real['fedavg-lora'].values())):.2f}" in [text.get_text() for text in right.texts]
    assert interference_by_layer.exact_methods(real) == [
        one for one in interference_by_layer.in_order(real) if one in EXACT
    ]


def test_the_gallery_shows_what_answers_a_table_and_grows_with_the_registry(
    committed: Records, records_directory: Path
) -> None:
    pytest.importorskip("IPython")
    chosen = gallery.papers_tables()
    assert {"tab_paper_table1", "tab_finetuning"} <= {entry.id for entry in chosen}
    assert not {"fig_linear", "fig_nonlinear", "tab_claims"} & {entry.id for entry in chosen}
    kinds = [entry.kind for entry in chosen]
    assert kinds == sorted(kinds, reverse=True), "tables first"
    more = replace(registry.select()[0], id="tab_new", counterpart="arXiv 2502.01755v4, Table 20", needs=("profile",))
    assert more in gallery.papers_tables([*registry.select(), more])
    heading, picture = gallery.outputs(registry.select(["fig_finetuning"])[0], committed)
    assert "Table 1" in heading.data and picture.data.startswith(b"\x89PNG")
    (absent,) = gallery.outputs(more, Records(Path()))
    assert "Not made here" in absent.data and "tests.tools.bench.profile" in absent.data


def test_a_rerun_that_differs_is_called_so() -> None:
    record = fake_run("rolora", 3, 5, 0)
    made = record | {"rounds": json.loads(json.dumps(record["rounds"][:2]))}
    assert rerun.Rerun(record, made).agrees
    made["rounds"][1]["loss"] = 1.01 * made["rounds"][1]["loss"] + 0.01
    assert not rerun.Rerun(record, made).agrees
    assert "do NOT agree" in rerun.Rerun(record, made).table().notes[0]
    made = record | {"rounds": json.loads(json.dumps(record["rounds"][:2]))}
    made["rounds"][0]["bytes_up"]["A"] = 1
    assert not rerun.Rerun(record, made).agrees


def test_audits_are_made_now() -> None:
    table = rerun.audits()
    assert len(table.rows) >= 12 and {row[-1] for row in table.rows} == {"refuted"}


def test_a_command_is_shown_with_its_status_and_without_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = terminals.run("python -c 'import os, sys; print(os.getcwd()); sys.exit(2)'")
    assert said.status == 2 and said.lines == ["."]
    assert said._repr_markdown_().endswith("[status 2]\n```")
    table = " run   accuracy   seconds \n one     0.5000        12 \n\n12 after"
    assert terminals.without_times(table) == " run   accuracy\n one     0.5000\n\n12 after"
    assert terminals.without_times("a: 18/24 local updates, round 5/8\na: finished (1/1)") == "a: finished (1/1)"
    with pytest.raises(ValueError, match="begins with python"):
        terminals.run("rm everything")


def test_the_answer_about_a_readers_model_notices_what_went_wrong() -> None:
    record = fake_run("rolora", 3, 5, 0)
    good = SimpleNamespace(status=2, lines=["error: one"])
    accuracy = record["final"]["accuracy"]
    assert next(answers.your_own_model(record, accuracy, 1e-15, [good])).startswith("Yes: ")
    assert next(answers.your_own_model(record, accuracy + 0.01, 1e-15, [good])).startswith("NOT")
    bad = SimpleNamespace(status=1, lines=["Traceback", "more"])
    said = list(answers.your_own_model(record, accuracy, 1e-3, [good, bad]))
    assert said[0].startswith("NOT") and "OTHER logits" in said[1] and "did NOT" in said[2]


def test_recomputing_leaves_what_only_the_reader_has(
    records_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "recompute", lambda kinds, directory: directory.mkdir(parents=True))
    found = sources.open_records(["nonlinear_mnist"], recompute_first=True, directory=records_directory)
    assert found["nonlinear_mnist"] == sources.load(records_directory)["nonlinear_mnist"]
    with pytest.raises(sources.InputError, match=re.escape("linear.json is missing")):
        monkeypatch.chdir(records_directory.parent)
        sources.open_records(["linear"], recompute_first=True, directory=records_directory)
