r"""One setting of the linear model: three methods measured, against the theory's predictions.

The draw is the same for every setting: truth, direction of the start and each client's rows come from streams whose names
hold neither the step nor the sizes, so that a change of one number changes nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from rolora.adapter import Array
from rolora.keys import Key
from theory.linear.bounds import contraction, largest_kappa, local_matrix, local_ratio
from theory.linear.geometry import normalise, random_unit, start_at
from theory.linear.model import LinearModel, sample
from theory.studies.linear import population_path, trajectory

DIMENSION, OUTPUTS, ITERATIONS, LOCAL_STEPS = 20, 10, 30, 20
"""d, k, iterations of Algorithm 2 (two rounds each), and FedAvg-LoRA's local steps a round."""

NEAR, RESOLVED = 0.05, 1e-12
"""Angle distances between which an iteration's ratio is called local, and is not rounding."""


@dataclass(frozen=True)
class Setting:
    """The adjustable numbers; ||b*|| = 1, so that kappa is the learning rate.

    Args:
        kappa: eta ||b*||^2 of the step on a, for the loss (1/m)||.||^2.
        degrees: the angle between a^0 and a*, in (0, 90).
        num_clients: N.
        samples: m of one client.
    """

    kappa: float = 0.25
    degrees: float = 60.0
    num_clients: int = 20
    samples: int = 50

    @property
    def delta0(self) -> float:
        """The angle distance of the start."""
        return float(np.sin(np.radians(self.degrees)))

    @property
    def claim_covers(self) -> bool:
        """Return whether the claimed factor holds in the population at this step and start."""
        return self.kappa <= largest_kappa(1 - self.delta0**2, 2)


@dataclass(frozen=True)
class Account:
    """Measurements in a setting, and the predictions for it.

    Args:
        setting: the setting.
        angles: method -> angle distance before round 0 and after every round.
        predicted: RoLoRA's angle distance at infinitely many samples, at the same rounds.
        on_these_data: the spectral radius of one iteration's derivative at a*, on the data that were drawn.
        steps: gradient steps of FedAvg-LoRA a round, which together are as long as RoLoRA's one.
    """

    setting: Setting
    angles: dict[str, list[float]]
    predicted: list[float]
    on_these_data: float
    steps: int = field(default=LOCAL_STEPS)

    @property
    def at_any_data(self) -> float:
        """|1 - 2 kappa|, the ratio close to a* at infinitely many samples."""
        return local_ratio(self.setting.kappa, 2)

    @property
    def claimed(self) -> float:
        """The claimed factor of one iteration; nan where its root is not real."""
        c0 = 1 - self.setting.delta0**2
        return contraction(self.setting.kappa, c0) if self.setting.kappa * c0 <= 1 else float("nan")

    def ratios(self, predicted: bool = False) -> Float[Array, "_"]:
        """RoLoRA's angle distance after each iteration over that before, as long as it is not rounding."""
        return ratios(self.predicted if predicted else self.angles["rolora"])

    @property
    def measured(self) -> float:
        """The geometric mean of the ratios close to a*; nan where RoLoRA does not come close, or jumps past."""
        after = np.asarray(self.angles["rolora"][::2])
        near = (after[:-1] <= NEAR) & (after[:-1] > RESOLVED) & (after[1:] > RESOLVED)
        if near.sum() < 3:
            return float("nan")
        return float(np.exp(np.mean(np.log((after[1:] / after[:-1])[near]))))


def ratios(angles: list[float]) -> Float[Array, "_"]:
    """The ratios of the angle distances of every second round, up to where they are rounding.

    Example:
        >>> ratios([0.5, 0.5, 0.25, 0.25, 0.125])
        array([0.5, 0.5])
    """
    after = np.asarray(angles[::2])
    ended = np.flatnonzero(after <= RESOLVED)
    used = after[: int(ended[0])] if ended.size else after
    return used[1:] / used[:-1]


def account(setting: Setting, seed: int = 0) -> Account:
    """Run the three methods in a setting and compute the predictions.

    Args:
        setting: what was chosen.
        seed: of truth, data and start.

    Returns:
        Trajectories of 2 * ITERATIONS rounds. FFA-LoRA and RoLoRA solve for b; FedAvg-LoRA takes LOCAL_STEPS gradient
        steps of kappa / LOCAL_STEPS a round on both factors.

    Example:
        >>> result = account(Setting(kappa=0.25, degrees=30.0, num_clients=10, samples=8000))
        >>> round(result.at_any_data, 2), abs(result.measured - result.at_any_data) < 0.01
        (0.5, True)
    """
    model, a0 = draw(setting, seed)
    rounds = 2 * ITERATIONS
    plan = {
        "fedavg-lora": (setting.kappa / LOCAL_STEPS, LOCAL_STEPS),
        "ffa-lora": (setting.kappa, 0),
        "rolora": (setting.kappa, 0),
    }
    angles = {name: trajectory(model, a0, name, eta, steps, rounds)[0] for name, (eta, steps) in plan.items()}
    predicted = [setting.delta0, *population_path(float(np.radians(setting.degrees)), setting.kappa, rounds)]
    radius = float(np.abs(np.linalg.eigvals(local_matrix(model, setting.kappa))).max())
    return Account(setting, angles, predicted, radius)


def draw(setting: Setting, seed: int = 0) -> tuple[LinearModel, Float[Array, "d"]]:
    """The clients and the start of a setting.

    Example:
        >>> one, two = (draw(Setting(samples=m))[0].a_star for m in (10, 500))
        >>> bool((one == two).all())
        True
    """
    key = Key(seed).fold("theory", "one setting")
    a_star = random_unit(key.fold("a*"), DIMENSION)
    b_star = normalise(key.fold("b*").generator().standard_normal(OUTPUTS))
    model = sample(key.fold("data"), setting.num_clients, setting.samples, a_star, b_star, 2)
    return model, start_at(key.fold("a0"), a_star, setting.delta0)
