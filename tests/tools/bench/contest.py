"""Contestants in processes of their own, asked for one pass after another in turns: A B C, A B C, ..."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import set_peft_model_state_dict
from safetensors.torch import load_file

from rolora.config import Config
from rolora.evaluation.evaluate import evaluate
from rolora.experiment.setup import Setup
from tests.tools.bench import engines
from tests.tools.bench.common import ROOT, NotMeasured, environment
from tests.tools.bench.given import State

FLOWER = "1.41.0"
INSTALL = (
    f'Flower is not installed: python3 -m venv .flower && .flower/bin/pip install "flwr[simulation]=={FLOWER}" torch=={{torch}} '
    "transformers=={transformers} peft=={peft}, then --flower-python .flower/bin/python (its own environment: it holds back "
    "packages that are locked here)"
)


class Contestant:
    """A child process that has loaded its job and waits."""

    def __init__(self, name: str, folder: Path, python: str, runtime: Mapping[str, Any]) -> None:
        """
        Args:
            name: of the contestant.
            folder: of the job.
            python: the interpreter.
            runtime: options of ``[runtime]`` for an engine of this project.

        Raises:
            NotMeasured: if it cannot load or warm up.
        """
        self.name = name
        self.log = (folder / f"{name}.log").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [python, "-m", "tests.tools.bench.child", name, str(folder), json.dumps(dict(runtime))],
            cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
        )  # fmt: skip
        self._answer()

    def run(self) -> dict[str, Any]:
        """One pass: its seconds, and the file of its final adapter.

        Raises:
            NotMeasured: if it failed.
        """
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        found = json.loads(line) if line else {"error": self._last_words()}
        if "error" in found:
            self.close()
            raise NotMeasured(found["error"].removeprefix("InputError: "))
        return found

    def _last_words(self) -> str:
        self.process.wait()
        self.log.seek(0)
        lines = self.log.read().strip().splitlines()
        return f"ended with status {self.process.returncode}" + (f": {lines[-1][:200]}" if lines else "")

    def close(self) -> None:
        """End the process: without another line to read it leaves by itself."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


def contest(
    config: Config,
    names: Sequence[str],
    repeats: int,
    flower_python: str,
    runtime: Mapping[str, Any],
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """One job by every contestant, ``repeats`` times in turns.

    Args:
        config: the job.
        names: the contestants; "plain" is what the others are compared with.
        repeats: passes of each.
        flower_python: the interpreter that has Flower.
        runtime: options of ``[runtime]`` for all engines of this project.
        tell: told what happens.

    Returns:
        ``contestants``: name -> ``seconds`` of every pass, ``speed`` (as many times as fast as the plain loop: of the
        medians, and the least and largest of the repeats), ``difference``, ``accuracy``; or ``not_measured`` with the reason.
    """
    setup = engines.exact(config)
    given = engines.give(setup)
    record: dict[str, Any] = {"config": config.resolved(), "client_steps": given.client_steps}
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        folder = Path(temporary)
        given.save(folder)
        passes, reasons = _passes(folder, names, repeats, flower_python, runtime, tell)
        finals = {name: load_file(folder / found[-1]["final"]) for name, found in passes.items()}
        record["contestants"] = {
            name: {"not_measured": reasons[name]}
            if name in reasons
            else _entry(passes[name], passes.get("plain"))
            | _outcome(setup, given.start, finals[name], finals.get("plain"))
            for name in names
        }
    return record


def _passes(
    folder: Path,
    names: Sequence[str],
    repeats: int,
    flower_python: str,
    runtime: Mapping[str, Any],
    tell: Callable[[str], None],
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """Name -> what each pass answered, and name -> why it was not measured."""
    running: dict[str, Contestant] = {}
    passes: dict[str, list[dict[str, Any]]] = {}
    reasons: dict[str, str] = {}
    try:
        for name in names:
            if name == "flower" and not has_flower(flower_python):
                reasons[name] = installation()
                continue
            tell(f"{name}: loads")
            try:
                running[name] = Contestant(name, folder, flower_python if name == "flower" else sys.executable, runtime)
            except NotMeasured as error:
                reasons[name] = str(error)
        for number in range(repeats):
            for name in list(running):
                try:
                    passes.setdefault(name, []).append(running[name].run())
                    tell(f"{name}: pass {number + 1}, {passes[name][-1]['seconds']:.2f} s")
                except NotMeasured as error:
                    reasons[name] = str(error)
                    del running[name], passes[name]
    finally:
        for one in running.values():
            one.close()
    return passes, reasons


def has_flower(python: str) -> bool:
    """Whether an interpreter has Flower and ray."""
    code = "import importlib.util as u; raise SystemExit(not (u.find_spec('flwr') and u.find_spec('ray')))"
    try:
        return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def installation() -> str:
    """One line on how to get Flower beside the versions that are measured here."""
    from importlib import metadata

    versions = {name: metadata.version(name).partition("+")[0] for name in ("torch", "transformers", "peft")}
    return INSTALL.format(**versions)


def _entry(found: list[dict[str, Any]], plain: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Times and ratios of one contestant."""
    seconds = [one["seconds"] for one in found]
    entry: dict[str, Any] = {"seconds": seconds, **spread(seconds)}
    more = {key: value for key, value in found[-1].items() if key not in ("seconds", "final", "seconds_with_start")}
    if "seconds_with_start" in found[-1]:
        whole = [one["seconds_with_start"] for one in found]
        more["with_start"] = {"seconds": whole, **spread(whole)}
    if plain is not None:
        base = [one["seconds"] for one in plain]
        ratios = [one / own for one, own in zip(base, seconds, strict=True)]
        entry["speed"] = {
            "of_medians": statistics.median(base) / entry["median"], "least": min(ratios), "largest": max(ratios)
        }  # fmt: skip
    return entry | more


def spread(values: Sequence[float]) -> dict[str, float]:
    """Least, median and largest.

    Example:
        >>> spread([3.0, 1.0, 2.0])
        {'min': 1.0, 'median': 2.0, 'max': 3.0}
    """
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def _outcome(setup: Setup, start: State, final: State, plain: State | None) -> dict[str, Any]:
    """What shows that a contestant did the job: how far it is from the plain loop's result, and its accuracy."""
    set_peft_model_state_dict(setup.model, final)
    found = evaluate(setup.model, setup.held_out, setup.config.evaluation.batch_size, setup.device)
    outcome: dict[str, Any] = {"accuracy": found.metrics["accuracy"], "loss": found.loss}
    if plain is not None:
        outcome |= differences(final, plain, start)
    return outcome


def differences(final: State, plain: State, start: State) -> dict[str, float]:
    """How far a result is from the plain loop's, in the Frobenius norm over adapter and head.

    Returns:
        ``difference`` relative to the plain loop's result, and ``difference_of_movement`` relative to how far the plain loop
        came from the start.
    """
    apart = _norm({name: final[name].double() - plain[name].double() for name in plain})
    moved = _norm({name: plain[name].double() - start[name].double() for name in plain})
    return {"difference": apart / _norm(plain), "difference_of_movement": apart / moved}


def _norm(state: State) -> float:
    return float(torch.stack([tensor.double().square().sum() for tensor in state.values()]).sum().sqrt())
