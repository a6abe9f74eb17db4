"""How a configuration replaces the one in force: whole, or not at all."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from .admin.service import Admin
from .certificates import Certificate
from .check import Checked
from .compile import rule_name
from .config.faults import Faulty
from .config.schema import Config
from .listeners import Listeners
from .load import Origin, load_from
from .moves import Moves
from .outcome import Outcome
from .server import Servers
from .systemd import Supervised
from .watch.service import Watch

_log = Logger()


class Current:
    """The configuration in force and where it was read: swapped whole.

    `tried` is what was read last, whether it took force or had faults.
    """

    def __init__(self, checked: Checked, origin: Origin) -> None:
        self.checked = checked
        self.origin = self.tried = origin


@dataclass(frozen=True)
class Reload:
    """How the configuration in force is replaced by what is in its file now."""

    current: Current
    listeners: Listeners
    servers: Servers
    supervised: Supervised
    admin: Admin
    watch: Watch
    moves: Moves

    def reload(self) -> Deferred[Outcome]:
        """Read, check and swap; a fault changes nothing and is logged as `check` prints it.

        One at a time: see `outcome.Reloads`.
        """
        return Deferred.fromCoroutine(self._reload())

    async def _reload(self) -> Outcome:
        self.supervised.reloading()
        self.servers.reopen()
        shown = self.current.origin.shown
        failure = f"{shown} is not reloaded: the old rules stay in force"
        try:
            changes = await self._replace()
            outcome = Outcome(f"reloaded {shown}: {changes}", changes)
            _log.info("{state}", state=outcome.state)
        except Faulty as faulty:
            for fault in faulty.faults:
                _log.error("{fault}", fault=str(fault))
            _log.error("{state}", state=failure)
            outcome = Outcome(failure, faults=faulty.faults)
        except Exception:
            _log.failure("{state}", state=failure)
            outcome = Outcome(failure)
        self.supervised.ready(outcome.state)
        self.watch.follow()
        return outcome

    async def _replace(self) -> str:
        before = self.current.origin
        origin = self.current.tried = Origin.on_disk(before.path, before.shown)
        checked = load_from(origin)
        with ExitStack() as undo:
            place = self.admin.open(checked)
            undo.callback(place.close)
            opened = self.listeners.open(checked)
            undo.callback(opened.close)
            undo.callback(self.servers.abandon)
            await self.servers.prepare(checked, origin, opened)
            undo.pop_all()
        old, self.current.checked = self.current.checked, checked
        self.current.origin = origin
        self.servers.commit()
        self.listeners.apply(checked, opened)
        self.admin.apply(checked, place)
        log_warnings(checked)
        self.moves.tell(old, checked)
        return describe_changes(old, checked)


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
        *_changes("registry", before.registries, after.registries),
    ]
    if [name for name in old if name in new] != [name for name in new if name in old]:
        parts.append("rules reordered")
    for key in ("listen", "clients", "token", "access_log", "limits", "lane", "admin", "watch"):
        if getattr(before.config, key) != getattr(after.config, key):
            parts.append(f"{key} changed")
    if before.config.workers != after.config.workers:
        parts.append("workers changed, which takes a restart")
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
