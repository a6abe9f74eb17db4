"""Conditions: whether they hold, and whether they cover other ones."""

from ipaddress import ip_address

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from regroute.conditions import ClientIn, Condition, Conditions, Like, Not, OneOf
from regroute.networks.ranges import Ranges
from regroute.networks.spans import parse_span
from regroute.networks.table import AddressTable
from regroute.pattern import Pattern
from regroute.query import Query


def glob(pattern: str, text: str, *, crosses: bool = False) -> bool:
    """The naive twin: one star or character after the other, every way to go tried."""
    if not pattern:
        return not text
    if pattern[0] != "*":
        return text[:1] == pattern[0] and glob(pattern[1:], text[1:], crosses=crosses)
    rest = pattern.lstrip("*")
    anything = crosses or pattern.startswith("**")
    for taken in range(len(text) + 1):
        if not anything and "/" in text[:taken]:
            return False
        if glob(rest, text[taken:], crosses=crosses):
            return True
    return False


globs = st.text("ab/*", max_size=6)
texts = st.text("ab/", max_size=7)


@st.composite
def instances(draw: st.DrawFn, pattern: str) -> str:
    """A text that is likely to match: stars filled with texts of all kinds."""
    return "".join(draw(texts) if char == "*" else char for char in pattern)


@given(globs, st.booleans(), st.data())
def test_a_pattern_matches_as_a_naive_matcher_does(
    pattern: str, crosses: bool, data: st.DataObject
) -> None:
    text = data.draw(texts | instances(pattern))
    assert Pattern(pattern, crosses=crosses).matches(text) == glob(pattern, text, crosses=crosses)


@given(globs, st.data())
def test_a_prefix_pattern_has_a_wildcard_at_its_end_only(pattern: str, data: st.DataObject) -> None:
    text = data.draw(st.text("ab/*", max_size=7) | instances(pattern))
    expected = text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern
    assert Pattern(pattern, prefix=True).matches(text) is expected


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("library/*", "library/postgres", True),
        ("library/*", "library/a/b", False),
        ("library/*", "library/", True),
        ("library/*", "library", False),
        ("library/**", "library/a/b", True),
        ("*", "a", True),
        ("*", "a/b", False),
        ("**", "a/b", True),
        ("**/x", "a/b/x", True),
        ("**/x", "x", False),
        ("a*b*c", "aXbYbZc", True),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
        ("a+", "aa", False),
        ("a?", "ab", False),
        ("a", "A", False),
        ("a", "a\n", False),
        ("a*", "a\nb", True),
        ("a**", "a\nb", True),
    ],
)
def test_a_glob_has_no_wildcards_but_stars(pattern: str, text: str, matches: bool) -> None:
    assert Pattern(pattern).matches(text) is matches


@given(globs, globs, st.booleans(), st.booleans(), st.data())
def test_a_pattern_that_covers_another_matches_all_that_the_other_does(
    ours: str, theirs: str, crosses: bool, prefix: bool, data: st.DataObject
) -> None:
    """Half of the pairs are made of one another, so that there is something to cover."""
    ours = data.draw(st.just(ours) | loosened(theirs))
    one, other = (Pattern(text, crosses=crosses, prefix=prefix) for text in (ours, theirs))
    text = data.draw(instances(theirs))
    assert not (one.covers(other) and other.matches(text)) or one.matches(text)


@st.composite
def loosened(draw: st.DrawFn, pattern: str) -> str:
    """A pattern with some of its characters replaced by stars."""
    return "".join(draw(st.sampled_from([char, char, "*", "**"])) for char in pattern)


@given(globs, st.booleans(), st.booleans())
def test_a_pattern_covers_itself_and_the_empty_text_only_covers_itself(
    pattern: str, crosses: bool, prefix: bool
) -> None:
    itself = Pattern(pattern, crosses=crosses, prefix=prefix)
    assert itself.covers(itself)
    assert Pattern("", crosses=crosses, prefix=prefix).covers(itself) is (pattern == "")


@pytest.mark.parametrize(
    ("ours", "theirs", "covers"),
    [
        ("**", "*", True),
        ("*", "**", False),
        ("**", "a/b*c/**", True),
        ("a/*", "a/b", True),
        ("a/*", "a/b*", True),
        ("a/*", "a/**", False),
        ("a/*", "a/b/*", False),
        ("a/b", "a/*", False),
        ("*a", "b*a", True),
        ("a*", "*a", False),
    ],
)
def test_whether_a_glob_covers_another(ours: str, theirs: str, covers: bool) -> None:
    assert Pattern(ours).covers(Pattern(theirs)) is covers


def query(
    client: str = "192.0.2.1",
    method: str = "GET",
    target: str = "/v2/a/manifests/1",
    host: str = "r.example",
    user_agent: str = "",
) -> Query:
    return Query.of(ip_address(client), method, target.encode(), host.encode(), user_agent)


def like(part: str, *patterns: str) -> Like:
    return Like(
        part,
        tuple(
            Pattern(text, crosses=part == "user_agent", prefix=part == "path") for text in patterns
        ),
    )


NOBODY: frozenset[str] = frozenset()


@pytest.mark.parametrize("part", ["repository", "reference"])
def test_a_pattern_does_not_hold_where_its_part_is_missing(part: str) -> None:
    """`**` is any repository: a path that names none is not one of them."""
    for target in ("/", "/v2/", "/v2/_catalog"):
        assert not like(part, "**").holds(query(target=target), NOBODY)
    assert like(part, "**").holds(query(), NOBODY)
    assert not like(part, "**").is_universal


@pytest.mark.parametrize(
    ("condition", "universal"),
    [
        pytest.param(like("path", "*"), True, id="path *"),
        pytest.param(like("path", "/*"), True, id="every path begins with a slash"),
        pytest.param(like("path", "/v2/*"), False, id="path prefix"),
        pytest.param(like("user_agent", "*"), True, id="user agent *"),
        pytest.param(like("user_agent", "x", "**"), True, id="user agent **"),
        pytest.param(
            like("user_agent", "/*"), False, id="not every user agent begins with a slash"
        ),
        pytest.param(like("repository", "**"), False, id="not every path has a repository"),
        pytest.param(OneOf("method", frozenset({"GET"})), False, id="method"),
        pytest.param(Not(Conditions({"path": like("path", "*")})), False, id="not everything"),
        pytest.param(ClientIn(frozenset(), Ranges.of([])), False, id="nobody"),
        pytest.param(
            ClientIn(
                frozenset({"a"}), Ranges.of(parse_span(text) for text in ("0.0.0.0/0", "::/0"))
            ),
            True,
            id="every client",
        ),
        pytest.param(
            ClientIn(frozenset({"a"}), Ranges.of([parse_span("0.0.0.0/0")])),
            False,
            id="every IPv4 client",
        ),
    ],
)
def test_what_holds_for_every_request(condition: Condition, universal: bool) -> None:
    assert condition.is_universal is universal


# Conditions and requests from so few words that they often meet.
_SETS = {
    "ten": ["10.0.0.0/8"],
    "low": ["10.0.0.0/9"],
    "high": ["10.128.0.0/9"],
    "v4": ["0.0.0.0/0"],
    "all": ["0.0.0.0/0", "::/0"],
}
_RANGES = {name: Ranges.of(map(parse_span, texts)) for name, texts in _SETS.items()}
_TABLE = AddressTable.of(_RANGES)


def client_in(names: frozenset[str]) -> ClientIn:
    return ClientIn(names, Ranges.of(span for name in names for span in _RANGES[name].spans))


def some(*values: str) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(values), min_size=1, max_size=3)


def likes(part: str, *patterns: str) -> st.SearchStrategy[Condition]:
    return st.lists(st.sampled_from(patterns), min_size=1, max_size=2).map(
        lambda chosen: like(part, *chosen)
    )


simple: dict[str, st.SearchStrategy[Condition]] = {
    "method": some("GET", "HEAD", "PUT").map(lambda values: OneOf("method", values)),
    "client": some(*_SETS).map(client_in),
    "kind": some("manifests", "tags", "api").map(lambda values: OneOf("kind", values)),
    "path": likes("path", "*", "/*", "/v2/*", "/v2/a/*", "/v2/b/tags/list", "/v2/"),
    "repository": likes("repository", "*", "**", "a*", "a", "a/*"),
    "user_agent": likes("user_agent", "*", "/*", "d*", "docker/*"),
}


def conditions(
    by_key: dict[str, st.SearchStrategy[Condition]],
) -> st.SearchStrategy[Conditions]:
    keys = st.lists(st.sampled_from(list(by_key)), max_size=2, unique=True)
    return keys.flatmap(
        lambda chosen: st.fixed_dictionaries({key: by_key[key] for key in chosen})
    ).map(Conditions)


flat = conditions(simple)
nested = conditions({**simple, "not": flat.map(Not)})
# Every request that these words make, so that a wrong claim has nowhere to hide.
QUERIES = [
    query(client, method, target, user_agent=user_agent)
    for client in ("9.9.9.9", "10.0.0.1", "10.128.0.1", "2001:db8::1")
    for method in ("GET", "PUT")
    for target in ("/", "/v2/", "/v2/a/manifests/1", "/v2/a/b/tags/list", "/v2/b/tags/list")
    for user_agent in ("", "/", "docker/20")
]


@st.composite
def weakened(draw: st.DrawFn, conditions: Conditions) -> Conditions:
    """Conditions with some left out and some replaced."""
    by_key: dict[str, Condition] = {}
    for key, condition in conditions.by_key.items():
        match draw(st.integers(0, 3)):
            case 0:
                continue
            case 1 if key in simple:
                by_key[key] = draw(simple[key])
            case _:
                by_key[key] = condition
    return Conditions(by_key)


@given(nested, st.data())
def test_conditions_that_cover_others_hold_wherever_those_do(
    theirs: Conditions, data: st.DataObject
) -> None:
    ours = data.draw(weakened(theirs) | nested)
    assume(ours.covers(theirs))
    for asked in QUERIES:
        networks = _TABLE.lookup(asked.client)
        assert ours.hold(asked, networks) or not theirs.hold(asked, networks)


@given(nested)
def test_a_universal_condition_holds_for_every_request(conditions: Conditions) -> None:
    for condition in conditions.by_key.values():
        if condition.is_universal:
            assert all(condition.holds(asked, _TABLE.lookup(asked.client)) for asked in QUERIES)


@given(flat, st.sampled_from(QUERIES))
def test_not_holds_when_not_all_of_its_conditions_hold(inner: Conditions, asked: Query) -> None:
    networks = _TABLE.lookup(asked.client)
    each = [condition.holds(asked, networks) for condition in inner.by_key.values()]
    assert Not(inner).holds(asked, networks) is (not all(each))
    assert inner.hold(asked, networks) is all(each)


def test_not_turns_covering_round() -> None:
    wide, narrow = (Not(Conditions({"path": like("path", text)})) for text in ("/a/b*", "/a/*"))
    assert wide.covers(narrow)
    assert not narrow.covers(wide)


@pytest.mark.parametrize("crosses", [True, False])
def test_no_text_makes_a_pattern_slow(crosses: bool) -> None:
    """A matcher that backtracks would still be at it tomorrow."""
    pattern = Pattern("*docker*containerd*linux*x**y*z", crosses=crosses)
    assert not pattern.matches("docker" * 40 + "containerd" * 40 + "linux" * 40)
    if crosses:
        assert not pattern.matches("docker" * 1000 + "containerd" * 1000 + "linux" * 1000)
