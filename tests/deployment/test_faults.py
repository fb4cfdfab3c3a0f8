"""The table of promises in ``rolora.deployment``, line by line, with processes that are really stopped and killed."""

from __future__ import annotations

import json
import shutil
import signal

import pytest
from safetensors.torch import load_file, save_file

from rolora.experiment import loop
from rolora.federation import close_round, open_round
from rolora.federation.communication import Ledger
from rolora.models import peft_boundary
from rolora.training.engines import SequentialEngine
from tests.deployment.conftest import record, same_bits, simulated

TRAINED = "round {0}: client {1} trained"


def in_round_one(run, *options):
    """A server and three clients in the middle of round 1: clients 0 and 1 have replied, client 2 stands still."""
    server = run.server(*options)
    clients = [run.client(0), run.client(1), run.client(2)]
    clients[2].wait_for("has signed in")
    clients[2].wait_for(TRAINED.format(0, 2))
    clients[2].signal(signal.SIGSTOP)
    for client in (0, 1):
        clients[client].wait_for(TRAINED.format(1, client))
    return server, clients


def played(config, participants):
    """The final tensors of a run in which these clients took part, round by round, by the loop of a simulation."""
    setup = loop.prepare(config)
    algorithm = config.build_algorithm()
    engine = SequentialEngine(setup.model, setup.train, setup.clients, config, setup.key)
    server, ledger = peft_boundary.read(setup.model, head=True), Ledger()
    for t, clients in enumerate(participants):
        opened = open_round(t, server, algorithm, clients, ledger)
        updates = engine.local_updates(t, opened.broadcasts, opened.trainable)
        server, ledger, _ = close_round(opened, server, algorithm, updates, ledger)
    return server


def updated(entry):
    """The clients of a round whose updates were aggregated."""
    refused = {refusal["client"] for refusal in entry.get("refused", [])}
    return [client for client in entry["clients"] if client not in refused]


def is_result(folder, config):
    """Hold a finished run's adapter to a simulation in which the same clients took part; return the run's rounds."""
    rounds = record(folder)["rounds"]
    setup = loop.prepare(config)
    peft_boundary.write(setup.model, played(config, [updated(entry) for entry in rounds]))
    expected = folder.parent.parent / "expected"
    peft_boundary.save(setup.model, expected / "adapter")
    same_bits(folder, expected)
    return rounds


def test_a_client_that_is_killed_and_comes_back(tiny, federate, tmp_path):
    config = tiny()
    run = federate(config)
    server, clients = in_round_one(run)
    clients[2].kill()
    again = run.client(2)
    assert server.finish() == 0, server.text()
    assert again.finish() == 0
    same_bits(run.folder / "runs" / config.run_name(), simulated(config, tmp_path / "alone"))
    rounds = record(run.folder / "runs" / config.run_name())["rounds"]
    assert not any("missing" in entry for entry in rounds)
    # It came with nothing and was sent both factors, where the others were sent the one that had changed.
    assert rounds[1]["bytes_joining"]["A"] > 0
    assert rounds[1]["bytes_down"]["A"] == 0 < rounds[1]["bytes_down"]["B"]


def test_a_client_that_is_killed_for_good(tiny, federate):
    """The round is closed at the deadline with those that are there."""
    config = tiny(federation__rounds=2, evaluation__every=2)
    run = federate(config)
    server, clients = in_round_one(run, "--deadline", "4", "--minimum-clients", "2")
    clients[2].kill()
    assert server.finish() == 0, server.text()
    rounds = is_result(run.folder / "runs" / config.run_name(), config)
    assert [updated(entry) for entry in rounds] == [[0, 1, 2], [0, 1]]
    assert rounds[1]["clients"] == [0, 1, 2]
    assert rounds[1]["missing"].keys() == {"2"}
    assert "refused: client 2, round 1: no update received (last heartbeat " in server.text()


def test_a_client_that_is_too_slow(tiny, federate):
    """It misses a round, its late answer counts for nothing, and it takes part again."""
    config = tiny(federation__rounds=6, evaluation__every=6)
    run = federate(config)
    server, clients = in_round_one(run, "--deadline", "2", "--minimum-clients", "2")
    server.wait_for("client 2, round 1: no update received")
    clients[2].signal(signal.SIGCONT)
    assert server.finish() == 0, server.text()
    assert clients[2].finish() == 0
    rounds = is_result(run.folder / "runs" / config.run_name(), config)
    assert rounds[1]["missing"]["2"].startswith("last heartbeat ")
    assert updated(rounds[-1]) == [0, 1, 2]


def test_too_few_updates_repeat_the_round(tiny, federate, tmp_path):
    config = tiny(federation__round_attempts=50)
    run = federate(config)
    server, clients = in_round_one(run, "--deadline", "3", "--minimum-clients", "3")
    server.wait_for("round 1 is repeated")
    clients[2].signal(signal.SIGCONT)
    assert server.finish() == 0, server.text()
    same_bits(run.folder / "runs" / config.run_name(), simulated(config, tmp_path / "alone"))
    attempt, *_ = record(run.folder / "runs" / config.run_name())["rounds"][1]["failed_attempts"]
    assert "client 2, round 1: no update received" in attempt["reason"]
    assert clients[0].text().count(TRAINED.format(1, 0)) == 1  # the update is sent again, not trained again


def test_a_round_is_repeated_as_often_as_the_config_says(tiny, federate):
    """Then the server ends with one line, in deployment as in simulation."""
    run = federate(tiny(federation__round_attempts=2))
    server = run.server("--deadline", "1")
    assert server.finish() == 1
    (line,) = [line for line in server.text().splitlines() if line.startswith("error: ")]
    assert "client 0, round 0: no update received (not connected)" in line
    assert "0 of 3 updates can be used, expected at least 3; attempt 2 of 2" in line


def test_a_server_that_is_killed(tiny, federate, tmp_path):
    """The clients find the new one by themselves; it goes on from its checkpoint, and they still hold what they were sent."""
    config = tiny()
    run = federate(config)
    server, clients = in_round_one(run)
    server.kill()
    assert not (run.folder / "runs" / config.run_name() / "record.json").exists()
    clients[0].wait_for("has lost")
    refused = run.server()
    assert refused.finish() == 2
    assert "holds an unfinished run; add --resume" in refused.text()
    clients[2].signal(signal.SIGCONT)
    again = run.server(resume=True)
    assert again.finish() == 0, again.text()
    assert [client.finish() for client in clients] == [0, 0, 0]
    same_bits(run.folder / "runs" / config.run_name(), simulated(config, tmp_path / "alone"))
    rounds = record(run.folder / "runs" / config.run_name())["rounds"]
    assert [sum(entry["bytes_joining"].values()) > 0 for entry in rounds] == [True, False, False]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"seed": 1}, "the hash of the config, [runtime] apart is"),
        ({"model": "other"}, "the SHA-256 of the backbone's weights is"),
    ],
)
def test_another_config_or_backbone(changes, reason, tiny, federate, tmp_path, tiny_model):
    """It is refused by name, on both sides, before it is sent anything; the others end the run."""
    config = tiny()
    other = config.model_copy(update={"seed": 1})
    if "model" in changes:
        # The same folder by name, as on another machine, with other weights in it: the copy stands for that machine's.
        folder = tmp_path / "elsewhere" / "model"
        shutil.copytree(tiny_model, folder)
        weights = load_file(folder / "model.safetensors")
        save_file(
            {name: array + 1 for name, array in weights.items()},
            folder / "model.safetensors",
            metadata={"format": "pt"},
        )
        config = tiny(model__name="model")
        other = config
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"config": other.resolved()}))
    run = federate(config)
    here = tmp_path / "here"
    here.mkdir()
    if "model" in changes:
        (here / "model").symlink_to(tiny_model)
    server = run.server("--deadline", "20", "--minimum-clients", "2", folder=here)
    stranger = run.client(2, config=path, folder=tmp_path / "elsewhere" if "model" in changes else here)
    assert stranger.finish() == 2
    assert f"rejected client 2: {reason}" in stranger.text()
    assert f"client 2 rejected: {reason}" in server.text()
    good = run.client(0, 1, folder=here)
    assert server.finish() == 0, server.text()
    assert good.finish() == 0
    rounds = record(run.folder / "runs" / config.run_name())["rounds"]
    assert all(reason in entry["missing"]["2"] for entry in rounds)
    assert "round 0: client 2 trained" not in stranger.text()


def test_another_version(tiny, federate):
    """A client of another release says so, and is refused for it."""
    config = tiny(federation__rounds=1, evaluation__every=1)
    run = federate(config)
    server = run.server("--deadline", "20", "--minimum-clients", "2")
    stranger = run.client(2, version="0.0.9")
    assert stranger.finish() == 2
    assert "the version of rolora is '0.0.9', expected" in stranger.text()
    run.client(0, 1)
    assert server.finish() == 0, server.text()
