"""Where references lead, as RFC 3986 says."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from regroute.origins import normal_origin
from regroute.relay.rewrite.references import Place, is_absolute, resolve, without_dots

from .rfc3986 import Reference, remove_dot_segments, transform

ORIGIN = "https://Registry.example:443"
TARGET = "/v2/a/tags/list?n=1"


@pytest.mark.parametrize(
    ("reference", "origin", "rest"),
    [
        ("", "https://registry.example", "/v2/a/tags/list?n=1"),
        ("#x", "https://registry.example", "/v2/a/tags/list?n=1#x"),
        ("?n=2", "https://registry.example", "/v2/a/tags/list?n=2"),
        ("x", "https://registry.example", "/v2/a/tags/x"),
        ("../x", "https://registry.example", "/v2/a/x"),
        ("../../../../x", "https://registry.example", "/x"),
        ("/x/./y/../z/", "https://registry.example", "/x/z/"),
        ("/x/..", "https://registry.example", "/"),
        ("/.//x", "https://registry.example", "//x"),
        ("/x?/../y", "https://registry.example", "/x?/../y"),
        ("//s.example/x", "https://s.example", "/x"),
        ("//s.example", "https://s.example", "/"),
        ("HTTP://S.example:80", "http://s.example", "/"),
        ("http://s.example:443?x", "http://s.example:443", "/?x"),
        ("https://s.example:/x", "https://s.example", "/x"),
        ("https://s.example.:0443/x", "https://s.example", "/x"),
        ("https://registry.example@evil.example/x", "https://registry.example@evil.example", "/x"),
        ("https://registry.example.evil.example/x", "https://registry.example.evil.example", "/x"),
        ("https://[2001:DB8::1]:443/x", "https://[2001:db8::1]", "/x"),
    ],
)
def test_where_a_reference_leads(reference: str, origin: str, rest: str) -> None:
    assert resolve(reference, ORIGIN, TARGET) == Place(origin, rest)


@pytest.mark.parametrize(
    "reference",
    ["ftp://registry.example/x", "javascript:alert(1)", "https:x", "https:/x", "data:,x", "a:b"],
)
def test_what_http_cannot_ask_for_leads_nowhere(reference: str) -> None:
    assert resolve(reference, ORIGIN, TARGET) is None
    assert is_absolute(reference)


paths = st.lists(st.sampled_from(["a", ".", "..", "", "...", ".b", "%2e"]), max_size=6).map(
    "/".join
)
authorities = st.sampled_from(["", "//s.example", "//registry.example", "//"])
queries = st.sampled_from(["", "?", "?a/../b", "?x?y"])
fragments = st.sampled_from(["", "#", "#/../x"])


@given(paths)
def test_dot_segments_go_as_in_the_steps_of_the_rfc(path: str) -> None:
    assert without_dots("/" + path) == remove_dot_segments("/" + path)


@example("", "", False, "//.", "", "")
@example("", "", False, "//..a/x", "", "")
@given(
    st.sampled_from(["", "http:", "HTTPS:"]), authorities, st.booleans(), paths, queries, fragments
)
def test_references_are_resolved_as_in_the_steps_of_the_rfc(
    scheme: str, authority: str, rooted: bool, path: str, query: str, fragment: str
) -> None:
    slash = "/" if rooted and not (authority == "" and path.startswith("/")) else ""
    reference = scheme + authority + (slash or ("/" if authority and path else "")) + path
    reference += query + fragment
    found = resolve(reference, ORIGIN, TARGET)
    part = Reference.of(reference)
    if part.scheme is not None and part.authority is None:
        assert found is None
        return
    naive = transform(Reference.of(ORIGIN + TARGET), part)
    rest = (naive.path or "/") + ("" if naive.query is None else f"?{naive.query}")
    rest += "" if naive.fragment is None else f"#{naive.fragment}"
    assert found == Place(normal_or_written(f"{naive.scheme}://{naive.authority}".lower()), rest)


def normal_or_written(origin: str) -> str:
    """A path that begins with two slashes is an authority first, and may be none that is valid."""
    try:
        return normal_origin(origin)
    except ValueError:
        return origin
