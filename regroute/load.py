"""Read a configuration and the files that it names. The one way in from the file system."""

import errno
import os
from datetime import UTC, datetime
from pathlib import Path

from .check import Checked, Files, check
from .config.faults import Fault, Faulty


def load(path: Path, shown: str | None = None) -> Checked:
    """Load the configuration at `path`; raises `Faulty` with all that is wrong with it.

    `shown` is its name for messages, where the path is not what the user wrote.
    """
    file = str(path) if shown is None else shown
    try:
        text = _read(path).decode("utf-8")
    except OSError as error:
        raise Faulty([Fault(file, 1, 1, f"cannot read it: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        place = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        raise Faulty([Fault(file, *place, "this is not UTF-8 text")]) from None

    files = Files(
        read=lambda name: _read(path.parent / name),
        show=lambda name: str(Path(file).parent / name),
    )
    return check(text, file, files, datetime.now(UTC))


def _read(path: Path) -> bytes:
    """A regular file's content: another one may have no end, or keep the daemon waiting."""
    if path.exists() and not path.is_file():
        reason = os.strerror(errno.EISDIR) if path.is_dir() else "Not a regular file"
        raise OSError(errno.EINVAL, reason)
    return path.read_bytes()
