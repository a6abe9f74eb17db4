"""The configuration language, as frozen values that check themselves.

This is the one source of what `check` accepts and what `regroute schema` publishes. An attribute's
docstring is its description in an editor.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_core import core_schema as core

from ..networks.spans import Address, Span
from . import scalars
from .faults import suggest
from .scalars import Scalar, describe

T = TypeVar("T")
Details = tuple[tuple[str | int, ...], str]

_NOTHING = "nothing is given: write a value, or leave the key out"


@dataclass(frozen=True)
class _Entries:
    """A list with at least one entry, which may stand `alone` without its brackets."""

    alone: bool

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core.no_info_before_validator_function(self._open, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        many = {**handler(schema), "minItems": 1}
        return {"anyOf": [many["items"], many]} if self.alone else many

    def _open(self, value: object) -> object:
        if value == []:
            raise ValueError("expected at least one entry")
        return (value,) if self.alone and isinstance(value, str) else value


class _Given:
    """A part that may be left out, but not be given as nothing."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        part: JsonSchemaValue = handler(schema)["anyOf"][0]
        return part


class _ByName:
    """A mapping whose keys are names and nothing else."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "additionalProperties": False}


@dataclass(frozen=True)
class _ShortForm:
    """A mapping that may be written as the value of its main key alone."""

    key: str
    scalar: Scalar

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core.no_info_before_validator_function(
            lambda value: {self.key: value} if isinstance(value, str) else value, handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [dict(self.scalar.schema), handler(schema)]}


Many = Annotated[tuple[T, ...], _Entries(alone=True)]
Some = Annotated[tuple[T, ...], _Entries(alone=False)]


class Part(BaseModel):
    """A mapping of the configuration, which reports all of its faults at once."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="wrap")
    @classmethod
    def _gather(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Add the faults between keys to those of each key, which pydantic finds by itself."""
        found = [*cls._key_faults(value), *cls.faults(value)] if isinstance(value, dict) else []
        try:
            part = handler(value)
        except ValidationError as error:
            found += [_translate(details) for details in error.errors()]
        if found:
            raise ValidationError.from_exception_data(cls.__name__, list(_init_details(found)))
        return part

    @classmethod
    def faults(cls, value: dict[str, Any]) -> Iterator[Details]:
        """Faults that lie between keys: where, and what is wrong."""
        yield from ()

    @classmethod
    def _key_faults(cls, value: dict[str, Any]) -> Iterator[Details]:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key, given in value.items():
            if key not in known:
                yield (key,), f"unknown key '{key}'{suggest(key, known)}"
            elif given is None:
                yield (key,), _NOTHING


def _translate(details: ErrorDetails) -> Details:
    location, value = details["loc"], details["input"]
    if details["type"] == "fault":
        return location, details["msg"]
    if value is None:
        return location, _NOTHING
    match details["type"]:
        case "value_error":
            return location, str(details["ctx"]["error"])
        case "missing":
            return location, f"missing key '{location[-1]}'"
        case "tuple_type" | "list_type":
            return location, f"expected a list, not {describe(value)}"
        case "model_type" | "dict_type" | "model_attributes_type":
            return location, f"expected a mapping, not {describe(value)}"
        case "extra_forbidden":
            # Said by `_key_faults` already, with what was meant.
            return location, ""
    return location, details["msg"]


def _init_details(found: list[Details]) -> Iterator[InitErrorDetails]:
    for location, message in found:
        if message:
            kind = PydanticCustomError("fault", "{message}", {"message": message})
            yield InitErrorDetails(type=kind, loc=location, input=None)


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
    unix: Annotated[str | None, scalars.FILE] = None
    """The path of a Unix socket. Its peers count as trusted proxies."""
    tls: Annotated[TlsFields | None, _Given()] = None
    """Speak TLS."""
    proxy_protocol: Annotated[bool, scalars.BOOLEAN] = False
    """Every connection begins with a PROXY header, version 1 or 2, from trusted_proxies only."""

    @classmethod
    def faults(cls, value: dict[str, Any]) -> Iterator[Details]:
        places = [place for place in _PLACES if place in value]
        if not places:
            yield (), "a listener needs a place: add one of port, socket, unix"
        for extra in places[1:]:
            yield (extra,), f"a listener has one place: keep {places[0]} or {extra}"
        if "host" in value and "port" not in value:
            yield ("host",), "host goes with port"


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

    head: Annotated[float, scalars.DURATION] = 10.0
    """How long a head and its body may take from the first byte."""
    idle: Annotated[float, scalars.DURATION] = 75.0
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


class RegistryFields(Part):
    """A destination."""

    url: Annotated[str, scalars.REGISTRY_URL]
    """http(s)://host, with a port and a repository prefix if need be."""


Registry = Annotated[RegistryFields, _ShortForm("url", scalars.REGISTRY_URL)]


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
    excluded: Annotated["NotFields | None", _Given(), Field(alias="not")] = None
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
    """Redirect to this registry: a name or a URL."""
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
    networks: Annotated[dict[_Named, Network], _ByName()] = {}
    """Names for sets of addresses."""
    registries: Annotated[dict[_Named, Registry], _ByName()] = {}
    """Names for destinations: a URL, or a mapping with one."""
    rules: Some[RuleFields]
    """The first rule whose conditions all hold decides."""
    access_log: Annotated[
        Annotated[str, scalars.LOG_TARGET, Tag("target")] | Annotated[LogFile, Tag("file")],
        Discriminator(_log_form),
    ] = "stdout"
    """A line for each answer: on stdout, in a file, or none."""
    limits: Limits = Limits()
    """How long and how large things may be."""
    tests: tuple[TestFields, ...] = ()
    """Requests and what must come of them: run by check and before every reload."""
