"""Rows in pairs: what a paper prints, and below it what was run here, with what is missing and the command that would make it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from paper_figures.analysis import runs as outcomes
from paper_figures.analysis.paper_scale import Scale
from paper_figures.analysis.run_table import partition, run_table
from paper_figures.analysis.runs import Run
from paper_figures.drawing.style import method_style
from paper_figures.drawing.table import Table
from theory.printed_numbers import AVERAGE, TASKS, Number, Row

NOT_RUN = "not run"
AVERAGED = "average"


@dataclass(frozen=True)
class Line:
    """The printed numbers of one method in one setting.

    Args:
        setting: the first cells of the row, such as the number of clients.
        method: its name.
        cells: task (or :data:`AVERAGED`) -> number.
        fits: whether a run has this method and setting, whatever its model and data.
    """

    setting: tuple[str, ...]
    method: str
    cells: dict[str, Number]
    fits: Callable[[Run], bool]


def plain(run: Run) -> bool:
    """Return True if a run is the method as it is printed: isolated clients that all take part, and nothing added to it."""
    config = run["config"]
    federation, training = config["federation"], config["training"]
    return (
        federation.get("client_state", "isolated") == "isolated"
        and federation.get("clients_per_round") in (None, federation["num_clients"])
        and not federation.get("client_ranks")
        and config.get("method", {}).get("schedule", "BA") == "BA"
        and training.get("learning_rate_a") in (None, training["learning_rate"])
        and not training.get("proximal")
        and not any(name in config for name in ("server", "privacy"))
        and config.get("model", {}).get("weights", "pretrained") == "pretrained"
    )


def fits(method: str, **wanted: Any) -> Callable[[Run], bool]:
    """A test for a method and a setting.

    Args:
        method: its name.
        wanted: ``clients``, ``rank``, ``partition`` (in words), ``local_steps``, ``quantization`` ("none" if left out) or
            ``model`` (a part of its name, in small letters); what is None or else left out may be anything.
    """
    wanted = {"quantization": "none"} | wanted
    named = wanted.pop("model", "")

    def test(run: Run) -> bool:
        config = run["config"]
        found = {
            "clients": config["federation"]["num_clients"],
            "rank": config["lora"]["rank"],
            "partition": partition(config["federation"]),
            "local_steps": config["training"]["local_steps"],
            "quantization": config.get("model", {}).get("quantization", "none"),
        }
        same = all(found[name] == value for name, value in wanted.items() if value is not None)
        return same and config["algorithm"] == method and named in run["model"]["name"].lower() and plain(run)

    return test


def by_task(rows: Sequence[Row]) -> dict[str, Number]:
    """The cells of the lines of one method and setting together, the average under its short name."""
    return {AVERAGED if name == AVERAGE else name: cell for row in rows for name, cell in row.cells.items()}


def build(
    title: str,
    settings: Sequence[str],
    lines: Sequence[Line],
    runs: Sequence[Run],
    scale: Scale,
    notes: Sequence[str] = (),
    tasks: Sequence[str] = (*TASKS, AVERAGED),
) -> Table:
    """A row for what is printed and one for each model that was run here, or one that says what is missing.

    Args:
        title: of the table.
        settings: names of the first columns.
        lines: what is printed.
        runs: all runs measured on test text.
        scale: what the paper's own scale takes.
        notes: further sentences.
        tasks: the columns, where something is printed in them.
    """
    printed = [name for name in tasks if any(name in line.cells for line in lines)]
    ours = {
        index: found for index, line in enumerate(lines) if (found := _ours([run for run in runs if line.fits(run)]))
    }
    others = sorted({task for found in ours.values() for cells, _ in found.values() for task in cells} - set(tasks))
    columns = (*settings, "method", "whose", *printed, *others, "model and scale, or what it takes")
    rows, marks = [], []
    for index, line in enumerate(lines):
        first = (*line.setting, method_style(line.method).label)
        trust = "".join(sorted({cell.trust for cell in line.cells.values()}))
        cells = [printed_text(line.cells[name]) if name in line.cells else "–" for name in printed]
        rows.append((*first, f"paper [{trust}]", *cells, *["–"] * len(others), scale.model))
        marks.append("paper")
        for name, (found, words) in ours.get(index, {}).items():
            cells = [
                "–" if task in others and task not in found else _cell(task, found) for task in (*printed, *others)
            ]
            rows.append((*first, f"ours: {name}", *cells, words))
            marks.append("ours")
        if index not in ours:
            cells = [NOT_RUN] * len(printed) + ["–"] * len(others)
            rows.append((*first, "ours", *cells, f"{NOT_RUN}: needs {scale.needs}; command below"))
            marks.append(NOT_RUN)
    return Table(
        title,
        columns,
        tuple(rows),
        (*notes, *common_notes(scale, bool(ours))),
        frozenset({*printed, *others}),
        tuple(marks),
    )


def _cell(task: str, found: dict[str, list[Run]]) -> str:
    if task == AVERAGED:
        return "–"
    if task not in found:
        return NOT_RUN
    # The papers print accuracies, also of tasks whose own first metric is another.
    return outcomes.percent(found[task], "accuracy" if "accuracy" in found[task][0]["final"] else None)


def printed_text(cell: Number) -> str:
    """A number as it is printed, with its deviation, and marked where it is from memory."""
    text = cell.text if cell.deviation is None else f"{cell.text} ± {cell.deviation}"
    return f"{text} (unverified)" if cell.trust == "M" else text


def _ours(runs: Sequence[Run]) -> dict[str, tuple[dict[str, list[Run]], str]]:
    """Model -> the runs of every task, and their scale in words.

    Where several settings fit, the one with most seeds counts, then the one with most total local steps.
    """
    # Where validation text was measured it chooses among rates; elsewhere each rate stands for itself.
    table = run_table(
        runs,
        model=lambda run: run["model"]["name"],
        task=outcomes.task,
        setting=outcomes.setting,
        rate=lambda run: 0.0 if "selection" in run else run["config"]["training"]["learning_rate"],
    )
    best: dict[tuple[str, str], list[Run]] = {}
    for (model, task, _, _), rows in table.groupby(["model", "task", "setting", "rate"], sort=False) if runs else ():
        chosen = outcomes.by_seed(list(rows["run"]))
        rank = (len(chosen), outcomes.total_local_steps(chosen[0])[-1])
        held = best.get((model, task))
        if held is None or rank > (len(held), outcomes.total_local_steps(held[0])[-1]):
            best[model, task] = chosen
    found: dict[str, tuple[dict[str, list[Run]], str]] = {}
    for model in sorted({model for model, _ in best}):
        cells = {task: chosen for (name, task), chosen in best.items() if name == model}
        words = {
            outcomes.scale(run)
            + ("" if partition(run["config"]["federation"]) == "IID" else f", {partition(run['config']['federation'])}")
            for chosen in cells.values()
            for run in chosen
        }
        found[model] = (cells, "; ".join(sorted(words)))
    return found


def common_notes(scale: Scale, some: bool) -> tuple[str, ...]:
    """Return the notes on printed numbers, on ours (if there are some), and on the cost of the paper's scale."""
    found = [
        "Printed: per cent, ± the standard deviation of five seeds where one is printed; the best over rounds and learning "
        "rates on the evaluation data. [V] read in the paper, [S] quoted by a third party, [C] read in the authors' code, [M] "
        "from memory and confirmed by nothing: unverified.",
    ]
    if some:
        found.append(
            "Ours: per cent on test text, ± half the width of Student's 95 % interval over the seeds in brackets; another model, "
            "fewer rounds, rates chosen on validation text. It can agree with the paper in the order of methods, never in a "
            "number. Where several records fit, the one with most seeds is shown, then the one with most total local steps."
        )
    found.append(f"At the paper's scale: {scale.needs}. {scale.remark}".strip())
    found += [f"Command: {command}" for command in scale.commands]
    return tuple(found)
