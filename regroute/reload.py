"""The rules in force, and how a reload replaces them: whole, or not at all."""

import gc
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from twisted.logger import Logger

from .admin.service import Admin
from .certificates import Certificate
from .check import Checked
from .compile import rule_name
from .config.faults import Faulty
from .config.schema import Config, Limits
from .load import Contents, load
from .outcome import Outcome
from .recorder import Recorder
from .rules import RuleSet
from .service import Serving
from .systemd import Supervised
from .watch import Watch

_log = Logger()


class Current:
    """The configuration in force: one reference, swapped whole.

    A request that began under the old rules ends under them, for it holds what it got.
    """

    def __init__(self, checked: Checked, files: Contents | None = None) -> None:
        self.checked = checked
        self.files: Contents = files or {}
        """What the last load has read, also if it was in vain."""

    def rules(self) -> RuleSet:
        """The rules in force now."""
        return self.checked.rules

    def limits(self) -> Limits:
        """The limits in force now."""
        return self.checked.config.limits


@dataclass(frozen=True)
class Reload:
    """How the configuration is replaced. `shown` is its name in messages."""

    current: Current
    path: Path
    shown: str
    serving: Serving
    recorder: Recorder
    supervised: Supervised
    admin: Admin
    watch: Watch

    def reload(self) -> Outcome:
        """Read, check and swap; a fault changes nothing and is logged as `check` prints it."""
        self.supervised.reloading()
        self.recorder.reopen()
        outcome = Outcome("the reload has failed: the old rules stay in force")
        try:
            outcome = self._replace()
        except Faulty as faulty:
            for fault in faulty.faults:
                _log.error("{fault}", fault=str(fault))
            state = f"{self.shown} is not reloaded: the old rules stay in force"
            outcome = Outcome(state, faults=faulty.faults)
            _log.error("{state}", state=state)
        finally:
            self.supervised.ready(outcome.state)
            self.watch.follow()
        return outcome

    def _replace(self) -> Outcome:
        read: dict[Path, bytes | None] = {}
        try:
            checked = load(self.path, self.shown, read)
        finally:
            self.current.files = read
        with ExitStack() as undo:
            place = self.admin.open(checked)
            undo.callback(place.close)
            opened = self.serving.open(checked)
            undo.callback(opened.close)
            sink = self.recorder.open(checked)
            undo.pop_all()
        before, self.current.checked = self.current.checked, checked
        self.serving.apply(checked, opened)
        self.recorder.apply(checked, sink)
        self.admin.apply(checked, place)
        log_warnings(checked)
        settle()
        changes = describe_changes(before, checked)
        outcome = Outcome(f"reloaded {self.shown}: {changes}", changes)
        _log.info("{state}", state=outcome.state)
        return outcome


def settle() -> None:
    """Leave what lives as long as the rules out of garbage collections: they would stop everyone.

    Old rules are in cycles, and what is frozen is never freed; so all is looked through first.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


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
