"""What a reload replaces, and what it says about it."""

from pathlib import Path
from typing import cast

import pytest

from regroute.admin.service import Admin
from regroute.check import Checked
from regroute.config.faults import Faulty
from regroute.load import load
from regroute.recorder import Recorder
from regroute.reload import Current, Reload, describe_changes
from regroute.service import Opened, Serving
from regroute.systemd import Supervised
from regroute.watch import Watch

ONE = "rules: [{name: one, to: 'https://one.example'}]"
TWO = "rules: [{name: two, to: 'https://two.example'}]"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rules.yaml"


class Follower:
    """What follows the configuration: serving and recording, of which this keeps a record."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.told: list[str] = []

    def open(self, checked: Checked) -> Opened:
        if self.fault:
            raise Faulty([checked.source.fault((), self.fault)])
        return Opened()

    def apply(self, checked: Checked, opened: Opened) -> None:
        self.told.append(f"apply {checked.config.rules[0].name}")

    def reopen(self) -> None:
        self.told.append("reopen")

    def reloading(self) -> None:
        self.told.append("reloading")

    def follow(self) -> None:
        self.told.append("follow")

    def ready(self, state: str) -> None:
        self.told.append(f"ready: {state}")


def reload(
    current: Current, file: Path, shown: str = "rules.yaml", *, fault: str = ""
) -> list[str]:
    """Reload, and give what the followers were told in their order."""
    follower = Follower(fault)
    Reload(
        current,
        file,
        shown,
        cast("Serving", follower),
        cast("Recorder", follower),
        cast("Supervised", follower),
        cast("Admin", follower),
        cast("Watch", follower),
    ).reload()
    return follower.told


def write(file: Path, text: str) -> Checked:
    file.write_text(text)
    return load(file)


def test_a_good_file_is_swapped_in_whole(file: Path, logged: list[str]) -> None:
    current = Current(write(file, ONE))
    before = current.rules()
    file.write_text(TWO)
    told = reload(current, file, "etc/rules.yaml")
    assert current.rules() is current.checked.rules
    assert [rule.name for rule in current.rules().rules] == ["two"]
    # Who holds the old rules still has them whole.
    assert [rule.name for rule in before.rules] == ["one"]
    state = "reloaded etc/rules.yaml: rule two added, rule one removed"
    assert logged == [f"info: {state}"]
    assert told == ["reloading", "reopen", *["apply two"] * 3, f"ready: {state}", "follow"]


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
    told = reload(current, file)
    assert current.checked is before
    state = "rules.yaml is not reloaded: the old rules stay in force"
    assert told == ["reloading", "reopen", f"ready: {state}", "follow"]
    with pytest.raises(Faulty) as faulty:
        load(file, "rules.yaml")
    assert logged == [
        *(f"error: {line}" for line in str(faulty.value).splitlines()),
        f"error: {state}",
    ]


def test_a_missing_file_changes_nothing(file: Path, logged: list[str]) -> None:
    current = Current(write(file, ONE))
    before = current.checked
    file.unlink()
    reload(current, file)
    assert current.checked is before
    assert logged[0] == "error: rules.yaml:1:1: cannot read it: No such file or directory"


def test_a_socket_that_cannot_be_opened_is_a_fault_like_any_other(
    file: Path, logged: list[str]
) -> None:
    current = Current(write(file, ONE))
    before = current.checked
    file.write_text(TWO)
    told = reload(current, file, fault="cannot listen")
    assert current.checked is before
    assert not any(word.startswith("apply") for word in told)
    assert logged[0] == "error: rules.yaml:1:1: cannot listen"


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
        ("networks:", "listen: [{port: 81}]\nnetworks:", "listen changed"),
        ("networks:", "limits: {idle: 5s}\nnetworks:", "limits changed"),
        ("networks:", "lane: false\nnetworks:", "lane changed"),
        ("networks:", "workers: 2\nnetworks:", "workers changed"),
        ("networks:", "admin: {port: 9464}\nnetworks:", "admin changed"),
        ("networks:", "watch: true\nnetworks:", "watch changed"),
        ("networks:", "access_log: none\nnetworks:", "access_log changed"),
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
