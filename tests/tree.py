"""The source tree that these tests are part of."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]

_NOT_IN_A_CLONE = shutil.ignore_patterns(
    ".*", "build", "dist", "*.egg-info", "__pycache__", "dropin.cache", "twistd.*"
)


def clone(path: Path) -> Path:
    """The sources as a fresh clone has them, in a new directory."""
    return Path(shutil.copytree(ROOT, path, ignore=_NOT_IN_A_CLONE))
