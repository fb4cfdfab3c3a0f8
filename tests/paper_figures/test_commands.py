"""The commands: files that do not change on a rebuild, checks that notice, errors in one line."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import Result

import paper_figures
from paper_figures import registry
from paper_figures.building import readme
from paper_figures.notebook_support import execute
from paper_figures.records import sources
from tests.paper_figures.conftest import fake_run, run


def refused(result: Result) -> str:
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


def test_every_entry_is_built(rendered: Path) -> None:
    for entry in registry.select():
        for kind in ("png", "pdf") if entry.kind == "figure" else ("md", "html"):
            assert (rendered / f"{entry.id}.{kind}").stat().st_size > 100


def test_check_rebuilds_the_same_bytes(rendered: Path, records_directory: Path) -> None:
    result = run("check", "--records", records_directory, "--out", rendered)
    assert result.exit_code == 0, result.output
    assert f"{2 * len(registry.select()) + 1} files are in step" in result.output


def test_check_notices_a_changed_a_missing_and_a_surplus_file(records_directory: Path, tmp_path: Path) -> None:
    for name in ("claims.json", "linear.json"):
        shutil.copy(records_directory / name, tmp_path)
    out = tmp_path / "out"
    assert run("build", "--records", tmp_path, "--out", out).exit_code == 0
    (out / "tab_claims.md").write_text("other", encoding="utf-8")
    (out / "fig_linear.png").unlink()
    (out / "old.png").write_bytes(b"")
    result = run("check", "--records", tmp_path, "--out", out)
    assert result.exit_code == 1
    for text in ("tab_claims.md: out of step", "fig_linear.png: missing", "old.png: no record", "mend with"):
        assert text in result.output


def test_rendered_files_carry_no_date(rendered: Path) -> None:
    for path in rendered.glob("*.pdf"):
        assert b"/CreationDate" not in path.read_bytes()


def test_list_names_the_command_of_what_is_missing(tmp_path: Path, records_directory: Path) -> None:
    shutil.copy(records_directory / "claims.json", tmp_path)
    result = run("list", "--records", tmp_path)
    assert result.exit_code == 0
    assert "missing: linear" in result.output
    assert "python -m theory simulate linear --json" in result.output


def test_build_leaves_out_what_has_no_records_but_refuses_it_by_name(tmp_path: Path, records_directory: Path) -> None:
    shutil.copy(records_directory / "claims.json", tmp_path)
    result = run("build", "--records", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 0
    built = {path.stem for path in (tmp_path / "out").iterdir()}
    bare = {entry.id for entry in registry.select() if not entry.needs}
    assert built == {"tab_claims", "made_from"} | bare and "tab_paper_table1" in bare, "printed numbers need no records"
    assert "fig_linear: left out" in result.output
    line = refused(run("build", "fig_linear", "--records", tmp_path, "--out", tmp_path / "out"))
    assert "linear.json is missing" in line and "python -m theory simulate linear" in line


def test_unknown_id_directory_and_broken_records_are_one_line(tmp_path: Path, records_directory: Path) -> None:
    assert "got 'fig_x', expected one of fig_linear" in refused(run("build", "fig_x", "--records", records_directory))
    assert "expected a directory of records" in refused(run("list", "--records", tmp_path / "none"))
    (tmp_path / "claims.json").write_text("{", encoding="utf-8")
    assert "claims.json: expected JSON" in refused(run("list", "--records", tmp_path))
    (tmp_path / "claims.json").write_text('[{"id": "x"}]', encoding="utf-8")
    assert "claim 0: source is missing" in refused(run("list", "--records", tmp_path))
    (tmp_path / "claims.json").write_text("[]", encoding="utf-8")
    assert "expected a list of claims" in refused(run("list", "--records", tmp_path))


def test_an_experiment_under_the_wrong_name_is_refused(tmp_path: Path, records_directory: Path) -> None:
    shutil.copy(records_directory / "nonlinear.json", tmp_path / "linear.json")
    assert "got the experiment 'nonlinear', expected 'linear'" in refused(run("list", "--records", tmp_path))


def test_an_unfinished_run_is_refused(tmp_path: Path, records_directory: Path) -> None:
    source = next((records_directory / "finetuning").glob("*/record.json"))
    folder = tmp_path / "finetuning" / "one"
    folder.mkdir(parents=True)
    record = json.loads(source.read_text(encoding="utf-8")) | {"status": "running"}
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    assert "expected a finished run" in refused(run("list", "--records", tmp_path))


def test_records_without_the_runs_of_a_figure_are_one_line(tmp_path: Path) -> None:
    shared = fake_run("rolora", 3, 5, 0, state="shared")
    folder = tmp_path / "finetuning" / "one"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(shared), encoding="utf-8")
    assert "without the runs that it draws" in refused(run("build", "fig_finetuning", "--records", tmp_path))
    assert run("build", "--records", tmp_path, "--out", tmp_path / "out").exit_code == 0


def test_records_that_need_a_readers_folder_are_named_and_not_made(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sources.recompute(["nonlinear_mnist"], tmp_path)
    assert list(tmp_path.iterdir()) == []
    said = capfd.readouterr().err
    assert "nonlinear_mnist: left as it is; DIR" in said and "simulate nonlinear --images DIR --json" in said


def test_report_refuses_a_directory(tmp_path: Path, records_directory: Path) -> None:
    assert "expected a file name" in refused(run("report", "--records", records_directory, "--out", tmp_path))


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A project's folder whose documents hold every marker around stale text."""
    for name, sections in readme.DOCUMENTS.items():
        marked = "".join(f"# {key}\n<!-- begin: {key} -->\nstale text\n<!-- end: {key} -->\n" for key in sections)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("before\n" + marked + "after\n", encoding="utf-8")
    return tmp_path


def test_documents_are_filled_between_their_markers(documents: Path, records_directory: Path) -> None:
    command = ("readme", "--records", records_directory, "--root", documents)
    assert run(*command, "--check").exit_code == 1
    assert "stale text" in (documents / "README.md").read_text(encoding="utf-8")
    assert run(*command).exit_code == 0
    texts = {name: (documents / name).read_text(encoding="utf-8") for name in readme.DOCUMENTS}
    for text in texts.values():
        assert text.startswith("before\n# ") and text.endswith("after\n") and "stale text" not in text
    for name, wanted in (
        ("theory/README.md", "made-up-rate"),
        ("paper_figures/README.md", "(rendered/fig_nonlinear.png)"),
        ("paper_figures/README.md", "0.733 ± 0.012"),
        ("paper_figures/README.md", "What they do not show"),
        ("rolora/README.md", "federation.num_clients"),
        ("README.md", "No number of the papers' tables is reproduced"),
    ):
        assert wanted in texts[name]
    assert "made-up-bound" not in texts["theory/README.md"], "what is derived here is in the full table"
    assert run(*command, "--check").exit_code == 0


def test_a_document_without_its_markers_is_refused(documents: Path, records_directory: Path) -> None:
    (documents / "theory" / "README.md").write_text("nothing\n", encoding="utf-8")
    assert "begin: claims" in refused(run("readme", "--records", records_directory, "--root", documents))
    (documents / "README.md").unlink()
    assert "README.md in it" in refused(run("readme", "--records", records_directory, "--root", documents))


def test_documents_say_when_there_are_no_records(documents: Path, tmp_path: Path) -> None:
    assert run("readme", "--records", tmp_path, "--root", documents).exit_code == 0
    assert sum((documents / name).read_text(encoding="utf-8").count("Not made yet") for name in readme.DOCUMENTS) == 6


def test_notebooks_without_their_packages_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "NEEDED", ("jupytext", "nbclient", "nbformat", "no_such_package"))
    assert "rolora[notebooks]" in refused(run("notebooks"))


def test_notebooks_hold_no_loop_and_no_definition() -> None:
    for source in execute.sources():
        code = source.read_text(encoding="utf-8")
        assert not re.search(r"^\s*(for|while|def|class|if)\b", code, flags=re.MULTILINE)
        first = code.split("# %% [markdown]\n")[1]
        assert re.match(r"# # .*\?\n", first), "a notebook opens with its question"
        assert "# ## The answer" in code


def test_an_executed_notebook_is_the_same_every_time(tmp_path: Path) -> None:
    for package in execute.NEEDED:
        pytest.importorskip(package)
    source = tmp_path / "01_made_up.py"
    source.write_text("# %% [markdown]\n# # Two?\n\n# %%\n1 + 1\n", encoding="utf-8")
    # A kernel in a process of its own: its sockets' warnings are not this project's.
    script = (
        "import sys; from pathlib import Path; from paper_figures.notebook_support.execute import executed\n"
        "print(executed(Path(sys.argv[1])))"
    )
    first, second = (
        subprocess.run([sys.executable, "-c", script, str(source)], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert first == second
    notebook = json.loads(first)
    assert notebook["cells"][1]["outputs"][0]["data"]["text/plain"] == ["2"]
    source.with_suffix(".ipynb").write_text(first, encoding="utf-8")
    assert execute.in_step(first, source.with_suffix(".ipynb"))
    assert not execute.in_step(first.replace('"2"', '"3"'), source.with_suffix(".ipynb"))


def test_no_drawing_has_pyplots_state() -> None:
    paths = [
        path for room in ("figures", "panels") for path in (Path(paper_figures.__file__).parent / room).glob("*.py")
    ]
    assert len(paths) > 25
    assert not [path for path in paths if "pyplot" in path.read_text(encoding="utf-8")]
