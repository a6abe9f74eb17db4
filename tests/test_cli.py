"""The ``regroute`` command."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from regroute.cli import main

RULES = """\
networks: {office: 192.168.0.0/24, everyone: [0.0.0.0/0, "::/0"]}
registries: {k8s: "https://registry.k8s.io", unused: https://unused.example}
rules:
  - {name: home, client: office, to: "https://mirror.example:5000/team"}
  - {path: /, location: "https://www.example/about"}
  - {path: /no, deny: "never"}
  - {to: k8s}
"""


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("rules.yaml").write_text(RULES)
    return Path("rules.yaml")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


def test_check_sums_up_what_is_good(rules: Path) -> None:
    result = run("check", str(rules))
    assert (result.exit_code, result.output) == (
        0,
        "rules.yaml: good: 4 rules, 2 networks, 2 named registries\n",
    )


def test_check_prints_every_fault_and_exits_1(rules: Path) -> None:
    rules.write_text("rules:\n  - {to: k8s}\nfoo: bar\n")
    result = run("check", str(rules))
    assert (result.exit_code, result.stdout) == (
        1,
        "rules.yaml:2:10: unknown registry 'k8s'\n"
        "rules.yaml:3:1: unknown key 'foo': known here are access_log, admin, clients, lane, "
        "limits, listen, networks, registries, rules, tests, token, watch, workers\n",
    )


def test_a_file_that_is_not_there_is_a_fault(rules: Path) -> None:
    result = run("check", "other.yaml")
    assert result.exit_code == 1
    assert result.stdout == "other.yaml:1:1: cannot read it: No such file or directory\n"


def test_a_file_that_is_not_text_is_a_fault(rules: Path) -> None:
    rules.write_bytes(b"rules:\n- \xff\n")
    result = run("check", str(rules))
    assert (result.exit_code, result.stdout) == (1, "rules.yaml:2:3: this is not UTF-8 text\n")


@pytest.mark.parametrize("name", ["/dev/zero", ".", "fifo"])
def test_what_is_no_file_is_not_read(rules: Path, name: str) -> None:
    os.mkfifo("fifo")
    result = run("check", name)
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{name}:1:1: cannot read it: ")
    rules.write_text(f"networks: {{a: {{file: {name}}}}}\nrules: [{{client: a, deny: x}}]\n")
    assert "cannot read" in run("check", str(rules)).stdout


def test_list_files_lie_beside_the_configuration(tmp_path: Path) -> None:
    """Whatever directory the command is run in, and faults name the path to the list."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/a.txt").write_text("ten\n")
    path = tmp_path / "etc/rules.yaml"
    path.write_text("networks: {a: {file: a.txt}}\nrules: [{client: a, deny: x}]\n")
    assert run("check", str(path)).stdout.startswith(f"{tmp_path}/etc/a.txt:1:1: 'ten' is no IP")


def test_explain_for_people(rules: Path) -> None:
    result = run("explain", str(rules), "--client", "192.168.0.1", "/v2/a/tags/list?n=1")
    assert result.output.splitlines() == [
        "client    192.168.0.1",
        "networks  office, everyone",
        "rule      home (rules.yaml:4)",
        "status    302",
        "registry  https://mirror.example:5000/team",
        "location  https://mirror.example:5000/v2/team/a/tags/list?n=1",
    ]


def test_explain_for_programs(rules: Path) -> None:
    result = run("explain", str(rules), "--client", "::ffff:8.8.8.8", "--json", "/v2/a/tags/list")
    assert json.loads(result.stdout) == {
        "client": "8.8.8.8",
        "networks": ["everyone"],
        "rule": {"name": "rule-4", "file": "rules.yaml", "line": 7},
        "status": 302,
        "location": "https://registry.k8s.io/v2/a/tags/list",
        "registry": "k8s",
        "headers": {
            "Content-Type": "text/html; charset=utf-8",
            "Location": "https://registry.k8s.io/v2/a/tags/list",
            "Cache-Control": "private, no-store",
            "X-Content-Type-Options": "nosniff",
            "Content-Length": "58",
        },
    }


@pytest.mark.parametrize(
    ("arguments", "status", "rule"),
    [
        (["/no"], 403, "rule-3"),
        (["--method", "POST", "/v2/"], 405, None),
        (["/v2/a//b"], 400, None),
        (["v2"], 400, None),
        (["--host", "a b", "/"], 400, None),
        (["--method", "CONNECT", "/"], 400, None),
        (["--method", "G T", "/"], 400, None),
        (["--method", "OPTIONS", "*"], 405, None),
        (["/a b"], 400, None),
        (["/a\r\nx"], 400, None),
        (["/"], 302, "rule-2"),
    ],
)
def test_explain_knows_every_outcome(
    rules: Path, arguments: list[str], status: int, rule: str | None
) -> None:
    result = run("explain", str(rules), "--client", "8.8.8.8", "--json", *arguments)
    told = json.loads(result.stdout)
    assert (told["status"], told["rule"] and told["rule"]["name"]) == (status, rule)


@pytest.mark.parametrize("client", ["ten", "10.0.0.0/8", "fe80::1%eth0", ""])
def test_explain_wants_one_address(rules: Path, client: str) -> None:
    result = run("explain", str(rules), "--client", client, "/")
    assert result.exit_code == 2
    assert "is no IP address" in result.output


def test_hosts_are_those_that_a_rule_sends_clients_to(rules: Path) -> None:
    assert run("hosts", str(rules)).output.splitlines() == [
        "mirror.example:5000",
        "registry.k8s.io",
        "www.example",
    ]


RELAYS = """\
registries:
  relay: {url: https://relay.example, mode: relay}
  blobs: {url: https://blobs.example, mode: relay, blobs: redirect}
  auto: {url: https://auto.example, mode: auto}
rules:
  - {path: /relay, to: relay}
  - {path: /a, to: auto}
  - {path: /p, method: POST, to: auto}
  - {host: manifests.example, kind: manifests, to: blobs}
"""


@pytest.mark.parametrize(
    ("more", "hosts"),
    [
        ("", ["auto.example"]),
        ("  - {kind: blobs, to: blobs}\n", ["auto.example", "blobs.example"]),
        ("  - {kind: blobs, method: PUT, to: blobs}\n", ["auto.example"]),
        (
            "token: {realm: 'https://front.example:8443/token'}\n",
            ["auto.example", "front.example:8443"],
        ),
    ],
)
def test_a_relay_sends_nobody_anywhere_but_for_tokens(
    rules: Path, more: str, hosts: list[str]
) -> None:
    """To where some clients, or those of blobs, are redirected all must get through."""
    rules.write_text(RELAYS + more)
    assert run("hosts", str(rules)).output.splitlines() == hosts


@pytest.mark.parametrize(
    "arguments", [["explain", "--client", "::1"], ["hosts"]], ids=lambda words: words[0]
)
def test_a_faulty_file_ends_every_command_with_its_faults(
    rules: Path, arguments: list[str]
) -> None:
    rules.write_text("rules: []\n")
    path = ["/"] if arguments[0] == "explain" else []
    result = run(*arguments, str(rules), *path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "rules.yaml:1:8: expected at least one entry\n"


def test_the_schema_is_json() -> None:
    assert json.loads(run("schema").stdout)["title"] == "regroute configuration"
