"""The registries of a configuration: what their files hold, and what rules make of their terms."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from .certificates import Certificate, read_authorities
from .compile import compile_terms
from .conditions import ClientIn
from .config.registries import AccountFields
from .config.schema import Config
from .config.source import Location
from .config.urls import parse_registry
from .findings import Findings
from .networks.ranges import Ranges
from .networks.spans import Span
from .origins import normal_origin
from .owners import host_of, is_this_machine, owner
from .registry import Account, Mode, Registry, Visitors
from .rules import Rule, RuleSet, To, may_redirect

# Whoever has all addresses of one family is as good as everyone.
_ALL = (Ranges.of([Span(4, 0, 2**32 - 1)]), Ranges.of([Span(6, 0, 2**128 - 1)]))


def read_registries(findings: Findings) -> dict[str, Registry]:
    """The registries by their names; one whose files are faulty is left out."""
    registries = {}
    config = findings.reading.config
    login = {
        _origin(config.registries[name].url)
        for name in config.token.login
        if name in config.registries
    }
    for name, fields in config.registries.items():
        place = ("registries", name)
        auth: Visitors | Account | None = Visitors.CLIENT
        authorities: str | None = None
        if isinstance(fields.auth, AccountFields):
            auth = _read_account(findings, place, fields.auth)
        elif fields.auth is not None:
            auth = Visitors.ANONYMOUS
        if fields.ca is not None:
            authorities = findings.read((*place, "ca"), fields.ca, read_authorities)
        if auth is None or (fields.ca is not None and authorities is None):
            findings.is_sound = False
            continue
        # A password is for an origin: what else is there sees it in any case.
        takes_logins = not login or _origin(fields.url) in login
        terms = compile_terms(fields, auth, authorities, takes_logins=takes_logins)
        registries[name] = parse_registry(fields.url, name, terms)
    return registries


def _origin(url: str) -> str:
    return normal_origin(parse_registry(url, "").origin)


def _read_account(
    findings: Findings, registry: tuple[str, str], fields: AccountFields
) -> Account | None:
    place = (*registry, "auth", "password_file")
    password = findings.read(place, fields.password_file, _read_password)
    return None if password is None else Account(fields.username, password)


def _read_password(content: bytes) -> str:
    password = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    if not password or not password.isprintable():
        # What it holds stays out of the message.
        raise ValueError("it must hold the password on one line and nothing else")
    return password


def judge_terms(
    findings: Findings, rules: Iterable[Rule], registries: Mapping[str, Registry]
) -> None:
    """Find what does not go together in single rules, the terms of registries, and logins.

    Rules and registries may be those that are left where others are faulty.
    """
    reading = findings.reading
    with_status = {
        reading.place("rules", position)
        for position, fields in enumerate(reading.config.rules)
        if fields.status is not None
    }
    in_use: set[str] = set()
    for rule in rules:
        for registry in rule.outcome.candidates if isinstance(rule.outcome, To) else ():
            in_use.add(registry.name)
            if registry.name not in registries:
                _warn_of_prefix(findings, ("rules", rule.position, "to"), registry)
            if ("rules", rule.position) in with_status and not may_redirect(rule, registry):
                findings.fault(
                    ("rules", rule.position, "status"),
                    f"requests are relayed to '{registry.name}', and no redirect is there to have "
                    "this status: leave it out, or see the mode of the registry",
                )
            if isinstance(registry.terms.auth, Account):
                _judge_access(findings, rule, registry)
    for name, registry in registries.items():
        _warn_of_prefix(findings, ("registries", name, "url"), registry)
    _warn_of_plain_accounts(findings, registries.values())
    _judge_logins(findings, registries, in_use)


def warn_of_strangers(
    findings: Findings, rules: RuleSet, certificates: Iterable[Sequence[Certificate]]
) -> None:
    """Find who else may get to see what clients log in with here.

    `certificates` are those of each listener.
    """
    if rules.challenges:
        _warn_of_realms(findings)
    names = [name for served in certificates for each in served for name in each.names]
    _warn_of_other_owners(findings, rules, names)


def _judge_access(findings: Findings, rule: Rule, registry: Registry) -> None:
    """See that only those get at what an account may see who are meant to."""
    client = rule.conditions.by_key.get("client")
    if not isinstance(client, ClientIn):
        findings.fault(
            ("rules", rule.position),
            f"requests go to '{registry.name}' with an account: say in client who may have that",
        )
    elif any(client.ranges.contains(family) for family in _ALL):
        findings.warn(
            ("rules", rule.position, "client"),
            f"this is everyone, and requests go to '{registry.name}' with an account: name those "
            "who may have that",
        )


def _warn_of_prefix(findings: Findings, place: Location, registry: Registry) -> None:
    if registry.prefix.partition("/")[0] == "v2":
        findings.warn(
            place,
            f"requests go to {registry.origin}/v2/{registry.prefix}/…: leave v2 out, unless "
            "the names of its repositories begin with it",
        )


def _warn_of_plain_accounts(findings: Findings, registries: Iterable[Registry]) -> None:
    for registry in registries:
        is_plain = registry.origin.startswith("http://")
        if not is_plain or is_this_machine(host_of(registry.origin)):
            continue
        if isinstance(registry.terms.auth, Account):
            findings.warn(
                ("registries", registry.name, "url"),
                "the account's password is sent there for all on the way to read: write https",
            )


def _judge_logins(findings: Findings, registries: Mapping[str, Registry], in_use: Set[str]) -> None:
    for position, name in enumerate(findings.reading.config.token.login):
        if name not in registries:
            # Its own fault has been reported.
            continue
        terms = registries[name].terms
        if terms.mode is Mode.REDIRECT:
            why = "clients are redirected there, and log in there themselves"
        elif terms.keeps_challenge:
            why = "it has challenge: keep, and clients log in there themselves"
        elif terms.auth is not Visitors.CLIENT:
            why = "it has auth, and nobody needs to log in there"
        else:
            if name not in in_use:
                findings.warn(
                    ("token", "login", position),
                    f"no login is tried at '{name}': no rule sends anybody to it",
                )
            continue
        findings.fault(("token", "login", position), f"no login is tried at '{name}': {why}")


def _warn_of_realms(findings: Findings) -> None:
    """See that clients are sent for tokens to where nobody can listen to them."""
    config = findings.reading.config
    if config.token.realm is None:
        for position, listener in enumerate(config.listen):
            if listener.tls is None:
                place = ("listen", position)
                findings.warn(
                    findings.reading.place(*place) if "listen" in findings.reading.kept else place,
                    "clients of this listener are sent for tokens, with their passwords, to the "
                    "host that they have asked for, by http, unless a trusted proxy says https: "
                    "write token: {realm: https://…/token}",
                )
    elif config.token.realm.startswith("http://") and any(each.tls for each in config.listen):
        findings.warn(
            ("token", "realm"),
            "clients that speak TLS here are sent to plain HTTP with their passwords: write https",
        )


def _warn_of_other_owners(findings: Findings, rules: RuleSet, names: Iterable[str]) -> None:
    """Find where docker would take what clients log in with here: it sends what it has stored for
    this front to wherever it is redirected.

    `names` are those of certificates, which are the front's.
    """
    hosts = [
        host_of(registry.origin)
        for registry in rules.registries
        if registry.terms.challenges and registry.terms.auth is Visitors.CLIENT
    ]
    if not hosts:
        return
    owners = {owner(host) for host in (*hosts, *_fronts(findings.reading.config, names))}
    told: set[str] = set()
    for rule in rules.rules:
        for registry in rule.outcome.candidates if isinstance(rule.outcome, To) else ():
            host = host_of(registry.origin)
            if registry.terms.mode is Mode.REDIRECT and owner(host) not in owners | told:
                told.add(owner(host))
                findings.warn(
                    ("rules", rule.position, "to"),
                    "clients log in here, and docker sends what it has stored for this name to "
                    f"where it is redirected: '{host}' is another owner's; relay it too, or serve "
                    "it by another name",
                )


def _fronts(config: Config, names: Iterable[str]) -> Iterator[str]:
    """The names that this front is known by."""
    if config.token.realm is not None:
        yield host_of(config.token.realm)
    for name in names:
        yield name.removeprefix("*.")
    for rule in config.rules:
        yield from rule.host
