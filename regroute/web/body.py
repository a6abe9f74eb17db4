"""The body of a request that nobody needs: read to its end and dropped, to find what follows."""

from .framing import Chunked, Counted, Framing
from .strict import Head

LIMIT = 64 * 1024
"""The longest body that is read to its end, in bytes as they are sent."""


class TooLong(Exception):
    """A body that is not worth reading to its end."""


def framing_of(head: Head) -> Framing | None:
    """How a request's body is framed; None if it has none."""
    if head.is_chunked:
        return Chunked()
    return Counted(head.content_length) if head.content_length else None


class Body:
    """One body; raises `TooLong` if its length is told beforehand and beyond the limit."""

    def __init__(self, framing: Framing) -> None:
        self._taken = 0
        self._framing = framing
        self._look_ahead()

    def take(self, data: bytes) -> bytes | None:
        """What is left of `data` after the body's end; None if it goes on.

        Raises `TooLong`, and `Refusal` where the framing is broken. Neither depends on how the
        bytes came: no byte beyond the limit is looked at.
        """
        room = LIMIT - self._taken
        _, end = self._framing.take(data[:room])
        if end is not None:
            return data[end:]
        self._look_ahead()
        if len(data) > room:
            raise TooLong
        self._taken += len(data)
        return None

    def _look_ahead(self) -> None:
        if self._framing.left > LIMIT:
            raise TooLong
