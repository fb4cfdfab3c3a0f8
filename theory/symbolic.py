r"""The derivations themselves: SymPy differentiates, solves and integrates, starting from the loss and from nothing else.

A result is a :class:`Derived`: expressions and the order of their arguments. Called with numbers it is an independent second
implementation of what ``theory.linear.model``, ``theory.linear.bounds`` or ``rolora.algorithms`` compute, and it bounds the rounding of its
own evaluation, so that a claim can compare the two to rounding. Vectors have a few symbolic entries; matrices S are generic
symmetric ones. No other module imports SymPy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import sympy as sp
from jaxtyping import Float

from rolora.adapter import Array

THETA, KAPPA, FACTOR, C0 = sp.symbols("theta kappa f c_0", positive=True)
"""The angle, the step eta ||b*||^2, the gradient factor, and 1 - delta_0^2."""

Substitution = dict[sp.Symbol, sp.Expr | int]


@dataclass(frozen=True)
class Derived:
    """The result of a derivation.

    Args:
        expressions: the entries of the result.
        arguments: their symbols, in the order in which numbers are given.

    Example:
        >>> x, y = sp.symbols("x y")
        >>> Derived((x + y, x / y), (x, y)).value(3.0, 2.0)
        array([5. , 1.5])
    """

    expressions: tuple[sp.Expr, ...]
    arguments: tuple[sp.Symbol, ...]

    def value(self, *numbers: float) -> Float[Array, "entries"]:
        """The entries at these numbers, in float64."""
        return np.array(_function(self.expressions, self.arguments)(*numbers), dtype=float)

    def rounding(self, *numbers: float) -> Float[Array, "entries"]:
        r"""A bound of the evaluation's rounding, entry by entry, for rational expressions.

        A sum of T monomials of degree g, evaluated in any order, is known to
        :math:`(T + g)\,\tfrac{\varepsilon}{2} \sum |\text{monomial}|`; a quotient inherits this from its two parts.

        Raises:
            sympy.PolynomialError: an expression is not rational.
        """
        value, size, operations = _parts(self.expressions, self.arguments)
        half = np.finfo(float).eps / 2
        above, below = np.abs(np.array(value(*numbers), dtype=float)).reshape(-1, 2).T
        errors = half * operations * np.array(size(*np.abs(np.array(numbers))), dtype=float)
        above_error, below_error = errors.reshape(-1, 2).T
        return (above_error + above / below * below_error) / below + half * above / below


@lru_cache
def _function(expressions: tuple[sp.Expr, ...], arguments: tuple[sp.Symbol, ...]) -> Callable[..., list[Any]]:
    return sp.lambdify(arguments, list(expressions), modules="numpy")


@lru_cache
def _parts(
    expressions: tuple[sp.Expr, ...], arguments: tuple[sp.Symbol, ...]
) -> tuple[Callable[..., list[Any]], Callable[..., list[Any]], Float[Array, "parts"]]:
    """All numerators and denominators; the same with absolute coefficients; how often a term of each is rounded."""
    parts = [part for each in expressions for part in sp.fraction(sp.together(each))]
    terms = [sp.Poly(part, *arguments).terms() for part in parts]
    sizes = [
        sp.Add(*(abs(c) * sp.Mul(*(x**e for x, e in zip(arguments, powers, strict=True))) for powers, c in each))
        for each in terms
    ]
    operations = [len(each) + max(sum(powers) for powers, _ in each) for each in terms]
    return _function(tuple(parts), arguments), _function(tuple(sizes), arguments), np.array(operations, dtype=float)


@dataclass(frozen=True)
class Client:
    """The symbols of one client of the linear model."""

    moment: sp.ImmutableMatrix
    a_star: sp.ImmutableMatrix
    b_star: sp.ImmutableMatrix
    a: sp.ImmutableMatrix
    b: sp.ImmutableMatrix

    @property
    def loss(self) -> sp.Expr:
        r"""The loss :math:`\frac f2\,\mathrm{tr}\,R^T S R` with :math:`R = a b^T - a^* b^{*T}`."""
        residual = self.a * self.b.T - self.a_star * self.b_star.T
        return FACTOR / 2 * (residual.T * self.moment * residual).trace()

    @property
    def arguments(self) -> tuple[sp.Symbol, ...]:
        """f, the upper triangle of S row by row, a*, b*, a, b."""
        d = self.a.rows
        upper = [self.moment[i, j] for i in range(d) for j in range(i, d)]
        return (FACTOR, *upper, *self.a_star, *self.b_star, *self.a, *self.b)


@lru_cache
def client(d: int, k: int) -> Client:
    """A client with a in R^d and b in R^k."""

    def vector(name: str, size: int) -> sp.ImmutableMatrix:
        return sp.ImmutableMatrix(sp.symbols(f"{name}1:{size + 1}", real=True))

    moment = sp.ImmutableMatrix(d, d, lambda i, j: sp.Symbol(f"s{min(i, j) + 1}{max(i, j) + 1}", real=True))
    return Client(moment, vector("u", d), vector("v", k), vector("a", d), vector("b", k))


@lru_cache
def b_minimiser(d: int, k: int, isotropic: bool = False) -> Derived:
    r"""The b that solves :math:`\nabla_b \ell = 0`; the loss is a convex quadratic in b, so it is the minimiser.

    Args:
        d: the length of a.
        k: the length of b.
        isotropic: drop S from the loss first, S = I.

    Returns:
        k expressions of ``client(d, k).arguments``.

    Example:
        >>> b_minimiser(1, 1).expressions
        (u1*v1/a1,)
    """
    one = client(d, k)
    loss = one.loss.subs(_entries(one.moment, sp.eye(d))) if isotropic else one.loss
    (solution,) = sp.solve([sp.diff(loss, entry) for entry in one.b], list(one.b), dict=True)
    return Derived(tuple(sp.cancel(solution[entry]) for entry in one.b), one.arguments)


@lru_cache
def gradients(d: int, k: int) -> tuple[Derived, Derived]:
    r"""Both gradients of the loss by differentiation, :math:`\nabla_a \ell` and :math:`\nabla_b \ell`.

    Example:
        >>> gradients(1, 1)[1].expressions
        (a1**2*b1*f*s11 - a1*f*s11*u1*v1,)
    """
    one = client(d, k)
    by_a, by_b = (tuple(sp.expand(sp.diff(one.loss, entry)) for entry in part) for part in (one.a, one.b))
    return Derived(by_a, one.arguments), Derived(by_b, one.arguments)


def _entries(symbols: sp.ImmutableMatrix, values: sp.MatrixBase | tuple[sp.Expr | int, ...]) -> Substitution:
    return dict(zip(symbols, values, strict=True))


@lru_cache
def population_map() -> Derived:
    r"""One iteration at S = I: exact b-step, gradient step on a, normalisation, in the plane of a and a*, where both stay.

    The turn is the angle from the new a to the old one; normalising does not change it, and the two are never orthogonal,
    because the step is orthogonal to a.

    Returns:
        :math:`\theta^+`, and :math:`\tan\theta^+/\tan\theta`, of theta, kappa and f.

    Example:
        >>> population_map().expressions[0]
        theta - atan(f*kappa*sin(2*theta)/2)
    """
    one = client(2, 2)
    plane = _entries(one.moment, sp.eye(2)) | _entries(one.a_star, (1, 0))
    plane |= _entries(one.a, (sp.cos(THETA), sp.sin(THETA)))
    b = _entries(one.b, b_minimiser(2, 2).expressions)
    gradient = sp.Matrix([entry.subs(b).subs(plane) for entry in gradients(2, 2)[0].expressions])
    before = one.a.subs(plane)
    after = before - KAPPA / (one.b_star.T * one.b_star)[0] * gradient
    turn = sp.simplify((after[0] * before[1] - after[1] * before[0]) / (after.T * before)[0])
    tangents = sp.simplify(after[1] * before[0] / (after[0] * before[1]))
    return Derived((THETA - sp.atan(turn), tangents), (THETA, KAPPA, FACTOR))


@lru_cache
def fixed_points() -> tuple[sp.Expr, ...]:
    r"""The solutions of :math:`\theta^+ = \theta` in :math:`[0, \pi/2]`, for every positive step.

    Example:
        >>> fixed_points()
        (0, pi/2)
    """
    turn = sp.tan(THETA - population_map().expressions[0])
    angle = sp.Symbol("theta", real=True)  # the domain is given to the solver instead of the symbol's sign
    return tuple(sorted(sp.solveset(turn.subs(THETA, angle), angle, sp.Interval(0, sp.pi / 2))))


@lru_cache
def expansion(point: sp.Expr, order: int) -> Derived:
    """The Taylor coefficients, 1 ... order, of the distance from a fixed point after an iteration in the one before.

    Args:
        point: one of ``fixed_points()``; the distance is theta at 0, and pi/2 - theta at pi/2.
        order: of the last coefficient.

    Returns:
        Expressions of kappa and f; the first is the multiplier, whose modulus below one means stable.

    Example:
        >>> [expansion(point, 1).expressions for point in fixed_points()]
        [(-f*kappa + 1,), (f*kappa + 1,)]
    """
    sign = 1 if point == 0 else -1
    distance = sign * (population_map().expressions[0].subs(THETA, point + sign * THETA) - point)
    series = sp.series(sp.expand_trig(sp.simplify(distance)), THETA, 0, order + 1).removeO()
    return Derived(tuple(sp.expand(series.coeff(THETA, power)) for power in range(1, order + 1)), (KAPPA, FACTOR))


def stable_steps(point: sp.Expr, gradient_factor: int) -> sp.Set:
    """The steps kappa > 0 at which a fixed point attracts, by solving |multiplier| < 1.

    Example:
        >>> [stable_steps(point, 2) for point in fixed_points()]
        [Interval.open(0, 1), EmptySet]
    """
    kappa = sp.Symbol("kappa", real=True)
    multiplier = expansion(point, 1).expressions[0].subs({FACTOR: gradient_factor, KAPPA: kappa})
    solved = sp.solve_univariate_inequality(sp.Abs(multiplier) < 1, kappa, relational=False)
    return sp.Intersection(solved, sp.Interval.open(0, sp.oo))


@lru_cache
def contraction_excess() -> Derived:
    r"""q(x) of :math:`(\delta^+/\delta)^2 \le 1 - \kappa c_0 \iff q(x) \le 0`, a polynomial in :math:`x = \cos^2\theta`.

    Returns:
        q, of x, kappa, f and c_0.
    """
    x = sp.Symbol("x", positive=True)
    squared = population_map().expressions[1] ** 2 * sp.tan(THETA) ** 2
    ratio = squared / (1 + squared) / sp.sin(THETA) ** 2
    ratio = ratio.subs(sp.tan(THETA), sp.sin(THETA) / sp.cos(THETA))
    ratio = sp.cancel(sp.expand(ratio.subs(sp.sin(THETA) ** 2, 1 - x).subs(sp.cos(THETA) ** 2, x)))
    above, below = sp.fraction(ratio)
    excess = (above - (1 - KAPPA * C0) * below) / below.subs(x, 1)  # the ratio's denominator is made positive
    return Derived((sp.expand(excess),), (x, KAPPA, FACTOR, C0))


@lru_cache
def largest_kappa(gradient_factor: int) -> Derived:
    r"""The end of the claimed factor's range at a*: the positive root of q(1) = 0, :math:`(1 - f\kappa)^2 = 1 - \kappa c_0`.

    Example:
        >>> largest_kappa(2).expressions, largest_kappa(1).expressions
        ((1 - c_0/4,), (2 - c_0,))
    """
    (excess,), (x, *_) = contraction_excess().expressions, contraction_excess().arguments
    (root,) = [each for each in sp.solve(excess.subs({x: 1, FACTOR: gradient_factor}), KAPPA) if each != 0]
    return Derived((sp.expand(root),), (C0,))


@lru_cache
def interference(clients: int) -> tuple[Derived, sp.ImmutableMatrix]:
    r"""The error of averaging both factors, :math:`\sum p_i A_i B_i - \bar A\bar B`, for factors of 2 x 2 entries.

    The first sum is multiplied by :math:`\sum p_i = 1`. On expanding, the terms in :math:`p_i^2` cancel, and those in
    :math:`p_i p_j` make up :math:`(A_i - A_j)(B_i - B_j)`.

    Returns:
        The quadratic form in the weights, of p, the A_i and the B_i; and its difference from the factors' covariance, expanded
        with the last weight eliminated, where zero is the identity.

    Example:
        >>> interference(2)[1].is_zero_matrix
        True
    """
    p = sp.symbols(f"p1:{clients + 1}")
    a, b = (
        [sp.Matrix(2, 2, sp.symbols(f"{name}{i}_(1:3)(1:3)")) for i in range(1, clients + 1)] for name in ("A", "B")
    )

    def mean(matrices: list[sp.Matrix]) -> sp.Matrix:
        return sum((weight * each for weight, each in zip(p, matrices, strict=True)), sp.zeros(2, 2))

    products, mean_a, mean_b = mean([x * y for x, y in zip(a, b, strict=True)]), mean(a), mean(b)
    missed = (sum(p) * products - mean_a * mean_b).applyfunc(sp.expand)
    covariance = mean([(x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True)])
    difference = (missed - covariance).subs(p[-1], 1 - sum(p[:-1])).applyfunc(sp.expand)
    return Derived(tuple(missed), (*p, *(x for each in (*a, *b) for x in each))), sp.ImmutableMatrix(difference)


CLIENTS, SAMPLES = sp.symbols("N m", positive=True)
XI, MEAN_XI, ALONG, ACROSS = sp.symbols("xi xibar s_aa s_pp", real=True)
"""A client's b-step noise, its mean over the clients, a^T S a and p^T S p (p the unit vector of a* orthogonal to a)."""
_WEIGHT, _EXTRA = sp.Symbol("w", positive=True), sp.Symbol("n", positive=True)  # w = ||X a||^2, and n = m - 2

Loss = Literal["population", "average", "minimiser"]
"""The averaged b's risk, the averaged b's training loss, the smallest training loss."""
Noise = Literal["Student", "normal"]
"""xi given X a is N(0, 1/||X a||^2), which makes it Student's; or N(0, 1/m), its limit for large m."""


@lru_cache
def ffa_client_loss() -> Derived:
    r"""A client's loss at the averaged b over :math:`\tfrac f2\|b^*\|^2\delta^2`, in xi, its mean, s_aa and s_pp.

    In the plane of a and p the b-step is :math:`b_i = (c + \delta\xi_i) b^*` with :math:`S_{i,ap} = s_{aa}\xi_i`, and the
    mean b has the mean noise. Nothing else is used: both come from ``b_minimiser`` and from the loss.

    Example:
        >>> ffa_client_loss().expressions
        (-2*s_aa*xi*xibar + s_aa*xibar**2 + s_pp,)
    """
    one, (c, delta) = client(2, 1), sp.symbols("c delta", positive=True)
    moment = (ALONG, ALONG * XI, ALONG * XI, ACROSS)
    plane = _entries(one.moment, moment) | _entries(one.a, (1, 0)) | _entries(one.a_star, (c, delta))
    b = sp.expand(b_minimiser(2, 1).expressions[0].subs(plane)).subs(XI, MEAN_XI)  # linear in xi, as is the mean
    share = FACTOR / 2 * one.b_star[0] ** 2 * delta**2
    scaled = sp.cancel(one.loss.subs(_entries(one.b, (b,))).subs(plane) / share)
    return Derived((sp.expand(scaled),), (XI, MEAN_XI, ALONG, ACROSS))


@lru_cache
def noise_moment(noise: Noise, power: int, weight_power: int) -> sp.Expr:
    r""":math:`E[\xi^i w^j]` by integration, :math:`w = \|X a\|^2 \sim \chi^2_m`; an expression of m > 2.

    Example:
        >>> noise_moment("Student", 2, 0), noise_moment("Student", 2, 1), noise_moment("normal", 2, 0)
        (1/(m - 2), 1, 1/m)
    """
    variance = 1 / _WEIGHT if noise == "Student" else 1 / (_EXTRA + 2)
    inner = sp.integrate(XI**power * _normal(variance), (XI, -sp.oo, sp.oo))
    outer = sp.integrate(sp.expand(inner) * _WEIGHT**weight_power * _chi_squared(), (_WEIGHT, 0, sp.oo))
    return sp.factor(sp.gammasimp(outer).subs(_EXTRA, SAMPLES - 2))


def _normal(variance: sp.Expr) -> sp.Expr:
    return sp.exp(-(XI**2) / (2 * variance)) / sp.sqrt(2 * sp.pi * variance)


def _chi_squared() -> sp.Expr:
    half = (_EXTRA + 2) / 2
    return _WEIGHT ** (half - 1) * sp.exp(-_WEIGHT / 2) / (2**half * sp.gamma(half))


@lru_cache
def ffa_excess(loss: Loss, noise: Noise = "Student") -> Derived:
    r"""FFA-LoRA's constant c~: the expectation of ``ffa_client_loss`` over Gaussian data, less one.

    The mean noise is :math:`(\xi + R)/N`, with R the sum of the N - 1 other clients' noises, independent of this client.
    The population has S = I in the loss, not in the b-step; the minimiser is one client that holds all N m samples.

    Args:
        loss: which of the three.
        noise: how xi is distributed.

    Example:
        >>> ffa_excess("population").expressions
        (1/(N*(m - 2)),)
    """
    rest = sp.Symbol("R", real=True)
    (expression,) = ffa_client_loss().expressions
    if loss == "population":
        # This client's data are not in the risk: S_ap = 0 there, so the term of its own xi goes.
        expression = expression.subs({XI: 0, ALONG: 1, ACROSS: 1})
    mean = XI if loss == "minimiser" else (XI + rest) / CLIENTS
    expression = sp.expand(expression.subs({MEAN_XI: mean, ALONG: _WEIGHT / SAMPLES}))
    # p^T S p enters linearly: ||X p||^2 is chi^2_m like w.
    expression = expression.subs(ACROSS, noise_moment(noise, 0, 1) / SAMPLES)
    others = {0: sp.Integer(1), 1: sp.Integer(0), 2: (CLIENTS - 1) * noise_moment(noise, 2, 0)}
    terms = sp.Poly(expression, XI, _WEIGHT, rest).terms()
    total = sum(factor * noise_moment(noise, i, j) * others[k] for (i, j, k), factor in terms)
    if loss == "minimiser":
        total = total.subs(SAMPLES, CLIENTS * SAMPLES)
    return Derived((sp.factor(total - 1),), (CLIENTS, SAMPLES))
