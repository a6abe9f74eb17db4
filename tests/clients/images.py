"""Small images, written as OCI image layouts and the same at every run."""

import gzip
import hashlib
import io
import json
import platform
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_MEDIA_TYPE = "application/vnd.oci.image"


@dataclass(frozen=True)
class Image:
    """An image in a layout directory: its name, and the digests of all that a pull must fetch."""

    repository: str
    tag: str
    layout: Path
    manifest: str
    blobs: tuple[str, ...]

    @property
    def reference(self) -> str:
        return f"{self.repository}:{self.tag}"


def build(repository: str, tag: str, layout: Path) -> Image:
    """Write an image of two layers whose content depends on its name and nothing else."""
    layout.mkdir(parents=True)
    layers = [_layer(f"{repository}:{tag}", number) for number in (1, 2)]
    config = _json(
        {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Cmd": ["/layer-1"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
        }
    )
    packed = [gzip.compress(layer, mtime=0) for layer in layers]
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_MEDIA_TYPE}.manifest.v1+json",
            "config": _store(layout, "config.v1+json", config),
            "layers": [_store(layout, "layer.v1.tar+gzip", layer) for layer in packed],
        }
    )
    described = _store(layout, "manifest.v1+json", manifest)
    described["annotations"] = {"org.opencontainers.image.ref.name": tag}
    (layout / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    (layout / "index.json").write_bytes(_json({"schemaVersion": 2, "manifests": [described]}))
    blobs = tuple(digest_of(blob) for blob in (config, *packed))
    return Image(repository, tag, layout, digest_of(manifest), blobs)


def _layer(image: str, number: int) -> bytes:
    """A tar archive with one file of some 60 kB that does not compress to nothing."""
    seeds = (f"{image} {number} {line}" for line in range(1000))
    content = "\n".join(hashlib.sha256(seed.encode()).hexdigest() for seed in seeds).encode()
    file = tarfile.TarInfo(f"layer-{number}")
    file.size = len(content)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(file, io.BytesIO(content))
    return archive.getvalue()


def _store(layout: Path, kind: str, content: bytes) -> dict[str, Any]:
    """Put a blob into the layout; the descriptor that refers to it."""
    algorithm, _, value = digest_of(content).partition(":")
    directory = layout / "blobs" / algorithm
    directory.mkdir(parents=True, exist_ok=True)
    (directory / value).write_bytes(content)
    return {
        "mediaType": f"{_MEDIA_TYPE}.{kind}",
        "digest": f"{algorithm}:{value}",
        "size": len(content),
    }


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
