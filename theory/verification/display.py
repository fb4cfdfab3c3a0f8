"""Claims and verdicts as text for a terminal: blocks of at most 100 columns, with mathematics in its own characters."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.text import Text

from theory.verification.claim import Claim, Outcome
from theory.verification.runner import Failure

WIDTH = 100
INDENT = "    "
STYLES = {"refuted": "red", "not run": "yellow"}
GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eps": "ε", "eta": "η", "theta": "θ", "kappa": "κ",
    "lambda": "λ", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "psi": "ψ", "omega": "ω", "Sigma": "Σ",
}  # fmt: skip
SUPERSCRIPTS = str.maketrans("0123456789+-TKNtnijk", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵀᴷᴺᵗⁿⁱʲᵏ")
SUBSCRIPTS = str.maketrans("0123456789aehijklmnoprstuvx+", "₀₁₂₃₄₅₆₇₈₉ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ₊")
RAISED = "".join(map(chr, SUPERSCRIPTS))
LOWERED = "".join(map(chr, SUBSCRIPTS)).replace("+", "")


def typeset(text: str) -> str:
    """Return a plain ASCII formula with Greek letters, indices, powers and relations in their own characters.

    What has no character of its own (a power such as ``^(t/2)``) stays as it is.

    Example:
        >>> typeset("delta+ <= delta sqrt(1 - kappa c0), kappa = eta ||b-bar*||^2")
        'δ⁺ ≤ δ √(1 - κ c₀), κ = η ‖b̄*‖²'
        >>> typeset("sum p_i A_i B_i, any weights that sum to one")
        'Σ pᵢ Aᵢ Bᵢ, any weights that sum to one'
    """
    text = re.sub(r"\|\|(.+?)\|\|", r"‖\1‖", text).replace("‖.‖", "‖·‖")
    text = re.sub(r"\b(xi|[A-Za-z])-bar\b", "\\1\u0304", text)
    text = re.sub(r"\bsum(?=_|\(| \(?[A-Za-z]+_[a-z])", "Σ", text)
    text = re.sub(r"\bsqrt(?=\()", "√", text)
    text = re.sub(r"\bsqrt (?=\w)", "√", text)
    text = re.sub(rf"(?<![A-Za-z])({'|'.join(GREEK)})(?![A-Za-z])", lambda match: GREEK[match[1]], text)
    text = re.sub(r"_inf\b", "_∞", text)
    text = re.sub(r"(?<=[α-ωcf])(?<![A-Za-z][cf])(\d)(?![\d.])", lambda match: match[1].translate(SUBSCRIPTS), text)
    text = re.sub(
        rf"_([{LOWERED}])(?![A-Za-z0-9])|_\(([{LOWERED}]\+\d)\)",
        lambda match: (match[1] or match[2]).translate(SUBSCRIPTS),
        text,
    )
    text = re.sub(
        rf"\^(-?\d+|[{re.escape(RAISED)}])(?![A-Za-z0-9])|\^\(([{re.escape(RAISED)}]+)\)",
        lambda match: (match[1] or match[2]).translate(SUPERSCRIPTS),
        text,
    )
    text = re.sub(r"(?<=[A-Za-zα-ωⱼ])\+(?=[ /),]|$)", "⁺", text)
    text = re.sub(r"(?<=[0-9)]) x (?=[0-9{])", " × ", text)
    for plain, character in (("<=", "≤"), (">=", "≥"), ("!=", "≠"), ("+-", "±"), ("->", "→")):
        text = text.replace(plain, character)
    return text


def _lines(text: str, label: str = "") -> Iterator[Text]:
    for line in textwrap.wrap(label + typeset(text), WIDTH, initial_indent=INDENT, subsequent_indent=INDENT + "  "):
        yield Text(line)


def listed(claim: Claim) -> Iterator[Text]:
    """Yield the lines of a claim in the list: id, kind, direction and expected verdict; statement; source."""
    yield Text(f"{claim.id}: {claim.kind}, {claim.direction}, expected: {claim.expected}")
    yield from _lines(claim.statement)
    yield from _lines(claim.source)


def checked(outcome: Outcome) -> Iterator[Text]:
    """Yield the lines of an outcome: id and verdicts; statement; numbers at the worst instance; convention; source."""
    claim, result, control = outcome.claim, outcome.result, outcome.control.verdict
    first = Text(f"{claim.id}: ").append(result.verdict, STYLES.get(result.verdict, "green"))
    if result.verdict != claim.expected:
        first.append(f" (expected: {claim.expected})", "red")
    elif result.verdict == "refuted":
        first.append(" as expected")
    first.append("; control ").append(control, "green" if control == "refuted" else "red")
    if outcome.contrast is not None:
        verdict = outcome.contrast.verdict
        first.append("; contrast ").append(verdict, "green" if verdict == "holds" else "red")
    yield first
    yield from _lines(claim.statement)
    numbers = f"measured {result.measured:.4g}, predicted {result.predicted:.4g} ({claim.direction})"
    yield from _lines(f"{numbers}; worst of {result.instances} instances: {result.where}")
    yield from _lines(claim.convention)
    yield from _lines(claim.source)


def summary(outcomes: Sequence[Outcome | Failure], file: str | None) -> Iterator[Text]:
    """Yield the end of a check: counts by verdict, the refuted statements, and where the numbers are.

    Args:
        outcomes: of all checked claims.
        file: the path of the written JSON file, if there is one.
    """
    verdicts = Counter(outcome.result.verdict if isinstance(outcome, Outcome) else "not run" for outcome in outcomes)
    counts = ", ".join(f"{verdict} {count}" for verdict, count in verdicts.most_common())
    missed = sum(not outcome.passed for outcome in outcomes)
    yield Text(f"{len(outcomes)} {'claim' if len(outcomes) == 1 else 'claims'}: {counts}.", "bold")
    expected = "All verdicts are as expected, and all controls are refuted."
    yield Text(f"{missed} not as expected, see the errors." if missed else expected, "red" if missed else "green")
    refuted = [outcome for outcome in outcomes if isinstance(outcome, Outcome) and outcome.result.verdict == "refuted"]
    if refuted:
        yield Text("Refuted:")
    for outcome in refuted:
        yield from _lines(outcome.claim.statement, label=f"{outcome.claim.id}: ")
    yield Text(f"JSON: {file}" if file else "JSON: not written (--json FILE writes it)")
    yield Text("Table of all claims: paper_figures/rendered/tab_claims.md")
