"""What a path depends on: every name on the way to a file, through every symbolic link."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_MOST_LINKS = 40
"""As many as the kernel follows (path_resolution(7))."""


def hops(path: Path) -> Iterator[tuple[str, str]]:
    """The directory entries that decide what an absolute path means, from the root on.

    Each is a directory, without a link in its path, and a name in it. What is missing is among
    them: it may come.
    """
    here = "/"
    rest = list(reversed(path.parts[1:]))
    links = 0
    while rest:
        name = rest.pop()
        if name == "..":
            here = os.path.dirname(here)
        elif name not in ("", "."):
            yield here, name
            entry = os.path.join(here, name)
            target = _link(entry)
            if target is None:
                here = entry
            elif (links := links + 1) > _MOST_LINKS:
                return
            else:
                here = "/" if target.startswith("/") else here
                rest += reversed(target.split("/"))


def _link(entry: str) -> str | None:
    """Where a symbolic link leads; None for all else, and for what is not there."""
    try:
        return os.readlink(entry)
    except OSError:
        return None


def entries(paths: Iterable[Path]) -> dict[str, set[str]]:
    """The directories on the way to these files, parents first, with the names in each."""
    found: dict[str, set[str]] = {}
    for path in paths:
        for directory, name in hops(path):
            found.setdefault(directory, set()).add(name)
    return found
