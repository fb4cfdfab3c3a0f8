"""Runs that several tests compare others with."""

from __future__ import annotations

import pytest

from rolora.experiment import loop


@pytest.fixture(scope="session")
def baseline(tmp_path_factory):
    """Run a config once for all tests; return its folder and record."""
    runs = {}

    def run(config):
        if config.hash() not in runs:
            folder = tmp_path_factory.mktemp("baseline")
            runs[config.hash()] = folder, loop.run(config, folder)
        return runs[config.hash()]

    return run
