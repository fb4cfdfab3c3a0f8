r"""Up to which step the claimed factor is a bound, by solving for it.

**Statement.** In the population :math:`\delta^+ \le \delta\sqrt{1 - \kappa c_0}` at every angle with
:math:`\cos^2\theta \ge c_0` iff :math:`\kappa \le 1 - c_0/4` for f = 2, and iff :math:`\kappa \le 2 - c_0` for f = 1.

**Assumptions.** S_i = I, by construction; :math:`0 < c_0 < 1`, as drawn.

**Direction.** Tight: at the end of the range the factor is attained as theta -> 0.

**Source.** The factor: Lemma 4.4, arXiv 2502.01755v4 (as quoted elsewhere). The range is derived here.

**Derivation.** From the tangents of ``symbolic-population-map`` SymPy forms :math:`q(x)`, x = cos^2 theta, whose sign is that
of :math:`(\delta^+/\delta)^2 - (1 - \kappa c_0)`. Its leading coefficient :math:`f^2\kappa^2(2 - \kappa c_0)` is positive, so q
is convex and the ends of [c_0, 1] decide; :math:`q(1) = (1 - f\kappa)^2 - (1 - \kappa c_0)`, and its positive root is the end of
the range. That q(c_0) is not positive up to there is checked with q itself, at random x and kappa.

**Control.** The range derived for f = 1, taken for f = 2.
"""

from rolora.keys import Key
from theory import symbolic
from theory.linear.assumptions import overlap
from theory.linear.bounds import contraction, largest_kappa
from theory.linear.geometry import angle_distance, start_at
from theory.linear.model import GradientFactor, population, random_truth
from theory.linear.rounds import alt_min_gd
from theory.verification.claim import EPS, Instances, Statement, at_most, equal

DIMENSION, DELTA, DRAWS = 5, 1e-5, 40


def _instances(key: Key, factor: GradientFactor, derived_factor: GradientFactor) -> Instances:
    for number in range(DRAWS):
        draw = key.fold("instance", number)
        stream = draw.generator()
        c0 = float(stream.uniform(0.01, 0.99))
        end = float(symbolic.largest_kappa(derived_factor).value(c0)[0])
        where = f"c0={c0:.3f}, kappa={end:.3f}, f={factor}"
        yield equal(end, largest_kappa(c0, factor), EPS * 2, f"theory.linear.bounds, {where}")
        a_star, b_star = random_truth(draw.fold("truth"), DIMENSION, 3)
        model, a0 = population(1, a_star, b_star, factor), start_at(draw.fold("a0"), a_star, DELTA)
        before, after = angle_distance(alt_min_gd(model, a0, end / float(b_star @ b_star), 1).a, a_star)
        # The local ratio is met up to (f kappa + (f kappa)^2/2) delta^2, and angles are known to rounding, absolute.
        step = factor * end
        slack = (step + step**2 / 2) * DELTA**2 + EPS * DIMENSION * (1 + step) / DELTA
        near_a_star = overlap(model, a0) >= c0
        # Beyond kappa c0 = 1 the claimed factor is not a real number, and nothing is compared with it.
        factor_claimed = contraction(end, c0) if end * c0 <= 1 else 0.0
        yield equal(after / before, factor_claimed, slack, f"RoLoRA's rounds at a*, {where}", near_a_star)
        x, kappa = float(stream.uniform(c0, 1.0)), end * float(stream.uniform(0.0, 1.0))
        for place in (x, c0):
            numbers, derived = (place, kappa, float(factor), c0), symbolic.contraction_excess()
            excess, slack = float(derived.value(*numbers)[0]), float(derived.rounding(*numbers)[0])
            yield at_most(excess, 0.0, slack, f"q({place:.3f}), kappa={kappa:.3f}, c0={c0:.3f}, f={factor}")


def check(key: Key) -> Instances:
    """Random c_0 in both conventions."""
    return [*_instances(key.fold("f", 1), 1, 1), *_instances(key.fold("f", 2), 2, 2)]


def control(key: Key) -> Instances:
    """The other convention's range."""
    return _instances(key, 2, 1)


CLAIM = Statement(
    source="factor: Lemma 4.4, arXiv 2502.01755v4 (as quoted elsewhere); range derived here by SymPy",
    kind="identity",
    statement="solving (1 - f k)^2 = 1 - k c0 ends the range of sqrt(1 - k c0) at k = 1 - c0/4 (f = 2), 2 - c0 (f = 1)",
    convention="both: f = 2 for (1/m)||.||^2, f = 1 for (1/(2m))||.||^2",
)
