"""A registry's names in the front's: whatever the registry says of a place leads there still."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from regroute.relay.rewrite.names import Names
from regroute.target import visible_path

from .front import FRONT, HUB, RULES, SHA256, names, relayed
from .rfc3986 import Reference, transform

UPLOAD = "/v2/foo/blobs/uploads/"
ITS = f"{HUB}/v2/library/foo/blobs/uploads/1"


@pytest.mark.parametrize(
    ("target", "value", "location"),
    [
        # At the registry, in each form.
        (UPLOAD, f"{ITS}?_state=a%2Fb", "/v2/foo/blobs/uploads/1?_state=a%2Fb"),
        (UPLOAD, "HTTPS://Registry.Example:443/v2/library/foo/x", "/v2/library/foo/x"),
        (UPLOAD, "/v2/library/foo/blobs/uploads/1", "/v2/foo/blobs/uploads/1"),
        (UPLOAD, "//registry.example/v2/library/foo/tags/list", "/v2/foo/tags/list"),
        (UPLOAD, "1?x", "/v2/foo/blobs/uploads/1?x"),
        (UPLOAD, "../uploads/./1", "/v2/foo/blobs/uploads/1"),
        (UPLOAD, "?x", "/v2/foo/blobs/uploads/?x"),
        (UPLOAD, HUB, "/"),
        (UPLOAD, f"{HUB}/a|b", "/a%7Cb"),
        ("/docs", f"{HUB}/docs/#top", "/docs/#top"),
        # As the client asked.
        ("/v2/library/foo/blobs/uploads/", ITS, "/v2/library/foo/blobs/uploads/1"),
        # A repository that would be called by another's name.
        (UPLOAD, f"{HUB}/v2/library/library/x/tags/list", "/v2/library/library/x/tags/list"),
        (UPLOAD, f"{HUB}/v2/librarian/x/tags/list", f"{HUB}/v2/librarian/x/tags/list"),
        (UPLOAD, "/v2/librarian/x/tags/list", f"{HUB}/v2/librarian/x/tags/list"),
        # Elsewhere.
        (UPLOAD, "https://s.example/v2/library/foo/x?a=%2f|", None),
        (UPLOAD, "https://registry.example:8443/v2/library/foo/tags/list", None),
        (UPLOAD, "https://registry.example.evil.example/", None),
        (UPLOAD, "https://registry.example@evil.example/", None),
        (UPLOAD, "https://me@registry.example/", None),
        (UPLOAD, "//s.example/x", "https://s.example/x"),
        # By the front's own name, as a registry does that is told of it.
        (UPLOAD, f"{FRONT}/v2/library/foo/blobs/uploads/1", f"{FRONT}{UPLOAD}1"),
        (UPLOAD, f"{FRONT}/v2/foo/blobs/uploads/1", None),
        (UPLOAD, "http://front.example/v2/library/foo/blobs/uploads/1", None),
        # By the other scheme, which it takes to be right.
        (UPLOAD, "http://registry.example/v2/library/foo/tags/list", "/v2/foo/tags/list"),
        (UPLOAD, "http://registry.example/v2/librarian/x/tags/list", None),
        (UPLOAD, "http://registry.example:443/v2/library/foo/tags/list", None),
        (UPLOAD, "https://front.example:10000/v2/library/foo/tags/list", "/v2/foo/tags/list"),
        (UPLOAD, "https://front.example:10000/v2/foo/tags/list", None),
        # What would be another place here, or none.
        (UPLOAD, f"{HUB}//evil.example/x", None),
        (UPLOAD, "/.//evil.example/x", f"{HUB}//evil.example/x"),
        (UPLOAD, f"{HUB}/v2/library/foo/%2e%2e/tags/list", None),
        (UPLOAD, f"{HUB}/v2/library%2Ffoo/tags/list", None),
        (UPLOAD, f"{HUB}/v2/library/foo/blobs/uploads/1;x", None),
        # What is none.
        (UPLOAD, "javascript:alert(1)", None),
        (UPLOAD, "https:registry.example/x", None),
        (UPLOAD, f"{HUB}\\@evil.example/x", None),
        (UPLOAD, "/\\evil.example/x", None),
        (UPLOAD, f"{ITS}\r\nSet-Cookie: a=b", None),
        (UPLOAD, f"\t{ITS}", None),
        (UPLOAD, f"{HUB}/a b", None),
        (UPLOAD, f"{HUB}/\x00", None),
    ],
)
def test_a_location_for_the_client(target: str, value: str, location: str | None) -> None:
    """None: byte for byte as it came."""
    expected = value if location is None else location
    assert names("library", target).location(value.encode()) == expected.encode()


def test_bytes_beyond_ascii_are_escaped_as_clients_do() -> None:
    assert names("", "/x").location(f"{HUB}/ä".encode()) == b"/%C3%A4"
    assert (
        names("", "/x").location("https://s.example/ä".encode()) == "https://s.example/ä".encode()
    )


def test_a_front_that_is_asked_by_no_good_name_is_just_not_known_by_it() -> None:
    relay = relayed("library", UPLOAD)
    assert relay is not None
    here = Names.of(relay, "http://front.example:99999")
    assert here.location(ITS.encode()) == b"/v2/foo/blobs/uploads/1"
    assert here.location(b"http://front.example:99999/v2/x") == b"http://front.example:99999/v2/x"


def test_a_registry_without_a_prefix_keeps_its_names() -> None:
    here = names("", UPLOAD)
    assert here.location(f"{HUB}{UPLOAD}1?a".encode()) == f"{UPLOAD}1?a".encode()
    assert here.location(b"/v2/library/foo/tags/list") == b"/v2/library/foo/tags/list"
    assert not here.may_want_body


# Values of Location, put together of parts that matter.
_segments = st.sampled_from(
    [
        "v2",
        "library",
        "a",
        "b",
        "foo",
        "tags",
        "list",
        "blobs",
        "uploads",
        "manifests",
        ".",
        "..",
        "%2e",
        "l%69brary",
        "a%2Fb",
        "%zz",
        "x|y",
        "ä",
    ]
)
_paths = st.one_of(
    st.lists(_segments, max_size=7).map("/".join),
    st.builds(
        "v2/{}/{}".format,
        st.sampled_from(
            ["foo", "library/foo", "library/library/foo", "a/b", "a/b/foo", "a/b/a/b/x"]
        ),
        st.sampled_from(["tags/list", "manifests/1", "blobs/uploads/1", "blobs/upload/1"]),
    ),
)
_hosts = ["registry.example", "REGISTRY.example:443", "front.example:10000", "s.example", ""]
values = st.builds(
    "{}{}{}{}".format,
    st.one_of(
        st.sampled_from(["", "/", "//", "https:", "javascript:", "https:/"]),
        st.builds(
            "{}//{}/".format,
            st.sampled_from(["", "http:", "https:", "HTTPS:", "ftp:"]),
            st.sampled_from([*_hosts, "me@registry.example", "registry.example:80"]),
        ),
    ),
    _paths,
    st.sampled_from(["", "?", "?n=1&last=b", "?a/../b//c"]),
    st.sampled_from(["", "#x", "\\", " ", "\n"]),
)
targets = st.sampled_from(
    [
        "/v2/foo/tags/list?n=1",
        "/v2/library/foo/tags/list",
        "/v2/a/b/foo/manifests/1",
        "/v2/a/tags/list",
        "/v2/",
        "/docs/x",
        UPLOAD,
    ]
)
ORIGINS = {
    HUB: re.compile("https://registry\\.example(?::443)?"),
    FRONT: re.compile(re.escape(FRONT)),
}
IN_EITHER_SCHEME = {
    HUB: re.compile("https://registry\\.example(?::443)?|http://registry\\.example(?::80)?"),
    FRONT: re.compile(r"https?://front\.example:10000"),
}


def origin_of(reference: Reference, status: int) -> str:
    """Where a reference leads; an answer that is no redirect means both schemes by either."""
    origins = ORIGINS if status == 302 else IN_EITHER_SCHEME
    written = f"{reference.scheme}://{reference.authority}".lower()
    return next((name for name, form in origins.items() if form.fullmatch(written)), written)


def end(prefix: str, reference: Reference, status: int) -> tuple[object, ...]:
    """Where a client ends that follows an absolute reference, through the front if it is there."""
    origin, rest = origin_of(reference, status), reference.path or "/"
    if reference.query is not None:
        rest += f"?{reference.query}"
    if origin == FRONT:
        relay = relayed(prefix, rest) if not rest.startswith("//") else None
        if relay is None:
            return ("refused", rest)
        origin, rest = relay.to.origin, relay.target
    path, mark, query = rest.partition("?")
    return origin, visible_path(path.encode()), mark, visible_path(query.encode())


@given(st.sampled_from(list(RULES)), targets, values, st.sampled_from([201, 302]))
@example("library", "/v2/foo/tags/list", f"{FRONT}//registry.example/", 302)
@example("library", UPLOAD, "http://registry.example/v2/library/foo/tags/list", 201)
@example("library", UPLOAD, "http://registry.example/v2/library/foo/tags/list", 302)
def test_a_location_leads_where_the_registry_said(
    prefix: str, target: str, value: str, status: int
) -> None:
    """Whichever way: the client that follows ours and the one that follows the registry's meet."""
    relay = relayed(prefix, target)
    assert relay is not None
    ours = Names.of(relay, FRONT).location(value.encode(), status).decode()
    if re.search(r"[\\ \n]", value):
        assert ours == value
        return
    meant = transform(Reference.of(HUB + relay.target), Reference.of(value))
    if meant.scheme is None or meant.authority is None:
        assert ours == value
        return
    got = transform(Reference.of(FRONT + target), Reference.of(ours))
    assert end(prefix, got, status) == end(prefix, meant, status)
    if origin_of(meant, status) not in ORIGINS and Reference.of(value).scheme is not None:
        assert ours == value


@pytest.mark.parametrize(
    ("value", "link"),
    [
        ('</v2/library/foo/tags/list?n=1>; rel="next"', '</v2/foo/tags/list?n=1>; rel="next"'),
        ("<?n=1>;rel=next", "</v2/foo/tags/list?n=1>;rel=next"),
        (
            f'<{HUB}/v2/library/foo/x> ; title="a, </v2/library/foo/tags/list>\\"<", '
            "</v2/library/foo/tags/list> ;rel=next , <https://s.example/a,b;c>;rel=up",
            '</v2/library/foo/x> ; title="a, </v2/library/foo/tags/list>\\"<", '
            "</v2/foo/tags/list> ;rel=next , <https://s.example/a,b;c>;rel=up",
        ),
        (f"</v2/library/foo/referrers/{SHA256}?l=x>", f"</v2/foo/referrers/{SHA256}?l=x>"),
        ("", ""),
        ("<>", "</v2/foo/tags/list?n=1>"),
        ("</v2/library/foo/tags/list", "</v2/library/foo/tags/list"),
        ('"</v2/library/foo/tags/list>', '"</v2/foo/tags/list>'),
        ("</v2/library/foo/tags/list\\>; rel=next", "</v2/library/foo/tags/list\\>; rel=next"),
        ("< /v2/library/foo/tags/list>", "< /v2/library/foo/tags/list>"),
    ],
)
def test_the_targets_of_links(value: str, link: str) -> None:
    assert names("library", "/v2/foo/tags/list?n=1").link(value.encode()) == link.encode()


@given(st.lists(st.tuples(st.text(st.sampled_from('ab;,<>"\\ '), max_size=6), values), max_size=3))
def test_all_of_a_link_but_its_targets_stays(links: list[tuple[str, str]]) -> None:
    """A naive reader takes one link after the other, as they were put together."""
    here = names("library", "/v2/foo/tags/list")

    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def line(change: bool) -> bytes:
        parts = []
        for title, value in links:
            target = here.location(value.encode()) if change else value.encode()
            parts.append(b"<" + target + b">; rel=next; title=" + quoted(title).encode())
        return b", ".join(parts)

    assert here.link(line(change=False)) == line(change=True)


@pytest.mark.parametrize(
    ("method", "status", "target", "location", "leads_back"),
    [
        ("GET", 302, "/v2/foo/manifests/1", f"{HUB}/v2/library/foo/manifests/1", True),
        ("GET", 302, "/v2/foo/manifests/1", "/v2/library/f%6fo/manifests/1#x", True),
        ("GET", 302, "/v2/foo/manifests/1", "", True),
        ("HEAD", 303, "/v2/foo/manifests/1", f"{FRONT}/v2/library/foo/manifests/1", True),
        ("GET", 307, "/v2/foo/manifests/1", f"{FRONT}/v2/foo/manifests/1", True),
        ("GET", 308, "/v2/library/foo/manifests/1", f"{FRONT}/v2/foo/manifests/1", True),
        ("PUT", 307, "/v2/foo/manifests/1", "1", True),
        ("GET", 301, "/x?a=%62", "/x?a=b", True),
        ("PUT", 303, "/v2/foo/manifests/1", "1", False),
        ("PATCH", 202, "/v2/foo/blobs/uploads/1", "1", False),
        ("GET", 200, "/v2/foo/manifests/1", "1", False),
        ("GET", 304, "/v2/foo/manifests/1", "1", False),
        ("GET", 302, "/x?a=1", "/x?a=2", False),
        ("GET", 302, "/x", "/x?", False),
        ("GET", 302, "/x", "/X", False),
        ("GET", 302, "/x", "http://registry.example/x", False),
        ("GET", 302, "/x", "https://front.example:10000/x", False),
        ("GET", 302, "/x", "https://s.example/x", False),
        ("GET", 302, "/x", "/x\\", False),
        ("GET", 302, "/x", "javascript:/x", False),
    ],
)
def test_a_redirect_to_the_very_request_is_known(
    method: str, status: int, target: str, location: str, leads_back: bool
) -> None:
    here = names("library", target)
    assert here.leads_back(method, status, location.encode()) == leads_back


@given(st.sampled_from(list(RULES)), targets, values)
def test_a_redirect_leads_back_where_a_client_would_ask_the_same_again(
    prefix: str, target: str, value: str
) -> None:
    relay = relayed(prefix, target)
    assert relay is not None
    here = Names.of(relay, FRONT)
    location = here.location(value.encode(), 302).decode()
    got = transform(Reference.of(FRONT + target), Reference.of(location))
    asks_again = (
        not re.search(r"[\\ \n]", value)
        and got.authority is not None
        and end(prefix, got, 302) == end(prefix, Reference.of(HUB + relay.target), 302)
    )
    assert here.leads_back("GET", 302, value.encode()) == asks_again


@pytest.mark.parametrize(
    ("target", "elsewhere", "asked"),
    [
        (f"?mount={SHA256}&from=bar", [], f"?mount={SHA256}&from=library/bar"),
        (f"?mount={SHA256}&from=library%2Fbar", [], f"?mount={SHA256}&from=library%2Fbar"),
        (f"?mount={SHA256}&x=1&from=bar", ["bar"], "?x=1"),
        (f"?from=bar&mount={SHA256}", ["bar"], ""),
        (f"?mount={SHA256}&from=bar&from=baz", ["baz"], ""),
        (f"?mount={SHA256}&from=../x", [], ""),
        (f"?mount={SHA256}&from=", [], ""),
        (f"?mount={SHA256}", [], f"?mount={SHA256}"),
        (f"?digest={SHA256}", [], f"?digest={SHA256}"),
        # What some registries would read on as a part of the query.
        (f"?x=1#&mount={SHA256}&from=bar", ["bar"], "?x=1"),
    ],
)
def test_a_mount_is_asked_for_where_both_repositories_are_at_the_registry(
    target: str, elsewhere: list[str], asked: str
) -> None:
    relay = relayed("library", UPLOAD + target, "POST")
    assert relay is not None
    found = Names.of(relay).asking(lambda name: name not in elsewhere)
    assert found == f"/v2/library/foo/blobs/uploads/{asked}"


def test_only_uploads_are_mounts() -> None:
    here = names("library", "/v2/foo/manifests/1?from=bar&mount=a&last=b")
    assert here.asking(lambda name: False) == "/v2/library/foo/manifests/1?from=bar&mount=a&last=b"


@pytest.mark.parametrize(
    ("target", "status", "content_type", "wants"),
    [
        ("/v2/foo/tags/list", 200, "application/json", True),
        ("/v2/foo/tags/list", 200, " Application/JSON ;charset=utf-8", True),
        ("/v2/foo/tags/list", 206, "application/json", False),
        ("/v2/foo/tags/list", 200, "text/html", False),
        ("/v2/foo/tags/list", 200, "", False),
        ("/v2/foo/tags/list", 200, "application/jsonx", False),
        ("/v2/foo/tags/list", 404, "application/problem+json", True),
        ("/v2/library/foo/tags/list", 200, "application/json", False),
        ("/v2/foo/manifests/1", 200, "application/json", False),
        ("/v2/foo/manifests/1", 200, "application/vnd.oci.image.manifest.v1+json", False),
        ("/v2/foo/manifests/1", 404, "application/json", True),
        (f"/v2/foo/blobs/{SHA256}", 200, "application/json", False),
        (f"/v2/foo/referrers/{SHA256}", 200, "application/vnd.oci.image.index.v1+json", False),
        (UPLOAD, 202, "application/json", False),
        (UPLOAD, 401, "application/json", True),
        ("/v2/_catalog", 200, "application/json", True),
        ("/v2/%5Fcatalog?n=1", 200, "application/json", True),
        ("/v2/", 401, "application/json", False),
        ("/v2/", 200, "application/json", False),
        ("/docs", 404, "application/json", False),
    ],
)
def test_which_bodies_are_had_whole(
    target: str, status: int, content_type: str, wants: bool
) -> None:
    assert names("library", target).wants_body(status, content_type.encode()) == wants
    assert not names("", target).wants_body(status, content_type.encode())


@pytest.mark.parametrize(
    ("target", "status", "body", "expected"),
    [
        ("/v2/foo/tags/list", 200, '{"name":"library/foo"}', '{"name":"foo"}'),
        ("/v2/foo/tags/list", 404, '{"name":"library/foo"}', '{"name":"library/foo"}'),
        (
            "/v2/foo/tags/list",
            404,
            '{"errors":[{"detail":{"name":"library/foo"}}]}',
            '{"errors":[{"detail":{"name":"foo"}}]}',
        ),
        ("/v2/_catalog", 200, '{"repositories":["a","library/foo"]}', '{"repositories":["foo"]}'),
        ("/v2/_catalog", 401, '{"repositories":["a"]}', '{"repositories":["a"]}'),
    ],
)
def test_a_body_for_the_client(target: str, status: int, body: str, expected: str) -> None:
    assert names("library", target).body(status, body.encode()) == expected.encode()
