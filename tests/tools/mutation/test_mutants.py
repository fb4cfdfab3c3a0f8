"""The list of mistakes stays applicable, and its table complete; making them is ``make mutation``."""

import pytest

from tests.tools.mutation.__main__ import TABLE
from tests.tools.mutation.mutants import MUTANTS, ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}-{mutant.mistake}")
def test_the_mistake_can_be_made(mutant):
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert mutant.apply(text) != text
    if mutant.file.endswith(".py"):
        compile(mutant.apply(text), mutant.file, "exec")


def test_the_table_has_every_mistake_and_each_was_noticed():
    rows = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [(file, mistake) for file, mistake, _ in cells] == [(f"`{one.file}`", one.mistake) for one in MUTANTS]
    assert all(by and by != "**nothing**" for _, _, by in cells)


def test_a_mistake_that_cannot_be_made_is_an_error():
    with pytest.raises(ValueError, match="0 times"):
        MUTANTS[0].apply("")
