"""Records: where they lie, whether they are what a figure needs, and which command makes them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paper_figures.records import files
from rolora.errors import InputError
from rolora.records import read_json

COMMITTED = Path(__file__).resolve().parents[1] / "data"
"""The records that come with the project."""

RECOMPUTED = Path("runs/notebooks")
"""Records that a notebook has made anew."""


@dataclass(frozen=True)
class Source:
    """One kind of record.

    Args:
        file: pattern below the records directory; with a ``*`` the content is a list, one entry a file.
        check: of a file's content.
        module: that makes the records.
        arguments: of the module; ``{directory}`` is the records directory.
        given: what a reader has to put into the arguments; such records are not made without it.
    """

    file: str
    check: files.Check
    module: str
    arguments: tuple[str, ...]
    given: str | None = None

    def command(self, directory: Path | str) -> list[str]:
        """Return the command line that makes these records in ``directory``, without the interpreter."""
        return ["-m", self.module, *(argument.format(directory=directory) for argument in self.arguments)]

    def shown(self, directory: Path | str) -> str:
        """Return the command as a reader would type it."""
        return "python " + shlex.join(self.command(directory))

    def is_in(self, directory: Path) -> bool:
        """Return True if the directory holds such a file."""
        return next(directory.glob(self.file), None) is not None

    def read(self, directory: Path) -> Any:
        """Read and check the records of a directory; without a file, None or an empty list."""
        records = [self.check(read_json(path), path) for path in sorted(directory.glob(self.file))]
        return records if "*" in self.file else next(iter(records), None)


@dataclass(frozen=True)
class Study(Source):
    """Records that take hours: a target of the Makefile makes them, and nothing else starts it."""

    def shown(self, directory: Path | str) -> str:
        """Return the command as a reader would type it."""
        return shlex.join(["make", *self.arguments])


def study(kind: str, file: str = "{kind}/*/record.json", check: files.Check = files.run) -> Study:
    """Return the source of one part of the study.

    Example:
        >>> study("ranks").shown("DIR")
        'make study SCALE=cpu ONLY=ranks'
    """
    return Study(file.format(kind=kind), check, "make", ("study", "SCALE=cpu", f"ONLY={kind}"))


def _theory(name: str, *command: str) -> Source:
    check = files.claims if name == "claims" else files.experiment(name)
    return Source(f"{name}.json", check, "theory", (*command, "--json", f"{{directory}}/{name}.json"))


def _runs(folder: str, config: str) -> Source:
    arguments = ("run", config, "--resume", "--out", f"{{directory}}/{folder}")
    return Source(f"{folder}/*/record.json", files.run, "rolora", arguments)


FOREIGN = ("flower_fedavg", "chorus_fedavg", "chorus_fedex")
"""The adapters whose findings come with the project."""

STUDIES = (
    "encoder_tasks",
    "dolly",
    "confound",
    "movement",
    "label_skew",
    "participation",
    "ranks",
    "layer_budgets",
    "schedules",
    "rate_ratios",
    "local_steps",
)
"""Kinds of run that the study makes: what a folder varies is its name."""

SOURCES = {
    "claims": _theory("claims", "check"),
    **{name: _theory(name, "simulate", name) for name in ("linear", "contraction", "sample_complexity", "nonlinear")},
    "nonlinear_mnist": replace(
        _theory("nonlinear_mnist", "simulate", "nonlinear", "--images", "DIR"),
        given="DIR, a folder with MNIST's four files",
    ),
    "finetuning": _runs("finetuning", "reproduce"),
    "sweep": _runs("learning_rates", "learning_rates"),
    "methods_rates": _runs("methods_rates", "methods_rates"),
    "methods": _runs("methods", "methods"),
    "engines": Source(
        "engines.json",
        files.table("jobs", "clients", "environment"),
        "tests.tools.bench",
        ("--json", "{directory}/engines.json"),
    ),
    "profile": Source(
        "profile.json",
        files.table("engines", "environment"),
        "tests.tools.bench.profile",
        ("--json", "{directory}/profile.json"),
    ),
    "gpu_speed": Source(
        "gpu_speed/*.json",
        files.table("part", "sizes", "contestants", "environment"),
        "tests.tools.bench.gpu",
        ("--out", "{directory}/gpu_speed"),
        given="a CUDA device of this machine",
    ),
    "gpu_memory": Source(
        "gpu_memory.json",
        files.table("cases", "environment", "code"),
        "tests.tools.bench.memory",
        ("--json", "{directory}/gpu_memory.json"),
        given="a CUDA device of this machine",
    ),
    "conformance": Source(
        "conformance.json", files.findings, "rolora", ("conformance", "--json", "{directory}/conformance.json")
    ),
    "conformance_foreign": Source(
        "conformance_foreign.json",
        files.findings,
        "rolora",
        (
            "conformance",
            *(part for name in FOREIGN for part in ("--against", f"rolora.conformance.foreign:{name}")),
            "--json",
            "{directory}/conformance_foreign.json",
        ),
        given="the packages flwr and chorus-fl beside this one; its status is 1, because a law fails",
    ),
    **{kind: study(kind) for kind in STUDIES},
    "evaluations": study("evaluations", "evaluations/*.json", files.evaluation),
}
"""Kind of record -> its source, in the order in which they are made."""

EVALUATION_RUNS = study("evaluations")
"""The runs whose adapters were evaluated; they are in the folder of the evaluations."""


class Records(Mapping[str, Any]):
    """Kind -> its records, read and checked at the first access; a kind without a file is None or an empty list.

    ``records["evaluation_runs"]`` are the runs whose adapters were evaluated.

    Args:
        directory: of the records.
        fallback: directory of the kinds that the first has no file of, or None.
        contents: kinds that are given and not read.
    """

    def __init__(self, directory: Path, fallback: Path | None = None, **contents: Any) -> None:
        self.directory = directory
        self.fallback = fallback
        self._contents = contents

    def __getitem__(self, kind: str) -> Any:
        """Return the records of a kind.

        Raises:
            KeyError: there is no such kind.
            InputError: a file is not what its name says.
        """
        if kind not in self._contents:
            source = EVALUATION_RUNS if kind == "evaluation_runs" else SOURCES[kind]
            self._contents[kind] = source.read(self.place(kind))
        return self._contents[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(SOURCES)

    def __len__(self) -> int:
        return len(SOURCES)

    def having(self, **contents: Any) -> Records:
        """Return the same records with other contents of some kinds."""
        return Records(self.directory, self.fallback, **(self._contents | contents))

    def place(self, kind: str) -> Path:
        """Return the directory of a kind: ``fallback`` for a kind that only it has."""
        source = SOURCES["evaluations" if kind == "evaluation_runs" else kind]
        if self.fallback is None or source.is_in(self.directory) or not source.is_in(self.fallback):
            return self.directory
        return self.fallback

    def missing(self, kinds: Iterable[str]) -> list[str]:
        """Return those of ``kinds`` that have no records; no file is read for it."""
        return [
            kind
            for kind in kinds
            if not (self._contents[kind] if kind in self._contents else SOURCES[kind].is_in(self.place(kind)))
        ]

    def require(self, name: str, kinds: Iterable[str]) -> None:
        """Raise InputError, with the command that makes the records, unless all ``kinds`` are there."""
        for kind in self.missing(kinds):
            source = SOURCES[kind]
            raise InputError(
                f"{name}: {self.directory / source.file} is missing, expected {kind} records; "
                f"make them with: {source.shown(self.directory)}"
            )


def load(directory: Path, fallback: Path | None = None) -> Records:
    """Return the records of a directory, and those of ``fallback`` for kinds that the first has none of.

    Raises:
        InputError: a directory does not exist.
    """
    for folder in (directory, fallback):
        if folder is not None and not folder.is_dir():
            raise InputError(f"--records: got {folder}, expected a directory of records; there is none")
    return Records(directory, fallback)


def recompute(kinds: Iterable[str], directory: Path) -> None:
    """Run the commands that make these kinds of record, one after the other.

    A kind that needs what only the reader has stays as it is, and its command is named.

    Raises:
        InputError: a command failed; its own message stands above.
    """
    wanted = set(kinds)
    directory.mkdir(parents=True, exist_ok=True)
    for kind, source in SOURCES.items():
        if kind in wanted and isinstance(source, Study):
            print(f"{kind}: left as it is; the study takes hours: {source.shown(directory)}", file=sys.stderr)
        elif kind in wanted and source.given:
            print(
                f"{kind}: left as it is; {source.given}, is for you to name: {source.shown(directory)}", file=sys.stderr
            )
        elif kind in wanted:
            done = subprocess.run([sys.executable, *source.command(directory)], check=False)
            if done.returncode:
                raise InputError(
                    f"--recompute: {source.shown(directory)} ended with status {done.returncode}, expected 0"
                )


def open_records(kinds: Sequence[str], recompute_first: bool = False, directory: Path = COMMITTED) -> Records:
    """The committed records, or the same made anew below ``runs/``; for notebooks.

    Args:
        kinds: what will be needed.
        recompute_first: run the commands that make them; the committed ones stay as they are, and are read where a command
            needs what only the reader has, or hours.
        directory: where the records are read from otherwise.

    Raises:
        InputError: one of ``kinds`` is missing.
    """
    if recompute_first:
        recompute(kinds, RECOMPUTED)
        kept = [kind for kind in kinds if SOURCES[kind].given or isinstance(SOURCES[kind], Study)]
        load(RECOMPUTED).require("notebook", [kind for kind in kinds if kind not in kept])
        records = load(RECOMPUTED, fallback=directory)
    else:
        records = load(directory)
    records.require("notebook", kinds)
    return records


@dataclass(frozen=True)
class Provenance:
    """The origin of one kind of record, as a report shows it."""

    kind: str
    file: str
    commands: tuple[str, ...]
    seeds: tuple[int, ...]
    hardware: tuple[str, ...]
    seconds: float | None


def provenance(records: Records, kind: str) -> Provenance:
    """Files, commands, seeds, hardware and computing time of one kind of record."""
    content = records[kind]
    entries = content if isinstance(content, list) else [content]
    seconds = [entry["seconds"] for entry in entries if entry.get("seconds") is not None]
    nested = [series.get("seed") for entry in entries for series in entry.get("series", [])]
    seeds = {seed for seed in nested or [entry.get("seed") for entry in entries] if seed is not None}
    commands = {entry["command"] for entry in entries if entry.get("command")}
    return Provenance(
        kind=kind,
        file=SOURCES[kind].file
        + (f" ({len(entries)} runs)" if isinstance(content, list) and "*" in SOURCES[kind].file else ""),
        commands=tuple(sorted(commands)) or (SOURCES[kind].shown(Path("DIR")),),
        seeds=tuple(sorted(seeds)),
        hardware=tuple(sorted({hardware(entry["environment"]) for entry in entries if entry.get("environment")})),
        seconds=sum(seconds) if seconds else None,
    )


def hardware(environment: dict[str, Any]) -> str:
    """One line on the machine of a record."""
    parts = [environment.get("device"), environment.get("processor")]
    if environment.get("threads"):
        parts.append(f"{environment['threads']} thread" + ("s" if environment["threads"] != 1 else ""))
    if environment.get("dtype"):
        parts.append(environment["dtype"])
    if environment.get("python"):
        parts.append(f"Python {environment['python']}")
    return ", ".join(str(part) for part in parts if part) or "not recorded"
