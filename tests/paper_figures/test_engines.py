"""What is drawn and tabulated of the engines' speed: asserted on the axes and rows, not on pixels."""

from __future__ import annotations

import numpy as np
import pytest

from paper_figures.analysis.engines import COLORS, LABELS
from paper_figures.figures import fig_profile
from paper_figures.records import sources
from paper_figures.tables import tab_engines, tab_gpu_memory, tab_gpu_speed
from tests.paper_figures.conftest import Drawn
from tests.tools.bench import profile
from tests.tools.bench.child import ENGINES


def test_bars_are_the_speeds_and_what_was_not_measured_is_left_out(drawn: Drawn) -> None:
    figure = drawn("fig_engines")
    bars = figure.axes[0].patches
    assert [bar.get_width() for bar in bars] == [2.0]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["batched"]
    (line,) = (line for line in figure.axes[3].lines if line.get_label() == "batched")
    np.testing.assert_allclose(line.get_ydata(), [503, 520, 550, 700])


def test_the_table_names_what_was_not_measured(records: sources.Records) -> None:
    table = tab_engines.table(records)
    assert [row[1:4] for row in table.rows[:2]] == [("plain PEFT loop", "35.0", "1"), ("batched", "17.5", "2.00")]
    assert any("Not measured: Flower simulation" in note for note in table.notes)


def test_a_gpus_speed_is_compared_with_the_plain_loop_and_what_failed_is_named(records: sources.Records) -> None:
    table = tab_gpu_speed.table(records)
    assert [row[1:] for row in table.rows] == [
        ("batched, groups of 2", "2,000", "2.00", "25.0%", "3.0"),
        ("plain loop, bfloat16", "1,000", "1.00", "25.0%", "3.0"),
    ]
    assert "made-up: 8 clients of 4 x 64 tokens, rank 4 on query, layers 2 to 3" in table.notes[0]
    assert table.notes[-1].endswith("made-up: plain loop, float32.")


def test_memory_beyond_the_bound_is_called_so(records: sources.Records) -> None:
    table = tab_gpu_memory.table(records)
    assert [row[0] + " " + row[-1] for row in table.rows] == ["within yes", "beyond no"]
    assert "commit 0123456" in table.notes[0] and table.notes[-1] == "Not measured: failed: status 1: made up."


def test_a_bar_is_as_long_as_its_kinds_together(drawn: Drawn) -> None:
    ax = drawn("fig_profile").axes[0]
    assert sum(patch.get_width() for patch in ax.patches) == pytest.approx(2 * 30)


def test_every_kind_and_contestant_has_a_look() -> None:
    assert tuple(fig_profile.KINDS) == profile.KINDS
    assert set(ENGINES) <= set(LABELS) == set(COLORS)
