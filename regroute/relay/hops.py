"""Fields that end at the next hop, in requests and in answers (RFC 9110 §7.6.1)."""

from collections.abc import Iterable, Iterator

from ..answers import Fields

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)


def end_to_end(fields: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """The fields that go on, in their order and with their repetitions."""
    fields = tuple(fields)
    dropped = HOP_BY_HOP | _named(fields)
    return ((name, value) for name, value in fields if name.lower() not in dropped)


def _named(fields: Fields) -> set[bytes]:
    """The fields that ``Connection`` says are for this hop."""
    options = (value for name, value in fields if name.lower() == b"connection")
    return {option.strip(b" \t").lower() for value in options for option in value.split(b",")}
