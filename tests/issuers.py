"""Issuers of the tests' own, and the certificates that they sign, in memory."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from regroute.certificates import Certificate, PrivateKey, join

DAY = timedelta(days=1)
NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Issuer:
    """Whoever trusts its certificate believes what it issues."""

    certificate: x509.Certificate
    _key: PrivateKey

    def intermediate(self, name: str) -> "Issuer":
        """An issuer that this one vouches for."""
        key = new_key()
        builder = _unsigned(name, self.certificate.subject, key)
        return Issuer(_sign(_as_issuer(builder), self._key), key)

    def sign(
        self,
        key: PrivateKey,
        *names: str,
        begins: datetime = NOW - DAY,
        ends: datetime = NOW + DAY,
        alternatives: x509.SubjectAlternativeName | None = None,
    ) -> x509.Certificate:
        """A certificate for these names, or for whatever the extension says."""
        builder = _unsigned("a server", self.certificate.subject, key, begins, ends)
        if names:
            alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        if alternatives is not None:
            builder = builder.add_extension(alternatives, critical=False)
        return _sign(builder, self._key)

    def issue(self, *names: str) -> Certificate:
        """A certificate for these names, with a new key and without other issuers."""
        key = new_key()
        return join((self.sign(key, *names),), key)


def new_root(key: PrivateKey | None = None) -> Issuer:
    """An issuer that vouches for itself."""
    key = key or new_key()
    name = "the root of the tests"
    return Issuer(_sign(_as_issuer(_unsigned(name, _subject(name), key)), key), key)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key of the kind that most servers have."""
    return ec.generate_private_key(ec.SECP256R1())


def pem(*certificates: x509.Certificate) -> bytes:
    """A chain file."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def pem_key(
    key: PrivateKey,
    encryption: KeySerializationEncryption = NoEncryption(),  # noqa: B008  # it is immutable
    form: PrivateFormat = PrivateFormat.PKCS8,
) -> bytes:
    """A key file."""
    return key.private_bytes(Encoding.PEM, form, encryption)


def _unsigned(
    name: str,
    issuer: x509.Name,
    key: PrivateKey,
    begins: datetime = NOW - DAY,
    ends: datetime = NOW + DAY,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )


def _as_issuer(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)


def _sign(builder: x509.CertificateBuilder, key: PrivateKey) -> x509.Certificate:
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    return builder.sign(key, hashes.SHA256())


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
