"""As what a request is counted: by its rule, code, kind and reason, in the lane and in the tree."""

from dataclasses import replace
from typing import NoReturn

import pytest
from twisted.logger import capturedLogs

from regroute.answers import Reason
from regroute.metrics.tally import REQUESTS
from regroute.networks.table import AddressTable
from regroute.oci import Kind

from ..making import HEAD_SIZE, Books, site_of
from .lanes import laned
from .memory import GET, Client, Turns, rules_of

BIG = b"x" * HEAD_SIZE
RULES = """
clients: {trusted_proxies: [127.0.0.0/8]}
rules:
  - {path: /v2/_catalog, deny: "the catalog is not served", status: 404}
  - {path: [/v2, /v2/], respond: ok}
  - {path: /, location: "https://about.example"}
  - {method: POST, path: /post, to: "https://post.example"}
  - {kind: uploads, method: PUT, deny: "no", status: 405}
  - {path: "/v2/*", name: all, to: "https://a.example"}
"""
FIRST_LINE = b"GET /v2/ HTTP/1.1\r\n"
HOST = b"Host: h\r\n"
DIGEST = b"sha256:" + b"0" * 64
# What is sent by a proxy of ours, and what it counts as but for the registry: rule, code, kind and
# reason.
REQUESTS_SENT: list[tuple[bytes, tuple[str, str, str, str]]] = [
    (b"GET  / HTTP/1.1\r\n" + HOST, ("", "400", "other", "request_line")),
    (b"GET / HTTP/2.0\r\n" + HOST, ("", "400", "other", "request_line")),
    (FIRST_LINE + HOST + b"a b: c\r\n", ("", "400", "other", "field")),
    (FIRST_LINE + HOST + b"a: b\r\n c\r\n", ("", "400", "other", "field")),
    (FIRST_LINE + b"Host: h\n", ("", "400", "other", "line_end")),
    (FIRST_LINE, ("", "400", "other", "host")),
    (FIRST_LINE + b"Host: a b\r\n", ("", "400", "other", "host")),
    (b"GET x HTTP/1.1\r\n" + HOST, ("", "400", "other", "target")),
    (b"CONNECT h:1 HTTP/1.1\r\n" + HOST, ("", "400", "other", "target")),
    (b"GET /v2/../x HTTP/1.1\r\n" + HOST, ("", "400", "other", "path")),
    (b"GET /v2/a//b HTTP/1.1\r\n" + HOST, ("", "400", "other", "path")),
    (FIRST_LINE + HOST + b"Content-Length: x\r\n", ("", "400", "other", "framing")),
    (FIRST_LINE + HOST + b"X-Real-IP: x\r\n", ("", "400", "other", "client")),
    (b"GET /" + BIG + b" HTTP/1.1\r\n" + HOST, ("", "414", "other", "line_size")),
    (FIRST_LINE + HOST + b"a: " + BIG + b"\r\n", ("", "431", "other", "head_size")),
    (b"GET /nowhere HTTP/1.1\r\n" + HOST, ("", "404", "other", "no_rule")),
    (b"GET /post HTTP/1.1\r\n" + HOST, ("", "405", "other", "method")),
    (b"PUT /v2/a/blobs/%b HTTP/1.1\r\n" % DIGEST + HOST, ("", "405", "blobs", "method")),
    (b"GET /v2/_catalog HTTP/1.1\r\n" + HOST, ("rule-1", "404", "other", "")),
    (FIRST_LINE + HOST, ("rule-2", "200", "api", "")),
    (b"GET / HTTP/1.1\r\n" + HOST, ("rule-3", "302", "other", "")),
    (b"PUT /v2/a/blobs/uploads/ HTTP/1.1\r\n" + HOST, ("rule-5", "405", "uploads", "")),
    (b"GET /v2/a/manifests/1 HTTP/1.1\r\n" + HOST, ("all", "302", "manifests", "")),
    (b"HEAD /v2/a/blobs/%b HTTP/1.1\r\n" % DIGEST + HOST, ("all", "302", "blobs", "")),
    (b"GET /v2/a/tags/list?n=1 HTTP/1.1\r\n" + HOST, ("all", "302", "tags", "")),
    (b"GET /v2/a/referrers/%b HTTP/1.1\r\n" % DIGEST + HOST, ("all", "302", "referrers", "")),
    (b"GET /v2/a/b HTTP/1.1\r\n" + HOST, ("all", "302", "other", "")),
]


def counted(books: Books) -> list[tuple[tuple[str, ...], int]]:
    """The requests that have been counted, without their registries."""
    return [
        ((rule, *rest), times)
        for (name, *labels), times in books.counts().items()
        if name == REQUESTS
        for rule, _, *rest in [labels]
    ]


@pytest.mark.parametrize(("head", "expected"), REQUESTS_SENT)
def test_a_request_counts_the_same_in_the_tree_and_in_the_lane(
    head: bytes, expected: tuple[str, str, str, str]
) -> None:
    rules = rules_of(RULES)
    books, clock = Books(), Turns()
    site = site_of(lambda: rules, clock, books.record, count=books.tally.count)
    client = Client(site=site)
    client.clock = clock
    client.send(head + b"\r\n")
    assert counted(books) == [(expected, 1)]
    with laned(rules) as bed:
        for times in (1, 2):
            bed.connect("127.0.0.1").send(head + b"\r\n")
            assert counted(bed.books) == [(expected, times)]


def test_every_kind_and_every_reason_is_among_them_but_those_that_need_more_than_a_request() -> (
    None
):
    kinds, reasons = ({labels[at] for _, labels in REQUESTS_SENT} for at in (2, 3))
    assert kinds == set(Kind)
    assert reasons - {""} == set(Reason) - {
        Reason.TIMEOUT,
        Reason.INTERNAL,
        Reason.TOKEN,
        Reason.LOGIN,
        Reason.UNREACHABLE,
    }


def test_a_fault_of_ours_counts_as_that() -> None:
    """The lane leaves it to the tree."""

    class Broken(AddressTable):
        def lookup(self, address: object) -> NoReturn:
            raise RuntimeError("the table is on fire")

    rules = replace(rules_of(RULES), networks=Broken.of({}))
    books, clock = Books(), Turns()
    site = site_of(lambda: rules, clock, books.record, count=books.tally.count)
    client = Client(site=site)
    client.clock = clock
    with capturedLogs():
        client.send(GET)
    assert counted(books) == [(("", "500", "other", "internal"), 1)]
