"""Certificates for TLS: PEM in, values whose parts fit together out, and which one a name gets."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Generic, TypeVar

import idna
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import PublicKeyAlgorithmOID

PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)

_CURVES = ("secp256r1", "secp384r1", "secp521r1")  # RFC 8446 §4.2.3 has signatures for no others
_RSA_BITS = 2048  # OpenSSL serves with no less, and no client would take it
_WHAT_TO_DO = "have a certificate for an ECDSA P-256 key, or RSA of 2048 bits or more"

_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")  # RFC 7468 §2

_T = TypeVar("_T")


@dataclass(frozen=True)
class Certificate:
    """A server's certificate, its issuers in order, and its private key."""

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey = field(repr=False, compare=False)
    names: tuple[str, ...]
    """The DNS names that it is good for, in lower case; some may begin with ``*.``."""

    @property
    def leaf(self) -> x509.Certificate:
        """The server's own certificate."""
        return self.chain[0]

    @property
    def expires(self) -> datetime:
        """When clients stop to believe it."""
        return self.leaf.not_valid_after_utc

    def warnings(self, now: datetime) -> list[str]:
        """What clients will mind, though it can be served."""
        return [
            *(warning for each in self.chain for warning in _validity_warnings(each, now)),
            *_name_warnings(self.leaf),
        ]


def read_chain(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a chain file, the server's own first; raises `ValueError`."""
    chain = _load_certificates(pem)
    for certificate in chain:
        _check_signature(certificate)
    for position, (certificate, issuer) in enumerate(pairwise(chain), start=2):
        if not _has_signed(issuer, certificate):
            raise ValueError(
                f"certificate {position} of the file ({_subject(issuer)}) did not sign the one "
                f"before it ({_subject(certificate)}): put the server's own certificate first, "
                "then its issuer, then that one's issuer, and nothing else"
            )
    return tuple(chain)


def _load_certificates(pem: bytes) -> list[x509.Certificate]:
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except (ValueError, x509.InvalidVersion):
        raise ValueError(_describe(pem, b"CERTIFICATE")) from None
    if len(certificates) < _count(pem, b"CERTIFICATE"):
        # A file that is cut short is read up to its last whole certificate.
        raise ValueError(_describe(pem, b"CERTIFICATE"))
    return certificates


def read_authorities(pem: bytes) -> str:
    """The PEM text of certificates of authorities; raises `ValueError` if there is none in it."""
    _load_certificates(pem)
    return pem.decode("ascii", "replace")


def read_key(pem: bytes) -> PrivateKey:
    """The private key of a key file; raises `ValueError`."""
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError(
            "the key is encrypted, and nobody is there to type its password: "
            "write it without one (openssl pkey -in KEY -out PLAIN)"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(_describe(pem, b"PRIVATE KEY")) from None
    match key:
        case rsa.RSAPrivateKey() if key.key_size < _RSA_BITS:
            raise ValueError(f"an RSA key of {key.key_size} bits is too short: {_WHAT_TO_DO}")
        case ec.EllipticCurvePrivateKey() if key.curve.name not in _CURVES:
            raise ValueError(f"TLS has no use for keys of {key.curve.name}: {_WHAT_TO_DO}")
        case (
            rsa.RSAPrivateKey()
            | ec.EllipticCurvePrivateKey()
            | ed25519.Ed25519PrivateKey()
            | ed448.Ed448PrivateKey()
        ):
            return key
    raise ValueError(f"a key of this type cannot serve TLS: {_WHAT_TO_DO}")


def join(chain: tuple[x509.Certificate, ...], key: PrivateKey) -> Certificate:
    """A certificate with its key; raises `ValueError` where the key is not its own."""
    leaf = chain[0]
    if leaf.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
        raise ValueError(f"a certificate for an RSA-PSS key is not supported: {_WHAT_TO_DO}")
    if not _fits(leaf, key):
        raise ValueError(
            f"the key does not fit its certificate ({_subject(leaf)}): "
            "give the key that the certificate was requested with"
        )
    return Certificate(chain, key, _read_names(leaf))


class ByName(Generic[_T]):
    """Something for every name that a client can ask for (RFC 6066 §3).

    An exact name comes before a wildcard, and what is listed first before what comes later. The
    very first is for clients that ask for an unknown name or for none.
    """

    def __init__(self, entries: Iterable[tuple[Iterable[str], _T]]) -> None:
        exact: dict[str, _T] = {}
        parents: dict[str, _T] = {}
        values = []
        for names, value in entries:
            values.append(value)
            for name in names:
                bare = name.removesuffix(".")
                head, _, parent = bare.partition(".")
                if head == "*" and parent:
                    parents.setdefault(parent, value)
                elif bare:
                    exact.setdefault(bare, value)
        self._exact: Mapping[str, _T] = exact
        self._parents: Mapping[str, _T] = parents
        self._default = values[0]

    def choose(self, asked: bytes | None) -> _T:
        """The entry for a name as a client sent it; never raises."""
        name = _read_asked(asked or b"")
        if name in self._exact:
            return self._exact[name]
        head, dot, parent = name.partition(".")
        if head and dot:
            # RFC 9525 §6.3: one label, whatever it is; A-labels as well.
            return self._parents.get(parent, self._default)
        return self._default


def _read_asked(asked: bytes) -> str:
    """A name as certificates have it: A-labels in lower case, without the root's dot."""
    try:
        name = asked.decode("utf-8").lower().removesuffix(".")
        # Clients send A-labels; one that sends the Unicode of a name means the same.
        return name if name.isascii() else idna.encode(name).decode("ascii")
    except UnicodeError:
        return ""


def _read_names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        names = _alternative_names(leaf).get_values_for_type(x509.DNSName)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(f"the certificate's extensions cannot be read: {error}") from None
    return tuple(dict.fromkeys(name.lower() for name in names))


def _alternative_names(leaf: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])


def _name_warnings(leaf: x509.Certificate) -> Iterable[str]:
    # It can be served, to clients that do not look: that is why this is no fault.
    names = _alternative_names(leaf)
    if not any(isinstance(name, x509.DNSName | x509.IPAddress) for name in names):
        yield (
            f"the certificate ({_subject(leaf)}) has no host in its subjectAltName, and clients "
            "read nothing else (RFC 9525 §2): have it issued anew, with DNS names"
        )


def _validity_warnings(certificate: x509.Certificate, now: datetime) -> Iterable[str]:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begins:
        yield f"the certificate ({_subject(certificate)}) is not valid before {begins:%F %T} UTC"
    if now > ends:
        yield f"the certificate ({_subject(certificate)}) expired on {ends:%F %T} UTC: renew it"


def _check_signature(certificate: x509.Certificate) -> None:
    try:
        digest = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return
    # A root is believed for itself, whatever it is signed with.
    is_root = certificate.issuer == certificate.subject
    if isinstance(digest, hashes.SHA1 | hashes.MD5) and not is_root:
        raise ValueError(
            f"the certificate ({_subject(certificate)}) is signed with {digest.name.upper()}, "
            "which clients no longer believe: have it issued anew"
        )


def _has_signed(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _fits(leaf: x509.Certificate, key: PrivateKey) -> bool:
    try:
        return leaf.public_key() == key.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False


def _subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "without a subject"


def _count(pem: bytes, wanted: bytes) -> int:
    return sum(label.endswith(wanted) for label in _LABEL.findall(pem))


def _describe(pem: bytes, wanted: bytes) -> str:
    """Why there is no certificate or no key in a file."""
    noun = wanted.decode("ascii").lower()
    labels = {label.decode("ascii").lower() for label in _LABEL.findall(pem)}
    if not labels:
        command = "x509" if wanted == b"CERTIFICATE" else "pkey"
        return f"this is not PEM: convert it with openssl {command} -in FILE -out FILE.pem"
    if _count(pem, wanted):
        return f"the {noun} cannot be read: the file is damaged, or of a kind that is not supported"
    found = ", ".join(sorted(labels))
    return f"there is no {noun} in the file, but: {found}"
