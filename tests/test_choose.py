"""From a decision to its answer: where a client is sent."""

from ipaddress import IPv4Address
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.answers import Answer, Reason, Relay
from regroute.choose import choose, locate
from regroute.query import Query
from regroute.registry import Registry

from .making import answered, checked

SHA256 = "sha256:" + "0123456789abcdef" * 4
CHARTS = Registry("charts", "https://registry.example:8443", "team")
DEEP = Registry("deep", "https://registry.example:8443", "a/b")
PLAIN = Registry("plain", "https://registry.example:8443")


def query(target: str, method: str = "GET") -> Query:
    return Query.of(IPv4Address("192.0.2.1"), method, target.encode(), b"front.example", "")


def sent(registry: Registry, target: str) -> str:
    """Path and query of where a request is sent."""
    location = locate(registry, query(target))
    assert location.startswith(registry.origin + "/")
    return location.removeprefix(registry.origin)


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/v2/x/manifests/1", "/v2/team/x/manifests/1"),
        ("/v2/x/y/z/tags/list", "/v2/team/x/y/z/tags/list"),
        (f"/v2/x/blobs/{SHA256}", f"/v2/team/x/blobs/{SHA256}"),
        (f"/v2/x/referrers/{SHA256}", f"/v2/team/x/referrers/{SHA256}"),
        ("/v2/x/blobs/uploads/", "/v2/team/x/blobs/uploads/"),
        ("/v2/x/blobs/uploads/1?digest=a:b", "/v2/team/x/blobs/uploads/1?digest=a:b"),
        ("/v2/teams/x/manifests/1", "/v2/team/teams/x/manifests/1"),
        ("/v2/team/manifests/1", "/v2/team/team/manifests/1"),
        ("/v2/x/team/manifests/1", "/v2/team/x/team/manifests/1"),
        ("/%76%32/x/manifests/1", "/%76%32/team/x/manifests/1"),
        ("/v%32/%78/manifests/1", "/v%32/team/%78/manifests/1"),
        ("http://r.example/v2/x/manifests/1", "/v2/team/x/manifests/1"),
    ],
)
def test_a_prefix_goes_after_v2_on_repository_paths(target: str, location: str) -> None:
    assert sent(CHARTS, target) == location


@pytest.mark.parametrize(
    "target",
    [
        "/v2/team/x/tags/list?n=2&last=b",
        "/v2/team/x/manifests/1",
        "/v2/te%61m/x/manifests/1",
        "/%762/%74eam/x/tags/list",
        "/v2/team/team/manifests/1",
    ],
)
def test_a_repository_that_is_under_the_prefix_already_is_left_alone(target: str) -> None:
    assert sent(CHARTS, target) == target


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/v2",
        "/v2/",
        "/v2/?a",
        "/v2/_catalog?n=5",
        "/v2/x",
        "/v2/X/manifests/1",
        f"/v1/x/blobs/{SHA256}",
        "/token?scope=repository:x:pull",
        "//v2/x/tags/list",
    ],
)
def test_paths_that_name_no_repository_have_no_prefix(target: str) -> None:
    assert sent(CHARTS, target) == target


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/v2/x/tags/list", "/v2/a/b/x/tags/list"),
        ("/v2/a/x/tags/list", "/v2/a/b/a/x/tags/list"),
        ("/v2/a/b/x/tags/list", "/v2/a/b/x/tags/list"),
        ("/v2/a/b/tags/list", "/v2/a/b/a/b/tags/list"),
    ],
)
def test_a_prefix_of_several_components(target: str, location: str) -> None:
    assert sent(DEEP, target) == location


@pytest.mark.parametrize(
    "query_part", ["?", "?n=5&last=a%2fb", "?a?b", "?/../..//", "?ns=docker.io", "?x=%zz&y='#z"]
)
def test_the_query_is_kept_byte_for_byte(query_part: str) -> None:
    assert sent(PLAIN, f"/v2/x/tags/list{query_part}") == f"/v2/x/tags/list{query_part}"
    assert sent(CHARTS, f"/v2/x/tags/list{query_part}") == f"/v2/team/x/tags/list{query_part}"


def test_unsafe_bytes_are_escaped_behind_a_prefix_too() -> None:
    assert sent(CHARTS, '/v2/x/tags/list?"<ä>') == "/v2/team/x/tags/list?%22%3C%C3%A4%3E"


@st.composite
def percent_escaped(draw: st.DrawFn, text: str) -> str:
    """A text with some characters escaped, in either letter case; slashes are not."""
    return "".join(
        draw(st.sampled_from([char, f"%{ord(char):02x}", f"%{ord(char):02X}"]))
        if char != "/" and draw(st.booleans())
        else char
        for char in text
    )


names = st.lists(
    st.sampled_from(["a", "b", "team", "blobs", "manifests", "tags", "v2"]), min_size=1, max_size=4
).map("/".join)
ends = st.sampled_from(["tags/list", "manifests/1", f"blobs/{SHA256}", "blobs/uploads/"])


@given(st.sampled_from([CHARTS, DEEP]), names, ends, st.data())
def test_the_registry_reads_the_repository_under_its_prefix(
    registry: Registry, name: str, end: str, data: st.DataObject
) -> None:
    """Whatever is escaped in the path, and with the client's bytes kept."""
    path = data.draw(percent_escaped(f"/v2/{name}/{end}"))
    location = sent(registry, path + "?q")
    under = name if name.startswith(registry.prefix + "/") else f"{registry.prefix}/{name}"
    assert unquote(location) == f"/v2/{under}/{end}?q"
    _, v2, rest = path.split("/", 2)
    assert location.startswith(f"/{v2}/")
    assert location.endswith(f"/{rest}?q")
    assert locate(registry, query(location)) == registry.origin + location, "once is enough"


_RULES = """
registries: {charts: "https://registry.example/team"}
rules:
  - {name: about, path: [/, /v2/about/tags/list], location: "https://example.com/a?b=ä#c"}
  - {name: moved, path: /moved, location: "https://example.com", status: 308}
  - {name: api, path: [/v2/, /ok], respond: ok}
  - {name: catalog, path: /v2/_catalog, deny: the catalog is not served, status: 404}
  - {name: gone, path: /gone, deny: gone, status: 410}
  - {name: read-only, method: PUT, path: /v2/*, deny: read-only, status: 405}
  - {name: upload, method: POST, path: /v2/*, to: charts, status: 307}
  - {name: url, path: /url*, to: "http://mirror.example:5000/"}
  - {name: rest, path: /v2/*, to: charts}
"""


RULES = checked(_RULES).rules


def chosen(target: str, method: str = "GET") -> Answer:
    return answered(choose(RULES.decide(query(target, method))))


@pytest.mark.parametrize("target", ["/", "/?q", "http://evil.example/", "/v2/about/tags/list?n=1"])
def test_a_fixed_location_is_the_same_for_every_path_and_query(target: str) -> None:
    answer = chosen(target)
    assert (answer.status, answer.rule, answer.registry) == (302, "about", None)
    assert answer.location == "https://example.com/a?b=%C3%A4#c"


@pytest.mark.parametrize(
    ("method", "target", "status", "rule", "registry", "location"),
    [
        ("GET", "/moved?q", 308, "moved", None, "https://example.com"),
        ("GET", "/v2/", 200, "api", None, None),
        ("GET", "/v2/_catalog", 404, "catalog", None, None),
        ("GET", "/gone", 410, "gone", None, None),
        ("PUT", "/v2/x/manifests/1", 405, "read-only", None, None),
        (
            "POST",
            "/v2/x/blobs/uploads/?mount=y",
            307,
            "upload",
            "charts",
            "https://registry.example/v2/team/x/blobs/uploads/?mount=y",
        ),
        (
            "GET",
            "/url?a",
            302,
            "url",
            "http://mirror.example:5000/",
            "http://mirror.example:5000/url?a",
        ),
        (
            "HEAD",
            "/v2/x/manifests/1",
            302,
            "rest",
            "charts",
            "https://registry.example/v2/team/x/manifests/1",
        ),
        ("DELETE", "/v2/x/manifests/1", 405, None, None, None),
        ("GET", "/nowhere", 404, None, None, None),
    ],
)
def test_each_outcome_has_its_answer(
    method: str,
    target: str,
    status: int,
    rule: str | None,
    registry: str | None,
    location: str | None,
) -> None:
    answer = chosen(target, method)
    found = (answer.status, answer.rule, answer.registry, answer.location)
    assert found == (status, rule, registry, location)


@pytest.mark.parametrize(("method", "rule"), [("PUT", "read-only"), ("DELETE", None)])
def test_a_405_names_the_methods_that_are_answered(method: str, rule: str | None) -> None:
    """One that a rule gives and one that is for want of a rule say the same."""
    answer = chosen("/v2/x/tags/list", method)
    assert (answer.status, answer.rule) == (405, rule)
    assert dict(answer.fields)[b"Allow"] == b"GET, HEAD, POST"


def test_only_what_is_answered_here_under_v2_has_the_api_version() -> None:
    version = b"Docker-Distribution-Api-Version"
    has_version = {
        target: version in dict(chosen(target).fields)
        for target in ["/v2/", "/ok", "/v2/_catalog", "/gone", "/v2/x/tags/list", "/nowhere"]
    }
    assert [target for target, has in has_version.items() if has] == ["/v2/", "/v2/_catalog"]


RELAYED = checked("""
registries:
  a: {url: "https://registry.example/team", mode: relay}
  b: {url: "https://registry.example", mode: relay}
rules:
  - {repository: "open/**", to: a}
  - {path: [/, "/site/*"], to: b}
""").rules


@pytest.mark.parametrize(
    ("asked", "url"),
    [
        ("/v2/open/x/manifests/1?a=b", "/v2/team/open/x/manifests/1?a=b"),
        ("/v2/open/x/manifests/1#/../../../../shut/manifests/1", "/v2/team/open/x/manifests/1"),
        ("/v2/open/x/tags/list?n=1#&last=x", "/v2/team/open/x/tags/list?n=1"),
        ("/site/#/../../v2/shut/tags/list", "/site/"),
        ("http://front.example#/v2/shut/tags/list", "/"),
    ],
)
def test_a_registry_is_asked_for_no_more_than_the_rules_have_seen(asked: str, url: str) -> None:
    """Some go on in a fragment as if it were the path or the query."""
    answer = choose(RELAYED.decide(query(asked)))
    assert isinstance(answer, Relay)
    assert answer.url == f"https://registry.example{url}"


@pytest.mark.parametrize(
    ("path", "is_refused"),
    [
        ("/v2/x/manifests/1", False),
        ("/v2/x/blobs/uploads/", False),
        ("/v2/x/blobs/uploads/1?a;b//v2/", False),
        ("/docs//v2/x", False),
        ("//docs;lang=en/v2/x", False),
        ("/docs;v2/x.html;jsessionid=1", False),
        ("//v2/x/manifests/1", True),
        ("///v2/_catalog", True),
        ("/%2fv2/_catalog", True),
        ("//%76%32/_catalog", True),
        ("/v2;a/_catalog", True),
        ("/v2/x;a/manifests/1", True),
        ("/v2/x/manifests/1;", True),
        ("/;a/v2/_catalog", True),
        ("/docs/..;/v2/_catalog", True),
    ],
)
@pytest.mark.parametrize("mode", ["relay", "redirect"])
def test_what_a_registry_may_misread_is_not_relayed(mode: str, path: str, is_refused: bool) -> None:
    """Rules have judged another path than the one that it may answer. A redirect stays one."""
    rules = checked(
        f"registries: {{hub: {{url: 'https://hub.example', mode: {mode}}}}}\nrules: [{{to: hub}}]"
    ).rules
    answer = choose(rules.decide(query(path)))
    if mode == "redirect":
        assert answered(answer).location == f"https://hub.example{path}"
    elif is_refused:
        assert (answered(answer).status, answered(answer).reason) == (400, Reason.PATH)
    else:
        assert isinstance(answer, Relay)
