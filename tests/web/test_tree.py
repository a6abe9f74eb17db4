"""A request in, the exact bytes of its answer out (DESIGN §3), for the seed's rules."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from regroute.rules import RuleSet

from ..making import checked, site_of
from .memory import SEED, Client, rules_of

HUB, K8S = "https://registry-1.docker.io", "https://k8s.gcr.io"
DATE = b"Thu, 01 Jan 1970 00:00:00 GMT"
MANIFEST = "/v2/library/postgres/manifests/12-alpine"


def page(location: str) -> bytes:
    """The redirect's body: of what a Location can hold only these two mean something in HTML."""
    text = location.replace("&", "&amp;").replace("'", "&#39;")
    return b'<a href="%s">302</a>.\n' % text.encode("ascii")


def redirect(location: str, *, to_head: bool = False) -> bytes:
    body = page(location)
    head = (
        b"HTTP/1.1 302 Found\r\nServer: regroute\r\nDate: %s\r\n"
        b"Content-Type: text/html; charset=utf-8\r\nLocation: %s\r\n"
        b"Cache-Control: private, no-store\r\nX-Content-Type-Options: nosniff\r\n"
        b"Content-Length: %d\r\n\r\n"
    ) % (DATE, location.encode("ascii"), len(body))
    return head if to_head else head + body


def refusal(
    status: bytes, kind: bytes, body: bytes, *, allow: bytes = b"", v2: bool = True
) -> bytes:
    fields = [
        b"HTTP/1.1 " + status,
        b"Server: regroute",
        b"Date: " + DATE,
        b"Content-Type: " + kind,
        *([b"Allow: " + allow] if allow else []),
        b"Cache-Control: private, no-store",
        b"X-Content-Type-Options: nosniff",
        *([b"Docker-Distribution-Api-Version: registry/2.0"] if v2 else []),
        b"Content-Length: %d" % len(body),
    ]
    return b"\r\n".join(fields) + b"\r\n\r\n" + body


def ask(
    target: str | bytes,
    *fields: str,
    peer: str = "192.0.2.7",
    method: str = "GET",
    rules: RuleSet | None = None,
) -> bytes:
    """All that is sent in answer to one request."""
    sent = target if isinstance(target, bytes) else target.encode()
    lines = [b"%s %s HTTP/1.1" % (method.encode(), sent), b"Host: front:10000"]
    lines += [field.encode("latin-1") for field in fields]
    client = Client(peer=peer) if rules is None else Client(rules, peer=peer)
    return bytes(client.send(b"\r\n".join(lines) + b"\r\n\r\n").wire.written)


CLIENTS = [
    ("192.168.0.1", HUB),
    ("::ffff:192.168.0.1", HUB),
    ("::ffff:c0a8:1", HUB),
    ("192.168.0.2", K8S),
    ("192.168.0.10", K8S),
    ("::ffff:192.168.0.2", K8S),
    ("2001:db8::1", K8S),
    ("::192.168.0.1", K8S),
    ("fe80::1%eth0", K8S),
    ("127.0.0.1", K8S),
    ("::1", K8S),
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("peer", "registry"), CLIENTS)
def test_the_seeds_table(peer: str, registry: str, method: str) -> None:
    expected = redirect(registry + MANIFEST, to_head=method == "HEAD")
    assert ask(MANIFEST, peer=peer, method=method) == expected


def test_the_design_s_own_example() -> None:
    assert page(K8S + MANIFEST) == (
        b'<a href="https://k8s.gcr.io/v2/library/postgres/manifests/12-alpine">302</a>.\n'
    )
    assert b"Content-Length: 78\r\n" in ask(MANIFEST)


TARGETS: list[tuple[str | bytes, str]] = [
    ("/", "/"),
    ("/v2/", "/v2/"),
    ("/v2", "/v2"),
    ("/v2/a/tags/list?n=10&last=x", "/v2/a/tags/list?n=10&last=x"),
    ("/v2/a/manifests/1?", "/v2/a/manifests/1?"),
    ("/?a=b?c=d/../e", "/?a=b?c=d/../e"),
    ("/v2/a/manifests/%5fx", "/v2/a/manifests/%5fx"),
    ("/v2/a/manifests/%C3%A9%zz%", "/v2/a/manifests/%C3%A9%zz%"),
    (b"/v2/a/manifests/\xc3\xa9\x7f\x80\xff", "/v2/a/manifests/%C3%A9%7F%80%FF"),
    ("/<script>alert('x')</script>", "/%3Cscript%3Ealert('x')%3C/script%3E"),
    ('/"\\^`{|}', "/%22%5C%5E%60%7B%7C%7D"),
    ("/!$&'()*+,-./:;=?@[]_~", "/!$&'()*+,-./:;=?@[]_~"),
    ("/@evil.example/", "/@evil.example/"),
    ("//evil.example/", "//evil.example/"),
    ("/.evil.example/", "/.evil.example/"),
    ("/:8443/", "/:8443/"),
    ("/%0d%0aSet-Cookie:%20a", "/%0d%0aSet-Cookie:%20a"),
    ("/http://evil.example/", "/http://evil.example/"),
    ("http://evil.example/v2/a/manifests/1?b", "/v2/a/manifests/1?b"),
    ("https://evil.example", "/"),
    ("HTTP://evil.example?a=b", "/?a=b"),
]


@pytest.mark.parametrize(("target", "sent"), TARGETS)
@pytest.mark.parametrize(("peer", "registry"), [("192.168.0.1", HUB), ("8.8.8.8", K8S)])
def test_the_path_and_query_are_sent_on_byte_for_byte(
    target: str | bytes, sent: str, peer: str, registry: str
) -> None:
    assert ask(target, peer=peer) == redirect(registry + sent)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/v2/../x", "the path must not have . or .. segments"),
        ("/v2/a/%2e%2E/b", "the path must not have . or .. segments"),
        ("/v2/a%2Fb/manifests/1", "the path must not have an escaped slash (%2F)"),
        ("/v2//manifests/1", "the path must not have empty segments (//)"),
    ],
)
def test_a_path_that_two_readers_read_in_two_ways_is_400_in_the_oci_form(
    target: str, message: str
) -> None:
    error = {"code": "NAME_INVALID", "message": message, "detail": None}
    body = json.dumps({"errors": [error]}, separators=(",", ":")).encode() + b"\n"
    assert ask(target) == refusal(b"400 Bad Request", b"application/json", body)


def test_a_refusal_elsewhere_is_one_line_of_text() -> None:
    body = b"the path must not have . or .. segments\n"
    expected = refusal(b"400 Bad Request", b"text/plain; charset=utf-8", body, v2=False)
    assert ask("/a/../b") == expected


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_a_method_without_a_rule_is_405_with_allow(method: str) -> None:
    error = {
        "code": "UNSUPPORTED",
        "message": "this method is not served here",
        "detail": {"allow": ["GET", "HEAD"]},
    }
    body = json.dumps({"errors": [error]}, separators=(",", ":")).encode() + b"\n"
    expected = refusal(b"405 Method Not Allowed", b"application/json", body, allow=b"GET, HEAD")
    assert ask("/v2/", method=method) == expected


@pytest.mark.parametrize("method", ["get", "Head", "GETS"])
def test_the_letter_case_of_a_method_counts(method: str) -> None:
    assert ask("/v2/", method=method).startswith(b"HTTP/1.1 405 ")


OUTCOMES = rules_of(
    """
rules:
  - {path: /v2/_catalog, deny: no <b>catalog</b>, status: 404}
  - {path: [/v2, /v2/], respond: ok}
  - {path: /, location: "https://example.com/about?a=1&b=2"}
  - {path: "/v2/moved/*", to: "https://mirror.example:5000/team", status: 308}
"""
)


@pytest.mark.parametrize("path", ["/v2/_catalog", "/v2/%5fcatalog", "/v2/_catalog?n=1"])
def test_deny_says_why_in_the_oci_form(path: str) -> None:
    body = b'{"errors":[{"code":"NAME_UNKNOWN","message":"no <b>catalog</b>","detail":null}]}\n'
    assert ask(path, rules=OUTCOMES) == refusal(b"404 Not Found", b"application/json", body)


def test_respond_ok_answers_the_api_check() -> None:
    expected = refusal(b"200 OK", b"application/json", b"{}")
    assert ask("/v2/", rules=OUTCOMES) == expected
    assert ask("/v2/", rules=OUTCOMES, method="HEAD") == expected.removesuffix(b"{}")


def test_a_fixed_location_takes_nothing_from_the_request() -> None:
    assert ask("/?x=y", rules=OUTCOMES) == redirect("https://example.com/about?a=1&b=2")


def test_a_prefix_goes_after_v2_and_the_status_is_the_rule_s() -> None:
    answer = ask("/v2/moved/a/manifests/1", rules=OUTCOMES)
    location = b"https://mirror.example:5000/v2/team/moved/a/manifests/1"
    assert answer.startswith(b"HTTP/1.1 308 Permanent Redirect\r\n")
    assert b"\r\nLocation: " + location + b"\r\n" in answer
    assert answer.endswith(b'<a href="%s">308</a>.\n' % location)


def test_no_rule_is_404() -> None:
    assert ask("/elsewhere", rules=OUTCOMES) == refusal(
        b"404 Not Found", b"text/plain; charset=utf-8", b"no rule serves this request\n", v2=False
    )


# Who is calling: the seed's table again, through a trusted proxy.

FIELDS = {
    "x-real-ip": ["X-Real-IP: {}", "x-real-ip:\t{} "],
    "cf-connecting-ip": ["CF-Connecting-IP: {}"],
    "x-forwarded-for": [
        "X-Forwarded-For: {}",
        "X-Forwarded-For: 6.6.6.6, {}, 127.0.0.2",
        "X-Forwarded-For: garbage, {}",
        "X-Forwarded-For: {}, [::1]:80",
    ],
    "forwarded": [
        'Forwarded: for="{}"',
        'Forwarded: for=garbage, for="{}";proto=https;by=_x, For=127.0.0.9',
        'Forwarded: proto=https; for="{}"',
    ],
}
PROXIED = [
    (header, field, client, registry)
    for header, fields in FIELDS.items()
    for field in fields
    for client, registry in [
        ("192.168.0.1", HUB),
        ("192.168.0.2", K8S),
        ("::ffff:192.168.0.1", HUB),
        ("2001:db8::1", K8S),
    ]
]


def behind(header: str) -> RuleSet:
    return rules_of(SEED.replace("clients: {", f"clients: {{header: {header}, "))


def written(header: str, client: str) -> str:
    return f"[{client}]" if header == "forwarded" and ":" in client else client


@pytest.mark.parametrize(("header", "field", "client", "registry"), PROXIED)
@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_the_seeds_table_through_a_trusted_proxy(
    header: str, field: str, client: str, registry: str, peer: str
) -> None:
    line = field.format(written(header, client))
    assert ask(MANIFEST, line, peer=peer, rules=behind(header)) == redirect(registry + MANIFEST)


@pytest.mark.parametrize("header", FIELDS)
def test_nobody_else_is_believed(header: str) -> None:
    for field in FIELDS[header]:
        line = field.format(written(header, "192.168.0.1"))
        assert ask("/", line, peer="10.0.0.1", rules=behind(header)) == redirect(K8S + "/")
        line = field.format("garbage")
        assert ask("/", line, peer="192.168.0.1", rules=behind(header)) == redirect(HUB + "/")


@pytest.mark.parametrize(
    ("header", "fields"),
    [
        ("x-real-ip", ["X-Real-IP: unknown"]),
        ("x-real-ip", ["X-Real-IP: 192.168.0.1, 192.168.0.1"]),
        ("x-real-ip", ["X-Real-IP: 192.168.0.1", "X-Real-IP: 192.168.0.1"]),
        ("x-real-ip", ["X-Real-IP: 192.168.0.01"]),
        ("x-forwarded-for", ["X-Forwarded-For: 192.168.0.1, unknown"]),
        ("x-forwarded-for", ["X-Forwarded-For: 192.168.0.1", "X-Forwarded-For: _x"]),
        ("forwarded", ["Forwarded: for=192.168.0.1, for=unknown"]),
        ("forwarded", ["Forwarded: for=192.168.0.1, proto=https"]),
        ("forwarded", ['Forwarded: for="192.168.0.1']),
    ],
)
def test_what_a_trusted_proxy_says_is_never_guessed(header: str, fields: list[str]) -> None:
    answer = ask("/v2/", *fields, peer="127.0.0.1", rules=behind(header))
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b'"NAME_INVALID"' in answer


@pytest.mark.parametrize("fields", [[], ["X-Real-IP:"]])
def test_without_a_word_of_the_proxy_the_peer_counts(fields: list[str]) -> None:
    rules = rules_of(SEED.replace('"::1"', "192.168.0.1"))
    assert ask("/", *fields, peer="192.168.0.1", rules=rules) == redirect(HUB + "/")


# Whatever is asked: never another host, never markup, never a second answer.

PRINTABLE = st.binary(min_size=1, max_size=80).map(
    lambda raw: bytes(byte for byte in raw if byte > 32)
)


@given(PRINTABLE, st.sampled_from([b"", b"/", b"http://evil/", b"/v2/", b"//evil"]))
def test_no_target_leads_to_another_host_or_into_the_page(raw: bytes, start: bytes) -> None:
    client = Client().send(b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % (start + raw))
    answer = client.answer()
    if answer.status == 302:
        location = answer.field(b"location") or b""
        assert location.startswith(b"https://k8s.gcr.io/")
        assert not set(location) & set(b'<>"\\^`{|} ')
        assert answer.body == page(location.decode("ascii"))
    else:
        assert answer.status == 400
        assert answer.field(b"location") is None
        assert b"evil" not in answer.body


@given(st.binary(max_size=60))
def test_no_field_is_repeated_in_an_answer(value: bytes) -> None:
    lines = [b"GET /v2/ HTTP/1.1", b"Host: h", b"X-Evil: evil" + value, b"X-Real-IP: evil" + value]
    client = Client().send(b"\r\n".join(lines) + b"\r\n\r\n")
    assert b"evil" not in bytes(client.wire.written)
    assert {answer.status for answer in client.answers()} <= {302, 400}


@pytest.mark.parametrize(
    ("registry", "connections", "room"),
    [
        ("https://a.example", "auto", 100),
        ("https://a.example", "30", 30),
        ("{url: https://a.example, mode: relay}", "auto", 50),
        ("{url: https://a.example, mode: relay}", "80", 50),
        ("{url: https://a.example, mode: relay}", "30", 30),
    ],
)
def test_a_relay_leaves_room_for_the_connection_to_its_registry(
    registry: str, connections: str, room: int
) -> None:
    configuration = checked(
        f"registries: {{a: {registry}}}\nrules: [{{to: a}}]\nlimits: {{connections: {connections}}}"
    )
    limits = configuration.config.limits
    site = site_of(lambda: configuration.rules, Clock(), limits=limits, room=100)
    assert site.room() == room
