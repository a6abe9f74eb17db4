"""Read a configuration and the files that it names. The one way in from the file system."""

import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from .check import Checked, check
from .config.faults import Fault, Faulty
from .findings import Files

Contents: TypeAlias = Mapping[Path, bytes | None]
"""Files with what is in them, None for those that cannot be read."""
Content: TypeAlias = bytes | tuple[int, str]
"""What a file holds, or the number and the words of the error for which it cannot be read."""


@dataclass(frozen=True)
class Origin:
    """A configuration and all files that it names, as they were when they were read.

    `shown` is the configuration's name in messages. `files` grows while they are read: who has one
    that is complete gets the same configuration out of it, whatever is on the disk by then.
    """

    path: Path
    shown: str
    read_at: datetime
    files: dict[Path, Content] = field(default_factory=dict)
    is_complete: bool = False

    @classmethod
    def on_disk(cls, path: Path, shown: str | None = None) -> "Origin":
        """The files as they are now; `shown` is given where `path` is not what the user wrote."""
        return cls(path, str(path) if shown is None else shown, datetime.now(UTC))

    def read(self, path: Path) -> bytes:
        """A file's content; raises `OSError`."""
        if path not in self.files:
            self.files[path] = self._missing() if self.is_complete else _content(path)
        content = self.files[path]
        if isinstance(content, tuple):
            raise OSError(*content)
        return content

    @property
    def contents(self) -> Contents:
        """What has been read."""
        return _readable(self.files)

    @staticmethod
    def _missing() -> Content:
        return errno.ENOENT, os.strerror(errno.ENOENT)


def load(path: Path) -> Checked:
    """Load the configuration at `path`; raises `Faulty` with all that is wrong with it."""
    return load_from(Origin.on_disk(path))


def load_from(origin: Origin) -> Checked:
    """Load a configuration; raises `Faulty` with all that is wrong with it."""
    file, directory = origin.shown, origin.path.parent
    try:
        text = origin.read(origin.path).decode("utf-8")
    except OSError as error:
        raise Faulty([Fault(file, 1, 1, f"cannot read it: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        place = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        raise Faulty([Fault(file, *place, "this is not UTF-8 text")]) from None

    files = Files(
        read=lambda name: origin.read(directory / name),
        show=lambda name: str(Path(file).parent / name),
    )
    return check(text, file, files, origin.read_at)


def look(paths: Iterable[Path]) -> dict[Path, bytes | None]:
    """What is in these files now, as a load would read them."""
    return _readable({path: _content(path) for path in paths})


def _readable(files: Mapping[Path, Content]) -> dict[Path, bytes | None]:
    return {path: None if isinstance(each, tuple) else each for path, each in files.items()}


def _content(path: Path) -> Content:
    """A regular file's content: another one may have no end, or keep the daemon waiting."""
    if path.is_dir():
        return errno.EISDIR, os.strerror(errno.EISDIR)
    if path.exists() and not path.is_file():
        return errno.EINVAL, "Not a regular file"
    try:
        return path.read_bytes()
    except OSError as error:
        return error.errno or 0, error.strerror or str(error)
