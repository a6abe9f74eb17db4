"""What becomes of an entry: the access log in force, how it is written and where to; and counts."""

from functools import partial
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime

from ..check import Checked
from ..config.faults import Faulty
from ..config.schema import LogFile
from ..metrics.events import Event
from ..metrics.tally import Tally
from ..networks.spans import Address
from ..starting import CannotStart
from .access_log import Again, Entry, Template, line_of, line_template
from .lines import Lines, NoLines
from .outlets import open_file, open_stdout

Sink = Lines | NoLines


def _nothing(time: float, client: Address | str | None, microseconds: int) -> None:
    """Where nothing is recorded."""


class Recorder(Service):
    """Records an entry for each answer: a line in the log, a count in `tally`, both or neither.

    `base` is where relative file names begin.
    """

    def __init__(
        self, checked: Checked, base: Path, reactor: IReactorTime, tally: Tally | None = None
    ) -> None:
        self.is_counting = False
        """Whether requests are counted from now on; what `remember` has told holds as it was."""
        self._checked = checked
        self._base = base
        self._reactor = reactor
        self._tally = tally
        self._sink: Sink = NoLines()
        self._template: Template | None = None

    @property
    def is_recording(self) -> bool:
        """Whether entries are written or counted at all."""
        return self._template is not None or self._counts is not None

    @property
    def _counts(self) -> Tally | None:
        return self._tally if self.is_counting else None

    def record(self, entry: Entry) -> None:
        """Write an entry down and count it; never waits and never fails."""
        if self._counts is not None:
            self._counts.record(entry)
        if self._template is not None:
            self._sink.write(line_of(entry, self._template))

    def remember(self, entry: Entry) -> Again:
        """How to record entries that are equal to `entry` in all but time, client and duration.

        Until the next reload.
        """
        count = _nothing if self._counts is None else self._counts.remember(entry)
        if self._template is None:
            return count
        fill, write = self._template(entry), self._sink.write

        def log(time: float, client: Address | str | None, microseconds: int) -> None:
            write(fill(time, client, microseconds))

        def both(time: float, client: Address | str | None, microseconds: int) -> None:
            count(time, client, microseconds)
            write(fill(time, client, microseconds))

        return log if self._counts is None else both

    def startService(self) -> None:
        """Open the log; exits with a message where that fails."""
        Service.startService(self)
        try:
            self.apply(self._checked, self.open(self._checked))
        except Faulty as faulty:
            raise CannotStart(str(faulty)) from None

    def open(self, checked: Checked) -> Sink | None:
        """Open what `checked` records to, if that is not the log in force; raises `Faulty`."""
        where = checked.config.access_log
        if self._template is not None and where == self._checked.config.access_log:
            return None
        match where:
            case "none":
                return NoLines()
            case LogFile(path=path):
                file = str(self._base / path)
                sink = Lines(partial(open_file, file), file, self._reactor, self._lose)
            case _:
                sink = Lines(open_stdout, "standard output", self._reactor, self._lose)
        try:
            sink.open()
        except OSError as error:
            message = f"cannot open the access log: {error.strerror}"
            raise Faulty([checked.source.fault(("access_log", "path"), message)]) from None
        return sink

    def _lose(self, lines: int) -> None:
        if self._tally is not None:
            self._tally.count(Event.LINE_LOST, lines)

    def apply(self, checked: Checked, opened: Sink | None) -> None:
        """Record as `checked` says, to what `open` has opened for it. Cannot fail."""
        self._checked = checked
        if opened is None:
            return
        before, self._sink = self._sink, opened
        maybeDeferred(before.stopService)
        opened.startService()
        match checked.config.access_log:
            case "none":
                self._template = None
            case LogFile(format=layout, client=shown):
                self._template = line_template(layout, shown)
            case _:
                self._template = line_template("json", "full")

    def reopen(self) -> None:
        """Go on in the file that has the log's name now: the old one has been moved away."""
        self._sink.reopen()

    def stopService(self) -> Deferred[None]:
        """Write what is left and close."""
        Service.stopService(self)
        return maybeDeferred(self._sink.stopService).addCallback(lambda _: None)
