"""A storage that a registry sends clients to for the bytes of blobs, as a bucket in a cloud is."""

from pathlib import Path

from twisted.web.resource import Resource
from twisted.web.server import Request
from twisted.web.static import File

# What is signed in earnest is only recognised here: it shows that the address came from a registry.
SIGNATURE = "signature=of-the-registry"


def address(host: str, digest: str) -> str:
    """Where the bytes of a blob are, as the registry tells its clients."""
    return f"https://{host}/{digest}?{SIGNATURE}"


class Storage(Resource):
    """Blobs at /DIGEST, for whoever comes by an address that the registry has signed.

    A request with credentials is refused, as Amazon's and Azure's storages do: these have two kinds
    of them, a signature and a header, and want exactly one."""

    isLeaf = True

    def __init__(self, directory: Path) -> None:
        Resource.__init__(self)
        self._directory = directory

    def render(self, request: Request) -> bytes | int:
        algorithm, _, value = request.path.decode().removeprefix("/").partition(":")
        signed = request.uri.decode().endswith(f"?{SIGNATURE}")
        if not signed or request.getHeader("authorization") is not None:
            request.setResponseCode(400)
            return b"exactly one way to say who you are\n"
        file = self._directory / "docker/registry/v2/blobs" / algorithm / value[:2] / value / "data"
        # It knows of ranges, lengths and HEAD.
        served: bytes | int = File(str(file), "application/octet-stream").render(request)
        return served
