"""What each page of the admin listener says, and to whom."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from regroute.cli import main
from regroute.config.faults import Fault
from regroute.outcome import Outcome, Past
from regroute.server import Process

from ..making import checked
from ..web.answers import Received
from .bed import RULES, Bed

PAGES = ["/healthz", "/readyz", "/metrics", "/explain?path=/", "/status.json"]
EITHER = pytest.mark.parametrize("is_local", [False, True], ids=["tcp", "unix"])


@pytest.fixture
def bed() -> Bed:
    bed = Bed()
    bed.life.serve()
    return bed


def line(answer: Received) -> tuple[int, str]:
    """The status, and the one line of plain text that says why."""
    assert answer.field(b"content-type") == b"text/plain; charset=utf-8"
    text = answer.body.decode()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return answer.status, text.strip()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_can_be_read_and_looked_at_without_its_body(bed: Bed, page: str) -> None:
    whole, head = bed.get(page), bed.ask("HEAD", page)
    assert (whole.status, head.status) == (200, 200)
    assert head.fields == whole.fields
    assert whole.body
    assert head.body == b""


@pytest.mark.parametrize("page", [*PAGES, "/", "/nothing", "/explain", "/reload"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_every_answer_is_for_its_reader_alone(bed: Bed, page: str, method: str) -> None:
    answer = bed.ask(method, page, "Access-Control-Request-Method: GET")
    assert answer.field(b"cache-control") == b"no-store"
    assert answer.field(b"x-content-type-options") == b"nosniff"
    assert answer.field(b"server") == b"regroute"
    assert not any(name.startswith(b"access-control") for name, _ in answer.fields)


@EITHER
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get"])
def test_a_page_can_only_be_read(is_local: bool, method: str) -> None:
    answer = Bed(is_local).ask(method, "/healthz")
    assert (answer.status, answer.field(b"allow")) == (405, b"GET, HEAD")


@EITHER
@pytest.mark.parametrize("path", ["/", "/healthz/", "/health", "/v2/", "/healthz%2F", "//healthz"])
def test_what_is_no_page_is_not_found(is_local: bool, path: str) -> None:
    status, told = line(Bed(is_local).get(path))
    assert status == 404
    assert "/healthz, /readyz" in told


def test_a_page_may_be_asked_for_by_its_whole_address(bed: Bed) -> None:
    assert bed.get("http://127.0.0.1/healthz?x=y", host="evil.example").status == 200


# Health.


def test_health_is_life_and_readiness_is_service() -> None:
    bed = Bed()
    seen = []
    steps: list[Callable[[], None]] = [lambda: None, bed.life.serve, bed.life.stop, bed.life.serve]
    for step in steps:
        step()
        seen.append((bed.get("/healthz").status, line(bed.get("/readyz"))))
    assert seen == [
        (200, (503, "starting: it does not serve yet")),
        (200, (200, "serving")),
        (200, (503, "stopping: send no more here")),
        (200, (503, "stopping: send no more here")),
    ]


# Metrics.


def test_metrics_are_in_the_format_that_is_asked_for(bed: Bed) -> None:
    answer = bed.get("/metrics", "Accept: application/openmetrics-text", "Accept: */*;q=0.1")
    assert bed.accepted == ["application/openmetrics-text, */*;q=0.1"]
    assert answer.field(b"content-type") == b"text/plain; version=0.0.4"
    assert answer.body == b"a_total 1\n"


def test_what_breaks_is_told_and_ends_no_connection(logged: list[str]) -> None:
    def broken(accept: str) -> tuple[str, bytes]:
        raise RuntimeError("broken")

    bed = Bed(exposition=broken)
    client = bed.client()
    for page, status in [(b"metrics", 500), (b"healthz", 200)]:
        client.wire.written.clear()
        client.send(b"GET /" + page + b" HTTP/1.1\r\nHost: [::1]\r\n\r\n")
        assert client.answer().status == status
    assert logged == ["critical: the admin listener has no answer"]


# Explanations.


@pytest.mark.parametrize(
    ("query", "arguments", "rule"),
    [
        ("path=/v2/a", ["--client", "192.0.2.1", "/v2/a"], "rule-5"),
        ("path=/v2/a&client=192.168.0.7", ["--client", "192.168.0.7", "/v2/a"], "home"),
        ("client=::ffff:192.168.0.7&path=/", ["--client", "192.168.0.7", "/"], "home"),
        (
            "client=2001:db8::1&path=/v2/a/tags/list%3Fn=1%26last=b",
            ["--client", "2001:db8::1", "/v2/a/tags/list?n=1&last=b"],
            "rule-5",
        ),
        (
            "path=/&host=R.example:443",
            ["--client", "192.0.2.1", "--host", "R.example:443", "/"],
            "named",
        ),
        (
            "path=/&user_agent=docker/20+(a%20b)",
            ["--client", "192.0.2.1", "--user-agent", "docker/20 (a b)", "/"],
            "docker",
        ),
        ("path=/&method=PUT", ["--client", "192.0.2.1", "--method", "PUT", "/"], "pushes"),
        ("path=/&method=POST", ["--client", "192.0.2.1", "--method", "POST", "/"], None),
        ("path=/v2/%252e%252e/x", ["--client", "192.0.2.1", "/v2/%2e%2e/x"], None),
        ("path=/v2/a%20b", ["--client", "192.0.2.1", "/v2/a b"], None),
        ("path=", ["--client", "192.0.2.1", ""], None),
        ("path=/v2/%C3%A9", ["--client", "192.0.2.1", "/v2/é"], "rule-5"),
        ("path=/v2/a%2Bb", ["--client", "192.0.2.1", "/v2/a+b"], "rule-5"),
        ("path=/&host=a%20b", ["--client", "192.0.2.1", "--host", "a b", "/"], None),
    ],
)
def test_an_explanation_is_that_of_the_command(
    bed: Bed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    query: str,
    arguments: list[str],
    rule: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rules.yaml").write_text(RULES)
    command = ["explain", "rules.yaml", "--json", *arguments]
    told = CliRunner().invoke(main, command, catch_exceptions=False).stdout
    answer = bed.get(f"/explain?{query}")
    assert (answer.status, answer.field(b"content-type")) == (200, b"application/json")
    assert answer.body.decode() == told
    decided = json.loads(told)["rule"]
    assert (decided and decided["name"]) == rule


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", "path is missing: ask as in /explain?client=192.0.2.1&path=/v2/"),
        ("?client=::1", "path is missing: ask as in /explain?client=192.0.2.1&path=/v2/"),
        ("?path=/&path=/a", "path is given twice"),
        ("?path=/&clinet=::1", "unknown parameter 'clinet': did you mean 'client'?"),
        (
            "?path=/&client=ten",
            "client: 'ten' is no IP address: write one as in 192.168.0.1",
        ),
        (
            "?path=/&client=",
            "client: '' is no IP address: write one as in 192.168.0.1",
        ),
        (
            "?path=/&client=%0d%0aX:%201",
            r"client: '\r\nX: 1' is no IP address: write one as in 192.168.0.1",
        ),
    ],
)
def test_a_question_that_cannot_be_read_is_told_so(bed: Bed, query: str, told: str) -> None:
    assert line(bed.get(f"/explain{query}")) == (400, told)


def test_an_explanation_knows_what_the_daemon_has_learned_of_registries() -> None:
    bed = Bed()
    bed.checked = checked(
        "registries: {auto: {url: https://auto.example, mode: auto}}\nrules: [{to: auto}]"
    )
    assert json.loads(bed.get("/explain?path=/").body)["relay"] == "https://auto.example/"
    bed.known_open = frozenset({"https://auto.example"})
    assert json.loads(bed.get("/explain?path=/").body)["location"] == "https://auto.example/"


# The status.


def test_the_status_tells_what_runs(bed: Bed) -> None:
    bed.clock.advance(61.5)
    bed.connections = 3
    bed.workers = [Process(1, 7, 0.0, is_serving=True, restarts=2)]
    told = json.loads(bed.get("/status.json").body)
    assert told["started"] == "2023-11-14T22:13:20.000Z"
    assert (told["uptime"], told["state"], told["connections"]) == (61.5, "serving", 3)
    assert told["workers"] == [
        {
            "number": 1,
            "pid": 7,
            "started": "1970-01-01T00:00:00.000Z",
            "serving": True,
            "restarts": 2,
        }
    ]
    assert told["configuration"] == {
        "file": "rules.yaml",
        "sha256": bed.checked.sha256,
        "loaded_at": "2026-11-24T00:00:00.000Z",
        "rules": 5,
        "networks": 1,
        "registries": 1,
    }
    assert told["last_reload"] is None
    assert told["listeners"] == [
        {"port": 80, "host": None, "tls": False, "proxy_protocol": False},
        {"unix": "r.sock", "tls": False, "proxy_protocol": True},
        {"socket": "http", "tls": False, "proxy_protocol": False},
    ]


def test_the_status_tells_which_registries_ask_nobody(bed: Bed) -> None:
    assert json.loads(bed.get("/status.json").body)["open"] == []
    bed.known_open = frozenset({"https://b.example", "https://a.example"})
    told = json.loads(bed.get("/status.json").body)["open"]
    assert told == ["https://a.example", "https://b.example"]


def test_the_status_tells_of_the_last_reload(bed: Bed) -> None:
    fault = Fault("rules.yaml", 1, 2, "no")
    bed.last = Past(Outcome("not reloaded", faults=(fault,)), 1_700_000_001.25)
    assert json.loads(bed.get("/status.json").body)["last_reload"] == {
        "time": "2023-11-14T22:13:21.250Z",
        "result": "failed",
        "faults": [{"file": "rules.yaml", "line": 1, "column": 2, "message": "no"}],
    }


# Reloads.


def outcome_told(outcome: Outcome) -> tuple[int, object]:
    """What is answered when a reload, which takes some time, has come to this."""
    bed = Bed(is_local=True)
    client = bed.client().send(b"POST /reload HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.read() == b""
    bed.reloads.pop().callback(outcome)
    answer = client.answer()
    return answer.status, json.loads(answer.body)


def test_a_reload_is_answered_when_it_is_over() -> None:
    assert outcome_told(Outcome("reloaded f: rule a added", "rule a added")) == (
        200,
        {"result": "reloaded", "changes": "rule a added"},
    )


def test_a_reload_that_finds_faults_tells_them() -> None:
    faults = (Fault("a.yaml", 1, 2, "one"), Fault("b.txt", 3, 4, "two"))
    assert outcome_told(Outcome("not reloaded", faults=faults)) == (
        422,
        {
            "result": "failed",
            "faults": [
                {"file": "a.yaml", "line": 1, "column": 2, "message": "one"},
                {"file": "b.txt", "line": 3, "column": 4, "message": "two"},
            ],
        },
    )


def test_a_reload_that_breaks_is_the_daemons_own_fault() -> None:
    assert outcome_told(Outcome("it broke")) == (500, {"result": "failed", "faults": []})


def test_a_client_that_leaves_before_its_reload_is_over_is_no_trouble() -> None:
    bed = Bed(is_local=True)
    client = bed.client().send(b"POST /reload HTTP/1.1\r\nHost: x\r\n\r\n")
    client.wire.abortConnection()
    bed.reloads.pop().callback(Outcome("reloaded", ""))
    assert client.read() == b""


@pytest.mark.parametrize("method", ["POST", "GET", "PUT"])
def test_nothing_can_be_changed_over_tcp(bed: Bed, method: str) -> None:
    status, told = line(bed.ask(method, "/reload"))
    assert (status, bed.reloads) == (403, [])
    assert "admin: {unix: PATH}" in told


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
def test_a_reload_is_a_post(method: str) -> None:
    bed = Bed(is_local=True)
    answer = bed.ask(method, "/reload")
    assert (answer.status, answer.field(b"allow"), bed.reloads) == (405, b"POST", [])


@EITHER
def test_a_post_from_a_page_in_a_browser_is_refused(is_local: bool) -> None:
    bed = Bed(is_local)
    for origin in ("null", "http://127.0.0.1", ""):
        answer = bed.ask("POST", "/reload", f"Origin: {origin}")
        assert line(answer) == (403, "Origin is given: a browser has no business here")
    assert bed.reloads == []


# Who asks.


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:9464",
        "127.0.0.1:",
        "10.1.2.3",
        "[::1]",
        "[::1]:80",
        "[2001:db8::1]",
        "localhost",
        "LocalHost:9464",
    ],
)
def test_an_address_and_localhost_are_hosts_of_ours(bed: Bed, host: str) -> None:
    assert bed.get("/healthz", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example", "localhost.", "127.0.0.1.evil.example", ""),
        *("127.1", "0x7f.0.0.1", "2130706433", "127.0.0.%31", "127.0.0.01"),
    ],
)
def test_a_name_that_a_page_may_have_come_by_is_misdirected(bed: Bed, host: str) -> None:
    for page in ("/metrics", "/nothing", "/reload"):
        assert line(bed.get(page, host=host)) == (
            421,
            "the Host is a name: ask for an IP address or localhost, as in 127.0.0.1",
        )


def test_the_host_of_a_whole_address_is_the_one_that_counts(bed: Bed) -> None:
    assert bed.get("http://evil.example/healthz").status == 421


def test_a_unix_socket_is_asked_for_by_any_host() -> None:
    bed = Bed(is_local=True)
    assert [bed.get("/healthz", host=host).status for host in ("x.example", "")] == [200, 200]
    old = bed.client().send(b"GET /healthz HTTP/1.0\r\n\r\n").answer()
    assert old.status == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n",
    ],
    ids=["none", "none in HTTP/1.0", "two", "invalid"],
)
def test_one_valid_host_is_due(bed: Bed, head: bytes) -> None:
    answer = bed.client().send(head).answer()
    assert answer.status == 400
    assert b"ost is " in answer.body
    assert b"no-store" in (answer.field(b"cache-control") or b"")
    assert answer.field(b"x-content-type-options") == b"nosniff"
