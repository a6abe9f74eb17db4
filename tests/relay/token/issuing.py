"""A token endpoint before a world of registries of every kind of auth."""

import json
from collections.abc import Collection, Sequence
from ipaddress import IPv4Address
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from regroute.answers import Answer
from regroute.registry import Registry
from regroute.relay.token.endpoint import Caller, Endpoint
from regroute.relay.token.learn import Learn
from regroute.relay.token.tokens import FrontToken, unwrap
from regroute.relay.upstream.ask import Question, Reply, Unreachable

from ...making import checked
from .asking import (
    FORM,
    BasicRegistry,
    TokenRegistry,
    World,
    authorization_of,
    now,
    open_registry,
)

HUB, GHCR, VAULT = "https://hub.example", "https://ghcr.example", "https://vault.example"
OPEN, OURS, PLAIN = "https://open.example", "https://ours.example", "https://plain.example"
HUB_AUTH, GHCR_AUTH = "https://auth.hub.example", "https://ghcr.example"

ALICE, BOB, CAROL = "al1ce-secret", "b0b-secret", "car0l-secret"
"""Passwords: Alice's account is at hub, Bob's at the vault, Carol's at ghcr."""

RULES = """
registries:
  hub: {url: "https://hub.example/library", mode: relay}
  ghcr: {url: "https://ghcr.example", mode: relay}
  vault: {url: "https://vault.example", mode: relay}
  open: {url: "https://open.example", mode: relay}
  ours: {url: "https://ours.example", mode: relay, auth: {username: bot, password_file: pw}}
rules:
  - {name: secret, repository: "secret/**", deny: "not for you"}
  - {method: [GET, PUT, POST], repository: "ghcr/**", to: ghcr}
  - {repository: "vault/**", to: vault}
  - {repository: "open/**", to: open}
  - {client: 192.0.2.1, repository: "ours/**", to: ours}
  - {repository: "plain/**", to: "https://plain.example"}
  - {namespace: ghcr.example, to: ghcr}
  - {to: hub}
"""


class Bed:
    """An endpoint, and who may see which password: everyone who does not is watched."""

    def __init__(self, secrets: dict[str, Collection[str]] | None = None) -> None:
        everywhere = {HUB_AUTH, GHCR_AUTH, VAULT}
        self.world = World(secrets or dict.fromkeys((ALICE, BOB, CAROL, "0ther"), everywhere))
        self.hub = TokenRegistry(f"{HUB_AUTH}/token", "hub & co", {"alice": ALICE})
        self.ghcr = TokenRegistry(f"{GHCR_AUTH}/token", "ghcr", {"carol": CAROL}, public=False)
        self.world.put(HUB, self.hub)
        self.world.put(HUB_AUTH, self.hub.grant)
        self.world.put(GHCR, self._ghcr)
        self.world.put(VAULT, BasicRegistry({"bob": BOB}))
        self.world.put(OPEN, open_registry)
        self.clock = Clock()
        self.learn = Learn(self.world.ask, self.clock, lambda found: None)
        self.use(RULES)
        self.told: list[tuple[str, int]] = []
        self.endpoint = Endpoint(self.world.ask, self.learn, self._tell)

    def _tell(self, registry: Registry, why: Unreachable) -> None:
        """Keep of which registry there was no word, by its name, and the status that told so."""
        self.told.append((registry.name, why.status))

    def _ghcr(self, question: Question) -> Reply:
        """One that has its realm at its own origin."""
        return self.ghcr(question) if question.target == b"/v2/" else self.ghcr.grant(question)

    def use(self, text: str, login: Sequence[str] = ()) -> None:
        """Go by these rules."""
        if login:
            text = f"token: {{login: [{', '.join(login)}]}}\n{text}"
        self.rules = checked(text, {"pw": b"b0t-secret"}).rules
        self.login = login
        self.learn.follow(self.rules.registries)

    def begin(
        self,
        query: str = "",
        authorization: str | None = None,
        form: dict[str, str] | None = None,
        method: str | None = None,
        host: str = "front.example",
    ) -> Deferred[Answer]:
        fields = {b"host": [host.encode()], b"user-agent": [b"docker/20"]}
        if authorization is not None:
            fields[b"authorization"] = [authorization.encode()]
        body = b""
        if form is not None:
            fields[b"content-type"] = [FORM]
            body = urlencode(form).encode()
        caller = Caller(
            IPv4Address("192.0.2.1"),
            method or ("GET" if form is None else "POST"),
            f"/token?{query}".encode(),
            lambda name: fields.get(name, []),
            body,
        )
        return self.endpoint.answer(self.rules, self.login, caller)

    def ask(self, *args: Any, **more: Any) -> Answer:
        return now(self.begin(*args, **more))

    def grant(self, *args: Any, **more: Any) -> dict[str, Any]:
        """What comes with a token that is given."""
        answer = self.ask(*args, **more)
        assert answer.status == 200, answer.body
        fields = dict(answer.fields)
        assert fields[b"Cache-Control"] == b"private, no-store"
        assert fields[b"Content-Type"] == b"application/json"
        document: dict[str, Any] = json.loads(answer.body)
        assert document["token"] == document["access_token"]
        return document

    def token(self, *args: Any, **more: Any) -> FrontToken:
        """The token that is given."""
        token = unwrap(self.grant(*args, **more)["token"])
        assert token is not None
        return token

    def refusal(self, *args: Any, **more: Any) -> tuple[int, str]:
        """The status and message of a refusal."""
        answer = self.ask(*args, **more)
        [error] = json.loads(answer.body)["errors"]
        secrets = (ALICE, BOB, CAROL, "0ther", "b0t-secret")
        assert not any(secret in error["message"] for secret in secrets)
        challenges = dict(answer.fields).get(b"WWW-Authenticate")
        assert (challenges is not None) == (answer.status == 401), "RFC 9110 §15.5.2"
        return answer.status, error["message"]

    def credentials(self) -> list[tuple[str, str]]:
        """Where a password has been shown, in this order, and which."""
        found = ((each.origin, authorization_of(each)) for each in self.world.questions)
        return [(origin, shown) for origin, shown in found if shown is not None]
