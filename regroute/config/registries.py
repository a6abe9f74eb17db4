"""The part of the language that speaks of registries, and of tokens for them."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Tag

from ..registry import FOLLOWERS
from . import scalars
from .parts import Details, Given, Many, ManyOrNone, Part, ShortForm


class AccountFields(Part):
    """An account at a registry."""

    username: Annotated[str, scalars.USERNAME]
    """Its name."""
    password_file: Annotated[str, scalars.FILE]
    """The file that holds its password and nothing else, relative to the configuration."""


_RELAYED = ("challenge", "auth", "blobs", "forwarded", "connect", "idle", "connections", "ca")


def _auth_form(value: object) -> str:
    return "account" if isinstance(value, dict | AccountFields) else "word"


Auth = Annotated[
    Annotated[Literal["anonymous"], scalars.AUTH, Tag("word")]
    | Annotated[AccountFields, Tag("account")],
    Discriminator(_auth_form),
]


def _relay_schema() -> dict[str, Any]:
    """What `RegistryFields.faults` finds between keys."""

    def given(key: str, schema: dict[str, Any]) -> dict[str, Any]:
        return {"required": [key], "properties": {key: schema}}

    def without(*keys: str) -> dict[str, Any]:
        return {"properties": dict.fromkeys(keys, False)}

    relayed = given("mode", {"enum": ["relay", "auto"]})
    plain = given("url", {"pattern": "^http:"})
    return {
        "allOf": [
            {"if": {"not": relayed}, "then": without(*_RELAYED)},
            {"if": {"not": given("mode", {"const": "auto"})}, "then": without("redirected")},
            {"if": given("challenge", {"const": "keep"}), "then": without("auth")},
            {"if": plain, "then": without("ca")},
            {
                "if": given("blobs", {"const": "redirect"}),
                "then": {"properties": {"auth": {"type": "string"}}},
            },
        ]
    }


class RegistryFields(Part):
    """A destination, and how requests get to it."""

    model_config = ConfigDict(json_schema_extra=_relay_schema())

    url: Annotated[str, scalars.REGISTRY_URL]
    """http(s)://host, with a port and a repository prefix if need be."""
    mode: Annotated[Literal["redirect", "relay", "auto"], scalars.MODE] = "redirect"
    """redirect clients to it, relay their requests to it, or auto: what suffices for each."""
    challenge: Annotated[Literal["own", "keep"], scalars.CHALLENGE] = "own"
    """own: clients get their tokens here, for all registries; keep: they do what this one says."""
    auth: Annotated[Auth | None, Given()] = None
    """anonymous, or an account: clients need no credentials, and theirs are not sent on."""
    blobs: Annotated[Literal["stream", "redirect"], scalars.BLOBS] = "stream"
    """stream them to the client, or redirect it to the registry for them."""
    forwarded: Annotated[bool, scalars.BOOLEAN] = False
    """Tell it who asks, in a Forwarded field (RFC 7239)."""
    redirected: ManyOrNone[Annotated[str, scalars.USER_AGENT]] = FOLLOWERS
    """For auto: the user agents that cope with a redirect to a registry that wants credentials;
    none with []."""
    connect: Annotated[float, scalars.PATIENCE] = 5.0
    """How long connecting may take."""
    idle: Annotated[float, scalars.PATIENCE] = 60.0
    """How long it may be silent while it is waited for."""
    connections: Annotated[int, scalars.POOL] = 1024
    """How many connections to it there may be at once, from each worker."""
    ca: Annotated[str | None, scalars.FILE] = None
    """The authorities that its certificate must come from, in PEM; by default the system's."""

    @classmethod
    def faults(cls, value: dict[str, Any]) -> Iterator[Details]:
        mode = value.get("mode", "redirect")
        for key in _RELAYED if mode == "redirect" else ():
            if key in value:
                yield (key,), f"{key} is for what is relayed: add mode: relay or auto, or drop it"
        if "redirected" in value and mode != "auto":
            yield ("redirected",), "redirected goes with mode: auto"
        if "auth" in value and value.get("challenge") == "keep":
            yield ("challenge",), "challenge: keep is of no use with auth: drop one of them"
        if value.get("blobs") == "redirect" and isinstance(value.get("auth"), dict):
            yield (
                ("blobs",),
                "who is redirected has not got the account of auth: drop one of them",
            )
        if "ca" in value and str(value.get("url")).startswith("http:"):
            yield ("ca",), "ca is for https: write https in url, or drop it"


class TokenFields(Part):
    """Where clients get tokens for the registries that are relayed."""

    realm: Annotated[str | None, scalars.REALM] = None
    """The URL that they are sent to; by default /token at the host that they have asked."""
    login: Many[Annotated[str, scalars.REGISTRY_NAME]] = ()
    """The registries that clients log in to: no other gets to see their passwords. By default all
    that are relayed, that of /v2/ first."""


Registry = Annotated[RegistryFields, ShortForm("url", scalars.REGISTRY_URL)]
