"""The registry's names in the front's, for one request that is relayed and its answer.

A registry with a prefix calls a repository otherwise than the front does, and knows nothing of the
front. So whatever it says of places and names is said again as the client has to say it: in
``Location``, ``Link`` and some bodies. A client that asked by the registry's own name gets that.

Whatever cannot be said in other words without leading elsewhere stays as it is, byte for byte.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from ...answers import Refusal, Relay, escaped
from ...choose import target_at
from ...oci import REPOSITORY, Asked, Kind, parse_path
from ...origins import normal_origin
from ...registry import Registry
from ...target import decoded, parse_target, visible_path
from . import bodies, parameters
from .references import Place, is_absolute, resolve

_CATALOG = "/v2/_catalog"
_REPOSITORY = re.compile(REPOSITORY)
# No blanks, control characters or backslashes, in which two readers may see two things.
_PLAIN = re.compile(rb"[!-\[\]-~\x80-\xff]*")
_LINK_TARGET = re.compile(rb'"(?:[^"\\]|\\.)*"|<([^<>]*)>', re.DOTALL)  # RFC 8288 §3

REDIRECTS = frozenset({301, 302, 303, 307, 308})

DIGESTS = frozenset({b"content-digest", b"repr-digest", b"digest", b"content-md5"})
"""Fields, in lower case, that are to be dropped where `Names.body` has changed a body: they are
true of the registry's own bytes only (RFC 9530, RFC 3230, RFC 1864).
"""


@dataclass(frozen=True)
class Names:
    """The names for one request.

    `asked` is the repository's name here, if the path has one, and `target` the path and query at
    the registry. `front` is the origin that the client has asked, where that is known.
    """

    registry: Registry
    asked: str | None
    target: str
    kind: Kind
    front: str | None = None

    @classmethod
    def of(cls, relay: Relay, front: str | None = None) -> "Names":
        """The names for a relay; `front` is the scheme and the checked host that was asked."""
        return cls(relay.to, relay.repository, relay.target, relay.kind, front)

    @cached_property
    def there(self) -> str | None:
        """The registry's name for the repository."""
        return None if self.asked is None else self.registry.repository(self.asked)

    def here(self, repository: str) -> str | None:
        """The front's name for a repository of the registry, None if it has none."""
        prefix = self.registry.prefix
        if not prefix:
            return repository
        if not repository.startswith(prefix + "/"):
            return None
        short = repository.removeprefix(prefix + "/")
        if self._asked_there or self.registry.repository(short) != repository:
            return repository
        return short

    @property
    def _asked_there(self) -> bool:
        """Whether the client speaks of a repository by the registry's own name."""
        return self.asked is not None and self.asked == self.there

    # Fields.

    def location(self, value: bytes, status: int = 200) -> bytes:
        """A ``Location`` or ``Content-Location`` for the client, of an answer with this status.

        What leads to the registry leads to the front instead, whatever name and scheme that is
        asked by; what leads elsewhere, as to a storage, is left alone. Only a redirect may lead to
        the other scheme of the same host: in any other answer the registry speaks of itself, by the
        scheme that it has been told of (``X-Forwarded-Proto``) or takes to be right.
        """
        if (place := self._resolve(value)) is None:
            return value
        is_its = place.origin == self._origin
        if is_its or (status not in REDIRECTS and self._is_in_other_scheme(place.origin)):
            if (here := self._at_front(place.rest)) is not None:
                return here.encode("ascii")
            if is_its:
                return self._at_registry(value, place)
        if place.origin == self._front:
            # A registry that is told by what name it was asked for speaks by it.
            here = self._at_front(place.rest)
            return value if here in (None, place.rest) else f"{place.origin}{here}".encode("ascii")
        if value.startswith(b"//"):
            # The scheme is the registry's, which need not be the one that the front is asked by.
            return self.registry.origin.partition("//")[0].encode("ascii") + value
        return value

    def link(self, value: bytes) -> bytes:
        """One line of ``Link`` with the targets of all its links for the client (RFC 8288 §3)."""

        def changed(found: re.Match[bytes]) -> bytes:
            return found[0] if found[1] is None else b"<%s>" % self.location(found[1])

        return _LINK_TARGET.sub(changed, value)

    def leads_back(self, method: str, status: int, location: bytes) -> bool:
        """Whether a redirect leads to the very request that it answers.

        At the registry or at the front, by whichever of the repository's names.
        """
        keeps_method = status in (307, 308) or method in ("GET", "HEAD")
        place = self._resolve(location)
        if place is None or status not in REDIRECTS or not keeps_method:
            return False
        rest = escaped(place.rest.encode("latin-1"))
        if place.origin == self._front:
            rest = self._from_front(rest)
        elif place.origin != self._origin:
            return False
        return _normal(rest) == _normal(self.target)

    @property
    def _origin(self) -> str:
        return normal_origin(self.registry.origin)

    @cached_property
    def _front(self) -> str | None:
        try:
            return None if self.front is None else normal_origin(self.front)
        except ValueError:
            # A host that a client has sent may have a port that none is.
            return None

    def _is_in_other_scheme(self, origin: str) -> bool:
        """Whether an origin is the registry's or the front's but for http in the place of https, or
        the other way round.
        """
        known = (each for each in (self._origin, self._front) if each is not None)
        return origin != self._front and _host(origin) in map(_host, known)

    def _resolve(self, value: bytes) -> Place | None:
        if _PLAIN.fullmatch(value) is None:
            return None
        return resolve(value.decode("latin-1"), self.registry.origin, self.target)

    def _at_registry(self, value: bytes, place: Place) -> bytes:
        """What leads to the registry and cannot lead there by way of the front."""
        if is_absolute(value.decode("latin-1")):
            return value
        return self.registry.origin.encode("ascii") + place.rest.encode("latin-1")

    def _at_front(self, rest: str) -> str | None:
        """A path and query at the registry as it is asked for here; None if it cannot be."""
        sent = escaped(rest.encode("latin-1"))
        asked = _read(sent)
        if asked is None:
            return None
        if asked.repository is None:
            if self._lists_repositories(sent):
                return parameters.change(sent, "last", self._marker_here)
            return sent
        here = self.here(asked.repository)
        if here is None:
            return None
        if here != asked.repository:
            sent = sent.replace(f"/v2/{self.registry.prefix}/", "/v2/", 1)
        return sent

    def _from_front(self, sent: str) -> str:
        """The path and query at the registry of what is asked for here."""
        asked = _read(sent)
        repository = None if asked is None else asked.repository
        return target_at(self.registry, sent.encode("ascii"), repository)

    # Catalogs.

    @cached_property
    def _is_catalog(self) -> bool:
        return self.kind is Kind.OTHER and self._lists_repositories(self.target)

    def _lists_repositories(self, target: str) -> bool:
        """Whether this is a list of repositories, of which the front has a part."""
        return bool(self.registry.prefix) and visible_path(target.encode("ascii")) == _CATALOG

    def _marker_here(self, last: str) -> str:
        """Where the next page of a catalog begins, as the client says it.

        By the front's name if there is one. If not, a slash before the registry's own word, with
        which no name begins: so every page that the registry has is asked for once, though the
        front may have nothing of it, and the last page here is the last page there.
        """
        if _REPOSITORY.fullmatch(last) and (here := self.here(last)) is not None:
            return here
        return f"/{last}"

    def _marker_there(self, last: str) -> str:
        if last.startswith("/"):
            return last[1:]
        return self.registry.repository(last) if _REPOSITORY.fullmatch(last) else last

    # What is asked.

    def asking(self, is_there: Callable[[str], bool]) -> str:
        """The path and query to ask the registry for, with its names in the query too.

        `is_there` says of a repository by its name here whether it is at this registry. If a blob
        is to be mounted from one that is not, the registry is asked for a plain upload: it is what
        a registry makes of a mount that it cannot do (distribution-spec §Mounting a blob).
        """
        if self._is_catalog:
            return parameters.change(self.target, "last", self._marker_there)
        if self.kind is not Kind.UPLOADS:
            return self.target
        sources = parameters.values(self.target, "from")
        if all(_REPOSITORY.fullmatch(source) and is_there(source) for source in sources):
            return parameters.change(self.target, "from", self.registry.repository)
        return parameters.drop(self.target, ("mount", "from"))

    # Bodies.

    @property
    def may_want_body(self) -> bool:
        """Whether an answer may come whose body names repositories.

        Such a request is sent without ``Accept-Encoding``, so that the body can be read.
        """
        return self._is_catalog or (self.asked is not None and not self._asked_there)

    def wants_body(self, status: int, content_type: bytes) -> bool:
        """Whether the body has to be had whole, up to `bodies.LARGEST`; all others are streamed."""
        if not self.may_want_body or not bodies.is_json(content_type):
            return False
        return status >= 400 or (status == 200 and (self._is_catalog or self.kind is Kind.TAGS))

    def body(self, status: int, body: bytes) -> bytes:
        """Such a body in the front's names."""
        if status >= 400:
            if self.asked is None or self.there is None:
                return body
            return bodies.errors(body, self.there, self.asked, self.here)
        return (bodies.catalog if self._is_catalog else bodies.tags)(body, self.here)


def _read(sent: str) -> Asked | None:
    """What a path and query ask for; None if they would be refused here, or are no path."""
    if sent.startswith("//"):
        # By itself it would be read as a host.
        return None
    try:
        target = parse_target(sent.encode("ascii"))
    except Refusal:
        return None
    return None if target.may_be_misread else parse_path(decoded(target.path))


def _host(origin: str) -> str:
    """Its host, with the port where that is not the scheme's own."""
    return origin.partition("://")[2]


def _normal(rest: str) -> tuple[str, str, str]:
    """Path and query for a comparison (RFC 3986 §6.2.2)."""
    _, mark, query = rest.partition("#")[0].partition("?")
    return visible_path(rest.encode("ascii")), mark, visible_path(query.encode("ascii"))
