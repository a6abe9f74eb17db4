"""The access log's lines: what programs read, and that no request can forge any of it."""

import json
import re
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from regroute.logs.access_log import Entry, Layout, Shown, line_of, line_template

NAMES = [
    "time",
    "client",
    "method",
    "host",
    "path",
    "status",
    "rule",
    "registry",
    "location",
    "user_agent",
    "microseconds",
]
PULL = Entry(
    time=1792834567.25,
    client=IPv4Address("192.168.0.7"),
    method=b"GET",
    host="registry.example",
    path=b"/v2/postgres/manifests/12-alpine?ns=docker.io",
    status=302,
    rule="office",
    registry="hub",
    location="https://registry-1.docker.io/v2/postgres/manifests/12-alpine?ns=docker.io",
    user_agent="containerd/1.6.20",
    microseconds=87,
    size=120,
)
GARBAGE = PULL._replace(
    client=None,
    method=b"",
    path=b"",
    host="",
    rule=None,
    registry=None,
    location=None,
    user_agent="",
    status=400,
    size=0,
)

_REQUESTS = st.builds(
    Entry,
    time=st.floats(0, 4e9),
    client=st.none() | st.ip_addresses(),
    method=st.binary(max_size=20),
    host=st.text(max_size=20),
    path=st.binary(max_size=60),
    status=st.integers(100, 599),
    rule=st.none() | st.text(max_size=20),
    registry=st.none() | st.text(max_size=20),
    location=st.none() | st.text(max_size=40),
    user_agent=st.binary(max_size=40).map(lambda sent: sent.decode("latin-1")),
    microseconds=st.integers(0, 10**12),
    version=st.sampled_from([b"1.0", b"1.1"]),
    size=st.integers(0, 10**9),
    referer=st.binary(max_size=40).map(lambda sent: sent.decode("latin-1")),
)
_FORGERY = PULL._replace(
    method=b'GET"\r\n127.0.0.1 - - [',
    path=b'/\x00\n{"time":"\x1b[2J\x7f\x85\\" 200 1 "-" "',
    host='h"}\n\u2028',
    user_agent='\\"\n\\x22\xff',
    referer='"\r\\',
)


def written(entry: Entry, layout: Layout = "json", client: Shown = "full") -> str:
    return line_of(entry, line_template(layout, client)).decode("ascii")


def test_json_has_the_names_that_programs_read() -> None:
    """Their order is the documented one, too."""
    assert written(PULL) == (
        '{"time":"2026-10-24T09:36:07.250Z","client":"192.168.0.7","method":"GET",'
        '"host":"registry.example","path":"/v2/postgres/manifests/12-alpine?ns=docker.io",'
        '"status":302,"rule":"office","registry":"hub",'
        '"location":"https://registry-1.docker.io/v2/postgres/manifests/12-alpine?ns=docker.io",'
        '"user_agent":"containerd/1.6.20","microseconds":87}\n'
    )


def test_what_is_unknown_is_null_in_json() -> None:
    line = json.loads(written(GARBAGE))
    assert [name for name in NAMES if line[name] is None] == [
        "client",
        "rule",
        "registry",
        "location",
    ]


@given(_REQUESTS)
@example(_FORGERY)
def test_json_gives_back_whatever_was_sent(entry: Entry) -> None:
    """The naive twin writes the same; what it means is every byte of the request."""
    text = written(entry)
    twin: dict[str, object] = entry._asdict() | {
        "client": None if entry.client is None else str(unmapped(entry.client)),
        "method": entry.method.decode("latin-1"),
        "path": entry.path.decode("latin-1"),
    }
    line = json.loads(text, object_pairs_hook=list)
    moment = line[0][1]
    twin["time"] = moment
    assert text == json.dumps({name: twin[name] for name in NAMES}, separators=(",", ":")) + "\n"
    assert line == [(name, twin[name]) for name in NAMES]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", moment)
    assert datetime.fromisoformat(moment).timestamp() == pytest.approx(entry.time - 5e-4, abs=6e-4)


@given(_REQUESTS, st.sampled_from(["json", "combined"]), st.sampled_from(["full", "none"]))
@example(_FORGERY, "json", "full")
@example(_FORGERY, "combined", "full")
def test_a_line_is_one_line_of_printable_ascii(entry: Entry, layout: Layout, shown: Shown) -> None:
    """No terminal, no pager and no other reader of lines sees more than one, or a command."""
    assert re.fullmatch(r"[ -~]+\n", written(entry, layout, shown))


def test_combined_is_what_log_analysers_read() -> None:
    entry = PULL._replace(referer="https://example.com/")
    assert written(entry, "combined") == (
        "192.168.0.7 - - [24/Oct/2026:09:36:07 +0000] "
        '"GET /v2/postgres/manifests/12-alpine?ns=docker.io HTTP/1.1" 302 120 '
        '"https://example.com/" "containerd/1.6.20"\n'
    )


def test_what_is_unknown_is_a_dash_in_combined() -> None:
    line = '- - - [24/Oct/2026:09:36:07 +0000] "-" 400 - "-" "-"\n'
    assert written(GARBAGE, "combined") == line


_COMBINED = re.compile(
    r'(\S+) - - \[(\d\d/[A-Z][a-z]{2}/\d{4}(?::\d\d){3} \+0000)\] "([^"]*)" (\d{3}) (-|\d+)'
    r' "([^"]*)" "([^"]*)"\n'
)


def unescaped(field: str) -> str:
    """What a field stands for; every backslash begins an escape."""
    assert re.fullmatch(r"(?:[ !#-\[\]-~]|\\x[0-9A-F]{2})*", field)
    return re.sub(r"\\x(..)", lambda match: chr(int(match[1], 16)), field)


@given(_REQUESTS)
@example(_FORGERY)
def test_combined_fields_cannot_be_left(entry: Entry) -> None:
    """A reader that knows the format gets each field back, and nothing beside it."""
    entry = entry._replace(user_agent="ua " + entry.user_agent, method=b"M" + entry.method)
    match = _COMBINED.fullmatch(written(entry, "combined"))
    assert match
    assert match[1] == ("-" if entry.client is None else str(unmapped(entry.client)))
    sent = b"%s %s HTTP/%s" % (entry.method, entry.path, entry.version)
    assert unescaped(match[3]).encode("latin-1") == sent
    assert match[4] == str(entry.status)
    assert match[5] == str(entry.size or "-")
    assert unescaped(match[6]) == (entry.referer or "-")
    assert unescaped(match[7]) == entry.user_agent


@pytest.mark.parametrize("month", range(1, 13))
def test_combined_names_months_in_english(month: int) -> None:
    moment = datetime(2026, month, 3, 4, 5, 6, tzinfo=UTC)
    english = "JanFebMarAprMayJunJulAugSepOctNovDec"[3 * month - 3 : 3 * month]
    line = written(PULL._replace(time=moment.timestamp()), "combined")
    assert f" [03/{english}/2026:04:05:06 +0000] " in line


@pytest.mark.parametrize(
    ("client", "full", "prefix"),
    [
        (IPv4Address("192.168.0.7"), "192.168.0.7", "192.168.0.0"),
        (IPv4Address("192.168.0.255"), "192.168.0.255", "192.168.0.0"),
        (IPv6Address("2001:db8:1:2:3::4"), "2001:db8:1:2:3::4", "2001:db8:1::"),
        (IPv6Address("::1"), "::1", "::"),
        (IPv6Address("::ffff:192.168.0.7"), "192.168.0.7", "192.168.0.0"),
        (IPv6Address("fe80::1%eth0"), "fe80::1", "fe80::"),
        ("192.168.0.7", "192.168.0.7", "192.168.0.0"),
        ("::ffff:192.168.0.7", "192.168.0.7", "192.168.0.0"),
        ("2001:DB8:1:2::3", "2001:db8:1:2::3", "2001:db8:1::"),
        ("fe80::1%eth0", "fe80::1", "fe80::"),
        ('a "peer"\n', 'a "peer"\n', None),
        (None, None, None),
    ],
    ids=str,
)
def test_a_client_is_shown_as_far_as_is_wanted(
    client: IPv4Address | IPv6Address | str | None, full: str | None, prefix: str | None
) -> None:
    """What has no prefix is not shown where prefixes alone are."""
    entry = PULL._replace(client=client)
    shown: dict[Shown, str | None] = {"full": full, "prefix": prefix, "none": None}
    for way, expected in shown.items():
        assert json.loads(written(entry, "json", way))["client"] == expected
        first = written(entry, "combined", way).split(" ")[0]
        assert unescaped(first) == (expected or "-")


@given(st.ip_addresses())
def test_a_prefix_tells_nothing_of_the_rest(client: IPv4Address | IPv6Address) -> None:
    """It is the same for every address of the /24 or /48."""
    client = unmapped(client)
    network = ip_network((client, 24 if client.version == 4 else 48), strict=False)
    for address in (client, network[0], network[-1]):
        line = json.loads(written(PULL._replace(client=address), "json", "prefix"))
        assert line["client"] == str(network.network_address)


def unmapped(client: object) -> IPv4Address | IPv6Address:
    assert isinstance(client, IPv4Address | IPv6Address)
    return (isinstance(client, IPv6Address) and client.ipv4_mapped) or client
