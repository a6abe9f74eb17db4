"""What a reload replaces, and what it says about it."""

from pathlib import Path
from typing import cast

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from regroute.admin.service import Admin
from regroute.admin.service import Opened as AdminOpened
from regroute.check import Checked
from regroute.config.faults import Faulty
from regroute.listeners import Listeners, Opened
from regroute.load import Origin, load, load_from
from regroute.metrics.counters import Counters
from regroute.moves import Moves
from regroute.outcome import Outcome
from regroute.reload import Current, Reload, describe_changes
from regroute.server import Process
from regroute.systemd import Supervised
from regroute.watch.service import Watch

ONE = "rules: [{name: one, to: 'https://one.example'}]"
TWO = "rules: [{name: two, to: 'https://two.example'}]"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rules.yaml"


class Answering:
    """The admin listener."""

    def __init__(self, told: list[str]) -> None:
        self._told = told

    def open(self, checked: Checked) -> AdminOpened:
        return AdminOpened(None)

    def apply(self, checked: Checked, opened: AdminOpened) -> None:
        self._told.append(f"answer by {checked.config.rules[0].name}")


class Follower:
    """What follows the configuration: sockets, servers and systemd; it keeps a record of it."""

    def __init__(self, fault: str = "") -> None:
        self.blocks: list[Counters] = []
        self.known_open: frozenset[str] = frozenset()
        self.fault = fault
        self.told: list[str] = []

    def open(self, checked: Checked) -> Opened:
        if self.fault == "open":
            raise Faulty([checked.source.fault((), "cannot listen")])
        return Opened()

    def apply(self, checked: Checked, opened: Opened) -> None:
        self.told.append(f"listen by {checked.config.rules[0].name}")

    def prepare(self, checked: Checked, origin: Origin, opened: Opened) -> Deferred[None]:
        self.told.append(f"prepare {checked.config.rules[0].name}")
        if self.fault == "prepare":
            return fail(Faulty([checked.source.fault((), "cannot serve")]))
        if self.fault == "crash":
            raise RuntimeError
        return succeed(None)

    def processes(self) -> list[Process]:
        return []

    def follow(self) -> None:
        self.told.append("follow")

    def commit(self) -> None:
        self.told.append("commit")

    def abandon(self) -> None:
        self.told.append("abandon")

    def tell(self, before: Checked, after: Checked) -> None:
        self.told.append("tell")

    def reopen(self) -> None:
        self.told.append("reopen")

    def reloading(self) -> None:
        self.told.append("reloading")

    def ready(self, state: str) -> None:
        self.told.append(f"ready: {state}")


def reload_of(current: Current, follower: Follower) -> Reload:
    return Reload(
        current,
        cast("Listeners", follower),
        follower,
        cast("Supervised", follower),
        cast("Admin", Answering(follower.told)),
        cast("Watch", follower),
        cast("Moves", follower),
    )


def reload(current: Current, *, fault: str = "") -> list[str]:
    """Reload, and give what the followers were told in their order."""
    follower = Follower(fault)
    reload_of(current, follower).reload()
    return follower.told


def write(file: Path, text: str) -> Checked:
    file.write_text(text)
    return load(file)


def serving(file: Path, text: str, shown: str = "rules.yaml") -> Current:
    """What is in force after a start with this text."""
    file.write_text(text)
    origin = Origin.on_disk(file, shown)
    return Current(load_from(origin), origin)


def rules_of(current: Current) -> list[str]:
    return [rule.name for rule in current.checked.rules.rules]


def test_a_good_file_is_swapped_in_whole(file: Path, logged: list[str]) -> None:
    current = serving(file, ONE, "etc/rules.yaml")
    before = current.checked
    file.write_text(TWO)
    told = reload(current)
    assert rules_of(current) == ["two"]
    # Who holds the old rules still has them whole.
    assert [rule.name for rule in before.rules.rules] == ["one"]
    state = "reloaded etc/rules.yaml: rule two added, rule one removed"
    assert logged == [f"info: {state}"]
    assert told == [
        "reloading",
        "reopen",
        "prepare two",
        "commit",
        "listen by two",
        "answer by two",
        "tell",
        f"ready: {state}",
        "follow",
    ]


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
    current = serving(file, ONE)
    before = current.checked
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    told = reload(current)
    assert current.checked is before
    state = "rules.yaml is not reloaded: the old rules stay in force"
    assert told == ["reloading", "reopen", f"ready: {state}", "follow"]
    with pytest.raises(Faulty) as faulty:
        load_from(Origin.on_disk(file, "rules.yaml"))
    assert logged == [
        *(f"error: {line}" for line in str(faulty.value).splitlines()),
        f"error: {state}",
    ]


def test_a_missing_file_changes_nothing(file: Path, logged: list[str]) -> None:
    current = serving(file, ONE)
    before = current.checked
    file.unlink()
    reload(current)
    assert current.checked is before
    assert logged[0] == "error: rules.yaml:1:1: cannot read it: No such file or directory"


@pytest.mark.parametrize(
    ("fault", "first_line"),
    [
        ("open", "error: rules.yaml:1:1: cannot listen"),
        ("prepare", "error: rules.yaml:1:1: cannot serve"),
        ("crash", "critical: rules.yaml is not reloaded: the old rules stay in force"),
    ],
)
def test_what_cannot_be_served_leaves_everything_as_it_was(
    file: Path, logged: list[str], fault: str, first_line: str
) -> None:
    current = serving(file, ONE)
    before = current.checked
    file.write_text(TWO)
    told = reload(current, fault=fault)
    assert current.checked is before
    assert "commit" not in told
    assert ("abandon" in told) == (fault != "open")
    assert logged[0] == first_line


def test_the_outcome_of_a_reload_has_its_faults(file: Path) -> None:
    current = serving(file, ONE)
    file.write_text("rulse: []")
    outcomes: list[Outcome] = []
    reload_of(current, Follower()).reload().addCallback(outcomes.append)
    (outcome,) = outcomes
    assert outcome.result == "failed"
    assert [fault.line for fault in outcome.faults] == [1, 1]


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
        ("networks:", "workers: 2\nnetworks:", "workers changed, which takes a restart"),
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
