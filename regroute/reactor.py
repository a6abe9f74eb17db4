"""What the daemon needs of a reactor, by Twisted's own interfaces; one reactor has them all."""

from twisted.internet.interfaces import (
    IReactorCore,
    IReactorFDSet,
    IReactorFromThreads,
    IReactorProcess,
    IReactorSocket,
    IReactorTime,
)


class Reactor(
    IReactorCore,
    IReactorFDSet,
    IReactorFromThreads,
    IReactorProcess,
    IReactorSocket,
    IReactorTime,
):
    """The interfaces together."""
