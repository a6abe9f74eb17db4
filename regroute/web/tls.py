"""TLS for the connections that come in: what is spoken, with which certificate, and its ends."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from twisted.internet.interfaces import IHalfCloseableProtocol, IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from ..certificates import ByName, Certificate
from ..metrics.events import Count, Event, uncounted

if TYPE_CHECKING:
    from twisted.internet.interfaces import (
        IDelayedCall,
        IProtocolFactory,
        IReactorTime,
        ITransport,
    )
    from twisted.python.failure import Failure

HANDSHAKE_TIME = 10.0
"""How long a handshake may take, in seconds."""
CLOSE_TIME = 5.0
"""How long a client may take to read the rest and to close as well, in seconds."""
TICKET_KEY_TIME = 24 * 3600.0
"""How long sessions can be resumed that were encrypted with one key, in seconds."""

# Mozilla's intermediate level, without DHE: what knows no ECDHE speaks no TLS 1.2 either, and
# classic Diffie-Hellman costs the server more than all else. For TLS 1.3 OpenSSL has the same
# suites as Mozilla, and so it is with the groups of both versions.
CIPHERS = b":".join(
    b"ECDHE-%s-%s" % (signature, cipher)
    for cipher in (b"AES128-GCM-SHA256", b"AES256-GCM-SHA384", b"CHACHA20-POLY1305")
    for signature in (b"ECDSA", b"RSA")
)
PROTOCOLS = (b"http/1.1", b"http/1.0")


def new_context(certificate: Certificate) -> SSL.Context:
    """The OpenSSL context of a certificate; raises `ValueError` where OpenSSL won't serve it."""
    context = _new_context()
    context.set_alpn_select_callback(_choose_protocol)
    try:
        context.use_certificate(certificate.leaf)
        for issuer in certificate.chain[1:]:
            context.add_extra_chain_cert(issuer)
        context.use_privatekey(certificate.key)
        context.check_privatekey()
    except SSL.Error as error:
        raise ValueError(f"OpenSSL does not take the certificate: {_reason(error)}") from None
    return context


def _new_context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    # The client's order of ciphers counts: it knows what its hardware is good at.
    context.set_cipher_list(CIPHERS)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    # Thousands of idle connections hold no buffers.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    # Sessions are resumed by tickets, which the clients keep.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"regroute")
    return context


def _choose_protocol(connection: SSL.Connection, offered: list[bytes]) -> Any:
    """RFC 7301 §3.2. A client that offers none of ours goes on without: it may speak HTTP/1.1 all
    the same, and the lane's `ssl` knows no other way.
    """
    both = (protocol for protocol in PROTOCOLS if protocol in offered)
    return next(both, SSL.NO_OVERLAPPING_PROTOCOLS)


def _reason(error: SSL.Error) -> str:
    return "; ".join(reason for _, _, reason in error.args[0]) or "for no reason it gives"


class _Connection(SSL.Connection):
    """A connection that keeps the context where it began.

    OpenSSL may ask that one's callback again after the switch to a certificate's context, and
    only the Python object keeps the callback alive.
    """

    def __init__(self, first: SSL.Context) -> None:
        SSL.Connection.__init__(self, first)
        self._first = first


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """The server's side of every new TLS connection.

    All begin in one context without a certificate, and the name that the client asks for moves
    them into the context of one. The keys of session tickets belong to the first context, so that
    sessions outlive the certificates of a reload.
    """

    def __init__(self, certificates: Iterable[Certificate], clock: IReactorTime) -> None:
        self._clock = clock
        self.replace(certificates)
        self._begin()

    def replace(self, certificates: Iterable[Certificate]) -> None:
        """Use these certificates, the first as the default, for what connects from now on.

        Raises `ValueError`, and changes nothing, where OpenSSL does not take one of them.
        """
        self._contexts = ByName((each.names, new_context(each)) for each in certificates)

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """An OpenSSL connection without a peer yet."""
        if self._clock.seconds() >= self._begun + TICKET_KEY_TIME:
            self._begin()
        return _Connection(self._first)

    def _begin(self) -> None:
        self._begun = self._clock.seconds()
        self._first = _new_context()
        self._first.set_tlsext_servername_callback(self._switch)

    def _switch(self, connection: SSL.Connection) -> None:
        """Called for every ClientHello, with a name in it or not."""
        connection.set_context(self._contexts.choose(connection.get_servername()))


@implementer(IHalfCloseableProtocol)
class TLSTransport(TLSMemoryBIOProtocol):
    """TLS between a transport and the protocol it wraps, with deadlines at both ends.

    It writes through at once: twisted's buffering one would lose an answer to a client that sends
    its request and close_notify in one packet.
    """

    factory: TLSFactory
    _deadline: IDelayedCall | None = None
    _is_handshaking = True
    _is_late = False  # the handshake took too long
    _has_ended = False  # the client has closed its half

    def makeConnection(self, transport: ITransport) -> None:
        """Begin the handshake."""
        self._set_deadline(HANDSHAKE_TIME)
        TLSMemoryBIOProtocol.makeConnection(self, transport)

    def dataReceived(self, data: bytes) -> None:
        """Go on with the handshake, or with what was encrypted."""
        TLSMemoryBIOProtocol.dataReceived(self, data)
        self._look_at_handshake()

    def _look_at_handshake(self) -> None:
        """See whether the handshake is done by now."""
        connection = TLSMemoryBIOProtocol.getHandle(self) if self._is_handshaking else None
        if connection is not None and connection.get_peer_finished() is not None:
            self._is_handshaking = False
            self.factory.count(Event.HANDSHAKE_DONE)
            if not self.disconnecting:
                self._set_deadline(None)

    def loseConnection(self) -> None:
        """Send what is written and close_notify, and read on until the client closes as well."""
        if self.connected and not self.disconnecting:
            self._set_deadline(CLOSE_TIME)
        TLSMemoryBIOProtocol.loseConnection(self)
        if self._has_ended and self.transport is not None:
            self.transport.loseConnection()

    def loseWriteConnection(self) -> None:
        """Close our half: TLS has no other end than that (RFC 8446 §6.1)."""
        self.loseConnection()

    def readConnectionLost(self) -> None:
        """The client has closed without close_notify, but may still read its answers."""
        self._has_ended = True
        wrapped = IHalfCloseableProtocol(self.wrappedProtocol, None)
        if wrapped is None:
            self.loseConnection()
        else:
            wrapped.readConnectionLost()

    def writeConnectionLost(self) -> None:
        """Nothing: the transport below is never half closed from this side."""

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The transport is gone."""
        self._set_deadline(None)
        self._look_at_handshake()
        if self._is_handshaking:
            self.factory.count(self._end_of_handshake())
        TLSMemoryBIOProtocol.connectionLost(self, reason)

    def _end_of_handshake(self) -> Event:
        if self._is_late:
            return Event.HANDSHAKE_LATE
        why: Failure | None = self._reason
        is_fault = why is not None and why.check(SSL.ZeroReturnError) is None
        return Event.HANDSHAKE_FAILED if is_fault else Event.HANDSHAKE_LEFT

    def _time_out(self) -> None:
        if self._is_handshaking:
            self._is_late = True
        else:
            self.factory.count(Event.LINGER)
        TLSMemoryBIOProtocol.abortConnection(self)

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        later = self.factory.clock.callLater
        self._deadline = None if seconds is None else later(seconds, self._time_out)


class TLSFactory(TLSMemoryBIOFactory):
    """Wraps the connections of a factory in TLS."""

    protocol = TLSTransport

    def __init__(
        self,
        tls: ServerTLS,
        wrapped: IProtocolFactory,
        clock: IReactorTime,
        count: Count = uncounted,
    ) -> None:
        TLSMemoryBIOFactory.__init__(self, tls, False, wrapped, clock)
        self.clock = clock
        self.count = count
