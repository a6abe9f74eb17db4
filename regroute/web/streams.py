"""Sockets that never wait, plain and with TLS: what the lane and its transports read and write."""

import errno
import socket
import ssl
import struct
from contextlib import suppress
from typing import Protocol

from ..metrics.events import Count, Event

RECEIVE = 64 * 1024
"""How many bytes are taken from a plain socket at once."""
PORTION = 4096
"""How many, where they are work to read: others are to get their turn in between."""
RECORD = 16 * 1024
"""How many bytes a TLS record has at the most (RFC 8446 §5.1)."""
EOF = b""

_DONTWAIT = socket.MSG_DONTWAIT
# On, and for no time.
_NO_LINGER = struct.pack("ii", 1, 0)


class Stream(Protocol):
    """A plain or TLS socket that never waits: it raises `BlockingIOError` instead.

    `has_ended` says that no more bytes come after those that `receive` has given; `is_cut_off` that
    the peer has not said so, and somebody in between may have; `is_clogged` that bytes that `send`
    has taken wait for `flush`.
    """

    has_ended: bool
    is_cut_off: bool
    is_clogged: bool

    def fileno(self) -> int: ...
    def receive(self, size: int = RECEIVE) -> bytes:
        """Bytes that have come, about so many at the most; none at the stream's end.

        Raises `OSError`.
        """

    def send(self, data: bytes) -> int:
        """How many of the bytes have been taken. Raises `OSError`."""

    def flush(self) -> None:
        """Send what has been taken, as far as it goes. Raises `OSError`."""

    def shut(self) -> None:
        """Close our half. Raises `OSError`."""

    def close(self) -> None: ...
    def reset(self) -> None:
        """Close, and let the peer know that not all may have come."""


class Plain:
    """A plain TCP socket."""

    has_ended = False
    is_cut_off = False
    is_clogged = False

    def __init__(self, plain: socket.socket) -> None:
        self.fileno = plain.fileno
        self.close = plain.close
        self._socket = plain

    def receive(self, size: int = RECEIVE) -> bytes:
        """Bytes that have come."""
        return self._socket.recv(size, _DONTWAIT)

    def send(self, data: bytes) -> int:
        """How many of the bytes have been sent."""
        return self._socket.send(data, _DONTWAIT)

    def flush(self) -> None:
        """Nothing: what has been taken is sent."""

    def shut(self) -> None:
        """Close our half."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close; the peer gets a reset."""
        _reset(self._socket)


class Encrypted:
    """TLS on a socket, with memory in between: a record is read with one call of the kernel.

    We are the server, unless there is a `server_name` that we expect of the peer.
    """

    def __init__(
        self,
        accepted: socket.socket,
        context: ssl.SSLContext,
        count: Count,
        server_name: str | None = None,
    ) -> None:
        self.has_ended = False
        self.is_cut_off = False
        self.is_clogged = False
        self.is_handshaking = True
        self.fileno = accepted.fileno
        self._count = count
        self._is_counted = False
        self._socket = accepted
        self._incoming = ssl.MemoryBIO()
        outgoing = ssl.MemoryBIO()
        is_server = server_name is None
        self._tls = context.wrap_bio(self._incoming, outgoing, is_server, server_name)
        self._unsent = b""
        # Each is called for every request.
        self._from_socket, self._to_socket = accepted.recv, accepted.send
        self._decrypt, self._encrypt = self._tls.read, self._tls.write
        self._feed, self._drain = self._incoming.write, outgoing.read

    def shake_hands(self) -> None:
        """Go a step further in a handshake that we begin; raises `OSError`."""
        try:
            raw = self._from_socket(RECORD, _DONTWAIT)
        except BlockingIOError:
            pass
        else:
            if not raw:
                raise ConnectionAbortedError(errno.ECONNABORTED, "it closes in the TLS handshake")
            self._feed(raw)
        try:
            self._tls.do_handshake()
            self.is_handshaking = False
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            # The alert that says what is wrong.
            self.flush()
            raise
        self.flush()
        if not self.is_handshaking and (self._read_rest() or self.has_ended):
            raise ConnectionAbortedError(errno.ECONNABORTED, "it speaks before it is asked")

    def receive(self, size: int = RECEIVE, flags: int = _DONTWAIT) -> bytes:
        """Bytes that have come, all of them: none may stay behind unseen."""
        if self.has_ended:
            return EOF
        raw = self._from_socket(size, flags)
        if not raw:
            self.is_cut_off = True
            return EOF
        self._feed(raw)
        try:
            if self.is_handshaking:
                self._tls.do_handshake()
                self.is_handshaking = False
                self.end_handshake(Event.HANDSHAKE_DONE)
                self.flush()
            data = self._decrypt(RECORD)
        except ssl.SSLWantReadError:
            # Our part of the handshake, or what is to be said to the client's new keys.
            self.flush()
            raise BlockingIOError from None
        except ssl.SSLZeroReturnError:
            return EOF
        except ssl.SSLError:
            self.end_handshake(Event.HANDSHAKE_FAILED)
            # The alert that says what is wrong.
            self.flush()
            raise ConnectionAbortedError from None
        return data + self._read_rest() if self._incoming.pending else data

    def _read_rest(self) -> bytes:
        data = b""
        try:
            while more := self._decrypt(RECORD):
                data += more
            # close_notify.
            self.has_ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            # What nobody can read: there is no more that counts.
            self.has_ended = self.is_cut_off = True
        return data

    def send(self, data: bytes, flags: int = _DONTWAIT) -> int:
        """Encrypt and send; all is taken, unless something waits already."""
        if self.is_clogged:
            self.flush()
            if self.is_clogged:
                raise BlockingIOError
        try:
            self._encrypt(data)
        except ssl.SSLError:
            raise ConnectionAbortedError from None
        encrypted = self._drain()
        try:
            sent = self._to_socket(encrypted, flags)
        except BlockingIOError:
            sent = 0
        if sent != len(encrypted):
            self._unsent = encrypted[sent:]
            self.is_clogged = True
        return len(data)

    def flush(self) -> None:
        """Send what is encrypted, as far as it goes."""
        self._unsent += self._drain()
        if not self._unsent:
            return
        try:
            sent = self._to_socket(self._unsent, _DONTWAIT)
        except BlockingIOError:
            sent = 0
        self._unsent = self._unsent[sent:]
        self.is_clogged = bool(self._unsent)

    def shut(self) -> None:
        """Send close_notify (RFC 8446 §6.1)."""
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        self.flush()

    def close(self) -> None:
        """Close the socket."""
        self.end_handshake(Event.HANDSHAKE_LEFT)
        self._socket.close()

    def reset(self) -> None:
        """Close; the peer gets a reset."""
        self.end_handshake(Event.HANDSHAKE_LEFT)
        _reset(self._socket)

    def end_handshake(self, outcome: Event) -> None:
        """Count how the handshake has ended: what is told first holds."""
        if not self._is_counted:
            self._is_counted = True
            self._count(outcome)


def _reset(connected: socket.socket) -> None:
    with suppress(OSError):
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    connected.close()
