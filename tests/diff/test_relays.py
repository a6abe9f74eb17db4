"""Comparing configurations that relay: what a client sees of it, and what it cannot see."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from regroute.check import Checked
from regroute.cli import main
from regroute.diff.outside import outside
from regroute.diff.space import compare
from regroute.diff.steps import finish

from ..issuers import new_root, pem
from ..making import checked

FILES = {"p.txt": b"secret\n", "q.txt": b"other\n", "ca.pem": pem(new_root().certificate)}


def front(terms: str, rule: str = "{client: 10.0.0.0/8, method: [GET, PUT], to: hub}") -> Checked:
    """A front before one registry, and others for everyone else."""
    url = "https://registry.example/team"
    text = f"registries: {{hub: {{url: '{url}', {terms}}}}}\nrules: [{rule}, {{deny: no}}]"
    return checked(text, FILES)


RELAY = "mode: relay"
GET, PUT, BLOB = "GET /v2/any/manifests/any", "PUT /v2/any/manifests/any", "GET /v2/any/blobs"


GETS, PUTS = (GET, None, None), (PUT, None, None)


@pytest.mark.parametrize(
    ("old", "new", "moves"),
    [
        ("mode: redirect", RELAY, {(GET, 302, None), (PUT, 302, None)}),
        ("mode: redirect", "mode: auto", {(GET, 302, None), (PUT, 302, None)}),
        (RELAY, f"{RELAY}, blobs: redirect", {(BLOB, None, 302)}),
        (RELAY, f"{RELAY}, blobs: stream", set()),
        # containerd is redirected; all others may be when it is known that nobody is asked there.
        (RELAY, "mode: auto", {GETS, (GET, None, 302)}),
        (RELAY, f"{RELAY}, challenge: keep", {GETS, PUTS}),
        (RELAY, f"{RELAY}, auth: anonymous", {GETS, PUTS}),
        (
            f"{RELAY}, auth: {{username: u, password_file: p.txt}}",
            f"{RELAY}, auth: {{username: u, password_file: q.txt}}",
            {GETS, PUTS},
        ),
        (RELAY, f"{RELAY}, connect: 1s, idle: 1s, connections: 1", set()),
        (RELAY, f"{RELAY}, forwarded: true, ca: ca.pem", set()),
    ],
)
def test_what_a_client_sees_of_a_change(
    old: str, new: str, moves: set[tuple[str, int | None, int | None]]
) -> None:
    found = finish(compare(front(old).rules, front(new).rules))
    told = {
        (f"{shape.method} {path}", move.before.status, move.after.status)
        for move in found.moves
        for shape in move.shapes
        for path in [shape.path.removesuffix("/sha256:any")]
        if f"{shape.method} {path}" in (GET, PUT, BLOB)
    }
    assert told == moves
    assert {span.shortest for move in found.moves for span in found.ranges(move)} <= {"10.0.0.0/8"}


def test_clients_that_follow_are_told_apart_by_their_names() -> None:
    """Also where no rule speaks of user agents."""
    old, new = front("mode: auto"), front("mode: auto, redirected: ['containerd/*', 'docker/*']")
    found = finish(compare(old.rules, new.rules))
    [move] = found.moves
    assert {shape.user_agent for shape in move.shapes} == {"docker/any"}
    assert (str(move.before), str(move.after)) == ("rule-1 → hub relayed", "rule-1 → hub 302")
    assert move.locations == (None, "https://registry.example/v2/team/any/manifests/any")


def test_one_rule_may_relay_and_redirect() -> None:
    """Each kind of answer is a move of its own."""
    rule = "{client: 10.0.0.0/8, to: hub}"
    found = finish(
        compare(
            front("mode: auto", "{client: 10.0.0.1, to: hub}").rules,
            front("mode: auto", rule).rules,
        )
    )
    told = {(str(move.after), shape.user_agent) for move in found.moves for shape in move.shapes}
    assert {("rule-1 → hub relayed", ""), ("rule-1 → hub 302", "containerd/any")} <= told
    assert {("rule-1 → hub 302", ""), ("rule-1 → hub relayed", "containerd/any")}.isdisjoint(told)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("mode: relay", "mode: relay", []),
        ("mode: relay", "mode: relay, connect: 1s", ["registries.hub"]),
        ("mode: relay", "mode: relay, idle: 1s", ["registries.hub"]),
        ("mode: relay", "mode: relay, connections: 1", ["registries.hub"]),
        ("mode: relay", "mode: relay, forwarded: true", ["registries.hub"]),
        ("mode: relay", "mode: relay, ca: ca.pem", ["registries.hub"]),
        ("mode: relay", "mode: auto", []),
        ("mode: relay", "mode: relay, auth: anonymous", []),
    ],
)
def test_what_a_client_cannot_see_is_named(old: str, new: str, named: list[str]) -> None:
    assert list(outside(front(old), front(new))) == named


def test_where_tokens_are_had_is_named() -> None:
    def with_token(realm: str) -> Checked:
        return checked(f"rules: [{{deny: no}}]\ntoken: {{realm: 'https://a.example/{realm}'}}")

    assert list(outside(with_token("a"), with_token("b"))) == ["token"]
    assert list(outside(with_token("a"), with_token("a"))) == []


def test_programs_get_null_for_the_status_of_a_relay(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("rules: [{to: https://registry.example}]")
    (tmp_path / "new.yaml").write_text(
        "registries: {hub: {url: https://registry.example, mode: relay}}\nrules: [{to: hub}]"
    )
    paths = [str(tmp_path / name) for name in ("old.yaml", "new.yaml")]
    told: dict[str, Any] = json.loads(CliRunner().invoke(main, ["diff", *paths, "--json"]).stdout)
    move = told["moves"][0]
    assert move["from"]["status"] == 302
    assert move["to"] == {"rule": "rule-1", "registry": "hub", "status": None}
    assert move["example"]["from_location"] == "https://registry.example/v2/any/manifests/any"
    assert move["example"]["to_location"] is None
