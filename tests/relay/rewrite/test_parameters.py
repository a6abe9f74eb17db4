"""Parameters of a query, changed one by one."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.relay.rewrite.parameters import change, drop, values


@pytest.mark.parametrize(
    ("target", "changed"),
    [
        ("/x", "/x"),
        ("/x?", "/x?"),
        ("/x?a=1", "/x?a=1"),
        ("/x?&last=b&&n=%32", "/x?&last=B&&n=%32"),
        ("/x?n=2&last=a%2fb", "/x?n=2&last=A/B"),
        ("/x?l%61st=b", "/x?l%61st=B"),
        ("/x?last=b&last=c", "/x?last=B&last=C"),
        ("/x?last", "/x?last"),
        ("/x?last=", "/x?last="),
        ("/x?last=%42", "/x?last=%42"),
        ("/x?last=a+b%ff%26", "/x?last=A%20B%FF%26"),
        ("/x?LAST=b", "/x?LAST=b"),
        ("/x?last=b#?last=b", "/x?last=B#?last=b"),
    ],
)
def test_only_what_changes_is_written_anew(target: str, changed: str) -> None:
    assert change(target, "last", lambda value: value.translate(UPPER)) == changed


UPPER = str.maketrans("abc", "ABC")


@pytest.mark.parametrize(
    ("target", "left"),
    [
        ("/x?mount=a&from=b", "/x"),
        ("/x?mount=a&n=1&from=b#z", "/x?n=1#z"),
        ("/x?n=1", "/x?n=1"),
        ("/x?&mount=a", "/x?"),
        ("/x?mo%75nt=a&from", "/x"),
    ],
)
def test_parameters_are_dropped(target: str, left: str) -> None:
    assert drop(target, ("mount", "from")) == left


texts = st.text(st.characters(max_codepoint=255), max_size=5)
raw = st.text(st.sampled_from("ab=&%2+;?/"), max_size=12)


@given(raw, texts)
def test_a_reader_of_forms_sees_the_change_and_nothing_else(query: str, new: str) -> None:
    def pairs(target: str) -> list[tuple[str, str]]:
        text = target.partition("?")[2]
        return parse_qsl(text, keep_blank_values=True, encoding="latin-1")

    before = pairs(f"/x?{query}")
    after = pairs(change(f"/x?{query}", "a", lambda value: new))
    assert after == [(name, new if name == "a" else value) for name, value in before]
    assert values(f"/x?{query}", "a") == [value for name, value in before if name == "a"]
