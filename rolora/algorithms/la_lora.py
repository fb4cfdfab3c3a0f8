"""LA-LoRA: the factors take turns within a client's local update, not from round to round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rolora.adapter import Layer
from rolora.algorithms.base import Algorithm
from rolora.algorithms.means import weighted_mean
from rolora.errors import InputError


@dataclass(frozen=True)
class LALoRA(Algorithm):
    r"""Local step j trains the j-th letter of the schedule; both factors are sent and averaged (Liu et al., arXiv 2602.19926).

    .. math::
        \bar A = \sum_i p_i A_i, \qquad \bar B = \sum_i p_i B_i

    Alternating inside a round leaves the interference of FedAvg-LoRA where it was: both factors have moved when they are
    averaged. The paper's smoothing of noisy gradients is not part of this.

    Args:
        local_schedule: letters A and B; "BA" begins with B, because at B = 0 a step on A goes nowhere.

    Example:
        >>> import numpy as np
        >>> LALoRA().trainable(0) == {"A", "B"}, LALoRA().local_schedule
        (True, 'BA')
    """

    name = "la-lora"
    averages = True
    exactness = "interference"
    local_schedule: str = "BA"

    def __post_init__(self) -> None:
        """Refuse a schedule that is not made of the two letters."""
        if not self.local_schedule or set(self.local_schedule) - {"A", "B"}:
            raise InputError(f"local_schedule: got {self.local_schedule!r}, expected letters A and B, for example BA")

    def aggregate(self, t: int, server: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Layer:
        """The mean of A beside the mean of B."""
        return Layer(
            A=weighted_mean([client.A for client in clients], weights),
            B=weighted_mean([client.B for client in clients], weights),
        )
