"""All methods at one number of clients: final accuracy, and accuracy against the bytes that it took."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.compute import Records
from paper_figures.finetuning import curves, describe, final_accuracy, traffic
from paper_figures.methods import Run, by_method
from paper_figures.style import count_note, furnish, grid, letter, method_style, plot_seeds, styled


@styled
def figure(records: Records) -> Figure:
    """(a) final accuracy with its interval and every seed; (b) accuracy against megabytes sent."""
    methods = by_method(records.methods)
    result, axes = grid(1, 2, height=4.2)
    _finals(axes[0, 0], methods)
    letter(axes[0, 0], 0, "after the last round")
    handles = _against_bytes(axes[0, 1], methods)
    letter(axes[0, 1], 1, "against all bytes sent")
    run = next(iter(methods.values()))[0]
    federation = run["config"]["federation"]
    note = (
        f"{describe(run)}; {federation['num_clients']} clients, {federation['rounds']} rounds, equal client-steps (the "
        "centralised reference takes as many steps at one client that holds all data). Each method at the learning rate "
        f"that was best on validation text. Points: {count_note([len(runs) for runs in methods.values()]).replace('band', 'bars')}; "
        "(a) shows every seed. FedSA-LoRA and local-only have a model for each client, each tested on its own part of the "
        "test text. Nothing is sent by local-only but the head. Dotted: the larger class."
    )
    return furnish(result, f"{run['model']['name']}: all methods at {federation['num_clients']} clients", note, handles)


def _finals(ax: Axes, methods: dict[str, list[Run]]) -> None:
    order = sorted(methods, key=lambda name: final_accuracy(methods[name]).estimate)
    for row, name in enumerate(order):
        look, found = method_style(name), final_accuracy(methods[name])
        ax.errorbar(
            found.estimate,
            row,
            xerr=found.half_width,
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


def _against_bytes(ax: Axes, methods: dict[str, list[Run]]) -> list[Any]:
    handles = []
    for name, runs in methods.items():
        rounds, accuracies = curves(runs)
        sent = np.concatenate([[0], np.cumsum([traffic(entry) for entry in runs[0]["rounds"]])]) / 1e6
        # The start has sent nothing, and a logarithmic axis has no zero.
        kept = [index for index, done in enumerate(rounds) if done > 0]
        handles.append(
            plot_seeds(
                ax,
                name,
                [sent[rounds[index]] for index in kept],
                [[curve[index] for index in kept] for curve in accuracies],
                markevery=1,
            )
        )
    ax.set_xscale("log")
    ax.set_xlabel("megabytes sent, up and down, all clients")
    ax.set_ylabel("test accuracy")
    return handles
