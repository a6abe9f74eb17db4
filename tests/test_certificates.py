"""Certificates: what fits together, what does not and why, and which one a name gets."""

import random
from contextlib import suppress
from ipaddress import IPv4Address

import idna
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from regroute.certificates import ByName, Certificate, PrivateKey, join, read_chain, read_key

from .issuers import DAY, NOW, new_key, new_root, pem, pem_key

ROOT = new_root()
MIDDLE = ROOT.intermediate("the one between")
KEY = new_key()
LEAF = MIDDLE.sign(KEY, "A.Example", "*.b.example", "a.example")
CHAIN = pem(LEAF, MIDDLE.certificate)

EC_PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"


# What is read.


def test_a_certificate_its_issuers_and_its_key_make_a_value() -> None:
    certificate = join(read_chain(CHAIN), read_key(pem_key(KEY)))
    assert certificate.leaf == LEAF
    assert certificate.chain == (LEAF, MIDDLE.certificate)
    assert certificate.names == ("a.example", "*.b.example")
    assert certificate.expires == NOW + DAY
    assert certificate.warnings(NOW) == []


def test_the_same_files_make_the_same_value() -> None:
    first, second = (join(read_chain(CHAIN), read_key(pem_key(KEY))) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)


def test_a_value_does_not_show_its_key() -> None:
    assert "key=" not in repr(join(read_chain(CHAIN), KEY))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(CHAIN, id="the issuer after it"),
        pytest.param(pem(LEAF), id="alone"),
        pytest.param(pem(LEAF, MIDDLE.certificate, ROOT.certificate), id="with the root"),
        pytest.param(CHAIN.replace(b"\n", b"\r\n"), id="with the lines of another system"),
        pytest.param(b"Certificate:\n    Data:\n" + CHAIN, id="with text before it"),
        pytest.param(CHAIN + pem_key(KEY), id="with the key after it"),
        pytest.param(pem_key(KEY) + CHAIN, id="with the key before it"),
    ],
)
def test_a_chain_is_read(text: bytes) -> None:
    assert read_chain(text)[0] == LEAF


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(pem_key(KEY), id="PKCS 8"),
        pytest.param(pem_key(KEY, form=PrivateFormat.TraditionalOpenSSL), id="traditional"),
        pytest.param(
            EC_PARAMETERS + pem_key(KEY, form=PrivateFormat.TraditionalOpenSSL),
            id="after the curve's parameters",
        ),
        pytest.param(CHAIN + pem_key(KEY), id="after the certificates"),
        pytest.param(pem_key(KEY) + CHAIN, id="before the certificates"),
    ],
)
def test_a_key_is_read(text: bytes) -> None:
    assert read_key(text).public_key() == KEY.public_key()


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(rsa.generate_private_key(65537, 2048), id="RSA"),
        pytest.param(ec.generate_private_key(ec.SECP256R1()), id="P-256"),
        pytest.param(ec.generate_private_key(ec.SECP384R1()), id="P-384"),
        pytest.param(ec.generate_private_key(ec.SECP521R1()), id="P-521"),
        pytest.param(ed25519.Ed25519PrivateKey.generate(), id="Ed25519"),
        pytest.param(ed448.Ed448PrivateKey.generate(), id="Ed448"),
    ],
)
def test_keys_that_serve_tls(key: PrivateKey) -> None:
    assert join((ROOT.sign(key, "a.example"),), read_key(pem_key(key))).names == ("a.example",)


# Faults.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "this is not PEM: convert it with openssl x509"),
        (LEAF.public_bytes(Encoding.DER), "this is not PEM: convert it with openssl x509"),
        (pem_key(KEY), "no certificate in the file, but: private key"),
        (CHAIN.replace(b"CERTIFICATE", b"CERTIFICATE REQUEST"), "but: certificate request"),
        (CHAIN[:200] + CHAIN[300:], "the certificate cannot be read"),
        (CHAIN[:-30], "the certificate cannot be read"),
        (pem(MIDDLE.certificate, LEAF), "certificate 2 .*CN=a server.* did not sign .*between"),
        (pem(LEAF, ROOT.certificate), "certificate 2 .*root.* put the server's own .* first"),
        (pem(LEAF, MIDDLE.certificate, LEAF), "certificate 3 "),
        (pem(LEAF, LEAF), "certificate 2 "),
        (pem(LEAF, ROOT.intermediate("the one between").certificate), "certificate 2 "),
    ],
    ids=[
        "nothing",
        "DER",
        "a key",
        "a request",
        "damaged",
        "cut short",
        "the issuer first",
        "an issuer left out",
        "one too many",
        "itself twice",
        "an issuer of the same name with another key",
    ],
)
def test_a_chain_that_is_none_says_what_to_do(text: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_chain(text)


def _dsa_key() -> bytes:
    key = dsa.generate_private_key(1024)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "this is not PEM: convert it with openssl pkey"),
        (CHAIN, "no private key in the file, but: certificate"),
        (
            KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "no private key in the file, but: public key",
        ),
        (EC_PARAMETERS, "no private key in the file, but: ec parameters"),
        (pem_key(KEY, BestAvailableEncryption(b"x")), "encrypted.*openssl pkey -in KEY"),
        (
            pem_key(KEY, BestAvailableEncryption(b"x"), PrivateFormat.TraditionalOpenSSL),
            "encrypted.*openssl pkey -in KEY",
        ),
        (pem_key(KEY).replace(b"M", b"N", 1), "the private key cannot be read"),
        (pem_key(rsa.generate_private_key(65537, 1024)), "RSA key of 1024 bits is too short"),
        (pem_key(ec.generate_private_key(ec.SECP256K1())), "no use for keys of secp256k1"),
        (_dsa_key(), "a key of this type cannot serve TLS: have .* P-256"),
    ],
    ids=[
        "nothing",
        "a certificate",
        "a public key",
        "parameters alone",
        "encrypted",
        "encrypted in the traditional way",
        "damaged",
        "a short RSA key",
        "a curve that TLS has no signatures for",
        "DSA",
    ],
)
def test_a_key_that_is_none_says_what_to_do(text: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_key(text)


def _with_sha1(certificate: x509.Certificate) -> bytes:
    """A certificate that says it is signed with SHA-1 and RSA, and not with SHA-256."""
    sha256, sha1 = (bytes.fromhex(f"06092a864886f70d0101{last}") for last in ("0b", "05"))
    der = certificate.public_bytes(Encoding.DER)
    assert der.count(sha256) == 2
    return pem(x509.load_der_x509_certificate(der.replace(sha256, sha1)))


def test_a_signature_that_clients_no_longer_believe_is_a_fault() -> None:
    root = new_root(rsa.generate_private_key(65537, 2048))
    with pytest.raises(ValueError, match=r"CN=a server\) is signed with SHA1.* issued anew"):
        read_chain(_with_sha1(root.sign(KEY, "a.example")) + pem(root.certificate))


def test_a_root_may_be_signed_with_anything() -> None:
    root = new_root(rsa.generate_private_key(65537, 2048))
    chain = pem(root.sign(KEY, "a.example")) + _with_sha1(root.certificate)
    assert len(read_chain(chain)) == 2


@pytest.mark.parametrize("key", [new_key(), ed25519.Ed25519PrivateKey.generate()], ids=["EC", "Ed"])
def test_another_certificates_key_does_not_fit(key: PrivateKey) -> None:
    with pytest.raises(ValueError, match="the key does not fit its certificate"):
        join((LEAF,), key)


_OF_PEM = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-\n\0\xff"


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@given(st.randoms(use_true_random=False), st.sampled_from([CHAIN, pem(LEAF), pem_key(KEY)]))
def test_damage_is_never_more_than_a_fault(chance: random.Random, text: bytes) -> None:
    """Whatever happens to a file, reading it ends with a value or with a `ValueError`."""
    damaged = bytearray(text)
    for _ in range(chance.randint(1, 3)):
        damaged[chance.randrange(len(damaged))] = chance.choice(_OF_PEM)
    with suppress(ValueError):
        read_key(bytes(damaged))
    with suppress(ValueError):
        join(read_chain(bytes(damaged)), KEY).warnings(NOW)


# Warnings.


def _certificate(leaf: x509.Certificate, *issuers: x509.Certificate) -> Certificate:
    return join((leaf, *issuers), KEY)


@pytest.mark.parametrize(
    ("certificate", "said"),
    [
        (_certificate(MIDDLE.sign(KEY, "a", ends=NOW - DAY / 2)), "a server.* expired on .* UTC"),
        (_certificate(MIDDLE.sign(KEY, "a", begins=NOW + DAY / 2)), "is not valid before .* UTC"),
        (_certificate(MIDDLE.sign(KEY)), "no host in its subjectAltName"),
        (
            _certificate(
                MIDDLE.sign(
                    KEY,
                    alternatives=x509.SubjectAlternativeName([x509.RFC822Name("a@a.example")]),
                )
            ),
            "no host in its subjectAltName",
        ),
    ],
    ids=["expired", "not yet valid", "a common name alone", "the name of a person"],
)
def test_what_clients_will_mind_is_a_warning(certificate: Certificate, said: str) -> None:
    (warning,) = certificate.warnings(NOW)
    assert said.partition(".*")[0] in warning
    with pytest.raises(ValueError, match=said):
        raise ValueError(warning)


def test_an_issuer_that_has_expired_is_a_warning() -> None:
    warnings = _certificate(LEAF, MIDDLE.certificate).warnings(NOW + 2 * DAY)
    assert ["a server" in warning for warning in warnings] == [True, False]
    assert "the one between" in warnings[1]


def test_a_certificate_for_an_address_alone_is_good_for_no_name_but_for_clients() -> None:
    alternatives = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("192.0.2.1"))])
    certificate = _certificate(MIDDLE.sign(KEY, alternatives=alternatives))
    assert certificate.names == ()
    assert certificate.warnings(NOW) == []


def test_validity_includes_its_last_second() -> None:
    certificate = _certificate(LEAF)
    assert certificate.warnings(certificate.expires) == []
    assert certificate.warnings(LEAF.not_valid_before_utc) == []


# The choice by name.

NAMES = ByName(
    [
        (["first.example"], "first"),
        (["*.example", "*.deep.b.example"], "wildcard"),
        (["exact.example", "first.example", "xn--bcher-kva.test"], "exact"),
        (["*.example", "dotted.test."], "late"),
    ]
)


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (b"first.example", "first"),
        (b"exact.example", "exact"),
        (b"EXACT.eXaMpLe", "exact"),
        (b"exact.example.", "exact"),
        (b"other.example", "wildcard"),
        (b"OTHER.EXAMPLE.", "wildcard"),
        (b"x.deep.b.example", "wildcard"),
        (b"xn--bcher-kva.example", "wildcard"),
        (b"xn--bcher-kva.test", "exact"),
        ("bücher.test".encode(), "exact"),
        ("BÜCHER.test".encode(), "exact"),
        (b"dotted.test", "late"),
        (b"a.b.example", "first"),
        (b"example", "first"),
        (b".example", "first"),
        (b"*.example", "wildcard"),
        (b"unknown.test", "first"),
        (b"192.0.2.1", "first"),
        (b"\xff\xfe", "first"),
        (b"xn--\xc3\xbc", "first"),
        (b"", "first"),
        (None, "first"),
    ],
)
def test_a_name_gets_its_certificate(asked: bytes | None, chosen: str) -> None:
    assert NAMES.choose(asked) == chosen


_LABELS = st.sampled_from(["a", "B", "xn--bcher-kva", "bücher", "*", ""])
_NAMES = st.lists(_LABELS, min_size=1, max_size=4).map(".".join)


def _naive(entries: list[list[str]], asked: str) -> int:
    """Look through all names, the exact ones first."""
    name = asked.lower().removesuffix(".")
    try:
        name = name if name.isascii() else idna.encode(name).decode("ascii")
    except UnicodeError:
        name = ""
    entries = [[each.removesuffix(".") for each in names] for names in entries]
    for position, names in enumerate(entries):
        if any(name == each != "" and not each.startswith("*.") for each in names):
            return position
    for position, names in enumerate(entries):
        for each in names:
            labels, pattern = name.split("."), each.split(".")
            if pattern[0] == "*" and len(labels) > 1 and labels[0] and labels[1:] == pattern[1:]:
                return position
    return 0


@given(
    st.lists(
        st.lists(
            _NAMES.filter(str.isascii).map(str.lower),
            max_size=3,
        ),
        min_size=1,
        max_size=4,
    ),
    _NAMES,
)
def test_the_choice_is_that_of_a_walk_through_all_names(
    entries: list[list[str]], asked: str
) -> None:
    names = ByName((each, position) for position, each in enumerate(entries))
    assert names.choose(asked.encode()) == _naive(entries, asked)


@given(st.binary(max_size=300))
def test_no_name_that_a_client_sends_raises(asked: bytes) -> None:
    assert NAMES.choose(asked) in ("first", "wildcard", "exact", "late")
