"""What the index knows against the pinned packages: ``python -m tests.tools.audit ANSWER [--lenient]``, with pip-audit's JSON.

pip-audit itself ends well when the index has answered nothing about a package. Here that is a fault, unless it is allowed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def judged(answer: str, lenient: bool) -> tuple[int, str]:
    """The exit status and the lines to print.

    Example:
        >>> judged('{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}', False)
        (0, 'audit: no known vulnerability in 1 packages')
        >>> judged("", True)
        (0, 'audit: NOT DONE: the index could not be asked')
    """
    try:
        packages = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return (0 if lenient else 1), "audit: NOT DONE: the index could not be asked"
    found = [
        f"audit: {one['name']} {one['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions']) or 'no version'}"
        for one in packages
        for fault in one.get("vulns", [])
    ]
    unknown = sum("skip_reason" in one for one in packages)
    if unknown or not packages:
        found.append(f"audit: NOT DONE for {unknown} of {len(packages)} packages: the index has no answer about them")
    failed = any("NOT DONE" not in line for line in found) or (bool(found) and not lenient)
    return int(failed), "\n".join(found) or f"audit: no known vulnerability in {len(packages)} packages"


if __name__ == "__main__":
    file = Path(sys.argv[1])
    status, text = judged(file.read_text() if file.exists() else "", "--lenient" in sys.argv[2:])
    print(text)
    sys.exit(status)
