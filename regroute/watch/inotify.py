"""Names in directories, watched by Linux (inotify(7))."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeAlias

from inotify_simple import INotify, flags  # type: ignore[import-untyped]  # it has no types
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

Names: TypeAlias = Mapping[str, set[str]]
"""Directories, and the names in each that matter."""

_OF_NAMES = (
    flags.CLOSE_WRITE
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | flags.CREATE
    | flags.DELETE
    | flags.ATTRIB  # what could not be read may be readable now
)
_OF_ITSELF = flags.DELETE_SELF | flags.MOVE_SELF | flags.UNMOUNT | flags.Q_OVERFLOW
_MASK = _OF_NAMES | flags.DELETE_SELF | flags.MOVE_SELF | flags.ONLYDIR | flags.EXCL_UNLINK


@implementer(IReadDescriptor)
class Directories:
    """Calls `hear` when something happens to one of the names that it watches.

    Raises `OSError` where there is no more of it to be had: EMFILE by fs.inotify.max_user_instances
    or the process's own limit.
    """

    def __init__(self, hear: Callable[[], object], reactor: IReactorFDSet) -> None:
        self._hear = hear
        self._reactor = reactor
        self._inotify = INotify(nonblocking=True)
        self._names: dict[int, set[str]] = {}
        reactor.addReader(self)

    def watch(self, names: Names) -> dict[str, OSError]:
        """Watch these, and nothing else; gives the directories that cannot be, with the reason.

        A directory is looked up anew by its path, for another one may have taken its place. ENOSPC
        is fs.inotify.max_user_watches.
        """
        failed: dict[str, OSError] = {}
        watched: dict[int, set[str]] = {}
        for directory, wanted in names.items():
            try:
                descriptor = self._inotify.add_watch(directory, _MASK)
            except OSError as error:
                failed[directory] = error
            else:
                # One directory may have two paths.
                watched.setdefault(descriptor, set()).update(wanted)
        for descriptor in self._names.keys() - watched.keys():
            # The kernel has dropped it itself where its directory is gone.
            with suppress(OSError):
                self._inotify.rm_watch(descriptor)
        self._names = watched
        return failed

    def close(self) -> None:
        """Watch no more."""
        self._reactor.removeReader(self)
        self._inotify.close()

    def doRead(self) -> None:
        """Read what has happened."""
        if any(self._matters(*event) for event in self._inotify.read(timeout=0)):
            self._hear()

    def _matters(self, descriptor: int, mask: int, cookie: int, name: str) -> bool:
        if mask & flags.Q_OVERFLOW:
            return True
        names = self._names.get(descriptor)
        return names is not None and (bool(mask & _OF_ITSELF) or name in names)

    def fileno(self) -> int:
        """The descriptor that the reactor waits for."""
        number: int = self._inotify.fileno()
        return number

    def logPrefix(self) -> str:
        """The name in Twisted's log."""
        return "regroute"

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008  # as in Twisted's own interface
        """The reactor has ended."""
        self._inotify.close()
