"""Which client gets to which registry by which way: what the tests hold true, and the page says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

VERSIONS = {
    "docker": "20.10",
    "podman": "4.3",
    "skopeo": "1.9",
    "containerd": "1.6",
    "oras": "0.2",
}
"""The clients that all of this was tried with, and which versions of them."""


@dataclass(frozen=True)
class Fails:
    """Why a client does not get there, for the page, and a pattern for what it prints."""

    why: str
    says: str


Cell = tuple[str, str, str]
"""A way, a registry's label and a client, by their names."""


def _cells(ways: Sequence[str], upstreams: Sequence[str], clients: Sequence[str]) -> list[Cell]:
    return list(product(ways, upstreams, clients))


_ASKING = ("hub", "private", "basic")
"""The registries that want credentials of some kind."""

_DROPPED = "Credentials are dropped at a redirect to another host"
_ASKED = "Credentials are only for the host that has answered `/v2/`"
_NOBODY = "Whoever asks as nobody gets nothing from a registry that serves nobody"
_FIRST_TOKEN = "The first token is kept, which is for pulling, without regroute as well"

_CTR_BREAKS = r"panic: send on closed channel(?s:.)*pushWriter"
"""How ctr ends now and then when an upload is refused: containerd mended it in 1.7 (its #8379)."""

PULLS: Mapping[Cell, Fails] = {
    **dict.fromkeys(
        _cells(["redirect"], ["hub"], ["podman", "skopeo"]),
        Fails(_DROPPED, "unauthorized: authentication required"),
    ),
    **dict.fromkeys(
        _cells(["redirect"], ["private", "basic"], ["podman", "skopeo"]),
        Fails(_DROPPED, "invalid username/password"),
    ),
    **dict.fromkeys(
        _cells(["redirect"], _ASKING, ["oras"]), Fails(_DROPPED, "authentication required")
    ),
    **dict.fromkeys(
        _cells(["blobs"], _ASKING, ["podman", "skopeo"]),
        Fails(_DROPPED, "unauthorized: authentication required"),
    ),
    **dict.fromkeys(
        _cells(["blobs"], _ASKING, ["docker"]),
        Fails(_ASKED, "unauthorized: authentication required"),
    ),
    **dict.fromkeys(
        _cells(["blobs"], _ASKING, ["oras"]), Fails(_DROPPED, "401 Client Error: Unauthorized")
    ),
    **dict.fromkeys(
        _cells(["anonymous"], ["private"], ["docker", "podman", "skopeo", "oras"]),
        Fails(_NOBODY, "authentication required"),
    ),
    **dict.fromkeys(
        _cells(["anonymous"], ["private"], ["containerd"]),
        Fails(_NOBODY, "pull access denied"),
    ),
    **dict.fromkeys(
        _cells(["anonymous"], ["basic"], ["docker", "podman", "skopeo"]),
        Fails(_NOBODY, "wants a password and is asked without one here"),
    ),
    **dict.fromkeys(
        _cells(["anonymous"], ["basic"], ["oras"]),
        Fails(_NOBODY, "Cannot respond to request for authentication"),
    ),
    **dict.fromkeys(
        _cells(["anonymous"], ["basic"], ["containerd"]), Fails(_NOBODY, "403 Forbidden")
    ),
}
"""The pulls that fail. All others work."""

PUSHES: Mapping[Cell, Fails] = {
    **dict.fromkeys(
        _cells(["redirect"], ["hub", "basic"], ["podman", "skopeo"]),
        Fails(_DROPPED, "invalid username/password"),
    ),
    **dict.fromkeys(
        _cells(["redirect"], ["hub", "basic"], ["containerd"]),
        Fails(_DROPPED, f"unexpected status: 401 Unauthorized|{_CTR_BREAKS}"),
    ),
    **dict.fromkeys(
        _cells(["redirect"], ["basic"], ["oras"]), Fails(_DROPPED, "authentication required")
    ),
    **dict.fromkeys(
        _cells(["direct", "redirect", "relay", "auto"], ["hub"], ["oras"]),
        Fails(_FIRST_TOKEN, "authentication required"),
    ),
}
"""The pushes that fail. All others work."""
