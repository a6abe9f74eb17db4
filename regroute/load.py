"""Read a configuration and the files that it names. The one way in from the file system."""

import errno
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from .check import Checked, Files, check
from .config.faults import Fault, Faulty

Contents: TypeAlias = Mapping[Path, bytes | None]
"""Files with what is in them, None for those that cannot be read."""


def load(
    path: Path, shown: str | None = None, kept: dict[Path, bytes | None] | None = None
) -> Checked:
    """Load the configuration at `path`; raises `Faulty` with all that is wrong with it.

    `shown` is its name for messages, where the path is not what the user wrote. `kept` is given
    all that is read on the way, faulty or not.
    """
    file = str(path) if shown is None else shown

    def read(each: Path) -> bytes:
        content = None
        try:
            content = _read(each)
        finally:
            if kept is not None:
                kept[each] = content
        return content

    try:
        text = read(path).decode("utf-8")
    except OSError as error:
        raise Faulty([Fault(file, 1, 1, f"cannot read it: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        place = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        raise Faulty([Fault(file, *place, "this is not UTF-8 text")]) from None

    files = Files(
        read=lambda name: read(path.parent / name),
        show=lambda name: str(Path(file).parent / name),
    )
    return check(text, file, files, datetime.now(UTC))


def look(paths: Iterable[Path]) -> dict[Path, bytes | None]:
    """What is in these files now, as a load would read them."""
    found: dict[Path, bytes | None] = {}
    for path in paths:
        found[path] = None
        with suppress(OSError):
            found[path] = _read(path)
    return found


def _read(path: Path) -> bytes:
    """A regular file's content: another one may have no end, or keep the daemon waiting."""
    if path.exists() and not path.is_file():
        reason = os.strerror(errno.EISDIR) if path.is_dir() else "Not a regular file"
        raise OSError(errno.EINVAL, reason)
    return path.read_bytes()
