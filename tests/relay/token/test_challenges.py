"""Challenges: from field lines to values, and back."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from regroute.relay.token.challenges import Challenge, parse_challenges

_BEARER = (("realm", "https://r.example/token"), ("service", "r.example"))


@pytest.mark.parametrize(
    ("lines", "challenges"),
    [
        ([], []),
        (["", " ", ",,"], []),
        (["Basic"], [Challenge("basic")]),
        (["Basic realm=x"], [Challenge("basic", (("realm", "x"),))]),
        (['BASIC  REALM = \t"a, b"'], [Challenge("basic", (("realm", "a, b"),))]),
        (
            ['Bearer realm="https://r.example/token",service="r.example"'],
            [Challenge("bearer", _BEARER)],
        ),
        (
            ['Bearer realm="https://r.example/token" ,, service="r.example",', "Basic realm=x"],
            [Challenge("bearer", _BEARER), Challenge("basic", (("realm", "x"),))],
        ),
        (
            ['Basic realm="x", Bearer realm="https://r.example/token", service="r.example"'],
            [Challenge("basic", (("realm", "x"),)), Challenge("bearer", _BEARER)],
        ),
        (["Negotiate, Basic"], [Challenge("negotiate"), Challenge("basic")]),
        (["Negotiate ,Basic"], [Challenge("negotiate"), Challenge("basic")]),
        (["Negotiate a/b+c==, Basic"], [Challenge("negotiate", (), "a/b+c=="), Challenge("basic")]),
        (["Basic realm"], [Challenge("basic", (), "realm")]),
        (["NTLM abc="], [Challenge("ntlm", (), "abc=")]),
        (["A b=c"], [Challenge("a", (("b", "c"),))]),
        ([r'A b="\"\\\c"'], [Challenge("a", (("b", r'"\c'),))]),
        (['A b="', "Basic"], [Challenge("basic")]),
    ],
)
def test_challenges_are_read_from_all_lines(lines: list[str], challenges: list[Challenge]) -> None:
    assert list(parse_challenges(line.encode() for line in lines)) == challenges


@pytest.mark.parametrize(
    "line",
    [
        'Bearer realm="x" service="y"',
        'Bearer realm="x", Basic realm="y" junk',
        "Bearer realm=x, realm=y",
        "Bearer realm=x, REALM=y",
        "Basic realm=, x=y",
        "realm=x",
        "Basic, realm=x",
        "Basic abc==, realm=x",
        "Basic realm=x y",
        'Basic realm="x',
        'Basic realm="x\\',
        'Basic realm="a\x00b"',
        'Basic realm="a\x7fb"',
        "Basic\trealm=x",
        "Basic =x",
        "(Basic)",
        "Basic; realm=x",
        "Basic realm=x; service=y",
    ],
)
def test_a_line_that_is_malformed_anywhere_has_no_challenge(line: str) -> None:
    assert parse_challenges([line.encode("latin-1")]) == ()


tokens = st.text("abAB01!#$%&'*+-.^_`|~", min_size=1, max_size=6)
values = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=12
) | st.text('",\\ =\t', max_size=6)
parameters = st.dictionaries(tokens.map(str.lower), values, min_size=1, max_size=4).map(
    lambda pairs: tuple(pairs.items())
)
challenges = st.builds(Challenge, tokens.map(str.lower), parameters) | st.builds(
    Challenge,
    tokens.map(str.lower),
    st.just(()),
    st.none() | st.just("aB9/+=="),
)


@given(st.lists(challenges, max_size=3), st.booleans())
def test_what_is_written_is_read_again(written: list[Challenge], in_one_line: bool) -> None:
    lines = [str(challenge).encode("latin-1") for challenge in written]
    assert list(parse_challenges([b", ".join(lines)] if in_one_line else lines)) == written


def split_elements(line: str) -> list[str]:
    """The elements of a list, cut at commas outside quotes, one character after the other."""
    elements, in_quotes, escaped = [""], False, False
    for char in line:
        if char == "," and not in_quotes:
            elements.append("")
            continue
        elements[-1] += char
        if escaped:
            escaped = False
        elif char == "\\" and in_quotes:
            escaped = True
        elif char == '"':
            in_quotes = not in_quotes
    return [element.strip(" \t") for element in elements if element.strip(" \t")]


_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE = rf"(?:{_TOKEN}|\"(?:[^\"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*\")"
_PARAMETER = rf"({_TOKEN})[ \t]*=[ \t]*({_VALUE})"


def unquote(value: str) -> str:
    if not value.startswith('"'):
        return value
    text, rest = "", iter(value[1:-1])
    for char in rest:
        text += next(rest) if char == "\\" else char
    return text


def naive(line: str) -> list[Challenge]:
    """The twin: each element by itself begins a challenge or goes on with the last one."""
    found: list[tuple[str, dict[str, str], str | None]] = []
    for element in split_elements(line):
        if pair := re.fullmatch(_PARAMETER, element):
            if not found or not found[-1][1] or pair[1].lower() in found[-1][1]:
                return []
            found[-1][1][pair[1].lower()] = unquote(pair[2])
        elif first := re.fullmatch(rf"({_TOKEN}) +{_PARAMETER}", element):
            found.append((first[1].lower(), {first[2].lower(): unquote(first[3])}, None))
        elif token68 := re.fullmatch(rf"({_TOKEN}) +([A-Za-z0-9._~+/-]+=*)", element):
            found.append((token68[1].lower(), {}, token68[2]))
        elif re.fullmatch(_TOKEN, element):
            found.append((element.lower(), {}, None))
        else:
            return []
    return [Challenge(scheme, tuple(pairs.items()), text) for scheme, pairs, text in found]


_PIECES = [*'a=," \t\\', "ab", "Basic ", 'realm="x"', "b=c", '"', "==", "\x80", "\x01", "+/"]


@given(st.lists(st.sampled_from(_PIECES), max_size=16).map("".join))
@example('Basic realm="a\\",b=c", Bearer b = c,a')
def test_any_line_is_read_as_element_by_element(line: str) -> None:
    assert list(parse_challenges([line.encode("latin-1")])) == naive(line)
