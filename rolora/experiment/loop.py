"""Algorithm 1 on a language model: sample, broadcast, local update, accept, aggregate. All else observes finished rounds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rolora import records
from rolora.config import Config
from rolora.errors import InputError
from rolora.evaluation import selection
from rolora.experiment import record as run_record
from rolora.experiment.checkpoint import CHECKPOINT, load_checkpoint, load_selected, save_checkpoint
from rolora.experiment.measure import measure
from rolora.experiment.progress import Event, Reporter
from rolora.experiment.setup import Setup, SetupCache, keep_hidden_states, prepare
from rolora.federation import (
    Accepted,
    ClientUpdate,
    OpenRound,
    ServerState,
    UpdateError,
    close_round,
    cost,
    open_round,
)
from rolora.federation.communication import Ledger
from rolora.federation.sampling import sample_clients
from rolora.federation.validation import Acceptance, accept
from rolora.privacy import accounting, client_level, example_level
from rolora.training import process_group
from rolora.training.engines import ENGINES, Engine
from rolora.training.engines.distributed import DistributedEngine, fingerprint
from rolora.training.examples import Examples


def run(
    config: Config,
    directory: Path,
    *,
    resume: bool = False,
    progress: Callable[[Event], None] | None = None,
    watch: Callable[[dict[str, Any]], None] | None = None,
    setups: SetupCache | None = None,
) -> dict[str, Any]:
    """Run an experiment by Algorithm 1 of arXiv 2502.01755v4, or return the record if it has been run already.

    Args:
        config: what to run.
        directory: of this run; gets ``record.json`` and ``adapter/`` (PEFT's own layout), and a checkpoint meanwhile.
        resume: continue from the checkpoint; the result has the bits of an uninterrupted run.
        progress: called after every local update.
        watch: called with every round's entry of the record, those of before a resumption included.
        setups: the process's last setup, used again where it fits, and replaced by this run's.

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
    setup = None if setups is None else setups.get
    experiment = Experiment(config, directory, resume=resume, progress=progress, watch=watch, setup=setup)
    while not experiment.over:
        started = time.perf_counter()
        opened = experiment.open_round()  # sample clients and broadcast to them
        updates = experiment.engine.local_updates(opened.t, opened.broadcasts, opened.trainable)
        experiment.close_round(opened, updates, started)  # accept and aggregate; then the observers
    return experiment.finish()


class Experiment:
    """A run in progress: a round is opened here, trained by an engine, and closed here."""

    def __init__(
        self,
        config: Config,
        directory: Path,
        *,
        resume: bool = False,
        progress: Callable[[Event], None] | None = None,
        watch: Callable[[dict[str, Any]], None] | None = None,
        setup: Callable[[Config], Setup] | None = None,
    ) -> None:
        """As :func:`run`; ``setup`` gives all that exists before round 0, instead of :func:`prepare`."""
        self.config, self.directory, self.checkpoint = config, directory, directory / CHECKPOINT
        check(config, self.checkpoint, resume)
        process_group.take_gpu(config.runtime.device)
        self.setup = (setup or prepare)(config)
        self.server = self.setup.first
        self.guarantee = accounting.guarantee(config, [len(indices) for indices in self.setup.clients])
        keep_hidden_states(self.setup, directory)
        self.algorithm = config.build_algorithm()
        self.ranks = {client: config.rank_of(client) for client in range(len(self.setup.clients))}
        self.ledger = Ledger()
        self.history: list[dict[str, Any]] = []
        self.selected: ServerState | None = None  # of the best round so far, where rounds are selected
        self.rules = acceptance_of(config)
        self.failed: list[dict[str, Any]] = []  # attempts at the next round
        self.runs_together = 1
        if self.checkpoint.exists():
            self.server, self.ledger, self.history, self.initial = load_checkpoint(self.checkpoint, config)
            if self.selects and selection.best_round(self.history) is not None:
                self.selected = load_selected(self.checkpoint, config) or self.server
        else:
            self.initial = self.measured(self.setup.held_out)
        state = [config.hash(), len(self.history), fingerprint(self.server).tolist()]
        process_group.agree(f"{directory}: config, rounds done and server's state", json.dumps(state).encode())
        if process_group.is_first():
            records.remove_leftovers(directory)
        per_round = config.federation.clients_per_round or config.federation.num_clients
        per_round = 1 if self.algorithm.pooled else per_round
        self.reporter = Reporter(progress, config.federation.rounds, per_round, len(self.history), self.initial)
        self.watch = watch if watch is not None and process_group.is_first() else lambda entry: None
        for entry in self.history:
            self.watch(entry)
        self.engine = self._engine()

    def _engine(self) -> Engine:
        setup, report = self.setup, self.reporter.local_update_done
        engine = ENGINES[self.config.runtime.engine](
            setup.model,
            setup.train,
            setup.clients,
            self.config,
            setup.key,
            after_client=report,
            prefix=setup.prefix,
            train=example_level.local_training(self.config, self.guarantee, setup.model),
        )
        if process_group.count() == 1:
            return engine
        return DistributedEngine(engine, self.algorithm, setup.device, report)

    @property
    def selects(self) -> bool:
        """True if the best round's state is the result, instead of the last round's."""
        return self.config.evaluation.select != "last"

    @property
    def over(self) -> bool:
        """True if all rounds are done."""
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
        """Accept what can be aggregated, aggregate it, and let the observers have the round.

        Args:
            opened: what :meth:`open_round` gave.
            updates: the received updates of its clients.
            started: ``time.perf_counter()`` when the round began.
            more: further fields of the round's entry in the record.
            missing: client -> why no update of it was received, where that is known.

        Returns:
            Whether the round is done; if not, :meth:`open_round` opens it once more.

        Raises:
            UpdateError: it is not, and has been tried as often as the config allows; the checkpoint is that of the round before.
        """
        accepted = accept(opened, updates, self.algorithm, self.rules, missing)
        self.reporter.refused([refusal.reason for refusal in accepted.refused])
        try:
            if (shortage := self.rules.shortage(opened, accepted)) is not None:
                raise UpdateError(shortage)
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
        entry = run_record.with_attempts(run_record.entry(report), self.failed, time.perf_counter() - started)
        self.failed = []
        self.history.append(entry | {"evaluation": None} | dict(more or {}))
        for observe in OBSERVERS:
            observe(self, self.history[-1])
        return True

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

    def measured(self, examples: Examples, server: ServerState | None = None) -> dict[str, float | int]:
        """Return a state's metrics, measured by the first process alone; of the current state if ``server`` is None."""
        first = process_group.is_first()
        return process_group.table_from_first(measure(self.setup, server or self.server, examples) if first else None)

    def _final(self) -> dict[str, float | int]:
        """Return the run's final metrics: those of the last round, or of the selected round on test text."""
        if self.config.evaluation.select == "test":  # measured when it was selected, as every other round
            return self.history[selection.best_round(self.history)][selection.TEST_EVALUATION]
        return self.measured(self.setup.test, self.selected) if self.selects else self.history[-1]["evaluation"]

    def finish(self) -> dict[str, Any]:
        """Write adapter and record, remove the checkpoint, and return the record."""
        record = run_record.describe(self.setup, self.history, self.initial, self._final())
        record["environment"] |= self.engine.describe()
        if self.guarantee is not None:
            record["privacy"] = self.guarantee.describe()
        if self.runs_together > 1:
            record["environment"]["runs_together"] = self.runs_together
        if process_group.is_first():
            run_record.write(record, self.directory, self.setup.model, self.selected or self.server)
            self.checkpoint.unlink(missing_ok=True)
        return record


def evaluate_round(experiment: Experiment, entry: dict[str, Any]) -> None:
    """Measure the new state every ``evaluation.every`` rounds and after the last one."""
    evaluation, done = experiment.config.evaluation, entry["round"] + 1
    if done % evaluation.every and not experiment.over:
        return
    entry["evaluation"] = experiment.measured(experiment.setup.held_out)
    if evaluation.select == "test":
        entry[selection.TEST_EVALUATION] = experiment.measured(experiment.setup.test)


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


def select_round(experiment: Experiment, entry: dict[str, Any]) -> None:
    """Keep the state of the best round so far, where rounds are selected."""
    if experiment.selects and entry["evaluation"] and selection.best_round(experiment.history) == entry["round"]:
        experiment.selected = experiment.server


def save_round(experiment: Experiment, entry: dict[str, Any]) -> None:
    """Replace the checkpoint by that of this round."""
    if process_group.is_first():
        save_checkpoint(
            experiment.checkpoint, experiment.config, experiment.server, experiment.ledger, experiment.history,
            experiment.initial, experiment.selected,
        )  # fmt: skip


def report_round(experiment: Experiment, entry: dict[str, Any]) -> None:
    """Tell the progress bar and whoever watches the run."""
    experiment.reporter.round_done(entry["loss"], entry["evaluation"])
    experiment.watch(entry)


OBSERVERS: tuple[Callable[[Experiment, dict[str, Any]], None], ...] = (
    evaluate_round, select_round, save_round, report_round,
)  # fmt: skip
"""Called with the run and the round's entry of its record, in this order: an entry is complete when it is saved."""


def check(config: Config, checkpoint: Path, resume: bool) -> None:
    """Refuse a run that cannot be begun, before anything is loaded.

    Raises:
        InputError: there is a checkpoint and ``resume`` is False, or the config does not fit the number of processes.
    """
    if checkpoint.exists() and not resume:
        raise InputError(
            f"{checkpoint.parent}: holds an unfinished run; add --resume to continue it, or remove the folder"
        )
    if process_group.count() > 1 and config.federation.client_state != "isolated":
        raise InputError(
            key="federation.client_state", got=config.federation.client_state,
            expected=f"'isolated' with {process_group.count()} processes: a chain of clients cannot be divided",
        )  # fmt: skip
    if process_group.count() > 1 and config.privacy.mode == "client" and config.privacy.noise == "secret":
        raise InputError(
            key="privacy.noise", got="secret",
            expected=f"'reproducible' with {process_group.count()} processes: each aggregates, and all have to draw the same",
        )  # fmt: skip
    accounting.check(config)
