"""Headers of the PROXY protocol, good and malformed, each under what is special about it."""

import struct
from ipaddress import IPv4Address, IPv6Address

from regroute.networks.spans import Address

SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
REST = b"GET / HTTP/1.1\r\n\r\n"

INET = IPv4Address("192.0.2.1").packed + IPv4Address("198.51.100.2").packed + b"\xdc\x04\x01\xbb"
INET6 = IPv6Address("2001:db8::1").packed + IPv6Address("2001:db8::2").packed + b"\xdc\x04\x01\xbb"
MAPPED = IPv6Address("::ffff:192.0.2.1").packed + INET6[16:]
UNIX = b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0")
SOURCE4, SOURCE6 = IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1")


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def v2(block: bytes = INET, *, command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(block)) + block


def slow_crc32c(data: bytes) -> int:
    """The remainder, a bit at a time and as polynomials are divided on paper."""
    crc = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            lowest = (crc ^ byte >> bit) & 1
            crc = crc >> 1 ^ (0x82F63B78 if lowest else 0)
    return crc ^ 0xFFFFFFFF


def summed(block: bytes, after: bytes = b"", *, command: int = 0x21, family: int = 0x11) -> bytes:
    """A header with a right checksum between the block and further vectors."""
    bare = v2(block + tlv(3, bytes(4)) + after, command=command, family=family)
    at = 16 + len(block) + 3
    return bare[:at] + slow_crc32c(bare).to_bytes(4) + bare[at + 4 :]


def summed_in_five(block: bytes) -> bytes:
    """A header whose checksum is right, but for a byte more in its vector."""
    bare = v2(block + tlv(3, bytes(5)))
    return bare[:-5] + slow_crc32c(bare).to_bytes(4) + bare[-1:]


def flipped(raw: bytes, position: int = -1, bits: int = 1) -> bytes:
    changed = bytearray(raw)
    changed[position] ^= bits
    return bytes(changed)


# What HAProxy 2.6 sends with send-proxy, send-proxy-v2 and proxy-v2-options crc32c,unique-id.
FROM_HAPROXY: dict[str, tuple[bytes, Address | None, int]] = {
    "TCP4": (
        b"PROXY TCP4 127.0.0.1 127.0.0.1 59092 18001\r\n",
        IPv4Address("127.0.0.1"),
        59092,
    ),
    "TCP6": (b"PROXY TCP6 ::1 ::1 43796 18001\r\n", IPv6Address("::1"), 43796),
    "a health check": (
        SIGNATURE + b" \x00\x00\x07\x03\x00\x04\xa9\xb8~\x8f",
        None,
        0,
    ),
    "IPv4": (
        SIGNATURE + b"!\x11\x00:\x7f\x00\x00\x01\x7f\x00\x00\x01\xaaBFR\x03\x00\x04\xa5\\\t\x19"
        b"\x05\x00$83f7917f-bc47-4783-b0ee-d1acd9e19c96",
        IPv4Address("127.0.0.1"),
        43586,
    ),
    "IPv6": (
        SIGNATURE + b"!!\x00R" + (bytes(15) + b"\1") * 2 + b"\xa6\xecFR\x03\x00\x04o\xec\x1a\x89"
        b"\x05\x00$c7bf68d4-8e3e-4d88-a7f5-05d5b96ca81b",
        IPv6Address("::1"),
        42732,
    ),
}

LONGEST = b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n"
GOOD: dict[str, tuple[bytes, Address | None, int]] = {
    **{f"HAProxy, {name}": case for name, case in FROM_HAPROXY.items()},
    # Version 1, §2.1.
    "TCP4": (b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", SOURCE4, 56324),
    "TCP4 at its longest": (
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        IPv4Address("255.255.255.255"),
        65535,
    ),
    "TCP4 at its shortest": (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", IPv4Address("0.0.0.0"), 0),
    "TCP6": (b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n", SOURCE6, 56324),
    "TCP6 in capitals": (b"PROXY TCP6 2001:DB8::1 ::ABCD 1 2\r\n", SOURCE6, 1),
    "TCP6 with leading zeros": (b"PROXY TCP6 2001:0db8::0001 :: 1 2\r\n", SOURCE6, 1),
    "TCP6 at its longest": (
        b"PROXY TCP6 " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535\r\n",
        IPv6Address("ffff:" * 7 + "ffff"),
        65535,
    ),
    "TCP6 with an IPv4 address": (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", SOURCE4, 1),
    "TCP6 with an IPv4 address in hex": (b"PROXY TCP6 ::ffff:c000:201 ::1 1 2\r\n", SOURCE4, 1),
    "UNKNOWN": (b"PROXY UNKNOWN\r\n", None, 0),
    "UNKNOWN with a space": (b"PROXY UNKNOWN \r\n", None, 0),
    "UNKNOWN with addresses": (b"PROXY UNKNOWN 192.0.2.1 192.0.2.2 1 2\r\n", None, 0),
    "UNKNOWN with whatever": (b"PROXY UNKNOWN \0\xff \r \n\n\r\r\n", None, 0),
    "UNKNOWN at its longest": (LONGEST, None, 0),
    # Version 2, §2.2.
    "IPv4": (v2(), SOURCE4, 56324),
    "IPv4 by datagrams": (v2(family=0x12), SOURCE4, 56324),
    "IPv6": (v2(INET6, family=0x21), SOURCE6, 56324),
    "IPv6 by datagrams": (v2(INET6, family=0x22), SOURCE6, 56324),
    "IPv4 in IPv6": (v2(MAPPED, family=0x21), SOURCE4, 56324),
    "UNIX streams": (v2(UNIX, family=0x31), None, 0),
    "UNIX datagrams": (v2(UNIX + tlv(4, b""), family=0x32), None, 0),
    "an unspecified family": (v2(b"", family=0x00), None, 0),
    "an unspecified family with something": (v2(b"what?", family=0x00), None, 0),
    "an unspecified family with streams": (v2(INET, family=0x01), None, 0),
    "an unspecified transport": (v2(INET, family=0x10), None, 0),
    "an unspecified transport with less": (v2(b"", family=0x20), None, 0),
    "LOCAL": (v2(b"", command=0x20, family=0x00), None, 0),
    "LOCAL with addresses": (v2(command=0x20), None, 0),
    "LOCAL with something": (v2(b"\x03\x00\x09?", command=0x20, family=0x00), None, 0),
    "LOCAL with a family that is none": (v2(b"\x03\x00", command=0x20, family=0xFF), None, 0),
    "LOCAL with too little for its family": (v2(b"", command=0x20, family=0x31), None, 0),
    "vectors": (v2(INET + tlv(1, b"h2") + tlv(0xEA, b"\1vpce") + tlv(4, b"")), SOURCE4, 56324),
    "a vector that is empty": (v2(INET + tlv(2, b"")), SOURCE4, 56324),
    "a vector of every type but one": (
        v2(INET + b"".join(tlv(kind, b"?") for kind in range(256) if kind != 3)),
        SOURCE4,
        56324,
    ),
    "a block as long as can be": (v2(INET + tlv(4, bytes(0xFFFF - 12 - 3))), SOURCE4, 56324),
    "a checksum": (summed(INET), SOURCE4, 56324),
    "a checksum before padding": (summed(INET, tlv(4, bytes(40))), SOURCE4, 56324),
    "a checksum after a name": (summed(INET6 + tlv(2, b"h"), family=0x21), SOURCE6, 56324),
    "a checksum with UNIX addresses": (summed(UNIX, family=0x31), None, 0),
    "a checksum with LOCAL": (summed(b"", command=0x20, family=0x00), None, 0),
}

MALFORMED: dict[str, bytes] = {
    # Version 1.
    "an octet with leading zeros": b"PROXY TCP4 192.0.02.1 192.0.2.2 1 2\r\n",
    "an octet over 255": b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
    "three octets": b"PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n",
    "five octets": b"PROXY TCP4 1.2.3.4.5 192.0.2.2 1 2\r\n",
    "an empty octet": b"PROXY TCP4 192..2.1 192.0.2.2 1 2\r\n",
    "a destination that is none": b"PROXY TCP4 192.0.2.1 192.0.2 1 2\r\n",
    "an IPv6 address in TCP4": b"PROXY TCP4 ::1 ::1 1 2\r\n",
    "an IPv4 address in TCP6": b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
    "an IPv6 destination in TCP4": b"PROXY TCP4 192.0.2.1 ::1 1 2\r\n",
    "an IPv4 destination in TCP6": b"PROXY TCP6 ::1 192.0.2.2 1 2\r\n",
    "two double colons": b"PROXY TCP6 1::2::3 ::1 1 2\r\n",
    "three colons": b"PROXY TCP6 1:::2 ::1 1 2\r\n",
    "seven groups": b"PROXY TCP6 1:2:3:4:5:6:7 ::1 1 2\r\n",
    "nine groups": b"PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 2\r\n",
    "eight groups and a double colon": b"PROXY TCP6 1::2:3:4:5:6:7:8 ::1 1 2\r\n",
    "a group of five digits": b"PROXY TCP6 2001:0db80::1 ::1 1 2\r\n",
    "a colon at the end": b"PROXY TCP6 1:2:3:4:5:6:7: ::1 1 2\r\n",
    "an IPv6 address in brackets": b"PROXY TCP6 [::1] ::1 1 2\r\n",
    "a zone": b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    "a prefix": b"PROXY TCP4 192.0.2.0/24 192.0.2.2 1 2\r\n",
    "leading zeros in an IPv6 address's octets": b"PROXY TCP6 ::ffff:192.0.02.1 ::1 1 2\r\n",
    "no addresses": b"PROXY TCP4 \r\n",
    "no ports": b"PROXY TCP4 192.0.2.1 192.0.2.2\r\n",
    "one port": b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
    "an empty port": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n",
    "a third port": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
    "a space at the end": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
    "two spaces": b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
    "two spaces between ports": b"PROXY TCP4 192.0.2.1 192.0.2.2 1  2\r\n",
    "a tab": b"PROXY TCP4 192.0.2.1\t192.0.2.2 1 2\r\n",
    "a port over 65535": b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
    "a second port over 65535": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 99999\r\n",
    "a port with a leading zero": b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
    "a port of zeros": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 00\r\n",
    "a port with a sign": b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
    "a port with an underscore": b"PROXY TCP4 192.0.2.1 192.0.2.2 1_0 2\r\n",
    "a port of six digits": b"PROXY TCP4 192.0.2.1 192.0.2.2 100000 2\r\n",
    "a port in full-width digits": "PROXY TCP4 192.0.2.1 192.0.2.2 \uff11 2\r\n".encode(),
    "a bare LF": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
    "a bare CR": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rG",
    "two CRs": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n",
    "lower case": b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "a protocol in lower case": b"PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
    "UDP4": b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "TCP5": b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
    "no protocol": b"PROXY \r\n",
    "a space first": b" PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "an empty line first": b"\r\nPROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "UNKNOWN with a bare LF": b"PROXY UNKNOWN\n",
    "more than UNKNOWN": b"PROXY UNKNOWNS\r\n",
    "UNKNOWN a byte too long": b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n",
    "UNKNOWN without an end": b"PROXY UNKNOWN " + b"f" * 5000,
    "TCP6 a byte too long": b"PROXY TCP6 "
    + b":".join([b"ffff"] * 6)
    + b":255.255.255.255 :".join([b"ffff"] * 8)
    + b" 10000 10000\r\n",
    # Version 2.
    "a signature with a wrong byte": flipped(v2(), 11),
    "version 1 in a block": v2(command=0x11),
    "version 3": v2(command=0x31),
    "version 0": v2(command=0x01),
    "an unknown command": v2(command=0x22),
    "the last unknown command": v2(command=0x2F),
    "an unknown family": v2(family=0x41),
    "the last unknown family": v2(family=0xF1),
    "an unknown transport": v2(family=0x13),
    "the last unknown transport": v2(family=0x1F),
    "an unspecified family with an unknown transport": v2(b"", family=0x03),
    "IPv4 without addresses": v2(b""),
    "IPv4 a byte too short": v2(INET[:-1]),
    "IPv6 a byte too short": v2(INET6[:-1], family=0x21),
    "IPv6 with an IPv4 block": v2(INET, family=0x21),
    "UNIX a byte too short": v2(UNIX[:-1], family=0x31),
    "half a vector's head": v2(INET + b"\x04\x00"),
    "a vector longer than the block": v2(INET + b"\x04\x00\x02?"),
    "a vector much longer than the block": v2(INET + tlv(1, b"h2") + b"\x04\xff\xff"),
    "a byte after the vectors": v2(INET + tlv(4, b"?") + b"\0"),
    "a vector beyond UNIX addresses": v2(UNIX + b"\x04\x00\x01", family=0x31),
    "a wrong checksum": v2(INET + tlv(3, bytes(4))),
    "a checksum in the wrong byte order": summed(INET)[:-4] + summed(INET)[:-5:-1],
    "a checksum of other addresses": flipped(summed(INET), 16),
    "a checksum of another port": flipped(summed(INET), 25),
    "a checksum with another vector after it": flipped(summed(INET, tlv(4, b"?"))),
    "a wrong checksum with UNIX addresses": flipped(summed(UNIX, family=0x31)),
    "a wrong checksum with LOCAL": flipped(summed(b"", command=0x20, family=0x00)),
    "a wrong checksum with an unspecified family": flipped(summed(b"", family=0x00)),
    "a checksum of three bytes": v2(INET + tlv(3, bytes(3))),
    "an empty checksum": v2(INET + tlv(3, b"")),
    "a checksum of five bytes": summed_in_five(INET),
    "two checksums": summed(INET, tlv(3, bytes(4))),
    "two checksums, the second right": summed(INET + tlv(3, b"what")),
    # Something else.
    "a request": REST,
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a NUL": b"\0",
    "empty lines": b"\r\n\r\n\r\n",
}

# Those of which a test can afford to try every part.
SHORT = {name: case[0] for name, case in GOOD.items() if len(case[0]) < 2000}
