"""A front that relays is the mirror of engines, which ask it for names of other registries."""

from pathlib import Path

import pytest

from ..processes import missing
from .authority import Authority
from .belonging import misplaced
from .conftest import Serve
from .front import Front
from .images import Image, build
from .programs import CONTAINERD, DOCKER, Place
from .programs.containerd import pull_through as containerd_pulls
from .programs.docker import pull_through as docker_pulls
from .upstreams import HUB, PRIVATE, Estate, Upstream

MIRROR = Front("mirror.front.test", 8102, secure=True)


def configuration(ca: Path, password: Path) -> str:
    """The front's: names of quay.io are private's, all others those of Docker Hub."""
    assert PRIVATE.account is not None
    account = f"{{username: {PRIVATE.account.user}, password_file: {password}}}"
    return (
        "registries:\n"
        f"  hub: {{url: https://{HUB.name}, mode: relay, forwarded: true, ca: {ca}}}\n"
        f"  quay: {{url: https://{PRIVATE.name}, mode: relay, auth: {account}, ca: {ca}}}\n"
        "rules:\n"
        "  - {namespace: quay.io, client: 10.9.0.0/16, to: quay}\n"
        "  - {not: {namespace: quay.io}, method: [GET, HEAD], to: hub}\n"
    )


@pytest.fixture(scope="module")
def mirror(serve: Serve, authority: Authority, workspace: Path) -> Front:
    """The front, which runs."""
    assert PRIVATE.account is not None
    password = workspace / "quay.password"
    password.write_text(PRIVATE.account.password)
    return serve(MIRROR, configuration(authority.certificate, password))


@pytest.fixture(scope="module")
def postgres(estate: Estate, workspace: Path) -> Image:
    """An image of Docker Hub's library, which is at no other host."""
    image = build("library/postgres", "mirrored", workspace / "mirrored")
    estate.put(image, HUB, image.reference)
    return image


def test_docker_pulls_through_its_mirror(
    mirror: Front, postgres: Image, estate: Estate, elsewhere: Place
) -> None:
    """dockerd --registry-mirror: it asks for the library's name, and for nothing elsewhere."""
    if reason := missing(DOCKER.needs):
        pytest.skip(reason)
    since = estate.position()

    assert docker_pulls(elsewhere, mirror, "postgres:mirrored") == postgres.manifest

    asked = estate.asked(since)
    assert misplaced(asked) == []
    told = {each.forwarded for each in asked if each.host == HUB.name and each.path != "/v2/"}
    # As the front's configuration wants, the registry hears who it is that asks.
    assert told == {f'for={elsewhere.machine.address};host="{mirror.host}";proto=https'}


def test_containerd_pulls_through_its_mirror(
    mirror: Front, postgres: Image, estate: Estate, elsewhere: Place
) -> None:
    """hosts.toml: it says with every request which registry it means, in a query of its own."""
    if reason := missing(CONTAINERD.needs):
        pytest.skip(reason)
    since = estate.position()

    name = f"docker.io/{postgres.reference}"
    assert containerd_pulls(elsewhere, mirror, name) == postgres.manifest

    assert misplaced(estate.asked(since)) == []


def test_one_mirror_serves_the_names_of_several_registries(
    mirror: Front, images: dict[Upstream, Image], estate: Estate, elsewhere: Place
) -> None:
    """By containerd's query the front tells them apart; it has an account at one of them."""
    if reason := missing(CONTAINERD.needs):
        pytest.skip(reason)
    image, since = images[PRIVATE], estate.position()

    name = f"quay.io/{image.reference}"
    assert containerd_pulls(elsewhere, mirror, name) == image.manifest

    asked = estate.asked(since)
    assert misplaced(asked) == []
    assert {each.host for each in asked} == set(PRIVATE.hosts)
