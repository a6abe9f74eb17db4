"""Which rule decides: by tables, and against an interpreter of the YAML's own data."""

import json
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.answers import Answer
from regroute.choose import choose
from regroute.config.faults import Faulty
from regroute.query import Query
from regroute.rules import RuleSet

from .making import answered, checked

DIGEST = "sha256:ab"


def rules_of(*lines: str, more: str = "") -> RuleSet:
    """The rule set of rules, one a line."""
    text = "\n".join([more, "rules:", *(f"  - {line}" for line in lines)])
    return checked(text).rules


def ask(rules: RuleSet, target: str = "/", method: str = "GET", client: str = "8.8.8.8") -> Answer:
    query = Query.of(ip_address(client), method, target.encode(), b"r.example", "")
    return answered(choose(rules.decide(query)))


def allow(answer: Answer) -> str | None:
    """The value of Allow, if there is one."""
    return next((value.decode() for name, value in answer.fields if name == b"Allow"), None)


def test_the_first_rule_whose_conditions_all_hold_decides() -> None:
    rules = rules_of(
        "{client: 10.0.0.0/8, path: /a, to: 'https://one.example'}",
        "{client: 10.0.0.0/8, to: 'https://two.example'}",
        "{name: everyone, to: 'https://three.example'}",
    )
    assert ask(rules, "/a", client="10.0.0.1").rule == "rule-1"
    assert ask(rules, "/b", client="10.0.0.1").rule == "rule-2"
    assert ask(rules, "/a", client="9.0.0.1").rule == "everyone"


@pytest.mark.parametrize(
    ("rule", "served"),
    [
        ("{to: 'https://a.example'}", {"GET", "HEAD"}),
        ("{location: 'https://a.example'}", {"GET", "HEAD"}),
        ("{respond: ok}", {"GET", "HEAD"}),
        ("{deny: no}", {"GET", "HEAD", "PUT", "X"}),
        ("{method: PUT, deny: no}", {"PUT"}),
        ("{method: [PUT, HEAD], to: 'https://a.example'}", {"PUT", "HEAD"}),
        ("{not: {method: GET}, to: 'https://a.example'}", {"HEAD"}),
        ("{not: {method: GET}, deny: no}", {"HEAD", "PUT", "X"}),
        ("{not: {client: 1.1.1.1}, to: 'https://a.example'}", {"GET", "HEAD"}),
    ],
)
def test_the_methods_of_a_rule(rule: str, served: set[str]) -> None:
    rules = rules_of(rule)
    decided = {method for method in ("GET", "HEAD", "PUT", "X") if ask(rules, method=method).rule}
    assert decided == served


TO = "to: 'https://a.example'"


@pytest.mark.parametrize(
    ("rules", "method", "status", "allowed"),
    [
        pytest.param([f"{{{TO}}}"], "PUT", 405, "GET, HEAD", id="the default methods"),
        pytest.param([f"{{path: /b, {TO}}}"], "PUT", 404, None, id="another path"),
        pytest.param([f"{{path: /b, {TO}}}"], "GET", 404, None, id="another path for GET"),
        pytest.param(
            [f"{{method: [PUT, DELETE, HEAD], {TO}}}"],
            "GET",
            405,
            "HEAD, DELETE, PUT",
            id="others only",
        ),
        pytest.param(
            [f"{{path: /b, {TO}}}", f"{{method: POST, {TO}}}", f"{{{TO}}}"],
            "PUT",
            405,
            "GET, HEAD, POST",
            id="of all rules for it",
        ),
        pytest.param(
            ["{method: GET, deny: no}", f"{{{TO}}}"], "PUT", 405, "HEAD", id="less the denied"
        ),
        pytest.param(["{method: POST, deny: no}"], "GET", 404, None, id="denials serve nothing"),
        pytest.param(
            ["{deny: no, status: 405}", f"{{path: /b, method: X, {TO}}}"][:1],
            "GET",
            405,
            "",
            id="a rule that allows nothing",
        ),
        pytest.param(
            ["{method: [PUT, GET], deny: no, status: 405}", f"{{{TO}}}"],
            "PUT",
            405,
            "HEAD",
            id="a rule that says so",
        ),
        pytest.param(
            [f"{{not: {{method: POST}}, method: [GET, POST, PUT], {TO}}}"],
            "POST",
            405,
            "GET, PUT",
            id="a method that not excludes",
        ),
        pytest.param(
            [f"{{method: [GET, POST], not: {{method: GET, path: /}}, {TO}}}"],
            "PUT",
            405,
            "POST",
            id="a method that not excludes on this path",
        ),
    ],
)
def test_no_rule_is_404_or_405_with_the_methods_that_there_are_rules_for(
    rules: list[str], method: str, status: int, allowed: str | None
) -> None:
    answer = ask(rules_of(*rules), method=method)
    assert (answer.status, allow(answer)) == (status, allowed)


def unreachable(*rules: str, more: str = "") -> list[tuple[int, str]]:
    """The line of each fault, and what it says."""
    try:
        rules_of(*rules, more=more)
    except Faulty as faulty:
        return [(fault.line, fault.message) for fault in faulty.faults]
    return []


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("", ""),
        ("", "client: 10.0.0.1,"),
        ("method: [GET, HEAD],", ""),
        ("method: [GET, HEAD, PUT],", "method: PUT,"),
        ("client: 10.0.0.0/8,", "client: [10.1.0.0/16, 10.2.0.1],"),
        ("client: [10.0.0.0/9, 10.128.0.0/9],", "client: 10.0.0.0/8,"),
        ("client: office,", "client: 192.168.0.7,"),
        ("client: 192.168.0.0/16,", "client: office,"),
        ("client: [0.0.0.0/0, '::/0'],", ""),
        ("path: /v2/*,", "path: /v2/a/*,"),
        ("path: '*',", "path: /x,"),
        ("path: /*,", ""),
        ("path: /v2/%5fcatalog,", "path: /v2/_catalog,"),
        ("host: R.example,", "host: r.EXAMPLE,"),
        ("kind: [blobs, manifests],", "kind: blobs,"),
        ("repository: library/**,", "repository: library/a/*,"),
        ("user_agent: '*',", ""),
        ("not: {path: /a},", "not: {path: /a*},"),
        ("path: /v2/*,", "path: /v2/a, client: 10.0.0.1, kind: other,"),
    ],
)
def test_a_rule_that_an_earlier_one_covers_is_a_fault(earlier: str, later: str) -> None:
    more = "networks: {office: [192.168.0.0/24]}"
    rules = (f"{{name: one, {earlier} {TO}}}", f"{{name: two, {later} {TO}}}")
    ((line, message),) = unreachable(*rules, more=more)
    assert line == 4
    assert "'two'" in message
    assert "'one' on line 3" in message


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("client: 10.0.0.0/8,", ""),
        ("client: 10.0.0.0/8,", "client: [10.0.0.1, 11.0.0.1],"),
        ("client: 0.0.0.0/0,", "client: '::1',"),
        ("method: GET,", ""),
        ("", "method: [GET, PUT],"),
        ("path: /v2/*,", "path: [/v2/a, /v3],"),
        ("path: /v2,", "path: /v2*,"),
        ("host: r.example,", "path: /a,"),
        ("repository: '**',", ""),
        ("reference: '*',", "repository: a,"),
        ("repository: library/*,", "repository: library/**,"),
        ("user_agent: /*,", "path: /a,"),
        ("namespace: docker.io,", "host: docker.io,"),
        ("not: {path: /a*},", "not: {path: /a},"),
        ("not: {path: /a},", "path: /a,"),
    ],
)
def test_a_rule_that_something_can_reach_is_none(earlier: str, later: str) -> None:
    assert unreachable(f"{{{earlier} {TO}}}", f"{{{later} {TO}}}") == []


def test_a_denial_of_every_method_is_not_covered_by_a_redirect_of_two() -> None:
    assert unreachable(f"{{{TO}}}", "{deny: no}") == []
    assert [line for line, _ in unreachable("{deny: no}", f"{{{TO}}}", "{deny: no}")] == [4, 5]


Data = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """A request whose meaning is known, because it was put together of it."""

    client: str
    method: str
    path: str
    kind: str
    repository: str | None
    reference: str | None
    namespace: str | None
    host: str
    user_agent: str

    def query(self, host_field: bytes, target: bytes) -> Query:
        return Query.of(ip_address(self.client), self.method, target, host_field, self.user_agent)


def listed(value: object) -> list[str]:
    return value if isinstance(value, list) else [str(value)]


def is_in(client: IPv4Address | IPv6Address, entry: str, networks: Data) -> bool:
    if entry in networks:
        return any(is_in(client, inner, networks) for inner in listed(networks[entry]))
    if "-" in entry:
        low, high = map(ip_address, entry.split("-"))
        return low.version == client.version and int(low) <= int(client) <= int(high)
    return client in ip_network(entry)


def holds(key: str, value: object, request: Request, networks: Data) -> bool:
    """The naive twin of one condition."""
    if key == "not":
        assert isinstance(value, dict)
        return not all(holds(*inner, request, networks) for inner in value.items())
    if key == "client":
        return any(is_in(ip_address(request.client), entry, networks) for entry in listed(value))
    text = getattr(request, key)
    if text is None:
        return False
    for entry in listed(value):
        if key == "path" and entry.endswith("*"):
            found = text.startswith(entry[:-1])
        elif key == "repository" and "**" not in entry:
            found = entry.count("/") == text.count("/") and fnmatchcase(text, entry)
        elif key in ("repository", "reference", "user_agent"):
            found = fnmatchcase(text, entry)
        else:
            found = text == (entry.lower() if key == "host" else entry)
        if found:
            return True
    return False


def interpret(rules: list[Data], request: Request, networks: Data) -> Data | None:
    """The naive twin of a rule set: rule by rule, key by key."""
    known = {*simple, "not"}
    for rule in rules:
        methods = {} if "method" in rule or "deny" in rule else {"method": ["GET", "HEAD"]}
        conditions = {key: value for key, value in rule.items() if key in known} | methods
        if all(holds(key, value, request, networks) for key, value in conditions.items()):
            return rule
    return None


METHODS = ["GET", "HEAD", "DELETE", "POST", "PUT"]
NETWORKS = ["office", "lab", "wide"]
_SPANS = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "10.1.2.0-10.2.0.9", "0.0.0.0/0", "11.0.0.0/8"]
_SPANS += ["2001:db8::/32", "2001:db8::1", "::/0", "10.0.0.0/9", "10.128.0.0/9"]


def one_or_more(*values: str) -> st.SearchStrategy[str | list[str]]:
    some = st.sampled_from(values)
    return some | st.lists(some, min_size=1, max_size=3)


simple: dict[str, st.SearchStrategy[Any]] = {
    "client": one_or_more(*_SPANS, *NETWORKS),
    "host": one_or_more("r.example", "Other.Example", "localhost"),
    "path": one_or_more("/", "*", "/*", "/v2/*", "/v2/", "/v2/library/*", "/v2/_catalog"),
    "method": one_or_more(*METHODS),
    "kind": one_or_more("api", "manifests", "blobs", "tags", "referrers", "uploads", "other"),
    "repository": one_or_more("a", "*", "**", "library/*", "library/**", "**/manifests", "l*/p*"),
    "reference": one_or_more("latest", "*", "1.*", "sha256:*", DIGEST),
    "user_agent": one_or_more("docker/*", "*", "/*", "*Go*"),
    "namespace": one_or_more("docker.io", "ghcr.io"),
}
outcomes = st.one_of(
    st.sampled_from(["k8s", "mirror", "https://direct.example"]).map(lambda to: {"to": to}),
    st.just({"location": "https://example.com/about", "status": 308}),
    st.sampled_from([403, 404, 405]).map(lambda status: {"deny": "no", "status": status}),
    st.just({"respond": "ok"}),
)


@st.composite
def conditions(draw: st.DrawFn, most: int) -> Data:
    keys = draw(st.lists(st.sampled_from(list(simple)), max_size=most, unique=True))
    return {key: draw(simple[key]) for key in keys}


@st.composite
def rule_data(draw: st.DrawFn) -> Data:
    rule = draw(conditions(2))
    if draw(st.integers(0, 3)) == 0:
        inner = draw(conditions(2))
        rule |= {"not": inner} if inner else {}
    return rule | draw(outcomes)


_ENDS = [("blobs", f"blobs/{DIGEST}"), ("referrers", f"referrers/{DIGEST}")]
_ENDS += [("tags", "tags/list"), ("uploads", "blobs/uploads/")]


@st.composite
def requests(draw: st.DrawFn) -> tuple[Request, Query]:
    name = draw(st.sampled_from(["a", "library/postgres", "library/a/b", "blobs/manifests"]))
    reference = draw(st.sampled_from(["latest", "1.2", DIGEST]))
    kind, end = draw(st.sampled_from([*_ENDS, ("manifests", f"manifests/{reference}")]))
    fixed = [("/", "other"), ("/v2/", "api"), ("/v2", "api"), ("/v2/_catalog", "other")]
    repository: str | None = name
    path = f"/v2/{name}/{end}"
    if draw(st.integers(0, 2)) == 0:
        (path, kind), repository = draw(st.sampled_from(fixed)), None
    found = {"manifests": reference, "blobs": DIGEST, "referrers": DIGEST}.get(kind)
    if draw(st.booleans()):
        path = path.replace(":", "%3A")
    target = path.replace("_", "%5f").replace("library", "li%62rary")
    namespace = draw(st.sampled_from([None, "docker.io", "quay.io"]))
    target += f"?ns={namespace}" if namespace else ""
    host = draw(st.sampled_from(["r.example", "other.example", ""]))
    host_field = host.upper() + ":8080" if host and draw(st.booleans()) else host
    if draw(st.integers(0, 4)) == 0:
        host, target = "localhost", f"http://LocalHost:80{target}"
    request = Request(
        draw(st.sampled_from(["9.9.9.9", "10.1.2.3", "10.2.0.9", "10.200.0.1", "2001:db8::1"])),
        draw(st.sampled_from([*METHODS, "GET", "GET", "PATCH"])),
        path,
        kind,
        repository,
        found,
        namespace,
        host,
        draw(st.sampled_from(["", "docker/20.10", "/x", "a Go-http"])),
    )
    return request, request.query(host_field.encode(), target.encode())


def compiled(rules: list[Data], networks: Data) -> tuple[RuleSet, set[str]]:
    """The rule set of what is reachable, and the names of the rules that are not."""
    registries = {"k8s": "https://registry.k8s.io", "mirror": "http://mirror.example:5000"}
    more = f"networks: {json.dumps(networks)}\nregistries: {json.dumps(registries)}"
    lines = [json.dumps(rule) for rule in rules]
    faults = unreachable(*lines, more=more)
    assert all(message.startswith("nothing can reach") for _, message in faults)
    dead = {line - 4 for line, _ in faults}
    living = [line for position, line in enumerate(lines) if position not in dead]
    return rules_of(*living, more=more), {rules[position]["name"] for position in dead}


@given(
    st.lists(rule_data(), min_size=1, max_size=6),
    st.fixed_dictionaries({name: one_or_more(*_SPANS) for name in NETWORKS}),
    st.lists(requests(), min_size=3, max_size=8),
)
def test_rules_decide_as_an_interpreter_of_their_data_does(
    rules: list[Data], networks: Data, asked: list[tuple[Request, Query]]
) -> None:
    """Rules that the check calls unreachable are left out: no request may miss them."""
    rules = [{"name": f"r{position}"} | rule for position, rule in enumerate(rules)]
    compact, dead = compiled(rules, networks)
    for request, query in asked:
        decision = compact.decide(query)
        answer = answered(choose(decision))
        rule = interpret(rules, request, networks)
        served = [
            method
            for method in METHODS
            if (found := interpret(rules, replace(request, method=method), networks))
            and "deny" not in found
        ]
        if rule is None:
            assert decision.rule is None
            assert (answer.status, allow(answer)) == (
                (405, ", ".join(served)) if served else (404, None)
            )
            continue
        assert rule["name"] not in dead
        assert decision.rule is not None
        assert answer.rule == decision.rule.name == rule["name"]
        assert answer.status == rule.get("status", 200 if "respond" in rule else 302)
        assert answer.registry == rule.get("to")
        assert allow(answer) == (", ".join(served) if rule.get("status") == 405 else None)
