r"""RoLoRA and FFA-LoRA aggregate exactly, whatever the clients did locally.

**Statement.** In every round the server's new update is the weighted mean of the clients' updates,
:math:`A^{t+1} B^{t+1} = \sum_i p_i A_i B_i`.

**Assumptions.** All clients of a round start from one broadcast and train one factor; by construction of the methods. The
changes of that factor are arbitrary, the weights unequal.

**Direction.** Tight: an identity in every round.

**Source.** arXiv 2502.01755v4, Eqs. 3-4 (as quoted elsewhere).

**Derivation.** One factor is common to all clients of a round, so the product is linear in the other:
:math:`\sum_i p_i A^t B_i = A^t \bar B` and :math:`\sum_i p_i A_i B^t = \bar A B^t`. The aggregation is that of
``rolora.algorithms``, reached through ``rolora.federation.round.run_round``.

**Control.** FedAvg-LoRA, whose both factors differ between clients.
"""

from dataclasses import replace

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.federation import ClientUpdate, ServerState, run_round
from rolora.federation.communication import Ledger, Message
from rolora.keys import Key
from theory.verification.claim import EPS, Instances, Statement, equal_arrays

CLIENTS, ROUNDS, SHAPE = 7, 6, (11, 3, 8)  # N, consecutive rounds, (d, r, k)


def _instances(key: Key, method: str) -> Instances:
    d, r, k = SHAPE
    stream = key.fold("start").generator()
    server = ServerState({"layer": Layer(stream.standard_normal((d, r)), stream.standard_normal((r, k)))})
    ledger = Ledger()
    for t in range(ROUNDS):
        seen: list[tuple[float, Layer]] = []

        def update(t, client, broadcast, trainable, seen=seen):
            layer, draw = broadcast.layers["layer"], key.fold("client", client, "round", t).generator()
            trained = {f: getattr(layer, f) + draw.standard_normal(getattr(layer, f).shape) for f in sorted(trainable)}
            seen.append((float(1 + client), replace(layer, **trained)))
            message = Message({factor: {"layer": array} for factor, array in trained.items()})
            return ClientUpdate(client, t, float(1 + client), message)

        server, ledger, _ = run_round(t, server, ALGORITHMS[method](), range(CLIENTS), update, ledger)
        total = sum(weight for weight, _ in seen)
        ideal = np.sum([weight / total * layer.update for weight, layer in seen], axis=0)
        size = sum(weight / total * np.linalg.norm(layer.A) * np.linalg.norm(layer.B) for weight, layer in seen)
        slack = EPS * (CLIENTS + r) * size
        yield equal_arrays(server.layers["layer"].update, ideal, slack, f"{method}, round {t}")


def check(key: Key) -> Instances:
    """RoLoRA and FFA-LoRA over consecutive rounds."""
    return (
        instance
        for method in ("rolora", "ffa-lora")
        for number in range(10)
        for instance in _instances(key.fold("instance", number), method)
    )


def control(key: Key) -> Instances:
    """FedAvg-LoRA over the same rounds."""
    return _instances(key, "fedavg-lora")


CLAIM = Statement(
    source="arXiv 2502.01755v4, Eqs. 3-4",
    kind="identity",
    statement="RoLoRA and FFA-LoRA: the aggregated update is the weighted mean of the clients' updates, every round",
    convention="none: any local update",
)
