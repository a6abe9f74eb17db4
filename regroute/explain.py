"""Why a request gets the answer that it gets: the decision, told for people and programs."""

from dataclasses import dataclass
from typing import Any

from .answers import Answer, Relay
from .check import Checked
from .networks.spans import Address
from .respond import respond_to
from .rules import Rule


@dataclass(frozen=True)
class Explanation:
    """One request's decision. `networks` are the named ones that hold the client."""

    client: Address
    networks: tuple[str, ...]
    rule: Rule | None
    file: str
    answer: Answer | Relay

    def as_json(self) -> dict[str, Any]:
        """What programs read."""
        rule = self.rule and {"name": self.rule.name, "file": self.file, "line": self.rule.line}
        answer = self.answer
        known = {
            "client": str(self.client),
            "networks": list(self.networks),
            "rule": rule,
            "registry": answer.registry,
        }
        if isinstance(answer, Relay):
            # Its answer is the registry's to give.
            return {**known, "status": None, "location": None, "headers": {}, "relay": answer.url}
        fields = {name.decode("ascii"): value.decode("ascii") for name, value in answer.fields}
        return {
            **known,
            "status": answer.status,
            "location": answer.location,
            "headers": fields,
        }

    def as_text(self) -> str:
        """What people read."""
        rule = f"{self.rule.name} ({self.file}:{self.rule.line})" if self.rule else "none"
        lines = [
            f"client    {self.client}",
            f"networks  {', '.join(self.networks) or 'none'}",
            f"rule      {rule}",
        ]
        if isinstance(self.answer, Relay):
            relay = f"relay     {self.answer.url}"
            return "\n".join([*lines, f"registry  {self.answer.registry}", relay])
        lines.append(f"status    {self.answer.status}")
        if self.answer.registry is not None:
            lines.append(f"registry  {self.answer.registry}")
        if self.answer.location is not None:
            lines.append(f"location  {self.answer.location}")
        else:
            lines.append(f"body      {self.answer.body.decode().strip()}")
        return "\n".join(lines)


def explain(
    checked: Checked,
    file: str,
    client: Address,
    method: str,
    target: bytes,
    host: bytes,
    user_agent: str,
) -> Explanation:
    """Decide about a request as the daemon would; `file` is the configuration's name."""
    answer = respond_to(checked.rules, client, method, target, host, user_agent)
    here = checked.rules.networks.lookup(client)
    return Explanation(
        client=client,
        networks=tuple(name for name in checked.networks if name in here),
        rule=next((rule for rule in checked.rules.rules if rule.name == answer.rule), None),
        file=file,
        answer=answer,
    )
