"""Files from figures and tables, the same bytes every time."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from paper_figures.analysis.entry import Entry
from paper_figures.drawing.style import RC
from paper_figures.records.sources import Records
from rolora.errors import InputError

RENDERED = Path(__file__).resolve().parents[1] / "rendered"
"""The rendered files that come with the project."""

# Dates and versions would make every rebuild differ.
METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
}


def files(entry: Entry, records: Records) -> dict[str, bytes]:
    """File name -> content of one figure (PNG and PDF) or table (Markdown and HTML).

    Raises:
        InputError: records are missing, or are not what the entry needs.
    """
    records.require(entry.id, entry.needs)
    if not entry.applies(records):
        raise InputError(f"{entry.id}: got {', '.join(entry.needs)} records without the runs that it draws; see: list")
    made = entry.make(records)
    if isinstance(made, Figure):
        return {f"{entry.id}.{kind}": image(made, kind) for kind in METADATA}
    return {
        f"{entry.id}.md": f"# {made.title}\n\n{made.to_markdown()}".encode(),
        f"{entry.id}.html": made.to_html().encode(),
    }


def image(figure: Figure, kind: str) -> bytes:
    """A figure as the bytes of a PNG or PDF file."""
    return _saved(figure, format=kind, metadata=METADATA[kind])


def drawing(figure: Figure, region: Bbox) -> str:
    """A part of a figure as SVG on no ground, letters as outlines, so that it looks the same without the font.

    Args:
        figure: what is drawn.
        region: the part, in inches from the lower left corner.
    """
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    return _saved(figure, format="svg", metadata=nothing, bbox_inches=region, transparent=True).decode()


def _saved(figure: Figure, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with matplotlib.rc_context(RC | {"svg.fonttype": "path"}):
        figure.savefig(buffer, **options)
    return buffer.getvalue()
