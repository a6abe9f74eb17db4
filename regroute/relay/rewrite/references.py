"""Where a URI reference in a registry's answer leads (RFC 3986 §5.2)."""

import re
from typing import NamedTuple

from ...origins import split_url

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)  # RFC 3986 §3.1
_AUTHORITY = re.compile(r"//([^/?#]*)(.*)", re.DOTALL)
_PARTS = re.compile(r"([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)


def is_absolute(reference: str) -> bool:
    """Whether a reference has a scheme of its own."""
    return _SCHEME.fullmatch(reference) is not None


class Place(NamedTuple):
    """An origin as `origins.normal_origin` has it, and path, query and fragment there."""

    origin: str
    rest: str


def resolve(reference: str, origin: str, target: str) -> Place | None:
    """Where a reference leads from the path and query `target` of an origin.

    None if that is nothing that HTTP could ask for.
    """
    scheme, _, authority = origin.partition("://")
    rest = reference
    if (match := _SCHEME.fullmatch(reference)) is not None:
        scheme, rest = match[1].lower(), match[2]
        if scheme not in ("http", "https") or not rest.startswith("//"):
            return None
    if (match := _AUTHORITY.fullmatch(rest)) is not None:
        authority, rest = match[1], match[2]
        path, query, fragment = _split(rest)
        path = without_dots(path or "/")
    else:
        path, query, fragment = _split(rest)
        base, base_query, _ = _split(target)
        if not path:
            path, query = base, query or base_query
        elif path.startswith("/"):
            path = without_dots(path)
        else:
            path = without_dots(base[: base.rfind("/") + 1] + path)
    return Place(_origin(scheme, authority), path + query + fragment)


def _split(rest: str) -> tuple[str, str, str]:
    """Path, query and fragment, the last two with their delimiters."""
    match = _PARTS.fullmatch(rest)
    assert match is not None, "whatever stands before ? and # is a path"
    return match[1], match[2] or "", match[3] or ""


def without_dots(path: str) -> str:
    """A path that begins with ``/`` without its dot segments (RFC 3986 §5.2.4)."""
    if "/." not in path:
        return path
    kept: list[str] = []
    first, *segments = path.split("/")
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join([first, *kept])


def _origin(scheme: str, authority: str) -> str:
    """An origin in its one form; what is none, as one with a user, stays as it is written."""
    text = f"{scheme}://{authority}"
    try:
        return str(split_url(text)[0])
    except ValueError:
        return text
