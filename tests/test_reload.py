"""What a reload replaces, and what it says about it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from regroute.check import Checked
from regroute.config.faults import Faulty
from regroute.load import load
from regroute.reload import Current, Reload, describe_changes

ONE = "rules: [{name: one, to: 'https://one.example'}]"
TWO = "rules: [{name: two, to: 'https://two.example'}]"


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """The lines that are logged while a test runs."""
    lines: list[str] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        lines.append(f"{event['log_level'].name}: {formatEvent(event)}")

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rules.yaml"


def write(file: Path, text: str) -> Checked:
    file.write_text(text)
    return load(file)


def test_a_good_file_is_swapped_in_whole(file: Path, logged: list[str]) -> None:
    current = Current(write(file, ONE))
    before = current.rules()
    file.write_text(TWO)
    Reload(current, file, "etc/rules.yaml").reload()
    assert current.rules() is current.checked.rules
    assert [rule.name for rule in current.rules().rules] == ["two"]
    # Who holds the old rules still has them whole.
    assert [rule.name for rule in before.rules] == ["one"]
    assert logged == ["info: reloaded etc/rules.yaml: rule two added, rule one removed"]


FAULTY = {
    "no YAML": "rules: [",
    "an unknown key": "rulse: []\nlisten: [{prot: 1}]",
    "not UTF-8": "rules: \udcff",
    "a test that fails": ONE + "\ntests: [{path: /, rule: two}]",
    "a network file that is missing": ONE + "\nnetworks: {a: {file: missing.txt}}",
    "nothing": "",
}


@pytest.mark.parametrize("text", FAULTY.values(), ids=FAULTY)
def test_a_faulty_file_changes_nothing_and_each_fault_is_logged(
    file: Path, logged: list[str], text: str
) -> None:
    current = Current(write(file, ONE))
    before = current.checked
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    Reload(current, file, "rules.yaml").reload()
    assert current.checked is before
    with pytest.raises(Faulty) as faulty:
        load(file, "rules.yaml")
    assert logged == [
        *(f"error: {line}" for line in str(faulty.value).splitlines()),
        "error: rules.yaml is not reloaded: the old rules stay in force",
    ]


def test_a_missing_file_changes_nothing(file: Path, logged: list[str]) -> None:
    current = Current(write(file, ONE))
    before = current.checked
    file.unlink()
    Reload(current, file, "rules.yaml").reload()
    assert current.checked is before
    assert logged[0] == "error: rules.yaml:1:1: cannot read it: No such file or directory"


def test_listeners_wait_for_a_restart(file: Path, logged: list[str]) -> None:
    current = Current(write(file, ONE))
    file.write_text("listen: [{port: 81}]\n" + ONE)
    Reload(current, file, "rules.yaml").reload()
    assert logged[1:] == ["warn: listen has changed, which takes force at a restart"]


RULES = """
networks: {a: [10.0.0.0/8], b: {file: b.txt}}
registries: {r: https://r.example}
rules:
  - {name: x, client: a, to: r}
  - {name: y, client: b, to: r}
  - {to: https://else.example}
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("", "", "nothing changed"),
        ("a: [10", "# a comment\n  a: [10", "nothing changed"),
        ("to: r}\n  - {to", "to: r, status: 307}\n  - {to", "rule y changed"),
        ("name: x", "name: z", "rule z added, rule x removed"),
        ("else", "other", "rule rule-3 changed"),
        ("10.0.0.0/8", "10.0.0.0/9", "network a changed"),
        ("registries: {", "registries: {s: https://s.example, ", "registry s added"),
        ("r: https://r", "r: https://q", "registry r changed"),
        ("networks:", "clients: {header: forwarded}\nnetworks:", "clients changed"),
        (
            "  - {name: x, client: a, to: r}\n  - {name: y, client: b, to: r}\n",
            "  - {name: y, client: b, to: r}\n  - {name: x, client: a, to: r}\n",
            "rules reordered",
        ),
    ],
)
def test_a_change_is_told_in_one_line(file: Path, old: str, new: str, told: str) -> None:
    file.with_name("b.txt").write_text("192.0.2.0/24\n")
    before = write(file, RULES)
    assert old in RULES
    assert describe_changes(before, write(file, RULES.replace(old, new, 1))) == told


def test_a_list_file_that_changed_is_told(file: Path) -> None:
    file.with_name("b.txt").write_text("192.0.2.0/24\n")
    before = write(file, RULES)
    file.with_name("b.txt").write_text("192.0.2.0/25\n")
    assert describe_changes(before, load(file)) == "network b changed"
