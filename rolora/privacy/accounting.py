r"""Differential privacy: which guarantee a run gives, and what it costs.

A run is a sequence of Gaussian mechanisms. In each of them the sensitivity, the L2 norm by which one client (or one example)
can change what is summed, is bounded by clipping, and noise of z times that sensitivity is added. Everything the server does
with the sums is post-processing. The guarantee, :math:`P(\text{run} \in S \mid D) \le e^\epsilon P(\text{run} \in S \mid D') +
\delta` for neighbouring D and D', comes from the Renyi accountant of Google's ``dp-accounting`` (Mironov, arXiv 1702.07476;
sampled batches: Mironov, Talwar and Zhang, arXiv 1908.10530).

Two limits that no number here shows. The noise is in floating point, whose gaps betray a little more than real numbers would
(Mironov, CCS 2012). And choosing among several runs costs more than each of them.
"""

from __future__ import annotations

import importlib
import logging
import math
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from rolora import records
from rolora.config import Config
from rolora.errors import InputError
from rolora.federation.sampling import sample_clients
from rolora.keys import Key

ADJACENCY = {
    "client": "zero-out: one client's update is replaced by zero in every round, with the number of clients as it is",
    "example": "add or remove one example of one client, with all other examples where they are, and with the clients' sizes, "
    "from which sampling rates and weights follow, taken as public",
}
"""``privacy.mode`` -> which data sets are neighbours."""

PACKAGES = {"client": ("dp_accounting",), "example": ("dp_accounting", "opacus")}
"""``privacy.mode`` -> what has to be installed for it."""

TOLERANCE = 1e-6
"""Accuracy of the noise multiplier for a target epsilon: it exceeds the least one by at most this."""


@dataclass(frozen=True)
class Spending:
    """Gaussian mechanisms that one client (or its examples) goes through.

    Args:
        steps: how many.
        rate: with which probability an example takes part in a step; 1 where no amplification is counted on.
    """

    steps: int
    rate: float = 1.0

    def event(self, noise_multiplier: float) -> Any:
        """The accountant's description of all steps."""
        import dp_accounting

        one = dp_accounting.GaussianDpEvent(noise_multiplier)
        if self.rate < 1:
            one = dp_accounting.PoissonSampledDpEvent(self.rate, one)
        return dp_accounting.SelfComposedDpEvent(one, self.steps)


@lru_cache(maxsize=4096)
def epsilon(noise_multiplier: float, spending: Spending, delta: float) -> float:
    """The epsilon of these steps at ``delta``, from above; infinite without noise.

    Example:
        >>> round(epsilon(1.0, Spending(10), 1e-5), 4)
        19.0536
        >>> epsilon(0.0, Spending(10), 1e-5), epsilon(1.0, Spending(0), 1e-5)
        (inf, 0.0)
    """
    from dp_accounting import rdp

    if spending.steps == 0:
        return 0.0
    if noise_multiplier == 0:
        return math.inf
    accountant = rdp.RdpAccountant()
    with _without_its_log():
        accountant.compose(spending.event(noise_multiplier))
        return float(accountant.get_epsilon(delta))


@contextmanager
def _without_its_log() -> Iterator[None]:
    """The accountant logs a line for every order at which a series does not converge. Leaving out orders is always valid, and
    a user can do nothing about it."""
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


@lru_cache(maxsize=256)
def noise_for(target: float, spending: Spending, delta: float) -> float:
    """The least noise multiplier, to ``TOLERANCE``, whose epsilon is at most ``target``.

    Raises:
        InputError: there is none within reason.

    Example:
        >>> z = noise_for(8.0, Spending(10), 1e-5)
        >>> epsilon(z, Spending(10), 1e-5) <= 8.0 < epsilon(z - 2 * TOLERANCE, Spending(10), 1e-5)
        True
    """
    if spending.steps == 0:
        return 0.0
    low, high = 0.0, 1.0
    while epsilon(high, spending, delta) > target:
        low, high = high, 2 * high
        if high > 2**20:
            raise InputError(
                f"privacy.target_epsilon: got {target} with delta = {delta} after {spending.steps} noisy steps, expected more: "
                f"a noise multiplier of {low:.0f} does not reach it"
            )
    while high - low > TOLERANCE:
        middle = (low + high) / 2
        low, high = (low, middle) if epsilon(middle, spending, delta) <= target else (middle, high)
    return high


def check_packages(config: Config) -> None:
    """Refuse a private run whose guarantee nothing here could count.

    Raises:
        InputError: a package is missing.
    """
    for name in PACKAGES.get(config.privacy.mode, ()):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise InputError(
                f'privacy.mode: got "{config.privacy.mode}", expected {name.replace("_", "-")} to be installed, as by '
                f"pip install 'rolora[privacy]'; {error}"
            ) from None


def check(config: Config) -> None:
    """Refuse, before anything is loaded or written, a private run that cannot keep what it is asked for.

    With ``mode = "example"`` the rates follow from the clients' sizes, so its epsilon is checked when these are known, still
    before anything is written.

    Raises:
        InputError: a package is missing; epsilon is not finite, or above ``max_epsilon``.
    """
    check_packages(config)
    if config.privacy.mode == "client":
        guarantee(config)
    elif config.privacy.mode == "example" and config.privacy.noise_multiplier == 0:
        _limited(config, math.inf)


@dataclass(frozen=True)
class Guarantee:
    """Privacy guarantee of a run: a function of the config and, for example-level privacy, of the clients' sizes.

    Args:
        config: the run's.
        noise_multiplier: z, as given or as found for the target.
        worst: what the client goes through that spends most, until the last round.
        epsilon: its epsilon.
    """

    config: Config
    noise_multiplier: float
    worst: Spending
    epsilon: float

    def describe(self) -> dict[str, Any]:
        """Return the guarantee as a record's table."""
        privacy = self.config.privacy
        by_client = privacy.mode == "client"
        found = {
            "mode": privacy.mode,
            "mechanism": "DP-FedAvg: Gaussian noise on the mean of clipped client updates"
            if by_client
            else "DP-SGD: Gaussian noise on the sum of clipped gradients of Poisson-sampled examples",
            "clip": privacy.clip,
            "noise_multiplier": self.noise_multiplier,
            "epsilon": self.epsilon,
            "delta": privacy.delta,
            "rounds": self.config.federation.rounds,
            "noisy_steps": self.worst.steps,
            "adjacency": ADJACENCY[privacy.mode],
            "accountant": {
                "name": "dp-accounting, RdpAccountant",
                "version": records.installed_version("dp-accounting"),
            },
            "amplification": "none counted: valid for clients that are sampled too"
            if by_client
            else "Poisson sampling of a client's examples; none counted for the sampling of clients",
            "noise_reproducible": privacy.noise == "reproducible",
            "covers": "adapter and head after every round"
            + (
                ", and every update that a client sends"
                if not by_client
                else "; not the updates on their way to the server"
            ),
            "does_not_cover": "training losses, client sizes and label counts in this record; the choice among several runs",
        }
        if privacy.target_epsilon is not None:
            found["target_epsilon"] = privacy.target_epsilon
        return found if by_client else found | {"sampling_rate": self.worst.rate}


def guarantee(config: Config, sizes: Sequence[int] = ()) -> Guarantee | None:
    """The guarantee of a run after its last round; None without privacy.

    Args:
        config: the run's.
        sizes: the number of each client's examples; not needed with ``mode = "client"``.

    Raises:
        InputError: epsilon is not finite or above ``max_epsilon``; a client has fewer examples than a batch.
    """
    privacy = config.privacy
    if privacy.mode == "none":
        return None
    check_packages(config)
    # A client that is sampled is in a round or not; that it is counted as in all of them is always valid.
    distinct = [Spending(config.federation.rounds)] if privacy.mode == "client" else _by_example(config, sizes)
    noise = privacy.noise_multiplier
    if noise is None:
        noise = max(noise_for(privacy.target_epsilon, one, privacy.delta) for one in distinct)
    worst = max(distinct, key=lambda one: epsilon(noise, one, privacy.delta))
    spent = epsilon(noise, worst, privacy.delta)
    _limited(config, spent)
    return Guarantee(config, noise, worst, spent)


def _limited(config: Config, spent: float) -> None:
    privacy = config.privacy
    if not math.isfinite(spent):
        raise InputError(
            f"privacy: epsilon is {spent} with noise_multiplier = {privacy.noise_multiplier}, expected a finite one: more noise"
        )
    if privacy.max_epsilon is not None and spent > privacy.max_epsilon:
        raise InputError(
            f"privacy: epsilon would be {spent:.4f} at delta = {privacy.delta} after {config.federation.rounds} rounds, "
            f"expected at most max_epsilon = {privacy.max_epsilon}: more noise or fewer rounds"
        )


def _by_example(config: Config, sizes: Sequence[int]) -> list[Spending]:
    """Return the distinct sequences of noisy steps of the clients, without those that another one exceeds."""
    federation, batch_size = config.federation, config.training.batch_size
    for client, size in enumerate(sizes):
        if size < batch_size:
            raise InputError(
                f"training.batch_size: got {batch_size}, expected at most {size}, the number of client {client}'s examples: "
                'with privacy.mode = "example" each is drawn with probability batch_size / size'
            )
    rounds: Counter[int] = Counter()
    for t in range(federation.rounds):
        rounds.update(sample_clients(Key(config.seed), t, len(sizes), federation.clients_per_round))
    steps = config.training.local_steps
    return _largest([Spending(rounds[client] * steps, batch_size / size) for client, size in enumerate(sizes)])


def _largest(spendings: Sequence[Spending]) -> list[Spending]:
    """Without those that another one exceeds in steps and rate: epsilon grows with both.

    Example:
        >>> _largest([Spending(3, 0.1), Spending(2, 0.2), Spending(2, 0.1), Spending(3, 0.1)])
        [Spending(steps=3, rate=0.1), Spending(steps=2, rate=0.2)]
    """
    kept: list[Spending] = []
    for one in sorted(set(spendings), key=lambda s: (-s.steps, -s.rate)):
        if not kept or one.rate > max(other.rate for other in kept):
            kept.append(one)
    return kept


def stream(config: Config, key: Key) -> np.random.Generator:
    """The generator of a run's private noise: the stream of ``key``, or the system's entropy if the noise is secret."""
    if config.privacy.noise == "reproducible":
        return key.generator()
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(secrets.randbits(256))))


def sentence(record: Mapping[str, Any]) -> str:
    """A record's guarantee in one line.

    Args:
        record: of a private run.
    """
    found = record["privacy"]
    whose = "any one client" if found["mode"] == "client" else "any one example of the client that is worst off"
    text = (
        f"{record['name']}: ({found['epsilon']:.4f}, {found['delta']:g})-differentially private for {whose}, after "
        f"{found['rounds']} rounds (clip {found['clip']:g}, noise multiplier {found['noise_multiplier']:.4g}; "
        f"{found['adjacency']}; {found['accountant']['name']} {found['accountant']['version']})"
    )
    return text + ("; the noise follows from the seed: who knows it can take it off" * found["noise_reproducible"])


def row(found: Guarantee | None) -> dict[str, str]:
    """Return the guarantee's line for a dry run; empty without one."""
    if found is None:
        return {}
    return {
        "privacy": f"epsilon {found.epsilon:.4f} at delta {found.config.privacy.delta:g} after all rounds, "
        f"noise multiplier {found.noise_multiplier:.4g}, mode {found.config.privacy.mode}"
    }
