"""Logging of runs to experiment trackers through accelerate. It changes no bit of a run.

Nothing leaves this machine unless the tracker's own settings ask for it: TensorBoard writes into the run's folder, MLflow to
``MLFLOW_TRACKING_URI`` or its local default, Weights & Biases is offline unless ``WANDB_MODE`` is set. A tracker class of
one's own is found by its name once ``accelerate.tracking.register_tracker_class`` knows it.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rolora.config import Config, flatten
from rolora.errors import InputError
from rolora.evaluation.selection import TEST_EVALUATION

PROJECT = "rolora"
"""The project or experiment that runs belong to, where a tracker has such and the user has not named one."""


def check(names: Sequence[str]) -> None:
    """Refuse trackers that are not known or not installed, before anything is run.

    Raises:
        InputError: a tracker is unknown, or its package is missing.
    """
    if not names:
        return
    from accelerate import tracking
    from accelerate.utils import LoggerType

    available = {str(name) for name in tracking.get_available_trackers()}
    for name in names:
        if name not in tracking.LOGGER_TYPE_TO_CLASS:
            known = ", ".join(sorted(tracking.LOGGER_TYPE_TO_CLASS))
            raise InputError(key="--track", got=name, expected=f"one of {known}")
        if name in LoggerType.list() and name not in available:
            raise InputError(key="--track", got=name, expected=f"an installed package: pip install {name}")


class Trackers:
    """The trackers of one run. They start with its first round, so that a run that is only read leaves nothing there."""

    def __init__(self, names: Sequence[str], config: Config, directory: Path) -> None:
        """``names`` are accelerate's; the config goes to the trackers as hyper-parameters."""
        self.names, self.config, self.directory = tuple(names), config, directory
        self.started: list[Any] | None = None

    def round_done(self, entry: dict[str, Any]) -> None:
        """Log a round's entry of the record; the step is the number of completed rounds."""
        evaluation = self.config.evaluation
        values = {"train/loss": entry["loss"], "seconds": entry["seconds"]}
        values["bytes/up"] = sum(entry["bytes_up"].values())
        values["bytes/down"] = sum(entry["bytes_down"].values()) + sum(entry["bytes_joining"].values())
        split = evaluation.split if evaluation.select == "last" else "validation"
        for where, metrics in ((split, entry["evaluation"]), ("test", entry.get(TEST_EVALUATION))):
            values |= {f"{where}/{name}": value for name, value in (metrics or {}).items() if name != "examples"}
        self._log(values, entry["round"] + 1)

    def finish(self, record: dict[str, Any] | None = None) -> None:
        """Log the final metrics, if the run is finished, and close the trackers."""
        if self.started is None:
            return
        if record is not None:
            final = {f"final/{name}": value for name, value in record["final"].items() if name != "examples"}
            self._log(final, len(record["rounds"]))
        started, self.started = self.started, None
        for tracker in started:
            tracker.finish()

    def _log(self, values: dict[str, Any], step: int) -> None:
        if self.started is None:
            self.started = [_start(name, self.config, self.directory) for name in self.names]
        for tracker in self.started:
            tracker.log(values, step=step)


def log_finished(names: Sequence[str], config: Config, directory: Path, record: dict[str, Any]) -> None:
    """Log all of a finished run: for runs in lockstep, as most trackers know one run of a process at a time."""
    trackers = Trackers(names, config, directory)
    for entry in record["rounds"]:
        trackers.round_done(entry)
    trackers.finish(record)


def _start(name: str, config: Config, directory: Path) -> Any:
    import torch
    from accelerate import PartialState, tracking

    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        # accelerate takes the number of threads into its own hands where there are several processes; it is the config's.
        warnings.simplefilter("ignore")
        PartialState(cpu=True)
    torch.set_num_threads(threads)
    kind = tracking.LOGGER_TYPE_TO_CLASS[name]
    here = type(kind.__name__, (kind,), {"main_process_only": False})  # only the first process comes here
    tracker = here(**_arguments(name, kind, config, directory))
    tracker.start()
    tracker.store_init_configuration(_hyperparameters(config))
    return tracker


def _arguments(name: str, kind: type, config: Config, directory: Path) -> dict[str, Any]:
    """Return the tracker's name for the run, and the place of its files."""
    if name == "tensorboard":  # what an interrupted run has written is hidden by what is logged again
        return {"run_name": name, "logging_dir": str(directory), "purge_step": 0}
    if name == "mlflow":
        return {"experiment_name": PROJECT, "run_name": config.run_name()}
    if name == "wandb":
        directory.mkdir(parents=True, exist_ok=True)
        project, mode = os.environ.get("WANDB_PROJECT", PROJECT), os.environ.get("WANDB_MODE", "offline")
        return {"run_name": project, "name": config.run_name(), "dir": str(directory), "mode": mode}
    return {"run_name": config.run_name()} | (
        {"logging_dir": str(directory)} if kind.requires_logging_directory else {}
    )


def _hyperparameters(config: Config) -> dict[str, bool | int | float | str]:
    """The config as trackers take it: dotted key -> number or text; what is not set is left out."""
    values = flatten(config.resolved())
    return {
        key: json.dumps(value) if isinstance(value, list) else value
        for key, value in values.items()
        if value is not None
    }
