"""The container clients: for each, how it pulls an image into storage that held nothing before."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..processes import ProgramError, clean_environment, daemon, run, succeeds
from .bed import Machine
from .front import Front


@dataclass(frozen=True)
class Place:
    """Where a client runs: its machine, the authority it trusts, and an empty directory."""

    machine: Machine
    authority: Path
    directory: Path

    def environment(self) -> dict[str, str]:
        """Nothing in it comes from this computer's own settings, so that those do not matter."""
        containers = self.directory / "containers.conf"
        # Locks in files are in podman's own directory, those in shared memory are everybody's.
        containers.write_text('[engine]\nlock_type = "file"\n')
        registries = self.directory / "registries.conf"
        registries.touch()
        return clean_environment(
            HOME=str(self.directory),
            TMPDIR=str(self.directory),
            SSL_CERT_FILE=str(self.authority),
            CONTAINERS_CONF=str(containers),
            CONTAINERS_REGISTRIES_CONF=str(registries),
        )


@dataclass(frozen=True)
class Program:
    """A client: what it needs (programs and their Debian packages), and how it pulls.

    `pull` takes `repository:tag` from the front and returns the digest of the manifest that it has
    got. Only a front that speaks plain HTTP is pulled from with a flag that allows it."""

    name: str
    needs: Mapping[str, str]
    pull: Callable[[Place, Front, str], str]


def docker(place: Place, front: Front, image: str) -> str:
    directory, env = place.directory, place.environment()
    socket = f"unix://{directory}/docker.sock"
    reference = f"{front.host}/{image}"
    client = ["docker", "-H", socket]
    engine = [
        *("dockerd", "-H", socket, "--log-level", "warn"),
        *_if_plain(front, "--insecure-registry", front.host),
        *("--data-root", str(directory / "data"), "--exec-root", str(directory / "exec")),
        *("--pidfile", str(directory / "pid"), "--storage-driver", "vfs"),
        # Containers would need a network; a pull does not, and the machine's stays as it is.
        *("--bridge", "none", "--iptables=false", "--ip6tables=false"),
    ]

    def ready() -> bool:
        return succeeds([*client, "version"], env)

    command = place.machine.command_with_cgroups(*engine)
    with daemon("dockerd", command, directory, ready, env) as running:
        try:
            run([*client, "pull", reference], env)
        except ProgramError as failed:
            raise ProgramError(f"{failed}\n{running.log()}") from None
        show = ["image", "inspect", "--format", "{{index .RepoDigests 0}}", reference]
        return run([*client, *show], env).strip().partition("@")[2]


def podman(place: Place, front: Front, image: str) -> str:
    directory, env = place.directory, place.environment()
    reference = f"{front.host}/{image}"
    client = [
        *("podman", "--root", str(directory / "root"), "--runroot", str(directory / "run")),
        *("--tmpdir", str(directory / "tmp")),
        *("--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"),
    ]
    pull = [
        *("pull", "--signature-policy", str(_unsigned(directory))),
        *_if_plain(front, "--tls-verify=false"),
    ]
    place.machine.run(*client, *pull, reference, env=env)
    show = ["image", "inspect", "--format", "{{.Digest}}", reference]
    return place.machine.run(*client, *show, env=env).strip()


def skopeo(place: Place, front: Front, image: str) -> str:
    target = place.directory / "image"
    place.machine.run(
        *("skopeo", "--policy", str(_unsigned(place.directory)), "copy"),
        *_if_plain(front, "--src-tls-verify=false"),
        *(f"docker://{front.host}/{image}", f"dir:{target}"),
        env=place.environment(),
    )
    manifest = (target / "manifest.json").read_bytes()
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"


def containerd(place: Place, front: Front, image: str) -> str:
    directory, env = place.directory, place.environment()
    reference = f"{front.host}/{image}"
    socket = str(directory / "containerd.sock")
    settings = directory / "containerd.toml"
    settings.write_text(
        "version = 2\n"
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f"root = {json.dumps(str(directory / 'root'))}\n"
        f"state = {json.dumps(str(directory / 'state'))}\n"
        f"[grpc]\naddress = {json.dumps(socket)}\n"
    )
    client = ["ctr", "--address", socket]

    def ready() -> bool:
        return succeeds([*client, "version"], env)

    command = place.machine.command("containerd", "--config", str(settings))
    with daemon("containerd", command, directory, ready, env):
        # ctr asks the registry itself, so it is the one that must be on the client's machine.
        pull = ["image", "pull", "--snapshotter", "native", *_if_plain(front, "--plain-http")]
        place.machine.run(*client, *pull, reference, env=env)
        listed = place.machine.run(*client, "image", "list", f"name=={reference}", env=env)
        return next(word for word in listed.split() if word.startswith("sha256:"))


def _if_plain(front: Front, *flags: str) -> tuple[str, ...]:
    return () if front.secure else flags


def _unsigned(directory: Path) -> Path:
    """A policy file for images that nobody has signed, as these are."""
    policy = directory / "policy.json"
    policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    return policy


PROGRAMS = (
    Program("docker", {"docker": "docker.io", "dockerd": "docker.io"}, docker),
    Program("podman", {"podman": "podman"}, podman),
    Program("skopeo", {"skopeo": "skopeo"}, skopeo),
    Program("containerd", {"containerd": "containerd", "ctr": "containerd"}, containerd),
)
