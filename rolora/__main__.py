"""``rolora``, or ``python -m rolora``: the command line."""

import os

from rolora.cli.app import app


def main() -> None:
    """Run the command line as the script ``rolora``."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    app(prog_name="rolora")


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    app(prog_name="python -m rolora")
