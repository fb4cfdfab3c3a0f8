"""The linear model at any setting: what the methods do and what the theory predicts, drawn for a notebook's sliders."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.building.render import image
from paper_figures.drawing.style import SMALLEST, furnish, grid, letter, method_style, styled
from paper_figures.notebook_support.sliders import Slider, Sliders
from theory.studies import one_setting
from theory.studies.one_setting import Account, Setting

DARK, DATA, CLAIMED = "#444444", "#56B4E9", "#D55E00"
"""Colours of the prediction at infinitely many samples, of that on the data drawn, and of the claimed factor."""

FIRST = Setting()

SLIDERS = {
    "kappa": Slider("learning rate κ = η‖b*‖²", tuple(round(0.05 * i, 2) for i in range(1, 25)), FIRST.kappa),
    "degrees": Slider("angle of a⁰ to a*, degrees", (5.0, 15.0, 30.0, 45.0, 60.0, 75.0, 85.0, 89.0), FIRST.degrees),
    "num_clients": Slider("clients N", (1, 2, 5, 10, 20, 50), FIRST.num_clients),
    "samples": Slider("samples m of a client", (10, 20, 50, 100, 500, 2000), FIRST.samples),
}


def sliders() -> Sliders:
    """The sliders of the linear model, for the last line of a notebook's cell."""
    return Sliders(lambda **chosen: image(figure(one_setting.account(Setting(**chosen))), "png"), SLIDERS)


@styled
def figure(account: Account) -> Figure:
    """(a) angle distance of the three methods against rounds, (b) RoLoRA's contraction an iteration; predictions beside."""
    setting = account.setting
    result, axes = grid(1, 2, height=3.4)
    handles = [*_distances(axes[0, 0], account), *_contraction(axes[0, 1], account)]
    letter(axes[0, 0], 0, "distance to the solution")
    letter(axes[0, 1], 1, "RoLoRA: what an iteration leaves of it")
    note = (
        f"One draw of data: d = {one_setting.DIMENSION}, k = {one_setting.OUTPUTS}, ‖b*‖ = 1, loss (1/m)‖·‖². RoLoRA is "
        f"Algorithm 2, FFA-LoRA solves for b, FedAvg-LoRA takes {account.steps} steps of κ/{account.steps} a round. "
        f"{reading(account)}"
    )
    title = (
        f"Linear model: κ = {setting.kappa:g}, {setting.degrees:g}°, {setting.num_clients} "
        f"client{'s' * (setting.num_clients != 1)} of {setting.samples} samples"
    )
    return furnish(result, title, note, handles)


def _distances(ax: Axes, account: Account) -> list[object]:
    handles = []
    for name, angles in account.angles.items():
        look = method_style(name)
        (line,) = ax.plot(
            np.maximum(angles, SMALLEST), color=look.color, linestyle=look.linestyle, marker=look.marker, markevery=6,
            label=look.label,
        )  # fmt: skip
        handles.append(line)
    (line,) = ax.plot(
        np.maximum(account.predicted, SMALLEST), color=DARK, linestyle=(0, (1, 1)), linewidth=1.2,
        label="RoLoRA predicted, infinitely many samples",
    )  # fmt: skip
    ax.set_yscale("log")
    ax.set_ylim(SMALLEST / 3, 3)
    ax.set_xlabel("communication rounds")
    ax.set_ylabel("angle distance |sin θ(a, a*)|")
    return [*handles, line]


def _contraction(ax: Axes, account: Account) -> list[object]:
    look = method_style("rolora")
    measured, predicted = account.ratios(), account.ratios(predicted=True)
    ax.plot(range(1, 1 + len(measured)), measured, look.marker, color=look.color)
    ax.plot(range(1, 1 + len(predicted)), predicted, color=DARK, linestyle=(0, (1, 1)), linewidth=1.2)
    data = ax.axhline(account.on_these_data, color=DATA, label="predicted near a*, these data")
    claimed = ax.axhline(account.claimed, color=CLAIMED, linestyle=(0, (5, 1.5)), label="claimed factor √(1 − κc₀)")
    ax.set_xlim(0, one_setting.ITERATIONS + 1)
    ax.set_ylim(0, 1.45)
    ax.set_xlabel("iterations (two rounds each)")
    ax.set_ylabel("distance after / before")
    return [data, claimed]


def reading(account: Account) -> str:
    """Return the numbers of the picture in words."""
    text = (
        f"Predicted near a*: an iteration leaves {account.at_any_data:.2f} of the distance with infinitely many samples, "
        f"{account.on_these_data:.2f} on these data. "
    )
    if not np.isnan(account.measured):
        text += f"Measured: {account.measured:.2f}."
    elif account.angles["rolora"][-1] > one_setting.NEAR:
        text += "Measured: RoLoRA does not stay near a*."
    else:
        text += "Measured: too fast for a ratio."
    if not account.setting.claim_covers:
        text += " At this κ the claimed factor is false even with infinitely many samples."
    return text
