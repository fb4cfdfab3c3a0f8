"""The file of printed numbers, the access to it, and that every audit can also come out the other way."""

import math

import pytest

from rolora.errors import InputError
from rolora.keys import Key
from theory import printed_numbers
from theory.claims.printed_numbers import audit_averages, audit_identical_cells, audit_repeated_cell, audit_uplink_bytes
from theory.printed_numbers import AVERAGE, METHODS, RANKS, TASKS, Number, accuracies, load, number, rows
from theory.verification.claim import judge


def test_every_number_is_a_string_with_known_trust_in_a_known_table():
    for entry in load()["numbers"]:
        assert entry["trust"] in load()["trust"]
        assert entry["table"] in load()["tables"]
        assert isinstance(entry["value"], str)
    for row in rows():
        for cell in row.cells.values():
            assert math.isfinite(cell.value)
            assert cell.deviation is None or cell.spread >= 0


def test_every_setting_names_its_source_and_trust():
    found = []
    for setting in load()["settings"].values():
        found += setting if isinstance(setting, list) else [setting]
    assert all(each["trust"] in load()["trust"] and each["source"] for each in found)


def test_the_first_paper_table_is_complete_with_deviations():
    cells = [number(f"P2-1-r{rank}", method, task) for rank in RANKS for method in METHODS for task in TASKS]
    assert len(cells) == 60
    assert all(cell.deviation is not None and cell.trust == "V" for cell in cells)
    assert number("P2-1-r1", "rolora", "RTE").text == "80.23"
    assert number("P2-1-r1", "rolora", "RTE").deviation == "1.02"


def test_accuracies_are_percentages_and_leave_traffic_and_drops_out():
    found = [cell for _, cell in accuracies()]
    assert len(found) == 202
    assert all(20 < cell.value < 100 for cell in found)
    assert not any("P2-6" in cell.where or "drop" in cell.where for cell in found)


def test_the_last_digit_is_that_of_the_text():
    assert Number("46.9", None, "V", "").resolution == pytest.approx(0.1)
    assert Number(".7", None, "V", "").resolution == pytest.approx(0.1)
    assert math.isnan(Number("46.9", None, "V", "").spread)


@pytest.mark.parametrize(
    ("table", "method", "name", "clients"),
    [("P2-2", "rolora", "RTE", None), ("P2-2", "rolora", "RTE", 4), ("P2-9", "rolora", "RTE", None)],
)
def test_a_number_that_is_not_there_once_is_refused(table, method, name, clients):
    with pytest.raises(InputError, match="expected one"):
        number(table, method, name, clients)


def test_a_line_with_a_number_missing_is_refused(monkeypatch):
    broken = {"table": "P2-2", "clients": 3, "method": "rolora", "metric": "QQP / RTE", "value": "1.0", "trust": "V"}
    monkeypatch.setattr(printed_numbers, "load", lambda: {"numbers": [broken]})
    rows.cache_clear()
    try:
        with pytest.raises(InputError, match="1 numbers, expected 2"):
            rows()
    finally:
        rows.cache_clear()


def test_modules_and_rounds_follow_the_printed_settings():
    assert [printed_numbers.modules(1, task) for task in TASKS] == [48, 24, 24, 24, 24]
    assert [printed_numbers.modules(3, task) for task in TASKS] == [3, 6, 6, 6, 6]
    assert [printed_numbers.rounds(clients, "SST-2") for clients in (3, 20, 50)] == [500, 75, 30]


def test_a_constant_answer_has_the_known_accuracies():
    expected = {"SST-2": 50.92, "QNLI": 50.54, "MNLI": 35.45, "QQP": 63.18, "RTE": 52.71}
    assert {task: round(printed_numbers.constant_rate(task), 2) for task in TASKS} == expected


def test_the_refuted_audits_hold_without_their_one_counterexample():
    """The comparison is able to come out true: it is one cell that refutes each of these."""
    others = [(rank, m, m) for rank in RANKS for m in METHODS if (rank, m) != (4, "ffa-lora")]
    assert judge(audit_averages._comparisons(others)).verdict == "holds"
    assert judge(audit_repeated_cell.check(Key(0), "P2-1-r2", ("rolora", "MNLI"))).verdict == "holds"
    pairs = [
        audit_identical_cells._differ(number(f"P2-1-r{rank}", one, task), number(f"P2-1-r{rank}", other, task))
        for rank in RANKS
        for task in TASKS
        for one, other in [("fedavg-lora", "ffa-lora"), ("ffa-lora", "rolora"), ("fedavg-lora", "rolora")]
    ]
    assert sum(pair.excess > 1 for pair in pairs) == 1
    assert judge([pair for pair in pairs if pair.excess <= 1]).verdict == "holds"


def test_no_entry_of_the_uplink_table_is_the_bytes_of_the_printed_layers():
    found = [audit_uplink_bytes._instance(method, task, 4) for method in METHODS for task in TASKS]
    assert all(instance.excess > 1 for instance in found)


def test_the_repeated_average_is_the_one_of_the_first_table():
    """88.22 goes with 85.55; with the 85.66 of the second table it would be 88.25."""
    cells = [number("P2-2", "rolora", task, 3).value for task in TASKS]
    assert number("P2-1-r2", "rolora", AVERAGE).text == "88.22"
    assert f"{sum(cells) / 5:.2f}" == "88.25"
