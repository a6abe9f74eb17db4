"""Challenges: what an answer says about the credentials that it wants (RFC 9110 §11).

One field line may hold several challenges, and several lines may come. A comma parts challenges and
the parameters of one alike; what follows it tells which.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_BLANK = r"[ \t]*"
# What ends an element of a list, without being part of it.
_END = rf"(?={_BLANK}(?:,|\Z))"

_BETWEEN = re.compile(r"[ \t,]*")
_SCHEME = re.compile(rf"({_TOKEN})(?:{_END}| +)")
_PARAMETER = re.compile(rf"({_TOKEN}){_BLANK}={_BLANK}({_TOKEN}|{_QUOTED}){_END}")
_TOKEN68 = re.compile(rf"([A-Za-z0-9._~+/-]+=*){_END}")
_PAIR = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True)
class Challenge:
    """One challenge: its scheme and the names of its parameters are in lower case.

    It has parameters, or one `token68`, or neither. Texts are bytes as Latin-1.
    """

    scheme: str
    parameters: tuple[tuple[str, str], ...] = ()
    token68: str | None = None

    def get(self, name: str) -> str | None:
        """The value of a parameter."""
        return dict(self.parameters).get(name)

    def __str__(self) -> str:
        """The field value that says it; its texts have no control characters."""
        if self.token68 is not None:
            return f"{self.scheme.title()} {self.token68}"
        pairs = ",".join(f"{name}={_quoted(text)}" for name, text in self.parameters)
        return f"{self.scheme.title()} {pairs}".rstrip(" ")


def parse_challenges(lines: Iterable[bytes]) -> tuple[Challenge, ...]:
    """The challenges of all lines of a ``WWW-Authenticate`` field.

    A line that is malformed anywhere has none: whoever wrote it meant something that others may
    read in another way.
    """
    found: list[Challenge] = []
    for line in lines:
        try:
            found += _read_line(line.decode("latin-1"))
        except ValueError:
            continue
    return tuple(found)


def _read_line(text: str) -> list[Challenge]:
    found: list[Challenge] = []
    at = _skip(text, 0)
    while at < len(text):
        challenge, at = _read_challenge(text, at)
        found.append(challenge)
    return found


def _skip(text: str, at: int) -> int:
    """Where the next element begins; empty ones do not count (RFC 9110 §5.6.1)."""
    match = _BETWEEN.match(text, at)
    assert match is not None
    return match.end()


def _read_challenge(text: str, at: int) -> tuple[Challenge, int]:
    """The challenge that begins here, and where the next one does; raises `ValueError`."""
    scheme = _SCHEME.match(text, at)
    if scheme is None:
        raise ValueError("a scheme is due")
    name, at = scheme[1].lower(), scheme.end()
    if at == scheme.end(1):
        return Challenge(name), _skip(text, at)
    parameters: dict[str, str] = {}
    while parameter := _PARAMETER.match(text, at):
        key, value = parameter[1].lower(), parameter[2]
        if key in parameters:
            raise ValueError("a parameter is given twice")
        parameters[key] = _unquoted(value)
        at = _skip(text, parameter.end())
    if parameters:
        return Challenge(name, tuple(parameters.items())), at
    token68 = _TOKEN68.match(text, at)
    if token68 is None:
        raise ValueError("parameters are due")
    return Challenge(name, token68=token68[1]), _skip(text, token68.end())


def _quoted(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _unquoted(value: str) -> str:
    return _PAIR.sub(r"\1", value[1:-1]) if value.startswith('"') else value
