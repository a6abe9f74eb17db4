"""Lists in pages: what the next page is called, and which part of a list a page is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

PAGE = 2
"""How many entries are on a page when the client does not say."""


@dataclass(frozen=True)
class Page:
    """Some of the entries, and the query of the next page if there is one."""

    entries: Sequence[str]
    following: str | None

    def link(self, path: str) -> str | None:
        """The Link field (RFC 8288) that leads on, as registries send it: without a host."""
        return None if self.following is None else f'<{path}?{self.following}>; rel="next"'


def page(entries: Sequence[str], query: Mapping[str, str]) -> Page:
    """The page of sorted entries that a query asks for by `n` and `last`."""
    size = int(query.get("n", PAGE))
    rest = [entry for entry in entries if entry > query.get("last", "")]
    shown = rest[:size]
    if len(rest) == len(shown):
        return Page(shown, None)
    others = {key: value for key, value in query.items() if key not in ("n", "last")}
    return Page(shown, urlencode({**others, "n": size, "last": shown[-1]}))
