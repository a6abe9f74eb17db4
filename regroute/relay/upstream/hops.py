"""Fields that end at the next hop, in requests and in answers (RFC 9110 §7.6.1)."""

from collections.abc import Iterable, Iterator

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
    named = (value for name, value in fields if name.lower() == b"connection")
    dropped = HOP_BY_HOP | options_of(named)
    return ((name, value) for name, value in fields if name.lower() not in dropped)


def options_of(connection: Iterable[bytes]) -> set[bytes]:
    """What ``Connection`` says is for this hop, by the values of its lines: names of fields too."""
    return {option.strip(b" \t").lower() for value in connection for option in value.split(b",")}
