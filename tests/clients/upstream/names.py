"""TLS for several names, each with its certificate alone."""

from collections.abc import Mapping

from OpenSSL.SSL import TLS_SERVER_METHOD, Connection, Context
from twisted.internet.interfaces import IOpenSSLContextFactory
from zope.interface import implementer


@implementer(IOpenSSLContextFactory)
class ByName:
    """Chooses the certificate by the name that the client asks for (SNI, RFC 6066 §3).

    A client that asks for no name or for another gets none, and no connection."""

    def __init__(self, certificates: Mapping[str, tuple[str, str]]) -> None:
        self._contexts = {name: _context(*pair) for name, pair in certificates.items()}
        self._nameless = Context(TLS_SERVER_METHOD)
        self._nameless.set_tlsext_servername_callback(self._choose)

    def getContext(self) -> Context:
        return self._nameless

    def _choose(self, connection: Connection) -> None:
        name = connection.get_servername()
        context = None if name is None else self._contexts.get(name.decode())
        if context is not None:
            connection.set_context(context)


def _context(certificate: str, key: str) -> Context:
    context = Context(TLS_SERVER_METHOD)
    context.use_certificate_chain_file(certificate)
    context.use_privatekey_file(key)
    return context
