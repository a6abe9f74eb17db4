"""The naive twin: how RFC 3986 resolves a reference, in the RFC's own steps."""

import re
from dataclasses import dataclass

# Appendix B.
_PARTS = re.compile(
    r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL
)


@dataclass(frozen=True)
class Reference:
    """The five parts; None where one is not there."""

    scheme: str | None
    authority: str | None
    path: str
    query: str | None
    fragment: str | None

    @classmethod
    def of(cls, text: str) -> "Reference":
        match = _PARTS.fullmatch(text)
        assert match is not None
        return cls(match[1], match[2], match[3], match[4], match[5])


def transform(base: Reference, given: Reference) -> Reference:
    """§5.2.2."""
    if given.scheme is not None:
        path = remove_dot_segments(given.path)
        return Reference(given.scheme, given.authority, path, given.query, given.fragment)
    if given.authority is not None:
        path = remove_dot_segments(given.path)
        return Reference(base.scheme, given.authority, path, given.query, given.fragment)
    query = given.query
    if given.path == "":
        path = base.path
        if given.query is None:
            query = base.query
    elif given.path.startswith("/"):
        path = remove_dot_segments(given.path)
    else:
        path = remove_dot_segments(merge(base.path, given.path))
    return Reference(base.scheme, base.authority, path, query, given.fragment)


def merge(base: str, path: str) -> str:
    """§5.2.3, for a base with an authority and a path."""
    return base[: base.rindex("/") + 1] + path


def remove_dot_segments(path: str) -> str:
    """§5.2.4."""
    given, output = path, ""
    while given:
        if given.startswith("../"):
            given = given[3:]
        elif given.startswith(("./", "/./")):
            given = given[2:]
        elif given == "/.":
            given = "/"
        elif given.startswith("/../") or given == "/..":
            given = "/" + given[4:]
            output = output[: output.rindex("/")] if "/" in output else ""
        elif given in (".", ".."):
            given = ""
        else:
            segment = re.match(r"/?[^/]*", given)
            assert segment is not None
            output += segment[0]
            given = given[segment.end() :]
    return output
