"""The body of a request: read to its end and dropped, so that the next request can be found.

Chunks are read here and strictly: what makes a body's end depend on its reader (lone line feeds,
carriage returns within a line) is refused, and not skipped as most readers do.
"""

import re

from ..answers import Reason, Refusal
from .strict import FIELD_LINE, Head

LIMIT = 64 * 1024
"""The longest body that is read to its end, in bytes as they are sent."""

# RFC 9112 §7.1: the size, and extensions that mean nothing to us.
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t -~\x80-\xff]*)?")


class TooLong(Exception):
    """A body that is not worth reading to its end."""


class Body:
    """One body; raises `TooLong` if its length is told beforehand and beyond the limit."""

    def __init__(self, head: Head) -> None:
        self._taken = 0
        self._framing = _Chunks() if head.is_chunked else _Counted(head.content_length)

    def take(self, data: bytes) -> bytes | None:
        """What is left of `data` after the body's end; None if it goes on.

        Raises `TooLong`, and `Refusal` where the framing is broken. Neither depends on how the
        bytes came: no byte beyond the limit is looked at.
        """
        room = LIMIT - self._taken
        end = self._framing.find_end(data[:room])
        if end is not None:
            return data[end:]
        if len(data) > room:
            raise TooLong
        self._taken += len(data)
        return None


class _Counted:
    """A body whose length the head tells."""

    def __init__(self, length: int) -> None:
        if length > LIMIT:
            raise TooLong
        self._left = length

    def find_end(self, data: bytes) -> int | None:
        """Where the body ends in `data`, which follows on what came before; None if beyond."""
        if len(data) >= self._left:
            return self._left
        self._left -= len(data)
        return None


class _Chunks:
    """A body that comes in chunks, which are lines of framing with data in between."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._left = 0  # of a chunk's data
        self._read = self._read_size

    def find_end(self, data: bytes) -> int | None:
        """Where the body ends in `data`, which follows on what came before; None if beyond."""
        at = 0
        while at < len(data):
            if self._left:
                skipped = min(self._left, len(data) - at)
                self._left -= skipped
                at += skipped
                continue
            start, at = at, data.find(b"\n", at) + 1 or len(data)
            self._line += data[start:at]
            if self._line.endswith(b"\n"):
                line, self._line = bytes(self._line), bytearray()
                if not line.endswith(b"\r\n"):
                    raise Refusal(400, "lines must end with CR LF", Reason.LINE_END)
                if self._read(line[:-2]):
                    return at
        return None

    def _read_size(self, line: bytes) -> bool:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise Refusal(400, "the size of a chunk is malformed", Reason.FRAMING)
        self._left = int(match[1], 16)
        if self._left > LIMIT:
            raise TooLong
        self._read = self._read_data_end if self._left else self._read_trailer
        return False

    def _read_data_end(self, line: bytes) -> bool:
        if line:
            raise Refusal(400, "a chunk is longer than its size", Reason.FRAMING)
        self._read = self._read_size
        return False

    def _read_trailer(self, line: bytes) -> bool:
        if line and FIELD_LINE.fullmatch(line) is None:
            raise Refusal(400, "a trailer field is malformed", Reason.FIELD)
        return not line
