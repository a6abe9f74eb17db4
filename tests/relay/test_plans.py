"""Plans that are remembered: how much memory they take at the most."""

import tracemalloc

import pytest

from regroute.answers import Relay
from regroute.relay.plan import Plan, Plans
from regroute.relay.token.front import Front
from regroute.respond import respond
from regroute.web.strict import read_head

from ..web.memory import rules_of

CLIENT = ("192.0.2.1", False)
RULES = rules_of("""
registries: {a: {url: "https://registry.example", mode: relay}}
rules: [{to: a}]
""")


def planned(raw: bytes) -> Plan:
    """The plan of a request, with nothing in it that is shared with another one's."""
    head = read_head(raw)
    response = respond(RULES, CLIENT[0], head.method, head.target, head.lines)
    assert isinstance(response.answer, Relay)
    front = Front(None, None, b"front.example")
    return Plan(head, response, response.answer, front, None, lambda repository: False)


@pytest.mark.parametrize("fields", [0, 10, 2000], ids="{} fields".format)
@pytest.mark.parametrize("size", [1, 4000], ids="{} bytes".format)
def test_heads_of_whatever_kind_take_no_more_than_there_is_for_them(
    monkeypatch: pytest.MonkeyPatch, fields: int, size: int
) -> None:
    """But for what a plan takes in any case, of which there are not so many."""
    monkeypatch.setattr(Plans, "MOST_BYTES", 2**20)
    monkeypatch.setattr(Plans, "MOST", 40)
    in_any_case = 8192 * Plans.MOST
    plans = Plans()
    most = 0
    tracemalloc.start()
    try:
        for number in range(60):
            named = b"".join(b"a:\r\n" for _ in range(fields))
            target = b"/%d/%b" % (number, b"x" * size)
            raw = b"GET %b HTTP/1.1\r\nHost: h\r\n%b\r\n" % (target, named)
            plans.keep(CLIENT, raw, planned(raw))
            if number % 5 == 4:
                most = max(most, tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert plans.of(CLIENT)
    assert most < Plans.MOST_BYTES + in_any_case
