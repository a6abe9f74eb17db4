"""What of all that happens in directories is heard of."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from twisted.internet.testing import MemoryReactorClock

from regroute.reactor import Reactor
from regroute.watch.inotify import Directories


class Bed:
    """A directory with a file ``f`` that matters, and what is heard of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.reactor = MemoryReactorClock()
        self.count = 0
        self.directories = Directories(self._hear, cast("Reactor", self.reactor))
        (root / "d").mkdir()
        (root / "d/f").write_text("old")
        self.watch()

    def _hear(self) -> None:
        self.count += 1

    def watch(self) -> None:
        names = {str(self.root): {"d"}, str(self.root / "d"): {"f"}}
        assert self.directories.watch(names) == {}

    def heard(self) -> bool:
        """Whether anything has been heard since the last time."""
        before = self.count
        self.directories.doRead()
        return self.count > before


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    bed = Bed(tmp_path)
    assert not bed.heard()
    yield bed
    bed.directories.close()


def rename_over(file: Path) -> None:
    file.with_name("new").write_text("new")
    file.with_name("new").rename(file)


def replace_directory(file: Path) -> None:
    file.parent.rename(file.parent.with_name("old"))


THAT_MATTER: dict[str, Callable[[Path], object]] = {
    "written": lambda file: file.write_text("new"),
    "renamed over": rename_over,
    "renamed away": lambda file: file.rename(file.with_name("g")),
    "removed": lambda file: file.unlink(),
    "made readable": lambda file: file.chmod(0o600),
    "the directory moved away": replace_directory,
}


@pytest.mark.parametrize("act", THAT_MATTER.values(), ids=THAT_MATTER)
def test_what_happens_to_a_name_that_matters_is_heard(
    bed: Bed, act: Callable[[Path], object]
) -> None:
    act(bed.root / "d/f")
    assert bed.heard()
    assert not bed.heard()


def remove_another(file: Path) -> None:
    file.with_name(".f.swp").touch()
    file.with_name(".f.swp").unlink()


THAT_DO_NOT: dict[str, Callable[[Path], object]] = {
    "read": lambda file: file.read_text(),
    "another written": lambda file: file.with_name("f.log").write_text("x"),
    "another removed": remove_another,
    "another made above": lambda file: file.parent.with_name("e").mkdir(),
    "a file of that name elsewhere": lambda file: file.parent.with_name("f").touch(),
}


@pytest.mark.parametrize("act", THAT_DO_NOT.values(), ids=THAT_DO_NOT)
def test_what_happens_beside_it_is_not(bed: Bed, act: Callable[[Path], object]) -> None:
    act(bed.root / "d/f")
    assert not bed.heard()


def test_a_write_is_heard_when_it_is_over(bed: Bed) -> None:
    with (bed.root / "d/f").open("w") as file:
        file.write("half")
        file.flush()
        assert not bed.heard()
    assert bed.heard()


def test_a_directory_that_has_taken_anothers_place_is_watched_by_its_path(bed: Bed) -> None:
    replace_directory(bed.root / "d/f")
    (bed.root / "d").mkdir()
    assert bed.heard()
    bed.watch()
    (bed.root / "old/f").write_text("nobody cares")
    assert not bed.heard()
    (bed.root / "d/f").write_text("new")
    assert bed.heard()


def test_a_directory_that_goes_ends_no_other_watch(bed: Bed) -> None:
    (bed.root / "d/f").unlink()
    (bed.root / "d").rmdir()
    assert bed.heard()
    (bed.root / "d").mkdir()
    assert bed.heard()


def test_a_directory_is_told_of_once_although_two_paths_lead_there(bed: Bed) -> None:
    (bed.root / "link").symlink_to("d")
    names = {str(bed.root / "d"): {"f"}, str(bed.root / "link"): {"g"}}
    assert bed.directories.watch(names) == {}
    for name in ("f", "g"):
        (bed.root / "d" / name).write_text("new")
        assert bed.heard()


def test_what_cannot_be_watched_is_told_with_its_reason(bed: Bed) -> None:
    failed = bed.directories.watch(
        {str(bed.root / "d"): {"f"}, str(bed.root / "no"): {"f"}, str(bed.root / "d/f"): {"x"}}
    )
    assert {path: error.strerror for path, error in failed.items()} == {
        str(bed.root / "no"): "No such file or directory",
        str(bed.root / "d/f"): "Not a directory",
    }
    (bed.root / "d/f").write_text("new")
    assert bed.heard()


def test_it_is_read_when_the_reactor_says_so_until_it_is_closed(tmp_path: Path) -> None:
    bed = Bed(tmp_path)
    assert list(bed.reactor.readers) == [bed.directories]
    assert os.fstat(bed.directories.fileno())
    bed.directories.close()
    assert list(bed.reactor.readers) == []
