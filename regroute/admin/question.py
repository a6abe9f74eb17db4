"""The query of ``/explain``: a request that nobody has made, as the parameters of a URL."""

from dataclasses import dataclass
from urllib.parse import parse_qsl

from ..answers import Reason, Refusal
from ..check import NOBODY
from ..config.faults import one_line, suggest
from ..networks.spans import Address, parse_address

_KEYS = ("client", "path", "method", "host", "user_agent")


@dataclass(frozen=True)
class Question:
    """A request to explain; `user_agent` is Latin-1, as in `respond_to`."""

    client: Address
    method: str
    target: bytes
    host: bytes
    user_agent: str


def read_question(query: bytes) -> Question:
    """Read the query of a URL, an HTML form's encoding; raises `Refusal`.

    As every value, the path is decoded once: a ``?`` in it is sent as ``%3F``, an escape of its own
    as ``%25``, and a plus as ``%2B``.
    """
    # Latin-1 keeps every byte apart.
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    given: dict[str, str] = {}
    for key, value in pairs:
        if key not in _KEYS:
            raise _malformed(f"unknown parameter '{key}'{suggest(key, _KEYS)}")
        if key in given:
            raise _malformed(f"{key} is given twice")
        given[key] = value
    if "path" not in given:
        raise _malformed("path is missing: ask as in /explain?client=192.0.2.1&path=/v2/")
    return Question(
        client=_read_client(given["client"]) if "client" in given else NOBODY,
        method=_bytes(given.get("method", "GET")).decode("utf-8", "replace"),
        target=_bytes(given["path"]),
        host=_bytes(given.get("host", "")),
        user_agent=given.get("user_agent", ""),
    )


def _bytes(value: str) -> bytes:
    return value.encode("latin-1")


def _read_client(text: str) -> Address:
    try:
        return parse_address(text)
    except ValueError:
        raise _malformed(
            f"client: '{text}' is no IP address: write one as in 192.168.0.1"
        ) from None


def _malformed(message: str) -> Refusal:
    return Refusal(400, one_line(message), Reason.TARGET)
