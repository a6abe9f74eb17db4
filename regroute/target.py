"""The request-target (RFC 9112 §3.2): what of it is sent on, and what conditions see of it."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import parse_qsl, unquote_to_bytes

from .answers import Reason, Refusal, escaped

# uri-host [ ":" port ] (RFC 9110 §7.2, RFC 3986 §3.2.2); an IPv6 address stands in brackets.
_HOST = rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)"
_AUTHORITY = re.compile(rb"(?P<host>" + _HOST + rb")(?::[0-9]*)?")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_TARGET = re.compile(rb"[!-\xff]+")
ABSOLUTE = re.compile(rb"(?i:https?)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.DOTALL)
_NOT_ASCII = re.compile(rb"[\x7f-\xff]")
_AFTER_PATH = re.compile(rb"[?#]")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True)
class Target:
    """A request's path and query.

    `sent` is the client's own bytes of both, beginning with ``/``. `path` is what conditions see
    (`visible_path`). `host` is the authority's host of an absolute-form target, in lower case.
    """

    sent: bytes
    path: str
    host: str | None = None

    @property
    def asked(self) -> bytes:
        """What of `sent` a registry is to be asked for.

        A request has no fragment (RFC 9112 §3.2). Some registries would take it for more of the
        path or of the query, which no rule has seen.
        """
        return self.sent.partition(b"#")[0]

    @property
    def under_v2(self) -> bool:
        """Whether this is a path of the registry API."""
        return is_under_v2(self.path)

    @property
    def may_be_misread(self) -> bool:
        """Whether a registry may read another path of the API in this one than the rules have seen.

        Some merge slashes where a path begins, escaped ones too; to some (servlet containers) what
        follows a ``;`` is no part of a segment.
        """
        if ";" not in self.path and not self.path.startswith(("//", "/%2F")):
            return False
        segments = [segment.partition(";")[0] for segment in _segments(self.path)]
        read = [segment for segment in segments if segment]
        return read[:1] == ["v2"] or "." in read or ".." in read

    @property
    def namespace(self) -> str | None:
        """The ``ns`` query parameter, by which containerd tells a mirror what registry it means."""
        query = self.asked.partition(b"?")[2]
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        return next((value for name, value in pairs if name == "ns"), None)


def is_under_v2(path: str) -> bool:
    """Whether a path, as conditions see it, belongs to the registry API."""
    return path == "/v2" or path.startswith("/v2/")


def means_v2(raw: bytes) -> bool:
    """Whether the client of a target, refused or not, takes its answer for a registry's."""
    return is_under_v2("/".join(_segments(visible_path(without_authority(raw)))))


def without_authority(raw: bytes) -> bytes:
    """The path and query of a target in either form."""
    absolute = ABSOLUTE.fullmatch(raw)
    return absolute["rest"] if absolute else raw


def parse_host(authority: bytes) -> str:
    """The host of a ``Host`` field or an authority, in lower case and without its port.

    Raises `Refusal` where it is not of that form.
    """
    match = _AUTHORITY.fullmatch(authority)
    host = match["host"].decode("ascii").lower() if match else ""
    if match is None or (authority and not host) or (host[0:1] == "[" and not _is_ipv6(host[1:-1])):
        raise Refusal(
            400,
            "the host is invalid: send one name or address, with or without a port",
            Reason.HOST,
        )
    return host


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def well_formed(method: bytes, raw: bytes) -> bytes:
    """A target in origin-form or absolute-form, its bytes beyond ASCII escaped.

    Raises `Refusal` for every other form, and for methods that are no token.
    """
    if not _TOKEN.fullmatch(method) or not _TARGET.fullmatch(raw):
        raise Refusal(400, "the request line is malformed", Reason.REQUEST_LINE)
    if method == b"CONNECT":
        raise Refusal(400, "CONNECT is for proxies", Reason.TARGET)
    if raw == b"*" and method == b"OPTIONS":
        # It asks about the server and not about a path; the root is the nearest that rules see.
        return b"/"
    _split(raw)
    return _NOT_ASCII.sub(lambda match: b"%%%02X" % match[0][0], raw)


def parse_target(raw: bytes) -> Target:
    """Read an origin-form or absolute-form target; raises `Refusal` for every other and for paths
    that two readers would understand in two ways.
    """
    host, sent = _split(raw)
    target = Target(sent, visible_path(sent), host)
    _refuse_ambiguous(target.path)
    return target


def _split(raw: bytes) -> tuple[str | None, bytes]:
    """The host of an absolute-form target, and the path and query of either form."""
    if raw.startswith(b"/"):
        return None, raw
    absolute = ABSOLUTE.fullmatch(raw)
    if absolute is None:
        raise Refusal(400, "the target must be a path that begins with /", Reason.TARGET)
    if not absolute["authority"]:
        raise Refusal(400, "the target has no host", Reason.TARGET)
    rest = absolute["rest"]
    sent = rest if rest.startswith(b"/") else b"/" + rest
    return parse_host(absolute["authority"]), sent


def visible_path(raw: bytes) -> str:
    """The path that conditions see, of the bytes of a path and query.

    It is in the normal form of RFC 3986 §6.2.2: unreserved characters as themselves, whatever may
    not stand in a path escaped, escapes in upper case.
    """
    path = escaped(_AFTER_PATH.split(raw, maxsplit=1)[0])
    return _ESCAPE.sub(_decode_unreserved, path)


def _decode_unreserved(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if character in _UNRESERVED else escape[0].upper()


def _refuse_ambiguous(path: str) -> None:
    """Refuse paths that a registry may read in another way than the rules did.

    Dot segments are removed by some readers and kept by others (RFC 3986 §5.2.4); the same holds,
    among registries, for ``%2F`` and for empty segments.
    """
    if "%" not in path and "//" not in path and "/." not in path:
        return
    segments = _segments(path)
    if "." in segments or ".." in segments:
        raise Refusal(400, "the path must not have . or .. segments", Reason.PATH)
    if is_under_v2("/".join(segments)):
        if "/".join(segments) != path:
            raise Refusal(400, "the path must not have an escaped slash (%2F)", Reason.PATH)
        if "" in segments[1:-1]:
            raise Refusal(400, "the path must not have empty segments (//)", Reason.PATH)


def _segments(path: str) -> list[str]:
    return re.split("/|%2F", path)


def decoded(path: str) -> str:
    """A path with all its escapes decoded, as Latin-1."""
    return unquote_to_bytes(path).decode("latin-1")
