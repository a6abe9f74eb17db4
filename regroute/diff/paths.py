"""The texts that conditions name, and the paths to try them with."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations, product
from typing import TypeAlias

from ..conditions import Like, OneOf
from ..oci import Asked, parse_path
from ..pattern import Pattern
from ..target import decoded
from .globs import common_witnesses, witnesses
from .steps import Steps

Leaves: TypeAlias = tuple[OneOf | Like, ...]
"""Conditions on parts of the request that stand together, in one rule or in one ``not``."""

_A_STEP = 16  # pairs of patterns
_MOST_COMMON = 1000  # texts that two patterns have in common
_MOST_PAIRS = 20_000  # of a repository and a reference, which make up to three paths


class Texts:
    """What conditions say of each part of a request: plain texts, and patterns.

    `left_out` counts the pairs of them that there are too many of to try.
    """

    def __init__(self) -> None:
        self.left_out = 0
        self.literals: dict[str, dict[str, None]] = defaultdict(dict)
        self.globs: dict[str, dict[Pattern, None]] = defaultdict(dict)

    def add(self, leaf: OneOf | Like) -> None:
        """Take up what a condition names."""
        if isinstance(leaf, OneOf):
            self.literals[leaf.part].update(dict.fromkeys(sorted(leaf.values)))
            return
        for pattern in leaf.patterns:
            self.add_pattern(leaf.part, pattern)

    def add_pattern(self, part: str, pattern: Pattern) -> None:
        """Take up one pattern of a part."""
        if pattern.is_literal:
            self.literals[part][pattern.text] = None
        else:
            self.globs[part][pattern] = None

    def all(self) -> Iterator[str]:
        """Every text and pattern."""
        for literals in self.literals.values():
            yield from literals
        for globs in self.globs.values():
            yield from (pattern.text for pattern in globs)

    def like(self, part: str, word: str) -> Steps[list[str]]:
        """Texts that the patterns of a part match: each, and every two that have one in common."""
        globs = [pattern.symbols for pattern in self.globs[part]]
        found = dict.fromkeys(self.literals[part])
        found |= dict.fromkeys(text for glob in globs for text in witnesses(glob, word))
        most = len(found) + _MOST_COMMON
        for count, (one, other) in enumerate(combinations(globs, 2)):
            if len(found) < most:
                found |= dict.fromkeys(common_witnesses(one, other, word))
            else:
                self.left_out += 1
            if count % _A_STEP == 0:
                yield
        return list(found)


def path_candidates(texts: Texts, groups: Iterable[Leaves], word: str) -> Steps[list[str]]:
    """Paths of every kind with all repositories and references that may matter.

    The first path is as nobody has named it.
    """
    _read_paths(texts, word)
    plain = yield from texts.like("path", word)
    repositories = [word, f"{word}/{word}", *(yield from texts.like("repository", word))]
    references = [word, f"sha256:{word}", *(yield from texts.like("reference", word))]
    repositories = [name for name in dict.fromkeys(repositories) if _is_repository(name)]
    references = [name for name in dict.fromkeys(references) if _is_reference(name)]
    pairs = yield from _pairs(repositories, references, groups)
    found = [path for pair in pairs for path in _reference_paths(*pair)]
    for name in repositories:
        found += [f"/v2/{name}/tags/list", f"/v2/{name}/blobs/uploads/"]
    texts.left_out += len(repositories) * len(references) - len(pairs)
    return [*found, "/v2/", f"/v2/_{word}", f"/{word}", *plain]


def _pairs(
    repositories: list[str], references: list[str], groups: Iterable[Leaves]
) -> Steps[dict[tuple[str, str], None]]:
    """Repositories and references to try together: all, or those that some conditions name both."""
    if len(repositories) * len(references) <= _MOST_PAIRS:
        return dict.fromkeys(product(repositories, references))
    pairs = dict.fromkeys(product(repositories, references[:2]))
    pairs |= dict.fromkeys(product(repositories[:2], references))
    for group in groups:
        named = _named(group, "repository", repositories), _named(group, "reference", references)
        pairs |= dict.fromkeys(product(*named))
        yield
    return pairs


def _named(group: Leaves, part: str, names: list[str]) -> list[str]:
    """The names that all conditions of a group on this part hold for; none if it has none."""
    leaves = [leaf for leaf in group if isinstance(leaf, Like) and leaf.part == part]
    if not leaves:
        return []
    return [
        name
        for name in names
        if all(any(pattern.matches(name) for pattern in leaf.patterns) for leaf in leaves)
    ]


def _read_paths(texts: Texts, word: str) -> None:
    """Take up the repositories and references in the paths that conditions name."""
    for path in list(texts.literals["path"]):
        _read_path(texts, parse_path(decoded(path)))
    for pattern in list(texts.globs["path"]):
        # A path's only wildcard is at its end.
        for end in (word, f"sha256:{word}"):
            _read_path(texts, parse_path(decoded(pattern.stem + end)), end)
        if pattern.stem.startswith("/v2/"):
            texts.add_pattern("repository", Pattern(f"{decoded(pattern.stem)[4:]}**"))


def _read_path(texts: Texts, asked: Asked, end: str = "") -> None:
    """Take up what one path asks for; an `end` that it has stands for anything."""
    if asked.repository is not None:
        texts.add_pattern("repository", Pattern(asked.repository))
    if asked.reference is not None:
        stem = asked.reference.removesuffix(end)
        texts.add_pattern("reference", Pattern(f"{stem}*" if end else stem))


def _is_repository(name: str) -> bool:
    return parse_path(f"/v2/{name}/tags/list").repository == name


def _is_reference(name: str) -> bool:
    return parse_path(f"/v2/a/manifests/{name}").reference == name


def _reference_paths(repository: str, reference: str) -> Iterable[str]:
    yield f"/v2/{repository}/manifests/{reference}"
    if ":" in reference:
        yield f"/v2/{repository}/blobs/{reference}"
        yield f"/v2/{repository}/referrers/{reference}"
