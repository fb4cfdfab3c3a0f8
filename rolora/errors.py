"""The one kind of error that a user can cause and mend."""


class InputError(Exception):
    """What was given, what was expected and where it came from, in one line.

    The commands print its text and exit with status 2; a traceback is shown only with ``--debug``.
    """
