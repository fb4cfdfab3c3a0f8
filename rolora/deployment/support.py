"""Methods that can be deployed, and those that secure aggregation could serve, each with its reason.

Secure aggregation lets a server learn the sum of what clients send and nothing of any one of them. It serves a method whose
server needs sums alone: the weighted mean of each tensor that is sent (``Algorithm.averages``). RoLoRA and FFA-LoRA are such
methods, and exact with it. Methods that multiply, stack, turn or weigh single clients' factors are not.

The pinned Flower has the protocols SecAgg and SecAgg+ for its legacy interface alone: ``SecAggPlusWorkflow`` wants a
``LegacyContext`` with a ``Strategy`` that makes ``FitIns``, and ``secaggplus_mod`` takes the arrays of a ``FitRes``, clips them to
+-8, rounds them to 2^22 steps and the number of examples to at most 1000. Neither takes the messages of a ``ServerApp`` with a
main function, which this deployment is, and the rounding would end the equality with a simulation. So it is not used here: the
server sees every client's update. ``SECURITY.md`` says what follows from that.
"""

from __future__ import annotations

from dataclasses import dataclass

from rolora.algorithms import ALGORITHMS, Algorithm
from rolora.config import Config

NEEDS = {
    "flexlora": "the products A_i B_i of single clients, whose sum is decomposed",
    "flora": "every client's factors, which are stacked",
    "fedex-lora": "the products A_i B_i of single clients",
    "fedrot-lora": "every client's factors, to turn each of them",
    "lora-fair": "the products A_i B_i of single clients",
    "hetlora": "the size of every client's update, to weigh it",
    "fedsvd": "",
    "fedsa-lora": "",
}
"""Single clients' values that a server needs, for methods that do not declare ``averages``; empty where sums are enough."""


@dataclass(frozen=True)
class Verdict:
    """Support of one method.

    Args:
        method: its name.
        refusal: why it cannot be deployed; empty where it can.
        needs: what its server needs beyond sums; empty where sums are enough.
    """

    method: str
    refusal: str
    needs: str

    @property
    def deployable(self) -> bool:
        return not self.refusal

    @property
    def sums_suffice(self) -> bool:
        return self.deployable and not self.needs


def verdict(algorithm: Algorithm) -> Verdict:
    """Return the support of a method.

    Example:
        >>> [verdict(ALGORITHMS[name]()).sums_suffice for name in ("rolora", "ffa-lora", "flexlora", "flora")]
        [True, True, False, False]
        >>> verdict(ALGORITHMS["fedsa-lora"]()).refusal
        'its clients keep factors of their own, which no server can evaluate'
    """
    refusal = ""
    if algorithm.pooled:
        refusal = "it is no federation: one client holds the data of all"
    elif algorithm.personal:
        refusal = "its clients keep factors of their own, which no server can evaluate"
    needs = "" if algorithm.averages else NEEDS.get(algorithm.name, "not examined")
    return Verdict(algorithm.name, refusal, needs)


def table() -> list[Verdict]:
    """Return the support of all methods.

    Example:
        >>> [row.method for row in table() if row.sums_suffice]
        ['fedavg-lora', 'ffa-lora', 'rolora', 'fedsvd', 'la-lora']
    """
    return [verdict(method()) for method in ALGORITHMS.values()]


def refusal(config: Config) -> str:
    """Return why a config cannot be deployed; empty where it can."""
    if reason := verdict(config.build_algorithm()).refusal:
        return f"algorithm: got {config.algorithm}, expected a method that can be deployed: {reason}"
    if config.federation.client_state == "shared":
        return 'federation.client_state: got "shared", expected "isolated": deployed clients share no model'
    return ""


def shared_hash(config: Config) -> str:
    """Return the hash of a config without [runtime], which server and clients may set differently."""
    return config.model_copy(update={"runtime": type(config.runtime)()}).hash()
