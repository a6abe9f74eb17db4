"""``watch: true``: the configuration is reloaded when what the last load has read is different now.

What happens in the directories is only the occasion to look: the content of the files decides. So
one change is one reload, however many steps it took, and what editors and loggers leave beside the
files is none.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Protocol, TypeAlias

from twisted.application.service import Service
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..load import Contents, look
from ..reactor import Reactor
from .hops import entries, hops
from .inotify import Directories, Names

QUIET_TIME = 0.2
"""How long nothing must happen before the files are looked at, in seconds."""
LONGEST_TIME = 1.0
"""How long that may be put off by what goes on happening, in seconds."""
SETTLE_TIME = 1.0
"""How long a file that was there may be missing, and how long the files may differ from one look to
the next, before they are taken as they are, in seconds: some programs remove a file before they
write it anew, and some write slowly."""

_LIMITS = {
    errno.EMFILE: "raise the sysctl fs.inotify.max_user_instances",
    errno.ENOSPC: "raise the sysctl fs.inotify.max_user_watches",
}
_MOST_TRIES = 5

_log = Logger()


class Notifier(Protocol):
    """Watches names in directories."""

    def watch(self, names: Names) -> dict[str, OSError]:
        """Watch these and nothing else; gives those that cannot be."""

    def close(self) -> None:
        """Watch no more."""


NewNotifier: TypeAlias = Callable[[Callable[[], object], Reactor], Notifier]


class Watch(Service):
    """Calls `reload` when the files are no longer as the last load has read them.

    `is_wanted` says what the configuration in force says; `files` gives what the last load has
    read, faulty or not. A Deferred that `reload` returns is waited for. `follow` must be called
    after every load, whoever has asked for it.
    """

    def __init__(
        self,
        is_wanted: Callable[[], bool],
        files: Callable[[], Contents],
        reload: Callable[[], object],
        reactor: Reactor,
        new_notifier: NewNotifier = Directories,
    ) -> None:
        self._is_wanted = is_wanted
        self._files = files
        self._reload = reload
        self._reactor = reactor
        self._new_notifier = new_notifier
        self._notifier: Notifier | None = None
        self._look_call: IDelayedCall | None = None
        self._moved_since: float | None = None  # when what goes on has begun
        self._seen: Contents | None = None  # what was different the last time
        self._unsettled_since: float | None = None
        self._is_reloading = False
        self._complaints: set[str] = set()

    def startService(self) -> None:
        """Begin to watch, if that is wanted."""
        Service.startService(self)
        self.follow()

    def stopService(self) -> None:
        """Watch no more."""
        Service.stopService(self)
        self._end()

    def follow(self) -> None:
        """Go by what the last load has read, and by the configuration in force."""
        if not self.running or not self._is_wanted():
            self._end()
            return
        if self._notifier is None:
            try:
                self._notifier = self._new_notifier(self.hear, self._reactor)
            except OSError as error:
                self._complain("nothing is watched", error)
                return
        # What has changed since the load has read it was nobody's occasion yet.
        self.hear()
        self._renew()

    def _end(self) -> None:
        if self._notifier is not None:
            self._notifier.close()
            self._notifier = None
        self._put_off(None)
        self._moved_since = None
        self._settle()
        self._complaints.clear()

    def hear(self) -> None:
        """Something has happened: look when it is over."""
        if self._unsettled_since is not None:
            # It is looked at again and again.
            return
        now = self._reactor.seconds()
        if self._moved_since is None:
            self._moved_since = now
        self._put_off(min(QUIET_TIME, self._moved_since + LONGEST_TIME - now))

    def _put_off(self, seconds: float | None) -> None:
        if self._look_call is not None and self._look_call.active():
            self._look_call.cancel()
        later = self._reactor.callLater
        self._look_call = None if seconds is None else later(max(seconds, 0.0), self._look)

    def _look(self) -> None:
        self._moved_since = None
        if self._is_reloading:
            return
        # Before the files are read: what happens from here on is another occasion.
        self._renew()
        known = self._files()
        found = look(known)
        if found == known:
            self._settle()
        elif not self._is_settling(known, found):
            self._settle()
            self._is_reloading = True
            maybeDeferred(self._reload).addErrback(_log_failure).addCallback(self._go_on)

    def _is_settling(self, known: Contents, found: Contents) -> bool:
        """Whether someone may be in the midst of changing the files; then they are seen again."""
        is_there = all(found[path] is not None or known[path] is None for path in known)
        is_at_rest = found == self._seen
        self._seen = found
        now = self._reactor.seconds()
        if self._unsettled_since is None:
            self._unsettled_since = now
        rest = self._unsettled_since + SETTLE_TIME - now
        if rest <= 0 or (is_there and is_at_rest):
            return False
        self._put_off(min(QUIET_TIME, rest))
        return True

    def _settle(self) -> None:
        self._seen = self._unsettled_since = None

    def _go_on(self, result: object) -> None:
        self._is_reloading = False
        if self._notifier is not None:
            # What has happened meanwhile has not been looked at.
            self.hear()

    def _renew(self) -> None:
        """Watch the names that lead to the files now: directories and links get replaced."""
        if self._notifier is None:
            return
        watched: dict[str, set[str]] | None = None
        for _ in range(_MOST_TRIES):
            wanted = entries(self._files())
            if wanted == watched:
                # No link has been changed before it was watched.
                break
            watched = wanted
            self._complain_of(self._notifier.watch(wanted))

    def _complain_of(self, failed: dict[str, OSError]) -> None:
        homes = {hop[0] for path in self._files() for hop in [*hops(path)][-1:]}
        for directory, error in failed.items():
            if error.errno in _LIMITS:
                self._complain("not everything is watched", error)
            elif error.errno == errno.EACCES and directory in homes:
                # Far above the file, only someone with more rights than the daemon's moves things.
                self._complain(f"{directory} is not watched", error)
            # What is not there yet is seen to come by the watch on who is above it.

    def _complain(self, what: str, error: OSError) -> None:
        """Say once what the daemon goes on without."""
        hint = _LIMITS.get(error.errno or 0, "changes there take a SIGHUP")
        message = f"watch: {what}: {error.strerror}: {hint}"
        if message not in self._complaints:
            self._complaints.add(message)
            _log.warn("{message}", message=message)


def _log_failure(failure: Failure) -> None:
    _log.failure("watch: the reload has failed", failure)
