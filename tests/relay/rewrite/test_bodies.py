"""Bodies that name repositories: what is changed in them, and that all else stays."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.relay.rewrite import bodies

THERE, HERE = "library/foo", "foo"


def change(name: str) -> str | None:
    """Names under ``library/`` without it."""
    return name.removeprefix("library/") if name.startswith("library/") else None


def errors(body: str) -> str:
    return bodies.errors(body.encode(), THERE, HERE, change).decode()


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("repository library/foo not found", "repository foo not found"),
        ("library/foo", "foo"),
        ("library/foo:latest", "foo:latest"),
        ("'library/foo@sha256:0a'", "'foo@sha256:0a'"),
        ("artifact library/foo.", "artifact foo."),
        ("/v2/library/foo/manifests/1", "/v2/foo/manifests/1"),
        ("name=library/foo, library/foo", "name=foo, foo"),
        ("library/foo/bar", "library/foo/bar"),
        ("library/foobar library/foo-bar", "library/foobar library/foo-bar"),
        ("library/foo.bar library/foo_", "library/foo.bar library/foo_"),
        ("my/library/foo xlibrary/foo -library/foo", "my/library/foo xlibrary/foo -library/foo"),
        ("registry.example/library/foo", "registry.example/library/foo"),
        ("library/fo", "library/fo"),
    ],
)
def test_a_message_speaks_of_the_repository(message: str, told: str) -> None:
    body = json.dumps({"errors": [{"code": "X", "message": message}]}, separators=(",", ":"))
    assert errors(body) == body.replace(message, told)


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ({"name": "library/foo"}, {"name": "foo"}),
        ({"Name": "library/foo", "Tag": "library/foo"}, {"Name": "foo", "Tag": "foo"}),
        ({"Tag": "latest"}, {"Tag": "latest"}),
        (
            [
                {"Type": "repository", "Class": "", "Name": "library/foo", "Action": "pull"},
                {"Type": "repository", "Class": "", "Name": "library/bar", "Action": "pull"},
                {"Type": "registry", "Class": "", "Name": "catalog", "Action": "*"},
            ],
            [
                {"Type": "repository", "Class": "", "Name": "foo", "Action": "pull"},
                {"Type": "repository", "Class": "", "Name": "bar", "Action": "pull"},
                {"Type": "registry", "Class": "", "Name": "catalog", "Action": "*"},
            ],
        ),
        ("unknown manifest name=library/foo revision=1", "unknown manifest name=foo revision=1"),
        ({"manifest": {"name": ["library/foo"]}}, {"manifest": {"name": ["foo"]}}),
        (None, None),
        (1.5, 1.5),
    ],
)
def test_details_name_repositories(detail: object, told: object) -> None:
    found = json.loads(errors(json.dumps({"errors": [{"code": "X", "detail": detail}]})))
    assert found == {"errors": [{"code": "X", "detail": told}]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"library/foo",
        b'{"name":"library/foo"',
        b'{"name":"library/foo","x":NaN}',
        b'{"name":"library/foo","x":1e999}',
        b'{"name":"library/foo","x":' + b"9" * 5000 + b"}",
        b'{"name":"library/foo","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'\xef\xbb\xbf{"name":"library/foo"}',
        '{"name":"library/foo"}'.encode("utf-16"),
        b'{"name":"library/foo","x":"\xff"}',
        b'{"name":["library/foo"]}',
        b'["library/foo"]',
        b'"library/foo"',
        b'{"name" : "bar"}',
        b'{"name":"library/foo","x":"' + b"x" * bodies.LARGEST + b'"}',
        b'{"repositories":null}',
        b'{"repositories" : ["library/foo", 1]}',
        b'{"errors" : null}',
        b'{"errors" : ["library/foo"]}',
        b'{"errors" : [{"code" : "library/foo", "more" : "library/foo"}]}',
    ],
    ids=lambda body: repr(body[:40]),
)
def test_what_is_no_such_body_stays_as_it_is(body: bytes) -> None:
    assert bodies.tags(body, change) == body
    assert bodies.catalog(body, change) == body
    assert bodies.errors(body, THERE, HERE, change) == body


def test_a_body_with_nothing_to_change_keeps_its_bytes() -> None:
    for body in [
        b' {"name" : "x" }\n',
        b'{"repositories": [ ]}',
        b'{"errors":[{"message":"\\u0078"}]}',
    ]:
        assert bodies.tags(body, change) == body
        assert bodies.catalog(body, change) == body
        assert bodies.errors(body, THERE, HERE, change) == body


keys = st.sampled_from(["name", "Name", "tags", "repositories", "errors", "detail", "message", "ü"])
texts = st.sampled_from(["library/foo", "library/bar", "foo", "ü\ud800", "at library/foo: no"])
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
documents = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@given(documents)
def test_the_name_of_a_list_of_tags_and_nothing_else_is_changed(document: object) -> None:
    found = json.loads(bodies.tags(json.dumps(document).encode(), change))
    if isinstance(document, dict) and isinstance(document.get("name"), str):
        document["name"] = document["name"].removeprefix("library/")
    assert found == document


@given(documents, st.lists(texts))
def test_a_catalog_and_nothing_else_is_changed(document: object, names: list[str]) -> None:
    if isinstance(document, dict):
        document["repositories"] = names
    found = json.loads(bodies.catalog(json.dumps(document).encode(), change))
    if isinstance(document, dict):
        document["repositories"] = [name[8:] for name in names if name.startswith("library/")]
    assert found == document


def mentions(text: str) -> Iterator[int]:
    """Naively: where `THERE` stands as a whole name."""
    for start in range(len(text)):
        if not text.startswith(THERE, start):
            continue
        before, after = text[:start], text[start + len(THERE) :]
        inner = before[-1:].isalnum() or before[-1:] in tuple("_./-")
        if inner and not before.endswith("/v2/"):
            continue
        goes_on = after[:1].isalnum() or after[:1] in tuple("_-")
        goes_on |= after[:1] == "." and (after[1:2].isalnum() or after[1:2] == "_")
        goes_on |= after[:1] == "/" and not after.startswith(("/manifests/", "/blobs/"))
        if not goes_on:
            yield start


@given(
    st.lists(
        st.sampled_from([THERE, "/", ".", "-", ":", " ", "x", "_", "v2", "manifests", "ä"]),
        max_size=9,
    ).map("".join)
)
def test_mentions_are_whole_names(text: str) -> None:
    told = text
    for start in reversed(list(mentions(text))):
        told = told[:start] + HERE + told[start + len(THERE) :]
    body = json.dumps({"errors": [{"message": text}]})
    assert json.loads(errors(body)) == {"errors": [{"message": told}]}
