"""The table of interval starts, against a scan through every prefix."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from regroute.networks.ranges import Ranges
from regroute.networks.spans import parse_span
from regroute.networks.table import AddressTable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Sets = Mapping[str, list[Network]]

# Prefixes that overlap, nest, touch and repeat: cut from few numbers, at all lengths. None is
# within ::ffff:0:0/96, whose addresses are IPv4 ones.
_FEW_V4 = [0, 1, 0x0A000000, 0x0A000080, 0x0AFFFFFF, 0x0B000000, 0x7FFFFFFF, 0x80000000, 2**32 - 1]
_FEW_V6 = [0, 1, 0x20010DB8 << 96, (0x20010DB8 << 96) + 255, 2**127 - 1, 2**127, 2**128 - 1]

v4_networks = st.builds(
    lambda number, length: IPv4Network((number, length), strict=False),
    st.sampled_from(_FEW_V4) | st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)
v6_networks = st.builds(
    lambda number, length: IPv6Network((number, length), strict=False),
    st.sampled_from(_FEW_V6) | st.integers(2**125, 2**128 - 1),
    st.integers(0, 128),
)
named_sets = st.dictionaries(
    st.sampled_from("abcdef"), st.lists(v4_networks | v6_networks, max_size=6), max_size=6
)


def table_of(sets: Sets) -> AddressTable:
    return AddressTable.of(
        {
            name: Ranges.of(parse_span(str(network)) for network in networks)
            for name, networks in sets.items()
        }
    )


def scan(sets: Sets, address: Address) -> set[str]:
    """The naive twin: ask every prefix of every set."""
    return {
        name for name, networks in sets.items() if any(address in network for network in networks)
    }


def edges(sets: Sets) -> set[Address]:
    """The first and last address of every prefix, their neighbours, and both families' ends."""
    found: set[Address] = set()
    for kind, top in ((IPv4Address, 2**32), (IPv6Address, 2**128)):
        numbers = {0, top - 1}
        for network in (network for networks in sets.values() for network in networks):
            if network.max_prefixlen == kind(0).max_prefixlen:
                first, last = int(network[0]), int(network[-1])
                numbers |= {first - 1, first, last, last + 1}
        found |= {kind(number) for number in numbers if 0 <= number < top}
    return found


@given(named_sets)
def test_the_edges_of_every_prefix_are_found_as_by_a_scan(sets: Sets) -> None:
    table = table_of(sets)
    for address in edges(sets):
        assert table.lookup(address) == scan(sets, address), address


@given(named_sets, st.lists(st.ip_addresses(v=4) | st.ip_addresses(v=6), max_size=20))
def test_any_address_is_found_as_by_a_scan(sets: Sets, addresses: list[Address]) -> None:
    table = table_of(sets)
    for address in addresses:
        assert table.lookup(address) == scan(sets, address), address


@given(named_sets)
def test_no_two_neighbouring_intervals_hold_the_same_names(sets: Sets) -> None:
    table = table_of(sets)
    for version in (4, 6):
        starts, names = table.starts[version], table.names[version]
        assert len(starts) == len(names)
        assert starts[0] == 0
        assert list(starts) == sorted(set(starts))
        assert all(here is not after for here, after in pairwise(names))


@given(named_sets)
def test_equal_sets_of_names_are_one_object_a_family(sets: Sets) -> None:
    for names in table_of(sets).names.values():
        assert len({id(here) for here in names}) == len(set(names))


def test_nested_prefixes_open_and_close_around_each_other() -> None:
    sets: Sets = {
        "all": [ip_network("0.0.0.0/0")],
        "ten": [ip_network("10.0.0.0/8")],
        "office": [ip_network("10.1.0.0/16"), ip_network("2001:db8::/32")],
        "desk": [ip_network("10.1.2.3/32")],
    }
    table = table_of(sets)
    found = {
        text: sorted(table.lookup(ip_address(text)))
        for text in ["9.255.255.255", "10.0.0.0", "10.1.2.2", "10.1.2.3", "10.1.2.4", "2001:db8::"]
    }
    assert found == {
        "9.255.255.255": ["all"],
        "10.0.0.0": ["all", "ten"],
        "10.1.2.2": ["all", "office", "ten"],
        "10.1.2.3": ["all", "desk", "office", "ten"],
        "10.1.2.4": ["all", "office", "ten"],
        "2001:db8::": ["office"],
    }
    assert table.lookup(ip_address("11.0.0.0")) == {"all"}
    assert table.lookup(ip_address("2001:db9::")) == set()


def test_an_empty_table_knows_no_address() -> None:
    table = table_of({})
    assert table.lookup(IPv4Address("255.255.255.255")) == set()
    assert table.lookup(IPv6Address("::")) == set()


def test_prefixes_that_touch_hand_over_at_the_edge() -> None:
    sets: Sets = {"low": [ip_network("10.0.0.0/25")], "high": [ip_network("10.0.0.128/25")]}
    table = table_of(sets)
    assert table.lookup(ip_address("10.0.0.127")) == {"low"}
    assert table.lookup(ip_address("10.0.0.128")) == {"high"}
    assert table.starts[4] == (0, *(int(ip_address(f"10.0.{n}")) for n in ("0.0", "0.128", "1.0")))
