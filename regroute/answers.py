"""What regroute answers, as values: status, fields and body. The one place that makes answers.

The redirect is the one of Go's ``net/http.Redirect``, as the seed wrote it; refusals under ``/v2``
carry the OCI error body (distribution-spec §Error Codes), because clients print a parse error
instead when it is anything else.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Answer:
    """One answer: `fields` are in the order in which they are sent, and name the body's length.

    `rule`, `registry` and `location` say for logs and `explain` where it came from.
    """

    status: int
    fields: Fields
    body: bytes
    rule: str | None = None
    registry: str | None = None
    location: str | None = None


class Refusal(Exception):
    """A request that is answered with `status` and `message` and goes no further."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message


def escaped(target: bytes) -> str:
    """A path and query as they may stand in a Location: unsafe bytes percent-encoded (RFC 3986)."""
    return _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], target).decode("ascii")


def redirect(
    location: str, status: int, *, rule: str | None = None, registry: str | None = None
) -> Answer:
    """Send the client to `location`, which is printable ASCII."""
    page = f'<a href="{location.translate(_HTML)}">{status}</a>.\n'
    fields = ((b"Location", location.encode("ascii")), *_EVERY_ANSWER)
    body = page.encode("ascii")
    return Answer(
        status, _framed(b"text/html; charset=utf-8", fields, body), body, rule, registry, location
    )


def api_ok(*, under_v2: bool, rule: str | None = None) -> Answer:
    """The API check's 200 (distribution-spec §Determining Support)."""
    fields = (*_EVERY_ANSWER, *(_API_VERSION if under_v2 else ()))
    return Answer(200, _framed(b"application/json", fields, b"{}"), b"{}", rule)


def refuse(
    status: int,
    message: str,
    *,
    under_v2: bool,
    allow: Sequence[str] = (),
    rule: str | None = None,
) -> Answer:
    """Refuse a request: the OCI error body under ``/v2``, one line of plain text elsewhere.

    `allow` names the methods that would have been answered, which a 405 always tells (RFC 9110
    §15.5.6).
    """
    fields = ((b"Allow", ", ".join(allow).encode("ascii")),) if status == 405 else ()
    if under_v2:
        code = _ERROR_CODES.get(status, "UNKNOWN")
        detail = {"allow": list(allow)} if status == 405 else None
        body = json.dumps(
            {"errors": [{"code": code, "message": message, "detail": detail}]},
            separators=(",", ":"),
        )
        kind, fields = b"application/json", (*fields, *_EVERY_ANSWER, *_API_VERSION)
    else:
        body = message
        kind, fields = b"text/plain; charset=utf-8", (*fields, *_EVERY_ANSWER)
    content = body.encode() + b"\n"
    return Answer(status, _framed(kind, fields, content), content, rule)


def _framed(kind: bytes, fields: Fields, body: bytes) -> Fields:
    return ((b"Content-Type", kind), *fields, (b"Content-Length", b"%d" % len(body)))
