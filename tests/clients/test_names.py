"""Under a prefix of the registry all names are the front's: tags, pages, referrers, uploads."""

import json
from pathlib import Path

import pytest

from ..processes import missing
from .authority import Authority
from .belonging import misplaced
from .conftest import Serve
from .front import Front
from .images import Image, build
from .programs import ORAS, PROGRAMS, SKOPEO, Oras, Place, Program, Skopeo
from .upstream.pages import PAGE
from .upstreams import HUB, OPEN, Estate

TEAM = Front("team.front.test", 8103, secure=True)
"""The repositories of hub.test that begin with team/."""
CREW = Front("crew.front.test", 8103, secure=True)
"""Those of open.test that begin with crew/."""

TAGS = ["1", "1-alpine", "2", "2-alpine", "latest"]

_METHODS = "[GET, HEAD, POST, PUT, PATCH, DELETE]"


def configuration(ca: Path) -> str:
    """The front's, for both hosts."""
    return (
        "registries:\n"
        f"  team: {{url: https://{HUB.name}/team, mode: relay, ca: {ca}}}\n"
        f"  crew: {{url: https://{OPEN.name}/crew, mode: relay, ca: {ca}}}\n"
        "rules:\n"
        f"  - {{host: {TEAM.name}, method: {_METHODS}, to: team}}\n"
        f"  - {{host: {CREW.name}, method: {_METHODS}, to: crew}}\n"
    )


@pytest.fixture(scope="module")
def team(serve: Serve, authority: Authority) -> Front:
    """The front before team/ of hub.test."""
    return serve(TEAM, configuration(authority.certificate))


@pytest.fixture(scope="module")
def crew(serve: Serve, authority: Authority) -> Front:
    """The front before crew/ of open.test."""
    return serve(CREW, configuration(authority.certificate))


@pytest.fixture(scope="module")
def foo(estate: Estate, workspace: Path) -> Image:
    """What is foo at the front: an image with more tags than a page of the registry has."""
    image = build("team/foo", TAGS[0], workspace / "foo")
    for tag in TAGS:
        estate.put(image, HUB, f"team/foo:{tag}")
    assert len(TAGS) > 2 * PAGE
    return image


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_a_pull(
    program: Program, by: str, team: Front, foo: Image, estate: Estate, elsewhere: Place
) -> None:
    """A client that asks for foo, and for a token to pull foo, gets team/foo."""
    since = estate.position()
    reference = f"foo:{foo.tag}" if by == "tag" else f"foo@{foo.manifest}"

    assert program.pull(elsewhere, team, reference) == foo.manifest

    asked = estate.asked(since)
    scopes = {each.target for each in asked if each.host == HUB.realm}
    assert all("repository%3Ateam%2Ffoo%3Apull" in scope for scope in scopes), scopes
    assert misplaced(asked) == []


def test_skopeo_lists_the_tags_of_all_pages(
    team: Front, foo: Image, estate: Estate, elsewhere: Place
) -> None:
    """It takes path and query of a Link, and asks the front again."""
    if reason := missing(SKOPEO.needs):
        pytest.skip(reason)
    since = estate.position()

    listed = json.loads(Skopeo(elsewhere, team).tags("foo"))

    assert listed == {"Repository": f"{team.host}/foo", "Tags": TAGS}
    assert _pages(estate, since, "/v2/team/foo/tags/list") == 3


def test_oras_lists_the_tags_of_all_pages(
    team: Front, foo: Image, estate: Estate, elsewhere: Place
) -> None:
    """It joins a Link to the front's host."""
    since = estate.position()

    assert Oras(elsewhere, team, None).tags("foo") == TAGS

    assert _pages(estate, since, "/v2/team/foo/tags/list") == 3


def test_oras_attaches_to_an_image_and_finds_all_that_refers_to_it(
    crew: Front, foo: Image, estate: Estate, elsewhere: Place
) -> None:
    """Pushes, manifests with a subject, and the pages of the referrers API."""
    estate.put(foo, OPEN, "crew/foo:1")
    oras, since = Oras(elsewhere, crew, None), estate.position()

    attached = set()
    for number in range(2 * PAGE + 1):
        file = elsewhere.directory / f"sbom-{number}"
        file.write_text(f"number {number}\n")
        attached.add(oras.attach(f"foo:sbom-{number}", foo.manifest, file))

    assert set(oras.referrers("foo", foo.manifest)) == attached
    assert len(attached) == 2 * PAGE + 1
    assert _pages(estate, since, f"/v2/crew/foo/referrers/{foo.manifest}") == 3


@pytest.mark.parametrize(
    "program", [each for each in PROGRAMS if each != ORAS], ids=lambda program: program.name
)
def test_a_push(
    program: Program, team: Front, foo: Image, estate: Estate, elsewhere: Place
) -> None:
    """A client that pushes bar has pushed team/bar, with a token for that."""
    if reason := missing(program.needs):
        pytest.skip(reason)
    since, name = estate.position(), f"bar-{program.name}:1"

    pushed = program.push(elsewhere, team, foo, name, HUB.account)

    assert pushed == estate.digest(HUB, f"team/{name}")
    assert misplaced(estate.asked(since)) == []


def _pages(estate: Estate, since: int, path: str) -> int:
    """How often the registry was asked for a part of a list by somebody whom it let in."""
    asked = [each for each in estate.asked(since) if each.path == path]
    return len({each.target for each in asked})
