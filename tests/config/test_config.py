"""Configs: reading, hashes, and errors with the file, the key, the value given and the values accepted."""

from __future__ import annotations

import json
import re

import pytest

from rolora import config as configuration
from rolora.config import flatten, packaged_configs, read
from rolora.errors import InputError
from tests.conftest import changed


@pytest.mark.parametrize(
    ("changes", "key", "got", "expected"),
    [
        ({"nonsense": 1}, "nonsense", ..., "one of algorithm, seed"),
        ({"federation__roundz": 1}, "federation.roundz", ..., "one of .*; did you mean rounds"),
        ({"lora__rank": -2}, "lora.rank", -2, "greater than 0"),
        ({"lora__rank": "four"}, "lora.rank", "four", "a valid integer"),
        ({"lora__layers": [-1]}, "lora.layers.0", -1, "greater than or equal to 0"),
        ({"lora__layers": "top"}, "lora.layers", "top", "layer numbers or one of"),
        ({"training__learning_rate": 0.0}, "training.learning_rate", 0.0, "greater than 0"),
        ({"training__optimizer": "adam"}, "training.optimizer", "adam", "'sgd' or 'adamw'"),
        ({"model__dropout": 1.0}, "model.dropout", 1.0, "less than 1"),
        ({"data__text_columns": []}, "data.text_columns", [], "at least 1 item"),
        ({"algorithm": "fedlora"}, "algorithm", "fedlora", "one of fedavg-lora, ffa-lora, rolora, flexlora"),
        ({"method": {"speed": 3}}, "method.speed", ..., "one of schedule"),
        ({"method": {"schedule": 3}}, "method.schedule", 3.0, "a str"),
        ({"federation__client_ranks": [1, 2]}, "federation.client_ranks", [1], "a mean of factors needs"),
        (
            {"algorithm": "flora", "federation__client_ranks": [9]},
            "federation.client_ranks",
            9,
            "at most lora.rank = 2",
        ),
        ({"algorithm": "centralised", "federation__clients_per_round": 2}, "federation.clients_per_round", 2, "1 with"),
        ({"federation__partition": "dirichlet"}, "federation.dirichlet_alpha", None, "a number with partition"),
        ({"federation__labels_per_client": 2}, "federation.labels_per_client", 2, 'nothing with partition = "iid"'),
        ({"federation__clients_per_round": 9}, "federation.clients_per_round", 9, "at most num_clients = 3"),
    ],
)
def test_a_fault_has_its_key_the_value_and_what_is_accepted(table, changes, key, got, expected):
    with pytest.raises(InputError) as caught:
        changed(table, **changes)
    fault = caught.value
    assert (fault.where, fault.key, fault.got) == ("test", key, got)
    assert re.search(expected, fault.expected)
    assert str(fault).startswith("test: ") and key in str(fault) and "\n" not in str(fault)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": {"schedule": "BC"}},
        {"algorithm": "flora", "server": {"optimizer": "adam"}},
    ],
)
def test_what_an_algorithm_refuses_is_refused_with_the_config(table, changes):
    with pytest.raises(InputError, match=r"test: .*(schedule|optimizer).*expected"):
        changed(table, **changes)


def test_all_missing_keys_are_reported_together_with_their_meaning(table):
    """What a paper specifies has no default."""
    for section, field in (("lora", "alpha"), ("model", "head"), ("federation", "num_clients")):
        del table[section][field]
    with pytest.raises(InputError) as caught:
        changed(table, training__learning_rate=-1)
    keys = ["model.head", "lora.alpha", "federation.num_clients", "training.learning_rate"]
    assert [fault.key for fault in caught.value.faults] == keys
    assert caught.value.faults[1].expected == "lora_alpha; the scale is alpha / rank"
    assert [line.split(" is missing")[0] for line in str(caught.value).splitlines()[:3]] == [
        f"test: {key}" for key in keys[:3]
    ]


def test_a_section_that_is_missing_names_its_required_keys(table):
    del table["training"]
    with pytest.raises(InputError) as caught:
        changed(table)
    keys = ["optimizer", "learning_rate", "local_steps", "batch_size"]
    assert [fault.key for fault in caught.value.faults] == [f"training.{key}" for key in keys]


def test_a_misspelt_key_comes_before_what_is_missing(table):
    table["lora"]["rnak"] = table["lora"].pop("rank")
    with pytest.raises(InputError) as caught:
        changed(table)
    assert [fault.key for fault in caught.value.faults] == ["lora.rnak", "lora.rank"]


def test_what_the_command_line_gave_is_said_to_be_from_there(tmp_path, table):
    (tmp_path / "record.json").write_text(json.dumps({"config": table}))
    for override, key in (("federation.rouns=3", "federation.rouns"), ("lora.rank=none", "lora.rank")):
        with pytest.raises(InputError) as caught:
            read(tmp_path / "record.json", [override])
        assert (caught.value.key, caught.value.where) == (key, "command line")


@pytest.mark.parametrize("text", ["[]", "3", '{"config": null}', '{"config": [1]}', "[" * 100_000])
def test_a_record_without_a_config_is_refused(tmp_path, text):
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(InputError, match="record"):
        read(tmp_path / "record.json")


@pytest.mark.parametrize("grid", ["grid = 3", "grid = [{ seed = [1] }]"])
def test_a_grid_that_is_no_table_is_refused(tmp_path, grid):
    (tmp_path / "grid.toml").write_text(grid)
    with pytest.raises(InputError) as caught:
        read(tmp_path / "grid.toml")
    assert caught.value.key == "grid"


def test_rules_between_sections_are_reported_together(table):
    with pytest.raises(InputError) as caught:
        changed(table, runtime__gradient_checkpointing=True, federation__clients_per_round=2, data__packing=True)
    assert [fault.key for fault in caught.value.faults] == ["data.packing", "lora.dropout"]


def test_without_drops_sections_and_fields_and_refuses_others(table):
    config = changed(table)
    rest = config.without("seed", "federation", "training.learning_rate", "training.learning_rate_a")
    assert flatten(config.resolved()).keys() - flatten(rest).keys() == {
        "seed", "training.learning_rate", *(f"federation.{key}" for key in config.resolved()["federation"])
    }  # fmt: skip
    for key in ("sead", "training.rate", "seed.seed"):
        with pytest.raises(KeyError):
            config.without(key)


def test_the_hash_follows_every_field(table):
    one = changed(table)
    assert one.hash() == changed(table).hash()
    for changes in ({"seed": 1}, {"lora__rank": 3}, {"runtime__threads": 2}, {"federation__client_state": "shared"}):
        assert changed(table, **changes).hash() != one.hash()


def test_an_option_at_its_default_leaves_the_hash_as_it_was_before_there_was_the_option(table):
    """So a record made by an older version still names the same experiment."""
    one = changed(table)
    assert one.hash() == changed(table, training__proximal=0.0, method={}, server={"optimizer": "none"}).hash()
    assert not {"method", "server"} & one.resolved().keys()
    assert not {"proximal", "learning_rate_a"} & one.resolved()["training"].keys()
    for changes in (
        {"training__proximal": 0.1},
        {"method": {"schedule": "BBA"}},
        {"server": {"optimizer": "momentum"}},
    ):
        other = changed(table, **changes)
        assert other.hash() != one.hash()
        assert configuration.check(other.resolved(), "again").hash() == other.hash()


def test_a_config_is_frozen(table):
    with pytest.raises(ValueError, match="frozen"):
        changed(table).seed = 3


def write(tmp_path, table, grid=""):
    def block(name, values):
        return f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())

    sections = [block(name, values) for name, values in table.items() if isinstance(values, dict)]
    plain = [f"{key} = {json.dumps(value)}\n" for key, value in table.items() if not isinstance(value, dict)]
    path = tmp_path / "experiment.toml"
    path.write_text("".join(plain + sections) + grid)
    return path


def test_overrides_win_over_the_file(tmp_path, table):
    path = write(tmp_path, table)
    (config,) = configuration.read(path, ["algorithm=ffa-lora", "lora.rank=3", "model.head=frozen", "lora.layers=[0]"])
    assert (config.algorithm, config.lora.rank, config.model.head, config.lora.layers) == (
        "ffa-lora",
        3,
        "frozen",
        (0,),
    )


def test_a_grid_is_the_product_of_its_lists(tmp_path, table):
    grid = """
    [grid]
    algorithm = ["ffa-lora", "rolora"]
    training = [{ learning_rate = 0.1 }, { learning_rate = 0.2 }]
    scale = [{ federation = { num_clients = 2 }, evaluation = { every = 1 } }]
    """
    configs = configuration.read(write(tmp_path, table, grid), [])
    assert [(c.algorithm, c.training.learning_rate) for c in configs] == [
        ("ffa-lora", 0.1), ("ffa-lora", 0.2), ("rolora", 0.1), ("rolora", 0.2),
    ]  # fmt: skip
    assert {(c.federation.num_clients, c.federation.rounds, c.evaluation.every) for c in configs} == {(2, 4, 1)}
    assert len({c.run_name() for c in configs}) == 4


@pytest.mark.parametrize(
    ("grid", "words"),
    [("[grid]\nalgorithm = 3", "grid.algorithm: got 3"), ("[grid]\nscales = [3]", "unknown key grid.scales")],
)
def test_a_grid_that_is_none_is_refused(tmp_path, table, grid, words):
    with pytest.raises(InputError, match=words):
        configuration.read(write(tmp_path, table, grid), [])


def test_a_file_on_a_base_holds_only_what_is_different(tmp_path, table):
    write(tmp_path, table, "[grid]\nseed = [0, 1]").rename(tmp_path / "below.toml")
    path = tmp_path / "above.toml"
    path.write_text('base = "below.toml"\n[lora]\nrank = 7\n[grid]\nalgorithm = ["ffa-lora", "rolora"]')
    found = configuration.read(path)
    assert [(c.algorithm, c.seed, c.lora.rank) for c in found] == [
        ("ffa-lora", 0, 7), ("rolora", 0, 7), ("ffa-lora", 1, 7), ("rolora", 1, 7),
    ]  # fmt: skip
    assert found[0].lora.alpha == configuration.read(tmp_path / "below.toml")[0].lora.alpha


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ('"none.toml"', "config: got .*none.toml"),
        ("3", "base: got 3"),
        ('"above.toml"', "base: got 'above.toml'"),
    ],
)
def test_a_base_that_is_none_is_refused(tmp_path, base, words):
    path = tmp_path / "above.toml"
    path.write_text(f"base = {base}")
    with pytest.raises(InputError, match=words):
        configuration.read(path)


def test_a_record_is_a_config(tmp_path, table):
    config = changed(table)
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"config": config.resolved()}))
    assert configuration.read(path) == [config]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.toml", None, "an existing TOML file"),
        ("broken.toml", "a = ", "broken.toml: expected TOML"),
        ("other.json", "{}", "the record of a run, with its config"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=words):
        configuration.read(path)


@pytest.mark.parametrize("name", sorted(packaged_configs()))
def test_every_packaged_config_is_valid(name):
    assert configuration.read(packaged_configs()[name])
