"""The model card: made of the record alone, read back by the hub's own reader, and the same bytes for the same record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from rolora.experiment import loop
from rolora.experiment.model_card import model_card
from tests.conftest import changed

RECORDS = sorted((Path(__file__).parents[2] / "paper_figures" / "data" / "finetuning").glob("*/record.json"))


@pytest.fixture(scope="module")
def record():
    return json.loads(RECORDS[0].read_text())


def test_a_run_leaves_its_own_card_and_not_pefts(table, tmp_path):
    record = loop.run(changed(table), tmp_path)
    text = (tmp_path / "adapter" / "README.md").read_text()
    assert text == model_card(record)
    card = ModelCard(text)
    assert card.data.library_name == "peft"
    assert card.data.base_model == Path(record["config"]["model"]["name"]).name
    assert card.data.metrics == ["accuracy"]
    assert card.data.eval_results[0].metric_value == record["final"]["accuracy"]
    assert str(tmp_path.parent) not in text


def test_the_card_says_what_the_record_says(record):
    text = model_card(record)
    card = ModelCard(text)
    up = sum(sum(entry["bytes_up"].values()) for entry in record["rounds"])
    config = record["config"]
    for said in (
        f"federated method: {config['algorithm']}",
        f"rounds: {len(record['rounds'])}, each of {config['training']['local_steps']} local steps",
        f"learning rate {config['training']['learning_rate']:g}",
        f"clients: {config['federation']['num_clients']}",
        "licence: CC BY 4.0",
        record["data"]["source"],
        f"{up:,} bytes from the clients",
        f"accuracy {record['final']['accuracy']:.4f}",
        record["code"]["commit"],
        f"seed: {record['seed']}",
        "peft 0.21.2",
        "PeftModel.from_pretrained",
    ):
        assert said in text
    assert (card.data.base_model, card.data.datasets, card.data.language) == (
        "all-MiniLM-L6-v2", ["rotten-tomatoes"], "en",
    )  # fmt: skip
    assert "## Privacy" not in text


def test_the_same_record_gives_the_same_bytes_whatever_took_how_long(record):
    later = json.loads(json.dumps(record)) | {"seconds": 1.0}
    for entry in later["rounds"]:
        entry["seconds"] = 7.5
    assert model_card(later) == model_card(record)
    assert len({model_card(json.loads(path.read_text())) for path in RECORDS}) == len(RECORDS)


def test_what_only_some_records_have(record):
    config = record["config"] | {"evaluation": record["config"]["evaluation"] | {"select": "test"}}
    chosen = record | {
        "config": config,
        "selected_round": 3,
        "final_papers_protocol": {"accuracy": 0.9876, "loss": 0.1, "examples": 9},
        "selection_papers_protocol": {"selected_round": 5},
        "privacy": {"epsilon": 1.5, "accountant": {"orders": 3}},
    }
    text = model_card(chosen)
    assert "after 4 rounds, which validation text chose" in text
    assert (
        "Selection on test data, which takes the best round on the test text itself (after 6 rounds): accuracy 0.9876."
        in text
    )
    assert "- epsilon: 1.5\n- accountant:\n  - orders: 3\n" in text


@pytest.mark.parametrize(
    ("algorithm", "words"),
    [
        ("fedex-lora", "export RUN DIR --merged"),
        ("fedsa-lora", "Every client keeps its own B"),
        ("rolora", "One run with"),
    ],
)
def test_a_card_says_where_the_adapter_alone_is_not_the_model(record, algorithm, words):
    text = model_card(record | {"config": record["config"] | {"algorithm": algorithm}})
    assert words in text
    assert ("residual.safetensors" in text) == (algorithm == "fedex-lora")
