"""One name stands before four registries of different auth, and each image comes from its own."""

from pathlib import Path

import pytest

from ..processes import ProgramError
from .authority import Authority
from .belonging import misplaced
from .conftest import Serve
from .front import Front
from .images import Image
from .programs import Credentials, Place, Program
from .results import PUSHES
from .upstreams import BASIC, HUB, OPEN, PRIVATE, UPSTREAMS, Estate, Upstream
from .ways import RELAY

ONE = Front("one.front.test", 8101, secure=True)
_METHODS = "[GET, HEAD, POST, PUT, PATCH, DELETE]"
LOGINS = (PRIVATE, BASIC)
"""The registries that a login is tried at, as the front's configuration says."""


def configuration(ca: Path) -> str:
    """The front's: repositories are the registries' by their first part."""
    registries = "".join(
        f"  {each.label}: {{url: https://{each.name}, mode: relay, ca: {ca}}}\n"
        for each in UPSTREAMS
    )
    rules = "".join(
        f'  - {{repository: "{each.label}/**", method: {_METHODS}, to: {each.label}}}\n'
        for each in UPSTREAMS
    )
    login = ", ".join(each.label for each in LOGINS)
    return (
        f"registries:\n{registries}"
        f"token: {{login: [{login}]}}\n"
        f"rules:\n{rules}"
        f"  - {{path: [/v2, /v2/], to: {PRIVATE.label}}}\n"
    )


@pytest.fixture(scope="module")
def one(serve: Serve, authority: Authority) -> Front:
    """The front, which runs."""
    return serve(ONE, configuration(authority.certificate))


@pytest.mark.parametrize("upstream", UPSTREAMS, ids=lambda upstream: upstream.label)
def test_a_pull_comes_from_the_registry_of_its_repository(
    program: Program,
    upstream: Upstream,
    one: Front,
    estate: Estate,
    images: dict[Upstream, Image],
    elsewhere: Place,
) -> None:
    """Each client gets each registry's image, and no other registry is asked for it."""
    image, since = images[upstream], estate.position()

    assert program.pull(elsewhere, one, image.reference, upstream.reader) == image.manifest

    asked = estate.asked(since)
    assert {each.host for each in asked if upstream.repository in each.path} == {upstream.name}
    assert _misplaced(estate, since) == []


def test_one_session_pulls_from_all_registries_that_serve_everybody(
    program: Program, one: Front, estate: Estate, images: dict[Upstream, Image], elsewhere: Place
) -> None:
    """What a client has learned of one registry does not keep it from another."""
    since = estate.position()

    with program.session(elsewhere, one, None) as session:
        for image in (images[each] for each in UPSTREAMS if each.public):
            assert session.pull(image.reference) == image.manifest

    assert _misplaced(estate, since) == []


@pytest.mark.parametrize("upstream", LOGINS, ids=lambda upstream: upstream.label)
def test_somebody_who_is_logged_in_pulls_from_registries_that_serve_everybody_too(
    program: Program,
    upstream: Upstream,
    one: Front,
    estate: Estate,
    images: dict[Upstream, Image],
    elsewhere: Place,
) -> None:
    """Credentials for one registry keep a client from no other, and do not get there."""
    since = estate.position()

    with program.session(elsewhere, one, upstream.account) as session:
        for image in (images[each] for each in (upstream, OPEN, HUB)):
            assert session.pull(image.reference) == image.manifest

    assert _misplaced(estate, since) == []


@pytest.mark.parametrize("upstream", LOGINS, ids=lambda upstream: upstream.label)
def test_a_wrong_password_pulls_nothing(
    program: Program,
    upstream: Upstream,
    one: Front,
    images: dict[Upstream, Image],
    elsewhere: Place,
) -> None:
    """No registry of several takes a password that is none of theirs."""
    assert upstream.account is not None
    wrong = Credentials(upstream.account.user, "wrong")

    with pytest.raises(ProgramError):
        program.pull(elsewhere, one, images[upstream].reference, wrong)


@pytest.mark.parametrize("upstream", LOGINS, ids=lambda upstream: upstream.label)
def test_a_copy_from_another_registry(
    program: Program,
    upstream: Upstream,
    one: Front,
    estate: Estate,
    images: dict[Upstream, Image],
    elsewhere: Place,
) -> None:
    """No registry can mount what is in another, though clients ask for it: they send it instead."""
    source, new = images[OPEN], f"{upstream.label}/copied-by-{program.name}:1"
    since = estate.position()

    with program.session(elsewhere, one, upstream.account) as session:
        # What hinders a client with tokens hinders it here too.
        token = upstream.realm is not None
        if token and (fails := PUSHES.get((RELAY.name, HUB.label, program.name))):
            with pytest.raises(ProgramError, match=fails.says):
                session.copy(source.reference, new)
            return
        copied = session.copy(source.reference, new)

    assert copied == estate.digest(upstream, new)
    assert _misplaced(estate, since) == []


def _misplaced(estate: Estate, since: int) -> list[str]:
    """Credentials where they do not belong, but for passwords at registries for logins.

    There they are tried in turn, for nobody says where a login is to."""
    tried = {each.login_host for each in LOGINS}
    return misplaced(
        each for each in estate.asked(since) if not (each.passwords and each.host in tried)
    )
