"""All methods at one number of clients: final accuracy, and accuracy against rounds and against the bytes that it took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.analysis.entry import Entry
from paper_figures.analysis.groups import curves, describe, final_accuracy, measured, traffic
from paper_figures.analysis.methods import Run, by_method
from paper_figures.drawing.style import count_note, furnish, grid, letter, method_style, styled
from paper_figures.records.sources import Records


@styled
def figure(records: Records) -> Figure:
    """(a) final accuracy with its interval and every seed; (b, c) mean accuracy against rounds and megabytes sent."""
    methods = by_method(records["methods"])
    result, (finals, rounds, sent) = _panels()
    _finals(finals, methods)
    letter(finals, 0, "last round")
    handles = _against(rounds, methods, lambda run, done: done)
    rounds.set_xlabel("round")
    letter(rounds, 1, "by round")
    _against(sent, methods, _megabytes)
    sent.set_xscale("log")
    sent.set_xlabel("MB sent, up and down")
    letter(sent, 2, "by bytes")
    for ax in (rounds, sent):
        ax.set_ylabel(measured(next(iter(methods.values()))[0]))
    run = next(iter(methods.values()))[0]
    federation = run["config"]["federation"]
    shown = count_note([len(runs) for runs in methods.values()]).replace("band", "bars")
    note = (
        f"{describe(run)}; {federation['num_clients']} clients, {federation['rounds']} rounds, equal total local steps (the "
        "centralised reference takes as many steps at one client that holds all data). Each method at the learning rate "
        f"that was best on validation text. Points: {shown}; (a) shows every seed, (b, c) means alone. FedSA-LoRA and "
        "local-only have a model for each client, each tested on its own part of the test text. Nothing is sent by "
        "local-only but the head. Dotted: the majority-class baseline."
    )
    return furnish(result, f"{run['model']['name']}: all methods at {federation['num_clients']} clients", note, handles)


def _panels() -> tuple[Figure, tuple[Axes, Axes, Axes]]:
    """A tall panel at the left and two wide ones beside it: fourteen curves need width."""
    result, axes = grid(1, 1, height=5.8)
    axes[0, 0].remove()
    spec = result.add_gridspec(2, 2, width_ratios=(1, 1.3))
    return result, (result.add_subplot(spec[:, 0]), result.add_subplot(spec[0, 1]), result.add_subplot(spec[1, 1]))


def _finals(ax: Axes, methods: dict[str, list[Run]]) -> None:
    order = sorted(methods, key=lambda name: final_accuracy(methods[name]).mean)
    for row, name in enumerate(order):
        look, found = method_style(name), final_accuracy(methods[name])
        ax.errorbar(
            found.mean,
            row,
            xerr=found.half_width or 0.0,
            fmt=look.marker or "|",
            color=look.color,
            capsize=2.5,
            label=name,
        )
        seeds = [run["final"]["accuracy"] for run in methods[name]]
        ax.plot(seeds, [row - 0.28] * len(seeds), ".", color=look.color, markersize=3, alpha=0.7)
    run = methods[order[0]][0]
    ax.axvline(run["data"]["majority_rate"], linestyle=":", color="#777777", linewidth=1)
    ax.set_yticks(range(len(order)), [method_style(name).label for name in order])
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("test accuracy")


def _megabytes(run: Run, rounds: list[int]) -> list[float]:
    """All that had been sent after these rounds."""
    sent = np.concatenate([[0], np.cumsum([traffic(entry) for entry in run["rounds"]])]) / 1e6
    return [float(sent[done]) for done in rounds]


def _against(ax: Axes, methods: dict[str, list[Run]], place: Callable[[Run, list[int]], Sequence[float]]) -> list[Any]:
    """A curve of means for every method, from the first evaluation after the start: a logarithmic axis has no zero.

    Fourteen bands over one another hide the curves; panel (a) has the intervals.
    """
    handles = []
    for name, runs in methods.items():
        rounds, accuracies = curves(runs)
        kept = [index for index, done in enumerate(rounds) if done > 0]
        look = method_style(name)
        handles += ax.plot(
            place(runs[0], [rounds[index] for index in kept]),
            [float(np.mean([curve[index] for curve in accuracies])) for index in kept],
            color=look.color, linestyle=look.linestyle, marker=look.marker, markersize=4, label=look.label,
        )  # fmt: skip
    return handles


ENTRY = Entry(
    "fig_methods",
    title="Federated fine-tuning: all methods",
    shows="Final accuracy of every method with its interval, and accuracy against rounds and against all bytes sent.",
    counterpart="none: no paper compares them all on one footing",
    needs=("methods",),
    make=figure,
)
