"""A pull through the front is served by the registry of the client's address, for every client.

The front speaks plain HTTP, or TLS by the authority that the clients trust."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..processes import Daemon, ProgramError, eventually
from .authority import Authority, Certificate
from .bed import Machine
from .front import TWISTD, Front, regroute
from .images import Image
from .programs import SKOPEO, Place, Program
from .registries import Registry, Request, Stock

PLAIN = Front("front", 10000, secure=False)
SECURE = Front("front", 443, secure=True)


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    """The front's certificate; a skip where there is no front."""
    if not TWISTD.exists():
        pytest.skip(f"{TWISTD} is missing: install regroute beside the Python that runs the tests")
    return authority.issue("front")


@pytest.fixture(scope="module")
def daemon(
    machines: dict[str, Machine], certificate: Certificate, workspace: Path
) -> Iterator[Daemon]:
    """regroute at both fronts."""
    machine, directory = machines["front"], workspace / "front"
    with regroute([PLAIN, SECURE], certificate, machine, directory) as running:
        yield running


@pytest.fixture
def logged(daemon: Daemon) -> Iterator[None]:
    """What the daemon has logged is shown when the test fails."""
    yield
    print(daemon.log())


@pytest.fixture(params=[PLAIN, SECURE], ids=lambda front: front.scheme)
def front(logged: None, request: pytest.FixtureRequest) -> Front:
    """Each front in turn."""
    each: Front = request.param
    return each


def test_a_pull_from_192_168_0_1_comes_from_docker_io(
    program: Program, front: Front, office: Place, docker_io: Stock, k8s_gcr_io: Stock
) -> None:
    """A client at 192.168.0.1 gets postgres from docker.io, and k8s.gcr.io sees nothing."""
    _pull_and_read_logs(program, office, front, docker_io, k8s_gcr_io.registry)


def test_a_pull_from_elsewhere_comes_from_k8s_gcr_io(
    program: Program, front: Front, elsewhere: Place, docker_io: Stock, k8s_gcr_io: Stock
) -> None:
    """A client at any other address gets agnhost from k8s.gcr.io, and docker.io sees nothing."""
    _pull_and_read_logs(program, elsewhere, front, k8s_gcr_io, docker_io.registry)


@pytest.mark.usefixtures("logged")
def test_a_client_that_does_not_trust_the_front_pulls_nothing(
    program: Program, stranger: Place, docker_io: Stock, k8s_gcr_io: Stock
) -> None:
    """The pulls by TLS do check the front's certificate: with another authority they fail."""
    since = [stock.registry.position() for stock in (docker_io, k8s_gcr_io)]

    with pytest.raises(ProgramError) as refused:
        program.pull(stranger, SECURE, k8s_gcr_io.image.reference)

    # It is the front that it did not trust, for that is where it asked.
    for words in program.distrusts:
        assert words.format(front=SECURE) in str(refused.value)
    assert docker_io.registry.requests(since[0]) == []
    assert k8s_gcr_io.registry.requests(since[1]) == []


def test_the_access_log_names_the_client_and_the_rule_of_every_request(
    machines: dict[str, Machine],
    certificate: Certificate,
    workspace: Path,
    office: Place,
    docker_io: Stock,
) -> None:
    """Each request that the registry got is a line of regroute's log, and there is no other."""
    front = Front("front", 8443, secure=True)
    registry = docker_io.registry
    since = registry.position()

    # The log is whole when the daemon has stopped.
    with regroute([front], certificate, machines["front"], workspace / "logging") as running:
        SKOPEO.pull(office, front, docker_io.image.reference)

    lines = [json.loads(line) for line in running.stdout.read_text().splitlines()]
    sent = [(line["method"], line["location"], line["user_agent"]) for line in lines]
    # The registry's own log may be a moment late.
    eventually(lambda: len(registry.requests(since)) >= len(sent))
    received = [
        (request.method, f"https://{registry.name}{request.target}", request.user_agent)
        for request in registry.requests(since)
    ]
    # Layers are fetched side by side, so the order is not always the same.
    assert sorted(sent) == sorted(received)
    told = {(line["client"], line["host"], line["status"], line["rule"]) for line in lines}
    assert told == {("192.168.0.1", front.host, 302, "office")}


def _pull_and_read_logs(
    program: Program, place: Place, front: Front, stock: Stock, other: Registry
) -> None:
    registry, image = stock.registry, stock.image
    since, since_at_other = registry.position(), other.position()

    assert program.pull(place, front, image.reference) == image.manifest

    # A registry logs a request after it has answered, so the last line may be a moment late.
    eventually(lambda: not _not_served(image, registry.requests(since)))
    requests = registry.requests(since)
    assert _not_served(image, requests) == []
    assert {request.client for request in requests} == {place.machine.address}
    assert other.requests(since_at_other) == []
    sent_by = [request.referer for request in requests]
    redirected = [f"{front.origin}{request.target}" for request in requests]
    assert sent_by == (redirected if program.refers else [""] * len(requests))


def _not_served(image: Image, requests: list[Request]) -> list[str]:
    """What a pull of the image needs and no request was given; a manifest by tag or by digest."""
    served = {
        request.target for request in requests if (request.method, request.status) == ("GET", 200)
    }
    blobs = [f"/v2/{image.repository}/blobs/{digest}" for digest in image.blobs]
    manifests = [f"/v2/{image.repository}/manifests/{name}" for name in (image.tag, image.manifest)]
    absent = [path for path in blobs if path not in served]
    return absent if served.intersection(manifests) else [*absent, *manifests]
