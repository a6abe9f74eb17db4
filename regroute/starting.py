"""How a start fails: with a message, and without a traceback."""


class CannotStart(SystemExit, Exception):  # named for what happened
    """The daemon cannot start, for the reason that it is given.

    An `Exception` too: only for those does twistd, in the background, tell its parent and remove
    its pid file.
    """
