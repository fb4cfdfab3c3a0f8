r"""FFA-LoRA's three constants, integrated from the distribution of the b-step's noise.

**Statement.** In :math:`(1 + \tilde c)\,\tfrac f2\|b^*\|^2\delta_0^2`, :math:`\tilde c` is :math:`\frac{1}{N(m-2)}` for the
averaged b's risk, :math:`-\frac{1}{Nm} + \frac{2(N-1)}{N^2 m(m-2)}` for its expected training loss, and
:math:`-\frac{1}{Nm}` for the smallest training loss.

**Assumptions.** Gaussian inputs, a^0 independent of them, m > 2: by construction.

**Direction.** Tight: the expectations are exact.

**Source.** The form: Proposition 4.6, arXiv 2502.01755v4 (quoted elsewhere). The constants are derived here.

**Derivation.** Inserting the solved b-step, client i's loss at the averaged b over :math:`\tfrac f2\|b^*\|^2\delta^2` is
:math:`s_i(\bar\xi^2 - 2\xi_i\bar\xi) + p^T S_i p`, :math:`s_i = a^T S_i a`; this is held against the simulation's loss on random
data. Given :math:`w_i = m s_i \sim \chi^2_m`, :math:`\xi_i` is :math:`N(0, 1/w_i)`. SymPy integrates over both, which gives
Student's t over the root of m and the moments :math:`E\xi^2 = 1/(m-2)`, :math:`E w\xi^2 = 1`; the expectation of the polynomial
is the constant, held against ``theory.linear.bounds``.

**Control.** The normal limit of the noise, N(0, 1/m), instead of Student's.
"""

import numpy as np

from rolora.keys import Key
from theory import symbolic
from theory.linear.assumptions import xi
from theory.linear.bounds import ffa_average_excess, ffa_minimiser_excess, ffa_population_excess
from theory.linear.geometry import start_at
from theory.linear.model import b_step, mean_loss, random_truth, sample
from theory.verification.claim import EPS, Instance, Instances, Statement, equal

FORMULAS = {"population": ffa_population_excess, "average": ffa_average_excess, "minimiser": ffa_minimiser_excess}


def _loss(key: Key) -> Instance:
    """The simulation's training loss at the averaged b against the derived polynomial, on random data."""
    stream = key.generator()
    n, m, d, delta = int(stream.integers(1, 5)), int(stream.integers(5, 20)), 4, float(stream.uniform(0.1, 0.9))
    a_star, b_star = random_truth(key.fold("truth"), d, 3)
    model, a = sample(key.fold("data"), n, m, a_star, b_star, 2), start_at(key.fold("a0"), a_star, delta)
    b = np.mean([b_step(model, client, a) for client in range(n)], axis=0)
    across = (a_star - (a @ a_star) * a) / np.linalg.norm(a_star - (a @ a_star) * a)
    noise, along, other = xi(model, a), a @ model.moments @ a, across @ model.moments @ across
    values = zip(noise, along, other, strict=True)
    share = np.mean([symbolic.ffa_client_loss().value(each, noise.mean(), s, v)[0] for each, s, v in values])
    scale = float(b_star @ b_star)
    # Sums of d^2 terms, at the size of S, of the residual's two parts and of the quotient's denominator.
    norms = np.linalg.norm(model.moments, axis=(1, 2))
    size = np.mean(norms) * np.max(norms / along) * (1 + np.max(np.abs(noise))) ** 2 * scale
    where = f"training loss, N={n}, m={m}, delta0={delta:.2f}"
    return equal(mean_loss(model, a, b), share * scale * delta**2, EPS * d**2 * float(size), where)


def _constants(key: Key, noise: symbolic.Noise) -> Instances:
    stream = key.generator()
    for _ in range(30):
        n, m = int(stream.integers(1, 60)), int(stream.integers(3, 2000))
        for loss, formula in FORMULAS.items():
            derived = symbolic.ffa_excess(loss, noise)
            # Of the derived quotient; and of the code's two terms, which are at most 2/m and may cancel.
            slack = 2 * float(derived.rounding(float(n), float(m))[0]) + EPS * 4 / m
            where = f"c~, {loss}, N={n}, m={m}"
            yield equal(formula(n, m), derived.value(float(n), float(m))[0], slack, where)


def check(key: Key) -> Instances:
    """The polynomial on random data; the three constants at random N and m."""
    return [*(_loss(key.fold("loss", number)) for number in range(30)), *_constants(key, "Student")]


def control(key: Key) -> Instances:
    """Normal noise."""
    return _constants(key, "normal")


CLAIM = Statement(
    source="form: Proposition 4.6, arXiv 2502.01755v4; constants derived here by SymPy",
    kind="identity",
    statement="c~ by integration: 1/(N(m-2)); -1/(Nm) + 2(N-1)/(N^2 m(m-2)); -1/(Nm) (risk, training loss, its minimum)",
    convention="both: the constants do not depend on f",
)
