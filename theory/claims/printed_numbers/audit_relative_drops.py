r"""The mean relative drops under quantisation recompute.

**Statement.** In arXiv 2409.02346, Table 8 [V], the mean over three tasks and over 8 and 4 bits of (full - quantised)/full is
.7, 1.3 and .7 per cent for LoRA, FFA-LoRA and RoLoRA, as printed.

**Assumptions.** The mean is taken over all six numbers of a method: inferred, it is not spelled out.

**Direction.** Tight: equality up to half a unit of the last printed digit.

**Source.** arXiv 2409.02346, Table 8 (read in the paper).

**Derivation.** Arithmetic: .717, 1.262 and .682.

**Control.** Drops in points of accuracy instead of relative ones.
"""

import numpy as np

from rolora.keys import Key
from theory.printed_numbers import METHODS, number, rows
from theory.verification.claim import EPS, Instances, Statement, equal


def check(key: Key, relative: bool = True) -> Instances:
    """Three methods; nothing is random."""
    for method in METHODS:
        drops = []
        for row in rows():
            if (row.table, row.method) == ("P2-8", method) and "full" in row.cells:
                full, *quantised = (cell.value for cell in row.cells.values())
                drops += [100 * (full - each) / (full if relative else 100) for each in quantised]
        printed = number("P2-8", method, "mean relative drop, %")
        slack = printed.resolution / 2 + EPS * 100
        yield equal(printed.value, np.mean(drops), slack, printed.where, met=len(drops) == 6)


def control(key: Key) -> Instances:
    """Points of accuracy."""
    return check(key, relative=False)


CLAIM = Statement(
    source="arXiv 2409.02346, Table 8 (read in the paper)",
    kind="measurement",
    statement="the mean relative drops under quantisation [V], .7, 1.3, .7 %, are those of the printed accuracies [V]",
    convention="none: arithmetic on printed numbers",
)
