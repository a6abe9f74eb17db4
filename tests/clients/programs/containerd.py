"""containerd, by ctr: it asks registries itself, and the daemon keeps what it has got."""

import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...processes import daemon, succeeds
from ..front import Front
from ..images import Image
from .program import Credentials, Place, Program, if_plain


@dataclass(frozen=True)
class _Containerd:
    """A daemon that runs, with a storage of its own."""

    place: Place
    front: Front
    credentials: Credentials | None

    def image(self, command: str, *argv: str) -> str:
        return self.place.run("ctr", "--address", _socket(self.place), "image", command, *argv)

    def pull(self, name: str) -> str:
        return self.pull_reference(f"{self.front.host}/{name}", *self._resolver())

    def pull_reference(self, reference: str, *flags: str) -> str:
        self.image("pull", "--snapshotter", "native", *flags, reference)
        return self._digest(reference)

    def push(self, image: Image, name: str) -> str:
        archive = self.place.directory / "image.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(image.layout, ".")
        imported = f"pushed:{image.tag}"
        self.image("import", "--base-name", "pushed", "--no-unpack", str(archive))
        return self._push(imported, f"{self.front.host}/{name}")

    def copy(self, name: str, new: str) -> str:
        self.pull(name)
        return self._push(f"{self.front.host}/{name}", f"{self.front.host}/{new}")

    def _push(self, image: str, reference: str) -> str:
        self.image("tag", image, reference)
        self.image("push", *self._resolver(), reference)
        return self._digest(reference)

    def _resolver(self) -> list[str]:
        who = [] if self.credentials is None else ["--user", str(self.credentials)]
        return [*who, *if_plain(self.front, "--plain-http")]

    def _digest(self, reference: str) -> str:
        listed = self.image("list", f"name=={reference}")
        # A reference may hold a digest itself, but has more before it.
        return next(word for word in listed.split() if word.startswith("sha256:"))


def pull_through(place: Place, front: Front, name: str) -> str:
    """Pull a name of another registry, for which the front is a mirror; the digest.

    `name` begins with the registry that it is from, as `docker.io`."""
    registry = name.partition("/")[0]
    hosts = place.directory / "hosts" / registry
    hosts.mkdir(parents=True)
    (hosts / "hosts.toml").write_text(
        f'server = "https://{registry}"\n'
        f'[host."{front.origin}"]\n'
        'capabilities = ["pull", "resolve"]\n'
        f"ca = {json.dumps(str(place.authority))}\n"
    )
    with _session(place, front, None) as containerd:
        return containerd.pull_reference(name, "--hosts-dir", str(hosts.parent))


@contextmanager
def _session(place: Place, front: Front, credentials: Credentials | None) -> Iterator[_Containerd]:
    with containerd(place):
        # ctr asks the registry itself, so it is the one that must be on the client's machine.
        yield _Containerd(place, front, credentials)


@contextmanager
def containerd(place: Place) -> Iterator[str]:
    """The daemon, with a storage of its own; its socket."""
    directory, env, socket = place.directory, place.environment(), _socket(place)
    settings = directory / "containerd.toml"
    settings.write_text(
        "version = 2\n"
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f"root = {json.dumps(str(directory / 'root'))}\n"
        f"state = {json.dumps(str(directory / 'state'))}\n"
        f"[grpc]\naddress = {json.dumps(socket)}\n"
    )

    def ready() -> bool:
        return succeeds(["ctr", "--address", socket, "version"], env)

    command = place.machine.command("containerd", "--config", str(settings))
    with daemon("containerd", command, directory, ready, env):
        yield socket


def _socket(place: Place) -> str:
    return str(place.directory / "containerd.sock")


def _version(place: Place) -> str:
    return place.run("containerd", "--version").split()[2]


CONTAINERD = Program(
    "containerd",
    {"containerd": "containerd", "ctr": "containerd"},
    _version,
    logs_in=False,
    session=_session,
)
