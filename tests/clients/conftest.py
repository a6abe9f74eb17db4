"""What the tests here stand on: registries with images, fronts, and clients at two addresses."""

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ..processes import Daemon, missing
from . import registries, upstreams, ways
from .authority import Authority, Certificate, new_authority
from .bed import Machine, bed, impossible
from .front import TWISTD, Front, regroute
from .images import Image, build
from .programs import PROGRAMS, Place, Program
from .registries import Stock, registry
from .upstreams import UPSTREAMS, Estate, Upstream
from .ways import DIRECT, WAYS, Way

FRONTS = [
    *(way.host for way in WAYS),
    *(f"{name}.front.test" for name in ("one", "mirror", "team", "crew")),
]
ADDRESSES = {
    "front": "10.0.0.1",
    "docker": "10.0.0.2",
    "k8s": "10.0.0.3",
    "upstreams": "10.0.0.4",
    "fronts": "10.0.0.5",
    "office": "192.168.0.1",
    "elsewhere": "10.9.0.2",
}
NAMES = {
    "front": "front",
    "registry-1.docker.io": "docker",
    "k8s.gcr.io": "k8s",
    **{host: "upstreams" for upstream in UPSTREAMS for host in upstream.hosts},
    **dict.fromkeys(FRONTS, "fronts"),
}

Fronts = Callable[[Way, Upstream], Front]


@dataclass(frozen=True)
class Serve:
    """Runs fronts on a machine until the stack is left, one regroute for each port."""

    machine: Machine
    certificate: Certificate
    directory: Path
    stack: ExitStack
    running: dict[int, Daemon] = field(default_factory=dict)

    def __call__(self, front: Front, rules: str) -> Front:
        """The front, by a regroute with these rules unless there is one at its port already."""
        if front.port not in self.running:
            directory = self.directory / f"front-{front.port}"
            serving = regroute([front], self.certificate, self.machine, directory, rules)
            self.running[front.port] = self.stack.enter_context(serving)
        return front

    def positions(self) -> dict[int, int]:
        """Where each log ends now."""
        return {port: each.stderr.stat().st_size for port, each in self.running.items()}

    def log(self, since: Mapping[int, int]) -> str:
        """What all of them have logged since then, but for requests."""
        return "".join(
            each.stderr.read_text()[since.get(port, 0) :] for port, each in self.running.items()
        )


@pytest.fixture(scope="session")
def workspace(interruptible: None) -> Iterator[Path]:
    """A directory with a path short enough for the sockets in it.

    podman takes the path of an image for its name too, so not every temporary name will do."""
    directory = Path(tempfile.gettempdir(), f"regroute-{secrets.token_hex(4)}")
    directory.mkdir(mode=0o700)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


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


@pytest.fixture(scope="session")
def estate(machines: dict[str, Machine], authority: Authority, workspace: Path) -> Iterator[Estate]:
    """A registry of every kind of auth."""
    with upstreams.estate(machines["upstreams"], authority, workspace / "upstreams") as running:
        yield running


@pytest.fixture(scope="session")
def images(estate: Estate, workspace: Path) -> dict[Upstream, Image]:
    """An image in each of them."""
    built = {}
    for upstream in UPSTREAMS:
        image = build(upstream.repository, "1", workspace / upstream.label)
        estate.put(image, upstream, image.reference)
        built[upstream] = image
    return built


@pytest.fixture(scope="session")
def serve(
    machines: dict[str, Machine], authority: Authority, estate: Estate, workspace: Path
) -> Iterator[Serve]:
    """Runs a regroute for each port of the machine for fronts, from when one is asked for."""
    if not TWISTD.exists():
        pytest.skip(f"{TWISTD} is missing: install regroute beside the Python that runs the tests")
    with ExitStack() as stack:
        yield Serve(machines["fronts"], authority.issue(*FRONTS), workspace, stack)


@pytest.fixture(autouse=True)
def told(request: pytest.FixtureRequest) -> Iterator[None]:
    """What the fronts log while a test runs that uses them is shown when it fails."""
    if "serve" not in request.fixturenames:
        yield
        return
    serve: Serve = request.getfixturevalue("serve")
    since = serve.positions()
    yield
    print(serve.log(since))


@pytest.fixture(scope="session")
def fronts(serve: Serve, authority: Authority, workspace: Path) -> Fronts:
    """Finds the front that leads to a registry by a way."""

    def find(way: Way, upstream: Upstream) -> Front:
        front = way.front(upstream)
        if way == DIRECT:
            return front
        return serve(front, ways.configuration(upstream, authority.certificate, workspace))

    return find


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
def afresh(elsewhere: Place) -> Place:
    """The place `elsewhere` once more, with a storage that holds nothing."""
    directory = elsewhere.directory / "afresh"
    directory.mkdir()
    return Place(elsewhere.machine, elsewhere.authority, directory)


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
