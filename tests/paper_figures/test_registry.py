"""A figure is one new file, and building one reads its records and imports its module alone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from paper_figures import figures, registry
from paper_figures.analysis import questions
from paper_figures.records import sources
from rolora.errors import InputError
from tests.paper_figures.conftest import run

README = Path(figures.__file__).parents[1] / "README.md"
(NEW,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
"""The figure that the README adds, as it is written there."""


@pytest.fixture
def new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A figure's file in a second folder of figures."""
    folder = tmp_path / "figures"
    folder.mkdir()
    monkeypatch.setattr(figures, "__path__", [*figures.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "paper_figures.figures.fig_my_figure", raising=False)
    (folder / "fig_my_figure.py").write_text(NEW, encoding="utf-8")
    return folder / "fig_my_figure.py"


def test_a_new_figure_is_one_new_file(new_file: Path, tmp_path: Path, records_directory: Path) -> None:
    shutil.copytree(records_directory / "finetuning", tmp_path / "finetuning")
    assert "fig_my_figure" in run("list", "--records", tmp_path).stdout
    result = run("build", "fig_my_figure", "--records", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "fig_my_figure.png").stat().st_size > 1000
    noted = json.loads((tmp_path / "out" / "made_from.json").read_text(encoding="utf-8"))
    assert all(name.startswith("finetuning/") for name in noted["fig_my_figure"]["records"])
    assert registry.ids()[-1] == "fig_my_figure", "what the order does not name comes last"
    assert questions.question(registry.load("fig_my_figure")).id == "fine-tuning"


@pytest.mark.parametrize(
    ("declared", "message"), [('"fig_other"', "got the id 'fig_other'"), ("ENTRY", "got no ENTRY")], ids=["id", "none"]
)
def test_a_file_that_declares_no_entry_of_its_name_is_refused(new_file: Path, declared: str, message: str) -> None:
    text = NEW.replace("ENTRY = ", "OTHER = ") if declared == "ENTRY" else NEW.replace('"fig_my_figure"', declared)
    new_file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        registry.load("fig_my_figure")


def test_the_order_names_every_figure_and_table_once() -> None:
    assert list(registry.ORDER) == registry.ids()
    assert {kind for kinds in (entry.needs + entry.uses for entry in registry.select()) for kind in kinds} <= set(
        sources.SOURCES
    )


def test_one_figure_reads_one_record(records_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr(
        sources, "read_json", lambda path, read_json=sources.read_json: read.append(path) or read_json(path)
    )
    result = run("build", "fig_linear", "--records", records_directory, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert read == [records_directory / "linear.json"]
    read.clear()
    assert run("build", "fig_ranks", "--records", records_directory, "--out", tmp_path).exit_code == 0
    assert sorted(read) == sorted((records_directory / "ranks").glob("*/record.json")), "each of its kind, once"


def test_one_figure_imports_no_other(records_directory: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from paper_figures.__main__ import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "print('modules', *(name for name in sys.modules if name.startswith('paper_figures.')))"
    )
    command = ["build", "fig_linear", "--records", str(records_directory), "--out", str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, check=True)
    modules = set(done.stdout.splitlines()[-1].split()[1:])
    assert {name for name in modules if ".fig_" in name or ".tab_" in name} == {"paper_figures.figures.fig_linear"}
    assert not [name for name in modules if name.startswith(("paper_figures.report", "paper_figures.notebook_support"))]
