"""The daemon's own log in journald's form: priorities, lines, and back again."""

import io
import os
import socket
from collections.abc import Iterator

import pytest
from constantly import NamedConstant  # type: ignore[import-untyped]  # it has no annotations
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel

from regroute.logs.journal import LONGEST, is_journal, journal_observer, parse_line, with_priority

PRIORITIES = [
    (LogLevel.debug, 7),
    (LogLevel.info, 6),
    (LogLevel.warn, 4),
    (LogLevel.error, 3),
    (LogLevel.critical, 2),
]
LEVELS = st.sampled_from([level for level, _ in PRIORITIES])
each_level = pytest.mark.parametrize(
    ("level", "priority"), PRIORITIES, ids=[level.name for level, _ in PRIORITIES]
)


@pytest.fixture
def file() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def log(file: io.StringIO) -> Logger:
    """A logger of ours that writes to the file alone."""
    return Logger("regroute.part", observer=journal_observer(file))


class TestTheObserver:
    """What a logger's events come to in a text file."""

    @each_level
    def test_a_line_begins_with_the_priority_of_its_level(
        self, file: io.StringIO, log: Logger, level: NamedConstant, priority: int
    ) -> None:
        log.emit(level, "it is {state}", state="up")
        assert file.getvalue() == f"<{priority}>[regroute.part] it is up\n"

    def test_it_has_a_level_for_each_that_a_logger_has(self) -> None:
        assert {level for level, _ in PRIORITIES} == set(LogLevel.iterconstants())

    @pytest.mark.parametrize("line_end", ["\n", "\r\n"])
    def test_every_line_of_a_message_has_the_priority(
        self, file: io.StringIO, log: Logger, line_end: str
    ) -> None:
        log.warn("{text}", text=f"one{line_end}  two{line_end}{line_end}four{line_end}")
        assert file.getvalue() == "<4>[regroute.part] one\n<4>  two\n<4>\n<4>four\n"

    def test_every_line_of_a_traceback_has_the_priority(
        self, file: io.StringIO, log: Logger
    ) -> None:
        try:
            raise LookupError("what there\nis not")
        except LookupError:
            log.failure("it broke")
        lines = file.getvalue().splitlines()
        assert lines[:2] == ["<2>[regroute.part] it broke", "<2>Traceback (most recent call last):"]
        assert lines[-2:] == ["<2>builtins.LookupError: what there", "<2>is not"]
        assert [line for line in lines if not line.startswith("<2>")] == []

    @pytest.mark.parametrize("said", ["\n<0>the end is near", "\r<0>the end", "\x00<0>the end"])
    def test_no_message_passes_for_one_of_another_priority(
        self, file: io.StringIO, log: Logger, said: str
    ) -> None:
        log.info("{said}", said=said)
        lines = file.getvalue().removesuffix("\n").split("\n")
        assert [parse_line(line)[0] for line in lines] == [LogLevel.info] * len(lines)

    @pytest.mark.parametrize(
        ("said", "shown"),
        [
            ("\x1b[31mred", r"\x1b[31mred"),
            ("a\rb", r"a\x0db"),
            ("a\x00b", r"a\x00b"),
            ("\x7f\x85\x9b", r"\x7f\x85\x9b"),
            ("a\tb", "a\tb"),
            ("\u2028", "\u2028"),
            ("Bücher, 本, 🐘", "Bücher, 本, 🐘"),
        ],
    )
    def test_what_a_terminal_would_act_on_is_escaped(
        self, file: io.StringIO, log: Logger, said: str, shown: str
    ) -> None:
        log.info("{said}.", said=said)
        assert file.getvalue() == f"<6>[regroute.part] {shown}.\n"

    def test_a_long_line_is_cut_before_journald_cuts_it(
        self, file: io.StringIO, log: Logger
    ) -> None:
        log.error("{text}", text="é" * (2 * LONGEST))
        lines = file.getvalue().splitlines()
        assert [line[:3] for line in lines] == ["<3>"] * 3
        assert max(len(line.encode()) for line in lines) < 48 * 1024

    def test_an_event_without_a_level_is_information(self, file: io.StringIO) -> None:
        journal_observer(file)({"log_format": "hello"})
        assert file.getvalue() == "<6>hello\n"

    def test_an_event_is_said_to_come_from_its_system(self, file: io.StringIO) -> None:
        """Twisted's older logging names it in that way."""
        journal_observer(file)({"log_format": "hello", "log_system": "-", "log_namespace": "n"})
        assert file.getvalue() == "<6>[-] hello\n"

    def test_an_event_that_says_nothing_is_no_line(self, file: io.StringIO) -> None:
        journal_observer(file)({"log_level": LogLevel.error, "log_namespace": "n"})
        assert file.getvalue() == ""

    def test_an_event_that_cannot_be_formatted_is_told_of(
        self, file: io.StringIO, log: Logger
    ) -> None:
        log.info("{absent}")
        assert file.getvalue().startswith("<6>[regroute.part] Unable to format event")


class TestBackAgain:
    """A line that someone else has written, as its level and its text."""

    @each_level
    def test_a_level_comes_back(self, level: NamedConstant, priority: int) -> None:
        assert parse_line(f"<{priority}>a text\n") == (level, "a text")

    @pytest.mark.parametrize(
        ("priority", "level"),
        [(0, LogLevel.critical), (1, LogLevel.critical), (5, LogLevel.info)],
    )
    def test_syslogs_other_levels_are_the_nearest(
        self, priority: int, level: NamedConstant
    ) -> None:
        assert parse_line(f"<{priority}>a text") == (level, "a text")

    @pytest.mark.parametrize("line", ["Segmentation fault", "", "<8>a", "<10>a", "<-1>", " <3>a"])
    def test_a_line_without_a_priority_is_a_warning(self, line: str) -> None:
        assert parse_line(line) == (LogLevel.warn, line)

    @given(LEVELS, st.text())
    def test_what_is_written_is_read(self, level: NamedConstant, text: str) -> None:
        """And reading it changes nothing any more: lines can be handed on."""
        written = with_priority(level, text)
        read = [parse_line(line) for line in written.removesuffix("\n").split("\n")]
        assert {each for each, _ in read} == {level}
        assert with_priority(level, "\n".join(line for _, line in read) or "\n") == written


class TestIsJournal:
    """JOURNAL_STREAM and a descriptor."""

    @pytest.fixture
    def stream(self) -> Iterator[socket.socket]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            yield ours

    @staticmethod
    def name(descriptor: int) -> str:
        status = os.fstat(descriptor)
        return f"{status.st_dev}:{status.st_ino}"

    def test_it_is_where_the_variable_names_its_device_and_inode(
        self, stream: socket.socket
    ) -> None:
        environ = {"JOURNAL_STREAM": self.name(stream.fileno())}
        assert is_journal(environ, stream.fileno())

    def test_it_is_not_where_it_has_been_redirected(self, stream: socket.socket) -> None:
        with open(os.devnull) as other:
            environ = {"JOURNAL_STREAM": self.name(stream.fileno())}
            assert not is_journal(environ, other.fileno())

    @pytest.mark.parametrize("environ", [{}, {"JOURNAL_STREAM": ""}, {"JOURNAL_STREAM": "8:x"}])
    def test_it_is_not_without_such_a_variable(
        self, stream: socket.socket, environ: dict[str, str]
    ) -> None:
        assert not is_journal(environ, stream.fileno())

    def test_a_descriptor_that_is_closed_is_none(self, stream: socket.socket) -> None:
        descriptor = os.dup(stream.fileno())
        environ = {"JOURNAL_STREAM": self.name(descriptor)}
        os.close(descriptor)
        assert not is_journal(environ, descriptor)
