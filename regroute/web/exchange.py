"""What a connection and the one who answers a request over time have to say to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..answers import Fields
    from ..logs.access_log import Again, Entry


class Exchange(Protocol):
    """Answers one request over time, with its body as it comes."""

    def begin(self) -> None:
        """The request's head has come."""

    def take(self, content: bytes) -> None:
        """Take a part of its body."""

    def end(self, trailers: Fields) -> None:
        """The body is whole, or there is none."""

    def pause(self) -> None:
        """The client does not take its answer."""

    def resume(self) -> None:
        """The client has taken all of it so far."""

    def lose(self) -> bool:
        """Nobody waits for the answer any more; whether it had begun."""


class Asking(Protocol):
    """The client's end of an exchange."""

    @property
    def may_persist(self) -> bool:
        """Whether the connection may go on after the answer."""

    @property
    def is_recording(self) -> bool:
        """Whether answers are recorded."""

    @property
    def is_secure(self) -> bool:
        """Whether the client speaks TLS with us."""

    def hold_body(self) -> None:
        """Give no more of the body on."""

    def resume_body(self) -> None:
        """Go on with the body."""

    def send(self, data: bytes) -> None:
        """Send a part of the answer."""

    def finish(self, *, persists: bool) -> None:
        """The answer is sent to its end."""

    def break_off(self) -> None:
        """The answer cannot be sent to its end."""

    def remember(self, entry: Entry) -> Again:
        """How to record an answer, this time and until the next reload."""
