"""podman and skopeo, which are the same library underneath."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..front import Front
from ..images import Image, digest_of
from .program import Credentials, Place, Program, if_plain

# Where the library remembers for root in which repositories it has seen which layers. Others that
# run on this computer remember there as well, and no flag or variable names another place.
_MEMORY = "/var/lib/containers/cache"
_WITH_MEMORY_OF_ITS_OWN = f"""
mkdir -p {_MEMORY} "$0" && mount --bind "$0" {_MEMORY} && exec "$@"
"""


def _run(place: Place, *argv: str) -> str:
    """Run a program with the library's memory in the place's own directory.

    A machine's commands have their own view of what is mounted, so nobody else sees it."""
    memory = str(place.directory / "memory")
    return place.run("sh", "-c", _WITH_MEMORY_OF_ITS_OWN.strip(), memory, *argv)


@dataclass(frozen=True)
class _Podman:
    place: Place
    front: Front

    def command(self, *argv: str) -> str:
        directory = self.place.directory
        return _run(
            self.place,
            *("podman", "--root", str(directory / "root"), "--runroot", str(directory / "run")),
            *("--tmpdir", str(directory / "tmp"), "--storage-driver", "vfs"),
            *("--cgroup-manager", "cgroupfs", "--events-backend", "none", *argv),
        )

    def login(self, credentials: Credentials) -> None:
        self.command("login", *_login(self.front, credentials))

    def pull(self, name: str) -> str:
        reference = f"{self.front.host}/{name}"
        self._pull(*if_plain(self.front, "--tls-verify=false"), reference)
        show = ["image", "inspect", "--format", "{{.Digest}}", reference]
        return self.command(*show).strip()

    def push(self, image: Image, name: str) -> str:
        reference = f"{self.front.host}/{name}"
        printed = self._pull(f"oci:{image.layout}:{image.tag}")
        self.command("tag", printed.split()[-1], reference)
        return self._push(reference)

    def copy(self, name: str, new: str) -> str:
        self.pull(name)
        self.command("tag", f"{self.front.host}/{name}", f"{self.front.host}/{new}")
        return self._push(f"{self.front.host}/{new}")

    def _push(self, reference: str) -> str:
        digest = self.place.directory / "digest"
        # It finds no policy file of its own at this home, and has no flag for one.
        self.command(
            *("push", "--signature-policy", self.place.unsigned(), "--digestfile", str(digest)),
            *if_plain(self.front, "--tls-verify=false"),
            reference,
        )
        return digest.read_text()

    def _pull(self, *argv: str) -> str:
        return self.command("pull", "--signature-policy", self.place.unsigned(), *argv)


@dataclass(frozen=True)
class Skopeo:
    """skopeo copies images between registries and directories, and lists tags."""

    place: Place
    front: Front

    def login(self, credentials: Credentials) -> None:
        _run(self.place, "skopeo", "login", *_login(self.front, credentials))

    def pull(self, name: str) -> str:
        target = self.place.directory / "image"
        self._copy(
            *if_plain(self.front, "--src-tls-verify=false"),
            *(f"docker://{self.front.host}/{name}", f"dir:{target}"),
        )
        return digest_of((target / "manifest.json").read_bytes())

    def push(self, image: Image, name: str) -> str:
        digest = self.place.directory / "digest"
        self._copy(
            *("--preserve-digests", "--digestfile", str(digest)),
            *if_plain(self.front, "--dest-tls-verify=false"),
            *(f"oci:{image.layout}:{image.tag}", f"docker://{self.front.host}/{name}"),
        )
        return digest.read_text()

    def copy(self, name: str, new: str) -> str:
        # It remembers where it has seen a layer when it has got it.
        self.pull(name)
        digest = self.place.directory / "digest"
        plain = if_plain(self.front, "--src-tls-verify=false", "--dest-tls-verify=false")
        self._copy(
            *("--digestfile", str(digest), *plain),
            *(f"docker://{self.front.host}/{name}", f"docker://{self.front.host}/{new}"),
        )
        return digest.read_text()

    def tags(self, repository: str) -> str:
        """The repository and its tags, as it prints them in JSON."""
        return _run(self.place, "skopeo", "list-tags", f"docker://{self.front.host}/{repository}")

    def _copy(self, *argv: str) -> None:
        _run(self.place, "skopeo", "--policy", self.place.unsigned(), "copy", *argv)


def _login(front: Front, credentials: Credentials) -> list[str]:
    return [
        *("--username", credentials.user, "--password", credentials.password),
        *if_plain(front, "--tls-verify=false"),
        front.host,
    ]


@contextmanager
def _podman(place: Place, front: Front, credentials: Credentials | None) -> Iterator[_Podman]:
    podman = _Podman(place, front)
    if credentials is not None:
        podman.login(credentials)
    yield podman


@contextmanager
def _skopeo(place: Place, front: Front, credentials: Credentials | None) -> Iterator[Skopeo]:
    skopeo = Skopeo(place, front)
    if credentials is not None:
        skopeo.login(credentials)
    yield skopeo


def _podman_version(place: Place) -> str:
    return place.run("podman", "--version").split()[-1]


def _skopeo_version(place: Place) -> str:
    return place.run("skopeo", "--version").split()[-1]


PODMAN = Program("podman", {"podman": "podman"}, _podman_version, logs_in=True, session=_podman)
SKOPEO = Program("skopeo", {"skopeo": "skopeo"}, _skopeo_version, logs_in=True, session=_skopeo)
