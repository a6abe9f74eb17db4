"""`regroute diff`, as people and programs use it."""

import gzip
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from regroute.cli import main

from .test_replay import line

OLD = """\
networks: {office: [10.0.0.0/8, 192.168.0.0/24]}
registries: {k8s: "https://registry.k8s.io", mirror: "https://mirror.example/team"}
rules:
  - {name: office, client: office, to: mirror}
  - {name: rest, to: k8s}
"""
NEW = OLD.replace("10.0.0.0/8", "10.0.0.0/9")
LOG = b"".join(
    [
        line(client="10.1.2.3"),
        line(client="10.200.0.1", path="/v2/a/tags/list?n=1"),
        line(client="10.200.0.2", user_agent="\x1b[31mred"),
        line(client="8.8.8.8"),
        line(client=None),
        b"half a li\n",
    ]
)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old.yaml").write_text(OLD)
    Path("new.yaml").write_text(NEW)
    Path("access.jsonl").write_bytes(LOG)


def run(*arguments: str, given: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["diff", *arguments], input=given, catch_exceptions=False)


def replayed(*arguments: str, given: bytes | None = None) -> Result:
    return run("old.yaml", "new.yaml", "--log", *arguments, given=given)


def test_a_replay_for_people() -> None:
    assert replayed("access.jsonl").stdout.splitlines() == [
        "4 requests replayed: 2 change (50.00 %)",
        "2 lines skipped:",
        "  1  no client's address",
        "  1  no line of an access log in JSON",
        "",
        "requests  before               after",
        "       2  office → mirror 302  rest → k8s 302",
        "            from  10.200.0.1",
        "            for   GET r.example/v2/a/tags/list?n=1 (docker/20.10)",
        "            was   https://mirror.example/v2/team/a/tags/list?n=1",
        "            is    https://registry.k8s.io/v2/a/tags/list?n=1",
    ]


def test_a_replay_for_programs() -> None:
    assert json.loads(replayed("access.jsonl", "--json").stdout) == {
        "requests": 4,
        "changed": 2,
        "skipped": 2,
        "moves": [
            {
                "from": {"rule": "office", "registry": "mirror", "status": 302},
                "to": {"rule": "rest", "registry": "k8s", "status": 302},
                "requests": 2,
                "example": {
                    "client": "10.200.0.1",
                    "method": "GET",
                    "host": "r.example",
                    "path": "/v2/a/tags/list?n=1",
                    "user_agent": "docker/20.10",
                    "from_location": "https://mirror.example/v2/team/a/tags/list?n=1",
                    "to_location": "https://registry.k8s.io/v2/a/tags/list?n=1",
                },
            }
        ],
    }


def test_what_a_client_wrote_cannot_write_to_the_terminal() -> None:
    output = replayed("-", given=LOG.splitlines(keepends=True)[2]).stdout
    assert "\x1b" not in output
    assert r"\x1b[31mred" in output


def test_a_log_comes_from_a_file_or_standard_input_compressed_or_not() -> None:
    Path("access.jsonl.gz").write_bytes(gzip.compress(LOG[:100]) + gzip.compress(LOG[100:]))
    told = replayed("access.jsonl").stdout
    assert told.startswith("4 requests")
    assert replayed("access.jsonl.gz").stdout == told
    assert replayed("-", given=LOG).stdout == told
    assert replayed("-", given=gzip.compress(LOG)).stdout == told


def test_a_last_line_without_an_end_counts() -> None:
    assert replayed("-", given=LOG + line().rstrip()).stdout.startswith("5 requests")


def test_a_line_without_an_end_is_one_line_that_cannot_be_replayed() -> None:
    endless = b" " * (20 * 2**20) + line()
    told = json.loads(replayed("-", "--json", given=line() + endless + line()).stdout)
    assert (told["requests"], told["skipped"]) == (2, 1)


def test_an_empty_log_changes_nothing() -> None:
    result = replayed("-", "--fail-over", "0%", given=b"")
    assert (result.exit_code, result.output) == (0, "0 requests replayed: 0 change\n")


@pytest.mark.parametrize(
    ("share", "status"),
    [("0%", 1), ("49.9%", 1), ("50%", 0), ("50.0 %", 0), ("100%", 0)],
)
def test_more_changes_than_may_be_end_with_1(share: str, status: int) -> None:
    assert replayed("access.jsonl", "--fail-over", share).exit_code == status


def test_the_share_is_compared_exactly() -> None:
    log = line(client="10.200.0.1") + line(client="8.8.8.8") * 999
    assert replayed("-", "--fail-over", "0.1%", given=log).exit_code == 0
    assert replayed("-", "--fail-over", "0.0999%", given=log).exit_code == 1
    assert "(0.10 %)" in replayed("-", given=log).stdout


def test_a_small_share_is_not_told_as_none() -> None:
    log = line(client="10.200.0.1") + line(client="8.8.8.8") * 30_000
    assert "1 change (under 0.01 %)" in replayed("-", given=log).stdout


@pytest.mark.parametrize(
    ("share", "message"),
    [
        ("1", "did you mean 1%?"),
        ("x%", "is no percentage"),
        ("%", "is no percentage"),
        ("-1%", "is not between 0% and 100%"),
        ("101%", "is not between 0% and 100%"),
        ("1/0%", "is no percentage"),
        ("nan%", "is no percentage"),
    ],
)
def test_a_share_is_a_percentage(share: str, message: str) -> None:
    result = replayed("access.jsonl", f"--fail-over={share}")
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_log_of_which_nothing_can_be_replayed_passes_no_limit() -> None:
    Path("old.yaml").write_text(OLD + "access_log: {path: a.log, client: prefix}\n")
    result = replayed("access.jsonl", "--fail-over", "1%")
    assert result.exit_code == 2
    assert result.stderr == "no line of the log could be replayed\n"
    assert "  6  the old configuration logs no whole addresses\n" in result.stdout
    assert replayed("access.jsonl").exit_code == 0


def test_every_fault_of_both_files_is_told_and_ends_with_2() -> None:
    Path("old.yaml").write_text("rules: []\n")
    Path("new.yaml").write_text("foo: 1\nrules: [{to: nowhere}]\n")
    result = replayed("access.jsonl", "--fail-over", "1%")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "old.yaml:1:8: expected at least one entry\n" in result.stderr
    assert "new.yaml:1:1: unknown key 'foo'" in result.stderr
    assert "new.yaml:2:" in result.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("none.jsonl", None, id="not there"),
        pytest.param(".", None, id="a directory"),
        pytest.param("cut.gz", gzip.compress(LOG)[:-20], id="cut off"),
        pytest.param("broken.gz", gzip.compress(LOG)[:30] + b"x" * 30, id="broken"),
    ],
)
def test_a_log_that_cannot_be_read_ends_with_2(name: str, content: bytes | None) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    result = replayed(name)
    assert result.exit_code == 2
    assert result.stderr
    assert result.stdout == ""


def test_all_addresses_for_people() -> None:
    assert run("old.yaml", "new.yaml").stdout.splitlines() == [
        "6 shapes of requests compared over all addresses: 3 change",
        "",
        "shapes  before               after",
        "     3  office → mirror 302  rest → k8s 302",
        "          from  10.128.0.0/9",
        "          for   GET /v2/any/manifests/any",
        "                GET /v2/team/any/manifests/any",
        "                GET /any",
        "          was   https://mirror.example/v2/team/any/manifests/any",
        "          is    https://registry.k8s.io/v2/any/manifests/any",
    ]


def test_all_addresses_for_programs() -> None:
    told = json.loads(run("old.yaml", "new.yaml", "--json").stdout)
    [move] = told.pop("moves")
    assert told == {"requests": 6, "changed": 3, "skipped": 0, "outside": []}
    assert move["from"] == {"rule": "office", "registry": "mirror", "status": 302}
    assert move["to"] == {"rule": "rest", "registry": "k8s", "status": 302}
    assert move["requests"] == 3
    assert move["ranges"] == ["10.128.0.0/9"]
    assert move["shapes"][0] == {
        "method": "GET",
        "host": "",
        "path": "/v2/any/manifests/any",
        "user_agent": "",
    }
    assert move["example"] == move["shapes"][0] | {
        "client": "10.128.0.0",
        "from_location": "https://mirror.example/v2/team/any/manifests/any",
        "to_location": "https://registry.k8s.io/v2/any/manifests/any",
    }


def test_many_ranges_and_shapes_are_told_in_part_to_people_and_whole_to_programs() -> None:
    clients = ", ".join(f"10.0.{number}.0/24" for number in range(0, 100, 2))
    denials = (f"  - {{host: h{number}.example, path: /x, deny: no}}\n" for number in range(9))
    kept = "".join(denials) + "  - {name: rest, to: k8s}\n"
    registry = 'registries: {k8s: "https://registry.k8s.io"}\n'
    Path("old.yaml").write_text(f"{registry}rules:\n{kept}")
    rule = f"  - {{client: [{clients}], location: 'https://other.example/'}}\n"
    Path("new.yaml").write_text(f"{registry}rules:\n{rule}{kept}")
    told = run("old.yaml", "new.yaml").stdout
    assert "and 26 more ranges\n" in told
    assert "and 17 more shapes\n" in told
    moves = json.loads(run("old.yaml", "new.yaml", "--json").stdout)["moves"]
    assert {len(move["ranges"]) for move in moves} == {50}
    assert max(len(move["shapes"]) for move in moves) == 21


def test_two_that_answer_alike_do_not_differ() -> None:
    result = run("old.yaml", "old.yaml", "--fail-over", "0%")
    assert result.exit_code == 0
    assert result.stdout == "6 shapes of requests compared over all addresses: 0 change\n"


def test_without_a_log_anything_that_moves_is_more_than_nothing() -> None:
    assert run("old.yaml", "new.yaml", "--fail-over", "0%").exit_code == 1
    assert run("old.yaml", "new.yaml").exit_code == 0


def test_without_a_log_there_is_no_other_share() -> None:
    result = run("old.yaml", "new.yaml", "--fail-over", "1%")
    assert result.exit_code == 2
    assert "without --log only --fail-over 0% has a meaning" in result.stderr


def test_what_differs_outside_the_rules_is_named() -> None:
    more = "clients: {trusted_proxies: 10.0.0.1, header: forwarded}\nlisten: [{port: 81}]\n"
    Path("new.yaml").write_text(OLD + more + "limits: {head: 5s}\n")
    named = "clients.trusted_proxies, clients.header (x-real-ip → forwarded), listen, limits"
    line = f"not compared, but different: {named}\n"
    assert run("old.yaml", "new.yaml").stdout.startswith(line)
    assert replayed("access.jsonl").stdout.startswith(line)
    assert json.loads(run("old.yaml", "new.yaml", "--json").stdout)["outside"] == named.split(", ")


def test_the_same_trusted_proxies_by_another_name_are_no_difference() -> None:
    Path("old.yaml").write_text(OLD + "clients: {trusted_proxies: 192.168.0.0/24}\n")
    named = OLD.replace("networks: {", "networks: {proxies: 192.168.0.0-192.168.0.255, ")
    Path("new.yaml").write_text(named + "clients: {trusted_proxies: proxies}\n")
    assert "not compared" not in run("old.yaml", "new.yaml").stdout


def on_a_terminal(*arguments: str) -> tuple[str, str]:
    """The standard output, and what a terminal shows of standard error."""
    ours, theirs = pty.openpty()
    command = [str(Path(sys.executable).with_name("regroute")), "diff", "old.yaml", "new.yaml"]
    with subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=theirs, stdin=subprocess.DEVNULL
    ) as process:
        os.close(theirs)
        shown = io.BytesIO()
        try:
            while data := os.read(ours, 65536):
                shown.write(data)
        except OSError:
            # Linux tells the end of a terminal so.
            pass
        os.close(ours)
        assert process.stdout is not None
        return process.stdout.read().decode(), shown.getvalue().decode()


def test_a_progress_bar_is_for_who_looks() -> None:
    output, shown = on_a_terminal("--log", "access.jsonl", "--json")
    assert json.loads(output)["requests"] == 4
    assert "replaying" in shown
    assert "100%" in shown
    assert replayed("access.jsonl").stderr == ""


def test_there_is_no_progress_where_nobody_knows_the_size() -> None:
    _, shown = on_a_terminal("--log", "-")
    assert shown == ""
