"""The access log's lines: one a request, as JSON or in the Combined Log Format. Pure.

Whatever a client sends stays within its own field of its own line: what could end either is
escaped, and a line is printable ASCII with a line feed at its end and nowhere else.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from json import JSONEncoder
from typing import Literal, NamedTuple, TypeAlias

from ..answers import Reason, Relay
from ..networks.spans import Address, unmapped
from ..oci import Kind
from ..respond import Lines, Response

Layout: TypeAlias = Literal["json", "combined"]
Shown: TypeAlias = Literal["full", "prefix", "none"]
"""How much of a client's address a line shows."""

# The leading bits that `prefix` keeps, by version: enough to tell networks apart, not people.
_PREFIX = {4: 24, 6: 48}
_CLIENTS_REMEMBERED = 4096
# Names of months are English in every locale.
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
# Printable ASCII, less the quote that ends a field and the backslash that begins an escape.
_UNSAFE = re.compile(r"[^ !#-\[\]-~]")

# A string becomes ASCII between quotes: control characters and all beyond ~ are escaped.
_quoted = JSONEncoder(ensure_ascii=True).encode


# A frozen dataclass takes four times as long to make, and there is one for every request.
class Entry(NamedTuple):
    """One request and what it was answered.

    `client` is None where nobody knows it; text, where it is at hand, spares writing an address
    anew. `path` is the target as it was sent, with its query; `user_agent` and `referer` are
    Latin-1, and empty if not sent. `size` is that of the body, in bytes. The combined format alone
    has `version`, `size` and `referer`; `kind` and `reason` are for the metrics.
    """

    time: float  # seconds since the epoch
    client: Address | str | None
    method: bytes
    host: str
    path: bytes
    status: int
    rule: str | None
    registry: str | None
    location: str | None
    user_agent: str
    microseconds: int
    version: bytes = b"1.1"
    size: int = 0
    referer: str = ""
    kind: Kind = Kind.OTHER
    reason: Reason | None = None


Fill: TypeAlias = Callable[[float, Address | str | None, int], bytes]
"""Makes a line of what differs between equal requests: time, client and microseconds."""
Template: TypeAlias = Callable[[Entry], Fill]
Again: TypeAlias = Callable[[float, Address | str | None, int], None]
"""Records a known entry once more, with what differs."""


def entry_of(
    response: Response, method: bytes, target: bytes, lines: Lines, version: bytes
) -> Entry:
    """What is recorded of a response, but for its time and duration; of a relay, but for the
    answer too.
    """
    answer = response.answer

    def text(name: bytes) -> str:
        return b", ".join(lines(name)).decode("latin-1")

    entry = Entry(
        time=0.0,
        client=response.client,
        method=method,
        host=text(b"host"),
        path=target,
        status=0,
        rule=answer.rule,
        registry=answer.registry,
        location=None,
        user_agent=text(b"user-agent"),
        microseconds=0,
        version=version,
        referer=text(b"referer"),
        kind=answer.kind,
    )
    if isinstance(answer, Relay):
        return entry
    return entry._replace(
        status=answer.status,
        location=answer.location,
        size=0 if method == b"HEAD" else len(answer.body),
        reason=answer.reason,
    )


def line_template(layout: Layout, client: Shown) -> Template:
    """The function that writes all of an entry that equal requests share, once for all of them."""
    write = {"json": _json_template, "combined": _combined_template}[layout]
    return lambda entry: write(entry, client)


def line_of(entry: Entry, template: Template) -> bytes:
    """An entry as a line, its line feed included."""
    return template(entry)(entry.time, entry.client, entry.microseconds)


def _json_template(entry: Entry, shown: Shown) -> Fill:
    """One object, in the order of the names that programs read."""
    middle = (
        f',"method":{_quoted(entry.method.decode("latin-1"))}'
        f',"host":{_quoted(entry.host)}'
        f',"path":{_quoted(entry.path.decode("latin-1"))}'
        f',"status":{entry.status}'
        f',"rule":{"null" if entry.rule is None else _quoted(entry.rule)}'
        f',"registry":{"null" if entry.registry is None else _quoted(entry.registry)}'
        f',"location":{"null" if entry.location is None else _quoted(entry.location)}'
        f',"user_agent":{_quoted(entry.user_agent)}'
        f',"microseconds":'
    ).encode("ascii")

    def fill(time: float, client: Address | str | None, microseconds: int) -> bytes:
        end = _ENDS[microseconds] if 0 <= microseconds < len(_ENDS) else b"%d}\n" % microseconds
        return _json_time(int(time * 1000)) + _client(client, shown).json + middle + end

    return fill


def _combined_template(entry: Entry, shown: Shown) -> Fill:
    """The format of Apache's ``combined``; quotes, backslashes and control bytes are ``\\xHH``."""
    request = "-"
    if entry.method or entry.path:
        line = b"%s %s HTTP/%s" % (entry.method, entry.path, entry.version)
        request = _escaped(line.decode("latin-1"))
    end = (
        f' "{request}" {entry.status} {entry.size or "-"}'
        f' "{_escaped(entry.referer) or "-"}" "{_escaped(entry.user_agent) or "-"}"\n'
    ).encode("ascii")

    def fill(time: float, client: Address | str | None, microseconds: int) -> bytes:
        return b"%b - - [%b]%b" % (_client(client, shown).plain, _clf_time(int(time)), end)

    return fill


def _escaped(text: str) -> str:
    return _UNSAFE.sub(lambda match: f"\\x{ord(match[0]):02X}", text)


# How most JSON lines end: a piece that is at hand is added faster than a number is written.
_ENDS = [b"%d}\n" % microseconds for microseconds in range(1000)]


# Where time matters, dozens of requests share their millisecond.
@lru_cache(maxsize=2)
def _json_time(milliseconds: int) -> bytes:
    """How a JSON line begins, with the time in UTC (RFC 3339 §5.6); since the epoch."""
    second, millisecond = divmod(milliseconds, 1000)
    return b'{"time":"%b.%03dZ","client":' % (_rfc3339(second), millisecond)


# Most requests share their second with the one before.
@lru_cache(maxsize=2)
def _rfc3339(second: int) -> bytes:
    """Date and time in UTC, without fraction and zone."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode("ascii")


@lru_cache(maxsize=2)
def _clf_time(second: int) -> bytes:
    moment = datetime.fromtimestamp(second, UTC)
    text = f"{moment:%d}/{_MONTHS[moment.month - 1]}/{moment:%Y:%H:%M:%S} +0000"
    return text.encode("ascii")


class _Client(NamedTuple):
    """A client as the formats write it."""

    json: bytes
    plain: bytes


_NOBODY = _Client(b"null", b"-")


def _client(client: Address | str | None, shown: Shown) -> _Client:
    if client is None or shown == "none":
        return _NOBODY
    if isinstance(client, str):
        return _text_client(client, shown)
    # The number, for an address is slow to hash and to compare.
    return _address_client(int(client), isinstance(client, IPv4Address), shown)


@lru_cache(maxsize=_CLIENTS_REMEMBERED)
def _address_client(number: int, is_ipv4: bool, shown: Shown) -> _Client:
    address = IPv4Address(number) if is_ipv4 else unmapped(IPv6Address(number))
    if shown == "prefix":
        length = _PREFIX[address.version]
        address = ip_network((address, length), strict=False).network_address
    text = str(address).encode("ascii")
    return _Client(b'"%b"' % text, text)


@lru_cache(maxsize=_CLIENTS_REMEMBERED)
def _text_client(text: str, shown: Shown) -> _Client:
    """A client as text: an address; or whatever else a peer may be, which has no prefix."""
    try:
        address = ip_address(text)
    except ValueError:
        if shown == "prefix":
            return _NOBODY
        plain = _escaped(text).replace(" ", r"\x20") or "-"
        return _Client(_quoted(text).encode("ascii"), plain.encode("ascii"))
    return _address_client(int(address), address.version == 4, shown)
