"""The request-target: what of it is sent on, and what conditions see of it."""

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from regroute.answers import Refusal
from regroute.target import decoded, means_v2, parse_host, parse_target, visible_path


def refusal(target: bytes) -> int | None:
    """The status that a target is refused with, if it is."""
    try:
        parse_target(target)
    except Refusal as refused:
        return refused.status
    return None


@pytest.mark.parametrize(
    ("raw", "sent", "path", "host"),
    [
        (b"/", b"/", "/", None),
        (b"/v2/", b"/v2/", "/v2/", None),
        (b"/v2/a/tags/list?n=5&last=x", b"/v2/a/tags/list?n=5&last=x", "/v2/a/tags/list", None),
        (b"/a?b?c/../d", b"/a?b?c/../d", "/a", None),
        (b"/a?x=%2F//", b"/a?x=%2F//", "/a", None),
        (b"/a#b?c", b"/a#b?c", "/a", None),
        (b"//evil.example/a", b"//evil.example/a", "//evil.example/a", None),
        (b"/@evil.example/", b"/@evil.example/", "/@evil.example/", None),
        (b"/http://evil.example/", b"/http://evil.example/", "/http://evil.example/", None),
        (b"http://r.example/a?b", b"/a?b", "/a", "r.example"),
        (b"HTTPS://R.Example:8443/a", b"/a", "/a", "r.example"),
        (b"http://r.example", b"/", "/", "r.example"),
        (b"http://r.example?a=b", b"/?a=b", "/", "r.example"),
        (b"http://r.example//evil.example", b"//evil.example", "//evil.example", "r.example"),
        (b"http://[2001:DB8::1]:80/a", b"/a", "/a", "[2001:db8::1]"),
        (b"http://r.example/http://x/", b"/http://x/", "/http://x/", "r.example"),
    ],
)
def test_a_target_counts_by_its_path_and_query(
    raw: bytes, sent: bytes, path: str, host: str | None
) -> None:
    target = parse_target(raw)
    assert (target.sent, target.path, target.host) == (sent, path, host)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"*",
        b"?",
        b"a",
        b".evil.example/",
        b"@evil.example/",
        b":8443/",
        b"\\evil.example/",
        b"%2Fa",
        b"r.example:443",
        b"ftp://r.example/",
        b"javascript:alert(1)",
        b"http:/a",
        b"http:a",
        b"https://",
        b"http:///a",
        b"http://:80/a",
        b"http://u@r.example/a",
        b"http://u:p@r.example/a",
        b"http://r.example:x/a",
        b"http://r.example\\@evil.example/",
        b"http://[::1/a",
        b"http://[1.2.3.4]/a",
        b"http://r example/a",
        b" /a",
    ],
)
def test_what_is_neither_a_path_nor_a_whole_url_is_refused(raw: bytes) -> None:
    assert refusal(raw) == 400


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/v2/%5fcatalog", "/v2/_catalog"),
        (b"/%76%32/%61%2D%2e%5F%7E", "/v2/a-._~"),
        (b"/%41%5a%30", "/AZ0"),
        (b"/a%3ab%3Ab:", "/a%3Ab%3Ab:"),
        (b"/a%2fb", "/a%2Fb"),
        (b"/%255f", "/%255f"),
        (b"/%25%35%66", "/%255f"),
        (b"/%", "/%"),
        (b"/%5", "/%5"),
        (b"/%zz", "/%zz"),
        (b"/%%35f", "/%5f"),
        (b"/a%3Fb%23c", "/a%3Fb%23c"),
        (b'/<"\\>^`{|} ', "/%3C%22%5C%3E%5E%60%7B%7C%7D%20"),
        (b"/\xc3\xa4\x00\x7f", "/%C3%A4%00%7F"),
        (b"/%c3%a4", "/%C3%A4"),
    ],
)
def test_conditions_see_unreserved_characters_as_themselves_and_others_escaped(
    raw: bytes, path: str
) -> None:
    assert visible_path(raw) == path


@pytest.mark.parametrize(
    "raw",
    [
        b"/.",
        b"/..",
        b"/a/.",
        b"/a/..",
        b"/a/./b",
        b"/a/../b",
        b"/../v2/",
        b"/v2/..",
        b"/v2/a/../b",
        b"/%2e",
        b"/a/%2E%2e/b",
        b"/a/.%2e/b",
        b"/a%2f..%2Fb",
        b"/a/..%2fb",
        b"/v2/../x?y",
        b"http://r.example/..",
        b"http://r.example/a/%2e%2e/b",
        b"/v2//",
        b"/v2//a",
        b"/v2/a//tags/list",
        b"/%762//a",
        b"/v2/a%2fb/tags/list",
        b"/v2/a%2Fb/tags/list",
        b"/v2/%2F",
        b"/v2%2f",
        b"/v2%2Fa/tags/list",
        b"/%76%32%2fa",
        b"http://r.example/v2//a",
    ],
)
def test_a_path_that_two_readers_would_read_differently_is_refused(raw: bytes) -> None:
    assert refusal(raw) == 400


@pytest.mark.parametrize(
    "raw",
    [
        b"/...",
        b"/.a/..b/c..",
        b"/a%2Fb",
        b"/a//b",
        b"//",
        b"/v2",
        b"/v2/",
        b"/v2/a/",
        b"/v2/%252F/%252e%252e/x",
        b"/v2/a/tags/list?n=../..//%2F",
        b"/v2x//a%2Fb",
        b"/v1//a%2Fb",
        b"/v2/..a/.b/c..",
    ],
)
def test_other_odd_paths_are_let_through(raw: bytes) -> None:
    assert refusal(raw) is None
    assert parse_target(raw).sent == raw


@pytest.mark.parametrize(
    ("raw", "namespace"),
    [
        (b"/v2/a/manifests/1?ns=docker.io", "docker.io"),
        (b"/v2/a/manifests/1?a=b&ns=docker.io&c", "docker.io"),
        (b"/v2/a/manifests/1?%6es=docker%2Eio", "docker.io"),
        (b"/v2/a/manifests/1?ns=localhost%3A5000", "localhost:5000"),
        (b"/v2/a/manifests/1?ns=a&ns=b", "a"),
        (b"/v2/a/manifests/1?ns=", ""),
        (b"/v2/a/manifests/1?ns", ""),
        (b"/v2/a/manifests/1?ns=a?b", "a?b"),
        (b"/v2/a/manifests/1?ns=a#b", "a"),
        (b"/v2/a/manifests/1#?ns=a", None),
        (b"/v2/a/manifests/1?xns=a&NS=b", None),
        (b"/v2/a/manifests/1", None),
        (b"/v2/ns=a/manifests/1", None),
    ],
)
def test_the_namespace_is_the_ns_parameter_of_the_query(raw: bytes, namespace: str | None) -> None:
    assert parse_target(raw).namespace == namespace


@pytest.mark.parametrize(
    ("field", "host"),
    [
        (b"", ""),
        (b"r.example", "r.example"),
        (b"R.EXAMPLE:8443", "r.example"),
        (b"r.example:", "r.example"),
        (b"192.168.0.1:80", "192.168.0.1"),
        (b"[::1]", "[::1]"),
        (b"[2001:DB8::1]:80", "[2001:db8::1]"),
        (b"a_b-c", "a_b-c"),
    ],
)
def test_a_host_is_in_lower_case_and_without_its_port(field: bytes, host: str) -> None:
    assert parse_host(field) == host


@pytest.mark.parametrize(
    "field",
    [
        b":80",
        b"a b",
        b"a:b",
        b"a:80:80",
        b"a/b",
        b"a?b",
        b"a#b",
        b"u@a",
        b"a\\b",
        b"a\tb",
        b"a\r\nb",
        b"a\n",
        b"a,b c",
        b"::1",
        b"[::1",
        b"::1]",
        b"[]",
        b"[:]",
        b"[12345::]",
        b"[1.2.3.4]",
        b"[::1]x",
        b"<a>",
        b"%zz",
        b"\xe4",
    ],
)
def test_an_invalid_host_is_refused(field: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        parse_host(field)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("raw", "registry"),
    [
        (b"/v2", True),
        (b"/v2/", True),
        (b"/v2?a", True),
        (b"/%762/a/../b", True),
        (b"/v2//", True),
        (b"/v2%2Fa", True),
        (b"http://r.example/v2/..", True),
        (b"http://u@r.example/v2/", True),
        (b"/", False),
        (b"/v2x", False),
        (b"/v1/v2/", False),
        (b"v2/", False),
        (b"", False),
        (b"http://v2/", False),
        (b"/?/v2/", False),
    ],
)
def test_a_refused_target_still_tells_whether_a_registry_client_asks(
    raw: bytes, registry: bool
) -> None:
    assert means_v2(raw) is registry


# Bytes that matter to some reader, and every other one.
odd_bytes = st.lists(
    st.sampled_from([b"/", b"//", b"/v2/", b"/v2", b".", b"..", b"%2e", b"%2F", b"%252f", b"%76"])
    | st.sampled_from([b"%", b"?", b"#", b"@", b":", b"\\", b"a", b"http://", b"h", b"[", b"]"])
    | st.binary(max_size=3),
    max_size=8,
).map(b"".join)


@given(odd_bytes)
def test_any_bytes_are_a_target_or_a_refusal(raw: bytes) -> None:
    if refusal(raw) is None:
        target = parse_target(raw)
        assert target.sent.startswith(b"/")
        assert raw.endswith(target.sent.removeprefix(b"/"))
        assert raw == target.sent or raw.lower().startswith((b"http://", b"https://"))
        assert target.path.startswith("/")
        assert target.namespace is None or b"?" in raw
    else:
        assert refusal(raw) == 400
    assert means_v2(raw) in (True, False)


@given(odd_bytes)
def test_the_visible_path_says_what_the_path_says_in_one_form(raw: bytes) -> None:
    path = visible_path(raw)
    assert unquote_to_bytes(path) == unquote_to_bytes(re.split(rb"[?#]", raw)[0])
    assert re.fullmatch(r"[!$-;=@-\[\]_a-z~]*", path)
    escapes = re.findall(r"%([0-9A-Fa-f]{2})", path)
    assert not any(re.match(rb"[A-Za-z0-9._~-]", bytes.fromhex(escape)) for escape in escapes)


@given(odd_bytes.map(lambda raw: b"/" + raw))
@example(b"/v2/%%2f")
def test_ambiguous_paths_are_those_whose_decoded_segments_are(raw: bytes) -> None:
    """The naive twin decodes everything first and looks at what is left."""
    path = re.split(rb"[?#]", raw)[0]
    segments = unquote_to_bytes(path).split(b"/")
    ambiguous = b"." in segments or b".." in segments
    if segments[1] == b"v2":
        ambiguous = ambiguous or b"" in segments[2:-1] or re.search(b"(?i)%2f", path) is not None
    assert (refusal(raw) == 400) is ambiguous


def test_decoding_happens_once() -> None:
    assert decoded("/a%3Ab%2541%FF") == "/a:b%41\xff"
