"""Every fault of a configuration, with its place and what to write instead."""

import pytest

from regroute.config.faults import Faulty
from regroute.respond import respond

from .making import answered, checked

FILES = {
    "empty.txt": b"# nobody yet\n",
    "bad.txt": b"10.0.0.0/8\n  10.0.0.1/8\n# fine\nten\n",
    "latin-1.txt": b"10.0.0.0/8 # caf\xe9\n",
}


def faults(text: str) -> list[str]:
    with pytest.raises(Faulty) as raised:
        checked(text, FILES, file="f")
    return [str(fault) for fault in raised.value.faults]


RULES = "rules: [{to: https://a.example}]\n"
UNREACHABLE = "f:3:5: nothing can reach rule 'rule-2': 'rule-1' on line 2 covers all its conditions"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("listen: [{port: 80}]", "f:1:1: missing key 'rules'"),
        ("- a", "f:1:1: expected a mapping, not a list"),
        ("rules:", "f:1:7: nothing is given: write a value, or leave the key out"),
        ("rules: []", "f:1:8: expected at least one entry"),
        (RULES + "lissten: []", "f:2:1: unknown key 'lissten': did you mean 'listen'?"),
        (
            RULES + "listen: [{port: 70000}]",
            "f:2:17: '70000' is no port: write a number from 1 to 65535",
        ),
        (
            RULES + "listen: [{port: 80}, {port: 80, host: 127.0.0.1}]",
            "f:2:22: an earlier entry listens on port 80 of this host too",
        ),
        (
            RULES + "clients: {trusted_proxies: 10.0.0.1/8}",
            "f:2:28: '10.0.0.1/8' has host bits set: did you mean 10.0.0.0/8?",
        ),
        (
            RULES + "networks: {a: 10.0.0.0/255.0.0.0}",
            "f:2:15: '10.0.0.0/255.0.0.0' has a netmask: did you mean 10.0.0.0/8?",
        ),
        (
            RULES + "networks: {a: 10.0.0.9-10.0.0.1}",
            "f:2:15: '10.0.0.9-10.0.0.1' ends before it begins: did you mean 10.0.0.1-10.0.0.9?",
        ),
        (
            RULES + "networks: {a: {file: none.txt}}",
            "f:2:22: cannot read 'none.txt': No such file or directory",
        ),
        (RULES + "networks: {a: {file: latin-1.txt}}", "f:2:22: 'latin-1.txt' is not UTF-8 text"),
        (
            "networks: {office: 10.0.0.1}\nrules: [{client: ofice, to: https://a.example}]",
            "f:2:18: unknown network 'ofice': did you mean 'office'?",
        ),
        (
            "networks: {office: 10.0.0.1}\nrules: [{not: {client: ofice}, to: https://a.example}]",
            "f:2:24: unknown network 'ofice': did you mean 'office'?",
        ),
        (
            "registries: {k8s: https://registry.k8s.io}\nrules: [{to: k8}]",
            "f:2:14: unknown registry 'k8': did you mean 'k8s'?",
        ),
        (
            "registries: {k8s: 'https://me@registry.k8s.io'}\nrules: [{to: k8s}]",
            "f:1:19: 'https://me@registry.k8s.io' is no destination: write http(s)://host, with a "
            "port and a repository prefix if need be, and without user, query or fragment",
        ),
        (
            "rules: [{to: https://a.example/Team}]",
            "f:1:14: 'Team' is no repository prefix: its components are lower-case letters and "
            "digits, with . _ or - between them, separated by /",
        ),
        (
            "rules: [{to: 'https://[:::]'}]",
            "f:1:14: 'https://[:::]' has no valid host: write a name or an address",
        ),
        (
            "rules: [{to: 'https://1.2.3.4.5'}]",
            "f:1:14: 'https://1.2.3.4.5' has no valid host: write a name or an address",
        ),
        (
            "rules: [{to: 'https://a.example:0'}]",
            "f:1:14: 0 is no port: write a number from 1 to 65535",
        ),
        (
            "rules: [{client: 10.0.0.1}]",
            "f:1:9: a rule needs an outcome: add one of to, location, deny, respond",
        ),
        (
            "rules: [{to: https://a.example, deny: x}]",
            "f:1:39: a rule has one outcome: keep to or deny",
        ),
        (
            "rules: [{deny: x, status: 302}]",
            "f:1:27: 302 is no status for deny: use one of 403, 404, 405, 410, 451",
        ),
        ("rules: [{respond: ok, status: 301}]", "f:1:31: respond has no status: leave it out"),
        ("rules: [{deny: x, method: get}]", "f:1:27: methods are in capitals: did you mean GET?"),
        ("rules: [{deny: x, kind: blob}]", "f:1:25: unknown kind 'blob': did you mean 'blobs'?"),
        (
            "rules: [{deny: x, host: '*.example'}]",
            "f:1:25: '*.example' is no host: write one whole name or address, as in r.example",
        ),
        ("rules:\n  - {deny: x}\n  - {to: https://a.example}", UNREACHABLE),
        (
            "rules:\n  - {name: x, path: /a, deny: x}\n  - {name: x, path: /b, deny: x}",
            "f:3:12: the rule on line 2 is called 'x' too",
        ),
        (
            RULES + "tests: [{path: /v2/, rule: other}]",
            "f:2:28: this test fails: rule is rule-1, not other",
        ),
        (
            RULES + "tests: [{path: /v2/, location: https://b.example/v2/}]",
            "f:2:32: this test fails: location is https://a.example/v2/, not https://b.example/v2/",
        ),
        (
            RULES + "tests: [{path: /a/../b, status: 302}]",
            "f:2:33: this test fails: status is 400, not 302",
        ),
        (
            "registries: {a: {url: 'https://a.example', mode: relay, challenge: keep}}\n"
            "rules: [{to: a}]\ntests: [{path: /v2/, registry: a, status: 200}]",
            "f:3:43: this test fails: status is for the registry to say, not 200",
        ),
        (
            RULES + "tests: [{path: /}]",
            "f:2:9: a test needs an expectation: add one of rule, status, location, registry",
        ),
    ],
)
def test_one_fault(text: str, fault: str) -> None:
    assert faults(text) == [fault]


def test_the_lines_of_a_list_file_are_named_by_that_file() -> None:
    assert faults(RULES + "networks: {a: {file: bad.txt}}") == [
        "dir/bad.txt:2:3: '10.0.0.1/8' has host bits set: did you mean 10.0.0.0/8?",
        "dir/bad.txt:4:1: 'ten' is no IP address: write one as in 192.168.0.1 or 2001:db8::1, "
        "a CIDR as in 10.0.0.0/8, or a range as in 10.0.0.1-10.0.0.9",
    ]


MANY = """\
listen: [{port: 80}, {port: 80}, {prot: 80}]
networks: {office: 10.0.0.0/8, far: {file: none.txt}}
rules:
  - {client: ofice, to: nowhere}
  - {client: [office, far], to: https://a.example, stats: 302}
  - {name: all, client: office, to: https://a.example}
  - {client: 10.0.0.7, to: https://b.example}
  - {deny: x}
  - {kind: blobs, to: https://b.example}
tests: [{path: /v2/}, {path: v2, status: 200}]
foo: bar
rules: []
"""


def test_the_faults_of_every_stage_are_told_at_once() -> None:
    """A faulty rule does not hide that another is unreachable, nor a file that is missing."""
    assert faults(MANY) == [
        "f:1:22: an earlier entry listens on port 80 of this host too",
        "f:1:34: a listener needs a place: add one of port, socket, unix",
        "f:1:35: unknown key 'prot': did you mean 'port'?",
        "f:2:44: cannot read 'none.txt': No such file or directory",
        "f:4:14: unknown network 'ofice': did you mean 'office'?",
        "f:4:25: unknown registry 'nowhere'",
        "f:5:52: unknown key 'stats': did you mean 'status'?",
        "f:7:5: nothing can reach rule 'rule-4': 'all' on line 6 covers all its conditions",
        "f:9:5: nothing can reach rule 'rule-6': 'rule-5' on line 8 covers all its conditions",
        "f:10:9: a test needs an expectation: add one of rule, status, location, registry",
        "f:10:30: 'v2' is not a path: begin with /",
        "f:11:1: unknown key 'foo': known here are access_log, admin, clients, lane, limits, "
        "listen, networks, registries, rules, tests, token, watch, workers",
        "f:12:1: duplicate key 'rules': it stands on line 3 already",
    ]


def test_faults_are_told_although_no_rule_is_left() -> None:
    text = "listen: [{port: 1}, {port: 1}]\nnetworks: {x: {file: nope.txt}}\nrules: [{too: x}]"
    assert faults(text) == [
        "f:1:21: an earlier entry listens on port 1 of this host too",
        "f:2:22: cannot read 'nope.txt': No such file or directory",
        "f:3:9: a rule needs an outcome: add one of to, location, deny, respond",
        "f:3:10: unknown key 'too': did you mean 'to'?",
    ]


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ("head: 0s", "f:1:16: '0s' is not a sensible time here: at least 100ms"),
        ("idle: 1ms", "f:1:16: '1ms' is not a sensible time here: at least 100ms"),
        ("head_size: 0B", "f:1:21: '0B' is not a sensible size here: at least 1KiB"),
        (
            "head_size: 999999999GiB",
            "f:1:21: '999999999GiB' is not a sensible size here: at least 1KiB",
        ),
    ],
)
def test_limits_that_would_end_everything_are_faults(limits: str, told: str) -> None:
    assert faults(f"limits: {{{limits}}}\n{RULES}") == [told]


def test_one_unix_socket_has_one_path() -> None:
    assert faults(f"listen: [{{unix: a}}, {{unix: ./a}}]\n{RULES}") == [
        "f:1:21: an earlier entry listens on the socket 'a' too"
    ]
    assert faults(f"listen: [{{unix: /{'x' * 107}}}]\n{RULES}") == [
        "f:1:17: a Unix socket's path has at most 107 bytes"
    ]


def test_a_list_that_is_still_empty_is_no_fault() -> None:
    """An empty blocklist has nobody in it, which is not what another rule covers."""
    text = "networks: {blocked: {file: empty.txt}, office: 10.0.0.0/8}\nrules:\n"
    text += "  - {client: office, path: /v2/*, to: https://a.example}\n"
    text += "  - {client: blocked, path: /v2/*, to: https://b.example}\n"
    assert len(checked(text, FILES).rules.rules) == 2


def test_every_kind_is_everything() -> None:
    kinds = "[api, manifests, blobs, tags, referrers, uploads, other]"
    first = f"  - {{kind: {kinds}, to: https://a.example}}\n"
    assert faults(f"rules:\n{first}  - {{path: /x, to: https://b.example}}") == [UNREACHABLE]


def test_the_tests_and_the_daemon_see_a_user_agent_as_its_bytes() -> None:
    rules = checked(
        "rules: [{user_agent: '*é*', deny: x}, {to: https://a.example}]\n"
        "tests: [{path: /, user_agent: aéb, status: 403}]"
    ).rules
    lines = {b"user-agent": ["aéb".encode()], b"host": [b"h"]}
    response = respond(rules, "192.0.2.1", b"GET", b"/", lambda name: lines.get(name, []))
    assert answered(response.answer).status == 403


def test_tests_run_although_something_else_is_at_fault() -> None:
    """Only a fault in what decides would make a test's failure meaningless."""
    text = RULES + "listen: [{port: x}]\ntests: [{path: /, rule: other}, {path: /, rule: rule-1}]"
    assert faults(text) == [
        "f:2:17: 'x' is no port: write a number from 1 to 65535",
        "f:3:25: this test fails: rule is rule-1, not other",
    ]


def test_a_list_file_that_cannot_be_read_is_the_only_fault_of_who_uses_it() -> None:
    text = "clients: {trusted_proxies: a}\nnetworks: {a: {file: none.txt}}\n"
    assert faults(text + "rules: [{client: a, deny: x}]") == [
        "f:2:22: cannot read 'none.txt': No such file or directory"
    ]


def test_tests_do_not_run_on_rules_that_are_not_whole() -> None:
    text = "rules: [{client: x, to: https://a.example}, {deny: x}]\ntests: [{path: /, status: 302}]"
    assert faults(text) == ["f:1:18: unknown network 'x'"]


@pytest.mark.parametrize(
    "listen",
    [
        "[{port: 80}, {port: 81}]",
        "[{port: 80, host: 127.0.0.1}, {port: 80, host: '::1'}]",
        "[{port: 80, host: 127.0.0.1}, {port: 80, host: 127.0.0.2}]",
        "[{port: 80, host: 0.0.0.0}, {port: 80, host: '::1'}]",
    ],
)
def test_listeners_of_different_sockets_are_good(listen: str) -> None:
    assert checked(f"listen: {listen}\n{RULES}").rules.rules


@pytest.mark.parametrize(
    "listen",
    [
        "[{port: 80}, {port: 80}]",
        "[{port: 80, host: '::'}, {port: 80, host: 127.0.0.1}]",
        "[{port: 80, host: 127.0.0.1}, {port: 80, host: 0.0.0.0}]",
        "[{port: 80, host: '::1'}, {port: 80, host: '0:0::1'}]",
    ],
)
def test_listeners_of_one_socket_are_a_fault(listen: str) -> None:
    [fault] = faults(f"listen: {listen}\n{RULES}")
    assert "an earlier entry listens on port 80" in fault


@pytest.mark.parametrize(
    ("listen", "admin", "told"),
    [
        ("[{port: 80}]", "port: 80", "port 80 of this host"),
        ("[{port: 81}, {port: 80, host: '::'}]", "port: 80", "port 80 of this host"),
        ("[{port: 80, host: 0.0.0.0}]", "port: 80", "port 80 of this host"),
        ("[{port: 80, host: 127.0.0.1}]", "port: 80", "port 80 of this host"),
        ("[{port: 80, host: '::1'}]", "port: 80, host: '::1'", "port 80 of this host"),
        ("[{unix: ./a}]", "unix: a", "the socket 'a'"),
    ],
)
def test_the_admin_listener_has_a_place_of_its_own(listen: str, admin: str, told: str) -> None:
    column = len("admin: {") + admin.index(" ") + 2
    assert faults(f"listen: {listen}\nadmin: {{{admin}}}\n{RULES}") == [
        f"f:2:{column}: listen has {told} already: choose another"
    ]


def test_the_admin_listener_is_beside_the_default_listener() -> None:
    assert faults(f"admin: {{port: 10000}}\n{RULES}") == [
        "f:1:15: listen has port 10000 of this host already: choose another"
    ]


@pytest.mark.parametrize(
    ("admin", "is_warned"),
    [
        ("port: 9464", False),
        ("port: 9464, host: 127.0.0.2", False),
        ("port: 9464, host: '::1'", False),
        ("port: 9464, host: '::ffff:127.0.0.1'", False),
        ("unix: /run/a.sock", False),
        ("port: 9464, host: '::'", True),
        ("port: 9464, host: 0.0.0.0", True),
        ("port: 9464, host: 10.0.0.1", True),
    ],
)
def test_an_admin_listener_that_others_can_reach_is_a_warning(admin: str, is_warned: bool) -> None:
    warnings = [str(each) for each in checked(f"admin: {{{admin}}}\n{RULES}").warnings]
    told = (
        "rules.yaml:1:27: warning: reachable from other machines: whoever can connect sees rules "
        "and metrics; write 127.0.0.1 or ::1, unless a firewall stands before it"
    )
    assert warnings == [told] * is_warned


def test_a_rule_without_a_name_is_called_by_its_position() -> None:
    rules = checked("rules: [{name: a, path: /a, deny: x}, {deny: x}]").rules.rules
    assert [(rule.name, rule.line) for rule in rules] == [("a", 1), ("rule-2", 1)]
