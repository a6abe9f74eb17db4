"""YAML to plain values with their places."""

import re

import pytest

from regroute.config.faults import Fault, Faulty
from regroute.config.source import read


def faults(text: str) -> list[str]:
    try:
        _, found = read(text, "f")
    except Faulty as faulty:
        return [str(fault) for fault in faulty.faults]
    return [str(fault) for fault in found]


def test_scalars_stay_the_text_that_they_are_written_as() -> None:
    """Norway is not false, a tag is not a float, and an octal is not eight."""
    source, _ = read("{a: NO, b: 3.10, c: 010, d: 2001-01-01, e: true, f: '', g: 1_0}", "f")
    assert source.value == {
        "a": "NO",
        "b": "3.10",
        "c": "010",
        "d": "2001-01-01",
        "e": "true",
        "f": "",
        "g": "1_0",
    }


@pytest.mark.parametrize("nothing", ["", "~", "null"])
def test_nothing_is_none(nothing: str) -> None:
    source, _ = read(f"a: {nothing}", "f")
    assert source.value == {"a": None}


def test_an_alias_stands_for_what_its_anchor_holds() -> None:
    source, found = read("{a: &x [1, 2], b: *x}", "f")
    assert (source.value, found) == ({"a": ["1", "2"], "b": ["1", "2"]}, [])


@pytest.mark.parametrize(
    ("location", "at_key", "place"),
    [
        ((), False, (1, 1)),
        (("rules", 1), False, (3, 5)),
        (("rules", 1, "to"), False, (3, 10)),
        (("rules", 1, "to"), True, (3, 6)),
        (("rules", 1, "client"), False, (3, 5)),
        (("rules", 0, "client", 0), False, (2, 14)),
        (("rules", 9), False, (2, 3)),
    ],
)
def test_a_place_is_found_or_the_nearest_to_it(
    location: tuple[str | int, ...], at_key: bool, place: tuple[int, int]
) -> None:
    source, _ = read("rules:\n  - {client: a, to: b}\n  - {to: c}\n", "f")
    fault = source.fault(location, "", at_key=at_key)
    assert (fault.line, fault.column) == place


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "f:1:1: the file is empty: a configuration needs rules"),
        ("# nothing\n", "f:1:1: the file is empty: a configuration needs rules"),
        ("a: 1\na: 2\n", "f:2:1: duplicate key 'a': it stands on line 1 already"),
        ("? [a]\n: b\n", "f:1:3: a key must be plain text"),
        ("a: &x [*x]\n", "f:1:4: this alias holds itself: write the value out"),
        ("b: {<<: {a: 1}}\n", "f:1:5: merge keys (<<) are not supported: repeat the keys"),
        ("a: !env {}\n", "f:1:4: the tag !env has no meaning here: leave it out"),
        ("!a b: c\n", "f:1:1: a key must be plain text"),
        ("a: !env HOME\n", "f:1:4: the tag !env has no meaning here: write plain text"),
        ("a: é\nb: \x07\n", "f:2:4: the character U+0007 may not stand in YAML"),
        ("[" * 60, "f:1:51: this is nested more than 50 deep"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_cannot_be_taken_is_a_fault_with_its_place(text: str, fault: str) -> None:
    assert faults(text) == [fault]


def test_what_is_nested_without_end_is_a_fault_somewhere_in_it() -> None:
    """Which column depends on how far libyaml reads ahead."""
    [fault] = faults("[" * 100_000)
    assert re.fullmatch(r"f:1:[0-9]+: this is nested more than 50 deep", fault)


def test_aliases_of_aliases_are_read_once_each() -> None:
    """Nine to the ninth values, if each alias were a copy of its own."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    source, found = read("\n".join(lines), "f")
    assert found == []
    assert isinstance(source.value, dict)


def test_a_chain_of_aliases_is_read_link_by_link() -> None:
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 3000))]
    assert faults("\n".join(lines)) == []


def test_a_message_is_one_printable_line() -> None:
    fault = Fault("f", 1, 1, "unknown key 'a\nb\x1b[31m\u2028'" + "x" * 10_000)
    assert str(fault).startswith(r"f:1:1: unknown key 'a\nb\x1b[31m\u2028'xxx")
    assert len(str(fault)) < 500


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1, 2\nb: 3\n", "f:2:"),
        ("a:\n\t- b\n", "f:2:"),
        ("a\n---\nb\n", "f:2:"),
        ("*x", "f:1:"),
    ],
)
def test_broken_yaml_is_one_fault_near_its_place(text: str, place: str) -> None:
    [fault] = faults(text)
    assert fault.startswith(place)
    assert "this is not YAML" in fault
