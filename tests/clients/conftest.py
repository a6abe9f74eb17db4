"""What the tests here stand on: two registries with an image each, and clients at two addresses."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..processes import missing
from . import registries
from .authority import Authority, new_authority
from .bed import Machine, bed, impossible
from .images import build
from .programs import PROGRAMS, Place, Program
from .registries import Stock, registry

ADDRESSES = {
    "front": "10.0.0.1",
    "docker": "10.0.0.2",
    "k8s": "10.0.0.3",
    "office": "192.168.0.1",
    "elsewhere": "10.9.0.2",
}
NAMES = {"front": "front", "registry-1.docker.io": "docker", "k8s.gcr.io": "k8s"}


@pytest.fixture(scope="session")
def workspace(interruptible: None) -> Iterator[Path]:
    """A directory with a path short enough for the sockets in it."""
    with tempfile.TemporaryDirectory(prefix="regroute-") as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def machines(workspace: Path) -> Iterator[dict[str, Machine]]:
    """The machines by their labels in ADDRESSES; a skip where there can be none.

    What runs on them has its files in the workspace, which therefore goes after them."""
    if reason := impossible() or missing(registries.NEEDS):
        pytest.skip(reason)
    with bed(ADDRESSES, NAMES) as made:
        yield made


@pytest.fixture(scope="session")
def authority(workspace: Path) -> Authority:
    """The authority that the clients trust and the registries have their certificates from."""
    directory = workspace / "authority"
    directory.mkdir()
    return new_authority(directory)


@pytest.fixture(scope="session")
def docker_io(
    machines: dict[str, Machine], authority: Authority, workspace: Path
) -> Iterator[Stock]:
    """registry-1.docker.io with a postgres."""
    image = build("library/postgres", "12-alpine", workspace / "postgres")
    serve = registry("registry-1.docker.io", machines["docker"], authority, workspace / "docker")
    with serve as running:
        running.push(image)
        yield Stock(running, image)


@pytest.fixture(scope="session")
def k8s_gcr_io(
    machines: dict[str, Machine], authority: Authority, workspace: Path
) -> Iterator[Stock]:
    """k8s.gcr.io with an agnhost."""
    image = build("e2e-test-images/agnhost", "2.26", workspace / "agnhost")
    serve = registry("k8s.gcr.io", machines["k8s"], authority, workspace / "k8s")
    with serve as running:
        running.push(image)
        yield Stock(running, image)


@pytest.fixture
def room(workspace: Path) -> Iterator[Path]:
    """An empty directory for one client, so that no pull finds what an earlier one left."""
    with tempfile.TemporaryDirectory(dir=workspace) as directory:
        yield Path(directory)


@pytest.fixture
def office(machines: dict[str, Machine], authority: Authority, room: Path) -> Place:
    """A client's place at 192.168.0.1."""
    return Place(machines["office"], authority.certificate, room)


@pytest.fixture
def elsewhere(machines: dict[str, Machine], authority: Authority, room: Path) -> Place:
    """A client's place at an address that no rule names."""
    return Place(machines["elsewhere"], authority.certificate, room)


@pytest.fixture
def stranger(machines: dict[str, Machine], room: Path) -> Place:
    """A client's place that trusts an authority which nobody here has a certificate from."""
    trusted = room / "trusted"
    trusted.mkdir()
    return Place(machines["elsewhere"], new_authority(trusted).certificate, room)


@pytest.fixture(params=PROGRAMS, ids=lambda program: program.name)
def program(request: pytest.FixtureRequest) -> Program:
    """Each container client in turn; a skip where it is not installed."""
    each: Program = request.param
    if reason := missing(each.needs):
        pytest.skip(reason)
    return each
