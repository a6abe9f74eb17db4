"""A world of registries in memory, which watches where credentials go."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qsl, unquote

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from regroute.origins import normal_origin
from regroute.relay.token.tokens import unwrap, unwrap_refresh
from regroute.relay.upstream.ask import Question, Reply, Unreachable

T = TypeVar("T")

FORM = b"application/x-www-form-urlencoded"


def now(deferred: Deferred[T]) -> T:
    """What a Deferred has come to; raises what it has failed with."""
    found: list[T | Failure] = []
    deferred.addBoth(found.append)
    assert found, "there is no result yet"
    if isinstance(found[0], Failure):
        assert found[0].value is not None
        raise found[0].value
    return found[0]


def is_waiting(deferred: Deferred[T]) -> bool:
    """Whether a Deferred has no result yet."""
    return not deferred.called


class World:
    """Answers questions by who is at an origin; nobody is at any other.

    `secrets` says of each secret which origins it may be shown to. Every question is searched for
    all of them, however they are written. A question about an origin in `held` waits.
    """

    def __init__(self, secrets: Mapping[str, Collection[str]]) -> None:
        self.questions: list[Question] = []
        self.held: dict[str, list[tuple[Question, Deferred[Reply]]]] = {}
        self.cancelled: list[Question] = []
        self._secrets = secrets
        self._places: dict[str, Callable[[Question], Reply]] = {}

    def put(self, origin: str, place: Callable[[Question], Reply]) -> None:
        """Let someone be at an origin, in the place of who was there."""
        self._places[origin] = place

    def ask(self, question: Question) -> Deferred[Reply]:
        """What the code under test asks with."""
        self.questions.append(question)
        self._watch(question)
        if question.origin in self.held:
            waiting: Deferred[Reply] = Deferred(lambda gone: self.cancelled.append(question))
            self.held[question.origin].append((question, waiting))
            return waiting
        try:
            return succeed(self._reply(question))
        except Unreachable as unreachable:
            return fail(unreachable)

    def release(self, origin: str) -> None:
        """Answer the questions that wait, and those to come."""
        for question, waiting in self.held.pop(origin):
            try:
                waiting.callback(self._reply(question))
            except Unreachable as unreachable:
                waiting.errback(unreachable)

    def asked(self, origin: str) -> list[str]:
        """The method, and the target in words, of each question that an origin was asked."""
        return [
            f"{question.method.decode()} {unquote(question.target.decode())}"
            for question in self.questions
            if question.origin == origin
        ]

    def _reply(self, question: Question) -> Reply:
        place = self._places.get(question.origin)
        if place is None:
            raise Unreachable(504, "nobody is there")
        return place(question)

    def _watch(self, question: Question) -> None:
        assert normal_origin(question.origin) == question.origin
        assert question.target.startswith(b"/")
        assert all(name == name.lower() for name, _ in question.fields)
        sent = "\n".join(_readings(question))
        for secret, places in self._secrets.items():
            assert secret not in sent or question.origin in places, f"{secret} at {question.origin}"
            assert secret not in repr(question)
            assert secret.encode() not in question.target, "targets are logged"


def _readings(question: Question) -> list[str]:
    """All that can be read in a question, whatever it is wrapped in."""
    texts = [question.target.decode(), question.body.decode(), unquote(question.body.decode())]
    for _, value in question.fields:
        text = value.decode()
        texts.append(text)
        scheme, _, rest = text.partition(" ")
        if scheme == "Basic":
            texts.append(b64decode(rest).decode())
    for text in texts[:]:
        for word in text.replace("=", " ").replace("&", " ").split():
            for found in (unwrap(word), unwrap_refresh(word)):
                texts += [] if found is None else [str(vars(found))]
    return texts


def authorization_of(question: Question) -> str | None:
    """The one ``Authorization`` of a question."""
    found = [value.decode() for name, value in question.fields if name == b"authorization"]
    assert len(found) < 2
    return found[0] if found else None


def basic_of(username: str, password: str) -> str:
    """An ``Authorization`` value."""
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode()


def open_registry(question: Question) -> Reply:
    """A registry that asks nobody who he is."""
    assert question.target == b"/v2/"
    assert authorization_of(question) is None
    return Reply(200)


@dataclass
class BasicRegistry:
    """A registry that wants a password with each request."""

    users: Mapping[str, str]

    def __call__(self, question: Question) -> Reply:
        assert (question.method, question.target) == (b"GET", b"/v2/")
        if authorization_of(question) in [basic_of(*user) for user in self.users.items()]:
            return Reply(200)
        return Reply(401, ((b"www-authenticate", b'Basic realm="x"'),))


@dataclass
class TokenRegistry:
    """A registry that wants a token of its realm, which grants users all and others `public`.

    A token says whose it is and what for: ``token-USER-SCOPES``. `life` is what the realm says of
    it; where it is None, nothing.
    """

    realm: str
    service: str
    users: Mapping[str, str] = field(default_factory=dict)
    public: bool = True
    life: object = 300

    def __call__(self, question: Question) -> Reply:
        """The registry's answer to its API check."""
        assert (question.method, question.target) == (b"GET", b"/v2/")
        assert authorization_of(question) is None
        line = f'Bearer realm="{self.realm}",service="{self.service}"'
        return Reply(401, ((b"www-authenticate", line.encode()),))

    def grant(self, question: Question) -> Reply:
        """The realm's answer."""
        query = question.target.decode().partition("?")[2]
        parameters = parse_qsl(query, strict_parsing=bool(query))
        if question.method == b"POST":
            assert dict(question.fields)[b"content-type"] == FORM
            parameters = parse_qsl(question.body.decode(), strict_parsing=True)
        values = dict(parameters)
        assert values["service"] == self.service
        scopes = " ".join(value for name, value in parameters if name == "scope")
        user = self._user(question, values)
        if user is None:
            return Reply(401)
        if question.method == b"POST" and user == "revoked":
            return Reply(400, (), b'{"error":"invalid_grant"}')
        document: dict[str, object] = {"token": f"token-{user}-{scopes}".replace(" ", "+")}
        document["issued_at"] = "2026-11-24T12:00:00Z"
        if self.life is not None:
            document["expires_in"] = self.life
        if values.get("offline_token") == "true":
            document["refresh_token"] = f"refresh-{user}"
        return Reply(200, (), json.dumps(document).encode())

    def _user(self, question: Question, values: Mapping[str, str]) -> str | None:
        if question.method == b"POST":
            assert values["grant_type"] == "refresh_token"
            user = values["refresh_token"].removeprefix("refresh-")
            return user if user in self.users or user == "revoked" else None
        authorization = authorization_of(question)
        if authorization is None:
            assert "account" not in values
            return "nobody" if self.public else None
        for user, password in self.users.items():
            if authorization == basic_of(user, password):
                assert values["account"] == user
                return user
        return None
