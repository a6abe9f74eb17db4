"""The head of a registry's answer, read as strictly as a request's (RFC 9112 §4 and §6)."""

import re
from collections.abc import Iterable, Set
from functools import cached_property

from ...answers import Fields
from ...web.framing import Chunked, Counted, Framing, UntilClose
from .hops import HOP_BY_HOP, options_of

LONGEST_HEAD = 32 * 1024
"""How long an answer's head may be, in bytes."""

# What has been taken is never tried in another way: no other leads to more.
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_TEXT = rb"[\t -~\x80-\xff]*+"
_HEAD = re.compile(
    rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: (" + _TEXT + rb"))?\r\n"
    rb"(?:" + _TOKEN + rb":" + _TEXT + rb"\r\n)*+\r\n"
)
_FIELD = re.compile(rb"([^:\r]+):[\t ]*([^\r]*)\r\n")
"""A field line of a head that is well-formed, with what spaces there are at its end."""
_PLACES = frozenset({b"location", b"content-location", b"link"})
_NOTABLE = re.compile(
    rb"\n(" + b"|".join(sorted({*HOP_BY_HOP, *_PLACES, b"content-length", b"trailer"})) + rb"):"
    rb"[\t ]*([^\r]*)"
)
"""A line that says more than what goes on as it is, in lower case and with the end before it."""
_KEEP_ALIVE = {b"connection": b"keep-alive"}
_LENGTH = re.compile(rb"[0-9]{1,18}")


class Broken(Exception):
    """An answer that nobody can be given."""


class ResponseHead:
    """An answer's head. Names of fields are as they were sent. Raises `Broken`.

    Most heads come once: what all are asked for is found in one search, the rest when it is needed.
    """

    is_chunked = False
    """Whether the body comes in chunks."""
    length: int | None = None
    """The length of the body in bytes, or that of the one that GET would have had."""
    persists = True
    """Whether its connection goes on."""
    leads = False
    """Whether it names places."""
    _options: Set[bytes] = frozenset()

    def __init__(self, raw: bytes, status: int, reason: bytes | None, version: bytes) -> None:
        self.status = status
        self.reason = reason or b""
        self.version = version
        self.is_interim = status < 200
        """Whether another answer comes after this one (RFC 9110 §15.2)."""
        self.is_bodiless = status in (204, 304)
        """Whether there is no body, whatever the fields say (RFC 9112 §6.3)."""
        self.raw = raw
        lower = raw.lower()
        found = _NOTABLE.findall(lower)
        named = dict(found)
        length = named.pop(b"content-length", b"")
        if (
            len(found) == len(named) + 1
            and (not named or named == _KEEP_ALIVE)
            and _LENGTH.fullmatch(length) is not None
            and version == b"1.1"
            and reason is not None
            and status not in (101, 204, 304)
        ):
            # All but a line of ``Connection`` goes on as it is.
            self.length = int(length)
            if named:
                start = lower.index(b"\nconnection:") + 1
                self.opening = raw[:start] + raw[raw.index(b"\n", start) + 1 : -2]
            else:
                self.opening = raw[:-2]
        else:
            self._read([(name, value.rstrip(b" \t")) for name, value in found])

    def _read(self, notable: list[tuple[bytes, bytes]]) -> None:
        """Understand the fields that say more than what goes on as it is."""
        names = {name for name, _ in notable}
        lengths = [value for name, value in notable if name == b"content-length"]
        codings = [value for name, value in notable if name == b"transfer-encoding"]
        _check_framing(self.status, self.version, lengths, codings)
        self.is_chunked = bool(codings)
        self.length = int(lengths[0]) if lengths else None
        self._options = options_of(value for name, value in notable if name == b"connection")
        self.persists = self.version == b"1.1" and b"close" not in self._options
        self.leads = not _PLACES.isdisjoint(names)

    @cached_property
    def fields(self) -> Fields:
        """All of them, in their order."""
        found = _FIELD.findall(self.raw, self.raw.index(b"\n") + 1)
        return tuple((name, value.rstrip(b" \t")) for name, value in found)

    def lines(self, name: bytes) -> list[bytes]:
        """The values of all field lines with this name, which is in lower case."""
        return [value for field, value in self.fields if field.lower() == name]

    @cached_property
    def end_to_end(self) -> Fields:
        """The fields that go on, less those that frame the body."""
        dropped = HOP_BY_HOP | self._options | {b"content-length"}
        if self.is_bodiless:
            dropped |= {b"trailer"}
        return tuple(field for field in self.fields if field[0].lower() not in dropped)

    @cached_property
    def opening(self) -> bytes:
        """The answer's head to a client, as far as it is told its length: what is missing is
        ``Connection``, how a body without a length is framed, and the empty line.
        """
        fields = self.end_to_end
        if self.length is not None and not self.is_bodiless:
            fields = (*fields, (b"Content-Length", b"%d" % self.length))
        return render(self.status, self.reason, fields).removesuffix(b"\r\n")


def read_head(raw: bytes) -> ResponseHead:
    """Read a head, from its status line to its empty line; raises `Broken`."""
    match = _HEAD.fullmatch(raw)
    if match is None:
        raise Broken("its head is malformed")
    minor, status, reason = match.groups()
    return ResponseHead(raw, int(status), reason, b"1." + minor)


def _check_framing(status: int, version: bytes, lengths: list[bytes], codings: list[bytes]) -> None:
    """One way to tell where the body ends, or none: two readers must not differ."""
    if status == 101:
        raise Broken("it switches protocols, which nobody has asked for")
    if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise Broken("its Content-Length is not one number")
    if not codings:
        return
    if lengths:
        raise Broken("it has both Content-Length and Transfer-Encoding")
    if version == b"1.0" or codings != [b"chunked"]:
        raise Broken("its Transfer-Encoding is not chunked, in HTTP/1.1")
    if status < 200 or status == 204:
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
