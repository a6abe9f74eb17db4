"""The registry that the servers relay to: a stand-in, far cheaper than what is measured."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path

from .processes import free_ports
from .servers import fill
from .workloads import MANIFEST

BLOB_SIZE = 10**9
PATIENCE = 30.0
"""How long it may take to start or stop, in seconds."""

_LAYERS = (31_417_892, 1_345, 156, 98_304_512)
"""Their sizes in bytes."""


def _digest(of: bytes) -> str:
    return f"sha256:{sha256(of).hexdigest()}"


def _manifest() -> bytes:
    """A manifest of an image with a few layers, in about 1 kB."""
    layers = [
        {
            "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "size": size,
            "digest": _digest(str(size).encode()),
        }
        for size in _LAYERS
    ]
    config = {
        "mediaType": "application/vnd.docker.container.image.v1+json",
        "size": 9_412,
        "digest": _digest(b"config"),
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": config,
        "layers": layers,
    }
    return json.dumps(manifest, indent=3).encode()


MANIFEST_BODY = _manifest()
MANIFEST_DIGEST = _digest(MANIFEST_BODY)
TOKEN = sha256(b"token").hexdigest() * 16
"""About as long as the tokens of large registries: 1 kB."""


@contextmanager
def standing_in(
    nginx: Path, directory: Path, certificate: Path, key: Path
) -> Iterator[tuple[int, int]]:
    """A registry in a directory of its own, until the block ends; gives its ports, one for TLS.

    It runs where this process does: on the client's core, for the servers have theirs alone.
    """
    directory = directory / "registry"
    directory.mkdir()
    port, tls_port = free_ports(2)
    with (directory / "blob").open("wb") as blob:
        blob.truncate(BLOB_SIZE)
    config = directory / "registry.conf"
    values = {
        "directory": directory,
        "port": port,
        "tls_port": tls_port,
        "certificate": certificate,
        "key": key,
        "digest": MANIFEST_DIGEST,
        "manifest": MANIFEST_BODY.decode(),
        "token": TOKEN,
    }
    config.write_text(fill("registry.conf", values))
    process = subprocess.Popen(
        [nginx, "-p", directory, "-c", config, "-e", directory / "error.log"],
        stdin=subprocess.DEVNULL,
    )
    try:
        _wait(process, port)
        yield port, tls_port
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
                connection.request("GET", MANIFEST)
                if connection.getresponse().read() != MANIFEST_BODY:
                    raise SystemExit("the registry sends another manifest")
                return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the registry does not start") from error
            time.sleep(0.05)
