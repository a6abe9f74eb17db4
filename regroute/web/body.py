"""The body of a request: read to its end and dropped, so that the next request can be found."""

import h11

from ..answers import Refusal
from .strict import Head

LIMIT = 64 * 1024
"""The longest body that is read to its end, in bytes as they are sent."""


class TooLong(Exception):
    """A body that is not worth reading to its end."""


class Body:
    """One body. h11 finds where chunks end: its reader is strict and public, Twisted's private."""

    def __init__(self, head: Head) -> None:
        self._taken = 0
        self._left = head.content_length
        self._chunks: h11.Connection | None = None
        if self._left > LIMIT:
            raise TooLong
        if head.is_chunked:
            self._chunks = h11.Connection(h11.SERVER)
            self._chunks.receive_data(
                b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            self._chunks.next_event()

    def take(self, data: bytes) -> bytes | None:
        """What is left of `data` after the body's end; None if it goes on.

        Raises `TooLong`, and `Refusal` where the framing is broken.
        """
        self._taken += len(data)
        rest = self._count(data) if self._chunks is None else self._read(self._chunks, data)
        if rest is None and self._taken > LIMIT:
            raise TooLong
        return rest

    def _count(self, data: bytes) -> bytes | None:
        if len(data) < self._left:
            self._left -= len(data)
            return None
        return data[self._left :]

    @staticmethod
    def _read(chunks: h11.Connection, data: bytes) -> bytes | None:
        if data:
            chunks.receive_data(data)
        try:
            while (event := chunks.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.EndOfMessage):
                    return chunks.trailing_data[0]
        except h11.RemoteProtocolError:
            raise Refusal(400, "a chunk of the body is malformed") from None
        return None
