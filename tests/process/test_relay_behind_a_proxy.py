"""A relay behind a proxy that ends TLS, before a registry that believes what proxies say."""

from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from .daemon import PATIENCE, Daemon
from .registries import Request, Visit, answer_of, registry
from .relays import relaying

UPLOAD = "/v2/team/blobs/uploads/"
TRUSTED = "access_log: none\nclients: {trusted_proxies: [127.0.0.1]}"
PROXY = {"Host": "front.example", "X-Real-IP": "192.0.2.7", "X-Forwarded-Proto": "https"}


def post(daemon: Daemon) -> HTTPResponse:
    """The answer to an upload that begins, as the proxy sends it."""
    connection = HTTPConnection("127.0.0.1", daemon.port, timeout=PATIENCE)
    connection.request("POST", UPLOAD, headers=PROXY)
    answer = connection.getresponse()
    connection.close()
    return answer


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("access_log: none", 'for=127.0.0.1;host="front.example";proto=http'),
        (TRUSTED, 'for=192.0.2.7;host="front.example";proto=https'),
    ],
    ids=["of nobody", "of a trusted proxy"],
)
def test_a_registry_is_told_what_the_client_speaks(tmp_path: Path, more: str, said: str) -> None:
    """Who says https for it has to be trusted, as who says its address."""
    asked: list[Request] = []

    def note(visit: Visit) -> None:
        while (request := visit.request()) is not None:
            asked.append(request)
            visit.say(answer_of(b""))

    with (
        registry(note) as told,
        relaying(tmp_path, {"team": told.url}, "forwarded: true", more) as daemon,
    ):
        post(daemon)
    assert asked[-1].field("forwarded") == said


def test_an_upload_goes_on_at_the_front_whatever_scheme_the_registry_is_told_of(
    tmp_path: Path,
) -> None:
    """Such as docker-registry: its own host, by the scheme in X-Forwarded-Proto."""

    def begin(visit: Visit) -> None:
        while (request := visit.request()) is not None:
            scheme, host = request.field("x-forwarded-proto"), request.field("host")
            location = f"Location: {scheme}://{host}{request.target}1?_state=x\r\n".encode()
            visit.say(b"HTTP/1.1 202 A\r\n%bContent-Length: 0\r\n\r\n" % location)

    with registry(begin) as inside, relaying(tmp_path, {"team": inside.url}) as daemon:
        assert inside.url.startswith("http://")
        assert post(daemon).getheader("location") == f"{UPLOAD}1?_state=x"
