"""What the process is to serve, as the JSON file that it is started with."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RegistrySettings:
    """A registry: the port of its docker-registry, and what is done in front of that.

    Where there is a storage, the bytes of blobs are fetched there, by the name of its host."""

    port: int
    storage: str | None = None


@dataclass(frozen=True)
class TokenSettings:
    """A token server: the service that it gives tokens for, and who gets which.

    Its users may do everything, by their passwords; anybody else may pull if it is `public`."""

    service: str
    key: str
    certificate: str
    users: dict[str, str]
    public: bool


@dataclass(frozen=True)
class StorageSettings:
    """A host that has nothing but blobs: the directory in which a docker-registry keeps them."""

    directory: str


@dataclass(frozen=True)
class Settings:
    """All hosts by their names, each with its certificate and key."""

    port: int
    certificates: dict[str, tuple[str, str]]
    registries: dict[str, RegistrySettings]
    token_servers: dict[str, TokenSettings]
    storages: dict[str, StorageSettings]

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self), indent=2))


def read_settings(file: Path) -> Settings:
    """The settings in the file, which `write` wrote."""
    given: dict[str, Any] = json.loads(file.read_text())
    return Settings(
        port=given["port"],
        certificates={name: (pair[0], pair[1]) for name, pair in given["certificates"].items()},
        registries={name: RegistrySettings(**each) for name, each in given["registries"].items()},
        token_servers={
            name: TokenSettings(**each) for name, each in given["token_servers"].items()
        },
        storages={name: StorageSettings(**each) for name, each in given["storages"].items()},
    )
