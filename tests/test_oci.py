"""The distribution-spec's end-points, told by their paths."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from regroute.oci import Asked, Kind, parse_path

SHA256 = "sha256:" + "0123456789abcdef" * 4
OTHER = Asked(Kind.OTHER)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v2", Asked(Kind.API)),
        ("/v2/", Asked(Kind.API)),
        (f"/v2/a/blobs/{SHA256}", Asked(Kind.BLOBS, "a", SHA256)),
        ("/v2/a/manifests/12-alpine", Asked(Kind.MANIFESTS, "a", "12-alpine")),
        (f"/v2/a/b/c/manifests/{SHA256}", Asked(Kind.MANIFESTS, "a/b/c", SHA256)),
        ("/v2/a/blobs/uploads/", Asked(Kind.UPLOADS, "a")),
        ("/v2/a/b/blobs/uploads/0b7d-1", Asked(Kind.UPLOADS, "a/b")),
        ("/v2/a/blobs/uploads/_any=thing", Asked(Kind.UPLOADS, "a")),
        ("/v2/a/tags/list", Asked(Kind.TAGS, "a")),
        (f"/v2/a/referrers/{SHA256}", Asked(Kind.REFERRERS, "a", SHA256)),
    ],
)
def test_every_end_point_of_the_spec(path: str, asked: Asked) -> None:
    assert parse_path(path) == asked


def test_an_upload_goes_on_where_registries_let_it() -> None:
    """Some hand out a place that is none of the specification's."""
    assert parse_path("/v2/a/b/blobs/upload/0b7d-1") == Asked(Kind.UPLOADS, "a/b")
    assert parse_path("/v2/a/b/blobs/upload") == OTHER


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        (f"/v2/a/blobs/b/blobs/{SHA256}", Asked(Kind.BLOBS, "a/blobs/b", SHA256)),
        ("/v2/a/blobs/b/manifests/1", Asked(Kind.MANIFESTS, "a/blobs/b", "1")),
        ("/v2/blobs/manifests/uploads", Asked(Kind.MANIFESTS, "blobs", "uploads")),
        ("/v2/manifests/manifests/manifests", Asked(Kind.MANIFESTS, "manifests", "manifests")),
        ("/v2/a/tags/manifests/list", Asked(Kind.MANIFESTS, "a/tags", "list")),
        ("/v2/a/manifests/tags/list", Asked(Kind.TAGS, "a/manifests")),
        ("/v2/tags/list/tags/list", Asked(Kind.TAGS, "tags/list")),
        ("/v2/a/blobs/uploads/tags/list", Asked(Kind.TAGS, "a/blobs/uploads")),
        ("/v2/blobs/uploads/manifests/1", Asked(Kind.MANIFESTS, "blobs/uploads", "1")),
        ("/v2/blobs/uploads/blobs/uploads/", Asked(Kind.UPLOADS, "blobs/uploads")),
        (f"/v2/blobs/uploads/blobs/{SHA256}", Asked(Kind.BLOBS, "blobs/uploads", SHA256)),
        ("/v2/a/manifests/blobs/uploads/1", Asked(Kind.UPLOADS, "a/manifests")),
        ("/v2/referrers/manifests/1", Asked(Kind.MANIFESTS, "referrers", "1")),
        (f"/v2/a/referrers/referrers/{SHA256}", Asked(Kind.REFERRERS, "a/referrers", SHA256)),
        ("/v2/v2/tags/list", Asked(Kind.TAGS, "v2")),
    ],
)
def test_a_repository_may_have_the_WORDS_of_end_points_as_components(
    path: str, asked: Asked
) -> None:
    assert parse_path(path) == asked


@pytest.mark.parametrize(
    "name",
    ["a", "0", "a.b", "a_b", "a__b", "a-b", "a---b", "a/b", "a.b/c__d/e-f.g", "library/postgres"],
)
def test_repository_names_of_the_spec(name: str) -> None:
    assert parse_path(f"/v2/{name}/tags/list") == Asked(Kind.TAGS, name)


@pytest.mark.parametrize(
    "name",
    [
        "A",
        "aB",
        "a..b",
        "a___b",
        "a._b",
        ".a",
        "a.",
        "_a",
        "a_",
        "-a",
        "a-",
        "a//b",
        "/a",
        "a/",
        "a/-b",
        "a+b",
        "a~b",
        "ä",
        "a%20b",
        "٣",
    ],
)
def test_what_is_no_repository_name_makes_no_end_point(name: str) -> None:
    assert parse_path(f"/v2/{name}/tags/list") == OTHER


@pytest.mark.parametrize("tag", ["1", "latest", "_x", "V1.0-rc_2", "a" * 128, "3.10", "a.-_"])
def test_tags_of_the_spec(tag: str) -> None:
    assert parse_path(f"/v2/a/manifests/{tag}") == Asked(Kind.MANIFESTS, "a", tag)


@pytest.mark.parametrize("tag", ["", ".a", "-a", "a" * 129, "a+b", "a b", "a\n", "a@b", "ä", "~"])
def test_what_is_no_tag_makes_no_end_point(tag: str) -> None:
    assert parse_path(f"/v2/a/manifests/{tag}") == OTHER


@pytest.mark.parametrize(
    "digest", [SHA256, "sha512:" + "f" * 128, "sha256+b64u:LCa0a2j_xo=", "multihash+base58:Qm-1"]
)
@pytest.mark.parametrize("kind", [Kind.BLOBS, Kind.MANIFESTS, Kind.REFERRERS])
def test_digests_of_the_image_spec(kind: Kind, digest: str) -> None:
    assert parse_path(f"/v2/a/{kind}/{digest}") == Asked(kind, "a", digest)


@pytest.mark.parametrize(
    "digest", ["", ":", "sha256:", ":abc", "SHA256:abc", "sha256:a:b", "sha+:a", "a++b:c", "a:b\n"]
)
@pytest.mark.parametrize("kind", [Kind.BLOBS, Kind.MANIFESTS, Kind.REFERRERS])
def test_what_is_no_digest_makes_no_end_point(kind: Kind, digest: str) -> None:
    assert parse_path(f"/v2/a/{kind}/{digest}") == OTHER


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "v2/",
        "/V2/",
        "/v1/a/tags/list",
        "/v2//",
        "/v2/a",
        "/v2/_catalog",
        "/v2/tags/list",
        "/v2/manifests/1",
        "/v2/blobs/uploads/",
        "/v2/a/tags/list/",
        "/v2/a/tags/LIST",
        "/v2/a/tags",
        "/v2/a/manifests/1/",
        "/v2/a/manifests/b/1",
        "/v2/a/blobs/latest",
        "/v2/a/referrers/latest",
        "/v2/a/blobs/uploads/1/2",
        "/v2/a/uploads/1",
        "/x/v2/a/tags/list",
        "/v2x/a/tags/list",
        "/v2/a\n/tags/list",
        "/v2/a/tags/list\n",
    ],
)
def test_everything_else_is_other(path: str) -> None:
    assert parse_path(path) == OTHER


# The naive twin: the grammar as the specifications print it, one expression an end-point. Greedy
# repetition finds the last place that an end-point's word can stand at.
_NAME = r"([a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*)"
_DIGEST = r"[a-z0-9]+([+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+"
_TWIN = {
    Kind.BLOBS: rf"/v2/{_NAME}/blobs/(?P<reference>{_DIGEST})",
    Kind.MANIFESTS: (
        rf"/v2/{_NAME}/manifests/(?P<reference>{_DIGEST}|[a-zA-Z0-9_][a-zA-Z0-9._-]{{0,127}})"
    ),
    Kind.REFERRERS: rf"/v2/{_NAME}/referrers/(?P<reference>{_DIGEST})",
    Kind.TAGS: rf"/v2/{_NAME}/tags/list",
    Kind.UPLOADS: rf"/v2/{_NAME}/blobs/(uploads(/[^/]*)?|upload/[^/]*)",
    Kind.API: r"/v2/?",
}


def twin(path: str) -> set[Asked]:
    """Every reading of a path that the specification's expressions allow."""
    found = set()
    for kind, expression in _TWIN.items():
        if match := re.fullmatch(expression, path):
            reference = match.groupdict().get("reference")
            found.add(Asked(kind, match[1] if match.lastindex else None, reference))
    return found


_WORDS = [
    "v2",
    "a",
    "b.c",
    "a--b",
    "blobs",
    "manifests",
    "tags",
    "list",
    "uploads",
    "upload",
    "referrers",
    "latest",
]
segments = st.sampled_from([*_WORDS, *_WORDS, SHA256, "a:b", "", "A", "_", "a..b", "a___b"])
paths = st.lists(segments, max_size=7).map(lambda found: "/v2/" + "/".join(found))


@given(paths | st.text("/v2ab:._-", max_size=16))
@example("/v2/a/blobs/uploads")
def test_a_path_is_read_as_the_specifications_expressions_read_it(path: str) -> None:
    readings = twin(path) or {OTHER}
    assert len(readings) == 1, "the specification is not ambiguous"
    assert parse_path(path) in readings


words = st.text("abz09", min_size=1, max_size=3)
components = st.builds(
    lambda first, rest: first + "".join(separator + word for separator, word in rest),
    words | st.sampled_from(_WORDS),
    st.lists(st.tuples(st.sampled_from([".", "_", "__", "-", "--", "---"]), words), max_size=3),
)


@given(
    st.lists(components, min_size=1, max_size=6).map("/".join),
    st.sampled_from(["tags/list", "manifests/tags", f"blobs/{SHA256}", "blobs/uploads/x"]),
)
def test_every_repository_name_is_found_again(name: str, end: str) -> None:
    assert parse_path(f"/v2/{name}/{end}").repository == name
