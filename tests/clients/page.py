"""docs/clients.md, from the results: python -m tests.clients.page writes it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .results import PULLS, PUSHES, VERSIONS, Cell, Fails
from .upstreams import BASIC, HUB, OPEN, PRIVATE, Upstream
from .ways import (
    ACCOUNT,
    ANONYMOUS,
    AUTO,
    BLOBS,
    DIRECT,
    KEEP,
    PULLING,
    PUSHING,
    REDIRECT,
    RELAY,
    Way,
)

PAGE = Path(__file__).parents[2] / "docs/clients.md"

_WAYS = {
    DIRECT: "without regroute",
    REDIRECT: "`mode: redirect`",
    RELAY: "`mode: relay`",
    KEEP: "`mode: relay`, `challenge: keep`",
    BLOBS: "`mode: relay`, `blobs: redirect`",
    AUTO: "`mode: auto`",
    ANONYMOUS: "`mode: relay`, `auth: anonymous`",
    ACCOUNT: "`mode: relay`, `auth: {username: …}`",
}
_UPSTREAMS = {
    OPEN: "nothing",
    HUB: "a token, which anybody gets",
    PRIVATE: "a token, for a password",
    BASIC: "a password (Basic)",
}

_TEMPLATE = """\
<!-- Written by python -m tests.clients.page from tests/clients/results.py; the tests hold both. -->

# Which client gets where

A registry that asks nobody who they are can be redirected to. With others it depends on the client
whether a redirect is enough, or its requests must be relayed. Each entry below is a test with the
real program and a real registry, which fails when it comes out otherwise. The programs are

{versions}.

## Pulls

Who gets an image, by what the registry wants and by its terms in regroute's configuration:

{pulls}

{pull_reasons}

Where regroute asks as nobody or by an account of its own, clients have no credentials; in all other
rows they have those that the registry wants. A registry that sends clients to a storage for the
bytes of blobs does so through a relay as well, and those bytes do not pass regroute.

`mode: auto` redirects everybody to a registry that wants nothing, and to the others containerd,
which asks anew at every hop. Who else is redirected to those is for `redirected` to say.

## Pushes

By redirects (`status: 307` for what writes) and by a relay, where a rule names the methods:

```yaml
registries:
  hub: {{url: "https://registry-1.docker.io", mode: relay}}
rules:
  - {{method: [GET, HEAD, POST, PUT, PATCH, DELETE], to: hub}}
```

{pushes}

{push_reasons}

## Logins

`docker login`, `podman login` and `skopeo login` succeed with the right password and fail with a
wrong one, by every relay. docker keeps a refresh token, where the registry gives one, and no longer
sends the password.

A login does not say which registry it is for. Where one name stands before several, it is tried at
each registry of `token: login` in turn, and passwords go to no other. Name only those whose owners
may see each other's passwords ([more on that](security.md)). Who is logged in still pulls from
registries that serve everybody.

## Mirrors

`dockerd --registry-mirror=https://front` asks for names of Docker Hub without credentials, and does
not say that it means Docker Hub. containerd (`hosts.toml`) says it with every manifest and blob, so
that one front can be the mirror for several registries (`namespace`), and has accounts at some.

## Names

Where a registry's URL has a path, so that `foo` here is `team/foo` there, every client pulls by tag
and by digest, asks for tokens by the name that it knows, and pushes. `skopeo list-tags` and oras
get all pages of tags; oras attaches to images and gets all pages of referrers.

Clients that push what they have pulled ask for its layers to be mounted from the other repository.
Within a registry that is done; from another registry behind the same name the layers are sent.
"""


def render() -> str:
    """The whole page."""
    return _TEMPLATE.format(
        versions=_listed(f"{name} {version}" for name, version in VERSIONS.items()),
        pulls=_table(PULLING, PULLS),
        pull_reasons=_reasons(PULLS),
        pushes=_table(PUSHING, PUSHES),
        push_reasons=_reasons(PUSHES),
    )


def _table(cells: Mapping[Way, Sequence[Upstream]], failures: Mapping[Cell, Fails]) -> str:
    """A row for each way, a column for each registry: the clients for which it works."""
    upstreams = [each for each in _UPSTREAMS if any(each in row for row in cells.values())]
    lines = [
        ["the registry wants", *(_UPSTREAMS[upstream] for upstream in upstreams)],
        ["---"] * (1 + len(upstreams)),
    ]
    for way, row in cells.items():
        works = (
            _works(way, upstream, failures) if upstream in row else "" for upstream in upstreams
        )
        lines.append([_WAYS[way], *works])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _works(way: Way, upstream: Upstream, failures: Mapping[Cell, Fails]) -> str:
    clients = [name for name in VERSIONS if (way.name, upstream.label, name) not in failures]
    if len(clients) == len(VERSIONS):
        return "**all**"
    if 2 * len(clients) > len(VERSIONS):
        return f"all but {_listed(name for name in VERSIONS if name not in clients)}"
    return _listed(clients) or "none"


def _reasons(failures: Mapping[Cell, Fails]) -> str:
    """Why those are missing that are."""
    clients: dict[str, dict[str, None]] = {}
    for (_, _, client), fails in failures.items():
        clients.setdefault(fails.why, {})[client] = None
    return "\n".join(f"- {why}: {_listed(names)}." for why, names in clients.items())


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)


def main() -> None:
    PAGE.write_text(render())


if __name__ == "__main__":
    main()
