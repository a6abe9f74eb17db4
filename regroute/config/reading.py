"""From a YAML document to a configuration, with every fault of its form.

What is faulty is left out, so that the rest can still be looked at: one run then reports the faults
of every stage. `Reading.is_whole` says which sections were not cut.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from .faults import Fault
from .scalars import Known
from .schema import Config
from .source import Location, Source, Value

# In these sections a faulty entry is left out alone; in any other the whole section is.
_NO_RULE: Value = {"deny": "stands for rules of which none is left"}
_BY_ENTRY = ("listen", "networks", "registries", "rules", "tests")


@dataclass(frozen=True)
class Reading:
    """A configuration with its source. `kept` has the entries of each section that were kept."""

    source: Source
    config: Config
    kept: Mapping[str, tuple[str | int, ...]]
    cut: frozenset[str]

    def place(self, section: str, position: int) -> tuple[str | int, ...]:
        """Where the entry at `position` of a list in the configuration stands in its source."""
        return section, self.kept[section][position]

    def is_whole(self, *sections: str) -> bool:
        """Whether nothing was left out of these sections."""
        return self.cut.isdisjoint(sections)


def read_config(source: Source) -> tuple[Reading | None, list[Fault]]:
    """Read a document; None where so much is faulty that there is nothing left to look at."""
    value = source.value
    known = Known(_names(value, "networks"), _names(value, "registries"))
    try:
        config = Config.model_validate(value, context=known)
    except ValidationError as error:
        locations = [details["loc"] for details in error.errors()]
        faults = [_fault(source, details["loc"], details["msg"]) for details in error.errors()]
        return _read_rest(source, known, locations), faults
    return Reading(source, config, _entries(value, {}), frozenset()), []


def _fault(source: Source, location: Location, message: str) -> Fault:
    return source.fault(location, message, at_key=message.startswith("unknown key"))


def _names(value: Value, section: str) -> frozenset[str]:
    declared = value.get(section) if isinstance(value, dict) else None
    return frozenset(declared) if isinstance(declared, dict) else frozenset()


def _read_rest(source: Source, known: Known, locations: Sequence[Location]) -> Reading | None:
    if not isinstance(source.value, dict):
        return None
    dropped: dict[str, set[str | int]] = {}
    rest = dict(source.value)
    for section, *entry in (location for location in locations if location):
        name = str(section)
        if name in _BY_ENTRY and entry and isinstance(rest.get(name), list | dict):
            dropped.setdefault(name, set()).add(entry[0])
        else:
            rest.pop(name, None)
            dropped.setdefault(name, set())
    kept = _entries(rest, dropped)
    for section, entries in kept.items():
        old = rest[section]
        if isinstance(old, dict):
            rest[section] = {str(key): old[str(key)] for key in entries}
        elif isinstance(old, list):
            rest[section] = [old[int(index)] for index in entries]
        if not rest[section]:
            del rest[section]
    has_rules = "rules" in rest
    try:
        config = Config.model_validate({"rules": [_NO_RULE], **rest}, context=known)
    except ValidationError:
        return None
    if not has_rules:
        config = config.model_copy(update={"rules": ()})
        dropped["rules"] = set()
    return Reading(source, config, kept, frozenset(dropped))


def _entries(
    value: Value, dropped: Mapping[str, set[str | int]]
) -> dict[str, tuple[str | int, ...]]:
    entries: dict[str, tuple[str | int, ...]] = {}
    for section in _BY_ENTRY:
        held = value.get(section) if isinstance(value, dict) else None
        if isinstance(held, list | dict):
            keys = range(len(held)) if isinstance(held, list) else held
            gone = dropped.get(section, set())
            entries[section] = tuple(key for key in keys if key not in gone)
    return entries
