"""What is drawn and tabulated of the engines' speed: asserted on the axes and rows, not on pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from paper_figures import compute, fig_engines, fig_profile, tab_engines
from paper_figures.engines import COLORS, LABELS
from tests.bench import profile
from tests.bench.child import ENGINES


@pytest.fixture(scope="module")
def records(records_directory: Path) -> compute.Records:
    return compute.load(records_directory)


def test_bars_are_the_speeds_and_what_was_not_measured_is_left_out(records: compute.Records) -> None:
    figure = fig_engines.figure(records)
    bars = figure.axes[0].patches
    assert [bar.get_width() for bar in bars] == [2.0]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["batched"]
    (line,) = (line for line in figure.axes[3].lines if line.get_label() == "batched")
    np.testing.assert_allclose(line.get_ydata(), [503, 520, 550, 700])


def test_the_table_names_what_was_not_measured(records: compute.Records) -> None:
    table = tab_engines.table(records)
    assert [row[1:4] for row in table.rows[:2]] == [("plain PEFT loop", "35.0", "1"), ("batched", "17.5", "2.00")]
    assert any("Not measured: Flower simulation" in note for note in table.notes)


def test_a_bar_is_as_long_as_its_kinds_together(records: compute.Records) -> None:
    ax = fig_profile.figure(records).axes[0]
    assert sum(patch.get_width() for patch in ax.patches) == pytest.approx(2 * 30)


def test_every_kind_and_contestant_has_a_look() -> None:
    assert tuple(fig_profile.KINDS) == profile.KINDS
    assert set(ENGINES) <= set(LABELS) == set(COLORS)
