"""The shapes of requests that two rule sets tell apart: a witness of each.

A shape is a method, a host, a path, a user agent and a namespace. Texts come from the conditions,
and of all texts that no condition tells apart one is enough.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, combinations, product, starmap
from math import prod
from typing import NamedTuple, TypeAlias
from urllib.parse import quote

from ..answers import Refusal
from ..check import NOBODY
from ..conditions import Conditions, Like, Not, OneOf
from ..oci import Kind
from ..pattern import Pattern
from ..query import Query
from ..registry import Mode, Registry
from ..rules import Rule, To
from .globs import fresh_word
from .paths import Leaves, Texts, path_candidates
from .steps import Steps

_NOWHERE: frozenset[str] = frozenset()
_USUAL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_A_STEP = 64  # shapes
_READING = OneOf("method", frozenset({"GET", "HEAD"}))
_V2 = Like("path", (Pattern("/v2"), Pattern("/v2/*", prefix=True)))


class Shape(NamedTuple):
    """A request without its client; empty is not sent."""

    method: str = "GET"
    host: str = ""
    path: str = "/"
    user_agent: str = ""
    namespace: str = ""

    @property
    def target(self) -> str:
        """The path with its query."""
        return f"{self.path}?ns={quote(self.namespace, safe='')}" if self.namespace else self.path

    def query(self) -> Query:
        """The shape as rules see it; raises `Refusal`. The client in it is nobody's."""
        target = self.target.encode("latin-1")
        return Query.of(NOBODY, self.method, target, self.host.encode("latin-1"), self.user_agent)


@dataclass(frozen=True)
class Shapes:
    """The shapes to compare, and how many combinations of conditions are not among them."""

    shapes: tuple[Shape, ...]
    left_out: int


def find_shapes(rules: Sequence[Rule], most: int) -> Steps[Shapes]:
    """The shapes that the conditions of all `rules` tell apart, some `most` of them.

    If there are more, those of each rule alone come first, and then those of each two rules.
    """
    groups = list(dict.fromkeys(_groups(rules)))
    axes, left_out = yield from _axes(groups)
    count = prod(len(axis.texts) for axis in axes)
    if count <= most:
        texts = product(*(axis.texts for axis in axes))
        return Shapes(tuple(starmap(Shape, texts)), left_out)
    chosen = yield from _narrowed(axes, groups, most)
    return Shapes(chosen, left_out + count - len(chosen))


def _groups(rules: Iterable[Rule]) -> Iterator[Leaves]:
    # Answers differ by more than the rule: in form under /v2, and in what the registry is like.
    yield (_V2,)
    for rule in rules:
        yield from _leaves(rule.conditions)
        if isinstance(rule.outcome, To):
            for registry in rule.outcome.candidates:
                yield from _registry_groups(registry)


def _registry_groups(registry: Registry) -> Iterator[Leaves]:
    """What makes a difference to how a request gets to a registry, and to where."""
    terms = registry.terms
    if registry.prefix:
        yield (Like("repository", (Pattern(f"{registry.prefix}/**"),)),)
    if terms.mode is not Mode.REDIRECT:
        yield (_READING,)
    if terms.redirects_blobs:
        yield _READING, OneOf("kind", frozenset({Kind.BLOBS}))
    if terms.mode is Mode.AUTO:
        yield _READING, Like("user_agent", terms.redirected)


def _leaves(conditions: Conditions) -> Iterator[Leaves]:
    found = conditions.by_key.values()
    yield tuple(leaf for leaf in found if isinstance(leaf, OneOf | Like))
    for inner in found:
        if isinstance(inner, Not):
            yield from _leaves(inner.inner)


# What each part of a request that has conditions is a part of.
_AXES = {
    "method": "method",
    "host": "host",
    "path": "path",
    "kind": "path",
    "repository": "path",
    "reference": "path",
    "user_agent": "user_agent",
    "namespace": "namespace",
}


@dataclass(frozen=True)
class _Axis:
    """One text of each class that conditions tell apart, with the bits of those that hold.

    The first is as nobody has named it.
    """

    leaves: Mapping[OneOf | Like, int]
    texts: tuple[str, ...]
    marks: tuple[int, ...]

    def choices(self, group: Leaves) -> int | None:
        """The texts for which all conditions of a group hold, as bits; None if it has none here."""
        needed = sum(self.leaves.get(leaf, 0) for leaf in group)
        if not needed:
            return None
        return sum(1 << place for place, mark in enumerate(self.marks) if mark & needed == needed)


def _axes(groups: Iterable[Leaves]) -> Steps[tuple[list[_Axis], int]]:
    leaves: dict[str, dict[OneOf | Like, int]] = {name: {} for name in Shape._fields}
    texts = Texts()
    for leaf in dict.fromkeys(leaf for group in groups for leaf in group):
        place = leaves[_AXES[leaf.part]]
        place[leaf] = 1 << len(place)
        texts.add(leaf)
    word = fresh_word(texts.all())
    named = texts.literals
    candidates = {
        "method": ["GET", *named["method"], *_unnamed_methods(named["method"])],
        "host": [f"{word}.example" if named["host"] else "", *named["host"]],
        "path": (yield from path_candidates(texts, groups, word)),
        "user_agent": ["", *(yield from texts.like("user_agent", word))],
        "namespace": ["", *named["namespace"]],
    }
    axes = []
    for name in Shape._fields:
        shapes = (Shape(**{name: text}) for text in dict.fromkeys(candidates[name]))
        axes.append((yield from _axis(name, shapes, leaves[name])))
    return axes, texts.left_out


def _unnamed_methods(named: Iterable[str]) -> list[str]:
    unnamed = [method for method in (*_USUAL_METHODS, "ANY") if method not in named]
    return unnamed[:1]


def _axis(name: str, shapes: Iterable[Shape], leaves: Mapping[OneOf | Like, int]) -> Steps[_Axis]:
    mark = _marking(leaves)
    classes: dict[int, str] = {}
    for shape in shapes:
        # A request that is refused is none that rules are asked about.
        with suppress(Refusal):
            classes.setdefault(mark(shape.query()), getattr(shape, name))
        yield
    return _Axis(leaves, tuple(classes.values()), tuple(classes))


def _marking(leaves: Mapping[OneOf | Like, int]) -> Callable[[Query], int]:
    """The function that tells, as bits, which conditions hold for a request.

    Thousands of paths have few repositories and references, so each text is judged once.
    """
    parts: dict[str, list[tuple[OneOf | Like, int]]] = {}
    for leaf, bit in leaves.items():
        parts.setdefault(leaf.part, []).append((leaf, bit))
    known: dict[tuple[str, str | None], int] = {}

    def mark(query: Query) -> int:
        found = 0
        for part, judges in parts.items():
            place = part, getattr(query, part)
            if place not in known:
                known[place] = sum(bit for leaf, bit in judges if leaf.holds(query, _NOWHERE))
            found |= known[place]
        return found

    return mark


_Need: TypeAlias = tuple[int | None, ...]
"""For each axis the texts that will do, as bits; None where any will."""


def _narrowed(
    axes: Sequence[_Axis], groups: Iterable[Leaves], most: int
) -> Steps[tuple[Shape, ...]]:
    """Witnesses of each group of conditions, with all its own texts; of each two; then any."""
    needs: dict[_Need, None] = {}
    for group in groups:
        needs[tuple(axis.choices(group) for axis in axes)] = None
        yield
    sources = chain(
        (shape for need in needs for shape in _one_at_a_time(axes, need)),
        (_first(axes, tuple(map(_both, *pair))) for pair in combinations(needs, 2)),
        (Shape(*texts) for texts in product(*(axis.texts for axis in axes))),
    )
    found: dict[Shape, None] = {}
    for count, shape in enumerate(sources):
        if shape is not None:
            found[shape] = None
        if len(found) >= most:
            break
        if count % _A_STEP == 0:
            yield
    return tuple(found)


def _both(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return one & other


def _first(axes: Sequence[_Axis], need: _Need) -> Shape | None:
    """The shape with the first text of each axis that will do, if there is one."""
    if 0 in need:
        return None
    places = (0 if bits is None else next(_places(bits)) for bits in need)
    return Shape(*(axis.texts[place] for axis, place in zip(axes, places, strict=True)))


def _places(bits: int) -> Iterator[int]:
    """The places of the bits that are set, from the lowest."""
    while bits:
        yield (bits & -bits).bit_length() - 1
        bits &= bits - 1


def _one_at_a_time(axes: Sequence[_Axis], need: _Need) -> Iterator[Shape]:
    """Shapes that take every text of each axis that will do, with the first ones of all others."""
    first = _first(axes, need)
    if first is None:
        return
    yield first
    for name, axis, bits in zip(Shape._fields, axes, need, strict=True):
        for place in _places(bits or 0):
            yield first._replace(**{name: axis.texts[place]})
