r"""Printed accuracies equal to the majority-class baseline.

**Statement.** Of all printed accuracies of one task [V, S] two are, to the printed digits, the share of the task's most frequent
label in the validation set [S]: FlexLoRA's on RTE with 50 clients, 52.71, and on MNLI with Dirichlet label skew, 35.45 (both
[S], arXiv 2502.01755v4, Tables 1 and 2).

**Assumptions.** The validation set is the test set, as arXiv 2409.02346 says [V]; label counts as published [S].

**Direction.** Tight for the two; every other accuracy is at least half a printed unit away.

**Source.** arXiv 2409.02346, Tables 1, 2, 3, 7, 8; arXiv 2502.01755v4, Tables 1, 2, 4 (as quoted elsewhere).

**Derivation.** Arithmetic: 146 of 277 is 52.708 %, 3479 of 9815 is 35.446 %. A model that always answers the most frequent
label has exactly these accuracies; a trained one may have them by chance. LoRA's 52.23 on RTE with 50 clients [S] is below
the share by less than half a point.

**Control.** The same with the share of another task.
"""

from rolora.keys import Key
from theory.printed_numbers import TASKS, accuracies, constant_rate
from theory.verification.claim import EPS, Instances, Statement, at_least, equal

CONSTANT = ("P1-1-r4-cells, 50 clients, flexlora, RTE", "P1-2, 10 clients, flexlora, MNLI")


def _comparisons(rate_of: dict[str, str]) -> Instances:
    for task, printed in accuracies():
        rate, half = constant_rate(rate_of[task]), printed.resolution / 2
        where = f"{printed.where}, most frequent label of {rate_of[task]}"
        if printed.where in CONSTANT:
            yield equal(printed.value, rate, half + EPS * 100, where)
        else:
            yield at_least(abs(printed.value - rate), half, EPS * 100, f"distance, {where}")


def check(key: Key) -> Instances:
    """Every printed accuracy; nothing is random."""
    return _comparisons({task: task for task in TASKS})


def control(key: Key) -> Instances:
    """The next task's share."""
    return _comparisons(dict(zip(TASKS, (*TASKS[1:], TASKS[0]), strict=True)))


CLAIM = Statement(
    source="arXiv 2409.02346 (read in the paper), arXiv 2502.01755v4, Tables 1, 2, 4 (as quoted elsewhere)",
    kind="measurement",
    statement="two printed accuracies equal their task's most frequent label: FlexLoRA on RTE 52.71, MNLI 35.45 [S]",
    convention="none: arithmetic on printed numbers",
)
