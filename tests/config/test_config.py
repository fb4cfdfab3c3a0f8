"""Configs: what is not understood is refused with the file, the key, what was given and what was expected."""

from __future__ import annotations

import json

import pytest

from rolora import config as configuration
from rolora.__main__ import packaged_configs
from rolora.errors import InputError
from tests.conftest import changed


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nonsense": 1}, "test: unknown key nonsense, expected one of algorithm, seed"),
        ({"federation__roundz": 1}, "unknown key federation.roundz, expected one of .*; did you mean rounds"),
        ({"lora__rank": -2}, "lora.rank: got -2, expected greater than 0"),
        ({"lora__rank": "four"}, "lora.rank: got 'four', expected a valid integer"),
        ({"lora__layers": [-1]}, "lora.layers.0: got -1"),
        ({"training__learning_rate": 0.0}, "training.learning_rate: got 0.0"),
        ({"method": {"speed": 3}}, "method.speed is no option of rolora, expected one of schedule"),
        ({"method": {"schedule": 3}}, "method.schedule is 3.0, expected a str"),
        ({"method": {"schedule": "BC"}}, "schedule: got 'BC', expected letters A and B"),
        (
            {"federation__client_ranks": [1, 2]},
            "expected one rank with rolora: a mean of factors needs factors of one rank",
        ),
        ({"algorithm": "flora", "federation__client_ranks": [9]}, "client_ranks is 9, expected at most lora.rank = 2"),
        (
            {"algorithm": "flora", "server": {"optimizer": "adam"}},
            "server.optimizer is 'adam', expected none with flora",
        ),
        ({"algorithm": "centralised", "federation__clients_per_round": 2}, "expected 1 with one client"),
        ({"training__optimizer": "adam"}, "training.optimizer: got 'adam', expected 'sgd' or 'adamw'"),
        ({"algorithm": "fedlora"}, "algorithm is 'fedlora', expected one of fedavg-lora, ffa-lora, rolora, flexlora"),
        ({"federation__partition": "dirichlet"}, "dirichlet_alpha is None, expected a number"),
        ({"federation__labels_per_client": 2}, 'labels_per_client is 2, expected nothing with partition = "iid"'),
        ({"federation__clients_per_round": 9}, "clients_per_round is 9, expected at most num_clients = 3"),
        ({"model__dropout": 1.0}, "model.dropout: got 1.0, expected less than 1"),
        ({"data__text_columns": []}, "data.text_columns"),
    ],
)
def test_a_fault_is_one_clear_line(table, changes, words):
    with pytest.raises(InputError, match=words) as fault:
        changed(table, **changes)
    assert "\n" not in str(fault.value)


def test_what_a_paper_specifies_has_no_default(table):
    for section, field in [("lora", "rank"), ("training", "learning_rate"), ("federation", "num_clients")]:
        without = json.loads(json.dumps(table))
        del without[section][field]
        with pytest.raises(InputError, match=rf"{section}.{field} is missing"):
            configuration.check(without, "test")


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
        ('"none.toml"', "none.toml, expected a TOML file"),
        ("3", "base: got 3"),
        ('"above.toml"', "does not stand on this"),
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
        ("missing.toml", None, "there is none"),
        ("broken.toml", "a = ", "broken.toml: expected TOML"),
        ("other.json", "{}", "a run's record with a config in it"),
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
