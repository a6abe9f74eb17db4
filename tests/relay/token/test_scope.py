"""Scopes: read, written, and by the names here and there."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from regroute.registry import Registry
from regroute.relay.token.scope import Scope, here, parse_scopes, there

PLAIN = Registry("plain", "https://r.example")
TEAM = Registry("team", "https://r.example", "team/a")


@pytest.mark.parametrize(
    ("values", "scopes"),
    [
        ([], []),
        (["", " "], []),
        (["repository:a/b:pull"], [Scope("repository", "a/b", ("pull",))]),
        (["repository:a:pull,push"], [Scope("repository", "a", ("pull", "push"))]),
        (["repository:a:*"], [Scope("repository", "a", ("*",))]),
        (["repository(plugin):a:pull"], [Scope("repository", "a", ("pull",), "plugin")]),
        (["registry:catalog:*"], [Scope("registry", "catalog", ("*",))]),
        (["x.y:a:b:c:pull"], [Scope("x.y", "a:b:c", ("pull",))]),
        (
            ["repository:a:pull  repository:b:pull", "repository:c:pull"],
            [Scope("repository", name, ("pull",)) for name in "abc"],
        ),
        (
            ["repository:a:pull", "repository:b:pull repository:a:push,pull"],
            [Scope("repository", "a", ("pull", "push")), Scope("repository", "b", ("pull",))],
        ),
        (
            ["repository:a:pull repository(plugin):a:pull"],
            [
                Scope("repository", "a", ("pull",)),
                Scope("repository", "a", ("pull",), "plugin"),
            ],
        ),
    ],
)
def test_scopes_are_read_from_all_parameters(values: list[str], scopes: list[Scope]) -> None:
    assert list(parse_scopes(values)) == scopes


@pytest.mark.parametrize(
    "value",
    [
        "repository",
        "repository:a",
        "repository:a:",
        "repository::pull",
        "repository:a:pull,",
        "repository:a:pull,,push",
        "repository:a:PULL",
        "repository:A:pull",
        "repository:a//b:pull",
        "repository:../a:pull",
        "repository:a?b:pull",
        "repository:a%2fb:pull",
        "repository:r.example:5000/a:pull",
        "repository:/a:pull",
        f"repository:{'a' * 256}:pull",
        "repository():a:pull",
        "repository(a:b:pull",
        ":a:pull",
        "repository:a:pull\trepository:b:pull",
        "repository:a\x00:pull",
        'repository:a":pull',
        "repository:ä:pull",
        " ".join(f"repository:a{number}:pull" for number in range(33)),
    ],
)
def test_what_is_no_scope_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"scope"):
        parse_scopes([value])


components = st.sampled_from(["a", "b", "team", "a-b", "x__y", "v1.0"])
names = st.lists(components, min_size=1, max_size=4).map("/".join)
actions = st.lists(st.sampled_from(["pull", "push", "delete", "*"]), min_size=1, unique=True)
scopes = st.builds(
    Scope, st.just("repository"), names, actions.map(tuple), st.none() | st.just("plugin")
)


@given(st.lists(scopes, max_size=4, unique_by=lambda scope: (scope.name, scope.resource_class)))
def test_what_is_written_is_read_again(written: list[Scope]) -> None:
    texts = [str(scope) for scope in written]
    assert list(parse_scopes(texts)) == list(parse_scopes([" ".join(texts)])) == written


@pytest.mark.parametrize(
    ("registry", "asked", "name"),
    [
        (PLAIN, "x", "x"),
        (TEAM, "x", "team/a/x"),
        (TEAM, "team/x", "team/a/team/x"),
        (TEAM, "team/a", "team/a/team/a"),
        (TEAM, "team/a/x", "team/a/x"),
    ],
)
def test_a_realm_is_asked_by_the_names_there(registry: Registry, asked: str, name: str) -> None:
    scope = Scope("repository", asked, ("pull",), "plugin")
    assert str(there(scope, registry)) == f"repository(plugin):{name}:pull"
    assert here(there(scope, registry), registry, asked) == scope


@given(scopes, names, st.sampled_from([PLAIN, TEAM]))
def test_names_come_back_as_they_went(scope: Scope, other: str, registry: Registry) -> None:
    """But for a repository that is called by its full name: a short one means the same."""
    assume(not registry.prefix or not scope.name.startswith(registry.prefix + "/"))
    assume(registry.repository(other) != registry.repository(scope.name))
    assert here(there(scope, registry), registry, None) == scope
    assert here(there(scope, registry), registry, other) == scope


@pytest.mark.parametrize("scope", ["registry:catalog:*", "other:team/a/x:pull"])
def test_what_is_no_repository_has_one_name(scope: str) -> None:
    [parsed] = parse_scopes([scope])
    assert there(parsed, TEAM) == here(parsed, TEAM, "x") == parsed
