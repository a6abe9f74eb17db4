"""Read a configuration and the files that it names. The one way in from the file system."""

from pathlib import Path

from .check import Checked, ListFile, check
from .config.faults import Fault, Faulty


def load(path: Path, shown: str | None = None) -> Checked:
    """Load the configuration at `path`; raises `Faulty` with all that is wrong with it.

    `shown` is its name for messages, where the path is not what the user wrote.
    """
    file = str(path) if shown is None else shown
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise Faulty([Fault(file, 1, 1, f"cannot read it: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise Faulty([Fault(file, line, 1, "this is not UTF-8 text")]) from None

    def read_list(name: str) -> ListFile:
        return ListFile(
            str(Path(file).parent / name), (path.parent / name).read_bytes().decode("utf-8")
        )

    return check(text, file, read_list)
