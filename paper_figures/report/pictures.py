"""A figure as a page shows it: a crisp drawing, what is in it in words, the pieces that a phone shows, its numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from matplotlib.axes import Axes
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from paper_figures.building import render

PAD = 0.04
"""Inches around a piece."""

ROW = 0.17
"""Inches that an entry of the legend is high: a little less than from one row to the next."""

HANDLE = 3.6
"""Widths of a letter that a legend's handle takes, with the space behind it."""

SAFE = " =:/;,.()-_+*!?@'[]{}|~^&$"
"""Characters that stay as they are in a data URI inside an attribute."""


@dataclass(frozen=True)
class Picture:
    """One figure, ready for a page.

    Args:
        source: a data URI of an SVG drawing without title and note, whose letters are outlines.
        width: in inches.
        height: in inches.
        title: that of the figure, which names the model.
        note: what was run, as the figure says it.
        alt: panels, axes and series in words.
        pieces: legend entries and panels, each as x, y, width and height in inches from the upper left corner.
        numbers: panel, series, first point, last point, number of points.
    """

    source: str
    width: float
    height: float
    title: str
    note: str
    alt: str
    pieces: tuple[tuple[float, float, float, float], ...]
    numbers: tuple[tuple[str, ...], ...]


def picture(figure: Figure) -> Picture:
    """Return a figure as a page shows it; title and note leave the drawing, because a page has them as text."""
    figure.draw_without_rendering()
    title, note = (_words(figure.texts[place].get_text()) if len(figure.texts) > place else "" for place in (0, 1))
    for text in figure.texts[:2]:
        text.set_visible(False)
    boxes = [*_legend_boxes(figure), *_panel_boxes(figure)]
    region = Bbox.union(boxes) if boxes else figure.bbox_inches
    region = Bbox.from_extents(0, region.y0, figure.bbox_inches.x1, region.y1)
    source = "data:image/svg+xml," + quote(_compact(render.drawing(figure, region)), safe=SAFE)
    return Picture(
        source=source,
        width=round(region.width, 3),
        height=round(region.height, 3),
        title=title,
        note=note,
        alt=described(figure, title),
        pieces=tuple(_place(box, region) for box in boxes),
        numbers=tuple(numbers(figure)),
    )


def _words(text: str) -> str:
    return " ".join(text.split())


def _compact(svg: str) -> str:
    """Hundredths of a point are enough for a place, not for a scale; no comment, no declaration, no break."""
    svg = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"scale\([^)]*\)|-?\d+\.\d{3,}", _shorter, svg)
    return re.sub(r"\s+", " ", re.sub(r">\s+<", "><", svg)).replace('"', "'").strip()


def _shorter(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith("scale") else f"{float(found[0]):.2f}".rstrip("0").rstrip(".")


def _legend_boxes(figure: Figure) -> list[Bbox]:
    """One box a legend entry, in inches."""
    boxes = []
    for legend in figure.legends:
        for text in legend.get_texts():
            box, letter = text.get_window_extent(), text.get_fontsize() * figure.dpi / 72
            # A text's own height is that of its letters: one without a tail would be cut closer than its neighbour.
            middle, half = (box.y0 + box.y1) / 2, ROW / 2 * figure.dpi
            row = Bbox.from_extents(box.x0 - HANDLE * letter, middle - half, box.x1, middle + half)
            boxes.append(_inches(row, figure, 0))
    return boxes


def _panel_boxes(figure: Figure) -> list[Bbox]:
    """One box a panel, in inches; a colour bar belongs to the panel before it."""
    boxes: list[Bbox] = []
    for ax in figure.axes:
        box = _inches(ax.get_tightbbox(), figure)
        if _is_colorbar(ax) and boxes:
            boxes[-1] = Bbox.union([boxes[-1], box])
        else:
            boxes.append(box)
    return boxes


def _is_colorbar(ax: Axes) -> bool:
    return ax.get_label() == "<colorbar>"


def _inches(box: Bbox, figure: Figure, pad: float = PAD) -> Bbox:
    whole = figure.bbox_inches
    x0, y0, x1, y1 = (value / figure.dpi for value in box.extents)
    return Bbox.from_extents(max(x0 - PAD, 0), max(y0 - pad, 0), min(x1 + PAD, whole.x1), min(y1 + pad, whole.y1))


def _place(box: Bbox, region: Bbox) -> tuple[float, float, float, float]:
    """x, y, width and height from the region's upper left corner."""
    place = (box.x0 - region.x0, region.y1 - box.y1, box.width, box.height)
    return tuple(round(float(value), 3) for value in place)  # type: ignore[return-value]


def described(figure: Figure, title: str) -> str:
    """A figure in words: its panels with their axes, and what is drawn."""
    panels, y = [], ""
    for ax in figure.axes:
        if not _is_colorbar(ax):
            # A panel without words at its side shares those of the panel before it.
            y = _vertical(ax) or y
            panels.append(_panel(ax, y))
    series = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    count = "One panel" if len(panels) == 1 else f"{len(panels)} panels"
    drawn = f" Drawn: {', '.join(series)}." if series else ""
    return _words(f"{title}. {count}: {'; '.join(panels)}.{drawn}")


def _panel(ax: Axes, y: str) -> str:
    x, name = _axis(ax.get_xlabel(), ax.get_xscale()), ax.get_title(loc="left")
    axes = f"{y} against {x}" if x and y else x or y
    return f"{name}: {axes}" if name else axes


def _vertical(ax: Axes) -> str:
    """Return the label of the vertical axis, or the names of its rows."""
    rows = [_words(text.get_text()) for text in ax.get_yticklabels()]
    named = [row for row in rows if re.search(r"[a-zA-Z]{2}", row)]
    return _axis(ax.get_ylabel(), ax.get_yscale()) or (f"rows {', '.join(named)}" if named else "")


def _axis(label: str, scale: str) -> str:
    return f"{_words(label)}{' (logarithmic)' if scale == 'log' else ''}" if label else ""


def numbers(figure: Figure) -> Iterator[tuple[str, ...]]:
    """The ends of every curve, and every bar, that has a name: panel, series, first point, last point, points."""
    for ax in figure.axes:
        name = ax.get_title(loc="left") or ax.get_xlabel()
        inside = {
            id(line) for one in ax.containers if isinstance(one, ErrorbarContainer) for line in one.get_children()
        }
        for line in ax.get_lines():
            if id(line) not in inside and _named(line) and line.get_transform() == ax.transData:
                yield _row(name, line.get_label(), line.get_xydata())
        for one in ax.containers:
            if isinstance(one, ErrorbarContainer) and _named(one):
                yield _row(name, one.get_label(), one.lines[0].get_xydata())
            elif isinstance(one, BarContainer) and _named(one):
                for bar in one.patches:
                    length = bar.get_height() if one.orientation == "vertical" else bar.get_width()
                    yield (name, str(one.get_label()), f"{length:.4g}", "–", "1")


def _named(artist: Line2D | BarContainer | ErrorbarContainer) -> bool:
    return bool(artist.get_label()) and not str(artist.get_label()).startswith("_")


def _row(panel: str, label: object, points: Any) -> tuple[str, ...]:
    first, last = (f"({point[0]:.4g}, {point[1]:.4g})" for point in (points[0], points[-1]))
    return (panel, str(label), first, last if len(points) > 1 else "–", str(len(points)))
