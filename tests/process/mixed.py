"""Clients that ask for all sorts of things, and keep a record of what they got."""

import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import BinaryIO, NamedTuple

from .daemon import PATIENCE

PROXY = "127.0.9.1"
HEAD_SIZE = 2048
HOST = "front.example:443"
AGENT = 'mixed/1 "odd\\" \xe9'
RULES = f"""
clients: {{trusted_proxies: {PROXY}}}
networks: {{team: [127.0.3.0/24, 10.0.0.0/8, "::1"]}}
registries: {{hub: https://hub.example, team: https://team.example/ours}}
limits: {{head_size: {HEAD_SIZE // 1024}KiB}}
rules:
  - {{name: catalog, path: /v2/_catalog, deny: not served here, status: 404}}
  - {{name: about, path: /about/*, location: "https://about.example/?a=b&c", status: 308}}
  - {{name: api, path: [/v2, /v2/], respond: ok}}
  - {{client: 127.0.4.0/24, path: /v2/*, to: "https://direct.example:8443"}}
  - {{name: ours, client: team, path: /v2/*, to: team}}
  - {{name: pulls, path: /v2/*, to: hub}}
"""


class Got(NamedTuple):
    """One answer as the client tells it, in the access log's words."""

    client: str | None
    method: str
    host: str
    path: str
    status: int
    rule: str | None
    registry: str | None
    location: str | None
    user_agent: str
    size: int


@dataclass(frozen=True)
class Kind:
    """A kind of request, and what the log is to say of it, whatever comes of it.

    ``{n}`` stands for a number of its own, ``{host}`` and ``{rest}`` for lines of the head.
    """

    raw: bytes
    method: str
    path: bytes
    status: int
    rule: str | None = None
    is_pull: bool = False  # the rule and the registry are those of the client
    closes: bool = False
    host: str = HOST
    agent: str = AGENT
    is_read: bool = True  # if not, nobody knows whom a proxy has sent it for


def well_formed(
    method: str,
    path: bytes,
    status: int,
    rule: str | None = None,
    *,
    fields: bytes = b"",
    body: bytes = b"",
    logged: bytes | None = None,
    is_pull: bool = False,
    closes: bool = False,
) -> Kind:
    """A request that can be read, to the end of its head at least."""
    line = method.encode() + b" " + path + b" HTTP/1.1\r\n"
    raw = line + b"{host}{rest}" + fields + b"\r\n" + body
    return Kind(raw, method, path if logged is None else logged, status, rule, is_pull, closes)


def old(fields: bytes = b"", host: str = "") -> Kind:
    """A request in HTTP/1.0, which may come without a Host."""
    raw = b"GET " + PULL + b" HTTP/1.0\r\n" + fields + b"{rest}\r\n"
    return Kind(raw, "GET", PULL, 302, is_pull=True, closes=True, host=host)


def malformed(
    raw: bytes, path: bytes = b"/v2/{n}", *, method: str = "GET", status: int = 400
) -> Kind:
    """A request whose head cannot be read: the log shows the words that it begins with."""
    return Kind(raw, method, path, status, closes=True, host="", agent="", is_read=False)


PULL = b"/v2/library/a{n}/manifests/1"
ODD = PULL + b"?ns=docker.io&x=\"<\\>`{|}^%22%zz+'&amp;"
HIGH = PULL + b"?\xc3\xa9\x80\xff"
LONG = b"/v2/{n}/" + b"a" * HEAD_SIZE
CHUNKED = b"Transfer-Encoding: chunked\r\n"

LASTING = [
    well_formed("GET", PULL, 302, is_pull=True),
    well_formed("HEAD", PULL, 302, is_pull=True),
    well_formed("GET", b"/v2/a/b{n}/blobs/sha256:" + b"0" * 64, 302, is_pull=True),
    well_formed("GET", ODD, 302, is_pull=True),
    well_formed("GET", HIGH, 302, is_pull=True, logged=PULL + b"?%C3%A9%80%FF"),
    well_formed("GET", b"http://" + HOST.encode() + PULL, 302, is_pull=True),
    well_formed("GET", b"/v2/?{n}", 200, "api"),
    well_formed("HEAD", b"/v2?{n}", 200, "api"),
    well_formed("GET", b"/about/{n}", 308, "about"),
    well_formed("GET", b"/v2/_catalog?n={n}", 404, "catalog"),
    well_formed("DELETE", b"/v2/%5fcatalog?n={n}", 404, "catalog"),
    well_formed("GET", b"/elsewhere/{n}?a=b", 404),
    well_formed("HEAD", b"/elsewhere/{n}", 404),
    well_formed("POST", PULL, 405),
    well_formed("POST", PULL, 405, fields=b"Content-Length: 5\r\n", body=b"GET /"),
    well_formed("PUT", PULL, 405, fields=CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n"),
    well_formed("get", PULL, 405),
    well_formed("GET", b"/v2/../{n}", 400),
    well_formed("GET", b"/v2/a%2Fb/manifests/{n}", 400),
]
LAST = [
    well_formed("GET", PULL, 302, is_pull=True, fields=b"Connection: close\r\n", closes=True),
    well_formed("PUT", PULL, 405, fields=b"Content-Length: 999999\r\n", closes=True),
    well_formed("PUT", PULL, 400, fields=CHUNKED, body=b"no\r\n", closes=True),
    old(),
    old(b"{host}Connection: keep-alive\r\n", HOST),
    malformed(b"GET /v2/{n} HTTP/1.1\r\n{rest}\r\n"),
    malformed(b"GET /v2/{n} HTTP/1.1\r\n{host}{host}{rest}\r\n"),
    malformed(b"GET /v2/{n} HTTP/1.1\r\n{host}{rest}Bad Name: x\r\n\r\n"),
    malformed(b"HEAD /v2/{n} HTTP/1.1\r\n{host}X: a\r\n folded\r\n\r\n", method="HEAD"),
    malformed(b"GET /v2/{n} HTTP/1.1\n{host}\n"),
    malformed(b"GET /v2/{n} HTTP/2.0\r\n{host}\r\n"),
    malformed(b"GET  /v2/{n} HTTP/1.1\r\n{host}\r\n", b""),
    malformed(b"CONNECT h{n}:443 HTTP/1.1\r\n{host}\r\n", b"h{n}:443", method="CONNECT"),
    malformed(b'\x16\x03\x01{n}\x00\xff"\\\r\n\r\n', b"", method='\x16\x03\x01{n}\x00\xff"\\'),
    malformed(b"GET " + LONG + b" HTTP/1.1\r\n", LONG, status=414),
    malformed(b"GET /v2/{n} HTTP/1.1\r\n{host}X: " + b"x" * HEAD_SIZE + b"\r\n\r\n", status=431),
]


@dataclass(frozen=True)
class Visitor:
    """A client with an address of its own; `rule` and `registry` are where its pulls go.

    `known` is who it is to the daemon, `fields` are what it adds to every head.
    """

    source: str
    known: str
    rule: str
    registry: str
    fields: bytes = b""


VISITORS = [
    Visitor("127.0.1.1", "127.0.1.1", "pulls", "hub"),
    Visitor("127.0.1.2", "127.0.1.2", "pulls", "hub", b"X-Real-IP: 10.0.0.1\r\n"),
    Visitor("127.0.3.77", "127.0.3.77", "ours", "team"),
    Visitor("127.0.4.1", "127.0.4.1", "rule-4", "https://direct.example:8443"),
    Visitor("::1", "::1", "ours", "team"),
    Visitor(PROXY, "10.2.3.4", "ours", "team", b"X-Real-IP: 10.2.3.4\r\n"),
]


def crowd(
    port: int, goes_on: Callable[[int], bool], visitors: Sequence[Visitor] = VISITORS
) -> list[list[Got]]:
    """Let all visitors ask at once, and give what each got in its order.

    A visitor goes on while `goes_on` says so to the number of its answers so far.
    """
    with ThreadPoolExecutor(len(visitors)) as pool:
        visits = [pool.submit(visit, port, visitor, goes_on) for visitor in visitors]
    return [each.result() for each in visits]


def visit(port: int, visitor: Visitor, goes_on: Callable[[int], bool]) -> list[Got]:
    """Ask one thing or several at once, over connections that are kept for a while."""
    choose = Random(visitor.source)
    record: list[Got] = []
    while goes_on(len(record)):
        host = "::1" if ":" in visitor.source else "127.0.0.1"
        address, source = (host, port), (visitor.source, 0)
        with (
            socket.create_connection(address, PATIENCE, source) as connection,
            connection.makefile("rb") as answers,
        ):
            is_open = True
            while is_open and goes_on(len(record)):
                kinds = choose.choices(LASTING, k=choose.choice([1, 1, 1, 2, 9]))
                if choose.random() < 0.2:
                    kinds.append(choose.choice(LAST))
                first = len(record)
                raw = [fill(kind.raw, first + at, visitor) for at, kind in enumerate(kinds)]
                connection.sendall(b"".join(raw))
                for kind in kinds:
                    record.append(take(answers, kind, len(record), visitor))
                if kinds[-1].closes:
                    assert answers.read() == b""
                is_open = not kinds[-1].closes and choose.random() < 0.9
    return record


def fill(template: bytes, number: int, visitor: Visitor) -> bytes:
    """What a visitor sends as its request of this number."""
    agent = b"User-Agent: " + AGENT.encode("latin-1") + b"\r\n"
    host = b"Host: " + HOST.encode() + b"\r\n"
    filled = template.replace(b"{host}", host).replace(b"{rest}", agent + visitor.fields)
    return filled.replace(b"{n}", b"%d" % number)


def take(answers: BinaryIO, kind: Kind, number: int, visitor: Visitor) -> Got:
    """Read one answer, and tell what it was to the request of this number."""
    status = int(answers.readline().removeprefix(b"HTTP/1.1 ")[:3])
    assert status == kind.status, (status, kind)
    fields = {}
    while line := answers.readline().rstrip(b"\r\n"):
        name, value = line.split(b": ", 1)
        fields[name.lower()] = value.decode()
    size = 0 if kind.method == "HEAD" else int(fields[b"content-length"])
    assert len(answers.read(size)) == size
    assert (fields.get(b"connection") == "close") == kind.closes, kind
    path = fill(kind.path, number, visitor)
    if kind.status == 414:
        path = path[: HEAD_SIZE - len(kind.method) - 1]
    is_unknown = not kind.is_read and visitor.source == PROXY
    return Got(
        client=None if is_unknown else visitor.known,
        method=kind.method.replace("{n}", str(number)),
        host=kind.host,
        path=path.decode("latin-1"),
        status=status,
        rule=visitor.rule if kind.is_pull else kind.rule,
        registry=visitor.registry if kind.is_pull else None,
        location=fields.get(b"location"),
        user_agent=kind.agent,
        size=size,
    )
