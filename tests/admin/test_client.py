"""`regroute reload` without a daemon of ours: what is found in a file, and who may answer."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from regroute.admin.client import find_socket
from regroute.cli import main

GOOD = "admin: {unix: a.sock}\nrules: [{to: https://a.example}]\n"


@pytest.mark.parametrize(
    "text",
    [
        "admin: {unix: a.sock}",
        "admin:\n  unix: a.sock\n",
        "admin:\n  # here\n  port: 1\n  unix: 'a.sock'  # there\nrules:",
        "{rules: [{to: x}], admin: {unix: a.sock}, rules: [",
        "rules:\n  - {to: [a, {b: c}]}\n  - x\nadmin: {host: '::1', unix: a.sock, oops",
        "admin: {unix: a.sock}\nrules: [",
        "admin: {unix: a.sock}\n\t\x07rules",
        "rules: [}\nadmin: {unix: a.sock}\n",
        "rules: [\nadmin :\n  unix: a.sock\nfoo: ]]",
        "? [a, b]\n: c\nadmin: {unix: a.sock}",
        "--- !x\n&a admin: !y {unix: &b a.sock}",
        "admin: {unix: a.sock}\nadmin: {unix: b.sock}",
    ],
)
def test_the_socket_is_found_though_the_rest_may_be_faulty(text: str) -> None:
    assert find_socket(text) == "a.sock"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rules: []",
        "admin: {port: 9464}",
        "admin: a.sock",
        "admin: [unix, a.sock]",
        "admin: {unix: {a: b}}",
        "rules: {admin: {unix: a.sock}}",
        "[admin, {unix: a.sock}]",
        "rules: [}\n  admin: {unix: a.sock}\n",
        "admin: }",
        "# admin: {unix: a.sock}",
        "x",
    ],
)
def test_where_none_is_named_none_is_found(text: str) -> None:
    assert find_socket(text) is None


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("rules.yaml").write_text(GOOD)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["reload", *arguments], catch_exceptions=False)


@contextmanager
def answering(path: str, status: int, body: str) -> Iterator[list[bytes]]:
    """Somebody who answers one request so; gives the request."""
    asked: list[bytes] = []
    raw = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()

    def answer() -> None:
        client, _ = listening.accept()
        with client:
            asked.append(client.recv(65536))
            client.sendall(raw)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        thread = threading.Thread(target=answer)
        thread.start()
        yield asked
        thread.join()


def test_a_good_reload_is_told_in_a_line() -> None:
    body = json.dumps({"result": "reloaded", "changes": "rule a added"})
    with answering("a.sock", 200, body) as asked:
        result = run("rules.yaml")
    assert (result.exit_code, result.output) == (0, "rules.yaml: reloaded: rule a added\n")
    assert asked[0].startswith(b"POST /reload HTTP/1.1\r\n")


def test_faults_are_printed_as_check_prints_them() -> None:
    faults = [
        {"file": "rules.yaml", "line": 1, "column": 2, "message": "one"},
        {"file": "a.txt", "line": 3, "column": 4, "message": "two\x1b[1m"},
    ]
    with answering("a.sock", 422, json.dumps({"result": "failed", "faults": faults})):
        result = run("rules.yaml")
    assert (result.exit_code, result.stdout) == (1, "rules.yaml:1:2: one\na.txt:3:4: two\\x1b[1m\n")
    assert result.stderr == "2 faults: the old rules stay in force\n"


def test_a_daemon_that_fails_itself_is_told() -> None:
    with answering("a.sock", 500, json.dumps({"result": "failed", "faults": []})):
        result = run("rules.yaml")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "failed, see the daemon's log: the old rules stay in force\n"


def test_the_socket_of_an_option_needs_no_file() -> None:
    body = json.dumps({"result": "reloaded", "changes": "nothing changed"})
    with answering("other", 200, body):
        result = run("nothing.yaml", "--socket", "other")
    assert result.output == "nothing.yaml: reloaded: nothing changed\n"


def test_the_socket_lies_beside_the_file(here: Path) -> None:
    (here / "etc").mkdir()
    Path("rules.yaml").rename("etc/rules.yaml")
    body = json.dumps({"result": "reloaded", "changes": "nothing changed"})
    with answering("etc/a.sock", 200, body):
        assert run("etc/rules.yaml").exit_code == 0


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, "there is nothing here"),
        (404, "{}"),
        (200, "[]"),
        (200, '{"result": "failed"}'),
        (422, '{"result": "failed"}'),
        (422, '{"result": "failed", "faults": [1]}'),
    ],
)
def test_another_program_is_not_taken_for_the_daemon(status: int, body: str) -> None:
    with answering("a.sock", status, body):
        result = run("rules.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "what answers on a.sock is no admin listener of regroute\n"


def test_where_there_is_no_daemon_it_says_what_to_do() -> None:
    told = "no daemon listens on a.sock: start it, or name its socket with --socket\n"
    assert (run("rules.yaml").exit_code, run("rules.yaml").stderr) == (2, told)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind("a.sock")
    assert (run("rules.yaml").exit_code, run("rules.yaml").stderr) == (2, told)


@pytest.mark.parametrize("text", ["rules: []", "admin: {port: 9464}\nrules: []", "rules: ["])
def test_where_there_is_no_admin_socket_it_says_what_to_do(text: str) -> None:
    Path("rules.yaml").write_text(text)
    result = run("rules.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "rules.yaml names no admin socket that can be found: write admin: {unix: PATH} into it "
        "and restart the daemon, or name its socket with --socket\n"
    )


def test_a_file_that_is_not_there_is_told() -> None:
    result = run("nothing.yaml")
    assert (result.exit_code, result.stderr) == (
        2,
        "cannot read nothing.yaml: No such file or directory: name the daemon's socket with "
        "--socket\n",
    )


def test_what_is_no_socket_is_told() -> None:
    os.mkdir("dir")
    for name in ("rules.yaml", "dir", "x" * 200):
        result = run("rules.yaml", "--socket", name)
        assert result.exit_code == 2
        assert name in result.stderr
        assert result.stderr.count("\n") == 1
