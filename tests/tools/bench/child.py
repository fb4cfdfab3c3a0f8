"""``python -m tests.tools.bench.child NAME FOLDER``: one contestant in a process of its own.

Every line on its standard input asks for a pass; the answers, a line of JSON each, come on what was its standard output.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

ENGINES = {
    "sequential": {"engine": "sequential"},
    "batched": {"engine": "batched"},
    "batched-prefix": {"engine": "batched", "prefix_cache": True},
    "batched-bf16": {"engine": "batched", "dtype": "bfloat16"},
    "batched-bf16-prefix": {"engine": "batched", "dtype": "bfloat16", "prefix_cache": True},
    "batched-bf16-compiled": {"engine": "batched", "dtype": "bfloat16", "compile": True},
    "batched-bf16-compiled-prefix": {"engine": "batched", "dtype": "bfloat16", "compile": True, "prefix_cache": True},
}
"""Name of a contestant -> what its config has in ``[runtime]``."""


def main() -> None:
    """Load, warm up, and run a pass for every line read, until there is none."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not come between the answers

    def answer(**words: object) -> None:
        answers.write(json.dumps(words) + "\n")
        answers.flush()

    try:
        if name == "plain":
            from tests.tools.bench.plain_loop import contestant as prepared

            run = prepared(folder)
        elif name == "flower":
            from tests.tools.bench.flower_simulation import contestant as prepared

            run = prepared(folder)
        else:
            from tests.tools.bench import engines

            run = engines.contestant(folder, ENGINES[name] | json.loads(sys.argv[3]))
        from safetensors.torch import save_file

        answer(ready=True)
        for number, _ in enumerate(sys.stdin):
            seconds, final, more = run()
            path = folder / f"{name}-{number}.safetensors"
            save_file({key: tensor.contiguous() for key, tensor in final.items()}, path)
            answer(seconds=seconds, final=path.name, **more)
    except Exception as error:
        answer(error=" ".join(f"{type(error).__name__}: {error}".split())[:300])
        raise


if __name__ == "__main__":
    main()
