"""Files are replaced whole or not at all."""

from __future__ import annotations

import pytest

from rolora import records
from rolora.errors import InputError


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "record.json"
    records.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match=r"Out of range|not JSON"):
        records.write_json(path, {"a": float("nan")})
    assert records.read_json(path) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    records.write_json(path, {"a": 1})

    def fail(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(records.os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        records.write_json(path, {"a": 2})
    assert records.read_json(path) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]


def test_only_a_finished_run_of_the_same_config_counts(tmp_path):
    assert records.finished(tmp_path, "h") is None
    records.write_json(tmp_path / "record.json", {"status": "finished", "config_hash": "h"})
    assert records.finished(tmp_path, "h") == {"status": "finished", "config_hash": "h"}
    assert records.finished(tmp_path, "other") is None


def test_a_broken_record_is_named(tmp_path):
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(InputError, match=r"record.json: expected JSON"):
        records.finished(tmp_path, "h")


def test_the_environment_names_versions_and_processor():
    environment = records.environment()
    assert {"torch", "transformers", "peft"} <= environment["packages"].keys()
    assert environment["processor"]
