"""The README's file tree: every module with the first line of its docstring."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

FOLDERS = {
    "rolora": "the fine-tuning core",
    "theory": "simulations, bounds, and one claim a file",
    "paper_figures": "records in, figures and tables out",
    "notebooks": "a question each; .py is the source, .ipynb its executed pair",
}

OTHERS = {
    "tests/": "mirrors the packages; the laws are in tests/algorithms and tests/engine, tests/gpu needs CUDA",
    "Makefile": "`make help` says what there is",
    "pyproject.toml": "open version ranges, lint, tests, import contracts",
    "requirements.lock": "the complete environment that was tested",
    ".ci/run": "tests and linters from a clean clone",
}


def markdown() -> str:
    """The tree as a code block."""
    lines = []
    for folder, purpose in FOLDERS.items():
        lines.append((f"{folder}/", purpose))
        lines += [("  " + name, text) for name, text in _rooms(ROOT / folder)]
    lines += OTHERS.items()
    width = max(len(name) for name, _ in lines) + 2
    return "```\n" + "".join(f"{name:<{width}}{text}".rstrip() + "\n" for name, text in lines) + "```\n"


SUMMED = {"claims": "{count} statements, one a file; ADDING_A_STATEMENT.md says how to add one"}
"""Folders whose files are counted instead of listed."""


def _rooms(folder: Path) -> list[tuple[str, str]]:
    found = []
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() and path.name in SUMMED:
            count = sum(1 for _ in path.glob("[a-z]*.py"))
            found.append((f"{name}/", SUMMED[path.name].format(count=count)))
        if path.parent.name in SUMMED:
            continue
        if path.suffix == ".py" and path.name not in ("__init__.py",):
            found.append((name, first_line(path)))
        elif path.suffix == ".toml":
            found.append((name, path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")))
    return found


def first_line(path: Path) -> str:
    """The first line of a module's docstring, or of a notebook's title."""
    text = path.read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text))
    if docstring:
        return docstring.splitlines()[0]
    titles = [line.removeprefix("# # ") for line in text.splitlines() if line.startswith("# # ")]
    return titles[0] if titles else ""
