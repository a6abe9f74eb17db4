"""TLS in memory: a client of the standard library's, and the server's side on a wire of the test's.

OpenSSL is on both ends, but not the same one: `ssl` has Python's, the server has cryptography's.
"""

import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Self, TypeVar

from cryptography import x509
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProtocolFactory,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from regroute.metrics.events import Count, uncounted
from regroute.web.tls import ServerTLS, TLSFactory, TLSTransport

from ..issuers import Issuer, pem

_T = TypeVar("_T")

CLIENT_HELLO_TLS_1_1 = bytes.fromhex("160302002f0100002b0302" + "5a" * 32 + "000004c013002f0100")
"""A record with a ClientHello whose last word is TLS 1.1: a client may not have it any more."""


@implementer(IHandshakeListener)
class Application(Protocol):
    """What TLS carries: it writes down what happens, and answers every request at once."""

    def __init__(self) -> None:
        self.seen: list[bytes | str] = []

    def connectionMade(self) -> None:
        self.seen.append("made")

    def handshakeCompleted(self) -> None:
        self.seen.append("handshake")

    def dataReceived(self, data: bytes) -> None:
        self.seen.append(data)
        self.write(b"answer to " + data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.seen.append("lost")

    def write(self, data: bytes) -> None:
        """Send something."""
        assert self.transport is not None
        self.transport.write(data)

    def lose(self) -> None:
        """End the connection."""
        assert self.transport is not None
        self.transport.loseConnection()


@implementer(IHalfCloseableProtocol)
class LateApplication(Application):
    """It has something to say when the client has ended, and ends then."""

    def readConnectionLost(self) -> None:
        self.seen.append("ended")
        self.write(b"late")
        self.lose()

    def writeConnectionLost(self) -> None:
        raise AssertionError("TLS never half-closes the wire")


def trust(issuer: Issuer, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """What a client believes; it takes certificates for any name, to see which one it gets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem(issuer.certificate).decode("ascii"))
    context.check_hostname = False
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def accept(
    tls: ServerTLS,
    clock: Clock,
    application: type[Application] = Application,
    count: Count = uncounted,
) -> TLSTransport:
    """The server's side of a connection that has just been accepted."""
    factory: IProtocolFactory = Factory.forProtocol(application)
    server = TLSFactory(tls, factory, clock, count).buildProtocol(None)
    assert isinstance(server, TLSTransport)
    server.makeConnection(StringTransport(lenient=True))
    return server


class TLSClient:
    """A client's TLS in memory; `pump` moves its bytes to the server and back."""

    tls: ssl.SSLObject

    def __init__(
        self, context: ssl.SSLContext, name: str | None, session: ssl.SSLSession | None
    ) -> None:
        self._in: ssl.MemoryBIO = ssl.MemoryBIO()
        self._out: ssl.MemoryBIO = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname=name, session=session)

    def pump(self) -> bool:
        """Move what is there in both directions; false if there was nothing."""
        raise NotImplementedError

    def do(self, act: Callable[[], _T]) -> _T:
        """Do something, and move bytes to and fro until it is done."""
        while True:
            try:
                return act()
            except ssl.SSLWantReadError:
                if not self.pump():
                    raise

    def shake_hands(self) -> Self:
        """Take the handshake to its end, session tickets included."""
        self.do(self.tls.do_handshake)
        self.pump()
        return self

    def out(self) -> bytes:
        """What the client has to send."""
        return self._out.read()

    def shown(self) -> list[str]:
        """The names of the certificate that the server has shown."""
        encoded = self.tls.getpeercert(binary_form=True)
        assert encoded is not None
        extensions = x509.load_der_x509_certificate(encoded).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.DNSName)


class Client(TLSClient):
    """A client at the other end of a server's wire."""

    wire: StringTransport
    application: Application

    def __init__(
        self,
        server: TLSTransport,
        context: ssl.SSLContext,
        name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.server = server
        assert isinstance(server.transport, StringTransport)
        assert isinstance(server.wrappedProtocol, Application)
        self.wire, self.application = server.transport, server.wrappedProtocol
        super().__init__(context, name, session)

    def ask(self, data: bytes) -> bytes:
        """Send something, and take what comes back."""
        self.tls.write(data)
        return self.do(lambda: self.tls.read(1000))

    def pump(self) -> bool:
        """Move what is there in both directions; false if there was nothing."""
        sent = self.out()
        if sent:
            self.server.dataReceived(sent)
        received: bytes = self.wire.value()
        self.wire.clear()
        self._in.write(received)
        return bool(sent or received)

    def close_notify(self) -> bytes:
        """Close the client's half; the bytes to send, with all that was written before."""
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.out()

    def hang_up(self) -> None:
        """Let the wire be gone."""
        self.server.connectionLost(Failure(ConnectionDone()))
