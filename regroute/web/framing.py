"""How a body is framed: what its content is, and where it ends, however its bytes come.

Chunks are read strictly: what makes a body's end depend on its reader (lone line feeds, carriage
returns within a line) is refused, and not skipped as most readers do.
"""

import re
from typing import Protocol

from ..answers import Fields, Reason, Refusal
from .strict import FIELD_LINE

LONGEST_LINE = 4096
"""How long a line between chunks may be, in bytes."""
MOST_TRAILERS = 64
FINE = 64
"""Of how many bytes a chunk is, framing included, so that a body of them is work to read."""

# RFC 9112 §7.1: the size, and extensions that mean nothing to us.
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t -~\x80-\xff]*)?")
_PLAIN_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")


class Framing(Protocol):
    """Reads one body."""

    trailers: Fields
    """The fields after the body, with their names in lower case."""
    left: int
    """How many bytes of content are known to come, though there may be more."""
    is_fine: bool
    """Whether it comes in so small pieces that little of it should be taken at once."""

    def take(self, data: bytes) -> tuple[bytes, int | None]:
        """The content in `data`, which follows on what came before, and where the body ends in it.

        None if it goes on. Raises `Refusal` where the framing is broken.
        """


class Counted:
    """A body whose length is told beforehand."""

    trailers: Fields = ()
    is_fine = False

    def __init__(self, length: int) -> None:
        self.left = length

    def take(self, data: bytes) -> tuple[bytes, int | None]:
        """The content in `data`."""
        size, left = len(data), self.left
        if size < left:
            self.left = left - size
            return data, None
        self.left = 0
        return data[:left], left


class UntilClose:
    """A body that ends with its connection (RFC 9112 §6.3)."""

    trailers: Fields = ()
    left = 0
    is_fine = False

    def take(self, data: bytes) -> tuple[bytes, int | None]:
        """All is content."""
        return data, None


class Chunked:
    """A body that comes in chunks, which are lines of framing with data in between."""

    def __init__(self) -> None:
        self.trailers: Fields = ()
        self.left = 0  # of a chunk's data
        self.is_fine = False
        self._line = b""
        self._read = self._read_size

    def take(self, data: bytes) -> tuple[bytes, int | None]:
        """The content in `data`, without the lines of framing."""
        content: list[bytes] = []
        at = 0
        while at < len(data):
            if self.left:
                piece = data[at : at + self.left]
                content.append(piece)
                self.left -= len(piece)
                at += len(piece)
                continue
            if self._read == self._read_size and not self._line:
                at = _take_whole(data, at, content)
            start, at = at, data.find(b"\n", at) + 1 or len(data)
            self._line += data[start:at]
            if len(self._line) > LONGEST_LINE:
                raise Refusal(400, "a line between chunks is too long", Reason.FRAMING)
            if self._line.endswith(b"\n"):
                line, self._line = self._line, b""
                if not line.endswith(b"\r\n"):
                    raise Refusal(400, "lines must end with CR LF", Reason.LINE_END)
                if self._read(line[:-2]):
                    return b"".join(content), at
        self.is_fine = len(content) * FINE > len(data)
        return b"".join(content), None

    def _read_size(self, line: bytes) -> bool:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise Refusal(400, "the size of a chunk is malformed", Reason.FRAMING)
        self.left = int(match[1], 16)
        self._read = self._read_data_end if self.left else self._read_trailer
        return False

    def _read_data_end(self, line: bytes) -> bool:
        if line:
            raise Refusal(400, "a chunk is longer than its size", Reason.FRAMING)
        self._read = self._read_size
        return False

    def _read_trailer(self, line: bytes) -> bool:
        if not line:
            return True
        field = FIELD_LINE.fullmatch(line)
        if len(self.trailers) == MOST_TRAILERS:
            raise Refusal(400, "there are too many trailer fields", Reason.FIELD)
        if field is None:
            raise Refusal(400, "a trailer field is malformed", Reason.FIELD)
        self.trailers += ((field[1].lower(), field[2].strip(b" \t")),)
        return False


def _take_whole(data: bytes, at: int, content: list[bytes]) -> int:
    """Take the plain chunks that are there from `at` on; where the first other one begins.

    They may be of one byte each. Line by line they would take three times as long.
    """
    while (size := _PLAIN_SIZE.match(data, at)) is not None:
        start = size.end()
        end = start + int(size[1], 16)
        if end == start or data[end : end + 2] != b"\r\n":
            break
        content.append(data[start:end])
        at = end + 2
    return at
