"""Scopes: what a token is asked for, as ``repository:library/postgres:pull,push``.

The grammar is that of distribution's token specification. Clients name repositories as they are
called here, realms as they are called there.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ...oci import LONGEST_REPOSITORY, REPOSITORY
from ...registry import Registry

_SCOPE = re.compile(
    r"(?P<type>[a-z0-9]+(?:[._-][a-z0-9]+)*)(?:\((?P<class>[a-z0-9]+(?:[._-][a-z0-9]+)*)\))?"
    r":(?P<name>[!-~]+):(?P<actions>(?:[a-z]+|\*)(?:,(?:[a-z]+|\*))*)"
)
_REPOSITORY = re.compile(REPOSITORY)
_MOST = 32

PULL, PUSH, DELETE, ANY = "pull", "push", "delete", "*"


@dataclass(frozen=True)
class Scope:
    """Actions on one resource. `resource_class` says what a repository is of, as ``plugin``."""

    type: str
    name: str
    actions: tuple[str, ...]
    resource_class: str | None = None

    @property
    def is_repository(self) -> bool:
        """Whether it is about a repository, by the name of one."""
        return self.type == "repository"

    @property
    def only_pulls(self) -> bool:
        """Whether it changes nothing."""
        return self.actions == (PULL,)

    def __str__(self) -> str:
        kind = f"({self.resource_class})" if self.resource_class else ""
        return f"{self.type}{kind}:{self.name}:{','.join(self.actions)}"


CATALOG = Scope("registry", "catalog", (ANY,))


def parse_scopes(values: Iterable[str]) -> tuple[Scope, ...]:
    """The scopes of all parameters, each of which may hold several; raises `ValueError`.

    Each resource comes once, with all actions that are asked for it, in the order of the first
    mention.
    """
    found: dict[tuple[str, str | None, str], Scope] = {}
    for text in (text for value in values for text in value.split(" ") if text):
        scope = _read(text)
        key = (scope.type, scope.resource_class, scope.name)
        actions = (*(found[key].actions if key in found else ()), *scope.actions)
        found[key] = replace(scope, actions=tuple(dict.fromkeys(actions)))
        if len(found) > _MOST:
            raise ValueError(f"a token is for at most {_MOST} scopes")
    return tuple(found.values())


def _read(text: str) -> Scope:
    match = _SCOPE.fullmatch(text)
    if match is None:
        raise ValueError("a scope is written as in repository:library/postgres:pull")
    name, actions = match["name"], tuple(dict.fromkeys(match["actions"].split(",")))
    scope = Scope(match["type"], name, actions, match["class"])
    if scope.is_repository and not is_repository(name):
        raise ValueError("a scope names a repository that no registry can have")
    return scope


def is_repository(name: str) -> bool:
    """Whether a text has the form of a repository's name."""
    return len(name) <= LONGEST_REPOSITORY and _REPOSITORY.fullmatch(name) is not None


def there(scope: Scope, registry: Registry) -> Scope:
    """The scope by the name that its repository has at the registry."""
    if not scope.is_repository:
        return scope
    return replace(scope, name=registry.repository(scope.name))


def here(scope: Scope, registry: Registry, asked: str | None) -> Scope:
    """The scope by the name that its repository has here.

    `asked` is a repository that the client has named: it is called what the client called it.
    """
    if not scope.is_repository or (asked and scope.name == registry.repository(asked)):
        return replace(scope, name=asked) if asked and scope.is_repository else scope
    prefix = f"{registry.prefix}/" if registry.prefix else ""
    return replace(scope, name=scope.name.removeprefix(prefix))
