"""The arrows between rooms, held by the contracts in pyproject.toml; and what an import costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_contracts_hold():
    lint = Path(sys.executable).with_name("lint-imports")
    answer = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize(
    "module",
    [
        "rolora.adapter", "rolora.algorithms", "rolora.federation", "rolora.config", "rolora.data.partition", "theory",
        "theory.linear.model",
    ],
)  # fmt: skip
def test_pure_rooms_do_not_load_torch(module):
    program = f"import sys, {module}; sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'peft')))"
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0


def test_the_division_of_data_loads_no_statistics():
    program = "import sys, rolora.data.partition; sys.exit(any(name in sys.modules for name in ('scipy', 'sklearn', 'pandas')))"
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0


@pytest.mark.parametrize(
    ("package", "folders", "files"), [("rolora", 13, 5), ("theory", 8, 5), ("paper_figures", 10, 2)]
)
def test_a_package_shows_its_rooms(package, folders, files):
    """At most so many folders with code, and files beside ``__init__``."""
    entries = list((ROOT / package).iterdir())
    assert sum(any(path.glob("*.py")) for path in entries if path.is_dir()) <= folders
    assert sum(path.suffix == ".py" and path.name != "__init__.py" for path in entries) <= files


def test_files_are_rooms_of_a_readable_size():
    long = {
        str(path.relative_to(ROOT)): lines
        for package in ("rolora", "theory", "paper_figures")
        for path in (ROOT / package).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 400
    }
    assert not long


def test_algorithms_and_claims_stay_small():
    long = {
        path.name: lines
        for folder in ("rolora/algorithms", "theory/claims")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 110
    }
    assert not long
