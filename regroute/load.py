"""Read a configuration and the files that it names. The one way in from the file system."""

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
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise Faulty([Fault(file, 1, 1, f"cannot read it: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise Faulty([Fault(file, line, 1, "this is not UTF-8 text")]) from None

    files = Files(
        read=lambda name: (path.parent / name).read_bytes(),
        show=lambda name: str(Path(file).parent / name),
    )
    return check(text, file, files, datetime.now(UTC))
