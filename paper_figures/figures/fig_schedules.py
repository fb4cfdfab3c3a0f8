"""Accuracy against the share of rounds that train A: mixtures of FFA-LoRA's rounds with RoLoRA's, and other schedules."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures.analysis.runs import Run
from paper_figures.drawing.style import styled
from paper_figures.panels import swept_setting
from paper_figures.records.sources import Records


def _schedule(run: Run) -> str:
    """The letters of a schedule; FFA-LoRA's is B for ever, and a method that trains both factors has none."""
    name = run["config"]["algorithm"]
    if name == "rolora":
        return run["config"].get("method", {}).get("schedule", "BA")
    return "B" if name == "ffa-lora" else ""


def _place(run: Run) -> tuple[float, int, str]:
    schedule = _schedule(run)
    return (schedule.count("A") / len(schedule), len(schedule), schedule) if schedule else (2.0, 0, "")


def _label(run: Run) -> str:
    schedule = _schedule(run)
    if not schedule:
        return "both"
    share = f"{100 * schedule.count('A') / len(schedule):.0f} %"
    return f"{schedule}\n{share}" if len(schedule) <= 4 else f"{len(schedule)}\n{share}"


AXIS = swept_setting.Axis(frozenset({"method.schedule"}), _place, _label, "schedule (or its length), share of A")


def applies(records: Records) -> bool:
    """Whether the schedule varies."""
    return bool(swept_setting.panels(records.schedules, AXIS))


@styled
def figure(records: Records) -> Figure:
    """The final metric for every schedule, FFA-LoRA on the left."""
    note = (
        "B: a round that trains B alone, A: one that trains A alone, repeated to the end. RoLoRA is BA; 10 % of A is a fifth of "
        "RoLoRA's rounds among four fifths of FFA-LoRA's; \"both\": a method that trains and sends both in every round."
    )
    return swept_setting.figure(
        swept_setting.panels(records.schedules, AXIS), AXIS, "schedules of the two factors", note
    )
