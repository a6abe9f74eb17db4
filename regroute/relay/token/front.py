"""Where clients are sent for tokens: a URL under a name that this front is known to have.

A ``Host`` is what the client says. Under TLS the certificates say whether it is so; in plain HTTP
nothing does, and the client tells its own name for us back to itself and to nobody else.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

from cryptography import x509

from ...answers import Reason, Refusal
from ...certificates import Certificate
from ...target import Target, parse_host, visible_path

DEFAULT_PATH = "/token"

_PORT = re.compile(rb":([1-9][0-9]{0,4})\Z")
_AUTHORITY = re.compile(r"https?://([^/]*)(.*)")


def token_path(realm: str | None) -> str:
    """The path of the token endpoint, as conditions see paths."""
    match = _AUTHORITY.fullmatch(realm or "")
    return visible_path(match[2].encode("ascii")) if match else DEFAULT_PATH


@dataclass(frozen=True)
class Names:
    """The names that a TLS listener's certificates are good for, in lower case.

    The first is for those who ask by a name that is none of them.
    """

    exact: tuple[str, ...]
    wildcards: tuple[str, ...] = ()

    @classmethod
    def of(cls, certificates: Iterable[Certificate]) -> "Names":
        """The names of a listener's certificates, the default one's first; addresses are names."""
        names = [name for each in certificates for name in (*each.names, *_addresses(each))]
        bare = [name.removesuffix(".") for name in names]
        return cls(
            exact=tuple(dict.fromkeys(name for name in bare if not name.startswith("*."))),
            wildcards=tuple(dict.fromkeys(name[1:] for name in bare if name.startswith("*."))),
        )

    def cover(self, host: str) -> bool:
        """Whether a host is one of them (RFC 9525 §6.3: a wildcard stands for one label)."""
        bare = host.removesuffix(".")
        head, dot, parent = bare.partition(".")
        return bare in self.exact or (bool(head) and dot + parent in self.wildcards)


def _addresses(certificate: Certificate) -> Sequence[str]:
    try:
        found = certificate.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    addresses = found.value.get_values_for_type(x509.IPAddress)
    return [f"[{each}]" if each.version == 6 else str(each) for each in addresses]


@dataclass(frozen=True)
class Front:
    """How a client sees us: what it has asked, and what is known about that.

    `realm` is the configured one. `names` are those of a TLS listener's certificates, None in plain
    HTTP, where `proto` is what a trusted proxy says of its own client's scheme. `host` is the
    ``Host`` field, or the authority that takes its place.
    """

    realm: str | None
    names: Names | None
    host: bytes
    proto: bytes | None = None

    @cached_property
    def url(self) -> str:
        """Where clients get tokens; raises `Refusal` where no name is known to be ours."""
        if self.realm is not None:
            return self.realm
        port = _PORT.search(self.host)
        suffix = f":{int(port[1])}" if port else ""
        return f"{self.scheme}://{self._name}{suffix}{DEFAULT_PATH}"

    @cached_property
    def origin(self) -> str | None:
        """The origin that the client has asked, if it has named one."""
        if not self.host:
            return None
        return f"{self.scheme}://{self.host.decode('ascii').lower()}"

    @property
    def service(self) -> str:
        """What the tokens are for: this front, by its host."""
        match = _AUTHORITY.match(self.url)
        assert match is not None
        return match[1]

    def url_for(self, target: str) -> str:
        """The same for a client that has asked for a path and query: a mirror's client names the
        registry that it means in its query, and without that the right token is not found.
        """
        namespace = Target(target.encode("ascii"), "").namespace if "ns=" in target else None
        return self.url if namespace is None else f"{self.url}?ns={quote(namespace, safe='')}"

    @property
    def scheme(self) -> str:
        """What the client speaks."""
        if self.names is not None:
            return "https"
        # What is no such word has been written by nobody who should be believed.
        return "https" if (self.proto or b"").lower() == b"https" else "http"

    @property
    def _name(self) -> str:
        host = parse_host(self.host)
        if self.names is None:
            if not host:
                raise Refusal(400, "a token is to be had by clients that send Host", Reason.HOST)
            return host
        if self.names.cover(host):
            return host
        if not self.names.exact:
            raise Refusal(
                400, "Host is none of the names that this server has a certificate for", Reason.HOST
            )
        return self.names.exact[0]
