"""The access log in force: what is recorded where, and how a reload changes it."""

import os
import re
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from regroute.check import Checked
from regroute.config.faults import Faulty
from regroute.logs.recorder import Recorder
from regroute.metrics.counters import Counters
from regroute.metrics.tally import REQUESTS, Tally

from ..making import checked
from .press import said
from .test_access_log import PULL

JSON = re.compile(r'\{"time":"[^"]+","client":"192\.168\.0\.7",.*"path":"([^"]*)".*\}')
COMBINED = re.compile(r'192\.168\.0\.7 - - \[[^]]+\] "GET (\S+) HTTP/1\.1" .*')


def configured(log: str | None) -> Checked:
    """A configuration that records to `log`, or to where it does by itself."""
    access_log = "" if log is None else f"access_log: {log}\n"
    return checked(access_log + "rules: [{to: 'https://a.example'}]")


class Desk:
    """A recorder in a directory, and a clock that runs when it is told to."""

    def __init__(self, directory: Path, log: str | None) -> None:
        self.directory = directory
        self.clock = Clock()
        self.counters = Counters.private()
        self.recorder = Recorder(configured(log), directory, self.clock, Tally(self.counters))
        self.recorder.startService()

    def told(self, name: str) -> int:
        """How much has been counted by a name."""
        return sum(cell.value for cell in self.counters.items() if cell.name == name)

    def record(self, *paths: str) -> None:
        """Record one request for each path."""
        for path in paths:
            self.recorder.record(PULL._replace(path=path.encode()))

    def reload(self, log: str | None) -> None:
        """Do what a reload does where there is no fault."""
        after = configured(log)
        self.recorder.apply(after, self.recorder.open(after))

    def stop(self) -> None:
        """Stop, which leaves nothing for later where the file takes what it is given."""
        stopped: list[object] = []
        self.recorder.stopService().addBoth(stopped.append)
        assert stopped == [None]
        assert self.clock.getDelayedCalls() == []

    def paths(self, name: str, layout: re.Pattern[str] = JSON) -> list[str]:
        """The paths of the lines in a file, each of which has this layout."""
        lines = (self.directory / name).read_text().splitlines()
        matches = [layout.fullmatch(line) for line in lines]
        assert all(matches), lines
        return [match[1] for match in matches if match]


def descriptors() -> int:
    """How many are open in this process."""
    return len(os.listdir("/proc/self/fd"))


def test_a_file_name_is_relative_to_the_configuration(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "{path: log}")
    desk.record("/a", "/b")
    assert desk.paths("log") == []
    desk.clock.advance(1)
    assert desk.paths("log") == ["/a", "/b"]
    desk.record("/c")
    desk.stop()
    assert desk.paths("log") == ["/a", "/b", "/c"]


def test_an_absolute_file_name_stays(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "elsewhere", f"{{path: {tmp_path}/log}}")
    desk.record("/a")
    desk.stop()
    assert '"/a"' in (tmp_path / "log").read_text()


def test_a_file_that_is_there_is_added_to(tmp_path: Path) -> None:
    for path in ("/a", "/b"):
        desk = Desk(tmp_path, "{path: log}")
        desk.record(path)
        desk.stop()
    assert desk.paths("log") == ["/a", "/b"]


@pytest.mark.parametrize("log", [None, "stdout"])
def test_standard_output_gets_json_with_whole_addresses(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], log: str | None
) -> None:
    desk = Desk(tmp_path, log)
    desk.record("/a")
    desk.stop()
    assert (match := JSON.fullmatch(capfd.readouterr().out.rstrip("\n")))
    assert match[1] == "/a"


def test_none_records_nothing_and_waits_for_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(tmp_path, "none")
    desk.record("/a")
    desk.recorder.reopen()
    assert desk.clock.getDelayedCalls() == []
    desk.stop()
    assert (capfd.readouterr().out, list(tmp_path.iterdir())) == ("", [])


def test_before_its_start_and_after_its_stop_it_takes_entries_without_a_word(
    tmp_path: Path,
) -> None:
    """What is answered last may come while everything closes."""
    recorder = Recorder(configured("{path: log}"), tmp_path, Clock())
    recorder.record(PULL)
    desk = Desk(tmp_path, "{path: log}")
    desk.record("/a")
    desk.stop()
    desk.record("/late")
    assert desk.paths("log") == ["/a"]
    assert desk.clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("log", "column", "why"),
    [
        ("{path: no/log}", 20, "No such file or directory"),
        ("{format: json, path: .}", 34, "Is a directory"),
    ],
)
def test_a_file_that_cannot_be_opened_is_a_fault_at_its_name(
    tmp_path: Path, log: str, column: int, why: str
) -> None:
    message = f"rules.yaml:1:{column}: cannot open the access log: {why}"
    before = descriptors()
    with pytest.raises(SystemExit) as ending:
        Desk(tmp_path, log)
    assert str(ending.value) == message
    desk = Desk(tmp_path, "{path: log}")
    with pytest.raises(Faulty) as refused:
        desk.reload(log)
    assert [str(fault) for fault in refused.value.faults] == [message]
    desk.record("/a")
    desk.stop()
    assert desk.paths("log") == ["/a"]
    assert descriptors() == before


def test_a_standard_output_that_is_closed_is_a_fault(tmp_path: Path) -> None:
    """As after ``>&-`` in a shell, where nobody else has taken its number."""
    kept = os.dup(1)
    os.close(1)
    try:
        with pytest.raises(SystemExit) as ending:
            Desk(tmp_path, "stdout")
    finally:
        os.dup2(kept, 1)
        os.close(kept)
    assert str(ending.value) == "rules.yaml:1:13: cannot open the access log: Bad file descriptor"


# Counts.


@pytest.mark.parametrize("log", ["{path: log}", "none"])
@pytest.mark.parametrize("is_counting", [False, True])
def test_what_is_recorded_is_a_line_a_count_both_or_neither(
    tmp_path: Path, log: str, is_counting: bool
) -> None:
    desk = Desk(tmp_path, log)
    desk.recorder.is_counting = is_counting
    assert desk.recorder.is_recording is (is_counting or log != "none")
    desk.record("/a")
    again = desk.recorder.remember(PULL._replace(path=b"/b"))
    for _ in range(2):
        again(0.0, "192.168.0.7", 9)
    desk.stop()
    assert desk.told(REQUESTS) == (3 if is_counting else 0)
    assert desk.told("request_microseconds") == (PULL.microseconds + 18 if is_counting else 0)
    if log == "none":
        assert list(tmp_path.iterdir()) == []
    else:
        assert desk.paths("log") == ["/a", "/b", "/b"]


def test_counting_may_begin_and_end_at_any_time_and_loses_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "none")
    counted = []
    for is_counting in (True, False, True):
        desk.recorder.is_counting = is_counting
        desk.record("/a")
        counted.append(desk.told(REQUESTS))
    desk.stop()
    assert counted == [1, 1, 2]


def test_who_only_counts_has_no_log_to_lose_at_a_reload(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "none")
    desk.recorder.is_counting = True
    desk.reload("{path: log}")
    desk.record("/a")
    desk.reload("none")
    desk.record("/b")
    desk.stop()
    assert desk.paths("log") == ["/a"]
    assert desk.told(REQUESTS) == 2


def test_lost_lines_are_counted_over_all_logs(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "{path: /dev/full}")
    with capturedLogs():
        desk.record("/a", "/b")
        desk.reload("{path: log}")
        desk.record("/c")
        desk.reload("{path: /dev/full}")
        desk.record("/d")
        desk.stop()
    assert desk.told("access_log_lines_lost") == 3
    assert desk.paths("log") == ["/c"]


# Reloads.

LOGS = ["{path: a}", "{path: b}", "{path: a, format: combined}", "none", "stdout"]


@pytest.mark.parametrize("after", LOGS)
@pytest.mark.parametrize("before", LOGS)
def test_a_reload_loses_and_doubles_no_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], before: str, after: str
) -> None:
    """Each entry is where the configuration that was in force sends it, and there alone."""
    open_before = descriptors()
    desk = Desk(tmp_path, before)
    desk.record("/before")
    desk.reload(after)
    desk.record("/after")
    desk.stop()
    text = {"stdout": capfd.readouterr().out}
    text |= {file.name: file.read_text() for file in tmp_path.iterdir()}
    for log, path in [(before, "/before"), (after, "/after")]:
        name = match[1] if (match := re.search("path: ([ab])", log)) else log
        layout = COMBINED if "combined" in log else JSON
        lines = [line for line in text.get(name, "").splitlines() if path in line]
        assert all(layout.fullmatch(line) for line in lines)
        assert len(lines) == (0 if log == "none" else 1)
        assert sum(each.count(path) for each in text.values()) == len(lines)
    assert descriptors() == open_before


def test_a_reload_that_changes_nothing_about_the_log_goes_on_in_the_open_file(
    tmp_path: Path,
) -> None:
    """To open it anew is what `reopen` is for, which comes first in a reload."""
    desk = Desk(tmp_path, "{path: log}")
    desk.record("/a")
    (tmp_path / "log").rename(tmp_path / "moved")
    same = configured("{client: full, path: log}")
    assert desk.recorder.open(same) is None
    desk.recorder.apply(same, None)
    desk.record("/b")
    desk.stop()
    assert desk.paths("moved") == ["/a", "/b"]


def test_what_is_opened_and_not_applied_changes_nothing(tmp_path: Path) -> None:
    """A reload may yet find a fault elsewhere."""
    desk = Desk(tmp_path, "{path: log}")
    sink = desk.recorder.open(configured("{path: other}"))
    assert sink is not None
    desk.record("/a")
    sink.stopService()
    desk.stop()
    assert desk.paths("log") == ["/a"]
    assert desk.paths("other") == []


def test_reopening_goes_on_in_the_file_that_has_the_name_now(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "{path: log}")
    for number in range(3):
        desk.record(f"/{number}")
        (tmp_path / "log").rename(tmp_path / f"log.{number}")
        desk.recorder.reopen()
    desk.stop()
    assert [desk.paths(f"log.{number}") for number in range(3)] == [["/0"], ["/1"], ["/2"]]
    assert desk.paths("log") == []


def test_a_file_that_cannot_be_opened_anew_stays_in_use(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    desk = Desk(tmp_path, "{path: logs/log}")
    (tmp_path / "logs").rename(tmp_path / "moved")
    with capturedLogs() as logged:
        desk.recorder.reopen()
    assert said(logged) == [
        f"cannot reopen {tmp_path}/logs/log: No such file or directory; the old file stays in use"
    ]
    desk.record("/a")
    desk.stop()
    assert desk.paths("moved/log") == ["/a"]
