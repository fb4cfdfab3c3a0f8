r"""RoLoRA sends half of what FedAvg-LoRA sends, over any two consecutive rounds.

**Statement.** Over rounds t and t + 1, up and (from round 1 on) down, RoLoRA's bytes are 1/2 of FedAvg-LoRA's for every
shape (in, out). FFA-LoRA's are out/(in + out).

**Assumptions.** All clients take part in every round, and both methods send numbers of one size; by construction.

**Direction.** Tight: bytes are counted, not estimated.

**Source.** The traffic of Algorithm 1 and of FFA-LoRA, arXiv 2502.01755v4 (as quoted elsewhere); made exact here.

**Corrected.** "The same as FFA-LoRA, and half of FedAvg-LoRA in every round" is so for square layers alone: elsewhere
RoLoRA's half is that of two rounds together, and FFA-LoRA's share is out/(in + out).

**Derivation.** FedAvg-LoRA moves r (in + out) numbers a client and round each way. RoLoRA moves r in and r out in turn, so
two rounds cost half. FFA-LoRA moves r out in every round. A client that was sent everything in round 0 is sent only what
the last round changed. The bytes are those of the messages that ``rolora.federation.round.run_round`` passed on.

**Control.** RoLoRA over one round of a layer that is not square.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.federation import ClientUpdate, RoundReport, ServerState, run_round
from rolora.federation.communication import Ledger, Message
from rolora.keys import Key
from theory.verification.claim import EPS, Instances, Statement, equal

SHAPES = [(16, 4, 16), (12, 2, 40), (64, 8, 10), (5, 1, 300)]  # in, r, out
ROUNDS, CLIENTS = 6, 3


def _reports(method: str, shape: tuple[int, int, int]) -> list[RoundReport]:
    rows, rank, columns = shape
    server = ServerState({"layer": Layer(np.ones((rows, rank)), np.ones((rank, columns)))})
    ledger, reports = Ledger(), []

    def update(t, client, broadcast, trainable):
        factors = {f: {"layer": getattr(broadcast.layers["layer"], f) + 1.0} for f in sorted(trainable)}
        return ClientUpdate(client, t, 1.0, Message(factors))

    for t in range(ROUNDS):
        server, ledger, report = run_round(t, server, ALGORITHMS[method](), range(CLIENTS), update, ledger)
        reports.append(report)
    return reports


def _instances(method: str, shape: tuple[int, int, int], span: int) -> Instances:
    reports, reference = _reports(method, shape), _reports("fedavg-lora", shape)
    predicted = 0.5 if method == "rolora" else shape[2] / (shape[0] + shape[2])
    for way, first in (("bytes_up", 0), ("bytes_down", 1)):
        for t in range(first, ROUNDS - span + 1):
            sent, full = (
                sum(sum(getattr(report, way).values()) for report in each[t : t + span])
                for each in (reports, reference)
            )
            # Counts are integers: one quotient on each side is rounded, once.
            where = f"{method}, {way}, in={shape[0]}, out={shape[2]}, rounds {t}..{t + span - 1}"
            yield equal(sent / full, predicted, EPS, where, met=full > 0)


def check(key: Key) -> Instances:
    """RoLoRA and FFA-LoRA over every two consecutive rounds of four shapes; nothing is random."""
    return (i for shape in SHAPES for method in ("rolora", "ffa-lora") for i in _instances(method, shape, 2))


def control(key: Key) -> Instances:
    """RoLoRA over single rounds of the shapes that are not square."""
    return (i for shape in SHAPES[1:] for i in _instances("rolora", shape, 1))


CLAIM = Statement(
    source="traffic of Algorithm 1, arXiv 2502.01755v4 (as quoted elsewhere); made exact here",
    kind="identity",
    statement="bytes over two consecutive rounds: RoLoRA 1/2 of FedAvg-LoRA for any shape, FFA-LoRA out/(in + out)",
    convention="none: no loss enters",
)
