"""Who is calling: the peer, or whom a trusted proxy names."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.answers import Refusal
from regroute.clients import Clients, peer_address

Address = IPv4Address | IPv6Address
PROXY = "127.0.0.1"
REFUSED = 400

_TRUSTED = [ip_network(text) for text in ("127.0.0.0/8", "10.0.0.0/8", "::1", "2001:db8:f::/48")]


def trusts(address: Address) -> bool:
    return any(address in network for network in _TRUSTED)


def seen(header: str, *values: str, peer: str = PROXY) -> str | int:
    """The client's address as text, or the status of the refusal."""

    def lines(name: bytes) -> Sequence[bytes]:
        assert name == header.encode(), "no other field is looked at"
        return [value.encode("latin-1") for value in values]

    try:
        return str(Clients(header, trusts).address(peer, lines))
    except Refusal as refusal:
        return refusal.status


def nothing_is_read(name: bytes) -> Sequence[bytes]:
    raise AssertionError(f"{name!r} is nobody's to believe")


@pytest.mark.parametrize("header", ["x-real-ip", "x-forwarded-for", "forwarded"])
@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("192.168.0.1", "192.168.0.1"),
        ("::ffff:192.168.0.1", "192.168.0.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:128.0.0.1", "128.0.0.1"),
    ],
)
def test_a_peer_that_is_not_trusted_is_the_client(header: str, peer: str, address: str) -> None:
    """Whatever it sends: its fields are not even read."""
    assert str(Clients(header, trusts).address(peer, nothing_is_read)) == address


@pytest.mark.parametrize("header", ["x-real-ip", "x-forwarded-for", "forwarded"])
@pytest.mark.parametrize("values", [[], [""], [" \t "]], ids=["none", "empty", "blank"])
def test_without_a_field_a_trusted_peer_is_the_client(header: str, values: list[str]) -> None:
    assert seen(header, *values, peer="::ffff:127.0.0.9") == "127.0.0.9"


@pytest.mark.parametrize("peer", ["127.0.0.1", "::ffff:127.0.0.1", "::1", "10.255.255.255"])
def test_a_trusted_peer_is_believed_in_either_notation(peer: str) -> None:
    assert seen("x-real-ip", "192.168.0.1", peer=peer) == "192.168.0.1"


@pytest.mark.parametrize(
    ("values", "address"),
    [
        (["192.168.0.1"], "192.168.0.1"),
        ([" 192.168.0.1\t"], "192.168.0.1"),
        (["2001:DB8:0::1"], "2001:db8::1"),
        (["::ffff:192.168.0.1"], "192.168.0.1"),
        (["127.0.0.5"], "127.0.0.5"),
        (["192.168.0.1", "192.168.0.1"], REFUSED),
        (["192.168.0.1", ""], REFUSED),
        (["192.168.0.1, 192.168.0.2"], REFUSED),
        (["192.168.0.1:80"], REFUSED),
        (["[2001:db8::1]"], REFUSED),
        (["unknown"], REFUSED),
        (["localhost"], REFUSED),
        (["192.168.0"], REFUSED),
        (["192.168.0.01"], REFUSED),
        (["192.168.0.1/32"], REFUSED),
        (["3232235521"], REFUSED),
        (["fe80::1%eth0"], REFUSED),
        (["192.168.0.1\xa0"], REFUSED),
        (["\xb9.1.1.1"], REFUSED),
    ],
)
@pytest.mark.parametrize("header", ["x-real-ip", "cf-connecting-ip"])
def test_a_single_address_field_holds_one_address(
    header: str, values: list[str], address: str | int
) -> None:
    assert seen(header, *values) == address


@pytest.mark.parametrize(
    ("values", "address"),
    [
        (["192.168.0.1"], "192.168.0.1"),
        (["1.1.1.1, 192.168.0.1"], "192.168.0.1"),
        (["1.1.1.1,192.168.0.1,10.0.0.1 , 127.0.0.1"], "192.168.0.1"),
        (["1.1.1.1", "192.168.0.1", "10.0.0.1"], "192.168.0.1"),
        (["1.1.1.1", "192.168.0.1, 10.0.0.1", ""], "192.168.0.1"),
        (["192.168.0.1,, ,"], "192.168.0.1"),
        ([",", " , "], PROXY),
        (["10.0.0.3, 10.0.0.2, 10.0.0.1"], "10.0.0.3"),
        (["10.0.0.3", "::1"], "10.0.0.3"),
        (["192.168.0.1:65535"], "192.168.0.1"),
        (["[2001:db8::1]:80"], "2001:db8::1"),
        (["[2001:db8::1]"], "2001:db8::1"),
        (["2001:db8::1"], "2001:db8::1"),
        (["::ffff:192.168.0.1"], "192.168.0.1"),
        (["[::ffff:192.168.0.1]:80"], "192.168.0.1"),
        (["192.168.0.1, ::ffff:10.0.0.1"], "192.168.0.1"),
        (["192.168.0.1, 10.0.0.1:4711, [2001:db8:f::1]:4711"], "192.168.0.1"),
        (["garbage, 192.168.0.1"], "192.168.0.1"),
        (["garbage", "192.168.0.1"], "192.168.0.1"),
        (["garbage, 10.0.0.1"], REFUSED),
        (["192.168.0.1, unknown"], REFUSED),
        (["192.168.0.1, _hidden"], REFUSED),
        (["192.168.0.1, unknown, 10.0.0.1"], REFUSED),
        (["192.168.0.1:"], REFUSED),
        (["192.168.0.1:http"], REFUSED),
        (["192.168.0.1:123456"], REFUSED),
        (["192.168.0.1:-1"], REFUSED),
        (["[192.168.0.1]"], REFUSED),
        (["[2001:db8::1"], REFUSED),
        (["2001:db8::1]"], REFUSED),
        (["[2001:db8::1]80"], REFUSED),
        (["[fe80::1%eth0]:80"], REFUSED),
        (['"192.168.0.1"'], REFUSED),
        (["for=192.168.0.1"], REFUSED),
        (["192.168.0.1;10.0.0.1"], REFUSED),
        (["192.168.0.1 10.0.0.1"], REFUSED),
    ],
)
def test_x_forwarded_for_is_read_from_the_right(values: list[str], address: str | int) -> None:
    assert seen("x-forwarded-for", *values) == address


@pytest.mark.parametrize(
    ("values", "address"),
    [
        (["for=192.168.0.1"], "192.168.0.1"),
        (["For=192.168.0.1;Proto=https;by=10.0.0.1"], "192.168.0.1"),
        (["proto=https ; FOR=192.168.0.1"], "192.168.0.1"),
        ([";;for=192.168.0.1;"], "192.168.0.1"),
        (['for="192.168.0.1"'], "192.168.0.1"),
        (['for="192.168.0.1:80"'], "192.168.0.1"),
        (['for="192.168.0.1:_http"'], "192.168.0.1"),
        (["for=192.168.0.1:80"], "192.168.0.1"),
        (['for="[2001:db8::1]"'], "2001:db8::1"),
        (['for="[2001:DB8::1]:4711"'], "2001:db8::1"),
        (['for="[::ffff:192.168.0.1]"'], "192.168.0.1"),
        ([r'for="\1\92.168.0.1"'], "192.168.0.1"),
        (["for=1.1.1.1, for=192.168.0.1, for=10.0.0.1"], "192.168.0.1"),
        (["for=1.1.1.1,for=192.168.0.1", 'for="[::1]"', "for=10.0.0.1"], "192.168.0.1"),
        (["for=10.0.0.3, for=10.0.0.2"], "10.0.0.3"),
        (["for=192.168.0.1,, ,"], "192.168.0.1"),
        ([",", " , "], PROXY),
        (['for=192.168.0.1;by="a,b;for=1.1.1.1"'], "192.168.0.1"),
        (['by="x,for=1.1.1.1";for=192.168.0.1'], "192.168.0.1"),
        ([r'for=192.168.0.1;by="\",for=1.1.1.1"'], "192.168.0.1"),
        ([r'for=192.168.0.1;by="\\"'], "192.168.0.1"),
        (['for=192.168.0.1;a=",b=";c=",d="'], "192.168.0.1"),
        (['for=192.168.0.1;a="x,for=";b="y"'], "192.168.0.1"),
        (["xfor=1.1.1.1;for=192.168.0.1;form=2.2.2.2"], "192.168.0.1"),
        (["garbage, for=192.168.0.1"], "192.168.0.1"),
        (['for="1.1.1.1, for=192.168.0.1'], "192.168.0.1"),
        (['for="1.1.1.1', "for=192.168.0.1"], "192.168.0.1"),
        (['for="', 'for="192.168.0.1"'], "192.168.0.1"),
        (['for="1.1.1.1, for=10.0.0.1'], REFUSED),
        (["for=192.168.0.1, for=unknown"], REFUSED),
        (["for=192.168.0.1, for=_hidden"], REFUSED),
        (['for=192.168.0.1, for="_hidden:80"'], REFUSED),
        (["for=192.168.0.1, by=10.0.0.1"], REFUSED),
        (["for=192.168.0.1, ;"], REFUSED),
        (["for=192.168.0.1;for=192.168.0.1"], REFUSED),
        (["for=192.168.0.1;For=10.0.0.1"], REFUSED),
        (["for="], REFUSED),
        (['for=""'], REFUSED),
        (["for"], REFUSED),
        (["192.168.0.1"], REFUSED),
        (["for = 192.168.0.1"], REFUSED),
        (["for=192.168.0.1 by=x"], REFUSED),
        (['for="192.168.0.1'], REFUSED),
        ([r'for="192.168.0.1\"'], REFUSED),
        (['for=192.168.0.1"'], REFUSED),
        (['for="192.168.0.1"x'], REFUSED),
        (["for='192.168.0.1'"], REFUSED),
        (['for="192.168.0.1:"'], REFUSED),
        (['for="192.168.0.1:123456"'], REFUSED),
        (['for=" 192.168.0.1"'], REFUSED),
        (['for="2001:db8::1"'], REFUSED),
        (["for=2001:db8::1"], REFUSED),
        (['for="[fe80::1%eth0]"'], REFUSED),
        (['for="[192.168.0.1]"'], REFUSED),
        (['for="192.168.0.1, 10.0.0.1"'], REFUSED),
    ],
)
def test_forwarded_is_read_from_the_right(values: list[str], address: str | int) -> None:
    assert seen("forwarded", *values) == address


# What each proxy of a chain may say; an element is written well, but may name nobody.
_NODES = ["192.168.0.1", "8.8.8.8:53", "10.0.0.1", "10.9.9.9:80", "[::1]", "[2001:db8::1]:4711"]
_NOBODY = ["unknown", "_hidden", "_SEVKISEK:_port", "10.0.0.256", "x", ""]
nodes = st.sampled_from(_NODES * 3 + _NOBODY)
tokens = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=8)
quotable = st.text('ab,;="\\ \t[]:\xe9for10.', max_size=12)
blanks = st.sampled_from(["", " ", "\t "])


@st.composite
def quoted(draw: st.DrawFn, text: str) -> str:
    """A quoted string: quotes and backslashes are escaped, any other character may be."""
    escaped = (
        "\\" + char if char in '"\\' or draw(st.integers(0, 5)) == 0 else char for char in text
    )
    return '"' + "".join(escaped) + '"'


@st.composite
def pairs(draw: st.DrawFn) -> str:
    if draw(st.integers(0, 2)):
        node = draw(nodes)
        name = draw(st.sampled_from(["for", "For", "FOR"]))
        is_token = node and not set(node) & set("[]:")
        return f"{name}={node if is_token and draw(st.booleans()) else draw(quoted(node))}"
    value = draw(tokens | quotable.flatmap(quoted))
    return f"{draw(st.sampled_from(['by', 'host', 'proto', 'xfor']))}={value}"


elements = st.lists(pairs() | st.just(""), max_size=3).map(";".join)
fields = st.lists(st.lists(elements, max_size=4).map(", ".join), max_size=3)


def parse_forwarded(field: str) -> list[list[tuple[str, str]]]:
    """The naive twin: a well-formed field from left to right, one character after the other."""
    found: list[list[tuple[str, str]]] = []
    element: list[tuple[str, str]] = []
    name, value, in_value = "", "", False
    rest = iter(field + ",")
    for char in rest:
        if char == '"':
            while (char := next(rest)) != '"':
                value += next(rest) if char == "\\" else char
        elif char in ",;":
            if in_value or char == ";":
                element.append((name.lower(), value))
            if char == "," and element:
                found.append(element)
                element = []
            name, value, in_value = "", "", False
        elif char == "=" and not in_value:
            in_value = True
        elif char not in " \t":
            name, value = (name, value + char) if in_value else (name + char, value)
    return found


def read_node(node: str) -> Address | None:
    host, _, port = node.rpartition(":") if not node.endswith("]") else (node, "", "")
    if not host:
        host, port = port, ""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def judge(chain: list[Address | None]) -> str | int:
    """The client among addresses from left to right; None is an element that names nobody."""
    for position, address in reversed(list(enumerate(chain))):
        if address is None:
            return REFUSED
        if not trusts(address) or position == 0:
            return str(address)
    return PROXY


@given(fields)
def test_well_formed_forwarded_fields_are_read_as_from_the_left(values: list[str]) -> None:
    chain = []
    for element in parse_forwarded(",".join(values)):
        named = [value for name, value in element if name == "for"]
        chain.append(read_node(named[0]) if len(named) == 1 else None)
    assert seen("forwarded", *values) == judge(chain)


@given(st.lists(st.lists(nodes, max_size=4), max_size=3), blanks)
def test_x_forwarded_for_is_judged_as_one_list(lines: list[list[str]], blank: str) -> None:
    values = [f"{blank},{blank}".join(line) for line in lines]
    chain = [read_node(node) for line in lines for node in line if node]
    assert seen("x-forwarded-for", *values) == judge(chain)


# What a client may put before the element that the trusted proxy appends.
hostile = st.text('for=",;\\ \t[]:1.0x', max_size=40) | st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=40
)


@given(hostile, quotable.flatmap(quoted), st.booleans())
def test_nothing_that_a_client_writes_hides_what_the_proxy_appended(
    text: str, host: str, one_line: bool
) -> None:
    """The appended element quotes text of the client's too, as `host` does."""
    own = f"for=192.168.0.1;host={host}"
    values = [f"{text}, {own}"] if one_line else [text, own]
    assert seen("forwarded", *values) == "192.168.0.1"
    values = [f"{text}, 192.168.0.1"] if one_line else [text, "192.168.0.1"]
    assert seen("x-forwarded-for", *values) == "192.168.0.1"


@given(st.sampled_from(["x-real-ip", "x-forwarded-for", "forwarded"]), st.lists(hostile))
def test_any_field_gives_an_address_or_a_refusal(header: str, values: list[str]) -> None:
    found = seen(header, *values)
    assert found == REFUSED or ip_address(str(found))


@given(st.ip_addresses(v=4))
def test_a_mapped_peer_is_its_ipv4_address(address: IPv4Address) -> None:
    assert peer_address(f"::ffff:{address}") == peer_address(str(address)) == address
