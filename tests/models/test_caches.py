"""What was fetched once is used again without a network: the libraries' own caches and variables, overridden nowhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rolora.data.sources import find
from rolora.errors import InputError
from tests.config.test_config import write

ROOT = Path(__file__).parents[2]

COMMIT = "a" * 40
"""Of repositories that nobody has: caches are laid out by it."""


@pytest.fixture(scope="module")
def home(tiny_model, tiny_text, tmp_path_factory):
    """An HF_HOME with a model in the layout of the hub's cache, and a data set in that of ``datasets``."""
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    folder = tmp_path_factory.mktemp("home")
    model = folder / "hub" / "models--owner--tiny"
    shutil.copytree(tiny_model, model / "snapshots" / COMMIT)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(COMMIT)
    datasets.disable_progress_bars()
    datasets.load_dataset("csv", data_files={"train": str(tiny_text)}, cache_dir=str(folder / "datasets"))
    (made,) = (path.parent for path in (folder / "datasets").rglob("dataset_info.json"))
    cached = folder / "datasets" / "owner___rows" / "default" / "0.0.0" / COMMIT
    shutil.copytree(made, cached)
    for path in cached.glob("csv-*"):
        path.rename(cached / path.name.replace("csv-", "rows-"))
    return folder


def dry_run(config, home):
    return subprocess.run(
        [sys.executable, "-m", "rolora", "run", str(config), "--dry-run"],
        capture_output=True, text=True, timeout=180, env=os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip


def test_model_and_data_that_are_in_the_cache_are_found_without_a_network(table, tmp_path, home):
    table["model"]["name"], table["data"]["name"] = "owner/tiny", "owner/rows"
    answer = dry_run(write(tmp_path, table), home)
    assert answer.returncode == 0, answer.stderr
    assert "owner/tiny (hub)" in answer.stdout
    assert "owner/rows: 180 train, 20 validation, 40 test" in answer.stdout


def test_data_that_are_not_in_the_cache_are_one_line_that_names_the_variable():
    """For models: ``tests/models/test_backbone.py``."""
    pytest.importorskip("datasets", reason="datasets is not installed")
    with pytest.raises(InputError, match=r"data\.name: got owner/nothing, .* \(HF_HUB_OFFLINE is set\)") as fault:
        find("owner/nothing")
    assert "\n" not in str(fault.value)


def test_no_code_sets_the_libraries_variables():
    """Caches, offline switches and endpoints are the user's: nothing assigns them."""
    variables = ("HF_", "TRANSFORMERS_", "HUGGINGFACE_", "WANDB_", "MLFLOW_")
    for package in ("rolora", "theory", "paper_figures"):
        for path in (ROOT / package).rglob("*.py"):
            for line in path.read_text().splitlines():
                sets = (
                    ("os.environ[" in line.split("=")[0] and "=" in line) or "setdefault(" in line or "putenv" in line
                )
                assert not (sets and any(f'"{name}' in line for name in variables)), (path, line)
            assert "cache_dir" not in path.read_text(), path
