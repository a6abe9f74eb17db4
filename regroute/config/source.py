"""YAML text to plain values, and from any of them back to its line and column.

Every scalar stays the text that it was written as, so that ``NO`` is Norway and ``3.10`` a tag:
what a text means is for its key to say. Only a null (nothing at all, ``~`` or ``null``) is None.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import yaml

from .faults import Fault, Faulty

Value: TypeAlias = "str | list[Value] | dict[str, Value] | None"
Location: TypeAlias = Sequence[str | int]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAGS = {
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "timestamp", "value")
}
_COLLECTIONS = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_NULL = "tag:yaml.org,2002:null"
_MAX_DEPTH = 50
_TOO_DEEP = f"this is nested more than {_MAX_DEPTH} deep"
_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True)
class Source:
    """One YAML document: its plain value, and the nodes that know where each part stands."""

    file: str
    value: Value
    root: yaml.Node

    def fault(self, location: Location, message: str, *, at_key: bool = False) -> Fault:
        """A fault about the part at `location`, or as near to it as the document goes.

        With `at_key` it points at the last key itself instead of its value.
        """
        node = self.root
        for depth, step in enumerate(location, 1):
            if (found := _child(node, step)) is not None:
                key, child = found
                node = key if key and at_key and depth == len(location) else child
        mark = node.start_mark
        return Fault(self.file, mark.line + 1, mark.column + 1, message)

    def line(self, location: Location) -> int:
        """The line of the part at `location`, counted from 1."""
        return self.fault(location, "").line


def _child(node: yaml.Node, step: str | int) -> tuple[yaml.Node | None, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == step:
                return key, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return None, node.value[step]
    return None


def read(text: str, file: str) -> tuple[Source, list[Fault]]:
    """Read one document, with the faults that leave it readable, such as a key given twice.

    Raises `Faulty` where there is no reading it.
    """
    try:
        _refuse_depth(text, file)
        root = yaml.compose(text, Loader=_LOADER)
        if root is None:
            raise Faulty([Fault(file, 1, 1, "the file is empty: a configuration needs rules")])
        reader = _Reader(file)
        value = reader.value(root, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join(filter(None, (error.problem, error.context)))
        raise Faulty([_fault_at(file, mark, f"this is not YAML: {message}")]) from None
    except yaml.reader.ReaderError as error:
        # The readers count the position in different units; the character is the same.
        before = text[: text.find(chr(error.character))]
        place = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = f"the character U+{error.character:04X} may not stand in YAML"
        raise Faulty([Fault(file, *place, message)]) from None
    return Source(file, value, root), reader.faults


def _refuse_depth(text: str, file: str) -> None:
    """Refuse deep nesting before it is composed: libyaml's composer recurses without a bound."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > _MAX_DEPTH:
                raise Faulty([_fault_at(file, event.start_mark, _TOO_DEEP)])
    except yaml.MarkedYAMLError as error:
        # libyaml 0.2.6 reads some way ahead, and has a bound of its own there.
        if "maximum nesting depth" in (error.problem or ""):
            raise Faulty([_fault_at(file, error.problem_mark, _TOO_DEEP)]) from None
        raise


class _Mark(Protocol):
    """A place in the text, counted from 0."""

    line: int
    column: int


def _fault_at(file: str, mark: _Mark | None, message: str) -> Fault:
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return Fault(file, line, column, message)


class _Reader:
    def __init__(self, file: str) -> None:
        self.faults: list[Fault] = []
        self._file = file
        self._read: dict[int, Value] = {}

    def _fault(self, node: yaml.Node, message: str) -> None:
        mark = node.start_mark
        self.faults.append(Fault(self._file, mark.line + 1, mark.column + 1, message))

    def value(self, node: yaml.Node, within: tuple[yaml.Node, ...]) -> Value:
        if node in within:
            self._fault(node, "this alias holds itself: write the value out")
            return None
        # An alias is its anchor's value, and not a copy: some texts have millions of them.
        if id(node) not in self._read:
            self._read[id(node)] = self._new_value(node, (*within, node))
        return self._read[id(node)]

    def _new_value(self, node: yaml.Node, within: tuple[yaml.Node, ...]) -> Value:
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _COLLECTIONS:
            self._fault(node, f"the tag {node.tag} has no meaning here: leave it out")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, within)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, within) for item in node.value]
        if node.tag != _NULL and node.tag not in _TAGS:
            self._fault(node, f"the tag {node.tag} has no meaning here: write plain text")
        text: str = node.value
        return None if node.tag == _NULL else text

    def _mapping(self, node: yaml.MappingNode, within: tuple[yaml.Node, ...]) -> dict[str, Value]:
        values: dict[str, Value] = {}
        lines: dict[str, int] = {}
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag.startswith("!"):
                self._fault(key, "a key must be plain text")
            elif key.tag == _MERGE:
                self._fault(key, "merge keys (<<) are not supported: repeat the keys")
            elif key.value in values:
                first = lines[key.value]
                self._fault(key, f"duplicate key '{key.value}': it stands on line {first} already")
            else:
                values[key.value] = self.value(child, within)
                lines[key.value] = key.start_mark.line + 1
        return values
