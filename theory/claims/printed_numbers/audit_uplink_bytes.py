r"""The printed traffic against the bytes of the printed layers.

**Statement.** arXiv 2409.02346, Table 6 [V], uplink at rank 1, is four bytes for each number of the factors sent, over the
modules of Table 5 [V], budget 2: 4 (1024 + 1024) bytes a module for LoRA and 4 x 1024 for FFA-LoRA and RoLoRA.

**Assumptions.** fp32; W_q and W_v of RoBERTa-Large are 1024 x 1024 [S]. A KB may be 1,000 or 1,024 bytes: the nearer one counts.

**Direction.** Tight: equality up to half a unit of the last printed digit.

**Source.** arXiv 2409.02346, Tables 5 and 6 (read in the paper).

**Corrected.** No entry agrees. What the entries are equal to is the claim ``audit-uplink-floats``, and the numbers of modules
that they imply is ``audit-module-counts``.

**Derivation.** Arithmetic.

**Control.** The same in 16-bit floats, two bytes a number.
"""

from rolora.keys import Key
from theory.printed_numbers import METHODS, TASKS, load, modules, number
from theory.verification.claim import EPS, Instance, Instances, Statement, equal

UNITS = (1000, 1024)  # bytes in a KB


def _instance(method: str, task: str, bytes_a_number: int) -> Instance:
    width = int(load()["settings"]["hidden_width"]["value"])
    sent = bytes_a_number * (2 if method == "fedavg-lora" else 1) * width * modules(2, task)
    printed = number("P2-6", method, task)
    predicted = min((sent / unit for unit in UNITS), key=lambda size: abs(size - printed.value))
    return equal(printed.value, predicted, printed.resolution / 2 + EPS * 200, f"{printed.where}, KB")


def check(key: Key) -> Instances:
    """Three methods, five tasks, fp32; nothing is random."""
    return (_instance(method, task, 4) for method in METHODS for task in TASKS)


def control(key: Key) -> Instances:
    """Sixteen bits."""
    return (_instance(method, task, 2) for method in METHODS for task in TASKS)


CLAIM = Statement(
    source="arXiv 2409.02346, Tables 5 and 6 (read in the paper)",
    kind="measurement",
    statement="Table 6 [V], uplink at r = 1, is the fp32 bytes of the modules in Table 5 [V] at width 1024 [S]",
    convention="none: arithmetic on printed numbers",
    expected="refuted",
)
