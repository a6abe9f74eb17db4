"""How a set of addresses is written: one address, a CIDR, or a range."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.networks.spans import Span, parse_address, parse_span, unmapped


def v4(first: str, last: str | None = None) -> Span:
    return Span(4, int(IPv4Address(first)), int(IPv4Address(last or first)))


def v6(first: str, last: str | None = None) -> Span:
    return Span(6, int(IPv6Address(first)), int(IPv6Address(last or first)))


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("192.168.0.1", v4("192.168.0.1")),
        ("0.0.0.0", v4("0.0.0.0")),
        ("255.255.255.255", v4("255.255.255.255")),
        ("2001:DB8::1", v6("2001:db8::1")),
        ("::", v6("::")),
        ("10.0.0.0/8", v4("10.0.0.0", "10.255.255.255")),
        ("10.1.2.3/32", v4("10.1.2.3")),
        ("10.1.2.2/31", v4("10.1.2.2", "10.1.2.3")),
        ("0.0.0.0/0", v4("0.0.0.0", "255.255.255.255")),
        ("2001:db8::/32", v6("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff")),
        ("::1/128", v6("::1")),
        ("::/0", v6("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
        ("10.0.0.1-10.0.0.9", v4("10.0.0.1", "10.0.0.9")),
        ("10.0.0.1 - 10.0.0.9", v4("10.0.0.1", "10.0.0.9")),
        ("10.0.0.1-10.0.0.1", v4("10.0.0.1")),
        ("2001:db8::1-2001:db8::ff", v6("2001:db8::1", "2001:db8::ff")),
        ("0.0.0.0-255.255.255.255", v4("0.0.0.0", "255.255.255.255")),
    ],
)
def test_a_span_is_an_address_a_cidr_or_a_range(text: str, span: Span) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("::ffff:10.1.2.3", v4("10.1.2.3")),
        ("::ffff:a01:203", v4("10.1.2.3")),
        ("::FFFF:10.0.0.0/104", v4("10.0.0.0", "10.255.255.255")),
        ("::ffff:0:0/96", v4("0.0.0.0", "255.255.255.255")),
        ("::ffff:10.0.0.1-::ffff:10.0.0.9", v4("10.0.0.1", "10.0.0.9")),
        ("10.0.0.1-::ffff:10.0.0.9", v4("10.0.0.1", "10.0.0.9")),
        ("::ffff:10.0.0.1-10.0.0.9", v4("10.0.0.1", "10.0.0.9")),
    ],
)
def test_ipv4_mapped_addresses_count_as_ipv4(text: str, span: Span) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize(
    "text",
    ["::fffe:ffff:ffff", "::1:0:0:0", "::10.1.2.3", "64:ff9b::10.1.2.3", "::ffff:0:10.1.2.3"],
)
def test_addresses_that_only_look_like_mapped_ones_stay_ipv6(text: str) -> None:
    assert parse_span(text) == v6(text)
    assert parse_address(text) == IPv6Address(text)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("10.0.0.1/8", "did you mean 10.0.0.0/8?"),
        ("2001:db8::1/32", "did you mean 2001:db8::/32?"),
        ("10.0.0.1/0", "did you mean 0.0.0.0/0?"),
        ("10.0.0.0/255.0.0.0", "did you mean 10.0.0.0/8?"),
        ("10.0.0.0/0.255.255.255", "did you mean 10.0.0.0/8?"),
        ("10.0.0.9-10.0.0.1", "did you mean 10.0.0.1-10.0.0.9?"),
        ("10.0.0.1-::1", "mixes IPv4 and IPv6"),
        ("::1-::ffff:10.0.0.1", "mixes IPv4 and IPv6"),
        ("10.0.0.0/33", "is no CIDR"),
        ("::/129", "is no CIDR"),
        ("10.0.0.0/", "is no CIDR"),
        ("10.0.0.0/-1", "is no CIDR"),
        ("10.0.0.0/8/8", "is no CIDR"),
        ("10.0.0.0/ 8", "is no CIDR"),
        ("10.0.0.0/٨", "is no CIDR"),
        ("/8", "is no CIDR"),
        ("10/8", "is no CIDR"),
        ("10.0.0.0/8-10.1.0.0/16", "is no CIDR"),
        ("", "is no IP address"),
        ("-", "is no IP address"),
        ("10.0.0.1-", "is no IP address"),
        ("10.0.0.1-10.0.0.5-10.0.0.9", "is no IP address"),
        ("10.0.0.1-9", "is no IP address"),
        ("10.0.0", "is no IP address"),
        ("10.0.0.256", "is no IP address"),
        ("010.0.0.1", "is no IP address"),
        ("167772161", "is no IP address"),
        ("10.0.0.1:80", "is no IP address"),
        ("[::1]", "is no IP address"),
        ("fe80::1%eth0", "is no IP address"),
        ("fe80::%eth0/64", "is no IP address"),
        ("registry.example", "is no IP address"),
        ("１０.0.0.1", "is no IP address"),  # noqa: RUF001
    ],
)
def test_a_faulty_span_says_what_to_write_instead(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=r"^'") as caught:
        parse_span(text)
    assert advice in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", " 10.0.0.1", "10.0.0.1 ", "10.0.0.1/32", "1", "fe80::1%eth0", "::1%", "[::1]", "x"],
)
def test_an_address_stands_alone(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_address(text)


@given(st.ip_addresses())
def test_every_address_is_read_back_from_its_text(address: IPv4Address | IPv6Address) -> None:
    """Hypothesis draws from the special-purpose blocks too, mapped addresses among them."""
    plain = unmapped(address)
    assert parse_address(str(address)) == plain
    assert parse_span(str(address)) == Span(plain.version, int(plain), int(plain))


@given(st.ip_addresses(v=4))
def test_mapping_and_unmapping_an_address_gives_it_back(address: IPv4Address) -> None:
    mapped = IPv6Address(f"::ffff:{address}")
    assert unmapped(mapped) == address == unmapped(address)


@given(st.ip_addresses(), st.integers(0, 128))
def test_a_cidr_has_the_ends_that_its_netmask_gives(
    address: IPv4Address | IPv6Address, length: int
) -> None:
    """The ends come from bit arithmetic here, and from the ipaddress module there."""
    bits = address.max_prefixlen
    kind = IPv4Network if isinstance(address, IPv4Address) else IPv6Network
    network = kind((int(address), min(length, bits)), strict=False)
    hosts = (1 << bits - network.prefixlen) - 1
    first = int(address) & ~hosts
    span = parse_span(str(network))
    mapped = 0xFFFF << 32
    if bits == 128 and network.prefixlen >= 96 and first >> 32 == 0xFFFF:
        assert span == Span(4, first - mapped, (first | hosts) - mapped)
    else:
        assert span == Span(address.version, first, first | hosts)


@given(st.sampled_from([4, 6]), st.data())
def test_a_span_is_read_back_from_its_own_text(version: int, data: st.DataObject) -> None:
    """`str` gives each span one text, by which tables and messages know it."""
    ends = data.draw(
        st.tuples(st.ip_addresses(v=version), st.ip_addresses(v=version)).map(sorted)  # type: ignore[arg-type]
    )
    span = Span(4 if version == 4 else 6, int(ends[0]), int(ends[1]))
    if all(unmapped(ip_address(str(end))) == end for end in ends):
        assert parse_span(str(span)) == span


@given(st.text(alphabet="0123456789abcdef.:/-% []x", max_size=24))
def test_any_text_is_a_span_or_a_value_error(text: str) -> None:
    try:
        span = parse_span(text)
    except ValueError:
        return
    assert 0 <= span.first <= span.last < 2 ** (32 if span.version == 4 else 128)
