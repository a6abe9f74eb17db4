"""How each scalar of the configuration is written: how it is read, and its JSON Schema.

Both stand in one `Scalar`, so that what `regroute schema` publishes and what is checked cannot
part. An editor's YAML reader takes some texts for numbers or booleans; the schema allows those
wherever free text is due.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from ..answers import Refusal, escaped
from ..networks.spans import Address, Span, parse_address, parse_span
from ..oci import Kind
from ..registry import Mode
from ..target import parse_host, visible_path
from .faults import suggest
from .urls import ORIGIN, check_origin, parse_registry

NAME_PATTERN = "[a-z][a-z0-9_-]*"
REDIRECTS = (301, 302, 303, 307, 308)
DENIALS = (403, 404, 405, 410, 451)

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"


@dataclass(frozen=True)
class Known:
    """The names that a configuration declares, for the scalars that speak of them."""

    networks: frozenset[str] = frozenset()
    registries: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Scalar:
    """A way to write one value: `parse` raises `ValueError` that says what to write instead."""

    parse: Callable[[str, Known], Any]
    schema: dict[str, Any]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return dict(self.schema)

    def _read(self, value: object, info: ValidationInfo) -> Any:
        if not isinstance(value, str):
            raise ValueError(f"expected one plain value, not {describe(value)}")
        return self.parse(value, info.context or Known())


def describe(value: object) -> str:
    """What a plain value is, for a message."""
    kinds: dict[type, str] = {list: "a list", dict: "a mapping", str: "plain text"}
    return kinds.get(type(value), "nothing")


def _text(pattern: str, what: str, then: Callable[[str], Any] = str) -> Scalar:
    """A text of a given form; free enough that an editor may take it for a number."""

    def parse(text: str, known: Known) -> Any:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(f"'{text}' is not {what}")
        return then(text)

    return Scalar(parse, {"type": ["string", "number", "boolean"], "pattern": f"^(?:{pattern})$"})


def _choice(values: Iterable[str], what: str) -> Scalar:
    words = tuple(values)

    def parse(text: str, known: Known) -> str:
        if text not in words:
            raise ValueError(f"unknown {what} '{text}'{suggest(text, words)}")
        return text

    return Scalar(parse, {"enum": list(words)})


def _status(text: str, known: Known) -> int:
    if text not in map(str, REDIRECTS + DENIALS):
        raise ValueError(
            f"'{text}' is no status for an answer: redirects have {_listed(REDIRECTS)}, "
            f"denials {_listed(DENIALS)}"
        )
    return int(text)


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _port(text: str, known: Known) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError(f"'{text}' is no port: write a number from 1 to 65535")
    return int(text)


def _listen_host(text: str, known: Known) -> Address:
    try:
        return parse_address(text)
    except ValueError:
        raise ValueError(
            f"'{text}' is no IP address to listen on: write one as in 127.0.0.1 or ::1, "
            "0.0.0.0 for all of IPv4, :: for all of both"
        ) from None


def _span(text: str, known: Known) -> Span:
    return parse_span(text)


def _span_or_network(text: str, known: Known) -> Span | str:
    if re.fullmatch(NAME_PATTERN, text):
        if text not in known.networks:
            raise ValueError(f"unknown network '{text}'{suggest(text, known.networks)}")
        return text
    return parse_span(text)


def _address(text: str, known: Known) -> Address:
    try:
        return parse_address(text)
    except ValueError:
        raise ValueError(f"'{text}' is no IP address: write one as in 192.168.0.1") from None


def _host(text: str, known: Known) -> str:
    try:
        host = parse_host(text.encode())
    except Refusal:
        host = ""
    if not host or "*" in host:
        raise ValueError(f"'{text}' is no host: write one whole name or address, as in r.example")
    return host


def _path(text: str) -> str:
    return visible_path(text.encode())


def _method(text: str, known: Known) -> str:
    if re.fullmatch(_TOKEN, text) is None:
        raise ValueError(f"'{text}' is no method")
    if text != text.upper():
        raise ValueError(f"methods are in capitals: did you mean {text.upper()}?")
    return text


def _registry_url(text: str, known: Known) -> str:
    parse_registry(text, text)
    return text


def _destination(text: str, known: Known) -> str:
    if re.fullmatch(NAME_PATTERN, text):
        return _registry_name(text, known)
    return _registry_url(text, known)


def _registry_name(text: str, known: Known) -> str:
    if text not in known.registries:
        raise ValueError(f"unknown registry '{text}'{suggest(text, known.registries)}")
    return text


# Clients would take dot segments away, and ask for another path.
_REALM_PATH = r"/(?!v2(?:/|$))(?!(?:.*/)?\.\.?(?:/|$))[A-Za-z0-9._~!$&'()*+,;=:@%/-]+"


def _realm(text: str, known: Known) -> str:
    match = re.fullmatch(f"({ORIGIN}){_REALM_PATH}", text)
    if match is None:
        raise ValueError(
            f"'{text}' is no realm: write http(s)://host/path, with a plain path outside /v2 and "
            "without query or fragment"
        )
    check_origin(match[1])
    return text


def _username(text: str, known: Known) -> str:
    # RFC 7617 §2: it ends at the first colon.
    if not text or ":" in text or not text.isprintable():
        raise ValueError("a user name is one line of text without a colon")
    return text


def _pool(text: str, known: Known) -> int:
    if not re.fullmatch("[1-9][0-9]{0,5}", text):
        raise ValueError(f"'{text}' is no number of connections: write one from 1 to 999999")
    return int(text)


def _location(text: str, known: Known) -> str:
    match = re.fullmatch(rf"({ORIGIN})((?:[/?#].*)?)", text)
    if match is None:
        raise ValueError(f"'{text}' is no location: write http(s)://host/path")
    check_origin(match[1])
    return match[1] + escaped(match[2].encode())


def _file(text: str, known: Known) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError("this is no file name")
    return text


def _unix_path(text: str, known: Known) -> str:
    path = _file(text, known)
    if len(path.encode()) > _LONGEST_UNIX_PATH:
        raise ValueError(f"a Unix socket's path has at most {_LONGEST_UNIX_PATH} bytes")
    return os.path.normpath(path)


def _user_agent(text: str, known: Known) -> str:
    if not text.strip():
        raise ValueError("write some text, with * for the rest")
    # As the field comes: its bytes as Latin-1.
    return text.encode().decode("latin-1")


def _message(text: str, known: Known) -> str:
    message = text.strip()
    if not message or not message.isprintable():
        raise ValueError("the message must be one line of text")
    return message


_LONGEST_UNIX_PATH = 107  # unix(7)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MOST_WORKERS = 256
_MOST = 2.0**30  # of seconds as of bytes more than anyone means
_BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def _quantity(units: Mapping[str, float], what: str, example: str, least: str) -> Scalar:
    """A number with its unit, for a bare number could mean anything; `least` is the least."""
    pattern = rf"([0-9]{{1,9}}(?:\.[0-9]{{1,9}})?)({'|'.join(units)})"

    def read(match: re.Match[str]) -> float:
        return float(match[1]) * units[match[2]]

    minimum = re.fullmatch(pattern, least)
    assert minimum is not None

    def parse(text: str, known: Known) -> float:
        match = re.fullmatch(pattern, text)
        if match is None:
            hint = f"did you mean {text}{example}?" if text.isdigit() else f"as in 10{example}"
            raise ValueError(f"'{text}' is no {what} with its unit ({', '.join(units)}): {hint}")
        if not read(minimum) <= read(match) <= _MOST:
            raise ValueError(f"'{text}' is not a sensible {what} here: at least {least}")
        return read(match)

    return Scalar(parse, {"type": "string", "pattern": f"^{pattern}$"})


def _boolean(text: str, known: Known) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"'{text}' is neither true nor false")
    return text == "true"


def _connections(text: str, known: Known) -> int | None:
    if text == "auto":
        return None
    if not re.fullmatch("[1-9][0-9]{0,8}", text):
        raise ValueError(f"'{text}' is no number of connections: write one, or auto")
    return int(text)


def _workers(text: str, known: Known) -> int | None:
    if text == "auto":
        return None
    if not re.fullmatch("[1-9][0-9]{0,2}", text) or int(text) > _MOST_WORKERS:
        raise ValueError(
            f"'{text}' is no number of workers: write one from 1 to {_MOST_WORKERS}, or auto"
        )
    return int(text)


_FREE = {"type": ["string", "number", "boolean"], "pattern": r"\S"}

NAME = _text(NAME_PATTERN, "a name: write lower-case letters, digits, - and _, a letter first")
PORT = Scalar(
    _port,
    {"type": ["integer", "string"], "minimum": 1, "maximum": 65535, "pattern": "^[0-9]{1,5}$"},
)
LISTEN_HOST = Scalar(_listen_host, {"type": "string", "pattern": "^[0-9A-Fa-f:.]+$"})
SPAN = Scalar(_span, {"type": ["string", "number"], "pattern": r"^[0-9A-Fa-f:./ -]+$"})
SPAN_OR_NETWORK = Scalar(
    _span_or_network,
    {"type": ["string", "number"], "pattern": rf"^(?:[0-9A-Fa-f:./ -]+|{NAME_PATTERN})$"},
)
ADDRESS = Scalar(_address, {"type": "string", "pattern": "^[0-9A-Fa-f:.]+$"})
HEADER = _text(_TOKEN, "a field name", str.lower)
FILE = Scalar(_file, _FREE)
UNIX_PATH = Scalar(_unix_path, _FREE)
HOST = Scalar(_host, {"type": "string", "minLength": 1})
PATH = _text(r"/[^?#\s]*|\*", "a path: begin with / and leave the query out", _path)
METHOD = Scalar(_method, {"type": "string", "pattern": "^[^a-z\\s]+$"})
KIND = _choice((kind.value for kind in Kind), "kind")
REPOSITORY_GLOB = _text(
    r"[a-z0-9._*-]+(?:/[a-z0-9._*-]+)*",
    "a repository: it is in lower case and neither begins nor ends with /; * is a wildcard",
)
REFERENCE_GLOB = _text(r"[A-Za-z0-9._:+=*-]+", "a tag or digest; * is a wildcard")
USER_AGENT = Scalar(_user_agent, _FREE)
NAMESPACE = _text(r"[^\s/]+", "a registry's host, as in docker.io")
REGISTRY_URL = Scalar(_registry_url, {"type": "string", "pattern": f"^{ORIGIN}(?:/[^?#]*)?$"})
DESTINATION = Scalar(
    _destination, {"type": "string", "pattern": f"^(?:{NAME_PATTERN}|{ORIGIN}(?:/[^?#]*)?)$"}
)
LOCATION = Scalar(_location, {"type": "string", "pattern": f"^{ORIGIN}(?:[/?#].*)?$"})
REGISTRY_NAME = Scalar(_registry_name, {"type": "string", "pattern": f"^{NAME_PATTERN}$"})
REALM = Scalar(_realm, {"type": "string", "pattern": f"^{ORIGIN}{_REALM_PATH}$"})
USERNAME = Scalar(_username, _FREE)
POOL = Scalar(
    _pool,
    {
        "type": ["integer", "string"],
        "minimum": 1,
        "maximum": 999_999,
        "pattern": "^[1-9][0-9]{0,5}$",
    },
)
MODE = _choice((mode.value for mode in Mode), "mode")
CHALLENGE = _choice(("own", "keep"), "challenge")
AUTH = _choice(("anonymous",), "way to ask")
BLOBS = _choice(("stream", "redirect"), "way for blobs")
BOOLEAN = Scalar(_boolean, {"enum": [True, False, "true", "false"]})
DURATION = _quantity(_SECONDS, "time", "s", least="0s")
PATIENCE = _quantity(_SECONDS, "time", "s", least="100ms")
SIZE = _quantity(_BYTES, "size", "KiB", least="1KiB")
CONNECTIONS = Scalar(
    _connections,
    {
        "type": ["integer", "string"],
        "minimum": 1,
        "maximum": 999_999_999,
        "pattern": "^(?:auto|[1-9][0-9]{0,8})$",
    },
)
WORKERS = Scalar(
    _workers,
    {
        "type": ["integer", "string"],
        "minimum": 1,
        "maximum": _MOST_WORKERS,
        "pattern": "^(?:auto|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-6])$",
    },
)
SOCKET = _text(r"[!-9;-~]{1,255}", "the name of a socket, as in FileDescriptorName")
LOG_TARGET = _choice(("stdout", "none"), "access log")
LOG_FORMAT = _choice(("json", "combined"), "format")
LOG_CLIENT = _choice(("full", "prefix", "none"), "way to write clients")
MESSAGE = Scalar(_message, _FREE)
OK = _choice(["ok"], "response")
STATUS = Scalar(_status, {"enum": [*REDIRECTS, *DENIALS, *map(str, REDIRECTS + DENIALS)]})
ANY_STATUS = _text("[1-5][0-9][0-9]", "a status", int)
TEST_PATH = _text(r"/\S*", "a path: begin with /")
