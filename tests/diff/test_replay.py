"""A log replayed: against every line answered twice, and by tables."""

import json
from collections import Counter
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.check import Checked
from regroute.diff.replay import Replayed, Skip, replay
from regroute.respond import respond_to

from ..test_rules import DIGEST, METHODS
from .configurations import configuration, pairs, seen, verdict

REQUEST = {
    "time": "2026-11-24T10:00:00.000Z",
    "client": "10.1.2.3",
    "method": "GET",
    "host": "r.example",
    "path": "/v2/library/postgres/manifests/12-alpine",
    "status": 302,
    "rule": "rule-1",
    "registry": "k8s",
    "location": "https://registry.k8s.io/v2/library/postgres/manifests/12-alpine",
    "user_agent": "docker/20.10",
    "microseconds": 20,
}
OLD = configuration("{name: all, to: k8s}")
NEW = configuration("{client: 10.0.0.0/8, to: mirror}", "{name: all, to: k8s}")


def line(**fields: object) -> bytes:
    """A line of the log, with some fields other than usual."""
    return json.dumps(REQUEST | fields).encode() + b"\n"


lines = st.fixed_dictionaries(
    {
        "client": st.sampled_from(["10.1.2.3", "10.2.0.9", "10.200.0.1", "2001:db8::1", "::2"]),
        "method": st.sampled_from([*METHODS, "PATCH", "CONNECT", "G T", ""]),
        "host": st.sampled_from(
            ["r.example", "R.Example:8080", "Other.example", "", "a b", "[::1"]
        ),
        "path": st.sampled_from(
            [
                "/",
                "/v2",
                "/v2/",
                "/v2/%5fcatalog",
                "/v2/a//b",
                "/v2/a/../b",
                "/v2/library/postgres/manifests/latest?ns=docker.io",
                f"/v2/li%62rary/a/b/blobs/{DIGEST}",
                "/v2/a/tags/list?n=1",
                "/v2/a/blobs/uploads/",
                "http://localhost/v2/a/manifests/1.2",
                "/ÿ",
                "x",
                "",
            ]
        ),
        "user_agent": st.sampled_from(["", "docker/20.10", "/x", "a Go-http"]),
    }
)


def brute(logged: list[dict[str, Any]], old: Checked, new: Checked) -> tuple[int, Counter[object]]:
    """The naive twin: both answers to each request, compared."""
    moves: Counter[object] = Counter()
    for fields in logged:
        one, other = (
            respond_to(
                side.rules,
                ip_address(fields["client"]),
                fields["method"],
                fields["path"].encode("latin-1"),
                fields["host"].encode("latin-1"),
                fields["user_agent"],
            )
            for side in (old, new)
        )
        if seen(one) != seen(other):
            moves[verdict(one), verdict(other)] += 1
    return len(logged), moves


def counted(replayed: Replayed) -> tuple[int, Counter[object]]:
    moves = {(tuple(move.before), tuple(move.after)): move.requests for move in replayed.moves}
    return replayed.requests, Counter(moves)


@given(pairs(), st.lists(lines, max_size=20))
def test_a_log_is_replayed_as_if_every_line_were_answered_twice(
    pair: tuple[Checked, Checked], logged: list[dict[str, Any]]
) -> None:
    replayed = replay((line(**fields) for fields in logged), *pair)
    assert counted(replayed) == brute(logged, *pair)
    assert replayed.changed == sum(move.requests for move in replayed.moves)
    assert replayed.skipped == {}


def test_an_example_tells_the_first_request_of_a_move_and_both_locations() -> None:
    replayed = replay([line(path="/v2/a/tags/list?n=1", client="10.9.9.9"), line()], OLD, NEW)
    [move] = replayed.moves
    assert (move.before, move.after) == (("all", "k8s", 302), ("rule-1", "mirror", 302))
    assert move.requests == 2
    assert vars(move.example) == {
        "client": "10.9.9.9",
        "method": "GET",
        "host": "r.example",
        "path": "/v2/a/tags/list?n=1",
        "user_agent": "docker/20.10",
        "from_location": "https://registry.k8s.io/v2/a/tags/list?n=1",
        "to_location": "http://mirror.example:5000/v2/a/tags/list?n=1",
    }


def test_the_moves_of_most_requests_come_first() -> None:
    new = configuration("{path: /v2/, to: mirror}", "{name: a, client: 10.0.0.0/8, to: mirror}")
    logged = [line(path="/v2/"), line(), line(), line(client="9.9.9.9"), line(path="/v2/")]
    replayed = replay([*logged, line()], OLD, new)
    assert [(move.after.rule, move.requests) for move in replayed.moves] == [
        ("a", 3),
        ("rule-1", 2),
        (None, 1),
    ]
    assert (replayed.requests, replayed.changed) == (6, 6)


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(["{name: other, to: k8s}"], id="another name"),
        pytest.param(["{path: /x, deny: no}", "{to: k8s}"], id="another position"),
        pytest.param(["{to: 'https://registry.k8s.io'}"], id="a registry without its name"),
        pytest.param(["{client: 10.0.0.0/8, to: k8s}", "{to: mirror}"], id="for others alone"),
    ],
)
def test_a_request_with_the_same_answer_does_not_change(new: list[str]) -> None:
    assert replay([line(), line()], OLD, configuration(*new)).changed == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{to: k8s}", "{to: k8s, status: 307}"),
        ("{deny: no}", "{deny: never}"),
        ("{deny: no, status: 404}", "{path: /x, deny: no}"),
        ("{to: mirror}", "{to: team}"),
        ("{method: PUT, to: k8s}", "{method: [PUT, POST], to: k8s}"),
        ("{respond: ok}", "{location: 'https://example.com/'}"),
    ],
)
def test_a_request_with_another_answer_changes(old: str, new: str) -> None:
    logged = [line(path="/v2/postgres/manifests/12")]
    assert replay(logged, configuration(old), configuration(new)).changed == 1


def test_a_repository_that_is_under_a_prefix_already_stays() -> None:
    logged = [line(path="/v2/library/postgres/manifests/12")]
    assert replay(logged, configuration("{to: mirror}"), configuration("{to: team}")).changed == 0


@pytest.mark.parametrize(
    ("unreadable", "reason"),
    [
        pytest.param(line(client=None), Skip.NO_ADDRESS, id="nobody knows the client"),
        pytest.param(line(client="gateway"), Skip.NO_ADDRESS, id="a client without an address"),
        pytest.param(line(client=""), Skip.NO_ADDRESS, id="an empty client"),
        pytest.param(line(client=7), Skip.NO_RECORD, id="a number for a client"),
        pytest.param(b"\n", Skip.NO_RECORD, id="an empty line"),
        pytest.param(b'10.1.2.3 - - [x] "GET / HTTP/1.1"\n', Skip.NO_RECORD, id="combined"),
        pytest.param(b"[]\n", Skip.NO_RECORD, id="a list"),
        pytest.param(b"7\n", Skip.NO_RECORD, id="a number"),
        pytest.param(b'"client"\n', Skip.NO_RECORD, id="a text"),
        pytest.param(b"null\n", Skip.NO_RECORD, id="null"),
        pytest.param(b"{}\n", Skip.NO_RECORD, id="an empty object"),
        pytest.param(b"\xff\n", Skip.NO_RECORD, id="no UTF-8"),
        pytest.param(b"[" * 100_000, Skip.NO_RECORD, id="deep lists"),
        pytest.param(line()[:-20], Skip.NO_RECORD, id="a line that is cut off"),
        pytest.param(line(path=None), Skip.NO_RECORD, id="no path"),
        pytest.param(line(path="/\ud800"), Skip.NO_RECORD, id="a path that no request has"),
        pytest.param(line(host=["a"]), Skip.NO_RECORD, id="a list of hosts"),
        pytest.param(line(user_agent=1), Skip.NO_RECORD, id="a number for a user agent"),
        pytest.param(line(status=400, rule=None), Skip.MALFORMED, id="refused: malformed"),
        pytest.param(line(status=408, rule=None), Skip.MALFORMED, id="refused: too slow"),
        pytest.param(line(status=414, rule=None), Skip.MALFORMED, id="refused: a line too long"),
        pytest.param(line(status=431, rule=None), Skip.MALFORMED, id="refused: fields too long"),
    ],
)
def test_what_cannot_be_replayed_is_skipped_and_counted(unreadable: bytes, reason: Skip) -> None:
    replayed = replay([line(), unreadable, line(), unreadable], OLD, NEW)
    assert (replayed.requests, replayed.changed) == (2, 2)
    assert replayed.skipped == {reason: 2}


def test_a_refusal_for_what_the_log_does_tell_is_replayed() -> None:
    replayed = replay([line(path="/v2/a//b", status=400, rule=None)], OLD, NEW)
    assert (replayed.requests, replayed.changed, replayed.skipped) == (1, 0, {})


def test_what_a_registry_refuses_by_way_of_a_relay_is_replayed() -> None:
    """A rule has judged it; what is refused before has none."""
    replayed = replay([line(status=400), line(status=414)], OLD, NEW)
    assert (replayed.requests, replayed.changed, replayed.skipped) == (2, 2, {})


def test_fields_that_no_rule_looks_at_need_not_be_there() -> None:
    short = json.dumps({key: REQUEST[key] for key in ("client", "method", "path")}).encode()
    assert replay([short], OLD, NEW).changed == 1


@pytest.mark.parametrize("client", ["prefix", "none"])
def test_where_the_old_log_has_no_whole_addresses_nothing_is_replayed(client: str) -> None:
    old = configuration("{to: k8s}", more=f"access_log: {{path: access.log, client: {client}}}")
    replayed = replay([line(), b"x\n"], old, NEW)
    assert (replayed.requests, replayed.skipped) == (0, {Skip.CUT: 2})
    assert replay([], old, NEW).skipped == {}


def test_the_new_log_may_cut_addresses() -> None:
    new = configuration("{to: mirror}", more="access_log: {path: access.log, client: prefix}")
    assert replay([line()], OLD, new).changed == 1


def test_more_clients_and_requests_than_are_remembered_are_counted_right() -> None:
    logged = (
        line(client=f"10.{number >> 8 & 255}.{number & 255}.{number >> 16}", path=f"/v2/{number}")
        for number in range(35_000)
    )
    replayed = replay(logged, OLD, NEW)
    assert (replayed.requests, replayed.changed) == (35_000, 35_000)
