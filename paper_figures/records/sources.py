"""Records: where they lie, whether they are what a figure needs, and which command makes them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from paper_figures.records import files
from rolora.errors import InputError

COMMITTED = Path(__file__).resolve().parents[1] / "data"
"""The records that come with the project."""


@dataclass(frozen=True)
class Source:
    """One kind of record: its file below the records directory, and the arguments that make it.

    ``given`` names what a reader has to put into the arguments; such records are not made without it.
    """

    file: str
    module: str
    arguments: tuple[str, ...]
    given: str | None = None

    def command(self, directory: Path | str) -> list[str]:
        """The command line that makes these records in ``directory``, without the interpreter."""
        return ["-m", self.module, *(argument.format(directory=directory) for argument in self.arguments)]

    def shown(self, directory: Path | str) -> str:
        """The same as a reader would type it."""
        return "python " + shlex.join(self.command(directory))


@dataclass(frozen=True)
class Study(Source):
    """Records that take hours: a target of the Makefile makes them, and nothing else starts it."""

    def shown(self, directory: Path | str) -> str:
        """The command as a reader would type it."""
        return shlex.join(["make", *self.arguments])


def study(kind: str, file: str = "{kind}/*/record.json") -> Study:
    """The source of one part of the study.

    Example:
        >>> study("ranks").shown("DIR")
        'make study SCALE=cpu ONLY=ranks'
    """
    return Study(file.format(kind=kind), "make", ("study", "SCALE=cpu", f"ONLY={kind}"))


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
    "claims": Source("claims.json", "theory", ("check", "--json", "{directory}/claims.json")),
    "linear": Source("linear.json", "theory", ("simulate", "linear", "--json", "{directory}/linear.json")),
    "contraction": Source(
        "contraction.json", "theory", ("simulate", "contraction", "--json", "{directory}/contraction.json")
    ),
    "sample_complexity": Source(
        "sample_complexity.json",
        "theory",
        ("simulate", "sample_complexity", "--json", "{directory}/sample_complexity.json"),
    ),
    "nonlinear": Source("nonlinear.json", "theory", ("simulate", "nonlinear", "--json", "{directory}/nonlinear.json")),
    "nonlinear_mnist": Source(
        "nonlinear_mnist.json",
        "theory",
        ("simulate", "nonlinear", "--images", "DIR", "--json", "{directory}/nonlinear_mnist.json"),
        given="DIR, a folder with MNIST's four files",
    ),
    "finetuning": Source(
        "finetuning/*/record.json", "rolora", ("run", "reproduce", "--resume", "--out", "{directory}/finetuning")
    ),
    "sweep": Source(
        "learning_rates/*/record.json",
        "rolora",
        ("run", "learning_rates", "--resume", "--out", "{directory}/learning_rates"),
    ),
    "methods_rates": Source(
        "methods_rates/*/record.json",
        "rolora",
        ("run", "methods_rates", "--resume", "--out", "{directory}/methods_rates"),
    ),
    "methods": Source(
        "methods/*/record.json", "rolora", ("run", "methods", "--resume", "--out", "{directory}/methods")
    ),
    "engines": Source("engines.json", "tests.tools.bench", ("--json", "{directory}/engines.json")),
    "profile": Source("profile.json", "tests.tools.bench.profile", ("--json", "{directory}/profile.json")),
    "gpu_speed": Source(
        "gpu_speed/*.json",
        "tests.tools.bench.gpu",
        ("--out", "{directory}/gpu_speed"),
        given="a CUDA device of this machine",
    ),
    "gpu_memory": Source(
        "gpu_memory.json",
        "tests.tools.bench.memory",
        ("--json", "{directory}/gpu_memory.json"),
        given="a CUDA device of this machine",
    ),
    "conformance": Source("conformance.json", "rolora", ("conformance", "--json", "{directory}/conformance.json")),
    "conformance_foreign": Source(
        "conformance_foreign.json",
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
    "evaluations": study("evaluations", "evaluations/*.json"),
}
"""Kind of record -> its source, in the order in which they are made."""


@dataclass(frozen=True)
class Records:
    """All records of one directory; a kind that is not there is None, or an empty list of runs.

    ``evaluation_runs`` are the runs whose adapters the evaluations asked, which lie beside them.
    """

    directory: Path
    claims: list[dict[str, Any]] | None = None
    linear: dict[str, Any] | None = None
    contraction: dict[str, Any] | None = None
    sample_complexity: dict[str, Any] | None = None
    nonlinear: dict[str, Any] | None = None
    nonlinear_mnist: dict[str, Any] | None = None
    finetuning: list[dict[str, Any]] = field(default_factory=list)
    sweep: list[dict[str, Any]] = field(default_factory=list)
    methods_rates: list[dict[str, Any]] = field(default_factory=list)
    methods: list[dict[str, Any]] = field(default_factory=list)
    engines: dict[str, Any] | None = None
    profile: dict[str, Any] | None = None
    gpu_speed: list[dict[str, Any]] = field(default_factory=list)
    gpu_memory: dict[str, Any] | None = None
    conformance: list[dict[str, Any]] | None = None
    conformance_foreign: list[dict[str, Any]] | None = None
    encoder_tasks: list[dict[str, Any]] = field(default_factory=list)
    dolly: list[dict[str, Any]] = field(default_factory=list)
    confound: list[dict[str, Any]] = field(default_factory=list)
    label_skew: list[dict[str, Any]] = field(default_factory=list)
    participation: list[dict[str, Any]] = field(default_factory=list)
    ranks: list[dict[str, Any]] = field(default_factory=list)
    layer_budgets: list[dict[str, Any]] = field(default_factory=list)
    movement: list[dict[str, Any]] = field(default_factory=list)
    schedules: list[dict[str, Any]] = field(default_factory=list)
    rate_ratios: list[dict[str, Any]] = field(default_factory=list)
    local_steps: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    evaluation_runs: list[dict[str, Any]] = field(default_factory=list)
    beside: Path | None = None
    borrowed: frozenset[str] = frozenset()

    def place(self, kind: str) -> Path:
        """The directory that a kind was read from: ``beside`` for those that were not in ``directory``."""
        return self.beside if self.beside is not None and kind in self.borrowed else self.directory

    def missing(self, kinds: Iterable[str]) -> list[str]:
        """Those of ``kinds`` that are not there."""
        return [kind for kind in kinds if not getattr(self, kind)]

    def require(self, name: str, kinds: Iterable[str]) -> None:
        """Refuse to go on without what is needed.

        Raises:
            InputError: what is missing and the command that makes it.
        """
        for kind in self.missing(kinds):
            source = SOURCES[kind]
            raise InputError(
                f"{name}: {self.directory / source.file} is missing, expected {kind} records; "
                f"make them with: {source.shown(self.directory)}"
            )


def load(directory: Path, beside: Path | None = None) -> Records:
    """Read and check every record of a directory.

    Args:
        directory: the records.
        beside: another one, from which come the kinds that the first has none of.

    Raises:
        InputError: the directory does not exist, or a file is not what its name says.
    """
    if beside is not None:
        own, other = load(directory), load(beside)
        borrowed = frozenset(kind for kind in own.missing(SOURCES) if not other.missing([kind]))
        runs = other.evaluation_runs if "evaluations" in borrowed else own.evaluation_runs
        taken = {kind: getattr(other, kind) for kind in borrowed}
        return replace(own, beside=beside, borrowed=borrowed, evaluation_runs=runs, **taken)
    if not directory.is_dir():
        raise InputError(f"--records: got {directory}, expected a directory of records; there is none")
    return Records(
        directory=directory,
        claims=files.claims(directory / SOURCES["claims"].file),
        linear=files.experiment(directory / SOURCES["linear"].file, "linear"),
        contraction=files.experiment(directory / SOURCES["contraction"].file, "contraction"),
        sample_complexity=files.experiment(directory / SOURCES["sample_complexity"].file, "sample_complexity"),
        nonlinear=files.experiment(directory / SOURCES["nonlinear"].file, "nonlinear"),
        nonlinear_mnist=files.experiment(directory / SOURCES["nonlinear_mnist"].file, "nonlinear_mnist"),
        finetuning=files.runs(directory / "finetuning"),
        sweep=files.runs(directory / "learning_rates"),
        methods_rates=files.runs(directory / "methods_rates"),
        methods=files.runs(directory / "methods"),
        engines=files.table(directory / SOURCES["engines"].file, ("jobs", "clients", "environment")),
        profile=files.table(directory / SOURCES["profile"].file, ("engines", "environment")),
        gpu_speed=[
            found
            for path in sorted(directory.glob(SOURCES["gpu_speed"].file))
            if (found := files.table(path, ("part", "sizes", "contestants", "environment")))
        ],
        gpu_memory=files.table(directory / SOURCES["gpu_memory"].file, ("cases", "environment", "code")),
        conformance=files.findings(directory / SOURCES["conformance"].file),
        conformance_foreign=files.findings(directory / SOURCES["conformance_foreign"].file),
        evaluations=files.evaluations(directory / "evaluations"),
        evaluation_runs=files.runs(directory / "evaluations"),
        **{kind: files.runs(directory / kind) for kind in STUDIES},
    )


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
    kept: dict[str, Any] = {}
    if recompute_first:
        # What needs hours, or a folder or packages of the reader, stays as it is.
        stays = [kind for kind in kinds if SOURCES[kind].given or isinstance(SOURCES[kind], Study)]
        kept = {kind: getattr(load(directory), kind) for kind in stays}
        directory = Path("runs/notebooks")
        recompute(kinds, directory)
    records = load(directory)
    records = replace(records, **{kind: one for kind, one in kept.items() if kind in records.missing([kind])})
    records.require("notebook", kinds)
    return records


@dataclass(frozen=True)
class Provenance:
    """Where one kind of record comes from, as a report shows it."""

    kind: str
    file: str
    commands: tuple[str, ...]
    seeds: tuple[int, ...]
    hardware: tuple[str, ...]
    seconds: float | None


def provenance(records: Records, kind: str) -> Provenance:
    """Files, commands, seeds, hardware and computing time of one kind of record."""
    content = getattr(records, kind)
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
