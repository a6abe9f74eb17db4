"""What a path asks a registry for: the end-points of the OCI distribution-spec.

A repository name may have ``blobs``, ``manifests`` or ``tags`` as components, so a path is read
from its end, where each end-point has its own shape.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG = r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}"
_DIGEST = r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+"

_REPOSITORY = re.compile(REPOSITORY)
_REFERENCE = re.compile(rf"{_TAG}|{_DIGEST}")
_DIGEST_ALONE = re.compile(_DIGEST)


LONGEST_REPOSITORY = 255
"""How long a repository's name may be: clients and registries take no longer ones
(distribution-spec §Pulling manifests).
"""


class Kind(StrEnum):
    """The kinds of end-point, by the distribution-spec's own words."""

    API = "api"
    MANIFESTS = "manifests"
    BLOBS = "blobs"
    TAGS = "tags"
    REFERRERS = "referrers"
    UPLOADS = "uploads"
    OTHER = "other"


@dataclass(frozen=True)
class Asked:
    """An end-point, with the repository and the reference (a tag or a digest) where it has them."""

    kind: Kind
    repository: str | None = None
    reference: str | None = None


_OTHER = Asked(Kind.OTHER)
_API = Asked(Kind.API)


def parse_path(path: str) -> Asked:
    """Read a path whose escapes are all decoded; what is no end-point of the spec is `OTHER`."""
    if path in ("/v2", "/v2/"):
        return _API
    if not path.startswith("/v2/"):
        return _OTHER
    asked = _read_end(path.removeprefix("/v2/").split("/"))
    name = asked.repository
    if name is None or len(name) > LONGEST_REPOSITORY or not _REPOSITORY.fullmatch(name):
        return _OTHER
    return asked


def _read_end(segments: list[str]) -> Asked:
    """Tell the end-point by the last segments; the repository is whatever stands before them."""
    match segments:
        case [*name, "blobs", "uploads"] | [*name, "blobs", "uploads", _]:
            return Asked(Kind.UPLOADS, "/".join(name))
        case [*name, "blobs", "upload", _]:
            # Of no specification, but where some registries let an upload go on.
            return Asked(Kind.UPLOADS, "/".join(name))
        case [*name, "tags", "list"]:
            return Asked(Kind.TAGS, "/".join(name))
        case [*name, "manifests", reference] if _REFERENCE.fullmatch(reference):
            return Asked(Kind.MANIFESTS, "/".join(name), reference)
        case [*name, "blobs", digest] if _DIGEST_ALONE.fullmatch(digest):
            return Asked(Kind.BLOBS, "/".join(name), digest)
        case [*name, "referrers", digest] if _DIGEST_ALONE.fullmatch(digest):
            return Asked(Kind.REFERRERS, "/".join(name), digest)
        case _:
            return _OTHER
