"""The command lines, as a person types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import changed
from tests.deployment.conftest import record, same_bits, simulated
from tests.tools.deployment.processes import LIMIT


def rolora(*words, folder=None):
    path = os.pathsep.join([str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-m", "rolora", *map(str, words)], capture_output=True, text=True, timeout=LIMIT, env=environment,
        cwd=folder,
    )  # fmt: skip


@pytest.fixture
def config(table, tmp_path):
    one = changed(table, federation__rounds=2, evaluation__every=2)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"config": one.resolved()}))
    return one, path


def test_one_command_is_a_federation(config, tmp_path):
    """A server and three client processes, TLS and keys, and nothing left behind but the run."""
    one, path = config
    answer = rolora("deploy", path, "--clients", 3, "--out", tmp_path / "runs", folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "3 clients in 3 processes, and a server" in answer.stdout
    assert "(TLS, clients authenticated)" in answer.stdout
    assert "bytes on the wire; 0 updates missing in 2 rounds" in answer.stdout
    folder = tmp_path / "runs" / one.run_name()
    same_bits(folder, simulated(one, tmp_path / "alone"))
    assert record(folder)["environment"]["deployment"]["clients"].keys() == {"0", "1", "2"}
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "runs", "alone"}


def test_three_terminals_with_data_of_their_own(config, tmp_path, tiny_text, federate):
    """Each client trains on its own file; the server has never seen these rows."""
    one, _ = config
    run = federate(one)
    header, *rows = tiny_text.read_text().splitlines()
    sizes = []
    for client in range(3):
        own = rows[client * 40 : client * 40 + 20 + client]
        (tmp_path / f"own-{client}.csv").write_text("\n".join([header, *own]) + "\n")
        sizes.append(len(own))
    server = run.server()
    clients = [run.client(client, options=("--data", str(tmp_path / f"own-{client}.csv"))) for client in range(3)]
    assert server.finish() == 0, server.text()
    assert [client.finish() for client in clients] == [0, 0, 0]
    said = record(run.folder / "runs" / one.run_name())["environment"]["deployment"]["clients"]
    assert [said[str(client)]["examples"] for client in range(3)] == sizes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serve", "{config}"], "--keys: got none, expected the server's folder of `keys`, or --insecure by name"),
        (["join", "{config}"], "--keys: got none, expected a client's folder of `keys`, or --insecure by name"),
        (["join", "{config}", "--insecure"], "--client: got none, expected the client's number with --insecure"),
        (["serve", "{config}", "--keys", "{keys}/client-0"], "certificate.pem is missing, expected a server's folder"),
        (["serve", "{config}", "algorithm=fedsa-lora", "--keys", "{keys}/server"], "which no server can evaluate"),
        (
            ["serve", "{config}", "federation.num_clients=9", "--keys", "{keys}/server"],
            "has 5 clients, expected federation.num_clients = 9",
        ),
        (
            ["join", "{config}", "--keys", "{keys}/client-0", "--data", "nowhere.csv"],
            "--data: got nowhere.csv, expected a file or folder with this client's rows; there is none",
        ),
        (["join", "{config}", "--keys", "{keys}/client-4"], "client: got 4, expected one of the config's 3, from 0 on"),
        (
            ["join", "{config}", "--keys", "{keys}/client-0", "--server", "127.0.0.1:9", "--patience", "1"],
            "no server at 127.0.0.1:9 for 1 seconds, expected one; --patience waits longer",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(words, said, config, keys, tmp_path):
    from tests.tools.deployment.processes import Process

    filled = [word.format(config=config[1], keys=keys) for word in words]
    process = Process(filled, tmp_path / "said.log")
    assert process.finish() == 2
    (line,) = [line for line in process.text().splitlines() if line.startswith("error: ")]
    assert said in line
    assert "Traceback" not in process.text()


def test_insecure_by_name_alone(config, federate, tmp_path):
    """Without TLS and keys the clients say who they are, in whatever order they come; and the server says so."""
    from tests.tools.deployment.processes import Process

    one, path = config
    run = federate(one)
    port = str(run.port)
    server = Process(
        ["serve", str(path), "--insecure", "--port", port, "--out", str(run.folder / "runs")], tmp_path / "s.log"
    )
    run.started.append(server)
    server.wait_for("INSECURE: no TLS, no authentication")
    clients = []
    for client in (2, 0, 1):
        words = ["join", str(path), "--insecure", "--client", str(client), "--server", f"127.0.0.1:{port}"]
        clients.append(Process(words, tmp_path / f"{client}.log"))
        run.started.append(clients[-1])
    assert server.finish() == 0, server.text()
    assert [client.finish() for client in clients] == [0, 0, 0]
    same_bits(run.folder / "runs" / one.run_name(), simulated(one, tmp_path / "alone"))
    assert not record(run.folder / "runs" / one.run_name())["environment"]["deployment"]["authenticated"]
