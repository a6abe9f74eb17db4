"""From a configuration's text to a rule set that may take force, or every fault in it.

Pure but for `Files`, through which the caller reads the files that the configuration names.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address

from .answers import Answer, Relay
from .certificates import Certificate, join, read_chain, read_key
from .compile import Names, compile_rule, compile_rules, compile_table, rule_name
from .config.faults import Fault, Faulty
from .config.reading import read_config
from .config.schema import Config, FileNetwork, Listener, TestFields
from .config.source import Source, read
from .destinations import judge_terms, read_registries, warn_of_strangers
from .findings import Files, Findings
from .networks.ranges import Ranges
from .networks.spans import Span
from .networks.table import AddressTable
from .networks.text import parse_lines
from .reach import unreachable
from .registry import Registry
from .respond import respond_to
from .rules import Rule, RuleSet

# Of TEST-NET-1 (RFC 5737): an address that no rule names by accident.
NOBODY = IPv4Address("192.0.2.1")


@dataclass(frozen=True)
class Checked:
    """A configuration without a fault, and what it compiles to.

    `certificates` are those of each listener. `warnings` are no faults, but someone should know.
    `sha256` is that of the text, in hexadecimal.
    """

    config: Config
    networks: dict[str, Ranges]
    registries: dict[str, Registry]
    rules: RuleSet
    certificates: tuple[tuple[Certificate, ...], ...]
    warnings: tuple[Fault, ...]
    source: Source
    sha256: str
    checked_at: datetime


def check(text: str, file: str, files: Files, now: datetime) -> Checked:
    """Check a configuration whole; raises `Faulty` with all that is wrong.

    `now` judges whether a certificate is valid.
    """
    source, faults = read(text, file)
    reading, more = read_config(source)
    faults += more
    if reading is None:
        raise Faulty(faults)
    findings = Findings(reading, files)
    stages = _Stages(findings)
    networks = stages.read_networks()
    stages.compare_listeners()
    stages.look_at_admin()
    certificates = stages.read_certificates(now)
    registries = read_registries(findings)
    names = Names(networks, registries)
    rules = stages.compile(names)
    table = compile_table(reading.config, networks)
    stages.find_unreachable(rules, table)
    judge_terms(findings, rules, registries)
    if not findings.is_sound:
        raise Faulty([*faults, *findings.faults])
    rule_set = compile_rules(reading.config, rules, names, table)
    warn_of_strangers(findings, rule_set, certificates)
    stages.run_tests(rule_set)
    if faults or findings.faults:
        raise Faulty([*faults, *findings.faults])
    return Checked(
        config=reading.config,
        networks=networks,
        registries=registries,
        rules=rule_set,
        certificates=certificates,
        warnings=tuple(findings.warnings),
        source=source,
        sha256=sha256(text.encode()).hexdigest(),
        checked_at=now,
    )


class _Stages:
    """The checks that come after the form is read; what they find goes into `Findings`."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._reading = findings.reading
        self._config = findings.reading.config

    def read_networks(self) -> dict[str, Ranges]:
        """The addresses of each network; one whose file is faulty is left out."""
        networks = {}
        for name, network in self._config.networks.items():
            if isinstance(network, FileNetwork):
                spans = self._read_file(name, network.file)
            else:
                spans = list(network)
            if spans is not None:
                networks[name] = Ranges.of(spans)
        return networks

    def _read_file(self, name: str, file: str) -> list[Span] | None:
        place = ("networks", name, "file")
        text = self._findings.read(place, file, lambda content: content.decode("utf-8"))
        if text is not None:
            entries = list(parse_lines(text))
            faults = [
                Fault(self._findings.files.show(file), line, column, str(entry))
                for line, column, entry in entries
                if isinstance(entry, ValueError)
            ]
            if not faults:
                return [entry for _, _, entry in entries if isinstance(entry, Span)]
            self._findings.faults += faults
        self._findings.is_sound = False
        return None

    def compare_listeners(self) -> None:
        """Find listeners that want the same socket."""
        listeners = self._config.listen
        for position, listener in enumerate(listeners):
            for earlier in listeners[:position]:
                if _overlap(listener, earlier):
                    place = self._reading.place("listen", position)
                    self._findings.fault(
                        place, f"an earlier entry listens on {_describe(listener)} too"
                    )
                    break

    def look_at_admin(self) -> None:
        """Find a listener in the admin listener's place, and warn where it is not private."""
        admin = self._config.admin
        if admin is None:
            return
        key = "unix" if admin.port is None else "port"
        host = None if admin.port is None else admin.host
        place = Listener.model_construct(port=admin.port, host=host, unix=admin.unix)
        if any(_overlap(place, listener) for listener in self._config.listen):
            self._findings.fault(
                ("admin", key), f"listen has {_describe(place)} already: choose another"
            )
        if host is not None and not host.is_loopback:
            message = (
                "reachable from other machines: whoever can connect sees rules and "
                "metrics; write 127.0.0.1 or ::1, unless a firewall stands before it"
            )
            self._findings.warn(("admin", "host"), message)

    def read_certificates(self, now: datetime) -> tuple[tuple[Certificate, ...], ...]:
        """The certificates of each listener, with a warning for those that clients will mind."""
        return tuple(
            tuple(self._read_pairs(position, listener, now))
            for position, listener in enumerate(self._config.listen)
        )

    def _read_pairs(
        self, position: int, listener: Listener, now: datetime
    ) -> Iterator[Certificate]:
        for index, pair in enumerate(listener.tls.certificates if listener.tls else ()):
            place = (*self._reading.place("listen", position), "tls", "certificates", index)
            chain = self._findings.read((*place, "certificate"), pair.certificate, read_chain)
            key = self._findings.read((*place, "key"), pair.key, read_key)
            if chain is None or key is None:
                continue
            try:
                certificate = join(chain, key)
            except ValueError as error:
                self._findings.fault((*place, "key"), str(error))
                continue
            for warning in certificate.warnings(now):
                self._findings.warn((*place, "certificate"), warning)
            yield certificate

    def compile(self, names: Names) -> list[Rule]:
        """The rules that have a meaning, and faults for names that two of them have."""
        rules = []
        places: dict[str, int] = {}
        for position, fields in enumerate(self._config.rules):
            place = self._reading.place("rules", position)
            index, line = int(place[1]), self._reading.source.line(place)
            name = rule_name(fields, index)
            if name in places:
                self._findings.fault(
                    (*place, "name"), f"the rule on line {places[name]} is called '{name}' too"
                )
            places.setdefault(name, line)
            try:
                rules.append(compile_rule(fields, names, index, line))
            except KeyError:
                # It speaks of a name whose own fault has been reported.
                self._findings.is_sound = False
        return rules

    def find_unreachable(self, rules: list[Rule], table: AddressTable) -> None:
        """Find rules that can never decide."""
        for rule, earlier in unreachable(rules, table):
            self._findings.fault(
                ("rules", rule.position),
                f"nothing can reach rule '{rule.name}': '{earlier.name}' on line {earlier.line} "
                "covers all its conditions",
            )

    def run_tests(self, rules: RuleSet) -> None:
        """Run the configuration's own tests."""
        for position, test in enumerate(self._config.tests):
            for key, want, got in _unmet(test, answer_test(rules, test)):
                place = (*self._reading.place("tests", position), key)
                self._findings.fault(place, f"this test fails: {key} is {got}, not {want}")


def answer_test(rules: RuleSet, test: TestFields) -> Answer | Relay:
    """The answer to a test's request."""
    return respond_to(
        rules,
        test.client or NOBODY,
        test.method,
        test.path.encode(),
        test.host.encode(),
        test.user_agent,
    )


def _overlap(one: Listener, other: Listener) -> bool:
    if one.port is None or other.port is None:
        names = [(listener.socket, listener.unix) for listener in (one, other)]
        return names[0] == names[1] != (None, None)
    if one.port != other.port:
        return False
    hosts = [listener.host for listener in (one, other)]
    # A socket on :: takes IPv4 connections too.
    if any(host is None or host == IPv6Address("::") for host in hosts):
        return True
    wild = any(host == IPv4Address("0.0.0.0") for host in hosts)
    return hosts[0] == hosts[1] or (wild and all(isinstance(host, IPv4Address) for host in hosts))


def _describe(listener: Listener) -> str:
    if listener.port is not None:
        return f"port {listener.port} of this host"
    return f"the socket '{listener.socket or listener.unix}'"


def _unmet(test: TestFields, answer: Answer | Relay) -> list[tuple[str, object, object]]:
    """The expectations that an answer does not meet: which, what was wanted, what it is."""
    if isinstance(answer, Answer):
        status, location, nothing = answer.status, answer.location, "none"
    else:
        status, location, nothing = None, None, "for the registry to say"
    expectations = {
        "rule": (test.rule, answer.rule),
        "status": (test.status, status),
        "location": (test.location, location),
        "registry": (test.registry, answer.registry),
    }
    return [
        (key, want, nothing if got is None else got)
        for key, (want, got) in expectations.items()
        if want is not None and want != got
    ]
