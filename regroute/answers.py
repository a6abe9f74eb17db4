"""What regroute answers, as values: status, fields and body. The one place that makes answers.

The redirect is the one of Go's ``net/http.Redirect``, as the seed wrote it; refusals under ``/v2``
carry the OCI error body (distribution-spec §Error Codes), because clients print a parse error
instead when it is anything else.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .oci import Kind
from .registry import Registry

Fields = tuple[tuple[bytes, bytes], ...]

_EVERY_ANSWER: Fields = (
    # It holds for this client only: no cache in between may hand it to another one.
    (b"Cache-Control", b"private, no-store"),
    (b"X-Content-Type-Options", b"nosniff"),
)
_API_VERSION: Fields = ((b"Docker-Distribution-Api-Version", b"registry/2.0"),)

_ERROR_CODES = {
    400: "NAME_INVALID",
    401: "UNAUTHORIZED",
    403: "DENIED",
    404: "NAME_UNKNOWN",
    405: "UNSUPPORTED",
    410: "NAME_UNKNOWN",
    413: "SIZE_INVALID",
    414: "SIZE_INVALID",
    429: "TOOMANYREQUESTS",
    431: "SIZE_INVALID",
    451: "DENIED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "UNAVAILABLE",
}

# Printable ASCII, less what would end an attribute, a header line or a URL in some reader.
_UNSAFE = re.compile(rb"[^!#-;=?-\[\]_a-z~]")
_HTML = {
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord('"'): "&#34;",
    ord("'"): "&#39;",
}


class Reason(StrEnum):
    """Why a request is refused that no rule has judged: a word for metrics, never for clients."""

    REQUEST_LINE = "request_line"  # malformed, or of no version that is spoken here
    FIELD = "field"  # a malformed header field
    LINE_END = "line_end"  # a line that does not end with CR LF
    HOST = "host"  # none, several, or an invalid one
    TARGET = "target"  # neither origin-form nor absolute-form
    PATH = "path"  # one that two readers would understand in two ways
    FRAMING = "framing"  # no one way to tell where the body ends
    CLIENT = "client"  # a trusted proxy's field that names no client
    LINE_SIZE = "line_size"
    HEAD_SIZE = "head_size"
    TIMEOUT = "timeout"  # a head or a body that took too long
    NO_RULE = "no_rule"
    METHOD = "method"  # a rule serves it with another method
    TOKEN = "token"  # for a token that nobody can give
    LOGIN = "login"  # credentials that are wrong, or missing where a token needs some
    UNREACHABLE = "unreachable"  # nobody there who has to be asked
    INTERNAL = "internal"  # a fault of ours


@dataclass(frozen=True)
class Answer:
    """One answer: `fields` are in the order in which they are sent, and name the body's length.

    `rule`, `registry`, `location`, `kind` and `reason` say for logs, metrics and `explain` where it
    came from.
    """

    status: int
    fields: Fields
    body: bytes
    rule: str | None = None
    registry: str | None = None
    location: str | None = None
    kind: Kind = Kind.OTHER
    reason: Reason | None = None


@dataclass(frozen=True)
class Relay:
    """A request that goes on to a registry, which answers it.

    `target` is the path and query there, in printable ASCII. `repository` is the one that the
    client asks for, by the name that it has here.
    """

    to: Registry
    target: str
    rule: str
    kind: Kind
    repository: str | None

    @property
    def registry(self) -> str:
        """The registry's name."""
        return self.to.name

    @property
    def url(self) -> str:
        """What is asked for."""
        return self.to.origin + self.target


class Refusal(Exception):
    """A request that is answered with `status` and `message` and goes no further."""

    def __init__(self, status: int, message: str, reason: Reason) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.reason = reason


def escaped(target: bytes) -> str:
    """A path and query as they may stand in a Location: unsafe bytes percent-encoded (RFC 3986)."""
    return _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], target).decode("ascii")


def redirect(
    location: str,
    status: int,
    *,
    rule: str | None = None,
    registry: str | None = None,
    kind: Kind = Kind.OTHER,
) -> Answer:
    """Send the client to `location`, which is printable ASCII."""
    page = f'<a href="{location.translate(_HTML)}">{status}</a>.\n'
    fields = ((b"Location", location.encode("ascii")), *_EVERY_ANSWER)
    body = page.encode("ascii")
    framed = _framed(b"text/html; charset=utf-8", fields, body)
    return Answer(status, framed, body, rule, registry, location, kind)


def api_ok(*, under_v2: bool, rule: str | None = None, kind: Kind = Kind.OTHER) -> Answer:
    """The API check's 200 (distribution-spec §Determining Support)."""
    fields = (*_EVERY_ANSWER, *(_API_VERSION if under_v2 else ()))
    return Answer(200, _framed(b"application/json", fields, b"{}"), b"{}", rule, kind=kind)


def refuse(
    status: int,
    message: str,
    *,
    under_v2: bool,
    allow: Sequence[str] = (),
    rule: str | None = None,
    kind: Kind = Kind.OTHER,
    reason: Reason | None = None,
    extra: Fields = (),
) -> Answer:
    """Refuse a request: the OCI error body under ``/v2``, one line of plain text elsewhere.

    `allow` names the methods that would have been answered, which a 405 always tells (RFC 9110
    §15.5.6). Where no `rule` refuses, there is a `reason`. `extra` fields are sent too.
    """
    fields = extra
    if status == 405:
        fields = ((b"Allow", ", ".join(allow).encode("ascii")), *extra)
    if under_v2:
        code = _ERROR_CODES.get(status, "UNKNOWN")
        detail = {"allow": list(allow)} if status == 405 else None
        body = json.dumps(
            {"errors": [{"code": code, "message": message, "detail": detail}]},
            separators=(",", ":"),
        )
        media_type, fields = b"application/json", (*fields, *_EVERY_ANSWER, *_API_VERSION)
    else:
        body = message
        media_type, fields = b"text/plain; charset=utf-8", (*fields, *_EVERY_ANSWER)
    content = body.encode() + b"\n"
    framed = _framed(media_type, fields, content)
    return Answer(status, framed, content, rule, kind=kind, reason=reason)


def granted(document: Mapping[str, str | int]) -> Answer:
    """A token, and what there is to say about it (distribution's token specification)."""
    body = json.dumps(document, separators=(",", ":")).encode("ascii")
    return Answer(200, _framed(b"application/json", _EVERY_ANSWER, body), body)


def refused(refusal: Refusal, *, under_v2: bool) -> Answer:
    """The answer to a request that goes no further."""
    return refuse(refusal.status, refusal.message, under_v2=under_v2, reason=refusal.reason)


def _framed(media_type: bytes, fields: Fields, body: bytes) -> Fields:
    return ((b"Content-Type", media_type), *fields, (b"Content-Length", b"%d" % len(body)))
