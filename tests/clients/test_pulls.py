"""A pull through the front is served by the registry of the client's address, for every client."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .bed import Machine
from .front import TWISTD, regroute
from .images import Image
from .processes import Daemon, eventually
from .programs import Place, Program
from .registries import Registry, Request, Stock

PORT = 10000
RULES = f"""\
listen: [{{port: {PORT}}}]
rules:
  - client: 192.168.0.1
    to: https://registry-1.docker.io
  - to: https://k8s.gcr.io
"""


@pytest.fixture(scope="module")
def daemon(machines: dict[str, Machine], workspace: Path) -> Iterator[Daemon]:
    if not TWISTD.exists():
        pytest.skip(f"{TWISTD} is missing: install regroute beside the Python that runs the tests")
    with regroute(RULES, machines["front"], PORT, workspace / "front") as running:
        yield running


@pytest.fixture
def front(daemon: Daemon) -> Iterator[str]:
    """The front's host and port; what it has logged is shown when the test fails."""
    yield f"front:{PORT}"
    print(daemon.log())


def test_a_pull_from_192_168_0_1_comes_from_docker_io(
    program: Program, front: str, office: Place, docker_io: Stock, k8s_gcr_io: Stock
) -> None:
    """A client at 192.168.0.1 gets postgres from docker.io, and k8s.gcr.io sees nothing."""
    _pull_and_read_logs(program, office, front, docker_io, k8s_gcr_io.registry)


def test_a_pull_from_elsewhere_comes_from_k8s_gcr_io(
    program: Program, front: str, elsewhere: Place, docker_io: Stock, k8s_gcr_io: Stock
) -> None:
    """A client at any other address gets agnhost from k8s.gcr.io, and docker.io sees nothing."""
    _pull_and_read_logs(program, elsewhere, front, k8s_gcr_io, docker_io.registry)


def _pull_and_read_logs(
    program: Program, place: Place, front: str, stock: Stock, other: Registry
) -> None:
    registry, image = stock.registry, stock.image
    since, since_at_other = registry.position(), other.position()

    assert program.pull(place, f"{front}/{image.reference}") == image.manifest

    # A registry logs a request after it has answered, so the last line may be a moment late.
    eventually(lambda: not _not_served(image, registry.requests(since)))
    requests = registry.requests(since)
    assert _not_served(image, requests) == []
    assert {request.client for request in requests} == {place.machine.address}
    assert other.requests(since_at_other) == []
    # These clients are Go programs, which send the address that redirected them as the referer.
    sent_by = [request.referer for request in requests]
    assert sent_by == [f"http://{front}{request.target}" for request in requests]


def _not_served(image: Image, requests: list[Request]) -> list[str]:
    """What a pull of the image needs and no request was given; a manifest by tag or by digest."""
    served = {
        request.target for request in requests if (request.method, request.status) == ("GET", 200)
    }
    blobs = [f"/v2/{image.repository}/blobs/{digest}" for digest in image.blobs]
    manifests = [f"/v2/{image.repository}/manifests/{name}" for name in (image.tag, image.manifest)]
    absent = [path for path in blobs if path not in served]
    return absent if served.intersection(manifests) else [*absent, *manifests]
