"""The example files: each is good, tests each of its rules, and is explained as it is served."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport

from regroute.answers import Relay
from regroute.check import NOBODY, Checked, answer_test
from regroute.cli import main
from regroute.config.schema import TestFields
from regroute.load import load

from .example_files import EXAMPLES
from .making import site_of

CASES = [(path, test) for path in EXAMPLES for test in load(path).config.tests]


def client_of(test: TestFields) -> str:
    return str(test.client or NOBODY)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_tests_of_an_example_reach_each_of_its_rules(path: Path) -> None:
    """So that what follows says something about every rule."""
    checked = load(path)
    reached = {answer_test(checked.rules, test).rule for test in checked.config.tests}
    assert reached - {None} == {rule.name for rule in checked.rules.rules}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_there_is_nothing_to_warn_of_in_an_example(path: Path) -> None:
    """But for what it says itself: in a pod, the kubelet asks the admin listener."""
    warnings = [warning.message for warning in load(path).warnings]
    allowed = path.name == "kubernetes.yaml"
    assert [each for each in warnings if not (allowed and "from other machines" in each)] == []


@pytest.mark.parametrize(
    ("path", "test"), CASES, ids=lambda part: getattr(part, "name", None) or client_of(part)
)
def test_explain_says_what_the_daemon_answers(path: Path, test: TestFields) -> None:
    """Of a relay it says where the request goes on to."""
    explained = explain(path, test)
    answer = answer_test(load(path).rules, test)
    if isinstance(answer, Relay):
        assert (explained["relay"], explained["status"]) == (answer.url, None)
    else:
        status, headers = served(load(path), test)
        assert explained["status"] == status
        assert explained["location"] == headers.get("Location")
        assert {name: headers[name] for name in explained["headers"]} == explained["headers"]
        assert headers.keys() - explained["headers"].keys() == {"Server", "Date"}
    for expected in ("rule", "registry"):
        if (want := getattr(test, expected)) is not None:
            told = explained[expected]
            assert (told["name"] if expected == "rule" else told) == want


def explain(path: Path, test: TestFields) -> dict[str, Any]:
    arguments = ["explain", str(path), "--json", "--client", client_of(test), test.path]
    arguments += ["--method", test.method, "--host", test.host, "--user-agent", test.user_agent]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def served(checked: Checked, test: TestFields) -> tuple[int, dict[str, str]]:
    """What a connection of the daemon sends to the test's request."""
    reactor = MemoryReactorClock()
    client = client_of(test)
    address = (IPv6Address if ":" in client else IPv4Address)("TCP", client, 50000)
    connection = site_of(lambda: checked.rules, reactor).buildProtocol(address)
    transport = StringTransport(peerAddress=address)
    Protocol.makeConnection(connection, transport)
    connection.dataReceived(b"\r\n".join(request(test)))
    head = transport.value().split(b"\r\n\r\n")[0].decode("ascii")
    status, *fields = head.split("\r\n")
    return int(status.split(" ")[1]), dict(field.split(": ", 1) for field in fields)


def request(test: TestFields) -> Iterator[bytes]:
    yield f"{test.method} {test.path} HTTP/1.1".encode()
    yield b"Host: " + test.host.encode()
    if test.user_agent:
        yield b"User-Agent: " + test.user_agent.encode()
    yield b"\r\n"
