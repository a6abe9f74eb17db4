"""The rules in force, and how a reload replaces them: whole, or not at all."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from twisted.logger import Logger

from .check import Checked
from .compile import rule_name
from .config.faults import Faulty
from .config.schema import Config
from .load import load
from .rules import RuleSet


class Current:
    """The configuration in force: one reference, swapped whole.

    A request that began under the old rules ends under them, for it holds what it got.
    """

    def __init__(self, checked: Checked) -> None:
        self.checked = checked

    def rules(self) -> RuleSet:
        """The rules in force now."""
        return self.checked.rules


class Reload:
    """How the configuration is replaced. `shown` is its name in messages."""

    _log = Logger()

    def __init__(self, current: Current, path: Path, shown: str) -> None:
        self._current = current
        self._path = path
        self._shown = shown

    def reload(self) -> None:
        """Read, check and swap; a fault changes nothing and is logged as `check` prints it."""
        try:
            checked = load(self._path, self._shown)
        except Faulty as faulty:
            for fault in faulty.faults:
                self._log.error("{fault}", fault=str(fault))
            self._log.error("{file} is not reloaded: the old rules stay in force", file=self._shown)
            return
        before, self._current.checked = self._current.checked, checked
        changes = describe_changes(before, checked)
        self._log.info("reloaded {file}: {changes}", file=self._shown, changes=changes)
        if before.config.listen != checked.config.listen:
            self._log.warn("listen has changed, which takes force at a restart")


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
    if before.config.clients != after.config.clients:
        parts.append("clients changed")
    return ", ".join(parts) or "nothing changed"


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
