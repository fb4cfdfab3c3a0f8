"""Movement of the active factor in a round with chained clients over isolated ones, against the number of clients."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figures.analysis.confound import VARIES, movement
from paper_figures.analysis.entry import Entry
from paper_figures.drawing.style import furnish, grid, letter, method_style, styled
from paper_figures.panels import swept_setting
from paper_figures.records.sources import Records
from rolora.evaluation.intervals import student


@styled
def figure(records: Records) -> Figure:
    """One panel an optimiser; the dashed line is (N + 1)/2, the ratio for equal gradients of all clients."""
    found = movement(records["movement"])
    optimizers = sorted({optimizer for optimizer, *_ in found})
    result, axes = grid(1, len(optimizers), height=3.0, width=max(5.0, 3.6 * len(optimizers)))
    handles: dict[str, Line2D] = {}
    for index, (ax, optimizer) in enumerate(zip(axes.flat, optimizers, strict=True)):
        clients = sorted({n for (name, *_), by_clients in found.items() if name == optimizer for n in by_clients})
        ax.plot(clients, [(n + 1) / 2 for n in clients], color="#777777", linestyle="--", linewidth=1)
        for (name, state, method, factor), by_clients in found.items():
            if name != optimizer:
                continue
            look, label = method_style(method), f"{method_style(method).label}, {factor}, {state}"
            means = [student(by_clients[n]) for n in sorted(by_clients)]
            ax.errorbar(
                sorted(by_clients), [mean.mean for mean in means], yerr=[mean.half_width or 0.0 for mean in means],
                color=look.color, marker=look.marker, linestyle="-" if factor == "B" else ":", capsize=2, linewidth=1.3,
                markerfacecolor=look.color if state == "chained" else "white",
            )  # fmt: skip
            handles[label] = Line2D(
                [], [], color=look.color, marker=look.marker, linestyle="-" if factor == "B" else ":",
                markerfacecolor=look.color if state == "chained" else "white", label=label,
            )  # fmt: skip
        ax.set_xscale("log")
        ax.set_yscale("log")
        ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100, 200) if ax.get_ylim()[0] <= tick <= ax.get_ylim()[1]]
        ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
        ax.set_xticks(clients, [str(n) for n in clients], minor=False)
        ax.minorticks_off()
        letter(ax, index, {"sgd": "SGD", "adamw": "AdamW"}.get(optimizer, optimizer))
        ax.set_xlabel("clients N")
        if index == 0:
            ax.set_ylabel("movement, chained / isolated")
    seeds = sorted({len(values) for by_clients in found.values() for values in by_clients.values()})
    first = records["movement"][0]
    reference = Line2D([], [], color="#777777", linestyle="--", linewidth=1, label="(N + 1)/2")
    note = (
        f"{swept_setting.described_run(first, VARIES)}. Movement: root of the sum over layers of the squared change of the factor at the "
        'server, in the first round in which both start from the same state (round 0; round 1 for "shared", which resets in round 0). '
        f"Mean of {'–'.join(map(str, seeds))} seeds, bar: 95 % Student interval."
    )
    return furnish(result, "How far a round goes when clients are chained", note, [*handles.values(), reference])


ENTRY = Entry(
    "fig_movement",
    title="How far a round goes when clients are chained",
    shows="Movement of the active factor in a round, chained clients over isolated ones, beside (N + 1)/2.",
    counterpart="none: it measures what public implementations do",
    needs=("movement",),
    make=figure,
)
