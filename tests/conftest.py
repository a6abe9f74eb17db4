"""What all tests share: no skip goes unnoticed where skips are forbidden; what is logged."""

import signal
from collections.abc import Iterator
from types import FrameType

import pytest
from hypothesis import settings
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

settings.register_profile("regroute", deadline=None, print_blob=True)
settings.load_profile("regroute")


# A shell's job in the background, and all that it starts, has SIGINT ignored. Here it means a stop.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--forbid-skips", action="store_true", help="fail where a test is skipped")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail the run for tests that were skipped, where every one is due to run."""
    if not session.config.getoption("--forbid-skips"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if reporter and skipped and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"skips are forbidden here: {len(skipped)} skipped", red=True)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """The lines that are logged while a test runs."""
    lines: list[str] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        lines.append(f"{event['log_level'].name}: {formatEvent(event)}")

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


@pytest.fixture(scope="session")
def interruptible() -> Iterator[None]:
    """SIGTERM ends the tests as ^C does, so that what they built is taken down."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    yield
    signal.signal(signal.SIGTERM, before)
