"""Several processes compute what one does: every method, to the bit; and they end together.

Run as a program, this module is one of the processes: it plays the configs of a folder and leaves the final states there.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import save_file

from rolora import config as configuration
from rolora.algorithms import ALGORITHMS
from rolora.errors import InputError
from rolora.experiment import loop
from rolora.experiment.parallel import run_all
from rolora.federation.state_tensors import state_tensors
from rolora.models import peft_boundary
from rolora.training import process_group
from rolora.training.engines.distributed import DistributedEngine, deal, fingerprint
from tests.config.test_config import write
from tests.conftest import changed
from tests.experiment.test_experiment import Stop, adapter, measured, stop_after
from tests.training import rounds
from tests.training.rounds import engine_of

ROUNDS = 3
LIMIT = 300  # seconds for what takes a few on an idle machine

HARD = {
    "federation__num_clients": 5,
    "federation__clients_per_round": 4,
    "federation__partition": "dirichlet",
    "federation__dirichlet_alpha": 0.5,
    "training__local_steps": 3,
    "training__batch_size": 7,
    "training__max_grad_norm": 0.5,
    "runtime__group_size": 3,
}


def hard(table, name, **changes):
    pooled = ALGORITHMS[name]().pooled
    return changed(table, algorithm=name, **HARD | ({"federation__clients_per_round": 1} if pooled else {}) | changes)


def play(config):
    """Every tensor of the server's state after some rounds by as many processes as there are, and the mean losses."""
    setup, trained = loop.prepare(config), []
    engine = engine_of(setup, after_client=lambda: trained.append(1))
    if process_group.count() > 1:
        engine = DistributedEngine(engine, config.build_algorithm(), setup.device, lambda: trained.append(1))
    server, reports = rounds.play(setup, engine, ROUNDS)
    assert len(trained) == sum(len(report.clients) for report in reports)  # one notice a client, whoever trained it
    tensors = {label: array.contiguous() for label, array in state_tensors(server).items()}
    return tensors, [report.loss for report in reports]


class Launch:
    """Processes of one group; the store is kept here, as a launcher keeps it, so that it outlives each of them."""

    def __init__(self, count, words, own=lambda number: []):
        self.store = torch.distributed.TCPStore(
            "127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=LIMIT)
        )
        common = os.environ | {
            "WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self.store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": "0",
            "GLOO_SOCKET_IFNAME": "lo",
            "OMP_NUM_THREADS": "1",
        }
        self.processes = [
            subprocess.Popen(
                [sys.executable, *map(str, words), *own(number)],
                env=common | {"RANK": str(number), "LOCAL_RANK": str(number)},
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for number in range(count)
        ]  # fmt: skip

    def end(self):
        """Statuses and lines of error, of every process, once all have ended by themselves."""
        deadline = time.monotonic() + LIMIT
        try:
            both = [process.communicate(timeout=deadline - time.monotonic()) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
        self.printed = [stdout for stdout, _ in both]
        return [process.returncode for process in self.processes], [stderr for _, stderr in both]


def played_by(count, configs, folder):
    """What each process has after playing the configs: label -> (tensors, losses), one a process."""
    tables = {label: config.resolved() for label, config in configs.items()}
    (folder / "configs.json").write_text(json.dumps(tables))
    statuses, said = Launch(count, ["-m", "tests.training.test_distributed", folder]).end()
    assert statuses == [0] * count, said
    for number in range(count):
        assert (folder / f"numbers.{number}").read_text() == "[0.1, nan]"
        disagreement = f"what differs: process {number} and process {int(number == 0)} found different ones"
        assert (folder / f"differs.{number}").read_text().startswith(disagreement if number < 2 else "what differs")
    found = {}
    for label in configs:
        found[label] = []
        for number in range(count):
            with safe_open(folder / f"{label}.{number}", framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
                found[label].append((tensors, json.loads(file.metadata()["losses"])))
    return found


def main(folder):
    """One of the processes."""
    with process_group.leaving_together():
        process_group.join()
        for label, table in json.loads((folder / "configs.json").read_text()).items():
            tensors, losses = play(configuration.check(table, label))
            save_file(tensors, folder / f"{label}.{process_group.number()}", metadata={"losses": json.dumps(losses)})
        numbers = process_group.from_first([0.1, float("nan")] if process_group.is_first() else None, 2)
        (folder / f"numbers.{process_group.number()}").write_text(repr(numbers))
        process_group.agree("what is the same", b"same")
        try:
            process_group.agree("what differs", str(process_group.number() > 0).encode())
        except InputError as error:
            (folder / f"differs.{process_group.number()}").write_text(str(error))


def assert_same_bits(one, other):
    assert one[0].keys() == other[0].keys()
    assert [name for name in one[0] if not torch.equal(one[0][name], other[0][name])] == []
    assert one[1] == other[1]


def given(table):
    """Every method in turn, and what makes the updates of a round unequal."""
    configs = {f"sequential {name}": hard(table, name) for name in ALGORITHMS}
    for name in ALGORITHMS:
        configs[f"batched {name}"] = hard(table, name, runtime__engine="batched", runtime__dtype="float64")
    for name in ("rolora", "fedsa-lora", "fedex-lora"):
        configs[f"float64 {name}"] = hard(table, name, runtime__dtype="float64")
    configs["ranks"] = hard(table, "flexlora", federation__client_ranks=[2, 1, 1])
    configs["momentum"] = hard(table, "rolora", server={"optimizer": "momentum", "learning_rate": 0.5})
    configs["frozen head"] = hard(table, "fedsa-lora", model__head="frozen")
    return configs


@pytest.fixture(scope="module")
def played():
    return {}


@pytest.fixture
def by_two(table, played, tmp_path_factory):
    """All configs by two processes, in one launch."""
    if not played:
        played |= played_by(2, given(table), tmp_path_factory.mktemp("two"))
    return played


@pytest.mark.parametrize("name", ALGORITHMS)
def test_two_processes_have_the_bits_of_one(table, by_two, name):
    expected = play(hard(table, name))
    for found in by_two[f"sequential {name}"]:
        assert_same_bits(found, expected)


@pytest.mark.parametrize("label", ["float64 rolora", "float64 fedsa-lora", "float64 fedex-lora", "ranks", "momentum"])
def test_so_they_have_in_float64_with_mixed_ranks_and_with_memory(table, by_two, label):
    expected = play(given(table)[label])
    for found in by_two[label]:
        assert_same_bits(found, expected)


def test_so_they_have_with_a_frozen_head(table, by_two):
    expected = play(given(table)["frozen head"])
    assert not any(name.startswith("head") for name in expected[0])
    assert_same_bits(by_two["frozen head"][1], expected)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_batched_groups_on_two_processes_equal_those_of_one_to_rounding(table, by_two, name):
    """Three rounds of AdamW amplify float64's rounding (2e-16) by some thousands at most; the processes agree to the bit."""
    tensors, losses = play(hard(table, name, runtime__engine="batched", runtime__dtype="float64"))
    first, second = by_two[f"batched {name}"]
    assert_same_bits(first, second)
    for label, tensor in tensors.items():
        largest = float(tensor.abs().max().clamp(min=1e-3))
        assert float((first[0][label] - tensor).abs().max()) < 1e-9 * largest, label
    assert first[1] == pytest.approx(losses, rel=1e-11)


def test_more_processes_than_clients_in_a_round(table, tmp_path):
    few = {"federation__clients_per_round": 2}
    configs = {name: hard(table, name, **few) for name in ("rolora", "fedsa-lora", "flora")}
    configs["centralised"] = hard(table, "centralised")
    for label, found in played_by(3, configs, tmp_path).items():
        expected = play(configs[label])
        for each in found:
            assert_same_bits(each, expected)


def test_a_deal_gives_every_client_to_one_process_and_none_two_more_than_another():
    for clients in range(9):
        for count in range(1, 6):
            dealt = deal(dict.fromkeys(range(clients)), count)
            assert sorted(client for share in dealt for client in share) == list(range(clients))
            assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


def test_a_fingerprint_tells_one_bit_of_any_part(table):
    state = peft_boundary.read(loop.prepare(changed(table)).model, head=True)
    seen = [int(fingerprint(state))]
    for tensor in (*state.head.values(), *(layer.A for layer in state.layers.values())):
        tensor.view(torch.int32).reshape(-1)[0] ^= 1
        seen.append(int(fingerprint(state)))
    assert all(before != after for before, after in itertools.pairwise(seen))


def children(process):
    """The processes that a process has started and that are alive, by the number that its environment gives them."""
    found = {}
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        for entry in environment:
            if entry.startswith(b"RANK="):
                found[int(entry[5:])] = int(child)
    return found


def lines(stderr):
    return [line for line in stderr.splitlines() if line.startswith("error: ")]


def wait_for(condition, process):
    deadline = time.monotonic() + LIMIT
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition(), process.stderr.read() if process.poll() is not None else "too late"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes of a launcher in /proc")
def test_torchrun_a_killed_process_ends_all_and_one_process_goes_on_to_the_same_bits(table, tmp_path):
    table["federation"] |= {"rounds": 40, "num_clients": 3}
    (config,) = configuration.read(path := write(tmp_path, table))
    folder = tmp_path / "runs" / config.run_name()
    words = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "rolora", "run", str(path), "--out", str(tmp_path / "runs"),
    ]  # fmt: skip
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for((folder / loop.CHECKPOINT).exists, process)
    workers = children(process.pid)
    os.kill(workers[1], signal.SIGKILL)
    _, stderr = process.communicate(timeout=LIMIT)
    assert process.returncode != 0
    assert len(lines(stderr)) == 1, stderr
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers.values())
    assert not (folder / "record.json").exists()
    resumed = loop.run(config, folder, resume=True)
    whole = loop.run(config, tmp_path / "whole")
    assert adapter(folder) == adapter(tmp_path / "whole")
    assert measured(resumed) == measured(whole)


def test_one_process_with_bad_input_ends_all_with_one_line(table, tmp_path):
    path = write(tmp_path, table)
    words = ["-m", "rolora", "run", path, "--out", tmp_path / "runs"]
    statuses, said = Launch(2, words, lambda number: ["lora.rank=-1"] * number).end()
    assert statuses[0] != 0
    assert statuses[1] == 2
    assert said[0] == ""
    assert len(said[1].splitlines()) == 1
    assert "lora.rank: got -1" in said[1]
    assert not (tmp_path / "runs").exists()


def test_a_process_that_waits_for_another_ends_at_once_when_it_is_told_to(table, tmp_path):
    """The other one hangs (is stopped): neither the exchange that is under way nor the group's end may wait for it."""
    table["federation"]["rounds"] = 100_000
    (config,) = configuration.read(path := write(tmp_path, table))
    launch = Launch(2, ["-m", "rolora", "run", path, "--out", tmp_path / "runs"])
    first, second = launch.processes
    try:
        wait_for((tmp_path / "runs" / config.run_name() / loop.CHECKPOINT).exists, first)
        second.send_signal(signal.SIGSTOP)
        time.sleep(1)
        first.send_signal(signal.SIGTERM)
        _, said = first.communicate(timeout=60)
    finally:
        for process in launch.processes:
            process.kill()
        second.communicate()
    assert first.returncode == 143
    assert said == "error: interrupted; the same command with --resume goes on\n"


def test_what_cannot_be_spread_is_refused(table, tmp_path, monkeypatch):
    monkeypatch.setattr(process_group, "count", lambda: 2)
    with pytest.raises(InputError, match="2 processes") as refusal:
        loop.run(changed(table, federation__client_state="shared"), tmp_path)
    assert (refusal.value.key, refusal.value.got) == ("federation.client_state", "shared")
    with pytest.raises(InputError, match="2 processes") as refusal:
        process_group.take_gpu("cuda:0")
    assert (refusal.value.key, refusal.value.got) == ("runtime.device", "cuda:0")
    for jobs, together, key, got in ((2, False, "--jobs", 2), (1, True, "--together", True)):
        with pytest.raises(InputError, match="2 processes") as refusal:
            run_all([changed(table)], tmp_path, False, jobs, Console(), together)
        assert (refusal.value.key, refusal.value.got) == (key, got)


def test_two_processes_go_on_with_the_run_of_one_and_only_one_writes_and_prints(table, tmp_path):
    """The state and its bits do not know how many processes there are; the record does, beside the config."""
    table["federation"]["rounds"] = 6
    table["evaluation"] |= {"every": 1, "select": "validation"}
    (config,) = configuration.read(path := write(tmp_path, table))
    whole = loop.run(config, tmp_path / "whole")
    folder = tmp_path / "runs" / config.run_name()
    with pytest.raises(Stop):
        loop.run(config, folder, progress=stop_after(7))
    launch = Launch(2, ["-m", "rolora", "run", path, "--out", tmp_path / "runs", "--resume"])
    statuses, said = launch.end()
    assert statuses == [0, 0], said
    record = json.loads((folder / "record.json").read_text())
    assert adapter(folder) == adapter(tmp_path / "whole")
    assert measured(record) == measured(whole)
    for name in ("final", "initial_evaluation", "selected_round", "selection"):
        assert record[name] == whole[name]
    assert (record["environment"]["processes"], whole["environment"]["processes"]) == (2, 1)
    assert (record["config"], record["config_hash"]) == (whole["config"], whole["config_hash"])
    assert sorted(path.name for path in folder.iterdir()) == ["adapter", "record.json"]
    assert f"{config.run_name()}: finished" in launch.printed[0]
    assert launch.printed[1] == ""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
