"""How a configuration replaces the one in force: whole, or not at all."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from .certificates import Certificate
from .check import Checked
from .compile import rule_name
from .config.faults import Fault, Faulty
from .config.schema import Config
from .listeners import Listeners
from .load import Origin, load_from
from .server import Servers
from .systemd import Supervised

_log = Logger()


class Current:
    """The configuration in force and where it was read: swapped whole.

    `tried` is what was read last, whether it took force or had faults.
    """

    def __init__(self, checked: Checked, origin: Origin) -> None:
        self.checked = checked
        self.origin = self.tried = origin


@dataclass(frozen=True)
class Outcome:
    """What came of a reload, in one line; with faults, the old rules are still in force."""

    state: str
    faults: tuple[Fault, ...] = ()
    is_success: bool = True


class Reload:
    """Replaces the configuration in force by what is in its file now."""

    def __init__(
        self,
        current: Current,
        listeners: Listeners,
        servers: Servers,
        supervised: Supervised,
    ) -> None:
        self._current = current
        self._listeners = listeners
        self._servers = servers
        self._supervised = supervised
        self._is_running = False
        self._waiting: list[Deferred[Outcome]] = []

    def reload(self) -> Deferred[Outcome]:
        """Read, check and swap; a fault changes nothing and is logged as `check` prints it.

        Whoever asks while a reload is under way gets the outcome of one that begins afterwards.
        """
        asked: Deferred[Outcome] = Deferred()
        self._waiting.append(asked)
        if not self._is_running:
            self._begin()
        return asked

    def _begin(self) -> None:
        self._is_running = True
        waiting, self._waiting = self._waiting, []

        def tell(outcome: Outcome) -> None:
            self._is_running = False
            for asked in waiting:
                asked.callback(outcome)
            if self._waiting and not self._is_running:
                self._begin()

        Deferred.fromCoroutine(self._run()).addCallback(tell)

    async def _run(self) -> Outcome:
        self._supervised.reloading()
        self._servers.reopen()
        shown = self._current.origin.shown
        failure = f"{shown} is not reloaded: the old rules stay in force"
        try:
            outcome = Outcome(f"reloaded {shown}: {await self._replace()}")
            _log.info("{state}", state=outcome.state)
        except Faulty as faulty:
            for fault in faulty.faults:
                _log.error("{fault}", fault=str(fault))
            _log.error("{state}", state=failure)
            outcome = Outcome(failure, faulty.faults, is_success=False)
        except Exception:
            _log.failure("{state}", state=failure)
            outcome = Outcome(failure, is_success=False)
        self._supervised.ready(outcome.state)
        return outcome

    async def _replace(self) -> str:
        before = self._current.origin
        origin = self._current.tried = Origin.on_disk(before.path, before.shown)
        checked = load_from(origin)
        with ExitStack() as undo:
            opened = self._listeners.open(checked)
            undo.callback(opened.close)
            undo.callback(self._servers.abandon)
            await self._servers.prepare(checked, origin, opened)
            undo.pop_all()
        changes = describe_changes(self._current.checked, checked)
        self._current.checked, self._current.origin = checked, origin
        self._servers.commit()
        self._listeners.apply(checked, opened)
        log_warnings(checked)
        return changes


def log_warnings(checked: Checked) -> None:
    """Log what is no fault, but someone should know."""
    for warning in checked.warnings:
        _log.warn("{warning}", warning=str(warning))


def describe_changes(before: Checked, after: Checked) -> str:
    """What a reload changed, in one line."""
    old, new = _rules(before.config), _rules(after.config)
    parts = [
        *_changes("rule", old, new),
        *_changes("network", before.networks, after.networks),
        *_changes("registry", before.config.registries, after.config.registries),
    ]
    if [name for name in old if name in new] != [name for name in new if name in old]:
        parts.append("rules reordered")
    keys = ("listen", "clients", "access_log", "limits", "lane", "workers", "admin", "watch")
    for key in keys:
        if getattr(before.config, key) != getattr(after.config, key):
            parts.append(f"{key} changed")
    if _certificates(before) != _certificates(after):
        parts.append("certificates changed")
    return ", ".join(parts) or "nothing changed"


def _certificates(checked: Checked) -> list[Certificate]:
    return [certificate for listener in checked.certificates for certificate in listener]


def _rules(config: Config) -> dict[str, object]:
    return {rule_name(fields, place): fields for place, fields in enumerate(config.rules)}


def _changes(word: str, before: Mapping[str, object], after: Mapping[str, object]) -> Iterable[str]:
    changes = {
        "added": [name for name in after if name not in before],
        "removed": [name for name in before if name not in after],
        "changed": [name for name in after if name in before and before[name] != after[name]],
    }
    for change, names in changes.items():
        for name in names:
            yield f"{word} {name} {change}"
