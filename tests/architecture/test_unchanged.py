"""Invariants of every move of code: hashes of packaged configs, verdicts of claims, rendered figures and tables."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from rolora import config as configuration
from rolora.config import packaged_configs
from theory.verification.registry import load, names

BEFORE = json.loads(Path(__file__).with_name("unchanged.json").read_text())
RENDERED = Path(__file__).resolve().parents[2] / "paper_figures" / "rendered"


def config_hashes() -> dict[str, list[str]]:
    return {name: [config.hash() for config in configuration.read(path)] for name, path in packaged_configs().items()}


def verdicts() -> dict[str, str]:
    return {name: load(name).expected for name in names()}


def rendered() -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(RENDERED.iterdir())
        if path.suffix != ".json"
    }


def test_packaged_configs_have_their_hashes():
    assert config_hashes() == BEFORE["configs"]


def test_claims_have_their_verdicts():
    """The expected ones; that each claim reaches the one it expects is asserted claim by claim."""
    assert verdicts() == BEFORE["verdicts"]


def test_rendered_figures_and_tables_have_their_bytes():
    """The committed ones; that each is what its records give is asserted by ``paper_figures check``."""
    assert rendered() == BEFORE["rendered"]
