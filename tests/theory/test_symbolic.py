"""The derivations against each other, against SciPy, and against what a reader would write down by hand."""

import ast
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from scipy import stats

import theory
from rolora.keys import Key
from theory import symbolic
from theory.linear import bounds
from theory.linear.model import b_step, random_truth, sample
from theory.symbolic import C0, CLIENTS, FACTOR, KAPPA, SAMPLES, THETA

KEY = Key(0).fold("tests", "symbolic")


def test_only_one_module_imports_sympy():
    importing = set()
    for path in Path(theory.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "sympy" for name in names):
                importing.add(path.name)
    assert importing == {"symbolic.py"}


def test_derivations_are_made_once():
    assert symbolic.population_map() is symbolic.population_map()
    assert symbolic.b_minimiser(2, 2) is symbolic.b_minimiser(2, 2)


@pytest.mark.parametrize(("d", "k"), [(1, 1), (2, 2), (3, 2)])
def test_the_minimiser_is_a_minimum_and_parallel_to_b_star(d, k):
    one, derived = symbolic.client(d, k), symbolic.b_minimiser(d, k)
    ratio = (one.a.T * one.moment * one.a_star)[0] / (one.a.T * one.moment * one.a)[0]
    assert all(sp.cancel(b - ratio * b_star) == 0 for b, b_star in zip(derived.expressions, one.b_star, strict=True))
    curvature = sp.hessian(one.loss, list(one.b)) - FACTOR * (one.a.T * one.moment * one.a)[0] * sp.eye(k)
    assert curvature.applyfunc(sp.expand).is_zero_matrix


def test_dropping_the_second_moment_is_another_minimiser():
    assert symbolic.b_minimiser(2, 1, isotropic=True).expressions != symbolic.b_minimiser(2, 1).expressions


def test_gradients_are_the_matrix_expressions_and_vanish_where_they_should():
    one, (by_a, by_b) = symbolic.client(3, 2), symbolic.gradients(3, 2)
    written = FACTOR * one.moment * (one.a * (one.b.T * one.b)[0] - one.a_star * (one.b_star.T * one.b)[0])
    assert (sp.Matrix(by_a.expressions) - written).applyfunc(sp.expand).is_zero_matrix
    best = dict(zip(one.b, symbolic.b_minimiser(3, 2).expressions, strict=True))
    assert all(sp.cancel(entry.subs(best)) == 0 for entry in by_b.expressions)
    truth = dict(zip((*one.a, *one.b), (*one.a_star, *one.b_star), strict=True))
    assert all(sp.expand(entry.subs(truth)) == 0 for entry in (*by_a.expressions, *by_b.expressions))


def test_the_bound_of_the_rounding_covers_what_exact_arithmetic_shows():
    derived, d, k = symbolic.b_minimiser(3, 2), 3, 2
    for number in range(20):
        draw = KEY.fold("rounding", number)
        a_star, b_star = random_truth(draw.fold("truth"), d, k)
        model, a = sample(draw.fold("data"), 1, 4, a_star, b_star, 2), draw.fold("a").generator().standard_normal(d)
        numbers = (2.0, *model.moments[0][np.triu_indices(d)], *a_star, *b_star, *a, *np.zeros(k))
        at = dict(zip(derived.arguments, (sp.Rational(float(each)) for each in numbers), strict=True))
        exact = np.array([float((each.subs(at)).evalf(40)) for each in derived.expressions])
        bound = derived.rounding(*numbers) + np.finfo(float).eps * np.abs(exact)  # exact is itself rounded to float64
        assert np.all(np.abs(derived.value(*numbers) - exact) <= bound)
        assert np.all(np.abs(b_step(model, 0, a) - exact) <= bound)


def test_rounding_is_refused_where_the_expression_is_not_rational():
    with pytest.raises(sp.PolynomialError):
        symbolic.population_map().rounding(0.3, 0.2, 2.0)


def test_the_two_forms_of_the_map_agree_and_are_the_known_ones():
    angle, tangents = symbolic.population_map().expressions
    written = (1 - FACTOR * KAPPA * sp.cos(THETA) ** 2) / (1 + FACTOR * KAPPA * sp.sin(THETA) ** 2)
    assert sp.simplify(tangents - written) == 0
    assert sp.simplify(sp.expand_trig(sp.tan(angle)) - sp.tan(THETA) * tangents) == 0


def test_the_step_is_orthogonal_to_a_so_that_no_branch_of_the_arctangent_is_lost():
    """At the b-step, for any S: the new a has length 1 along the old one, so the turn stays below a right angle."""
    one, (by_a, _) = symbolic.client(2, 2), symbolic.gradients(2, 2)
    best = dict(zip(one.b, symbolic.b_minimiser(2, 2).expressions, strict=True))
    along = sum(a * entry for a, entry in zip(one.a, by_a.expressions, strict=True))
    assert sp.cancel(along.subs(best)) == 0


def test_zero_attracts_below_the_critical_step_and_the_saddle_never_does():
    zero, saddle = symbolic.fixed_points()
    assert (zero, saddle) == (0, sp.pi / 2)
    assert symbolic.stable_steps(zero, 2) == sp.Interval.open(0, 1)
    assert symbolic.stable_steps(zero, 1) == sp.Interval.open(0, 2)
    assert symbolic.stable_steps(saddle, 2) == symbolic.stable_steps(saddle, 1) == sp.EmptySet


def test_the_multiplier_is_the_derivative_of_the_map():
    angle = symbolic.population_map().expressions[0]
    for point in symbolic.fixed_points():
        slope = sp.diff(angle, THETA).subs(THETA, point)
        assert sp.simplify(slope - symbolic.expansion(point, 1).expressions[0]) == 0


@pytest.mark.parametrize(("kappa", "factor"), [(sp.Rational(1, 2), 2), (sp.Integer(1), 1)])
def test_convergence_is_cubic_where_the_multiplier_vanishes(kappa, factor):
    found = [each.subs({KAPPA: kappa, FACTOR: factor}) for each in symbolic.expansion(sp.Integer(0), 4).expressions]
    assert found == [0, 0, 1, 0]


def test_even_terms_vanish_at_both_fixed_points():
    for point in symbolic.fixed_points():
        assert not any(symbolic.expansion(point, 8).expressions[1::2])


def test_the_excess_is_a_convex_parabola_whose_ends_decide():
    (q,), (x, *_) = symbolic.contraction_excess().expressions, symbolic.contraction_excess().arguments
    leading = sp.Poly(q, x).coeff_monomial(x**2)
    assert sp.expand(leading - FACTOR**2 * KAPPA**2 * (2 - KAPPA * C0)) == 0
    assert sp.expand(q.subs(x, 1) - ((1 - FACTOR * KAPPA) ** 2 - (1 - KAPPA * C0))) == 0
    inner = -3 + 4 * KAPPA * (2 * C0 - 1) + 4 * KAPPA**2 * C0 * (1 - C0)
    assert sp.expand(q.subs({x: C0, FACTOR: 2}) - KAPPA * C0 * inner) == 0


def test_the_inner_end_of_the_parabola_is_not_positive_on_the_whole_range():
    """At f = 2 the bracket of q(c_0) is convex in kappa, so 0 and the range's end decide it, for every c_0 in (0, 1)."""
    (q,), (x, *_) = symbolic.contraction_excess().expressions, symbolic.contraction_excess().arguments
    bracket = sp.cancel(q.subs({x: C0, FACTOR: 2}) / (KAPPA * C0))
    assert sp.diff(bracket, KAPPA, 2).factor() == -8 * C0 * (C0 - 1)
    c0 = sp.Symbol("c_0", real=True)
    for end in (sp.Integer(0), symbolic.largest_kappa(2).expressions[0]):
        at_end = bracket.subs(KAPPA, end).subs(C0, c0)
        positive = sp.solve_univariate_inequality(at_end > 0, c0, relational=False, domain=sp.Interval.open(0, 1))
        assert positive == sp.EmptySet


@pytest.mark.parametrize("factor", [1, 2])
def test_the_range_ends_where_the_bounds_say(factor):
    for c0 in (0.1, 0.5, 0.9):
        assert symbolic.largest_kappa(factor).value(c0)[0] == pytest.approx(bounds.largest_kappa(c0, factor))


@pytest.mark.parametrize("clients", [2, 3])
def test_interference_is_the_covariance_and_a_form_over_pairs(clients):
    derived, difference = symbolic.interference(clients)
    assert difference.is_zero_matrix
    weights = derived.arguments[:clients]
    assert all(sp.Poly(entry, *weights).coeff_monomial(p**2) == 0 for entry in derived.expressions for p in weights)


def test_interference_vanishes_where_one_factor_is_common():
    derived, _ = symbolic.interference(3)
    symbols = derived.arguments[3:]
    common_a = {symbols[4 * i + j]: symbols[j] for i in (1, 2) for j in range(4)}
    assert all(sp.expand(entry.subs(common_a)) == 0 for entry in derived.expressions)


def test_the_moments_are_those_of_students_t():
    moment = symbolic.noise_moment("Student", 2, 0)
    for degrees in (3, 4, 7):
        assert float(moment.subs(SAMPLES, degrees)) == pytest.approx(
            stats.t(df=degrees, scale=degrees**-0.5).var(), rel=1e-12
        )
    assert symbolic.noise_moment("Student", 1, 1) == 0
    assert symbolic.noise_moment("Student", 0, 1) == SAMPLES


def test_the_three_constants_and_the_normal_limit():
    average = -1 / (CLIENTS * SAMPLES) + 2 * (CLIENTS - 1) / (CLIENTS**2 * SAMPLES * (SAMPLES - 2))
    written = {
        "population": 1 / (CLIENTS * (SAMPLES - 2)),
        "average": average,
        "minimiser": -1 / (CLIENTS * SAMPLES),
    }
    for loss, expression in written.items():
        (derived,) = symbolic.ffa_excess(loss).expressions
        assert sp.simplify(derived - expression) == 0
        (normal,) = symbolic.ffa_excess(loss, "normal").expressions
        assert sp.limit((derived - normal) * SAMPLES, SAMPLES, sp.oo) == 0
    assert symbolic.ffa_excess("population", "normal").expressions != symbolic.ffa_excess("population").expressions


def test_one_client_average_is_its_own_minimiser():
    (average,), (minimiser,) = (symbolic.ffa_excess(loss).expressions for loss in ("average", "minimiser"))
    assert sp.simplify((average - minimiser).subs(CLIENTS, 1)) == 0
