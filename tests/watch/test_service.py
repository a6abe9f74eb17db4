"""When a change is a reload: looked at with a clock that runs only when it is told to."""

import errno
import os
from pathlib import Path
from typing import cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from regroute.load import look
from regroute.reactor import Reactor
from regroute.watch.inotify import Names
from regroute.watch.service import LONGEST_TIME, QUIET_TIME, SETTLE_TIME, Watch


class Bed:
    """A watch on two files, whose notifier is the test itself, and a reload that reads them.

    `loads` are what each has read.
    """

    def __init__(self, root: Path) -> None:
        self.one, self.two = root / "one", root / "two"
        self.one.write_bytes(b"1")
        self.two.write_bytes(b"2")
        self.reactor = MemoryReactorClock()
        self.is_wanted = True
        self.is_slow = False
        self.under_way: list[Deferred[None]] = []
        self.watched: Names | None = None
        self.errors: dict[str, OSError] = {}
        self.refusal: OSError | None = None
        self.loads: list[list[bytes | None]] = []
        self._files = look((self.one, self.two))
        self.service = Watch(
            lambda: self.is_wanted,
            lambda: self._files,
            self._reload,
            cast("Reactor", self.reactor),
            self._new_notifier,
        )
        self.service.startService()
        self.wait()

    # As a notifier.

    def _new_notifier(self, hear: object, reactor: Reactor) -> "Bed":
        if self.refusal is not None:
            raise self.refusal
        self.watched = {}
        return self

    def watch(self, names: Names) -> dict[str, OSError]:
        self.watched = names
        return self.errors

    def close(self) -> None:
        self.watched = None

    # As what reloads.

    def _reload(self) -> Deferred[None] | None:
        self.load()
        if not self.is_slow:
            return None
        self.under_way.append(Deferred())
        return self.under_way[-1]

    def load(self) -> None:
        """A load, whoever has asked for it."""
        self._files = look((self.one, self.two))
        self.loads.append(list(self._files.values()))
        self.service.follow()

    def happens(self, after: float = 0.0) -> None:
        """Something happens in the directory, some time later."""
        self.reactor.advance(after)
        self.service.hear()

    def wait(self, seconds: float = 2.25 * QUIET_TIME) -> int:
        """Let time pass, and say how many loads there have been.

        By default as much as it takes to see that it is quiet, and that nothing changes any more.
        """
        step = QUIET_TIME / 8
        self.reactor.pump([step] * round(seconds / step))
        return len(self.loads)


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


def test_a_change_is_one_reload_when_it_has_been_quiet(bed: Bed) -> None:
    for _ in range(3):
        bed.one.write_bytes(b"new")
        bed.happens(QUIET_TIME / 2)
    assert bed.wait(QUIET_TIME * 1.5) == 0
    assert bed.wait(QUIET_TIME) == 1
    assert bed.wait(10) == 1
    assert bed.loads == [[b"new", b"2"]]


def test_what_does_not_come_to_rest_is_looked_at_all_the_same(bed: Bed) -> None:
    bed.one.write_bytes(b"new")
    bed.happens()
    for _ in range(round((LONGEST_TIME + 1.5 * QUIET_TIME) / (QUIET_TIME / 2))):
        bed.happens()
        bed.wait(QUIET_TIME / 2)
    assert len(bed.loads) == 1


def test_the_same_content_is_no_change(bed: Bed) -> None:
    bed.one.write_bytes(b"other")
    bed.happens()
    bed.one.write_bytes(b"1")
    os.utime(bed.two)
    bed.happens()
    assert bed.wait(10) == 0


def test_the_files_are_compared_with_the_last_load_even_if_it_was_in_vain(bed: Bed) -> None:
    bed.one.write_bytes(b"faulty")
    bed.happens()
    assert bed.wait() == 1
    bed.happens()
    assert bed.wait() == 1
    bed.one.write_bytes(b"1")
    bed.happens()
    assert bed.wait() == 2


def test_a_load_that_someone_else_has_asked_for_leaves_nothing_to_do(bed: Bed) -> None:
    bed.one.write_bytes(b"new")
    bed.happens()
    bed.load()
    assert bed.wait(10) == 1


def test_what_changes_just_after_a_load_has_read_it_is_seen(bed: Bed) -> None:
    """Even if no directory was watched yet, as at the start."""
    bed.load()
    bed.one.write_bytes(b"new")
    assert bed.wait() == 2


def test_a_file_that_is_missing_for_a_moment_is_waited_for(bed: Bed) -> None:
    bed.one.unlink()
    bed.happens()
    assert bed.wait(SETTLE_TIME) == 0
    bed.one.write_bytes(b"new")
    bed.happens()
    assert bed.wait() == 1
    assert bed.wait(10) == 1
    assert bed.loads == [[b"new", b"2"]]


def test_no_other_change_is_read_while_a_file_is_missing(bed: Bed) -> None:
    """As when two files of one deployment are replaced one after the other."""
    bed.one.unlink()
    bed.two.write_bytes(b"new")
    bed.happens()
    assert bed.wait() == 0


def test_a_file_that_is_written_slowly_is_read_when_it_is_whole(bed: Bed) -> None:
    """Its end may be all that is heard of it; here something else is the occasion to look."""
    for size in range(4):
        bed.one.write_bytes(b"x" * size)
        bed.happens()
        assert bed.wait(QUIET_TIME * 1.25) == 0
    assert bed.wait() == 1
    assert bed.loads == [[b"xxx", b"2"]]


def test_files_that_do_not_come_to_rest_are_taken_as_they_are(bed: Bed) -> None:
    for size in range(12):
        bed.one.write_bytes(b"x" * size)
        bed.happens()
        bed.wait(QUIET_TIME * 1.25)
    assert 1 <= len(bed.loads) <= 3


def test_a_file_that_stays_away_is_a_change_and_so_is_its_return(bed: Bed) -> None:
    bed.one.unlink()
    bed.happens()
    assert bed.wait(SETTLE_TIME) == 0
    assert bed.wait() == 1
    assert bed.wait(10) == 1
    bed.one.write_bytes(b"1")
    bed.happens()
    assert bed.wait() == 2
    assert bed.loads == [[None, b"2"], [b"1", b"2"]]


def test_a_file_that_comes_and_goes_does_not_count_its_absences_together(bed: Bed) -> None:
    for _ in range(4):
        bed.one.unlink()
        bed.happens()
        bed.wait(SETTLE_TIME * 0.6)
        bed.one.write_bytes(b"1")
        bed.happens()
        assert bed.wait() == 0


def test_while_a_reload_goes_on_nothing_is_asked_for(bed: Bed) -> None:
    bed.is_slow = True
    bed.one.write_bytes(b"new")
    bed.happens()
    assert bed.wait() == 1
    bed.two.write_bytes(b"new")
    bed.happens()
    assert bed.wait(10) == 1
    bed.under_way.pop().callback(None)
    assert bed.wait() == 2
    bed.under_way.pop().callback(None)
    assert bed.wait(10) == 2


def test_a_reload_that_breaks_does_not_end_the_watch(bed: Bed, logged: list[str]) -> None:
    bed.is_slow = True
    bed.one.write_bytes(b"new")
    bed.happens()
    assert bed.wait() == 1
    bed.under_way.pop().errback(RuntimeError("broken"))
    assert logged == ["critical: watch: the reload has failed"]
    bed.one.write_bytes(b"newer")
    bed.happens()
    assert bed.wait() == 2


def test_each_look_watches_the_way_to_the_files_as_it_is_now(bed: Bed) -> None:
    home = os.path.realpath(bed.one.parent)
    assert bed.watched is not None
    assert bed.watched[home] == {"one", "two"}
    bed.one.rename(bed.one.with_name("three"))
    bed.one.symlink_to("three")
    bed.happens()
    assert bed.wait() == 0
    assert bed.watched[home] == {"one", "two", "three"}


# Whether it watches at all.


def test_it_is_switched_by_the_configuration_in_force(bed: Bed) -> None:
    bed.is_wanted = False
    bed.load()
    assert bed.watched is None
    bed.one.write_bytes(b"new")
    assert bed.wait(10) == 1
    bed.is_wanted = True
    bed.load()
    assert bed.watched is not None
    bed.one.write_bytes(b"newer")
    bed.happens()
    assert bed.wait() == 3


def test_it_watches_while_the_service_runs(bed: Bed) -> None:
    bed.one.write_bytes(b"new")
    bed.happens()
    bed.service.stopService()
    assert bed.watched is None
    bed.load()
    assert (bed.watched, bed.wait(10), bed.reactor.getDelayedCalls()) == (None, 1, [])


# What the system refuses.


def test_without_inotify_the_daemon_goes_on_and_says_which_limit_it_is(
    bed: Bed, logged: list[str]
) -> None:
    bed.is_wanted = False
    bed.load()
    bed.is_wanted, bed.refusal = True, OSError(errno.EMFILE, "Too many open files")
    for _ in range(2):
        bed.load()
    assert logged == [
        "warn: watch: nothing is watched: Too many open files: raise the sysctl "
        "fs.inotify.max_user_instances"
    ]
    bed.refusal = None
    bed.load()
    assert bed.watched is not None


def test_what_is_over_the_limit_of_watches_is_told_once(bed: Bed, logged: list[str]) -> None:
    home = os.path.realpath(bed.one.parent)
    bed.errors = {path: OSError(errno.ENOSPC, "No space left on device") for path in (home, "/")}
    for _ in range(2):
        bed.load()
    assert logged == [
        "warn: watch: not everything is watched: No space left on device: raise the sysctl "
        "fs.inotify.max_user_watches"
    ]


def test_a_directory_that_may_not_be_read_is_told_where_files_lie_in_it(
    bed: Bed, logged: list[str]
) -> None:
    home = os.path.realpath(bed.one.parent)
    bed.errors = {
        home: OSError(errno.EACCES, "Permission denied"),
        "/": OSError(errno.EACCES, "Permission denied"),
        f"{home}/gone": OSError(errno.ENOENT, "No such file or directory"),
    }
    bed.load()
    assert logged == [
        f"warn: watch: {home} is not watched: Permission denied: changes there take a SIGHUP"
    ]
