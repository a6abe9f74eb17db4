"""A token server, as Docker Hub and GHCR have one: who may do what, in a signed token.

https://distribution.github.io/distribution/spec/auth/token/ (GET) and …/spec/auth/oauth/ (POST)."""

import base64
import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from twisted.web.resource import Resource
from twisted.web.server import Request

from .capture import body
from .settings import TokenSettings

_LIFETIME = 300
"""How long a token is good for, in seconds."""

_SCOPE = re.compile(r"repository:(?P<name>[^:]+):(?P<actions>[a-z,*]+)")


class Wrong(Exception):
    """Somebody has said who they are and is not; the message says in what way."""


@dataclass(frozen=True)
class Grant:
    """What somebody may do: the actions by repository. `user` is empty for nobody in particular."""

    user: str
    access: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Door:
    """Decides who gets what. It knows users by their passwords and by tokens of its own."""

    service: str
    users: Mapping[str, str]
    public: bool
    refresh_tokens: dict[str, str]

    def by_password(self, user: str, password: str) -> str:
        """The user, if this is the password; Wrong if it is not."""
        if self.users.get(user) != password:
            raise Wrong("incorrect username or password")
        return user

    def by_refresh_token(self, token: str) -> str:
        """The user who was given the refresh token; Wrong if nobody was."""
        if token not in self.refresh_tokens:
            raise Wrong("no such refresh token")
        return self.refresh_tokens[token]

    def new_refresh_token(self, user: str) -> str:
        token = f"refresh-{self.service}-{secrets.token_hex(8)}"
        self.refresh_tokens[token] = user
        return token

    def grant(self, user: str, scopes: Sequence[str]) -> Grant:
        """Of what is asked for as much as the user may; that may be nothing, as at Docker Hub."""
        access: dict[str, Sequence[str]] = {}
        for found in filter(None, map(_SCOPE.fullmatch, scopes)):
            asked = found["actions"].split(",")
            allowed = asked if user else [each for each in asked if each == "pull" and self.public]
            access[found["name"]] = allowed
        return Grant(user, access)


@dataclass(frozen=True)
class Seal:
    """Signs tokens that a docker-registry believes which trusts the certificate."""

    service: str
    key: RSAPrivateKey
    certificate: str

    def token(self, grant: Grant) -> str:
        """A JSON Web Token (RFC 7519), signed by RS256."""
        now = int(time.time())
        head = {"typ": "JWT", "alg": "RS256", "x5c": [self.certificate]}
        claims = {
            "iss": f"the token server of {self.service}",
            "sub": grant.user,
            "aud": self.service,
            "iat": now,
            "nbf": now - 10,
            "exp": now + _LIFETIME,
            "jti": secrets.token_hex(8),
            "access": [
                {"type": "repository", "name": name, "actions": list(actions)}
                for name, actions in grant.access.items()
            ],
        }
        signed = b".".join(_base64url(json.dumps(part).encode()) for part in (head, claims))
        signature = self.key.sign(signed, PKCS1v15(), hashes.SHA256())
        return b".".join((signed, _base64url(signature))).decode()


class TokenServer(Resource):
    """The token endpoint at /token: GET with or without Basic, POST with a password or a token."""

    isLeaf = True

    def __init__(self, settings: TokenSettings) -> None:
        Resource.__init__(self)
        key = serialization.load_pem_private_key(Path(settings.key).read_bytes(), None)
        if not isinstance(key, RSAPrivateKey):
            raise TypeError("RS256 needs an RSA key")
        lines = Path(settings.certificate).read_text().splitlines()
        self._seal = Seal(settings.service, key, "".join(lines[1:-1]))
        self._door = Door(settings.service, settings.users, settings.public, {})

    def render(self, request: Request) -> bytes:
        try:
            status, answer = self._answer(request)
        except Wrong as wrong:
            status = 401
            answer = {"errors": [{"code": "UNAUTHORIZED", "message": str(wrong)}]}
        request.setResponseCode(status)
        request.setHeader("content-type", "application/json")
        return json.dumps(answer).encode()

    def _answer(self, request: Request) -> tuple[int, dict[str, object]]:
        if request.path != b"/token":
            return 404, {}
        if request.method == b"GET":
            return 200, self._by_get(request)
        if request.method == b"POST":
            return 200, self._by_post(request)
        return 405, {}

    def _by_get(self, request: Request) -> dict[str, object]:
        asked = _parameters(request.uri.partition(b"?")[2])
        self._check_service(asked)
        user = ""
        if request.getHeader("authorization") is not None:
            user = self._door.by_password(
                request.getUser().decode(), request.getPassword().decode()
            )
        grant = self._door.grant(user, asked.get("scope", []))
        token = self._seal.token(grant)
        answer: dict[str, object] = {
            "token": token,
            "access_token": token,
            "expires_in": _LIFETIME,
            "issued_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        if user and asked.get("offline_token") == ["true"]:
            answer["refresh_token"] = self._door.new_refresh_token(user)
        return answer

    def _by_post(self, request: Request) -> dict[str, object]:
        asked = _parameters(body(request))
        self._check_service(asked)
        one = {key: values[0] for key, values in asked.items()}
        refresh = one.get("refresh_token", "")
        if one.get("grant_type") == "refresh_token":
            user = self._door.by_refresh_token(refresh)
        else:
            user = self._door.by_password(one.get("username", ""), one.get("password", ""))
        # Here several scopes are one parameter, apart by spaces.
        scopes = [scope for value in asked.get("scope", []) for scope in value.split(" ")]
        answer: dict[str, object] = {
            "access_token": self._seal.token(self._door.grant(user, scopes)),
            "scope": " ".join(scopes),
            "expires_in": _LIFETIME,
        }
        if one.get("access_type") == "offline":
            answer["refresh_token"] = refresh or self._door.new_refresh_token(user)
        return answer

    def _check_service(self, asked: Mapping[str, Sequence[str]]) -> None:
        if asked.get("service") != [self._seal.service]:
            raise Wrong(f"this is for {self._seal.service}, not for {asked.get('service')}")


def _parameters(encoded: bytes) -> dict[str, list[str]]:
    asked: dict[str, list[str]] = {}
    for key, value in parse_qsl(encoded.decode()):
        asked.setdefault(key, []).append(value)
    return asked


def _base64url(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")
