"""The container clients: for each, how it pulls an image into storage that held nothing before."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .bed import Machine
from .processes import ProgramError, clean_environment, daemon, run, succeeds


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

    `pull` takes `host:port/repository:tag` from a registry that speaks plain HTTP, and returns the
    digest of the manifest that it has got."""

    name: str
    needs: Mapping[str, str]
    pull: Callable[[Place, str], str]


def docker(place: Place, reference: str) -> str:
    directory, env = place.directory, place.environment()
    socket = f"unix://{directory}/docker.sock"
    host, _, _ = reference.partition("/")
    client = ["docker", "-H", socket]
    engine = [
        *("dockerd", "-H", socket, "--insecure-registry", host, "--log-level", "warn"),
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


def podman(place: Place, reference: str) -> str:
    directory, env = place.directory, place.environment()
    policy = directory / "policy.json"
    policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    client = [
        *("podman", "--root", str(directory / "root"), "--runroot", str(directory / "run")),
        *("--tmpdir", str(directory / "tmp")),
        *("--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"),
    ]
    pull = ["pull", "--tls-verify=false", "--signature-policy", str(policy), reference]
    place.machine.run(*client, *pull, env=env)
    show = ["image", "inspect", "--format", "{{.Digest}}", reference]
    return place.machine.run(*client, *show, env=env).strip()


def skopeo(place: Place, reference: str) -> str:
    target = place.directory / "image"
    place.machine.run(
        *("skopeo", "--insecure-policy", "copy", "--src-tls-verify=false"),
        *(f"docker://{reference}", f"dir:{target}"),
        env=place.environment(),
    )
    manifest = (target / "manifest.json").read_bytes()
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"


def containerd(place: Place, reference: str) -> str:
    directory, env = place.directory, place.environment()
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
        pull = ["image", "pull", "--plain-http", "--snapshotter", "native", reference]
        place.machine.run(*client, *pull, env=env)
        listed = place.machine.run(*client, "image", "list", f"name=={reference}", env=env)
        return next(word for word in listed.split() if word.startswith("sha256:"))


PROGRAMS = (
    Program("docker", {"docker": "docker.io", "dockerd": "docker.io"}, docker),
    Program("podman", {"podman": "podman"}, podman),
    Program("skopeo", {"skopeo": "skopeo"}, skopeo),
    Program("containerd", {"containerd": "containerd", "ctr": "containerd"}, containerd),
)
