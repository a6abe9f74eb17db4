"""What the oras library does with a registry, by a command: oras_script.py ASKED COMMAND NAME …

ASKED is JSON: the registry's host, whether it speaks plain HTTP, and who to say we are."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import requests
from oras.oci import Subject  # type: ignore[import-untyped]  # it has no types
from oras.provider import Registry  # type: ignore[import-untyped]  # the same


class Once(Registry):  # type: ignore[misc]  # it has no types
    """The library without its patience: it tries what was refused for two minutes."""

    do_request = Registry.do_request.__wrapped__


def connect(asked: dict[str, Any]) -> Registry:
    """The library as somebody sets it up who knows what kind of auth the registry has."""
    scheme = "http" if asked["insecure"] else "https"
    challenge = requests.get(f"{scheme}://{asked['host']}/v2/", timeout=30).headers.get(
        "www-authenticate", ""
    )
    registry = Once(
        hostname=asked["host"],
        insecure=asked["insecure"],
        auth_backend="basic" if challenge.lower().startswith("basic") else "token",
    )
    if asked["user"]:
        registry.auth.set_basic_auth(*asked["user"])
    return registry


def pull(registry: Registry, name: str, directory: str) -> str:
    """The digest of the manifest whose blobs are in the directory now."""
    response = get_manifest(registry, name)
    # The library's own `pull` unpacks layers and leaves the configuration out.
    for part in parts(response.json()):
        digest = part["digest"]
        file = registry.download_blob(name, digest, f"{directory}/{digest}")
        if digest_of(Path(file).read_bytes()) != digest:
            raise ValueError(f"{file} is not what it is called")
    return digest_of(response.content)


def push(registry: Registry, name: str, *files: str) -> str:
    response = registry.push(name, files=list(files), disable_path_validation=True, quiet=True)
    return str(response.headers["docker-content-digest"])


def copy(registry: Registry, name: str, new: str, directory: str) -> str:
    pull(registry, name, directory)
    manifest = get_manifest(registry, name).json()
    container = registry.get_container(new)
    for part in parts(manifest):
        registry.upload_blob(f"{directory}/{part['digest']}", container, part)
    response = registry.upload_manifest(manifest, container)
    return str(response.headers["docker-content-digest"])


def attach(registry: Registry, name: str, subject: str, file: str) -> str:
    response = get_manifest(registry, f"{name.partition(':')[0]}@{subject}")
    described = Subject(
        mediaType=response.headers["content-type"], digest=subject, size=len(response.content)
    )
    attached = registry.push(
        name, files=[file], subject=described, disable_path_validation=True, quiet=True
    )
    return str(attached.headers["docker-content-digest"])


def tags(registry: Registry, name: str) -> str:
    return "\n".join(registry.get_tags(name))


def referrers(registry: Registry, name: str, digest: str) -> str:
    """The library has pages, and no word for this API."""
    container = registry.get_container(name)
    path = f"{container.registry}/v2/{container.api_prefix}/referrers/{digest}"
    found: list[str] = []

    def more(response: requests.Response) -> bool:
        found.extend(each["digest"] for each in response.json()["manifests"])
        return True

    registry._do_paginated_request(f"{registry.prefix}://{path}", callable=more)
    return "\n".join(found)


def get_manifest(registry: Registry, name: str) -> requests.Response:
    container = registry.get_container(name)
    accepted = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    response: requests.Response = registry.do_request(
        f"{registry.prefix}://{container.manifest_url()}", headers=accepted
    )
    if response.status_code != 200:
        raise ValueError(f"{response.status_code} for {response.url}: {response.text}")
    return response


def parts(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The descriptors of all blobs."""
    return [manifest["config"], *manifest["layers"]]


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


COMMANDS = {command.__name__: command for command in (pull, push, copy, attach, tags, referrers)}


if __name__ == "__main__":
    print(COMMANDS[sys.argv[2]](connect(json.loads(sys.argv[1])), *sys.argv[3:]))
