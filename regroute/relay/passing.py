"""A registry's answer as its client gets it: bytes in as they come, bytes out as they are due.

Names are the front's, fields of one hop are dropped, and the body is framed for the client. A small
answer is sent whole or not at all, so that one that breaks off is no answer. No sockets here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..web.strict import FRAMING_FIELDS
from .rewrite import bodies
from .rewrite.names import DIGESTS
from .upstream.hops import end_to_end
from .upstream.response import render

if TYPE_CHECKING:
    from ..answers import Fields
    from .plan import Plan
    from .upstream.response import ResponseHead

SMALL = 64 * 1024
"""Up to how many bytes an answer is sent whole or not at all."""

_PLACES = (b"location", b"content-location")


class Passing:
    """One answer; with these `fields` in the place of its own, where they are given.

    `persists` says whether the client's connection goes on after it.
    """

    def __init__(
        self, plan: Plan, head: ResponseHead, may_persist: bool, fields: Fields | None = None
    ) -> None:
        self.status = head.status
        self.persists = may_persist
        self.size = 0
        """How many bytes of its body are on their way."""
        self._plan = plan
        self._head = head
        self._fields = fields
        self._content: list[bytes] = []
        self._is_chunked = False
        self._is_read = False  # the body is read, to be said in other words
        self._is_held = False  # until it is whole
        if fields is None and head.leads:
            self._fields = renamed(plan, head)
        if plan.names.may_want_body and self._wants_body():
            self._is_read = self._is_held = True
        else:
            self._begin()

    @property
    def location(self) -> str | None:
        """Where the answer leads, without the query: that of a storage is a key to it."""
        if not self._head.leads:
            return None
        for name, value in self._fields or ():
            if name.lower() == b"location":
                return value.partition(b"?")[0].decode("latin-1")
        return None

    def _wants_body(self) -> bool:
        media_type = next(iter(self._head.lines(b"content-type")), b"")
        encoded = self._head.lines(b"content-encoding")
        return not encoded and self._plan.names.wants_body(self.status, media_type)

    def _begin(self) -> None:
        """Write the head."""
        head, asked = self._head, self._plan.head
        framing = b""
        if head.is_bodiless or head.length is not None:
            self._is_held = head.length is not None and head.length <= SMALL
        elif asked.method == b"HEAD":
            pass
        elif asked.version == b"1.1":
            self._is_chunked = True
            framing = b"Transfer-Encoding: chunked\r\n"
        else:
            self.persists = False
        if not self.persists:
            framing += b"Connection: close\r\n"
        opening = head.opening if self._fields is None else self._opening(head.length)
        self._content.append(opening + framing + b"\r\n")

    def _opening(self, length: int | None) -> bytes:
        fields = self._fields if self._fields is not None else self._head.end_to_end
        if length is not None and not self._head.is_bodiless:
            fields = (*fields, (b"Content-Length", b"%d" % length))
        return render(self.status, self._head.reason, fields).removesuffix(b"\r\n")

    def content(self, data: bytes) -> None:
        """A part of the body."""
        self.size += len(data)
        if self._is_chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._content.append(data)
        if self._is_read and self.size > bodies.LARGEST:
            # It is no list and no error, whatever it says.
            self._stream_after_all()

    def _stream_after_all(self) -> None:
        self._is_read = self._is_held = False
        content = b"".join(self._content)
        self._content.clear()
        self._begin()
        if self._is_chunked:
            content = b"%x\r\n%b\r\n" % (len(content), content)
        self._content.append(content)

    def due(self) -> bytes:
        """What is to be sent now."""
        if self._is_held or not self._content:
            return b""
        content, self._content = self._content, []
        return content[0] if len(content) == 1 else b"".join(content)

    def end(self, trailers: Fields) -> bytes:
        """The rest: the body is whole."""
        if self._is_read:
            self._say_in_other_words()
        self._is_held = False
        if self._is_chunked:
            self._content.append(render_trailers(trailers))
        return self.due()

    def _say_in_other_words(self) -> None:
        body = b"".join(self._content)
        changed = self._plan.names.body(self.status, body)
        if changed != body:
            fields = self._fields if self._fields is not None else self._head.end_to_end
            self._fields = tuple(field for field in fields if field[0].lower() not in DIGESTS)
        self.size = len(changed)
        is_head = self._plan.head.method == b"HEAD"
        connection = b"" if self.persists else b"Connection: close\r\n"
        opening = self._opening(None if is_head else len(changed))
        self._content = [opening + connection + b"\r\n", changed]


def renamed(plan: Plan, head: ResponseHead) -> Fields:
    """The fields with the front's names in them."""
    names, status = plan.names, head.status

    def value_of(name: bytes, value: bytes) -> bytes:
        key = name.lower()
        if key in _PLACES:
            return names.location(value, status)
        return names.link(value) if key == b"link" else value

    return tuple((name, value_of(name, value)) for name, value in head.end_to_end)


def render_trailers(trailers: Fields) -> bytes:
    """The end of a chunked body; what would frame or steer a message is no trailer (RFC 9110
    §6.5.1).
    """
    kept = (field for field in end_to_end(trailers) if field[0].lower() not in FRAMING_FIELDS)
    return b"0\r\n%b\r\n" % b"".join(b"%b: %b\r\n" % field for field in kept)
