"""Metrics of a server's state: of its one model, or of its clients' own models."""

from __future__ import annotations

import numpy as np

from rolora.evaluation.evaluate import evaluate, pooled
from rolora.experiment.setup import Setup
from rolora.federation import ServerState, start_of
from rolora.models import peft_boundary
from rolora.training.local_update import Examples


def measure(setup: Setup, server: ServerState, examples: Examples | None = None) -> dict[str, float | int]:
    """Return the metrics of the server's model on ``examples``, the held-out ones by default.

    With personal factors the held-out examples are dealt to the clients at random, every example to one client: the mean
    over examples estimates the mean accuracy of the clients' models at the price of one evaluation.
    """
    algorithm, batch_size = setup.config.build_algorithm(), setup.config.evaluation.batch_size
    examples = setup.held_out if examples is None else examples
    if not algorithm.personal:
        peft_boundary.write(setup.model, server)
        return evaluate(setup.model, examples, batch_size, setup.device, prefix=setup.prefix).as_dict()
    order = setup.key.fold("evaluation", "clients").generator().permutation(len(examples))
    parts = []
    for client, part in enumerate(np.array_split(order, len(setup.clients))):
        peft_boundary.write(setup.model, start_of(0, server, algorithm, client))
        parts.append(evaluate(setup.model, examples, batch_size, setup.device, np.sort(part), setup.prefix))
    return pooled(parts).as_dict()
