"""What the admin listener tells of: the daemon, by what it needs to know of it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred

from ..check import Checked
from ..config.faults import Fault
from ..config.schema import Listener
from ..life import Life
from ..outcome import Outcome, Past
from ..server import Process

Exposition: TypeAlias = Callable[[str], tuple[str, bytes]]
"""The metrics in a format that an Accept field allows: their media type, and their bytes."""


@dataclass(frozen=True)
class Subject:
    """A daemon that runs by the configuration `file`; `checked` is what is in force of it.

    `known_open` are the origins of registries that are known to ask nobody for credentials.
    """

    file: str
    life: Life
    checked: Callable[[], Checked]
    known_open: Callable[[], frozenset[str]]
    exposition: Exposition
    reload: Callable[[], Deferred[Outcome]]
    last_reload: Callable[[], Past | None]
    connections: Callable[[], int]
    workers: Callable[[], Sequence[Process]]

    def status(self, now: float) -> dict[str, Any]:
        """What ``/status.json`` says; `now` is in seconds since the epoch."""
        checked = self.checked()
        last = self.last_reload()
        return {
            "version": version("regroute"),
            "pid": os.getpid(),
            "started": _time(self.life.began),
            "uptime": round(now - self.life.began, 3),
            "state": self.life.state,
            "configuration": {
                "file": self.file,
                "sha256": checked.sha256,
                "loaded_at": _time(checked.checked_at.timestamp()),
                "rules": len(checked.rules.rules),
                "networks": len(checked.networks),
                "registries": len(checked.config.registries),
            },
            "last_reload": last
            and {
                "time": _time(last.time),
                "result": last.outcome.result,
                "faults": faults(last.outcome.faults),
            },
            "listeners": [_listener(listener) for listener in checked.config.listen],
            "open": sorted(self.known_open()),
            "connections": self.connections(),
            "workers": [_process(each) for each in self.workers()],
        }


def faults(found: Sequence[Fault]) -> list[dict[str, Any]]:
    """Faults for programs."""
    return [
        {
            "file": fault.file,
            "line": fault.line,
            "column": fault.column,
            "message": fault.message,
        }
        for fault in found
    ]


def _time(seconds: float) -> str:
    """A time as RFC 3339 writes it."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _process(process: Process) -> dict[str, Any]:
    return {
        "number": process.number,
        "pid": process.pid,
        "started": _time(process.started),
        "serving": process.is_serving,
        "restarts": process.restarts,
    }


def _listener(listener: Listener) -> dict[str, Any]:
    place: dict[str, Any]
    if listener.port is not None:
        place = {"port": listener.port, "host": listener.host and str(listener.host)}
    elif listener.socket is not None:
        place = {"socket": listener.socket}
    else:
        place = {"unix": listener.unix}
    return {
        **place,
        "tls": listener.tls is not None,
        "proxy_protocol": listener.proxy_protocol,
    }
