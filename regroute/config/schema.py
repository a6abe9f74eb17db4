"""The configuration language, as frozen values that check themselves.

This is the one source of what `check` accepts and what `regroute schema` publishes. An attribute's
docstring is its description in an editor.
"""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from ..networks.spans import Address, Span
from . import scalars
from .parts import ByName, Details, Given, Many, Part, Some
from .registries import Registry, TokenFields


class CertificateFiles(Part):
    """A certificate and its key, in PEM."""

    certificate: Annotated[str, scalars.FILE]
    """The certificate's file, its chain after it; relative to the configuration."""
    key: Annotated[str, scalars.FILE]
    """The private key's file."""


class TlsFields(Part):
    """TLS on a listener."""

    certificates: Some[CertificateFiles]
    """The first is the default; SNI picks the others by their names."""


_PLACES = ("port", "socket", "unix")


class Listener(Part):
    """Where to listen: exactly one of port, socket and unix."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [place]} for place in _PLACES],
            "dependentRequired": {"host": ["port"]},
        }
    )

    port: Annotated[int | None, scalars.PORT] = None
    """The TCP port."""
    host: Annotated[Address | None, scalars.LISTEN_HOST] = None
    """The address to listen on; by default every one, of IPv4 and IPv6."""
    socket: Annotated[str | None, scalars.SOCKET] = None
    """A socket that systemd has opened, by its FileDescriptorName."""
    unix: Annotated[str | None, scalars.UNIX_PATH] = None
    """The path of a Unix socket. Its peers count as trusted proxies."""
    tls: Annotated[TlsFields | None, Given()] = None
    """Speak TLS."""
    proxy_protocol: Annotated[bool, scalars.BOOLEAN] = False
    """Every connection begins with a PROXY header, version 1 or 2, from trusted_proxies only."""

    @classmethod
    def faults(cls, value: dict[str, Any]) -> Iterator[Details]:
        yield from _place_faults("a listener", _PLACES, value)


def _place_faults(what: str, known: Sequence[str], value: dict[str, Any]) -> Iterator[Details]:
    places = [place for place in known if place in value]
    if not places:
        yield (), f"{what} needs a place: add one of {', '.join(known)}"
    for extra in places[1:]:
        yield (extra,), f"{what} has one place: keep {places[0]} or {extra}"
    if "host" in value and "port" not in value:
        yield ("host",), "host goes with port"


_ADMIN_PLACES = ("port", "unix")


class AdminFields(Part):
    """Where health, metrics and explanations are to be had: exactly one of port and unix."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [place]} for place in _ADMIN_PLACES],
            "dependentRequired": {"host": ["port"]},
        }
    )

    port: Annotated[int | None, scalars.PORT] = None
    """A TCP port, which changes nothing: whoever can connect may only look."""
    host: Annotated[Address, scalars.LISTEN_HOST] = IPv4Address("127.0.0.1")
    """The address to listen on; by default this machine alone reaches it."""
    unix: Annotated[str | None, scalars.UNIX_PATH] = None
    """The path of a Unix socket, for the daemon's user and root; regroute reload uses it."""

    @classmethod
    def faults(cls, value: dict[str, Any]) -> Iterator[Details]:
        yield from _place_faults("admin", _ADMIN_PLACES, value)


class LogFile(Part):
    """An access log in a file."""

    path: Annotated[str, scalars.FILE]
    """The file, relative to the configuration. SIGHUP opens it anew."""
    format: Annotated[Literal["json", "combined"], scalars.LOG_FORMAT] = "json"
    """json, one object a line; or combined, as web servers write it."""
    client: Annotated[Literal["full", "prefix", "none"], scalars.LOG_CLIENT] = "full"
    """How much of the client's address: full, prefix (/24 or /48) or none."""


class Limits(Part):
    """How long and how large things may be."""

    head: Annotated[float, scalars.PATIENCE] = 10.0
    """How long a head and its body may take from the first byte."""
    idle: Annotated[float, scalars.PATIENCE] = 75.0
    """How long a connection may stay without a request; 650s for those from trusted proxies."""
    head_size: Annotated[float, scalars.SIZE] = 16 * 1024
    """How large a head may be."""
    connections: Annotated[int | None, scalars.CONNECTIONS] = None
    """How many connections there may be at once; auto: as many as there are descriptors for."""
    drain: Annotated[float, scalars.DURATION] = 5.0
    """How long what is in flight may take when the daemon stops."""
    lame_duck: Annotated[float, scalars.DURATION] = 0.0
    """How long the daemon goes on as before when it is told to stop."""


class ClientFields(Part):
    """How to tell a client's address."""

    trusted_proxies: Many[Annotated[Span | str, scalars.SPAN_OR_NETWORK]] = ()
    """Addresses, CIDRs, ranges and network names: only these are believed."""
    header: Annotated[str, scalars.HEADER] = "x-real-ip"
    """The field that they name the client in: x-forwarded-for, forwarded, or one that holds one
    address."""


class FileNetwork(Part):
    """A set of addresses in a text file: one address, CIDR or range a line, # for comments."""

    file: Annotated[str, scalars.FILE]
    """The file's name, relative to the configuration."""


def _log_form(value: object) -> str:
    return "file" if isinstance(value, dict | LogFile) else "target"


def _network_form(value: object) -> str:
    return "file" if isinstance(value, dict | FileNetwork) else "addresses"


Network = Annotated[
    Annotated[Many[Annotated[Span, scalars.SPAN]], Tag("addresses")]
    | Annotated[FileNetwork, Tag("file")],
    Discriminator(_network_form),
]


class ConditionFields(Part):
    """Conditions, all of which must hold; of a list, any entry."""

    model_config = ConfigDict(populate_by_name=True)

    client: Many[Annotated[Span | str, scalars.SPAN_OR_NETWORK]] = ()
    """Where the client calls from: addresses, CIDRs, ranges, network names."""
    host: Many[Annotated[str, scalars.HOST]] = ()
    """The host that it asks, whatever the letter case and port."""
    path: Many[Annotated[str, scalars.PATH]] = ()
    """The path: exact, or a prefix if it ends in *."""
    method: Many[Annotated[str, scalars.METHOD]] = ()
    """The method; by default GET and HEAD, and every one for deny."""
    kind: Many[Annotated[str, scalars.KIND]] = ()
    """The end-point of the distribution-spec."""
    repository: Many[Annotated[str, scalars.REPOSITORY_GLOB]] = ()
    """The repository; * does not cross /, ** does."""
    reference: Many[Annotated[str, scalars.REFERENCE_GLOB]] = ()
    """The tag or digest; * is any text."""
    user_agent: Many[Annotated[str, scalars.USER_AGENT]] = ()
    """The User-Agent; * is any text."""
    namespace: Many[Annotated[str, scalars.NAMESPACE]] = ()
    """The registry that a mirror's client means, in the ns query parameter."""
    excluded: Annotated["NotFields | None", Given(), Field(alias="not")] = None
    """Holds when not all of these conditions hold."""


class NotFields(ConditionFields):
    """Conditions that must not all hold."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    @classmethod
    def faults(cls, value: dict[str, Any]) -> Iterator[Details]:
        if not value:
            yield (), "not needs at least one condition"


_OUTCOMES = {
    "to": scalars.REDIRECTS,
    "location": scalars.REDIRECTS,
    "deny": scalars.DENIALS,
    "respond": (),
}


def _outcome_schema() -> dict[str, Any]:
    def alternative(outcome: str, statuses: tuple[int, ...]) -> dict[str, Any]:
        status = {"enum": [*statuses, *map(str, statuses)]} if statuses else False
        others = {other: False for other in _OUTCOMES if other != outcome}
        return {"required": [outcome], "properties": {"status": status, **others}}

    return {"oneOf": [alternative(*entry) for entry in _OUTCOMES.items()]}


class RuleFields(ConditionFields):
    """One rule: the first whose conditions all hold decides. Exactly one outcome."""

    model_config = ConfigDict(json_schema_extra=_outcome_schema())

    name: Annotated[str | None, scalars.NAME] = None
    """The rule's name; by default rule-N by its position."""
    to: Annotated[str | None, scalars.DESTINATION] = None
    """Send on to this registry, by a redirect or as its mode says: a name or a URL."""
    location: Annotated[str | None, scalars.LOCATION] = None
    """Redirect to this one address, whatever the request's path is."""
    deny: Annotated[str | None, scalars.MESSAGE] = None
    """Refuse with this message."""
    respond: Annotated[str | None, scalars.OK] = None
    """Answer here: ok is the API check's answer."""
    status: Annotated[int | None, scalars.STATUS] = None
    """By default 302 for to and location, 403 for deny."""

    @classmethod
    def faults(cls, value: dict[str, Any]) -> Iterator[Details]:
        outcomes = [outcome for outcome in _OUTCOMES if outcome in value]
        if not outcomes:
            yield (), f"a rule needs an outcome: add one of {', '.join(_OUTCOMES)}"
        for extra in outcomes[1:]:
            yield (extra,), f"a rule has one outcome: keep {outcomes[0]} or {extra}"
        if len(outcomes) == 1 and isinstance(status := value.get("status"), str):
            yield from _status_faults(outcomes[0], status)


def _status_faults(outcome: str, status: str) -> Iterator[Details]:
    allowed = _OUTCOMES[outcome]
    if not allowed:
        yield ("status",), f"{outcome} has no status: leave it out"
    elif status in map(str, scalars.REDIRECTS + scalars.DENIALS) and int(status) not in allowed:
        listed = ", ".join(map(str, allowed))
        yield ("status",), f"{status} is no status for {outcome}: use one of {listed}"


_EXPECTATIONS = ("rule", "status", "location", "registry")


class TestFields(Part):
    """A request, and what must come of it."""

    # Not for pytest to collect.
    __test__: ClassVar[bool] = False
    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [key]} for key in _EXPECTATIONS]}
    )

    path: Annotated[str, scalars.TEST_PATH]
    """The path and query that it asks for."""
    client: Annotated[Address | None, scalars.ADDRESS] = None
    """Where it comes from; by default 192.0.2.1."""
    method: Annotated[str, scalars.METHOD] = "GET"
    host: Annotated[str, scalars.HOST] = ""
    user_agent: Annotated[str, scalars.USER_AGENT] = ""
    rule: Annotated[str | None, scalars.NAME] = None
    """The name of the rule that must decide."""
    status: Annotated[int | None, scalars.ANY_STATUS] = None
    """The answer's status."""
    location: Annotated[str | None, scalars.LOCATION] = None
    """The answer's Location."""
    registry: Annotated[str | None, scalars.DESTINATION] = None
    """The registry that it must be sent to."""

    @classmethod
    def faults(cls, value: dict[str, Any]) -> Iterator[Details]:
        if not any(key in value for key in _EXPECTATIONS):
            yield (), f"a test needs an expectation: add one of {', '.join(_EXPECTATIONS)}"


_Named = Annotated[str, scalars.NAME]


class Config(Part):
    """A configuration of regroute."""

    model_config = ConfigDict(title="regroute configuration")

    listen: Some[Listener] = (Listener.model_construct(port=10000),)
    """Where to listen; by default on port 10000."""
    clients: ClientFields = ClientFields()
    """How to tell a client's address; by default it is the connection's peer."""
    networks: Annotated[dict[_Named, Network], ByName()] = Field(default_factory=dict)
    """Names for sets of addresses."""
    registries: Annotated[dict[_Named, Registry], ByName()] = Field(default_factory=dict)
    """Names for destinations: a URL, or a mapping with one."""
    token: TokenFields = TokenFields()
    """Where clients get tokens for the registries that are relayed."""
    rules: Some[RuleFields]
    """The first rule whose conditions all hold decides."""
    access_log: Annotated[
        Annotated[str, scalars.LOG_TARGET, Tag("target")] | Annotated[LogFile, Tag("file")],
        Discriminator(_log_form),
    ] = "stdout"
    """A line for each answer: on stdout, in a file, or none."""
    limits: Limits = Limits()
    """How long and how large things may be."""
    lane: Annotated[bool, scalars.BOOLEAN] = True
    """Answer plain requests where they come in; false: twisted.web answers them all, slower."""
    workers: Annotated[int | None, scalars.WORKERS] = 1
    """How many processes share the listening sockets; auto: one a core."""
    admin: Annotated[AdminFields | None, Given()] = None
    """Health, metrics and explanations, on a port or socket of their own; by default nowhere."""
    watch: Annotated[bool, scalars.BOOLEAN] = False
    """Reload when this file, or one that it names, changes."""
    tests: tuple[TestFields, ...] = ()
    """Requests and what must come of them: run by check and before every reload."""
