"""The container clients: for each, how it logs in, pulls and pushes, by storage of its own."""

from .containerd import CONTAINERD
from .containers import PODMAN, SKOPEO, Skopeo
from .docker import DOCKER
from .oras import ORAS, Oras
from .program import Credentials, Place, Program

PROGRAMS = (DOCKER, PODMAN, SKOPEO, CONTAINERD, ORAS)

__all__ = [
    "CONTAINERD",
    "DOCKER",
    "ORAS",
    "PODMAN",
    "PROGRAMS",
    "SKOPEO",
    "Credentials",
    "Oras",
    "Place",
    "Program",
    "Skopeo",
]
