"""``python -m tests.tools.deployment``: 50 clients on this machine, undisturbed and with a fifth of them killed in every round.

Ten rounds of a model of two layers; the clients are nodes of their own, with keys and connections of their own, in five
processes. Then what travels at the size of RoBERTa-large's adapter. Writes a record with the hardware it was measured on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from rolora import records
from rolora.config import check
from rolora.deployment import certificates
from rolora.deployment.loopback import free_port, shares
from rolora.deployment.serve_and_join import require_flower
from tests.deployment.test_faults import is_result, updated
from tests.deployment.test_wire import two_rounds
from tests.tools.deployment.processes import Federation, Process, federation, wait_until
from tests.tools.deployment.synthetic import table

CLIENTS, PROCESSES, ROUNDS, DEADLINE = 50, 5, 10, 25.0


def peak(process: Process) -> int:
    """Return the largest memory of a process so far, in bytes."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def measure(folder: Path, kill: bool) -> dict[str, Any]:
    """Run a federation to its end.

    Args:
        folder: for everything that is written.
        kill: end one of the five processes, a fifth of the clients, in every round, and start it again.
    """
    folder.mkdir()
    config = check(table(folder, clients=CLIENTS, rounds=ROUNDS), "scale")
    path = folder / "config.json"
    path.write_text(json.dumps({"config": config.resolved()}))
    certificates.make(folder / "keys", CLIENTS)
    groups = shares(CLIENTS, PROCESSES)
    with federation(folder, path, folder / "keys", free_port()) as run:
        waiting = ["--deadline", str(DEADLINE), "--minimum-clients", str(CLIENTS - 2 * CLIENTS // PROCESSES)]
        begun = time.perf_counter()
        server = run.server(*(waiting if kill else []))
        clients = [run.client(*group) for group in groups]
        if kill:
            kill_in_turn(run, server, clients, groups)
        memory: dict[str, int] = {}
        while server.status is None:
            for name, process in {"server": server, "clients": clients[0]}.items():
                with contextlib.suppress(OSError, StopIteration):
                    memory[name] = peak(process)
            time.sleep(0.2)
        assert server.finish() == 0, server.text()
        seconds = time.perf_counter() - begun
    rounds = is_result(folder / "runs" / config.run_name(), config)
    return {
        "rounds": len(rounds),
        "answers": [len(updated(entry)) for entry in rounds],
        "seconds_a_round": round(statistics.median(entry["seconds"] for entry in rounds[1:]), 3),
        "seconds_in_all": round(seconds, 1),
        "peak_bytes_server": memory["server"],
        "peak_bytes_a_client_process": memory["clients"],
        "equals_simulation_with_the_same_participants": True,
    }


def kill_in_turn(run: Federation, server: Process, clients: list[Process], groups: list[list[int]]) -> None:
    """In every round but the first and the last, end one process while the round is open; start it again after the round."""

    def trained(t: int) -> bool:
        return any(f"round {t}: client" in client.text() for client in clients)

    for t in range(1, ROUNDS - 1):
        place = t % PROCESSES
        wait_until(lambda t=t: trained(t), f"round {t}")
        clients[place].kill()
        closed = f", round {t}: no update received"
        wait_until(
            lambda t=t, closed=closed: closed in server.text() or trained(t + 1), f"the end of round {t}", server
        )
        clients[place] = run.client(*groups[place])


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.deployment", description=__doc__)
    parser.add_argument("--json", type=Path, default=Path("deployment.json"), metavar="FILE")
    arguments = parser.parse_args()
    require_flower()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = folder / "keys"
        certificates.make(keys, 1)
        wire = {method: two_rounds(method, keys) for method in ("fedavg-lora", "ffa-lora", "rolora")}
        undisturbed = measure(folder / "undisturbed", kill=False)
        print(json.dumps({"wire": wire, "undisturbed": undisturbed}), flush=True)
        killed = measure(folder / "killed", kill=True)
        print(json.dumps(killed), flush=True)
    record = {
        "command": "python -m tests.tools.deployment --json FILE",
        "environment": records.environment() | {"flower": records.installed_version("flwr")},
        "clients": CLIENTS,
        "processes": PROCESSES,
        "model": "BERT of two layers of width 16, random weights",
        "undisturbed": undisturbed,
        "a_fifth_killed_in_every_round": killed,
        "wire_two_rounds_roberta_large_rank_8": wire,
        "this_process_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    records.write_json(arguments.json, record)


if __name__ == "__main__":
    main()
