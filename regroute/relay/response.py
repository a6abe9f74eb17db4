"""The head of a registry's answer, read as strictly as a request's (RFC 9112 §4 and §6)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from ..answers import Fields
from ..web.framing import Chunked, Counted, Framing, UntilClose
from .hops import end_to_end

LONGEST_HEAD = 32 * 1024
"""How long an answer's head may be, in bytes."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_TEXT = rb"[\t -~\x80-\xff]*"
_HEAD = re.compile(
    rb"HTTP/1\.(?P<minor>[01]) (?P<status>[1-5][0-9][0-9])(?: (?P<reason>" + _TEXT + rb"))?\r\n"
    rb"(?P<fields>(?:" + _TOKEN + rb":" + _TEXT + rb"\r\n)*)\r\n"
)
_PLACES = (b"location", b"content-location", b"link")
_LENGTH = re.compile(rb"[0-9]{1,18}")


class Broken(Exception):
    """An answer that nobody can be given."""


@dataclass(frozen=True)
class ResponseHead:
    """An answer's head. Names of fields are as they were sent."""

    status: int
    reason: bytes
    version: bytes
    fields: Fields

    def lines(self, name: bytes) -> list[bytes]:
        """The values of all field lines with this name, which is in lower case."""
        return [value for field, value in self.fields if field.lower() == name]

    @cached_property
    def is_interim(self) -> bool:
        """Whether another answer comes after this one (RFC 9110 §15.2)."""
        return self.status < 200

    @cached_property
    def is_bodiless(self) -> bool:
        """Whether there is no body, whatever the fields say (RFC 9112 §6.3)."""
        return self.status in (204, 304)

    @cached_property
    def is_chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return bool(self.lines(b"transfer-encoding"))

    @cached_property
    def length(self) -> int | None:
        """The length of the body in bytes, or that of the one that GET would have had."""
        return next(map(int, self.lines(b"content-length")), None)

    @cached_property
    def persists(self) -> bool:
        """Whether its connection goes on."""
        options = b",".join(self.lines(b"connection")).lower().split(b",")
        return self.version == b"1.1" and b"close" not in (option.strip() for option in options)

    @cached_property
    def leads(self) -> bool:
        """Whether it names places."""
        return any(name.lower() in _PLACES for name, _ in self.fields)

    @cached_property
    def opening(self) -> bytes:
        """The answer's head to a client, as far as it is told its length: what is missing is
        ``Connection``, how a body without a length is framed, and the empty line.
        """
        fields = self.end_to_end
        if self.length is not None and not self.is_bodiless:
            fields = (*fields, (b"Content-Length", b"%d" % self.length))
        return render(self.status, self.reason, fields).removesuffix(b"\r\n")

    @cached_property
    def end_to_end(self) -> Fields:
        """The fields that go on, less those that frame the body."""
        framing = (b"content-length", b"trailer") if self.is_bodiless else (b"content-length",)
        return tuple(field for field in end_to_end(self.fields) if field[0].lower() not in framing)


# An answer that comes again and again differs by its date, if at all.
@lru_cache(maxsize=256)
def read_head(raw: bytes) -> ResponseHead:
    """Read a head, from its status line to its empty line; raises `Broken`."""
    match = _HEAD.fullmatch(raw)
    if match is None:
        raise Broken("its head is malformed")
    lines = match["fields"].split(b"\r\n")[:-1]
    fields = tuple(_split(line) for line in lines)
    version = b"1." + match["minor"]
    head = ResponseHead(int(match["status"]), match["reason"] or b"", version, fields)
    _check_framing(head)
    return head


def _split(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name, value.strip(b" \t")


def _check_framing(head: ResponseHead) -> None:
    """One way to tell where the body ends, or none: two readers must not differ."""
    lengths, codings = head.lines(b"content-length"), head.lines(b"transfer-encoding")
    if lengths and codings:
        raise Broken("it has both Content-Length and Transfer-Encoding")
    if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise Broken("its Content-Length is not one number")
    if codings and (
        head.version == b"1.0" or [coding.lower() for coding in codings] != [b"chunked"]
    ):
        raise Broken("its Transfer-Encoding is not chunked, in HTTP/1.1")
    if head.status == 101:
        raise Broken("it switches protocols, which nobody has asked for")
    if codings and (head.is_interim or head.status == 204):
        raise Broken("it frames a body where there is none")


def framing_of(head: ResponseHead, method: bytes) -> Framing | None:
    """How the body is framed of an answer to a request with this method; None if there is none."""
    if method == b"HEAD" or head.is_bodiless:
        return None
    if head.is_chunked:
        return Chunked()
    if head.length is None:
        return UntilClose()
    return Counted(head.length) if head.length else None


def render(status: int, reason: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """An answer's head."""
    lines = [b"HTTP/1.1 %d %s" % (status, reason)]
    lines += [b"%s: %s" % field for field in fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"
