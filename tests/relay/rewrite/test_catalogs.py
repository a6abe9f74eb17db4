"""Catalogs of a registry of which the front has a part: every page leads to the next."""

import json
import re
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from regroute.relay.rewrite.names import Names

from .front import FRONT, RULES, names, relayed


@dataclass
class Catalog:
    """A registry with a catalog of `names` in its own order, and pages."""

    prefix: str
    names: list[str]
    asked: int = 0

    def page(self, target: str, page_size: int) -> tuple[list[str], str | None]:
        """What a client of the front gets for a target, and the target of the next page."""
        relay = relayed(self.prefix, target)
        assert relay is not None
        here = Names.of(relay, FRONT)
        sent = here.asking(lambda name: True)
        self.asked += 1
        given = parse_qs(urlsplit(sent).query, keep_blank_values=True)
        start = self.names.index(given["last"][0]) + 1 if given.get("last") else 0
        found, rest = self.names[start : start + page_size], self.names[start + page_size :]
        body = json.dumps({"repositories": found}).encode()
        if here.wants_body(200, b"application/json"):
            body = here.body(200, body)
        following = None
        if rest:
            last = quote(found[-1])
            link = here.link(f'</v2/_catalog?last={last}&n={page_size}>; rel="next"'.encode())
            match = re.fullmatch(r'<([^>]*)>; rel="next"', link.decode())
            assert match is not None
            following = match[1]
        return json.loads(body)["repositories"], following


_under = st.sampled_from(["library/", "library-x/", "a/b/", "a/b/a/b/", "a/"])
_names = st.sampled_from(["x", "y", "a", "library", "library/z"])
_others = st.sampled_from(["library", "lib", "zoo", "a", "a/b", "library/library", "library/a/b"])
repositories = st.lists(
    st.builds("{}{}".format, _under, _names) | _others, unique=True, max_size=12
)


@given(st.sampled_from(list(RULES)), repositories, st.booleans(), st.integers(1, 4))
def test_a_catalog_through_the_front_has_each_repository_once_and_ends(
    prefix: str, there: list[str], ordered: bool, page_size: int
) -> None:
    """Page by page, in whatever order the registry has them, and with as many pages."""
    catalog = Catalog(prefix, sorted(there) if ordered else there)
    seen: list[str] = []
    following: str | None = f"/v2/_catalog?n={page_size}"
    while following is not None:
        found, following = catalog.page(following, page_size)
        seen += found
    under = [name for name in catalog.names if not prefix or name.startswith(prefix + "/")]
    # The naive way: each is called so that its call leads back to it.
    registry = RULES[prefix].registries[0]
    assert [registry.repository(name) for name in seen] == under
    assert all(
        name == long.removeprefix(prefix + "/")
        or registry.repository(name[len(prefix) + 1 :]) != long
        for name, long in zip(seen, under, strict=True)
        if prefix
    )
    assert catalog.asked == max(1, -(-len(there) // page_size))


def test_a_client_may_go_on_from_the_last_repository_that_it_has_seen() -> None:
    catalog = Catalog("library", ["a", "library/x", "library/y", "library/z", "zoo"])
    assert catalog.page("/v2/_catalog?n=9&last=x", 9)[0] == ["y", "z"]
    assert catalog.page("/v2/_catalog?n=9&last=library/y", 9)[0] == ["z"]


def test_the_word_for_the_next_page_is_the_registrys_whatever_it_is() -> None:
    here = names("library", "/v2/_catalog")
    for word in ["eyJh=", "", "/", "//x", "library//x", "ä/ö", "a&b=c", "library/foo"]:
        link = here.link(f"</v2/_catalog?n=1&last={quote(word)}&next_page=x>".encode()).decode()
        following = relayed("library", link.strip("<>"))
        assert following is not None
        asked = Names.of(following).asking(lambda name: True)
        assert parse_qs(urlsplit(asked).query, keep_blank_values=True) == {
            "n": ["1"],
            "last": [word],
            "next_page": ["x"],
        }


def test_a_catalog_of_a_registry_without_a_prefix_is_left_alone() -> None:
    here = names("", "/v2/_catalog?last=a")
    assert not here.wants_body(200, b"application/json")
    assert here.asking(lambda name: False) == "/v2/_catalog?last=a"
    assert here.link(b"</v2/_catalog?last=b>; rel=next") == b"</v2/_catalog?last=b>; rel=next"
