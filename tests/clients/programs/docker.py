"""docker: a client and its engine, which is the one that asks registries."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...processes import Daemon, ProgramError, daemon, run, succeeds
from ..front import Front
from ..images import Image
from .containerd import containerd
from .program import Credentials, Place, Program, if_plain


@dataclass(frozen=True)
class _Docker:
    """An engine that runs, with a storage of its own."""

    place: Place
    host: str
    engine: Daemon

    def client(self, *argv: str) -> str:
        try:
            return run(["docker", "-H", _socket(self.place), *argv], self.place.environment())
        except ProgramError as failed:
            raise ProgramError(f"{failed}\n{self.engine.log()}") from None

    def pull(self, name: str) -> str:
        return self.pull_reference(f"{self.host}/{name}")

    def pull_reference(self, reference: str) -> str:
        self.client("pull", reference)
        return self._digest(reference)

    def push(self, image: Image, name: str) -> str:
        reference = f"{self.host}/{name}"
        archive = self.place.directory / "image.tar"
        # `docker load` reads no image layout.
        self.place.run(
            *("skopeo", "--policy", self.place.unsigned(), "copy"),
            *(f"oci:{image.layout}:{image.tag}", f"docker-archive:{archive}:{reference}"),
        )
        self.client("load", "--input", str(archive))
        return self._push(reference)

    def copy(self, name: str, new: str) -> str:
        self.pull(name)
        self.client("tag", f"{self.host}/{name}", f"{self.host}/{new}")
        return self._push(f"{self.host}/{new}")

    def _push(self, reference: str) -> str:
        # What it prints last is "TAG: digest: DIGEST size: SIZE".
        return self.client("push", reference).split()[-3]

    def _digest(self, reference: str) -> str:
        show = ["image", "inspect", "--format", "{{index .RepoDigests 0}}", reference]
        return self.client(*show).strip().partition("@")[2]


@contextmanager
def _session(place: Place, front: Front, credentials: Credentials | None) -> Iterator[_Docker]:
    with _engine(place, front, *if_plain(front, "--insecure-registry", front.host)) as docker:
        if credentials is not None:
            who = ["--username", credentials.user, "--password", credentials.password]
            docker.client("login", *who, front.host)
        yield docker


def pull_through(place: Place, front: Front, name: str) -> str:
    """Pull a name of Docker Hub, for which the front is the engine's mirror; the digest."""
    with _engine(place, front, "--registry-mirror", front.origin) as docker:
        return docker.pull_reference(name)


@contextmanager
def _engine(place: Place, front: Front, *flags: str) -> Iterator[_Docker]:
    # A containerd that it has started itself would take it a second to end.
    with (
        containerd(place) as socket,
        _dockerd(place, "--containerd", socket, *flags) as running,
    ):
        yield _Docker(place, front.host, running)


@contextmanager
def _dockerd(place: Place, *flags: str) -> Iterator[Daemon]:
    directory, env = place.directory, place.environment()
    command = place.machine.command_with_cgroups(
        *("dockerd", "-H", _socket(place), "--log-level", "warn", *flags),
        *("--data-root", str(directory / "data"), "--exec-root", str(directory / "exec")),
        *("--pidfile", str(directory / "pid"), "--storage-driver", "vfs"),
        # Containers would need a network; a pull does not, and the machine's stays as it is.
        *("--bridge", "none", "--iptables=false", "--ip6tables=false"),
    )

    def ready() -> bool:
        return succeeds(["docker", "-H", _socket(place), "version"], env)

    with daemon("dockerd", command, directory, ready, env) as running:
        yield running


def _socket(place: Place) -> str:
    return f"unix://{place.directory}/docker.sock"


def _version(place: Place) -> str:
    return place.run("dockerd", "--version").split()[2]


DOCKER = Program(
    "docker",
    {
        "docker": "docker.io",
        "dockerd": "docker.io",
        "containerd": "containerd",
        "ctr": "containerd",
        "skopeo": "skopeo",
    },
    _version,
    logs_in=True,
    session=_session,
)
