"""What a registry, a token server or a storage was asked, and whom it was told."""

import base64
import json
import re
from dataclasses import dataclass
from urllib.parse import parse_qs


@dataclass(frozen=True)
class Asked:
    """One request, as it came in: the names are those of its fields."""

    client: str
    host: str
    method: str
    target: str
    authorization: str | None
    cookie: str | None
    forwarded: str | None
    user_agent: str | None
    form: str | None

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def passwords(self) -> set[tuple[str, str]]:
        """Each user with the password that the request gives for them, in whatever way."""
        found = set()
        scheme, _, value = (self.authorization or "").partition(" ")
        if scheme.lower() == "basic":
            user, _, password = base64.b64decode(value).decode().partition(":")
            found.add((user, password))
        given = parse_qs(self.form or "")
        if "password" in given:
            found.add((given["username"][0], given["password"][0]))
        return found

    @property
    def bearer(self) -> str | None:
        """The token that the request brings."""
        scheme, _, value = (self.authorization or "").partition(" ")
        return value if scheme.lower() == "bearer" else None

    @property
    def refresh_token(self) -> str | None:
        given = parse_qs(self.form or "").get("refresh_token")
        return given[0] if given else None


def audience(token: str) -> str | None:
    """The registry that a JSON Web Token is for; None for what is none."""
    if not re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", token):
        return None
    claims = token.split(".")[1]
    padded = claims + "=" * (-len(claims) % 4)
    told: str = json.loads(base64.urlsafe_b64decode(padded))["aud"]
    return told
