"""Federated fine-tuning task by task: every method's final metric, what it started from, and what it took."""

from __future__ import annotations

from collections.abc import Sequence

from paper_figures.analysis import runs as outcomes
from paper_figures.analysis.run_table import partition
from paper_figures.analysis.runs import Run
from paper_figures.drawing.style import method_style
from paper_figures.drawing.table import Table
from paper_figures.panels.convergence import ROUNDS
from paper_figures.panels.swept_setting import Panel, described_runs, panels
from paper_figures.records.sources import Records
from rolora.evaluation.intervals import MeanInterval, student

COLUMNS = (
    "task", "clients' text", "clients", "method", "learning rate", "rounds", "seeds", "metric", "untrained", "test",
    "selection on test data", "majority-class baseline", "MB sent", "minutes",
)  # fmt: skip


def encoder(records: Records) -> Table:
    """The encoder's tasks."""
    return _table("The packaged encoder, task by task", records["encoder_tasks"])


def dolly(records: Records) -> Table:
    """Instruction tuning, by the way the instructions are divided."""
    return _table("Instruction tuning on Dolly", records["dolly"])


def _table(title: str, records: Sequence[Run]) -> Table:
    groups = panels(records, ROUNDS, least=1)
    made = [
        _row(panel, name, next(iter(places.values()))) for panel in groups for (name, _), places in panel.lines.items()
    ]
    described = described_runs([panel.any_run for panel in groups], frozenset({"federation.rounds"}))
    return Table(
        title,
        COLUMNS,
        tuple(made),
        (
            f"{described}.",
            "Test: the aggregated model on test text, of the round that validation text chose where the config selects, else of the "
            "last; mean of the seeds and half the width of Student's 95 % interval. A loss is in nats a token, lower is better. "
            "Untrained: the same text before the first round (validation text where rounds are selected). Selection on test data: "
            "the best round on the test text itself, where it was recorded: optimistic.",
        ),
        frozenset(COLUMNS) - {"task", "clients' text", "method", "metric"},
    )


def _row(panel: Panel, name: str, runs: list[Run]) -> tuple[str, ...]:
    config, metric = runs[0]["config"], outcomes.metric(runs[0])
    rates = sorted({run["config"]["training"]["learning_rate"] for run in runs})
    majority = runs[0]["data"].get("majority_rate")
    return (
        panel.title.split(", ")[0],
        partition(config["federation"]),
        str(config["federation"]["num_clients"]),
        method_style(name).label,
        ", ".join(f"{rate:g}" for rate in rates),
        str(config["federation"]["rounds"]),
        str(len(runs)),
        metric,
        _text([run["initial_evaluation"][metric] for run in runs if run.get("initial_evaluation")]),
        outcomes.mean(runs).text(),
        _text([run["final_papers_protocol"][metric] for run in runs if "final_papers_protocol" in run]),
        "–" if majority is None else f"{majority:.3f}",
        f"{outcomes.megabytes(runs[0])[-1]:.1f}",
        f"{sum(run['seconds'] for run in runs) / len(runs) / 60:.1f}",
    )


def _text(values: list[float]) -> str:
    found: MeanInterval | None = student(values) if values else None
    return "–" if found is None else found.text()
