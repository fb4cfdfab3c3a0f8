"""The papers' printed numbers beside ours: complete, with their trust, and ours found by what a record is."""

from __future__ import annotations

import copy
import shlex
from pathlib import Path
from typing import Any

import pytest

from paper_figures import registry
from paper_figures.analysis import runs as outcomes
from paper_figures.analysis.paper_scale import SCALES
from paper_figures.drawing.table import Table
from paper_figures.panels import paper_comparison, printed_accuracies, printed_benchmarks
from paper_figures.records import sources
from paper_figures.tables import (
    tab_counterparts,
    tab_paper_arithmetic,
    tab_paper_uplink,
)
from rolora.config import packaged_configs
from rolora.evaluation import benchmarks
from rolora.experiment import sweep
from theory import printed_numbers

TABLES = (
    printed_accuracies.clients,
    printed_accuracies.label_skew,
    printed_accuracies.local_steps,
    printed_accuracies.ranks,
    printed_accuracies.message_size,
    printed_accuracies.deberta,
    printed_accuracies.quantised,
    printed_benchmarks.commonsense,
    printed_benchmarks.generation,
    tab_paper_uplink.table,
)


@pytest.fixture(scope="module")
def committed() -> sources.Records:
    return sources.load(sources.COMMITTED)


@pytest.fixture
def nothing(tmp_path: Path) -> sources.Records:
    return sources.load(tmp_path)


def cells(table: Table, *first: str) -> list[dict[str, str]]:
    """The rows that begin with these cells, by column."""
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows if row[: len(first)] == first]


def test_every_printed_number_is_shown_with_its_deviation(nothing: sources.Records) -> None:
    shown: list[str] = []
    for make in TABLES:
        table = make(nothing)
        shown += [cell for row in table.rows for cell in row] + list(table.notes)
    text = "\n".join(shown)
    for row in printed_numbers.rows():
        for cell in row.cells.values():
            wanted = cell.text if cell.deviation is None else f"{cell.text} ± {cell.deviation}"
            assert wanted in text, cell.where


def test_what_is_from_memory_says_so_in_its_cell(nothing: sources.Records) -> None:
    remembered = {cell.text for row in printed_numbers.rows() for cell in row.cells.values() if cell.trust == "M"}
    assert len(remembered) == 8
    found = [cell for make in TABLES for row in make(nothing).rows for cell in row if cell.split(" ")[0] in remembered]
    assert found and all(cell.endswith("(unverified)") for cell in found)
    sure = cells(printed_accuracies.ranks(nothing), "4", "RoLoRA")[0]
    assert sure["whose"] == "paper [V]" and sure["RTE"] == "82.43 ± .84" and sure["average"] == "88.28"


def test_without_records_every_line_says_what_it_needs_and_how(nothing: sources.Records) -> None:
    for make in TABLES[:-1]:
        table = make(nothing)
        ours = [row for row, mark in zip(table.rows, table.marks, strict=True) if mark != "paper"]
        assert len(ours) == len(table.rows) / 2
        assert all(row[-1].startswith("not run: needs ") and "GPU" in row[-1] for row in ours)
        assert any(note.startswith("Command: python -m rolora ") for note in table.notes)


def alone(runs: list[dict[str, Any]]) -> sources.Records:
    """Records of nothing else."""
    return sources.Records(Path(), finetuning=runs)


def as_if(runs: list[dict[str, Any]], **sections: dict[str, Any]) -> list[dict[str, Any]]:
    """Records with some fields of their config changed."""
    made = copy.deepcopy(runs)
    for run in made:
        for section, fields in sections.items():
            run["config"][section] = run["config"].get(section, {}) | fields
    return made


def test_our_number_is_found_by_what_the_record_is(committed: sources.Records) -> None:
    """The committed runs, as if they had been SST-2 at rank 2, stand in arXiv 2409.02346, Table 2, and nowhere else."""
    sst2 = as_if(committed["finetuning"], data={"name": "glue/sst2"}, lora={"rank": 2})
    table = printed_accuracies.clients(alone(sst2))
    lines = cells(table, "arXiv 2409.02346, Table 2, rank 2", "50", "RoLoRA")
    own = [run for run in committed["finetuning"] if run["name"].startswith("rolora-n50")]
    assert lines[1]["whose"] == "ours: all-MiniLM-L6-v2"
    assert lines[1]["SST-2"] == outcomes.percent(own) and lines[1]["SST-2"].endswith("(3 seeds)")
    assert lines[1]["QNLI"] == "not run"
    other = cells(table, "arXiv 2502.01755v4, Table 1, rank 4", "50", "RoLoRA")
    assert other[1]["whose"] == "ours" and other[1]["SST-2"] == "not run"


@pytest.mark.parametrize(
    "changes",
    [
        {"federation": {"client_state": "shared"}},
        {"federation": {"clients_per_round": 2}},
        {"federation": {"partition": "dirichlet", "dirichlet_alpha": 0.5}},
        {"model": {"quantization": "4bit"}},
        {"model": {"weights": "random"}},
        {"training": {"learning_rate_a": 1.0}},
        {"training": {"proximal": 0.1}},
        {"privacy": {"mode": "client"}},
        {"server": {"optimizer": "adam"}},
        {"evaluation": {"split": "validation"}},
        {"lora": {"rank": 16}},
    ],
    ids=str,
)
def test_a_run_of_another_kind_does_not_stand_for_a_printed_one(
    committed: sources.Records, changes: dict[str, dict[str, Any]]
) -> None:
    other = alone(as_if(committed["finetuning"], **changes))
    assert "ours" in printed_accuracies.clients(alone(committed["finetuning"])).marks
    assert "ours" not in printed_accuracies.clients(other).marks


def test_quantised_runs_stand_in_their_own_table(committed: sources.Records) -> None:
    small = as_if(
        committed["finetuning"][:9], model={"quantization": "4bit"}, lora={"rank": 2}, data={"name": "glue/qqp"}
    )
    for run in small:
        run["final"] = {"f1": 0.5} | run["final"]
    table = printed_accuracies.quantised(alone(small))
    four, eight = cells(table, "4 bit", "FedAvg-LoRA"), cells(table, "8 bit", "FedAvg-LoRA")
    assert four[1]["QQP"] == outcomes.percent(small[:3], "accuracy"), "accuracy, whatever metric is the task's first"
    assert eight[1]["QQP"] == "not run"


def test_of_several_records_the_one_with_most_seeds_is_shown(committed: sources.Records) -> None:
    longer = as_if(
        [run for run in committed["finetuning"] if run["seed"] == 0], training={"local_steps": 9, "batch_size": 32}
    )
    table = printed_accuracies.clients(alone([*longer, *committed["finetuning"]]))
    (_, ours) = cells(table, "arXiv 2502.01755v4, Table 1, rank 4", "50", "RoLoRA")
    assert "(3 seeds)" in ours["Rotten Tomatoes"] and "3 steps of 8" in ours[table.columns[-1]]


def test_nothing_of_ours_is_called_by_the_papers_model(records: sources.Records) -> None:
    for make in TABLES[:-1]:
        table = make(records)
        for row, mark in zip(table.rows, table.marks, strict=True):
            assert mark != "ours" or not any(name in " ".join(row) for name in ("RoBERTa", "DeBERTa", "Llama"))
    assert "ours" not in printed_accuracies.deberta(records).marks, "the table's question is the model"


@pytest.mark.parametrize("name", SCALES)
def test_every_command_is_understood(name: str) -> None:
    """Configs and grids are read, benchmarks exist; what a hub holds is not looked at."""
    configs = packaged_configs()
    for command in SCALES[name].commands:
        words = shlex.split(command)
        assert words[:3] == ["python", "-m", "rolora"]
        if words[3] == "evaluate":
            asked = words[words.index("--benchmark") + 1]
            assert asked in benchmarks.BENCHMARKS or asked in benchmarks.GROUPS
        elif words[3] == "training-rows":
            assert words[4] in benchmarks.GROUPS
        else:
            grids = [words[place + 1] for place, word in enumerate(words) if word == "--over"]
            settings = [
                word for place, word in enumerate(words[5:], 5) if "=" in word and not words[place - 1].startswith("--")
            ]
            found = sweep.read(configs[words[4]], settings, grids)
            assert all(len(cell.rates) == (8 if words[3] == "sweep" else 1) for cell in found)


def test_benchmarks_in_print_are_those_of_the_records() -> None:
    assert set(printed_benchmarks.BENCHMARKS.values()) <= set(benchmarks.BENCHMARKS)
    names = {
        name
        for row in printed_numbers.rows()
        if row.table.startswith(("P1-commonsense", "P1-gen"))
        for name in row.cells
    }
    assert names == set(printed_benchmarks.BENCHMARKS)


def test_a_decoders_scores_stand_below_the_method_that_tuned_it(records: sources.Records) -> None:
    table = printed_benchmarks.commonsense(records)
    paper, ours = cells(table, "RoLoRA")
    assert paper["BoolQ"] == "61.83" and paper["whose"] == "paper [S]"
    assert ours["whose"] == "ours: a-made-up-decoder" and ours["PIQA"] == "not run"
    assert ours["BoolQ"].startswith("62.5 ± ") and ours["BoolQ"].endswith("[g]"), "the mean of 50 and 75 %"
    assert cells(table, "FFA-LoRA")[1]["BoolQ"] == "not run"
    assert cells(printed_benchmarks.generation(records), "RoLoRA")[1]["MMLU"].endswith("[b]")


def test_the_uplink_is_that_of_the_named_layers(nothing: sources.Records) -> None:
    row = cells(tab_paper_uplink.table(nothing), "QNLI", "FedAvg-LoRA")[0]
    assert row["modules of Table 5"] == "18"
    assert row["computed, KiB"] == "144.0", "2 factors x 18 modules x 1,024 numbers x 4 bytes"
    assert row["printed / computed"] == "0.651"


def test_arithmetic_shows_every_audit_with_a_control_that_fails(nothing: sources.Records) -> None:
    table = tab_paper_arithmetic.table(nothing)
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert len(rows) == 12
    assert all(row["control"] == "refuted" for row in rows.values())
    assert rows["audit-averages"]["verdict"] == "refuted"
    assert (rows["audit-averages"]["printed"], rows["audit-averages"]["recomputed"]) == ("87.48", "87.542")
    assert rows["audit-other-averages"]["verdict"] == "holds"
    assert rows["audit-identical-cells"]["printed"] == "82.19"
    assert rows["audit-majority-class"]["verdict"] == "holds"


def _printed(table: str, method: str, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = copy.deepcopy(printed_numbers.load())
    for entry in file["numbers"]:
        if (entry["table"], entry["method"]) == (table, method):
            entry["value"] = entry["value"].replace(old, new)
    monkeypatch.setattr(printed_numbers, "load", lambda: file)
    printed_numbers.rows.cache_clear()


@pytest.mark.parametrize(
    ("place", "old", "new", "audit", "before", "after"),
    [
        (("P2-1-r4", "ffa-lora"), "87.48", "87.54", "audit-averages", "refuted", "holds"),
        (("P2-1-r8", "rolora"), "91.84", "91.48", "audit-other-averages", "holds", "refuted"),
        (("P2-1-r2", "rolora"), "85.55", "85.66", "audit-repeated-cell", "refuted", "holds"),
        (("P2-1-r2", "rolora"), "82.19", "82.18", "audit-identical-cells", "refuted", "holds"),
        (("P1-2", "flexlora"), "35.45", "36.45", "audit-majority-class", "holds", "refuted"),
        (("P2-8", "ffa-lora"), "1.3", "1.5", "audit-relative-drops", "holds", "refuted"),
        (("P2-6", "rolora"), "46.9", "49.6", "audit-uplink-floats", "holds", "refuted"),
    ],
)
def test_an_audit_follows_the_digits(
    place: tuple[str, str],
    old: str,
    new: str,
    audit: str,
    before: str,
    after: str,
    nothing: sources.Records,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Corrected digits take the alarm away, and a slip of one digit raises it: no alarm is built in."""

    def verdict() -> str:
        table = tab_paper_arithmetic.table(nothing)
        return table.marks[[row[0] for row in table.rows].index(audit)]

    assert verdict() == before
    try:
        _printed(*place, old, new, monkeypatch)
        assert verdict() == after
    finally:
        printed_numbers.rows.cache_clear()


PANELS = {
    tab_counterparts.P1: {
        *(f"Figure {number}" for number in (2, 3, 4, 5, 6, 12)), "Table 1", "Table 2", "Table 4", "Table 20",
        "commonsense reasoning", "HumanEval, MMLU",
    },
    tab_counterparts.P2: {"Figure 1", "Figure 2", *(f"Table {number}" for number in (1, 2, 3, 6, 7, 8))},
}  # fmt: skip


def test_every_figure_and_table_has_a_counterpart_or_says_what_it_needs(nothing: sources.Records) -> None:
    table = tab_counterparts.table(nothing)
    found: dict[str, set[str]] = {}
    for row in table.rows:
        found.setdefault(row[0], set()).add(row[1])
    assert found == PANELS
    for row in table.rows:
        if row[1] == "Table 6":
            assert row[4] == "ours", "bytes need no run"
        else:
            assert row[4].startswith("not run: needs ")
        assert row[-1].startswith("python -m ")
    assert "1 ours, 0 partly, 19 not run" in table.notes[0]


def test_counterparts_follow_the_records(records: sources.Records) -> None:
    rows = {(row[0], row[1]): row for row in tab_counterparts.table(records).rows}
    assert rows[tab_counterparts.P1, "Figure 2"][4] == "ours"
    assert rows[tab_counterparts.P1, "Figure 5"][4] == "partly"
    assert rows[tab_counterparts.P1, "Table 2"][4] == "partly: 4 of 5 lines", "there is no Dirichlet FlexLoRA"
    assert rows[tab_counterparts.P1, "commonsense reasoning"][4] == "partly: 1 of 3 lines"
    assert rows[tab_counterparts.P2, "Table 7"][4].startswith("not run: needs DeBERTa-XLarge")
    assert "all-MiniLM-L6-v2 on TREC" in rows[tab_counterparts.P1, "Figure 3"][6]
    assert all("RoBERTa" not in row[6] for row in rows.values())


def test_counterparts_name_entries_that_exist() -> None:
    ids = {entry.id for entry in registry.select()}
    assert {name for one in tab_counterparts.COUNTERPARTS for name in one.ids} <= ids
    kinds = {kind for one in tab_counterparts.COUNTERPARTS for kind in one.kinds}
    assert kinds <= sources.SOURCES.keys()
    assert {one.scale for one in tab_counterparts.COUNTERPARTS} - {""} <= SCALES.keys()


def test_a_printed_line_is_plain_where_nothing_is_added() -> None:
    federation = {"num_clients": 5, "clients_per_round": 5}
    run = {"config": {"federation": federation, "training": {"learning_rate": 0.1, "learning_rate_a": 0.1}}}
    assert paper_comparison.plain(run)
