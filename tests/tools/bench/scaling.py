"""Time of a client's step and peak memory against the number of clients, each in a process of its own."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from tests.tools.bench.common import in_a_process

STATUS, FORGET_PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measure(table: dict[str, Any]) -> dict[str, Any]:
    """One round of a config's engine in a new process.

    Returns:
        ``client_step_seconds``, and in megabytes ``memory_before`` (model, data and libraries loaded) and ``memory_peak``.

    Raises:
        NotMeasured: if this version has no such engine or option.
    """
    return in_a_process("tests.tools.bench.scaling", json.dumps(table))


def main() -> None:
    """Measure the config in the argument and print what was found."""
    from rolora import config as configuration
    from rolora.cli.errors import one_line_errors
    from rolora.models import peft_boundary
    from tests.tools.bench import engines

    with one_line_errors(debug=False):
        config = configuration.check(json.loads(sys.argv[1]), "bench")
        setup = engines.exact(config)
        engine, server = engines.engine_of(setup), peft_boundary.read(setup.model, head=True)
        engine.local_updates(0, {0: server}, config.build_algorithm().trainable(0))  # warms up
        before = _forget_peak()
        started = time.perf_counter()
        engines.federated(engine, config, setup.key, server)
        seconds = time.perf_counter() - started
        steps = config.federation.rounds * config.federation.num_clients * config.training.local_steps
        found = {"client_step_seconds": seconds / steps, "memory_before": before, "memory_peak": _peak()}
        print(json.dumps(found))


def _forget_peak() -> float | None:
    """Begin the count of peak memory anew, so that loading the model is not in it; returns what is resident now, in MB."""
    if not FORGET_PEAK.exists():
        return None
    FORGET_PEAK.write_text("5", encoding="utf-8")
    return _status("VmRSS")


def _peak() -> float:
    """The largest resident memory since then, in MB; since the process began where the system cannot count anew."""
    if FORGET_PEAK.exists():
        return _status("VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _status(field: str) -> float:
    (line,) = [line for line in STATUS.read_text(encoding="utf-8").splitlines() if line.startswith(field)]
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
