"""Notebooks: the .py in percent format is the source, the .ipynb its executed pair."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paper_figures.notebook_support.sliders import WIDGET
from rolora.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "notebooks"

NEEDED = ("jupytext", "nbclient", "nbformat", "ipykernel")

KEPT_METADATA = ("kernelspec", "language_info")

ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),  # a kernel starts in its notebook's folder; it has to run the code that checks it
    "OMP_NUM_THREADS": "1",  # sums do not depend on the number of cores
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Of the kernels, beside this process's own."""


def executed(source: Path) -> str:
    """The notebook of a percent-format script, executed, without anything that changes from run to run.

    Raises:
        InputError: the notebook packages are not installed, or a cell failed.
    """
    jupytext, nbclient, nbformat, _ = (_module(name) for name in NEEDED)
    notebook = jupytext.read(source)
    # Cell ids are drawn at random; the position in the file names a cell as well.
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{index:02d}"
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", record_timing=False, resources={"metadata": {"path": FOLDER}}
    )
    try:
        client.execute(env=os.environ | ENVIRONMENT)
    except nbclient.exceptions.CellExecutionError as error:
        raise InputError(f"{source}: a cell failed: {error.ename}: {error.evalue}") from None
    return nbformat.writes(_stable(notebook), version=4, indent=1) + "\n"


def _stable(notebook: Any) -> Any:
    notebook.metadata = {name: notebook.metadata[name] for name in KEPT_METADATA if name in notebook.metadata}
    # The interpreter's version would set the file apart between machines that agree in everything else.
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell["metadata"] = {}
        if "outputs" in cell:
            cell["outputs"] = [output for output in cell["outputs"] if _kept(output)]
    return notebook


def _kept(output: Any) -> bool:
    """Take out of an output what lives in a kernel alone, and return True if anything stays."""
    output["metadata"] = {}
    data = output.get("data", {})
    if data.pop(WIDGET, None) is not None and set(data) <= {"text/plain"}:
        return False  # a progress bar that is gone
    if data and not data.get("text/plain", "-").strip():
        return False  # the empty line that a bar leaves
    # Beside a picture the text form is an address in memory.
    if len(data) > 1:
        data.pop("text/plain", None)
    return True


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(
            f"notebooks: got no package {name}, expected the optional notebook packages; "
            "install them with: pip install 'rolora[notebooks]'"
        ) from None


def sources(folder: Path = FOLDER, names: Sequence[str] = ()) -> list[Path]:
    """The notebooks' sources, in the order of their numbers.

    Args:
        folder: where they lie.
        names: some of them, by the name without its suffix or by its number; all if there is none.

    Raises:
        InputError: there is none, or none by a name.
    """
    found = sorted(folder.glob("[0-9][0-9]_*.py"))
    if not found:
        raise InputError(f"notebooks: got {folder}, expected sources named like 01_linear_model.py in it")
    for name in names:
        if not any(name in (path.stem, path.stem[:2]) for path in found):
            raise InputError(f"NAME: got {name!r}, expected one of {', '.join(path.stem for path in found)}")
    return [path for path in found if not names or {path.stem, path.stem[:2]} & set(names)]


def orphans(folder: Path = FOLDER) -> list[Path]:
    """Notebooks without a source: nothing makes them, so nothing keeps them true."""
    return sorted(path for path in folder.glob("*.ipynb") if not path.with_suffix(".py").exists())


def same_source(source: Path) -> bool:
    """Return True if the cells of a notebook are those of its source, whatever their outputs; nothing is executed."""
    jupytext, *_ = (_module(name) for name in NEEDED)
    pair = source.with_suffix(".ipynb")
    if not pair.exists():
        return False
    cells, there = ([(cell.cell_type, cell.source) for cell in jupytext.read(path).cells] for path in (source, pair))
    return cells == there


def in_step(text: str, path: Path) -> bool:
    """Return True if an executed notebook equals the file, pictures included."""
    if not path.exists():
        return False
    return json.loads(text) == json.loads(path.read_text(encoding="utf-8"))
