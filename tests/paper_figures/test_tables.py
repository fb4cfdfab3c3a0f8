"""Tables, groups of runs, and the sentences made from records."""

from __future__ import annotations

from pathlib import Path

import pytest

from paper_figures.analysis import groups
from paper_figures.building import findings
from paper_figures.panels import printed_accuracies
from paper_figures.records import sources
from paper_figures.tables import tab_claims, tab_finetuning, tab_learning_rates
from rolora import config as configuration
from rolora.config import packaged_configs
from rolora.errors import InputError
from tests.paper_figures.conftest import fake_finetuning, fake_run, fake_sweep


def test_claims_show_every_verdict_and_every_surprise(records: sources.Records) -> None:
    table = tab_claims.table(records)
    assert [row[0] for row in table.rows] == ["made-up-bound", "made-up-measurement", "made-up-rate"]
    assert table.marks == ("holds", "not run", "refuted")
    verdicts = [row[table.columns.index("verdict")] for row in table.rows]
    assert verdicts == ["holds", "not run (expected: holds; control not refuted)", "refuted"]
    assert "1 not run" in table.notes[0] and "Controls refuted: 2 of 3" in table.notes[0]


def test_html_and_markdown_escape_what_a_record_says(records: sources.Records) -> None:
    table = tab_claims.table(records)
    assert "<script>" not in table.to_html() and "&lt;script&gt;" in table.to_html()
    assert "<script>" not in table.to_markdown()
    lines = [line for line in table.to_markdown().splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in lines} == {len(table.columns) + 1}


def test_finetuning_states_steps_and_seeds(records: sources.Records) -> None:
    table = tab_finetuning.table(records)
    row = next(row for row in table.rows if row[:2] == ("20 clients", "RoLoRA"))
    assert row[2:7] == ("0.002", "15", "45", "900", "3")
    assert row[7] == "0.733 ± 0.012"


def test_one_seed_has_no_interval(records: sources.Records) -> None:
    table = tab_finetuning.table(records.having(finetuning=fake_finetuning(seeds=1)))
    assert not any("±" in row[7] for row in table.rows)


def _lines(records: sources.Records) -> dict[tuple[str, ...], list[dict[str, str]]]:
    """Table, clients and method -> the paper's row and ours."""
    table = printed_accuracies.clients(records)
    found: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in table.rows:
        found.setdefault(row[:3], []).append(dict(zip(table.columns, row, strict=True)))
    return found


def test_printed_numbers_keep_their_trust_and_name_what_was_not_run(records: sources.Records) -> None:
    rows = _lines(records)
    remembered, _ = rows["arXiv 2502.01755v4, Table 1, rank 4", "20", "FFA-LoRA"]
    assert remembered["average"] == "81.01 (unverified)" and remembered["whose"] == "paper [M]"
    _, flexlora = rows["arXiv 2502.01755v4, Table 1, rank 4", "50", "FlexLoRA"]
    assert flexlora["RTE"] == "not run" and "RoBERTa-Large" in flexlora["model and scale, or what it takes"]
    assert rows["arXiv 2409.02346, Table 2, rank 2", "50", "RoLoRA"][0]["QNLI"] == "89.83"


def test_our_numbers_stand_below_printed_ones_of_their_own_rank(records: sources.Records) -> None:
    rows = _lines(records)
    ours = rows["arXiv 2502.01755v4, Table 1, rank 4", "50", "RoLoRA"][1]
    assert ours["whose"] == "ours: all-MiniLM-L6-v2" and ours["Rotten Tomatoes"].endswith("(3 seeds)")
    assert rows["arXiv 2409.02346, Table 2, rank 2", "50", "RoLoRA"][1]["RTE"] == "not run"


def test_printed_numbers_shown_are_accuracies_of_tables_that_vary_the_clients(records: sources.Records) -> None:
    rows = [lines[0] for lines in _lines(records).values()]
    assert len(rows) == 23
    assert {row["clients"] for row in rows} == {"3", "20", "50"}
    cells = [row[name].split(" ")[0] for row in rows for name in ("SST-2", "QNLI", "MNLI", "QQP", "RTE", "average")]
    assert all(0 < float(cell) < 100 for cell in cells if cell != "–")


def test_a_setting_that_varies_makes_its_own_group() -> None:
    other = fake_run("rolora", 20, 15, 0)
    other["config"]["training"] = other["config"]["training"] | {"local_steps": 9}
    titles = [group.title for group in groups.groups([fake_run("rolora", 20, 15, 0), other])]
    assert titles == ["20 clients, local steps 3", "20 clients, local steps 9"]


def test_the_learning_rate_is_a_methods_own() -> None:
    """Chosen for each method on validation text, it does not take the methods out of one comparison."""
    other = fake_run("ffa-lora", 20, 15, 0)
    other["config"]["training"] = other["config"]["training"] | {"learning_rate": 0.01}
    (group,) = groups.groups([fake_run("rolora", 20, 15, 0), other])
    assert group.runs.keys() == {"ffa-lora", "rolora"}


def test_the_same_run_twice_is_refused() -> None:
    with pytest.raises(InputError, match="the same setting"):
        groups.groups([fake_run("rolora", 3, 5, 0), fake_run("rolora", 3, 5, 0)])


def test_shared_clients_are_named() -> None:
    (group,) = groups.groups([fake_run("rolora", 20, 15, 0, state="shared")])
    assert group.title == "20 clients, clients share one model"


def test_findings_follow_the_records(records: sources.Records) -> None:
    said = " ".join(findings.shows(records))
    assert "RoLoRA 0.733 ± 0.012" in said
    assert "RoLoRA is below FedAvg-LoRA" in said, "the digits record puts FedAvg-LoRA ahead at the chosen rates"
    assert "ahead of FedAvg-LoRA at 0.1 of 0.1, 1" in said
    assert "both converge" in " ".join(findings.shows_not(records))


def test_a_difference_inside_its_interval_is_not_called_one(records: sources.Records) -> None:
    runs = fake_finetuning()
    for run in runs:
        if run["config"]["algorithm"] == "rolora":
            run["final"] = run["final"] | {"accuracy": 0.7 + (0.2 if run["seed"] == 0 else -0.1)}
    said = list(findings.finetuning(records.having(finetuning=runs)))
    assert all("no significant difference between RoLoRA and FedAvg-LoRA" in text for text in said)


def test_printed_numbers_stand_alone_when_nothing_was_run(tmp_path: Path) -> None:
    table = printed_accuracies.clients(sources.load(tmp_path))
    ours = [row for row, mark in zip(table.rows, table.marks, strict=True) if mark != "paper"]
    assert len(ours) == 23 and all(row[-1].startswith("not run: needs") for row in ours)


def test_the_learning_rate_with_the_best_validation_accuracy_is_chosen(records: sources.Records) -> None:
    """Between equal accuracies the lower loss decides; runs measured on test text do not count."""
    on_test = fake_run("rolora", 20, 15, 0)
    on_test["config"]["evaluation"] = {"every": 15, "split": "test"}
    table = tab_learning_rates.table(records.having(sweep=[*fake_sweep(), on_test]))
    assert table.columns == ("clients", "method", "0.003", "0.01", "0.03", "chosen")
    assert table.rows == (("20", "RoLoRA", "0.700", "0.750", "0.750", "0.01"),)
    edge = tab_learning_rates.table(records.having(sweep=fake_sweep()[:2]))
    assert edge.rows == (("20", "RoLoRA", "0.700", "0.750", "0.01, the edge"),)


def test_the_study_uses_the_rates_that_the_committed_sweep_chooses() -> None:
    """The config of the main study must not drift from the validation records it cites."""
    cells = tab_learning_rates.sweep(sources.load(sources.COMMITTED)["sweep"])
    study = configuration.read(packaged_configs()["reproduce"])
    assert {(c.federation.num_clients, c.algorithm) for c in study} == cells.keys()
    for config in study:
        cell = cells[config.federation.num_clients, config.algorithm]
        assert config.training.learning_rate == tab_learning_rates.chosen(cell)
