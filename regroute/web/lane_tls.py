"""TLS for the lane, by the standard library's `ssl`: half the cost of pyOpenSSL a request.

It speaks as `tls` does, with the same certificates, versions and ciphers; Twisted's own TLS, which
serves where there is no lane, can only work with pyOpenSSL.
"""

import os
import ssl
import sys
from collections.abc import Callable, Iterable
from typing import TypeAlias

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.interfaces import IReactorTime

from ..certificates import ByName, Certificate
from .tls import CIPHERS, PROTOCOLS, TICKET_KEY_TIME

UnraisableHook: TypeAlias = Callable[["sys.UnraisableHookArgs"], object]


def without_server_names(hook: UnraisableHook) -> UnraisableHook:
    """A hook that keeps quiet about names which are no ASCII, as anyone may send them.

    `ssl` answers those with an alert, and would print a traceback for each.
    """

    def quiet(unraisable: "sys.UnraisableHookArgs") -> None:
        is_name = isinstance(unraisable.object, bytes)
        if not (is_name and isinstance(unraisable.exc_value, UnicodeDecodeError)):
            hook(unraisable)

    return quiet


class LaneTLS:
    """The server's side of new TLS connections in the lane; see `tls.ServerTLS`."""

    def __init__(self, certificates: Iterable[Certificate], clock: IReactorTime) -> None:
        self._clock = clock
        self.replace(certificates)
        self._begin()

    def replace(self, certificates: Iterable[Certificate]) -> None:
        """Use these certificates, the first as the default, for what connects from now on."""
        self._contexts = ByName((each.names, certified(each)) for each in certificates)

    def context(self) -> ssl.SSLContext:
        """Where a connection begins. It has the keys of session tickets, which outlive a reload."""
        if self._clock.seconds() >= self._begun + TICKET_KEY_TIME:
            self._begin()
        return self._first

    def _begin(self) -> None:
        self._begun = self._clock.seconds()
        self._first = _new_context()
        self._first.sni_callback = self._switch

    def _switch(self, tls: ssl.SSLObject, name: str | None, first: ssl.SSLContext) -> None:
        """Called for every ClientHello, with a name in it or not."""
        tls.context = self._contexts.choose(name.encode() if name else None)


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS.decode("ascii"))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([protocol.decode("ascii") for protocol in PROTOCOLS])
    return context


def certified(certificate: Certificate) -> ssl.SSLContext:
    """A context with a certificate, which `ssl` reads from a file: here, one in memory.

    Raises `ValueError` where OpenSSL does not take it; the two libraries may have two of them.
    """
    context = _new_context()
    descriptor = os.memfd_create("regroute-certificate")
    try:
        for issuer in certificate.chain:
            os.write(descriptor, issuer.public_bytes(Encoding.PEM))
        os.write(
            descriptor,
            certificate.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except ssl.SSLError as error:
        raise ValueError(f"OpenSSL does not take the certificate: {error.reason}") from None
    finally:
        os.close(descriptor)
    return context
