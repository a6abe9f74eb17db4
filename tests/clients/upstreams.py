"""The registries that are relayed: one of each kind of auth, and what was asked of all of them."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from ..issuers import new_root, pem, pem_key
from ..processes import clean_environment, daemon
from .authority import Authority
from .bed import Machine
from .captured import Asked
from .images import Image, digest_of
from .programs import Credentials
from .upstream.settings import RegistrySettings, Settings, StorageSettings, TokenSettings

_ROOT = Path(__file__).parents[2]
_PORT = 443
_FIRST_REGISTRY_PORT = 5001

# bcrypt, which docker-registry wants, of "basic-secret".
_HTPASSWD = "basic-user:$2y$05$regrouteregrouteregrouMN2wWcobAtqB6CGZtTkaE3Mpe2fZGTW\n"


@dataclass(frozen=True)
class Upstream:
    """A registry by its host's name, and the other hosts that belong to it.

    `account` may pull and push; where there is none, and where it is `public`, so may anybody."""

    label: str
    name: str
    account: Credentials | None = None
    public: bool = True
    realm: str | None = None
    storage: str | None = None

    @property
    def hosts(self) -> list[str]:
        return [host for host in (self.name, self.realm, self.storage) if host is not None]

    @property
    def asks_nobody(self) -> bool:
        """Whether it wants no credentials of any kind, from anybody."""
        return self.account is None

    @property
    def reader(self) -> Credentials | None:
        """Who one must be to pull."""
        return None if self.public else self.account

    @property
    def login_host(self) -> str:
        """Where a password is for."""
        return self.realm or self.name

    @property
    def repository(self) -> str:
        """The one that its image is in."""
        return f"{self.label}/app"


OPEN = Upstream("open", "open.test")
"""Asks nobody who they are."""

HUB = Upstream(
    "hub",
    "hub.test",
    Credentials("hub-user", "hub-secret"),
    realm="hub-auth.test",
    storage="hub-storage.test",
)
"""As Docker Hub: a token for everybody who pulls, and the bytes of blobs at another host."""

PRIVATE = Upstream(
    "private",
    "private.test",
    Credentials("private-user", "private-secret"),
    public=False,
    realm="private-auth.test",
)
"""Tokens for those who have a password. It sends the bytes of blobs itself."""

BASIC = Upstream("basic", "basic.test", Credentials("basic-user", "basic-secret"), public=False)
"""A password with every request. Its addresses of uploads have no host."""

UPSTREAMS = (OPEN, HUB, PRIVATE, BASIC)


@dataclass(frozen=True)
class Estate:
    """All of them, as they run, and the capture of their requests."""

    machine: Machine
    authority: Path
    capture: Path

    def put(self, image: Image, upstream: Upstream, name: str) -> None:
        """Push the image to a registry as `repository:tag`, as it was built."""
        who = [] if upstream.account is None else ["--dest-creds", str(upstream.account)]
        self.machine.run(
            *("skopeo", "--insecure-policy", "copy", "--preserve-digests", *who),
            f"oci:{image.layout}:{image.tag}",
            f"docker://{upstream.name}/{name}",
            env=clean_environment(SSL_CERT_FILE=str(self.authority)),
        )

    def digest(self, upstream: Upstream, name: str) -> str:
        """The digest of the manifest that a registry has as `repository:tag`."""
        who = [] if upstream.account is None else ["--creds", str(upstream.account)]
        manifest = self.machine.run(
            *("skopeo", "inspect", "--raw", *who, f"docker://{upstream.name}/{name}"),
            env=clean_environment(SSL_CERT_FILE=str(self.authority)),
        )
        return digest_of(manifest.encode())

    def position(self) -> int:
        """Where the capture ends now; what `asked` takes to see only what comes later."""
        return self.capture.stat().st_size

    def asked(self, since: int = 0) -> list[Asked]:
        """Every request that any of the hosts got. Each is there before its answer is."""
        with self.capture.open("rb") as file:
            file.seek(since)
            return [Asked(**json.loads(line)) for line in file.read().splitlines()]


@contextmanager
def estate(machine: Machine, authority: Authority, directory: Path) -> Iterator[Estate]:
    """Run all registries with all that belongs to them, empty, with files in the directory."""
    directory.mkdir()
    settings = directory / "upstream.json"
    _settings(authority, directory).write(settings)
    with ExitStack() as stack:
        for port, upstream in enumerate(UPSTREAMS, _FIRST_REGISTRY_PORT):
            file = directory / f"{upstream.label}.yml"
            file.write_text(json.dumps(_registry(upstream, port, directory), indent=2))
            command = machine.command("docker-registry", "serve", str(file))
            stack.enter_context(
                daemon(upstream.name, command, directory, lambda: True, clean_environment())
            )
        command = machine.command(sys.executable, "-m", f"{__package__}.upstream", str(settings))
        # Debian's programs, and the Python that the tests run in with its modules.
        env = {**os.environ, "PYTHONPATH": str(_ROOT)}

        def ready() -> bool:
            ports = range(_FIRST_REGISTRY_PORT, _FIRST_REGISTRY_PORT + len(UPSTREAMS))
            return all(machine.answers(port) for port in (*ports, _PORT))

        running = stack.enter_context(daemon("upstream", command, directory, ready, env))
        yield Estate(machine, authority.certificate, running.stdout)


def _settings(authority: Authority, directory: Path) -> Settings:
    hosts = [host for upstream in UPSTREAMS for host in upstream.hosts]
    certificates = {host: authority.issue(host) for host in hosts}
    ports = enumerate(UPSTREAMS, _FIRST_REGISTRY_PORT)
    return Settings(
        port=_PORT,
        certificates={
            host: (str(issued.certificate), str(issued.key))
            for host, issued in certificates.items()
        },
        registries={
            upstream.name: RegistrySettings(port, upstream.storage) for port, upstream in ports
        },
        token_servers={
            upstream.realm: _token_server(upstream, directory)
            for upstream in UPSTREAMS
            if upstream.realm is not None
        },
        storages={
            upstream.storage: StorageSettings(str(directory / upstream.label))
            for upstream in UPSTREAMS
            if upstream.storage is not None
        },
    )


def _token_server(upstream: Upstream, directory: Path) -> TokenSettings:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    key_file, certificate = _signer(upstream, directory)
    key_file.write_bytes(pem_key(key))
    certificate.write_bytes(pem(new_root(key).certificate))
    account = upstream.account
    users = {} if account is None else {account.user: account.password}
    return TokenSettings(upstream.name, str(key_file), str(certificate), users, upstream.public)


def _signer(upstream: Upstream, directory: Path) -> tuple[Path, Path]:
    """The files of the key that signs its tokens, and of the certificate that says so."""
    return directory / f"{upstream.label}-tokens.key", directory / f"{upstream.label}-tokens.crt"


def _registry(upstream: Upstream, port: int, directory: Path) -> dict[str, object]:
    """The configuration of the docker-registry behind it."""
    configuration: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {
            "filesystem": {"rootdirectory": str(directory / upstream.label)},
            "delete": {"enabled": True},
        },
        "http": {
            "addr": f":{port}",
            "secret": "one registry, so nobody shares it",
            "host": f"https://{upstream.name}",
            "relativeurls": upstream == BASIC,
        },
    }
    if upstream.realm is not None:
        token = {
            "realm": f"https://{upstream.realm}/token",
            "service": upstream.name,
            "issuer": f"the token server of {upstream.name}",
            "rootcertbundle": str(_signer(upstream, directory)[1]),
        }
        configuration["auth"] = {"token": token}
    elif upstream.account is not None:
        htpasswd = directory / f"{upstream.label}.htpasswd"
        htpasswd.write_text(_HTPASSWD)
        configuration["auth"] = {"htpasswd": {"realm": "a realm", "path": str(htpasswd)}}
    return configuration
