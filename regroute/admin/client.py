"""Asking a daemon that runs to reload: what ``regroute reload`` does."""

import json
import re
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import Reader

from ..config.faults import Fault
from ..outcome import Outcome

PATIENCE = 300.0
"""How long a reload may take, in seconds: long lists and many workers included."""

_ADMIN = re.compile(r"^admin[ \t]*:", re.MULTILINE)


class NoAnswer(Exception):
    """There is no daemon to be asked, or it does not answer as one; says what to do."""


def find_socket(text: str) -> str | None:
    """The path of ``admin: {unix: PATH}`` in a configuration, None if it has none.

    The text may be faulty in all that comes after it, and in what comes before it if the key
    stands at the beginning of a line.
    """
    # PyYAML refuses these before it reads anything.
    printable = Reader.NON_PRINTABLE.sub("?", text)
    try:
        return _find(printable)
    except yaml.YAMLError:
        found = _ADMIN.search(printable)
    try:
        return _find(printable[found.start() :]) if found else None
    except yaml.YAMLError:
        return None


def _find(text: str) -> str | None:
    """Read as far as the key, and no further: what follows may be no YAML."""
    events = yaml.parse(text, Loader=yaml.SafeLoader)
    for event in events:
        if isinstance(event, yaml.MappingStartEvent):
            break
        if not isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent):
            return None
    for key in _keys(events):
        if key == "admin":
            if not isinstance(next(events), yaml.MappingStartEvent):
                return None
            for inner in _keys(events):
                value = next(events)
                if inner == "unix":
                    return value.value if isinstance(value, yaml.ScalarEvent) else None
                _skip(value, events)
            return None
        _skip(next(events), events)
    return None


def _keys(events: Iterator[yaml.Event]) -> Iterator[str | None]:
    """The keys of a mapping that has begun; a key's value is to be taken before the next key."""
    for event in events:
        if isinstance(event, yaml.MappingEndEvent):
            return
        _skip(event, events)
        yield event.value if isinstance(event, yaml.ScalarEvent) else None


def _skip(event: yaml.Event, events: Iterator[yaml.Event]) -> None:
    """Go past a value of which this is the first event."""
    depth = int(isinstance(event, yaml.CollectionStartEvent))
    while depth:
        inner = next(events)
        depth += isinstance(inner, yaml.CollectionStartEvent)
        depth -= isinstance(inner, yaml.CollectionEndEvent)


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        HTTPConnection.__init__(self, "localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        """Connect to the path."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask_to_reload(path: Path) -> Outcome:
    """Ask the daemon whose admin socket this is, and wait for the outcome; raises `NoAnswer`."""
    connection = _UnixConnection(path)
    try:
        connection.request("POST", "/reload")
        answer = connection.getresponse()
        return _read(answer.status, json.loads(answer.read()))
    except (FileNotFoundError, ConnectionRefusedError):
        raise NoAnswer(
            f"no daemon listens on {path}: start it, or name its socket with --socket"
        ) from None
    except PermissionError:
        raise NoAnswer(f"{path} is not yours: ask as root, or as the daemon's user") from None
    except TimeoutError:
        raise NoAnswer(
            f"no answer on {path} within {PATIENCE:g} seconds: look into the daemon's log"
        ) from None
    except OSError as error:
        raise NoAnswer(f"cannot ask on {path}: {error.strerror or error}") from None
    except (HTTPException, ValueError, KeyError, TypeError):
        raise NoAnswer(f"what answers on {path} is no admin listener of regroute") from None
    finally:
        connection.close()


def _read(status: int, told: dict[str, Any]) -> Outcome:
    """The outcome that an answer tells of; raises `ValueError`, `KeyError` or `TypeError`."""
    if status == 200 and told["result"] == "reloaded":
        return Outcome("reloaded", str(told["changes"]))
    if status in (422, 500) and told["result"] == "failed":
        faults = [
            Fault(each["file"], each["line"], each["column"], each["message"])
            for each in told["faults"]
        ]
        return Outcome("failed", faults=tuple(faults))
    raise ValueError("not an answer to this")
