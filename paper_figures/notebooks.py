"""Notebooks: the .py in percent format is the source, the .ipynb its executed pair."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from rolora.errors import InputError

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"

NEEDED = ("jupytext", "nbclient", "nbformat", "ipykernel")

KEPT_METADATA = ("kernelspec", "language_info")


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
        client.execute()
    except nbclient.exceptions.CellExecutionError as error:
        raise InputError(f"{source}: a cell failed: {error.ename}: {error.evalue}") from None
    return nbformat.writes(_stable(notebook), version=4, indent=1) + "\n"


def _stable(notebook: Any) -> Any:
    notebook.metadata = {name: notebook.metadata[name] for name in KEPT_METADATA if name in notebook.metadata}
    # The interpreter's version would set the file apart between machines that agree in everything else.
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell["metadata"] = {}
        for output in cell.get("outputs", []):
            output["metadata"] = {}
            # Beside a picture the text form is an address in memory.
            if len(output.get("data", {})) > 1:
                output["data"].pop("text/plain", None)
    return notebook


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(
            f"notebooks: got no package {name}, expected the optional notebook packages; "
            "install them with: pip install 'rolora[notebooks]'"
        ) from None


def sources(folder: Path = FOLDER) -> list[Path]:
    """The notebooks' sources, in the order of their numbers.

    Raises:
        InputError: there is none.
    """
    found = sorted(folder.glob("[0-9][0-9]_*.py"))
    if not found:
        raise InputError(f"notebooks: got {folder}, expected sources named like 01_linear_model.py in it")
    return found


def in_step(text: str, path: Path) -> bool:
    """Whether an executed notebook says what the file says; pictures are compared too."""
    if not path.exists():
        return False
    return json.loads(text) == json.loads(path.read_text(encoding="utf-8"))
