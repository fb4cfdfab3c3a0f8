"""``python -m tests.tools.mutation``: make every mistake in turn and see which claim, control or test fails.

Each mistake is made in a copy of the project. There the claims run first, the quick ones before the slow ones, until one
has not its expected verdict or its control is not refuted; if all pass, the tests of the theory, the methods and the round
run until one fails. A mistake that nothing notices is a hole, and the command ends with status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.tools.mutation.mutants import MUTANTS, ROOT, Mutant

TABLE = Path(__file__).with_name("table.md")
PARTS = ("rolora", "theory", "paper_figures", "tests", "pyproject.toml", "README.md")
TESTS = ("tests/theory", "theory", "tests/algorithms", "tests/federation/test_round.py")

CLAIMS_UNTIL_ONE_FAILS = """
import json, sys
from pathlib import Path
import theory.verification.claim, theory.verification.registry
assert Path(theory.verification.claim.__file__).is_relative_to(Path.cwd()), theory.verification.claim.__file__
seconds = json.loads(Path(sys.argv[1]).read_text())
for claim in sorted(theory.verification.registry.registry().values(), key=lambda claim: seconds.get(claim.id, 1.0)):
    outcome = theory.verification.claim.run(claim, 0)
    if not outcome.passed:
        if outcome.control.verdict != "refuted":
            print(f"control of {claim.id}: {outcome.control.verdict}")
        else:
            print(f"claim {claim.id}: {outcome.result.verdict}")
        break
"""


def main() -> int:
    """Print the table, write it beside this file, and return 1 if a mistake went unnoticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.mutation", description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="only mutants whose file or mistake contains one of these words")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    arguments = parser.parse_args()
    chosen = [one for one in MUTANTS if _named(one, arguments.words)]
    if not chosen:
        print(f"error: no mutant's file or mistake contains {' or '.join(arguments.words)}", file=sys.stderr)
        return 2
    print("without a mistake: ", end="", flush=True)
    sound = noticed(None)
    print(sound or "everything passes")
    if sound:
        print("error: something fails before any mistake is made, expected everything to pass", file=sys.stderr)
        return 1
    rows = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for mutant, by in zip(chosen, pool.map(noticed, chosen), strict=True):
            rows.append((mutant, by))
            print(f"{mutant.file}: {mutant.mistake}: {by or 'NOT NOTICED'}", flush=True)
    if chosen == list(MUTANTS):
        TABLE.write_text(table(rows), encoding="utf-8")
    survivors = sum(not by for _, by in rows)
    print(f"{len(rows)} mistakes, {len(rows) - survivors} noticed")
    return 1 if survivors else 0


def _named(mutant: Mutant, words: list[str]) -> bool:
    return not words or any(word in f"{mutant.file} {mutant.mistake}" for word in words)


def noticed(mutant: Mutant | None) -> str:
    """Return the first failure with this mistake in the project (None: no mistake), or an empty string."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(
                    source, copy / part, ignore=shutil.ignore_patterns("__pycache__", "finetuning", "learning_rates")
                )
            else:
                shutil.copy(source, copy / part)
        if mutant is not None:
            path = copy / mutant.file
            path.write_text(mutant.apply(path.read_text(encoding="utf-8")), encoding="utf-8")
        return _claims(copy) or (_tests(copy) if mutant is not None else "")


def _run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(copy)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )


def _claims(copy: Path) -> str:
    seconds = copy / "seconds.json"
    record = json.loads((copy / "paper_figures/data/claims.json").read_text(encoding="utf-8"))
    seconds.write_text(json.dumps({claim["id"]: claim["seconds"] for claim in record}), encoding="utf-8")
    done = _run(copy, "-c", CLAIMS_UNTIL_ONE_FAILS, str(seconds))
    if done.returncode:
        return f"the claims stop with {done.stderr.strip().splitlines()[-1]}"
    return done.stdout.strip()


def _tests(copy: Path) -> str:
    # The claims have passed already.
    done = _run(copy, "-m", "pytest", "-x", "-q", "--no-header", "-k", "not has_its_expected_verdict", *TESTS)
    if done.returncode == 0:
        return ""
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return "test " + (failed[0].split()[1] if failed else "run stops")


def table(rows: list[tuple[Mutant, str]]) -> str:
    """The result in Markdown."""
    lines = [
        "# Mistakes made on purpose, and what notices them",
        "",
        "Made by `make mutation`: each mistake alone, in a copy of the project; what failed first.",
        "",
        "| file | mistake | noticed by |",
        "|---|---|---|",
        *(f"| `{mutant.file}` | {mutant.mistake} | {by or '**nothing**'} |" for mutant, by in rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
