"""A picture with sliders where a kernel runs, and the picture of their first position where none does."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PNG, WIDGET = "image/png", "application/vnd.jupyter.widget-view+json"
"""The two forms of one output; a page without a kernel has the first alone."""

WIDTH = "52rem"


@dataclass(frozen=True)
class Slider:
    """One choice.

    Args:
        label: what stands beside it.
        values: what may be chosen.
        first: which of them it begins with.
        shown: how a value is written.
    """

    label: str
    values: Sequence[float]
    first: float
    shown: str = "{:g}"


class Sliders:
    """A function of a few numbers that draws a picture; a notebook shows it as its cell's output."""

    def __init__(self, draw: Callable[..., bytes], sliders: Mapping[str, Slider]) -> None:
        """
        Args:
            draw: takes the sliders' values by name, returns a PNG.
            sliders: argument of ``draw`` -> its slider.

        Raises:
            ValueError: a slider begins with a value that it does not have.
        """
        for name, slider in sliders.items():
            if slider.first not in slider.values:
                raise ValueError(f"{name} begins with {slider.first}, expected one of {slider.values}")
        self.draw, self.sliders = draw, dict(sliders)

    def picture(self) -> bytes:
        """The picture of the first position."""
        return self.draw(**{name: slider.first for name, slider in self.sliders.items()})

    def widget(self) -> Any:
        """Sliders over a picture that follows them."""
        import ipywidgets

        picture = ipywidgets.Image(value=self.picture(), format="png", layout=ipywidgets.Layout(max_width=WIDTH))
        controls = {
            name: ipywidgets.SelectionSlider(
                options=[(slider.shown.format(value), value) for value in slider.values],
                value=slider.first,
                description=slider.label,
                continuous_update=False,  # a picture takes a moment: it is drawn where the slider is left
                style={"description_width": "13rem"},
                layout=ipywidgets.Layout(width="34rem"),
            )
            for name, slider in self.sliders.items()
        }

        def moved(_: Any) -> None:
            picture.value = self.draw(**{name: control.value for name, control in controls.items()})

        for control in controls.values():
            control.observe(moved, "value")
        return ipywidgets.VBox([*controls.values(), picture])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Both forms: a front end shows the richest that it can."""
        bundle = {PNG: base64.b64encode(self.picture()).decode()}
        try:
            return bundle | self.widget()._repr_mimebundle_()
        except ImportError:  # a kernel without ipywidgets still shows the picture
            return bundle
