"""What the admin listener answers, as values: the one place that makes its answers."""

import json
from collections.abc import Sequence
from typing import Any

from ..answers import Answer, Fields

_EVERY_REPLY: Fields = (
    (b"Cache-Control", b"no-store"),
    (b"X-Content-Type-Options", b"nosniff"),
)


def plain(status: int, line: str, *, allow: Sequence[str] = ()) -> Answer:
    """One line of plain text; a 405 tells in `allow` what is allowed (RFC 9110 §15.5.6)."""
    fields = ((b"Allow", ", ".join(allow).encode("ascii")),) if status == 405 else ()
    return content("text/plain; charset=utf-8", f"{line}\n".encode(), status, fields)


def document(status: int, value: Any) -> Answer:
    """A JSON document, as `json.dumps` writes it, and a line feed."""
    return content("application/json", json.dumps(value).encode("ascii") + b"\n", status)


def content(kind: str, body: bytes, status: int = 200, fields: Fields = ()) -> Answer:
    """Anything, of a media type `kind`."""
    first = (b"Content-Type", kind.encode("latin-1"))
    length = (b"Content-Length", b"%d" % len(body))
    return Answer(status, (first, *fields, *_EVERY_REPLY, length), body)
