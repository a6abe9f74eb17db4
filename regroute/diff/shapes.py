"""The shapes of requests that two rule sets tell apart: a witness of each.

A shape is a method, a host, a path, a user agent and a namespace. Texts come from the conditions,
and of all texts that no condition tells apart one is enough.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import prod
from typing import NamedTuple
from urllib.parse import quote

from ..answers import Refusal
from ..check import NOBODY
from ..conditions import Condition, Conditions, Like, Not, OneOf, Pattern
from ..query import Query
from ..rules import Rule, To
from .globs import fresh_word
from .paths import Leaves, Texts, path_candidates
from .steps import Steps

_NOWHERE: frozenset[str] = frozenset()
_USUAL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
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

    If there are more, each rule alone and each pair of rules have their witnesses.
    """
    groups = list(dict.fromkeys(_groups(rules)))
    axes, left_out = yield from _axes(groups)
    count = prod(len(axis.texts) for axis in axes.values())
    if count <= most:
        texts = (axis.texts for axis in axes.values())
        return Shapes(tuple(Shape(*combined) for combined in product(*texts)), left_out)
    chosen = yield from _narrowed(axes, groups, most)
    return Shapes(chosen, left_out + count - len(chosen))


def _groups(rules: Iterable[Rule]) -> Iterator[Leaves]:
    # Answers differ by more than the rule: in form under /v2, and in a repository's prefix.
    yield (_V2,)
    for rule in rules:
        yield from _leaves(rule.conditions)
        if isinstance(rule.outcome, To):
            for registry in rule.outcome.candidates:
                if registry.prefix:
                    yield (Like("repository", (Pattern(f"{registry.prefix}/**"),)),)


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

    leaves: Mapping[Condition, int]
    texts: tuple[str, ...]
    marks: tuple[int, ...]

    def needed(self, leaves: Iterable[Condition]) -> int:
        """The bits of some leaves, as far as they are of this axis."""
        return sum(self.leaves.get(leaf, 0) for leaf in leaves)

    def options(self, needed: int) -> list[str]:
        """The texts for which all of these bits hold; if there are none, what nobody names."""
        if not needed:
            return [self.texts[0]]
        marked = zip(self.texts, self.marks, strict=True)
        return [text for text, mark in marked if mark & needed == needed]


def _axes(groups: Iterable[Leaves]) -> Steps[tuple[dict[str, _Axis], int]]:
    leaves: dict[str, dict[Condition, int]] = {name: {} for name in Shape._fields}
    texts = Texts()
    for leaf in dict.fromkeys(leaf for group in groups for leaf in group):
        place = leaves[_AXES[leaf.part]]
        place[leaf] = 1 << len(place)
        texts.add(leaf)
    word = fresh_word(texts.all())
    paths, left_out = yield from path_candidates(texts, groups, word)
    candidates = {
        "method": ["GET", *texts.literals["method"], *_unnamed_methods(texts.literals["method"])],
        "host": [f"{word}.example" if texts.literals["host"] else "", *texts.literals["host"]],
        "path": paths,
        "user_agent": ["", *(yield from texts.like("user_agent", word))],
        "namespace": ["", *texts.literals["namespace"]],
    }
    axes = {}
    for name in Shape._fields:
        axes[name] = yield from _axis(candidates[name], leaves[name], _shape_with(name))
    return axes, left_out


def _unnamed_methods(named: Iterable[str]) -> list[str]:
    unnamed = [method for method in (*_USUAL_METHODS, "ANY") if method not in named]
    return unnamed[:1]


def _shape_with(axis: str) -> Callable[[str], Shape]:
    return lambda text: Shape(**{axis: text})


def _axis(
    candidates: Iterable[str], leaves: Mapping[Condition, int], shape: Callable[[str], Shape]
) -> Steps[_Axis]:
    classes: dict[int, str] = {}
    for text in dict.fromkeys(candidates):
        try:
            query = shape(text).query()
        except Refusal:
            # Rules are not asked about it.
            continue
        mark = sum(bit for leaf, bit in leaves.items() if leaf.holds(query, _NOWHERE))
        classes.setdefault(mark, text)
        yield
    return _Axis(leaves, tuple(classes.values()), tuple(classes))


def _narrowed(
    axes: Mapping[str, _Axis], groups: Iterable[Leaves], most: int
) -> Steps[tuple[Shape, ...]]:
    """Witnesses of each group of conditions, with all its own texts; then of each pair."""
    needs = list(
        dict.fromkeys(tuple(axis.needed(group) for axis in axes.values()) for group in groups)
    )
    found: dict[Shape, None] = {}
    known: dict[tuple[str, int], list[str]] = {}

    def options(need: tuple[int, ...]) -> list[list[str]]:
        for name, bits in zip(axes, need, strict=True):
            if (name, bits) not in known:
                known[name, bits] = axes[name].options(bits)
        return [known[place] for place in zip(axes, need, strict=True)]

    for need in needs:
        for shape in _one_at_a_time(options(need)):
            found[shape] = None
        yield
        if len(found) >= most:
            break
    for one, other in combinations(needs, 2):
        if len(found) >= most:
            break
        texts = options(tuple(a | b for a, b in zip(one, other, strict=True)))
        if all(texts):
            found[Shape(*(choices[0] for choices in texts))] = None
        yield
    return tuple(found)[:most]


def _one_at_a_time(options: Sequence[Sequence[str]]) -> Iterator[Shape]:
    """Shapes that take every option of each part, with the first ones of all others."""
    if not all(options):
        return
    first = Shape(*(choices[0] for choices in options))
    for name, choices in zip(Shape._fields, options, strict=True):
        for text in choices:
            yield first._replace(**{name: text})
