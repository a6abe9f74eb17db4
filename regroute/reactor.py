"""What the daemon needs of a reactor, by Twisted's own interfaces; one reactor has them all."""

from twisted.internet.interfaces import (
    IReactorCore,
    IReactorFromThreads,
    IReactorSocket,
    IReactorTime,
)


class Reactor(IReactorCore, IReactorFromThreads, IReactorSocket, IReactorTime):
    """The interfaces together."""
