"""The audit of the lock: a known vulnerability fails it, and an index that says nothing is never taken for a good answer."""

from __future__ import annotations

import json

import pytest

from tests.tools.audit import judged

GOOD = {"name": "good", "version": "1.0", "vulns": []}
BAD = {"name": "bad", "version": "2.0", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1"]}]}
UNKNOWN = {"name": "unknown", "skip_reason": "not found"}


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize(
    ("packages", "strict_status", "lenient_status", "words"),
    [
        ([GOOD], 0, 0, "no known vulnerability in 1 packages"),
        ([GOOD, BAD], 1, 1, "bad 2.0: CVE-1, mended in 2.1"),
        ([GOOD, UNKNOWN], 1, 0, "NOT DONE for 1 of 2 packages"),
        ([BAD, UNKNOWN], 1, 1, "NOT DONE for 1 of 2 packages"),
        ([], 1, 0, "NOT DONE for 0 of 0"),
    ],
)
def test_what_an_answer_is_worth(packages, strict_status, lenient_status, words, lenient):
    status, text = judged(json.dumps({"dependencies": packages}), lenient)
    assert status == (lenient_status if lenient else strict_status)
    assert words in text


@pytest.mark.parametrize("answer", ["", "no JSON", "[]", "{}"])
def test_no_answer_is_no_good_answer(answer):
    assert judged(answer, False) == (1, "audit: NOT DONE: the index could not be asked")
    assert judged(answer, True)[0] == 0
