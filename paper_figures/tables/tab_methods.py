"""All methods at one number of clients: accuracy, choice of the learning rate, traffic and time."""

from __future__ import annotations

from paper_figures.analysis.entry import Entry
from paper_figures.analysis.groups import describe, final_accuracy, traffic
from paper_figures.analysis.methods import Run, by_method, chosen_rates
from paper_figures.drawing.style import method_style
from paper_figures.drawing.table import Table
from paper_figures.records.sources import Records

COLUMNS = (
    "method",
    "learning rate",
    "validation accuracy by rate",
    "seeds",
    "test accuracy",
    "MB up",
    "MB down",
    "minutes",
)


def table(records: Records) -> Table:
    """One row a method."""
    methods, rates = by_method(records["methods"]), chosen_rates(records["methods_rates"])
    run = next(iter(methods.values()))[0]
    federation = run["config"]["federation"]
    return Table(
        title=f"All methods at {federation['num_clients']} clients",
        columns=COLUMNS,
        rows=tuple(_row(name, runs, rates.get(name, {})) for name, runs in methods.items()),
        notes=(
            f"{describe(run)}; {federation['rounds']} rounds of {federation['num_clients']} clients. Majority-class "
            f"baseline on the test set: {run['data']['majority_rate']:.3f}.",
            "The learning rate is the one with the best accuracy on validation text after the last round, one seed; a star: "
            "it is the edge of its grid. Test accuracy after the last round: mean of the seeds and half the width of "
            "Student's 95 % interval. HetLoRA's clients have ranks 1, 2, 4, 4 in turn. FedSA-LoRA and local-only: every "
            "client's own model on its own part of the test text.",
        ),
        numeric=frozenset(COLUMNS) - {"method", "validation accuracy by rate"},
    )


def _row(name: str, runs: list[Run], rates: dict[float, float]) -> tuple[str, ...]:
    rate = runs[0]["config"]["training"]["learning_rate"]
    edge = "*" if rates and rate in (min(rates), max(rates)) else ""
    up = sum(sum(entry["bytes_up"].values()) for entry in runs[0]["rounds"])
    everything = sum(traffic(entry) for entry in runs[0]["rounds"])
    return (
        method_style(name).label,
        f"{rate:g}{edge}",
        ", ".join(f"{each:g}: {accuracy:.3f}" for each, accuracy in rates.items()) or "–",
        str(len(runs)),
        final_accuracy(runs).text(),
        f"{up / 1e6:.1f}",
        f"{(everything - up) / 1e6:.1f}",
        f"{sum(run['seconds'] for run in runs) / len(runs) / 60:.1f}",
    )


ENTRY = Entry(
    "tab_methods",
    title="Federated fine-tuning: all methods",
    shows="Accuracy, the choice of the learning rate, traffic and time of every method.",
    counterpart="none: no paper compares them all on one footing",
    needs=("methods", "methods_rates"),
    make=table,
)
