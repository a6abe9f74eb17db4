"""A login succeeds with the right password and with no other, by whichever way it goes."""

import pytest

from ..processes import ProgramError, missing
from .belonging import misplaced
from .conftest import Fronts
from .images import Image
from .programs import DOCKER, PROGRAMS, Credentials, Place, Program
from .upstreams import BASIC, HUB, PRIVATE, Estate, Upstream
from .ways import AUTO, DIRECT, KEEP, RELAY, Way

WRONG = "not-the-password"
LOGIN_REFUSED = r"(?is) login .*(unauthorized|invalid username/password)"
PULL_REFUSED = "(?i)unauthorized|cannot respond to request for authentication"


@pytest.fixture(
    params=[program for program in PROGRAMS if program.logs_in], ids=lambda program: program.name
)
def logging_in(request: pytest.FixtureRequest) -> Program:
    """Each client in turn that has a login."""
    each: Program = request.param
    if reason := missing(each.needs):
        pytest.skip(reason)
    return each


@pytest.mark.parametrize("upstream", [HUB, PRIVATE, BASIC], ids=lambda upstream: upstream.label)
@pytest.mark.parametrize("way", [RELAY, KEEP, AUTO], ids=lambda way: way.name)
def test_a_login(
    logging_in: Program,
    way: Way,
    upstream: Upstream,
    fronts: Fronts,
    estate: Estate,
    elsewhere: Place,
    afresh: Place,
) -> None:
    """The wrong password is refused as one, the right one is taken."""
    front, account, since = fronts(way, upstream), upstream.account, estate.position()
    assert account is not None
    wrong = Credentials(account.user, WRONG)

    with (
        pytest.raises(ProgramError, match=LOGIN_REFUSED),
        logging_in.session(elsewhere, front, wrong),
    ):
        pass
    with logging_in.session(afresh, front, account):
        pass

    asked = estate.asked(since)
    assert {password for each in asked for _, password in each.passwords} == {
        WRONG,
        account.password,
    }
    assert misplaced(asked) == []


@pytest.mark.parametrize("way", [DIRECT, RELAY, KEEP, AUTO], ids=lambda way: way.name)
def test_docker_gives_its_password_away_once(
    way: Way, fronts: Fronts, estate: Estate, images: dict[Upstream, Image], elsewhere: Place
) -> None:
    """It logs in for a refresh token, and pulls with that alone (OAuth2, by POST)."""
    if reason := missing(DOCKER.needs):
        pytest.skip(reason)
    front, image = fronts(way, PRIVATE), images[PRIVATE]

    with DOCKER.session(elsewhere, front, PRIVATE.account) as session:
        since = estate.position()
        assert session.pull(image.reference) == image.manifest

    asked = estate.asked(since)
    assert {password for each in asked for password in each.passwords} == set()
    assert any(each.refresh_token for each in asked)
    assert misplaced(asked) == []


@pytest.mark.parametrize("upstream", [HUB, PRIVATE, BASIC], ids=lambda upstream: upstream.label)
@pytest.mark.parametrize("way", [RELAY, KEEP, AUTO], ids=lambda way: way.name)
@pytest.mark.parametrize(
    "program",
    [program for program in PROGRAMS if not program.logs_in],
    ids=lambda program: program.name,
)
def test_a_pull_with_the_wrong_password(
    program: Program,
    way: Way,
    upstream: Upstream,
    fronts: Fronts,
    estate: Estate,
    images: dict[Upstream, Image],
    elsewhere: Place,
) -> None:
    """Clients without a login say who they are with each pull, and get nothing by a wrong one."""
    front, account, since = fronts(way, upstream), upstream.account, estate.position()
    assert account is not None
    wrong = Credentials(account.user, WRONG)

    with pytest.raises(ProgramError, match=PULL_REFUSED):
        program.pull(elsewhere, front, images[upstream].reference, wrong)

    asked = estate.asked(since)
    assert {password for each in asked for _, password in each.passwords} == {WRONG}
    assert misplaced(asked) == []
