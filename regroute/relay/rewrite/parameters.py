"""Parameters of a query, changed one by one: all others keep their bytes and their order.

Values are bytes, written as Latin-1.
"""

from collections.abc import Callable, Collection, Iterator
from urllib.parse import quote, unquote_plus

Change = Callable[[str], str | None]
"""From a value to the one in its place; None drops the parameter."""


def change(target: str, name: str, to: Change) -> str:
    """A path and query with the values of all parameters of this name changed."""
    rest, hash_sign, fragment = target.partition("#")
    path, _, query = rest.partition("?")
    parts = query.split("&")
    changed = list(_changed(parts, name, to))
    if changed == parts:
        return target
    return path + ("?" + "&".join(changed) if changed else "") + hash_sign + fragment


def values(target: str, name: str) -> list[str]:
    """The values of all parameters of this name."""
    found: list[str] = []

    def note(value: str) -> str:
        found.append(value)
        return value

    change(target, name, note)
    return found


def drop(target: str, names: Collection[str]) -> str:
    """A path and query without the parameters of these names."""
    for name in names:
        target = change(target, name, lambda value: None)
    return target


def _changed(parts: list[str], name: str, to: Change) -> Iterator[str]:
    for part in parts:
        key, _, value = part.partition("=")
        if _decoded(key) != name:
            yield part
            continue
        old = _decoded(value)
        new = to(old)
        if new == old:
            yield part
        elif new is not None:
            yield f"{key}={quote(new, safe='/-._~', encoding='latin-1')}"


def _decoded(text: str) -> str:
    return unquote_plus(text, encoding="latin-1")
