"""The training engines: speed against a plain loop, time and memory against the number of clients."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figures.analysis.engines import COLORS, JOBS, label, machine, measured, passes, size
from paper_figures.analysis.entry import Entry
from paper_figures.drawing.style import furnish, grid, letter, styled
from paper_figures.records.sources import Records

MARKERS = {"sequential": "s", "batched": "o", "batched-bf16": "^"}


@styled
def figure(records: Records) -> Figure:
    """(a) and (b) times the plain loop in the two jobs; (c) milliseconds a local step; (d) memory at the peak."""
    record = records["engines"]
    result, axes = grid(2, 2, height=5.0)
    for place, (ax, name) in enumerate(zip(axes[0], JOBS, strict=True)):
        letter(ax, place, JOBS[name].removesuffix(" of the layers"))
        if name in record["jobs"]:
            _bars(ax, record["jobs"][name])
    rows = [row for row in record.get("clients", []) if "not_measured" not in row]
    _by_clients(axes[1, 0], rows, lambda row: 1e3 * row["client_step_seconds"], "milliseconds a local step")
    letter(axes[1, 0], 2, "time by clients")
    _by_clients(axes[1, 1], rows, lambda row: row["memory_peak"], "megabytes at the peak")
    letter(axes[1, 1], 3, "memory by clients")
    names = list(dict.fromkeys(row["engine"] for row in rows))
    handles = [
        Line2D([], [], color=COLORS.get(name, "#000000"), marker=MARKERS.get(name, "x"), label=label(name))
        for name in names
    ]
    job = next(iter(record["jobs"].values()))
    note = (
        f"{size(job)} in (a) and (b); bars: medians of {passes(job)} passes in turns, whiskers: least and largest ratio. (c), "
        f"(d): one round of FedAvg-LoRA, adapters in all layers, the whole process's memory. {machine(record)}."
    )
    return furnish(result, "The training engines on a CPU", note, handles)


def _bars(ax: Axes, found: dict[str, Any]) -> None:
    entries = {name: entry for name, entry in measured(found).items() if name != "plain"}
    for row, (name, entry) in enumerate(entries.items()):
        speed = entry["speed"]
        ax.barh(row, speed["of_medians"], color=COLORS.get(name, "#000000"), height=0.62, label=name)
        ax.plot([speed["least"], speed["largest"]], [row, row], color="black", linewidth=1, marker="|")
        ax.text(speed["largest"], row, f"  {speed['of_medians']:.2f}", va="center", fontsize=8)
    ax.axvline(1, color="#777777", linestyle=":", linewidth=1)
    ax.set_yticks(range(len(entries)), [_short(name) for name in entries], fontsize=7)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_xlim(0, ax.get_xlim()[1] * 1.15)
    ax.set_xlabel("times the plain PEFT loop")


def _short(name: str) -> str:
    """A label of two lines, so that bars have room beside it."""
    return label(name).replace("bfloat16", "bf16").replace(", prefix", ",\nprefix")


def _by_clients(ax: Axes, rows: list[dict[str, Any]], value: Any, words: str) -> None:
    for name in dict.fromkeys(row["engine"] for row in rows):
        own = sorted((row for row in rows if row["engine"] == name), key=lambda row: row["clients"])
        ax.plot(
            [row["clients"] for row in own],
            [value(row) for row in own],
            color=COLORS.get(name, "#000000"),
            marker=MARKERS.get(name, "x"),
            label=name,
        )
    ax.set_xscale("log")
    ticks = sorted({row["clients"] for row in rows})
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.set_ylim(bottom=0)
    ax.set_xlabel("clients")
    ax.set_ylabel(words)


ENTRY = Entry(
    "fig_engines",
    title="The training engines: speed and memory",
    shows=(
        "How much faster than a plain PEFT loop the engines train the same clients on the same batches, and time and memory "
        "against the number of clients."
    ),
    counterpart="none",
    needs=("engines",),
    make=figure,
)
