"""One experiment from config to record: Algorithm 1 on a language model, with evaluation, bytes and checkpoints."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rolora import records
from rolora.adapter import FACTORS
from rolora.config import Config
from rolora.errors import InputError
from rolora.evaluation import selection
from rolora.evaluation.evaluate import evaluate, pooled
from rolora.experiment import model_card
from rolora.experiment.checkpoint import (
    CHECKPOINT,
    load_checkpoint,
    load_selected,
    save_beside_adapter,
    save_checkpoint,
)
from rolora.experiment.progress import Event, Reporter
from rolora.experiment.setup import Setup, keep_hidden_states, prepare
from rolora.experiment.standing import Standing
from rolora.federation import (
    Accepted,
    ClientUpdate,
    OpenRound,
    RoundReport,
    ServerState,
    UpdateError,
    close_round,
    cost,
    open_round,
    start_of,
)
from rolora.federation.communication import Ledger, total
from rolora.federation.sampling import sample_clients
from rolora.federation.validation import Acceptance, accept
from rolora.models import peft_boundary
from rolora.privacy import accounting, client_level, example_level
from rolora.training import process_group
from rolora.training.engines import ENGINES, Engine
from rolora.training.engines.distributed import DistributedEngine, fingerprint
from rolora.training.examples import Examples

Watch = Callable[[dict[str, Any]], None]
"""Takes a round's entry of the record when it is written."""


def run(
    config: Config,
    directory: Path,
    *,
    resume: bool = False,
    progress: Callable[[Event], None] | None = None,
    watch: Watch | None = None,
    standing: Standing | None = None,
) -> dict[str, Any]:
    """Run an experiment, or return the record of the same experiment if it has been run already.

    Args:
        config: what to run.
        directory: of this run; gets ``record.json`` and ``adapter/`` (PEFT's own layout), and a checkpoint meanwhile.
        resume: go on from the checkpoint; the result has the bits of an uninterrupted run.
        progress: told after every local update.
        watch: told every round's entry of the record, those of before a resumption included.
        standing: what an earlier run of this process left, used where it fits; this run is left there for the next.

    Returns:
        The record.

    Raises:
        InputError: the config cannot be met, or there is an unfinished run and ``resume`` is False.
    """
    done = records.finished(directory, config.hash())
    process_group.agree(f"{directory}: a finished run", repr(done is not None).encode())
    if done is not None:
        if process_group.is_first():
            (directory / CHECKPOINT).unlink(missing_ok=True)  # where the run was stopped just before that
        return done
    beside = standing.fits(config) if standing else None
    experiment = Experiment(config, directory, resume=resume, progress=progress, beside=beside)
    if standing:
        standing.keep(experiment)
    watching = watch if process_group.is_first() else None
    for done_before in experiment.history if watching else ():
        watching(done_before)
    while not experiment.over:
        started = time.perf_counter()
        opened = experiment.open_round()
        updates = experiment.engine.local_updates(opened.t, opened.broadcasts, opened.trainable)
        closed = experiment.close_round(opened, updates, started)
        if watching and closed:
            watching(experiment.history[-1])
    return experiment.finish()


class Experiment:
    """A run in progress, round by round: opened here, trained by an engine, closed here."""

    def __init__(
        self,
        config: Config,
        directory: Path,
        *,
        resume: bool = False,
        progress: Callable[[Event], None] | None = None,
        beside: Experiment | None = None,
    ) -> None:
        """
        Args:
            config: what to run.
            directory: of this run.
            resume: go on from the checkpoint, if there is one.
            progress: told after every local update.
            beside: a run of the same set (``rolora.experiment.lockstep``), whose model, texts and hidden states are used.

        Raises:
            InputError: the config cannot be met, or there is an unfinished run and ``resume`` is False.
        """
        self.config, self.directory, self.checkpoint = config, directory, directory / CHECKPOINT
        if self.checkpoint.exists() and not resume:
            raise InputError(
                f"{directory}: holds an unfinished run; add --resume to go on with it, or remove the folder"
            )
        if process_group.count() > 1 and config.federation.client_state != "isolated":
            raise InputError(
                f'federation.client_state: got "{config.federation.client_state}" with {process_group.count()} processes, expected '
                '"isolated": a chain of clients cannot be divided'
            )
        if process_group.count() > 1 and config.privacy.mode == "client" and config.privacy.noise == "secret":
            raise InputError(
                f'privacy.noise: got "secret" with {process_group.count()} processes, expected "reproducible", or one process: '
                "each of them aggregates, and all have to draw the same"
            )
        accounting.check(config)
        process_group.take_gpu(config.runtime.device)
        self.setup = prepare(config, beside=beside.setup if beside else None)
        self.guarantee = accounting.guarantee(config, [len(indices) for indices in self.setup.clients])
        self.server = peft_boundary.read(self.setup.model, head=config.model.head == "trained")
        if beside is not None:
            for part in ("model", "backbone", "train", "held_out", "test", "prefix", "prefix_record"):
                setattr(self.setup, part, getattr(beside.setup, part))
        keep_hidden_states(self.setup, directory)
        self.algorithm = config.build_algorithm()
        self.ranks = {client: config.rank_of(client) for client in range(len(self.setup.clients))}
        self.ledger = Ledger()
        self.history: list[dict[str, Any]] = []
        self.selected: ServerState | None = None  # of the best round so far, where rounds are selected
        self.runs_together = 1
        self.rules = acceptance_of(config)
        self.failed: list[dict[str, Any]] = []  # attempts at the next round
        if self.checkpoint.exists():
            self.server, self.ledger, self.history, self.initial = load_checkpoint(self.checkpoint, config)
            if self._selects and selection.best_round(self.history) is not None:
                self.selected = load_selected(self.checkpoint, config) or self.server
        else:
            self.initial = self._measured(self.setup.held_out)
        state = [config.hash(), len(self.history), fingerprint(self.server).tolist()]
        process_group.agree(f"{directory}: config, rounds done and server's state", json.dumps(state).encode())
        if process_group.is_first():
            records.remove_leftovers(directory)
        pooled_data = self.algorithm.pooled
        per_round = 1 if pooled_data else config.federation.clients_per_round or config.federation.num_clients
        self.reporter = Reporter(progress, config.federation.rounds, per_round, len(self.history), self.initial)
        self.engine: Engine = ENGINES[config.runtime.engine](
            self.setup.model,
            self.setup.train,
            self.setup.clients,
            config,
            self.setup.key,
            after_client=self.reporter.local_update_done,
            prefix=self.setup.prefix,
            train=example_level.local_training(config, self.guarantee, self.setup.model),
        )
        if process_group.count() > 1:
            told = self.reporter.local_update_done
            self.engine = DistributedEngine(self.engine, self.algorithm, self.setup.device, told)

    @property
    def _selects(self) -> bool:
        return self.config.evaluation.select != "last"

    @property
    def over(self) -> bool:
        """Whether all rounds are done."""
        return len(self.history) >= self.config.federation.rounds

    def open_round(self) -> OpenRound:
        """Sample the next round's clients and broadcast to them; a round that is repeated has a sample of its own."""
        t = len(self.history)
        key = self.setup.key.fold("attempt", len(self.failed)) if self.failed else self.setup.key
        clients = sample_clients(key, t, len(self.setup.clients), self.config.federation.clients_per_round)
        return open_round(t, self.server, self.algorithm, clients, self.ledger, self.ranks)

    def close_round(
        self,
        opened: OpenRound,
        updates: Sequence[ClientUpdate],
        started: float,
        more: Mapping[str, Any] | None = None,
        missing: Mapping[int, str] | None = None,
    ) -> bool:
        """Check, aggregate, evaluate where it is due, and write the checkpoint.

        Args:
            opened: what :meth:`open_round` gave.
            updates: the received updates of its clients.
            started: ``time.perf_counter()`` when the round began.
            more: what else the round's entry in the record has to say.
            missing: client -> why no update of it was received, where that is known.

        Returns:
            Whether the round is done; if not, :meth:`open_round` opens it once more.

        Raises:
            UpdateError: it is not, and has been tried as often as the config allows; the checkpoint is that of the round before.
        """
        accepted = accept(opened, updates, self.algorithm, self.rules, missing)
        self.reporter.refused([refusal.reason for refusal in accepted.refused])
        try:
            self._enough(opened, accepted)
            self.server, self.ledger, report = close_round(
                opened,
                self.server,
                self.algorithm,
                accepted,
                self.ledger,
                self.setup.key.fold("model", "adapter"),
                self.config.evaluation.interference,
                self._protect if self.config.privacy.mode == "client" else None,
            )
        except UpdateError as error:
            self._failed(opened, accepted, str(error), time.perf_counter() - started)
            return False
        trained = time.perf_counter() - started
        t = opened.t + 1
        due = t % self.config.evaluation.every == 0 or t == self.config.federation.rounds
        evaluation = self._measured(self.setup.held_out) if due else None
        self.history.append(
            with_attempts(entry(report), self.failed, trained) | {"evaluation": evaluation} | dict(more or {})
        )
        self.failed = []
        if due and self.config.evaluation.select == "test":
            self.history[-1][selection.TEST_EVALUATION] = self._measured(self.setup.test)
        if due and self._selects and selection.best_round(self.history) == opened.t:
            self.selected = self.server
        if process_group.is_first():
            save_checkpoint(
                self.checkpoint, self.config, self.server, self.ledger, self.history, self.initial, self.selected
            )
        self.reporter.round_done(report.loss, evaluation)
        return True

    def _enough(self, opened: OpenRound, accepted: Accepted) -> None:
        shortage = self.rules.shortage(opened, accepted)
        if shortage is not None:
            raise UpdateError(shortage)

    def _failed(self, opened: OpenRound, accepted: Accepted, reason: str, seconds: float) -> None:
        """Account for an attempt that changes nothing but what its clients hold, and end the run if it was the last one."""
        refused = [asdict(refusal) for refusal in accepted.refused]
        attempt = {"clients": list(opened.clients), "reason": reason, "refused": refused}
        self.failed.append(attempt | cost(opened, accepted) | {"seconds": round(seconds, 4)})
        if len(self.failed) == self.rules.round_attempts:
            tried = f"; attempt {len(self.failed)} of {self.rules.round_attempts}" if len(self.failed) > 1 else ""
            raise UpdateError(f"{reason}{tried}")
        self.ledger = self.ledger.after_round(opened.t, accepted.reached(opened.clients), ())
        self.reporter.round_repeated(len(opened.clients))

    def _protect(self, opened: OpenRound, updates: Sequence[ClientUpdate]) -> Sequence[ClientUpdate]:
        """Clip the round's updates and add its noise; the streams' names leave the algorithm out, as all do."""
        key = self.setup.key.fold("privacy")
        return client_level.protect(
            opened,
            updates,
            self.config.privacy.clip,
            self.guarantee.noise_multiplier,
            lambda t, part, name: accounting.stream(self.config, key.fold(t, part, name)),
        )

    def _measured(self, examples: Examples, server: ServerState | None = None) -> dict[str, float | int]:
        """A state's model on held-out text, measured by the first process alone: its numbers are those of one."""
        first = process_group.is_first()
        return process_group.table_from_first(measure(self.setup, server or self.server, examples) if first else None)

    def _final(self) -> dict[str, float | int]:
        """The measurement that the run ends with: the last one, or of the selected round on test text."""
        if self.config.evaluation.select == "test":  # measured when it was selected, as every other round
            return self.history[selection.best_round(self.history)][selection.TEST_EVALUATION]
        return self._measured(self.setup.test, self.selected) if self._selects else self.history[-1]["evaluation"]

    def finish(self) -> dict[str, Any]:
        """Write adapter and record, and remove the checkpoint.

        The record comes last, when all that it stands for is on the disk: a run that is stopped before it goes on from the
        checkpoint and writes everything again, and one that is stopped after it is finished.
        """
        server = self.selected or self.server
        record = describe(self.setup, self.history, self.initial, self._final())
        record["environment"] |= self.engine.describe()
        if self.guarantee is not None:
            record["privacy"] = self.guarantee.describe()
        if self.runs_together > 1:
            record["environment"]["runs_together"] = self.runs_together
        if not process_group.is_first():
            return record
        model, folder = self.setup.model, self.directory / "adapter"
        records.remove_leftovers(folder)
        peft_boundary.write(model, server)
        with records.naming(folder):
            peft_boundary.save(model, folder)
            records.write_bytes(folder / model_card.FILE, model_card.of_adapter(record).encode())
            records.flush(folder)
        save_beside_adapter(self.directory, server)
        records.write_json(self.directory / "record.json", record)
        self.checkpoint.unlink(missing_ok=True)
        return record


def acceptance_of(config: Config) -> Acceptance:
    """Return the conditions on updates that a config sets."""
    federation = config.federation
    return Acceptance(
        minimum_clients=federation.minimum_clients,
        round_attempts=federation.round_attempts,
        norm_bound=federation.update_norm_bound,
        weight=1.0 if federation.client_weights == "uniform" else None,
        finite_loss=True,
    )


def entry(report: RoundReport) -> dict[str, Any]:
    """A round's report as a record keeps it: what JSON gives back is what was put in."""
    return json.loads(json.dumps(report.entry()))


def with_attempts(entry: dict[str, Any], failed: Sequence[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """A round's entry with what failed attempts at it have cost: their bytes and seconds are the round's too."""
    if not failed:
        return entry | {"seconds": round(seconds, 4)}
    ways = ("bytes_up", "bytes_down", "bytes_joining")
    sums = {way: total([entry[way], *(attempt[way] for attempt in failed)]) for way in ways}
    whole = seconds + sum(attempt["seconds"] for attempt in failed)
    return entry | sums | {"failed_attempts": list(failed), "seconds": round(whole, 4)}


def measure(setup: Setup, server: ServerState, examples: Examples | None = None) -> dict[str, float | int]:
    """The server's model on the held-out text, or on other ``examples``; clients' own models each on a part of them.

    With personal factors the held-out examples are dealt to the clients at random, every example to one client: the mean
    over examples estimates the mean accuracy of the clients' models at the price of one evaluation.
    """
    algorithm, batch_size = setup.config.build_algorithm(), setup.config.evaluation.batch_size
    examples = setup.held_out if examples is None else examples
    if not algorithm.personal:
        peft_boundary.write(setup.model, server)
        return evaluate(setup.model, examples, batch_size, setup.device, prefix=setup.prefix).as_dict()
    order = setup.key.fold("evaluation", "clients").generator().permutation(len(examples))
    found = []
    for client, part in enumerate(np.array_split(order, len(setup.clients))):
        peft_boundary.write(setup.model, start_of(0, server, algorithm, client))
        found.append(evaluate(setup.model, examples, batch_size, setup.device, np.sort(part), setup.prefix))
    return pooled(found).as_dict()


def describe(
    setup: Setup, history: Sequence[dict[str, Any]], initial: dict[str, Any], final: dict[str, Any]
) -> dict[str, Any]:
    """The record of a finished run."""
    config = setup.config
    trainable = {
        factor: sum(layer[factor].numel() for layer in peft_boundary.factor_parameters(setup.model).values())
        for factor in FACTORS
    }
    head = sum(parameter.numel() for parameter in peft_boundary.head_parameters(setup.model).values())
    kept = {} if setup.prefix_record is None else {"prefix_cache": setup.prefix_record}
    return {
        "format": records.FORMAT,
        "name": config.run_name(),
        "status": "finished",
        "config": config.resolved(),
        "config_hash": config.hash(),
        "seed": config.seed,
        "command": command(config),
        "code": records.code(),
        "environment": records.environment() | setup.precision | {"processes": process_group.count()},
        "model": {
            "name": setup.backbone.name,
            "source": setup.backbone.source,
            "sha256": setup.backbone.sha256,
            "architecture": type(setup.backbone.model).__name__,
            "parameters": setup.backbone.parameters,
            "trainable": trainable | {"head": head if config.model.head == "trained" else 0},
            "adapted_layers": list(peft_boundary.factor_parameters(setup.model)),
        }
        | peft_boundary.found(config.lora, setup.model),
        "data": setup.data.describe() | setup.data.describe_clients(setup.shares),
        "initial_evaluation": initial,
        "rounds": list(history),
        "final": final,
        "seconds": round(sum(entry["seconds"] for entry in history), 3),
    } | (selection.describe(config.evaluation.select, history, final) | kept)


def command(config: Config) -> str:
    """A command line that runs this experiment again from its record alone."""
    return f"python -m rolora run {shlex.quote(config.run_name() + '/record.json')}"
