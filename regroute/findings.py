"""What a check finds wrong, and the files that it reads to find it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from .config.faults import Fault
from .config.reading import Reading
from .config.source import Location

_T = TypeVar("_T")


@dataclass(frozen=True)
class Files:
    """The files that a configuration names: `read` raises `OSError`; `show` is for messages."""

    read: Callable[[str], bytes]
    show: Callable[[str], str]


class Findings:
    """The faults and warnings about one configuration, so far.

    `is_sound` says whether the rules can be judged, whatever else there is.
    """

    def __init__(self, reading: Reading, files: Files) -> None:
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []
        self.is_sound = reading.is_whole("rules", "networks", "registries", "clients")
        self.reading = reading
        self.files = files

    def fault(self, location: Location, message: str) -> None:
        """What must not be."""
        self.faults.append(self.reading.source.fault(location, message))

    def warn(self, location: Location, message: str) -> None:
        """What may be, but someone should know."""
        self.warnings.append(self.reading.source.fault(location, f"warning: {message}"))

    def read(self, location: Location, file: str, parse: Callable[[bytes], _T]) -> _T | None:
        """What is in the file that is named at a place; None if that is a fault.

        `parse` raises `ValueError` with what is wrong in the file.
        """
        try:
            return parse(self.files.read(file))
        except OSError as error:
            self.fault(location, f"cannot read '{file}': {error.strerror}")
        except UnicodeError:
            self.fault(location, f"'{file}' is not UTF-8 text")
        except ValueError as error:
            self.fault(location, f"'{file}': {error}")
        return None
