"""Ways to stop a run within a process of its own; apart from the tests, so that a forked process imports no more than this."""

from __future__ import annotations

import os
import resource
import signal
import sys

from rolora.experiment import loop


def changes(folder, event, arguments):
    """Return whether an event of the interpreter (PEP 578) is one that changes a file of the folder, or is about to."""
    if event == "open":
        about_to_write = arguments[2] is not None and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        return bool(about_to_write) and str(arguments[0]).startswith(str(folder))
    return event in ("os.rename", "os.remove", "os.mkdir") and str(arguments[0]).startswith(str(folder))


def run_until(config, folder, fatal):
    """Run a config; end by SIGKILL before the ``fatal``-th change to its folder."""
    seen = []

    def hook(event, arguments):
        if changes(folder, event, arguments):
            seen.append(event)
            if len(seen) == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    loop.run(config, folder)


def limited(size):
    """Files of this process may grow to ``size`` bytes; more fails as on a full disk, with another errno."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
