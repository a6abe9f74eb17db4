"""An answer's bytes on the wire (RFC 9112 §4). The one place that writes them."""

from collections.abc import Iterable
from http import HTTPStatus

from ..answers import Answer, Fields

# Python 3.11 has a phrase of an older RFC for it.
_PHRASES = {414: "URI Too Long"}


def answer_fields(answer: Answer, date: bytes) -> Fields:
    """All of an answer's fields, in the order in which they are sent; `date` is an HTTP-date."""
    return ((b"Server", b"regroute"), (b"Date", date), *answer.fields)


def render_head(status: int, fields: Iterable[tuple[bytes, bytes]], *, close: bool) -> bytes:
    """An answer's head; `close` tells the client that the connection ends after it."""
    reason = _PHRASES.get(status, HTTPStatus(status).phrase).encode("ascii")
    lines = [b"HTTP/1.1 %d %s" % (status, reason)]
    lines += [b"%s: %s" % field for field in fields]
    if close:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"
