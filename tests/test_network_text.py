"""Address lists in text files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.networks.spans import Span, parse_span
from regroute.networks.text import parse_lines

ONE = parse_span("10.0.0.1")


def spans(text: str) -> list[Span]:
    """The spans of a list without a fault."""
    found = [entry for _, _, entry in parse_lines(text)]
    good = [entry for entry in found if isinstance(entry, Span)]
    assert good == found
    return good


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("10.0.0.1", id="no newline at the end"),
        pytest.param("10.0.0.1\n", id="one line"),
        pytest.param("10.0.0.1\r\n", id="a line end of Windows"),
        pytest.param("10.0.0.1\r", id="a line end of old"),
        pytest.param("\ufeff10.0.0.1\n", id="a byte order mark"),
        pytest.param("\n\n  \n\t\n10.0.0.1\n\n", id="empty lines"),
        pytest.param(" \t 10.0.0.1 \t \n", id="blanks around it"),
        pytest.param("10.0.0.1# office\n", id="a comment behind it"),
        pytest.param("# 10.0.0.2\n10.0.0.1 # 10.0.0.3 # 10.0.0.4\n#\n", id="comments"),
        pytest.param("# a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g\n10.0.0.1", id="odd comment"),
    ],
)
def test_a_list_of_one_entry(text: str) -> None:
    assert spans(text) == [ONE]


@pytest.mark.parametrize("text", ["", "\n", "# nothing", " \t\r\n#\n", "\ufeff"])
def test_a_list_may_be_empty(text: str) -> None:
    assert list(parse_lines(text)) == []


def test_a_line_holds_an_address_a_cidr_or_a_range() -> None:
    entries = ["10.0.0.1", "10.0.0.0/8", "10.0.0.1-10.0.0.9", "10.0.0.1 - 10.0.0.9", "::1", "::/0"]
    assert spans("\n".join(entries)) == [parse_span(entry) for entry in entries]


def test_faults_have_the_line_and_column_of_the_entry_and_leave_the_rest() -> None:
    text = "# offices\r\n10.0.0.1/8\n\n   nowhere  # ?\n\t10.0.0.1\r\n10.0.0.1, 10.0.0.2\n"
    found = [(line, column, str(entry)) for line, column, entry in parse_lines(text)]
    assert [(line, column) for line, column, _ in found] == [(2, 1), (4, 4), (5, 2), (6, 1)]
    assert found[0][2].endswith("did you mean 10.0.0.0/8?")
    assert found[1][2].startswith("'nowhere' is no IP address")
    assert found[2][2] == "10.0.0.1"
    assert found[3][2].startswith("'10.0.0.1, 10.0.0.2' is no IP address")


@given(st.lists(st.sampled_from(["10.0.0.1", "::1", "10.0.0.0/8", "", "#", "x"])), st.data())
def test_lines_are_counted_alike_whatever_ends_them(lines: list[str], data: st.DataObject) -> None:
    """The naive twin joins the lines itself, and so knows what each of them holds."""
    text = "".join(line + data.draw(st.sampled_from(["\n", "\r\n"])) for line in lines)
    numbers = [number for number, line in enumerate(lines, 1) if line not in ("", "#")]
    found = list(parse_lines(text))
    assert [number for number, _, _ in found] == numbers
    assert all(
        isinstance(entry, ValueError) is (lines[number - 1] == "x") for number, _, entry in found
    )
