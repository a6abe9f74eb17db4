"""The PROXY protocol's header, versions 1 and 2 (HAProxy's `proxy-protocol.txt`, §2)."""

import re
import struct
from ipaddress import IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from regroute.networks.spans import Address, unmapped
from regroute.web.proxy_header import Header, Malformed, crc32c, read_header

from .proxy_headers import (
    GOOD,
    LONGEST,
    MALFORMED,
    REST,
    SHORT,
    SIGNATURE,
    slow_crc32c,
    summed,
    v2,
)


@pytest.mark.parametrize(("raw", "source", "port"), GOOD.values(), ids=GOOD)
def test_a_good_header_is_read_and_no_byte_after_it(
    raw: bytes, source: Address | None, port: int
) -> None:
    assert read_header(raw) == Header(source, port, b"")
    assert read_header(raw + REST) == Header(source, port, REST)
    assert read_header(bytearray(raw + raw)) == Header(source, port, raw)


@pytest.mark.parametrize("raw", SHORT.values(), ids=SHORT)
def test_of_a_good_header_every_part_needs_more(raw: bytes) -> None:
    for end in range(len(raw)):
        assert read_header(raw[:end]) is None, raw[:end]


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_header_is_told_what_is_wrong_with_it(raw: bytes) -> None:
    with pytest.raises(Malformed) as fault:
        read_header(raw)
    assert re.fullmatch(r"(its|it|a|an) [a-zA-Z0-9 ,]+", str(fault.value))


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_header_comes_to_no_other_end_however_it_comes(raw: bytes) -> None:
    """Fed a byte at a time it is refused too, and stays so with whatever follows."""
    ends = [end for end in range(len(raw) + 1) if is_malformed(raw[:end])]
    assert ends == list(range(ends[0], len(raw) + 1))
    assert is_malformed(raw + REST)


def is_malformed(raw: bytes) -> bool:
    try:
        assert read_header(raw) is None, raw
    except Malformed:
        return True
    return False


@pytest.mark.parametrize(
    ("good", "wrong"),
    [
        (b"", b"G"),
        (b"", b"\x16"),
        (b"P", b"O"),
        (b"PROXY", b"\t"),
        (b"PROXY ", b" "),
        (b"PROXY TCP", b"5"),
        (b"PROXY UNKNOWN", b"\n"),
        (b"PROXY UNKNOWN\r", b"\r"),
        (b"PROXY TCP4 ", b"a"),
        (b"PROXY TCP4 192.0.2.1 ", b" "),
        (b"PROXY TCP4 192.0.2.1", b"\r"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 ", b"x"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 0", b"1"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 12345", b"6"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 ", b"\r"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2", b" "),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2", b"\n"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r", b"\r"),
        (b"PROXY TCP6 2001:db8::1", b"g"),
        (b"PROXY TCP6 fe80::1", b"%"),
        (LONGEST[:-2], b"f"),
        (LONGEST[:-1], b"\r"),
        (SIGNATURE[:4], b"\r"),
        (SIGNATURE, b"\x11"),
        (SIGNATURE, b"\x22"),
        (SIGNATURE + b"\x21", b"\x41"),
        (SIGNATURE + b"\x21", b"\x13"),
        (SIGNATURE + b"\x21\x11\x00", b"\x0b"),
        (SIGNATURE + b"\x21\x21\x00", b"\x23"),
        (SIGNATURE + b"\x21\x31\x00", b"\xd7"),
    ],
)
def test_the_first_wrong_byte_is_enough(good: bytes, wrong: bytes) -> None:
    assert read_header(good) is None
    assert is_malformed(good + wrong)


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        # RFC 3720, Appendix B.4.
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_the_checksum_is_that_of_published_examples(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum == slow_crc32c(data)


@given(st.binary(max_size=200))
def test_the_checksum_is_that_of_slow_division(data: bytes) -> None:
    assert crc32c(data) == slow_crc32c(data)


PORTS = st.integers(0, 0xFFFF)
PAIRS = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)),
    st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6)),
)


@given(PAIRS, PORTS, PORTS, st.binary(max_size=30))
@example((IPv6Address("::ffff:10.0.0.1"), IPv6Address("::")), 0, 0xFFFF, b"\r\n")
def test_what_a_proxy_writes_is_what_is_read(
    pair: tuple[Address, Address], port: int, other: int, rest: bytes
) -> None:
    source, destination = pair
    line = f"PROXY TCP{source.version} {source} {destination} {port} {other}\r\n".encode()
    block = source.packed + destination.packed + struct.pack("!HH", port, other)
    family = 0x11 if source.version == 4 else 0x21
    expected = Header(unmapped(source), port, rest)
    assert read_header(line + rest) == expected
    assert read_header(v2(block, family=family) + rest) == expected
    assert read_header(summed(block, family=family) + rest) == expected


def naive_line(raw: bytes) -> tuple[Address | None, int] | None:
    """Who is named by a line with its end, by words as the specification gives them."""
    assert raw.endswith(b"\r\n")
    words = raw[:-2].decode("latin-1").split(" ")
    if len(raw) > 107 or words[0] != "PROXY":
        return None
    if words[1:2] == ["UNKNOWN"]:
        return None, 0
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6") or "%" in raw.decode("latin-1"):
        return None
    try:
        source, destination = (ip_address(word) for word in words[2:4])
        ports = [int(word) for word in words[4:]]
    except ValueError:
        return None
    if {f"TCP{source.version}", f"TCP{destination.version}"} != {words[1]}:
        return None
    if [str(port) for port in ports] != words[4:] or not all(0 <= port < 65536 for port in ports):
        return None
    return unmapped(source), ports[0]


ADDRESSES = st.one_of(
    st.ip_addresses().map(str),
    st.sampled_from(["1.2.3.04", "::ffff:1.2.3.4", "::", "1::", "fe80::1%1", "1.2.3", "", "::1/8"]),
    st.text("0123456789abcdefF.:", max_size=12),
)
NUMBERS = st.one_of(
    st.integers(-1, 70000).map(str), st.sampled_from(["", "00", "+1", "1_0", " 1", "٣"])
)
LINES = st.one_of(
    st.tuples(
        st.sampled_from(["PROXY", "PROXY", "PROXY", "Proxy", ""]),
        st.sampled_from(["TCP4", "TCP6", "TCP4", "TCP6", "UNKNOWN", "UDP4", ""]),
        ADDRESSES,
        ADDRESSES,
        NUMBERS,
        NUMBERS,
    ),
    st.tuples(st.just("PROXY"), st.just("UNKNOWN"), st.text(max_size=100)),
).map(lambda words: " ".join(words).encode() + b"\r\n")


@given(LINES)
def test_a_line_is_read_as_by_its_words(raw: bytes) -> None:
    raw = raw[: raw.index(b"\r\n") + 2]
    expected = naive_line(raw)
    if expected is None:
        assert is_malformed(raw)
    else:
        assert read_header(raw) == Header(*expected, b"")


def outcome(pieces: list[bytes]) -> Header | str | None:
    """What comes of pieces that arrive one after another, with the rest of all of them."""
    received = b""
    for number, piece in enumerate(pieces, 1):
        received += piece
        try:
            header = read_header(received)
        except Malformed:
            return "malformed"
        if header is not None:
            return Header(header.source, header.port, header.rest + b"".join(pieces[number:]))
    return None


HEADERS = st.sampled_from([*SHORT.values(), *(raw for raw in MALFORMED.values() if len(raw) < 999)])


@given(HEADERS, st.binary(max_size=8), st.lists(st.integers(0, 400), max_size=6))
def test_it_does_not_matter_where_a_header_is_cut(raw: bytes, rest: bytes, cuts: list[int]) -> None:
    raw += rest
    places = sorted({min(cut, len(raw)) for cut in cuts})
    pieces = [raw[a:b] for a, b in zip([0, *places], [*places, len(raw)], strict=True)]
    assert outcome(pieces) == outcome([raw])


@given(HEADERS, st.lists(st.tuples(st.integers(0, 999), st.integers(1, 255)), max_size=4))
def test_a_flipped_header_is_read_or_malformed_but_never_an_error(
    raw: bytes, flips: list[tuple[int, int]]
) -> None:
    changed = bytearray(raw)
    for position, bits in flips:
        changed[position % len(changed)] ^= bits
    assert outcome([bytes(changed)]) == outcome([bytes([byte]) for byte in changed])


@given(st.binary(max_size=60))
def test_random_bytes_after_a_good_beginning_are_never_an_error(raw: bytes) -> None:
    for start in (b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ", SIGNATURE, SIGNATURE + b"\x21"):
        outcome([start + raw])
