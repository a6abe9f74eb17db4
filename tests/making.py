"""Rule sets and sites for tests, without a file or a socket."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from twisted.internet.interfaces import IReactorTime

from regroute.access_log import Entry
from regroute.check import Checked, Files, check
from regroute.config.schema import Limits
from regroute.rules import RuleSet
from regroute.web.tree import Site

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def files_of(contents: Mapping[str, bytes]) -> Files:
    """Files in memory; every other is missing. Messages show them as in ``dir/``."""

    def read(name: str) -> bytes:
        if name not in contents:
            raise FileNotFoundError(2, "No such file or directory")
        return contents[name]

    return Files(read, lambda name: f"dir/{name}")


def checked(
    text: str, contents: Mapping[str, bytes] | None = None, *, file: str = "rules.yaml"
) -> Checked:
    """What a configuration comes to; raises `Faulty`."""
    return check(text, file, files_of(contents or {}), NOW)


def site_of(
    rules: Callable[[], RuleSet],
    clock: IReactorTime,
    record: Callable[[Entry], None] = lambda entry: None,
    limits: Limits | None = None,
    room: int = 1000,
) -> Site:
    """A site that answers by these rules."""
    return Site(rules, lambda: limits or Limits(), record, lambda: True, room, clock)


# The default limits, as the tests speak of them.
HEAD_SIZE = int(Limits().head_size)
HEAD_TIME = Limits().head
IDLE_TIME = Limits().idle
