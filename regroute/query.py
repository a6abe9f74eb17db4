"""What the rules are asked about: one request, as far as any condition can see it."""

from dataclasses import dataclass

from . import oci, target
from .networks.spans import Address
from .oci import Asked
from .target import Target


@dataclass(frozen=True)
class Query:
    """One request. `host` is in lower case and has no port; `user_agent` is empty if not sent."""

    client: Address
    method: str
    target: Target
    asked: Asked
    host: str
    user_agent: str

    @classmethod
    def of(
        cls, client: Address, method: str, raw_target: bytes, host: bytes, user_agent: str
    ) -> "Query":
        """Put a request together of its parts; raises `Refusal` if its target or host is invalid.

        The authority of an absolute-form target takes the place of `host` (RFC 9112 §3.2.2).
        """
        field_host = target.parse_host(host)
        sought = target.parse_target(target.well_formed(method.encode(), raw_target))
        return cls(
            client=client,
            method=method,
            target=sought,
            asked=oci.parse_path(target.decoded(sought.path)),
            host=field_host if sought.host is None else sought.host,
            user_agent=user_agent,
        )

    @property
    def path(self) -> str:
        """The path as conditions see it."""
        return self.target.path

    @property
    def kind(self) -> str:
        """The end-point's kind."""
        return self.asked.kind

    @property
    def repository(self) -> str | None:
        """The repository, on paths that name one."""
        return self.asked.repository

    @property
    def reference(self) -> str | None:
        """The tag or digest, on paths that name one."""
        return self.asked.reference

    @property
    def namespace(self) -> str | None:
        """The registry that a mirror's client means."""
        return self.target.namespace
