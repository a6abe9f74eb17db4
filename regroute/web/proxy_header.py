"""The header of the PROXY protocol: a connection's first bytes say whom a trusted proxy forwards.

Versions 1 and 2, as HAProxy's `proxy-protocol.txt` has them; "§" below means its sections. Bytes
in, values out.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from ..networks.spans import Address, unmapped


class Malformed(Exception):
    """Bytes that are no header; says what is wrong with them, and never what they are."""


@dataclass(frozen=True)
class Header:
    """What a header says, and the bytes after it.

    Without a `source` the client is the connection's own peer: the proxy is asking for itself
    (health checks do), or it forwards what it cannot describe.
    """

    source: Address | None
    port: int
    rest: bytes


def read_header(received: bytes | bytearray) -> Header | None:
    """The header that `received` begins with; None while there is more to come.

    Raises `Malformed` as soon as nothing that may follow could make it one. What a line or a
    block says is judged when it is whole (§2.1, §2.2).
    """
    for start, read in _READERS.items():
        if received.startswith(start):
            return read(received)
    if any(start.startswith(received) for start in _READERS):
        return None
    raise Malformed("it begins neither with PROXY and TCP4, TCP6 or UNKNOWN nor with QUIT")


# Version 1, §2.1: a line of text.

_LINE_LIMIT = 107
_PORT = rb"(0|[1-9][0-9]{0,4})"


@dataclass(frozen=True)
class _Words:
    """How the words of a line are written; `begun` matches whatever can still become `whole`."""

    whole: re.Pattern[bytes]
    begun: re.Pattern[bytes]
    parse: Callable[[str], Address]

    @classmethod
    def of(cls, word: bytes, parse: Callable[[str], Address]) -> _Words:
        begun = rb"(?:%b\r?)?" % _PORT
        for earlier in (_PORT, word, word):
            begun = rb"(?:%b(?: %b)?)?" % (earlier, begun)
        whole = b" ".join([word, word, _PORT, _PORT])
        return cls(re.compile(whole), re.compile(begun), parse)

    def read(self, received: bytes | bytearray) -> Header | None:
        start = len(b"PROXY TCP4 ")
        line = _take_line(received)
        if line is None:
            if self.begun.fullmatch(received, start):
                return None
        elif match := self.whole.fullmatch(line, start):
            source, _ = (self._read_address(word) for word in match.groups()[:2])
            ports = [int(word) for word in match.groups()[2:]]
            if max(ports) > 0xFFFF:
                raise Malformed("a port is greater than 65535")
            return Header(source, ports[0], _after_line(received, line))
        raise Malformed("its line is not of two addresses and two ports, one space between each")

    def _read_address(self, word: bytes) -> Address:
        try:
            return unmapped(self.parse(word.decode("ascii")))
        except ValueError:
            raise Malformed("an address is not one of its family") from None


def _read_unknown(received: bytes | bytearray) -> Header | None:
    """Whatever stands before the end of the line does not count."""
    line = _take_line(received)
    return None if line is None else Header(None, 0, _after_line(received, line))


def _take_line(received: bytes | bytearray) -> bytes | None:
    line, end, _ = bytes(received[:_LINE_LIMIT]).partition(b"\r\n")
    if end:
        return line
    if len(line) + (1 if line.endswith(b"\r") else 2) > _LINE_LIMIT:
        raise Malformed(f"its line is longer than {_LINE_LIMIT} bytes")
    return None


def _after_line(received: bytes | bytearray, line: bytes) -> bytes:
    return bytes(received[len(line) + len(b"\r\n") :])


# Version 2, §2.2: a block of bytes. Its length is bounded by its own field, 64 KiB: all of that is
# legal, comes from trusted proxies only and has to arrive before the deadline.

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = 16  # bytes before the addresses
_LOCAL, _PROXY = 0, 1  # commands
_UNSPEC, _INET, _INET6, _UNIX = range(4)  # address families
_TRANSPORTS = range(3)  # not told, streams, datagrams
_ADDRESSES = {_INET: struct.Struct("!4s4sHH"), _INET6: struct.Struct("!16s16sHH")}
_SIZES = {_UNSPEC: 0, _INET: 12, _INET6: 36, _UNIX: 216}  # of the addresses
_VECTOR = struct.Struct("!BH")  # type and length
_CHECKSUM = 3  # type of the vector that holds one (§2.2.3)


def _read_block(received: bytes | bytearray) -> Header | None:
    version, command = divmod(received[12], 16) if len(received) > 12 else (2, _LOCAL)
    if version != 2:
        raise Malformed("its version is neither 1 nor 2")
    if command not in (_LOCAL, _PROXY):
        raise Malformed("its command is neither LOCAL nor PROXY")
    family, transport = divmod(received[13], 16) if len(received) > 13 else (_UNSPEC, 0)
    if command == _PROXY and (family not in _SIZES or transport not in _TRANSPORTS):
        raise Malformed("its address family or transport is not known")
    if len(received) < _FIXED:
        return None
    end = _FIXED + int.from_bytes(received[14:_FIXED])
    # LOCAL's block is to be ignored, and so are addresses of a kind that is not told.
    is_told = command == _PROXY and family != _UNSPEC and transport != 0
    vectors = _FIXED + _SIZES.get(family, 0)
    if is_told and end < vectors:
        raise Malformed("it is too short for the addresses of its family")
    if len(received) < end:
        return None
    header, rest = bytes(received[:end]), bytes(received[end:])
    _check_vectors(header, vectors, is_told=is_told)
    if not is_told or family == _UNIX:
        return Header(None, 0, rest)
    # A proxy that ends QUIC forwards datagrams; whom it names is the client all the same.
    source, _, port, _ = _ADDRESSES[family].unpack_from(header, _FIXED)
    parse = IPv4Address if family == _INET else IPv6Address
    return Header(unmapped(parse(source)), port, rest)


def _check_vectors(header: bytes, at: int, *, is_told: bool) -> None:
    """Hold a header against the checksum among its vectors, where one is sent.

    Where it is not told what is in the block, that may be anything: if it does not read as
    vectors, there is no checksum.
    """
    try:
        checksum = _find_checksum(header, at)
    except Malformed:
        if is_told:
            raise
        return
    if checksum is None:
        return
    zeroed = header[:checksum] + bytes(4) + header[checksum + 4 :]
    if crc32c(zeroed) != int.from_bytes(header[checksum : checksum + 4]):
        raise Malformed("its checksum is wrong")


def _find_checksum(header: bytes, at: int) -> int | None:
    """Where the checksum is; values of other types are for those who know them."""
    checksum = None
    while at + _VECTOR.size <= len(header):
        kind, length = _VECTOR.unpack_from(header, at)
        if kind == _CHECKSUM:
            if checksum is not None or length != 4:
                raise Malformed("its checksum is not one of four bytes")
            checksum = at + _VECTOR.size
        at += _VECTOR.size + length
    if at != len(header):
        raise Malformed("its vectors do not end where it ends")
    return checksum


def _crc32c_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)  # Castagnoli's polynomial, reversed
    return byte


_CRC32C = tuple(map(_crc32c_of, range(256)))


def crc32c(data: bytes) -> int:
    """The checksum of RFC 9260, Appendix A."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC32C[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


_READERS: dict[bytes, Callable[[bytes | bytearray], Header | None]] = {
    b"PROXY TCP4 ": _Words.of(rb"([0-9.]{1,15})", IPv4Address).read,
    # With dots, for the form ::ffff:192.0.2.1.
    b"PROXY TCP6 ": _Words.of(rb"([0-9A-Fa-f:.]{1,45})", IPv6Address).read,
    b"PROXY UNKNOWN ": _read_unknown,
    b"PROXY UNKNOWN\r\n": _read_unknown,
    _SIGNATURE: _read_block,
}
