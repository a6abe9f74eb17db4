"""Fields that end at the next hop do not go on (RFC 9110 §7.6.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.relay.upstream.hops import HOP_BY_HOP, end_to_end, options_of

KEPT = (b"Accept", b"a"), (b"accept", b"b"), (b"X-A", b"1"), (b"Via", b"1.1 x"), (b"Trailer", b"t")


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
@pytest.mark.parametrize("change", [bytes.lower, bytes.upper, bytes.title])
def test_these_never_go_on_however_they_are_written(name: bytes, change: object) -> None:
    assert callable(change)
    assert tuple(end_to_end([*KEPT, (change(name), b"x"), *KEPT])) == KEPT + KEPT


@pytest.mark.parametrize(
    ("values", "dropped"),
    [
        ([b"close"], set()),
        ([b"x-a"], {b"X-A"}),
        ([b"X-A, accept"], {b"X-A", b"Accept", b"accept"}),
        ([b"close", b" \tX-A\t ,,"], {b"X-A"}),
        ([b"x-a;q=1", b'"via"'], set()),
        ([b""], set()),
    ],
)
def test_what_connection_names_ends_here_too(values: list[bytes], dropped: set[bytes]) -> None:
    fields = [*KEPT, *((b"CONNECTION", value) for value in values)]
    assert list(end_to_end(fields)) == [field for field in KEPT if field[0] not in dropped]


NAMES = st.sampled_from([b"A", b"a", b"B", b"Connection", b"connection", b"TE", b"Upgrade", b"C-D"])
VALUES = st.sampled_from([b"a", b"b", b"a, b", b"close", b"TE,c-d", b"", b",", b"a b"])


def naively(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """By one look at all of them for each of them."""
    kept = []
    for name, value in fields:
        key = name.lower()
        named = any(
            option.strip().lower() == key
            for other, options in fields
            if other.lower() == b"connection"
            for option in options.split(b",")
        )
        if not named and key not in HOP_BY_HOP:
            kept.append((name, value))
    return kept


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8))
def test_the_rest_goes_on_in_its_order_and_with_its_repetitions(
    fields: list[tuple[bytes, bytes]],
) -> None:
    assert list(end_to_end(fields)) == naively(fields)
    assert b"" not in options_of([b"a,b"])
