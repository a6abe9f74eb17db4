"""The shapes of requests: whatever two rule sets tell apart has one."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.check import Checked
from regroute.diff.shapes import Shape, Shapes, find_shapes
from regroute.diff.steps import finish
from regroute.query import Query
from regroute.rules import Rule

from ..test_rules import requests
from .configurations import configuration, pairs


def shapes(*rules: str, most: int = 10_000) -> Shapes:
    return finish(find_shapes(configuration(*rules).rules.rules, most))


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        pytest.param(["{to: k8s}"], [Shape(path="/v2/any/manifests/any")], id="nothing named"),
        pytest.param(["{method: PUT, to: k8s}"], [Shape("PUT", path="/v2/any/manifests/any")]),
        pytest.param(["{kind: blobs, to: k8s}"], [Shape(path="/v2/any/blobs/sha256:any")]),
        pytest.param(["{kind: referrers, to: k8s}"], [Shape(path="/v2/any/referrers/sha256:any")]),
        pytest.param(["{kind: tags, to: k8s}"], [Shape(path="/v2/any/tags/list")]),
        pytest.param(["{kind: uploads, to: k8s}"], [Shape(path="/v2/any/blobs/uploads/")]),
        pytest.param(["{kind: api, to: k8s}"], [Shape(path="/v2/")]),
        pytest.param(["{kind: other, to: k8s}"], [Shape(path="/v2/_any"), Shape(path="/any")]),
        pytest.param(
            ["{not: {repository: library/**}, to: k8s}", "{not: {repository: library/*}, to: k8s}"],
            [
                Shape(path="/v2/any/manifests/any"),
                Shape(path="/v2/library/any/manifests/any"),
                Shape(path="/v2/library/any/any/manifests/any"),
            ],
            id="one pattern within another",
        ),
        pytest.param(
            ["{host: A.example, to: k8s}"],
            [
                Shape(host="a.example", path="/v2/any/manifests/any"),
                Shape(host="any.example", path="/v2/any/manifests/any"),
            ],
        ),
        pytest.param(["{path: /v2/_catalog, to: k8s}"], [Shape(path="/v2/_catalog")]),
        pytest.param(["{path: /docs/*, to: k8s}"], [Shape(path="/docs/any"), Shape(path="/any")]),
        pytest.param(
            ["{path: '/v2/team/*', kind: tags, to: k8s}"], [Shape(path="/v2/team/any/tags/list")]
        ),
        pytest.param(
            ["{path: '/v2/a/blobs/*', kind: blobs, to: k8s}"],
            [Shape(path="/v2/a/blobs/sha256:any")],
        ),
        pytest.param(
            ["{path: '/v2/a/manifests/1.*', to: k8s}", "{reference: '*-alpine', deny: no}"],
            [Shape(path="/v2/a/manifests/1.any-alpine")],
        ),
        pytest.param(
            ["{repository: '**/postgres', to: k8s}", "{repository: 'library/*', deny: no}"],
            [
                Shape(path="/v2/library/postgres/manifests/any"),
                Shape(path="/v2/library/any/manifests/any"),
                Shape(path="/v2/any/postgres/manifests/any"),
                Shape(path="/v2/any/manifests/any"),
            ],
        ),
        pytest.param(
            ["{repository: a, reference: '1.*', to: k8s}"],
            [Shape(path="/v2/a/manifests/1.any"), Shape(path="/v2/a/manifests/any")],
        ),
        pytest.param(
            ["{reference: 'sha256:*', kind: blobs, to: k8s}"],
            [Shape(path="/v2/any/blobs/sha256:any")],
        ),
        pytest.param(
            ["{user_agent: 'docker/*', not: {user_agent: '*linux*'}, to: k8s}"],
            [
                Shape(path="/v2/any/manifests/any", user_agent="docker/any"),
                Shape(path="/v2/any/manifests/any", user_agent="docker/anylinux"),
            ],
        ),
        pytest.param(
            ["{not: {namespace: docker.io}, to: k8s}"],
            [
                Shape(path="/v2/any/manifests/any", namespace="docker.io"),
                Shape(path="/v2/any/manifests/any"),
            ],
        ),
        pytest.param(
            ["{repository: any, to: k8s}"],
            [Shape(path="/v2/any/manifests/any1"), Shape(path="/v2/any1/manifests/any1")],
        ),
    ],
)
def test_what_conditions_tell_apart_has_a_shape(rules: list[str], expected: list[Shape]) -> None:
    found = shapes(*rules)
    assert found.left_out == 0
    assert [shape for shape in expected if shape not in found.shapes] == []


def test_what_no_condition_tells_apart_has_one_shape() -> None:
    assert [*shapes("{to: k8s}").shapes] == [
        Shape(path="/v2/any/manifests/any"),
        Shape(path="/any"),
        Shape("POST", path="/v2/any/manifests/any"),
        Shape("POST", path="/any"),
    ]


def test_a_prefix_has_shapes_under_it() -> None:
    assert Shape(path="/v2/library/any/manifests/any") in shapes("{to: team}").shapes


def test_a_namespace_goes_into_the_query() -> None:
    shape = Shape(path="/v2/", namespace="r.example:5000")
    assert shape.target == "/v2/?ns=r.example%3A5000"
    assert shape.query().namespace == "r.example:5000"


def holding(rules: Sequence[Rule], query: Query) -> tuple[bool, ...]:
    """Which rules hold for a request of nobody's: all that they can tell of it."""
    nowhere: frozenset[str] = frozenset()
    return tuple(rule.conditions.hold(query, nowhere) for rule in rules)


@given(pairs(), st.lists(requests(), min_size=1, max_size=5))
def test_whatever_is_asked_some_shape_has_the_same_rules(
    pair: tuple[Checked, Checked], asked: list[Any]
) -> None:
    """Unless three patterns have to meet in one text, of which two at a time are looked for."""
    both = [*pair[0].rules.rules, *pair[1].rules.rules]
    found = finish(find_shapes(both, 100_000))
    known = {holding(both, shape.query()) for shape in found.shapes}
    for _, query in asked:
        assert holding(both, query) in known
