"""What the service says: its own log with priorities in the journal, the access log in its file."""

import re

from .guide import commands
from .service import DEFAULT_RULES, RULES, Service

INFO, WARNING, ERROR = 6, 4, 3
WITHOUT_HTTP = DEFAULT_RULES.replace("  - socket: http\n", "", 1)
FAULTY = DEFAULT_RULES.replace("\n  - to: ", "\n  - too: ")


def test_every_message_has_its_priority(service: Service) -> None:
    service.write_rules(WITHOUT_HTTP)
    service.systemctl("reload")
    assert service.says(f"reloaded {RULES}: listen changed", INFO)
    assert service.says("nobody answers any more on the socket 'http'", WARNING)
    service.write_rules(FAULTY)
    service.systemctl("reload")
    assert service.says(f"{RULES}:20:5: ", ERROR)
    assert service.says("the old rules stay in force", ERROR)
    assert {entry.priority for entry in service.journal()} == {INFO, WARNING, ERROR}


def test_a_message_has_neither_a_time_nor_a_priority_in_its_text(service: Service) -> None:
    """The journal has both."""
    assert [e for e in service.journal() if re.match(r"<\d>|\d{4}-", e.text)] == []
    assert service.journal() != []


def test_the_guide_shows_nothing_but_warnings_where_it_says_so(service: Service) -> None:
    service.write_rules(WITHOUT_HTTP)
    service.systemctl("reload")
    assert service.says("nobody answers any more", WARNING)
    [command] = [line for line in commands("## 6. The logs").splitlines() if "warning" in line]
    shown = service.bed.run(*command.split(), "--no-pager", service.since)
    assert "nobody answers any more" in shown
    assert "regroute[" in shown
    assert "reloaded" not in shown


def test_a_rotated_access_log_goes_on_in_a_new_file(service: Service) -> None:
    """As logrotate does it: the old file is moved away, and a reload opens a new one."""
    service.ask("/v2/old/manifests/1")
    service.bed.run("mv", "/var/log/regroute/access.log", "/var/log/regroute/access.log.1")
    service.systemctl("reload")
    assert service.says("nothing changed", INFO)
    service.ask("/v2/new/manifests/1")
    assert [line["path"] for line in service.access_log()] == ["/v2/new/manifests/1"]
