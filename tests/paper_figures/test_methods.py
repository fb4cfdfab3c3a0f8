"""What is drawn and tabulated of all methods: asserted on the axes and rows, not on pixels."""

from __future__ import annotations

import numpy as np
import pytest

from paper_figures.analysis import methods
from paper_figures.figures import fig_interference
from paper_figures.panels import laws
from paper_figures.records import sources
from paper_figures.tables import tab_methods
from rolora.errors import InputError
from tests.paper_figures.conftest import ALL_METHODS, Drawn, fake_methods, fake_run


def test_final_accuracies_are_ordered_with_interval_and_every_seed(drawn: Drawn) -> None:
    left, middle, right = drawn("fig_methods").axes[:3]
    labels = [label.get_text() for label in left.get_yticklabels()]
    assert len(labels) == len(ALL_METHODS)
    assert labels[-1] == "RoLoRA" and labels[0] == "FFA-LoRA"
    bars = {container.get_label(): container for container in left.containers}
    assert set(bars) == set(ALL_METHODS)
    np.testing.assert_allclose(bars["rolora"].lines[0].get_xdata(orig=False), [np.mean([0.74, 0.745, 0.75])], atol=0.02)
    by_round, by_bytes = ({line.get_label(): line for line in ax.lines} for ax in (middle, right))
    assert set(by_round) == set(by_bytes) and len(by_round) == len(ALL_METHODS)
    for name, line in by_round.items():
        assert line.get_xdata(orig=False)[-1] == 15
        np.testing.assert_array_equal(line.get_ydata(), by_bytes[name].get_ydata())
    np.testing.assert_allclose(by_round["RoLoRA"].get_ydata()[-1], bars["rolora"].lines[0].get_xdata(orig=False)[0])
    assert right.get_xscale() == "log"
    assert all(np.all(np.asarray(line.get_xdata(orig=False)) > 0) for line in right.lines)


def test_interference_is_drawn_where_it_is_defined(drawn: Drawn) -> None:
    left, right = drawn("fig_interference").axes[:2]
    drawn = {line.get_label(): np.asarray(line.get_ydata()) for line in left.lines}
    assert "local only" not in drawn
    np.testing.assert_allclose(drawn["FedAvg-LoRA"], 0.1 * 0.9 ** np.arange(15))
    np.testing.assert_allclose(drawn["RoLoRA"], fig_interference.SMALLEST)
    missed = {line.get_label(): np.asarray(line.get_ydata()) for line in right.lines}
    np.testing.assert_allclose(missed["FedAvg-LoRA"], drawn["FedAvg-LoRA"])
    np.testing.assert_allclose(missed["FlexLoRA"], 1e-8)


def test_the_table_says_how_the_rate_was_chosen(records: sources.Records) -> None:
    table = tab_methods.table(records)
    row = dict(zip(table.columns, next(row for row in table.rows if row[0] == "RoLoRA"), strict=True))
    assert row["learning rate"] == "0.002"
    assert row["validation accuracy by rate"] == "0.001: 0.700, 0.002: 0.750, 0.004: 0.720"
    assert row["seeds"] == "3"
    edge = [
        run | {"config": run["config"] | {"training": run["config"]["training"] | {"learning_rate": 1e-3}}}
        for run in records["methods"]
    ]
    marked = tab_methods.table(records.having(methods=edge))
    assert all(row[1] == "0.001*" for row in marked.rows)


def test_conformance_shows_every_verdict_and_its_reason(records: sources.Records) -> None:
    table = laws.methods(records)
    assert table.columns == ("method", "3", "5")
    assert [row[1:] for row in table.rows] == [("✓ as declared", "✓"), ("✓", "FAILS"), ("–", "exception")]
    reasons = " ".join(table.notes)
    assert "A is frozen and has changed" in reasons and "misses by the interference" in reasons


def test_runs_that_cannot_be_compared_are_refused() -> None:
    twice = [*fake_methods(1), fake_run("rolora", 20, 15, 0)]
    with pytest.raises(InputError, match="same setting, method and seed"):
        methods.by_method(twice)
    other = [run for run in fake_methods(1) if run["config"]["algorithm"] != "rolora"] + [fake_run("rolora", 3, 15, 0)]
    with pytest.raises(InputError, match="expected one setting"):
        methods.by_method(other)
