"""Why a request gets the answer that it gets: the decision, told for people and programs."""

from collections.abc import Set
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from .answers import Answer, Reason, Relay
from .check import Checked
from .networks.spans import Address
from .registry import Mode
from .relay.rewrite.names import Names
from .relay.token.front import token_path
from .respond import registry_of, respond_to
from .rules import Rule
from .target import visible_path, without_authority

# Why a request is refused that no rule has been found for, and that is well-formed.
_UNRULED = (None, Reason.NO_RULE, Reason.METHOD)


@dataclass(frozen=True)
class Explanation:
    """One request's decision. `networks` are the named ones that hold the client.

    `answer` is None for the token endpoint, whose answer depends on more than this. `if_open` is
    the answer in the place of a relay as soon as the registry is known to ask nobody for
    credentials, if that makes a difference.
    """

    client: Address
    networks: tuple[str, ...]
    rule: Rule | None
    file: str
    answer: Answer | Relay | None
    if_open: Answer | None = None

    def as_json(self) -> dict[str, Any]:
        """What programs read."""
        rule = self.rule and {"name": self.rule.name, "file": self.file, "line": self.rule.line}
        told: dict[str, Any] = {
            "client": str(self.client),
            "networks": list(self.networks),
            "rule": rule,
            "registry": None if self.answer is None else self.answer.registry,
            # An answer that is not ours to give is not known.
            "status": None,
            "location": None,
            "headers": {},
        }
        match self.answer:
            case None:
                return {**told, "token": True}
            case Relay(url=url):
                if_open = self.if_open and {
                    "status": self.if_open.status,
                    "location": self.if_open.location,
                }
                return {**told, "relay": url, "if_open": if_open}
            case Answer(status=status, location=location, fields=fields):
                headers = {name.decode("ascii"): value.decode("ascii") for name, value in fields}
                return {**told, "status": status, "location": location, "headers": headers}

    def as_text(self) -> str:
        """What people read."""
        rule = f"{self.rule.name} ({self.file}:{self.rule.line})" if self.rule else "none"
        lines = [
            f"client    {self.client}",
            f"networks  {', '.join(self.networks) or 'none'}",
            f"rule      {rule}",
        ]
        match self.answer:
            case None:
                lines.append("token     clients get their tokens here")
            case Relay(registry=registry, url=url):
                lines += [f"registry  {registry}", f"relay     {url}"]
                if self.if_open is not None:
                    lines.append(f"if open   {self.if_open.status} {self.if_open.location}")
            case Answer(status=status, registry=registry, location=location, body=body):
                lines.append(f"status    {status}")
                if registry is not None:
                    lines.append(f"registry  {registry}")
                if location is not None:
                    lines.append(f"location  {location}")
                else:
                    lines.append(f"body      {body.decode().strip()}")
        return "\n".join(lines)


def explain(
    checked: Checked,
    file: str,
    client: Address,
    method: str,
    target: bytes,
    host: bytes,
    user_agent: str,
    known_open: Set[str] = frozenset(),
) -> Explanation:
    """Decide about a request as the daemon would; `file` is the configuration's name.

    `known_open` are the origins of the registries that are known to ask nobody for credentials.
    """

    def answered(origins: Set[str]) -> Answer | Relay:
        rules = replace(checked.rules, open=frozenset(origins))
        return respond_to(rules, client, method, target, host, user_agent)

    def is_at(registry: str, repository: str) -> bool:
        return registry_of(checked.rules, client, repository, host, user_agent) == registry

    here = checked.rules.networks.lookup(client)
    networks = tuple(name for name in checked.networks if name in here)
    answer = answered(known_open)
    if _asks_for_tokens(checked, target, answer):
        return Explanation(client, networks, None, file, None)
    if_open = None
    if isinstance(answer, Relay) and answer.to.terms.mode is Mode.AUTO:
        found = answered({*known_open, answer.to.origin})
        if_open = found if isinstance(found, Answer) else None
    if isinstance(answer, Relay):
        # Names in the query become the registry's on the way.
        asked = Names.of(answer).asking(partial(is_at, answer.registry))
        answer = replace(answer, target=asked)
    rule = next((each for each in checked.rules.rules if each.name == answer.rule), None)
    return Explanation(client, networks, rule, file, answer, if_open)


def _asks_for_tokens(checked: Checked, target: bytes, answer: Answer | Relay) -> bool:
    """Whether it is a request to the token endpoint, which comes before all rules."""
    if not checked.rules.challenges or (
        isinstance(answer, Answer) and answer.reason not in _UNRULED
    ):
        return False
    return visible_path(without_authority(target)) == token_path(checked.config.token.realm)
