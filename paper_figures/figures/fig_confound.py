"""The confound: accuracy of three methods with isolated and with chained clients, against the number of clients."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figures.analysis.confound import METHODS, STATES, VARIES, cells, clients_of, rounds_of
from paper_figures.analysis.entry import Entry
from paper_figures.drawing.style import furnish, grid, letter, method_style, share_heights, styled, within
from paper_figures.panels import swept_setting
from paper_figures.records.sources import Records

SHIFT = 0.09
"""Between methods at one number of clients, so that their intervals do not lie over each other."""


@styled
def figure(records: Records) -> Figure:
    """Filled markers and solid lines: isolated clients; hollow markers and dotted lines: chained."""
    found = cells(records["confound"])
    result, axes = grid(1, len(found), height=3.1, width=max(7.2, 2.6 * len(found)))
    seeds = set()
    for index, (ax, (setting, group)) in enumerate(zip(axes.flat, found.items(), strict=True)):
        clients = clients_of(group)
        for position, method in enumerate(METHODS):
            for state in STATES:
                there = [number for number in clients if (number, state, method) in group]
                means = [group[number, state, method].mean for number in there]
                seeds |= {mean.n for mean in means}
                x = [
                    clients.index(number) + SHIFT * (position - 1) + (state != "isolated") * SHIFT / 3
                    for number in there
                ]
                look = method_style(method)
                ax.errorbar(
                    x, [mean.mean for mean in means], yerr=[mean.half_width or 0.0 for mean in means],
                    color=look.color, marker=look.marker, linestyle="-" if state == "isolated" else ":",
                    markerfacecolor=look.color if state == "isolated" else "white", capsize=2, linewidth=1.3, markersize=5,
                )  # fmt: skip
        within(ax, "accuracy")
        letter(ax, index, setting.title)
        ax.set_xticks(range(len(clients)), [f"{number}\n({rounds_of(group, number)} rounds)" for number in clients])
        ax.set_xlabel("clients")
        if index == 0:
            ax.set_ylabel("test accuracy")
    share_heights(axes.flat)
    first = records["confound"][0]
    note = (
        f"{swept_setting.described_run(first, VARIES)}. Mean of "
        f"{'–'.join(str(n) for n in sorted(seeds))} seeds, bar: 95 % Student interval. The learning rate of every cell was "
        "chosen on validation text. Chained: a client goes on with the factors of the client before it."
    )
    handles = [
        *(
            Line2D([], [], color=method_style(m).color, marker=method_style(m).marker, label=method_style(m).label)
            for m in METHODS
        ),
        Line2D([], [], color="#444444", marker="o", label=STATES["isolated"]),
        Line2D([], [], color="#444444", marker="o", markerfacecolor="white", linestyle=":", label=STATES["chained"]),
    ]
    return furnish(result, f"{first['model']['name']}: the method, or the chain?", note, handles)


ENTRY = Entry(
    "fig_confound",
    title="The method, or the chain of clients?",
    shows=(
        "Test accuracy of three methods with isolated clients and with clients that go on from one another, at 3, 20 and 50 "
        "clients, two optimisers, equal client-rounds and equal rounds; every cell at its own learning rate."
    ),
    counterpart="arXiv 2502.01755v4, Table 1 and Figure 3",
    needs=("confound",),
    make=figure,
)
