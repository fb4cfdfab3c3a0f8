"""The studies: which commands make their records, what they will take, and what of them is kept.

A study is a list of ordinary commands of ``python -m rolora``, so that each of its runs can be made again alone. Runs that are
finished are read, not run: a study that is stopped goes on where it was.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rolora import records
from rolora.errors import InputError

SCALES = ("cpu", "gpu")

SEEDS, MORE = "0,1,2", "0,1,2,3,4"

METHODS = ("fedavg-lora", "ffa-lora", "rolora")

CUDA = ("runtime.device=cuda",)


@dataclass(frozen=True)
class Sweep:
    """Methods compared by one config: ``python -m rolora sweep``, or ``run`` for seeds at rates that the config names.

    Args:
        config: the packaged config.
        local: file or folder below the reader's data folder that stands for the hub's name, and ``data.benchmark``.
        overrides: ``key=value``.
        rates: whether a learning rate is chosen for every cell; otherwise every run is measured.
        select: which round counts.
        seeds: as ``--seeds`` takes them.
    """

    config: str
    local: tuple[str, str | None] | None = None
    overrides: tuple[str, ...] = ()
    rates: bool = True
    select: str = "last"
    seeds: str = SEEDS

    def settings(self, data: Path | None) -> list[str]:
        """The config's overrides, with the reader's own data in the place of the hub's."""
        found = list(self.overrides)
        if data is not None and self.local is not None:
            found.append(f"data.name={data / self.local[0]}")
            found += [f"data.benchmark={self.local[1]}"] if self.local[1] else []
        return found

    def commands(self, out: Path, data: Path | None, jobs: int) -> list[list[str]]:
        """The arguments of ``python -m rolora``."""
        common = ["--resume", "--jobs", str(jobs), "--out", str(out / self.config)]
        if self.rates:
            return [
                ["sweep", self.config, *self.settings(data), "--seeds", self.seeds, "--select", self.select, *common]
            ]
        return [
            ["run", self.config, *self.settings(data), f"seed={seed}", f"evaluation.select={self.select}", *common]
            for seed in self.seeds.split(",")
        ]


@dataclass(frozen=True)
class BeforeAndAfter:
    """A decoder's answers before and after it is fine-tuned on a benchmark's own training rows or on instructions.

    Args:
        benchmark: as ``python -m rolora evaluate`` names it.
        config: of the fine-tuning.
        limit: questions of each set; all if None.
        trained_on: the benchmark whose training rows are used; the config's own data if None.
        how: likelihood, generation or all.
        local: as in :class:`Sweep`, where the config's own data are used.
        variants: what each fine-tuning is called, and its ``key=value``; all are compared with the same answers before.
        device: of the evaluation, as its options.
    """

    benchmark: str
    config: str
    limit: int | None
    trained_on: str | None = None
    how: str = "all"
    local: tuple[str, str | None] | None = None
    variants: tuple[tuple[str, tuple[str, ...]], ...] = (("after", ()),)
    device: tuple[str, ...] = ()

    def commands(self, out: Path, data: Path | None, jobs: int) -> list[list[str]]:
        """Before, the training rows, and every fine-tuning with its after; ``jobs`` does not matter to single runs."""
        rows, before = out / f"{self.benchmark}.jsonl", out / f"{self.benchmark}_before.json"
        where = [] if data is None else ["--data", str(data)]
        asking = ["--benchmark", self.benchmark, *where, "--how", self.how, *self.device]
        asking += [] if self.limit is None else ["--limit", str(self.limit)]
        found = [["evaluate", "SmolLM2-135M-Instruct", *asking, "--json", str(before)]]
        if self.trained_on is not None:
            found.append(["training-rows", self.trained_on, *where, "--out", str(rows)])
        for label, overrides in self.variants:
            own = Sweep(self.config, self.local, overrides).settings(data)
            own += [] if self.trained_on is None else [f"data.name={rows}"]
            run = out / f"{self.benchmark}_{label}"
            found.append(["run", self.config, *own, "--resume", "--out", str(run)])
            made = str(run / _run_name(self.config, own))
            found.append(["evaluate", made, *asking, "--against", str(before), "--json", f"{run}.json"])
        return found


def _run_name(config: str, overrides: Sequence[str]) -> str:
    """The folder of a config's one run, below its ``--out``."""
    from rolora import config as configuration
    from rolora.config import locate

    (one,) = configuration.read(locate(Path(config)), overrides)
    return one.run_name()


Step = Sweep | BeforeAndAfter

SMALL_TEXT = ("label_skew", "participation", "ranks", "layer_budgets", "schedules", "local_steps")

STUDIES: dict[str, dict[str, tuple[Step, ...]]] = {
    "cpu": {
        "encoder_tasks": (
            Sweep("sst2", ("sst2", "sst2"), select="validation"),
            Sweep("trec", ("trec_qc", "trec"), select="validation"),
            Sweep("qnli", ("qnli/dev.jsonl.gz", "qnli"), select="validation"),
            Sweep("rte", ("rte", "rte"), select="validation"),
        ),
        "dolly": (Sweep("dolly", ("dolly15k/train_10clients.jsonl.gz", None), rates=False),),
        "confound": (Sweep("confound", seeds=MORE), Sweep("confound_sgd"), Sweep("confound_rounds")),
        "movement": (Sweep("movement", rates=False),),
        **{name: (Sweep(name),) for name in SMALL_TEXT},
        "ranks": (Sweep("ranks"), Sweep("ranks_bytes")),
        "rate_ratios": (Sweep("rate_ratios", rates=False, select="validation"),),
        "evaluations": (
            BeforeAndAfter("commonsense", "commonsense", 25, trained_on="commonsense"),
            BeforeAndAfter("gsm8k", "commonsense", 30, trained_on="gsm8k"),
            BeforeAndAfter(
                "mmlu", "dolly_once", 60, how="likelihood", local=("dolly15k/train_10clients.jsonl.gz", None)
            ),
        ),
    },
    "gpu": {
        "encoder_tasks": (
            Sweep("sst2", ("sst2", "sst2"), (*CUDA, "training.batch_size=32"), select="validation", seeds=MORE),
            Sweep("rte", ("rte", "rte"), (*CUDA, "training.batch_size=32"), select="validation", seeds=MORE),
        ),
        "dolly": (Sweep("dolly_gpu", ("dolly15k/train_10clients.jsonl.gz", None), select="validation"),),
        "confound": (Sweep("confound_gpu", ("sst2", "sst2"), select="validation", seeds=MORE),),
        **{name: (Sweep(name, None, CUDA, seeds=MORE),) for name in SMALL_TEXT},
        "ranks": (Sweep("ranks", None, CUDA, seeds=MORE), Sweep("ranks_bytes", None, CUDA, seeds=MORE)),
        "rate_ratios": (Sweep("rate_ratios", None, CUDA, rates=False, select="validation", seeds=MORE),),
        "evaluations": (
            BeforeAndAfter(
                "commonsense",
                "commonsense_gpu",
                None,
                trained_on="commonsense",
                variants=tuple(
                    (
                        f"{method}-n{clients}",
                        (
                            f"algorithm={method}",
                            f"federation.num_clients={clients}",
                            f"federation.clients_per_round={clients}",
                            f"federation.rounds={n}",
                        ),
                    )
                    for method in METHODS
                    for clients, n in ((3, 500), (20, 75), (50, 30))
                ),
                device=("--device", "cuda", "--dtype", "bfloat16"),
            ),
        ),
    },
}
"""Scale -> kind of record -> what makes it."""


def steps(scale: str, only: Sequence[str] = ()) -> dict[str, tuple[Step, ...]]:
    """The studies of a scale.

    Args:
        scale: one of :data:`SCALES`.
        only: kinds of record; all if empty.

    Raises:
        InputError: an unknown scale or kind.
    """
    if scale not in STUDIES:
        raise InputError(f"scale: got {scale!r}, expected one of {', '.join(SCALES)}")
    for kind in only:
        if kind not in STUDIES[scale]:
            raise InputError(f"--only: got {kind!r}, expected one of {', '.join(STUDIES[scale])}")
    return {kind: found for kind, found in STUDIES[scale].items() if not only or kind in only}


def estimate(step: Step, folder: Path, data: Path | None, jobs: int) -> str:
    """Return the cost of a step in words: from finished runs of its folder where there are some, else from the plan."""
    from rolora.config import locate
    from rolora.experiment import sweep
    from rolora.planning.estimate import estimate_runs

    if isinstance(step, BeforeAndAfter):
        return "not estimated: it depends on how long the answers are"
    cells = sweep.read(locate(Path(step.config)), step.settings(data), [])
    seeds = tuple(int(seed) for seed in step.seeds.split(","))
    protocol = sweep.Protocol(seeds, seeds[:1], step.select, papers_protocol=not step.rates)
    return sweep.announce(cells, protocol, partial(estimate_runs, out=folder / step.config, jobs=jobs))


def run(
    chosen: dict[str, tuple[Step, ...]],
    out: Path,
    data: Path | None,
    jobs: int,
    log: Callable[[str], None],
    *,
    only_estimate: bool = False,
) -> None:
    """Say what it will take, run what is not finished, and gather what is kept.

    Args:
        chosen: kind -> steps.
        out: records are gathered in here, their runs are in ``out/runs``.
        data: folder with the data as files, for those without a hub.
        jobs: runs at the same time.
        log: takes a line on each next command.
        only_estimate: say what it would take, and stop.

    Raises:
        InputError: a command failed; its own message stands above.
    """
    for kind, parts in chosen.items():
        for step in parts:
            log(f"{kind}: {name(step)}: {estimate(step, out / 'runs' / kind, data, jobs)}")
    for kind, parts in () if only_estimate else chosen.items():
        folder = out / "runs" / kind
        folder.mkdir(parents=True, exist_ok=True)
        for step in parts:
            for words in step.commands(folder, data, jobs):
                if _finished(words):
                    continue
                log(f"python -m rolora {shlex.join(words)}")
                done = subprocess.run([sys.executable, "-m", "rolora", *words], check=False)
                if done.returncode:
                    raise InputError(
                        f"python -m rolora {words[0]} {words[1]}: ended with status {done.returncode}, expected 0; the same "
                        "command goes on"
                    )
        gathered = gather(kind, folder, out)
        log(f"{kind}: {gathered} records in {out / kind}")


def name(step: Step) -> str:
    """The name of a step in printed lines."""
    return step.config if isinstance(step, Sweep) else f"{step.benchmark} before and after"


def _finished(words: Sequence[str]) -> bool:
    """Return True if an evaluation's record is complete; other commands check this themselves."""
    if words[0] != "evaluate":
        return False
    path = Path(words[-1])
    return path.exists() and bool(records.read_json(path).get("complete"))


def gather(kind: str, folder: Path, out: Path) -> int:
    """Copy the records that figures read: of measured runs, of sweeps, of evaluations. Runs that choose a rate stay behind.

    Beside a sweep's summary lie also the runs that an earlier grid had measured at another rate; those that the summary names
    are kept, and what an earlier gathering has left in the place is removed.

    Returns:
        How many there are.
    """
    found: dict[str, dict[str, Any]] = {}
    named = {path.parent: measured_runs(records.read_json(path)) for path in folder.glob("**/sweep.json")}
    for path in sorted(folder.glob("**/*.json")):
        record, beside = records.read_json(path), path.parent.parent
        if path.name == "record.json" and record["config"]["evaluation"]["split"] == "test":
            if path.parent.name in named.get(beside, {path.parent.name}):
                found[f"{path.parent.name}/record.json"] = record
        elif path.name == "sweep.json":
            found[f"{path.parent.name}_sweep.json"] = record
        elif path.parent == folder:
            found[path.name] = record
    for old in (out / kind).glob("**/*.json"):
        if str(old.relative_to(out / kind)) not in found:
            old.unlink()
    for file, record in found.items():
        records.write_json(out / kind / file, record)
    return len(found)


def measured_runs(summary: dict[str, Any]) -> set[str]:
    """The names of the runs that a sweep has measured at the chosen rates."""
    return {name for cell in summary["cells"] for name in cell["test"]["runs"]}
