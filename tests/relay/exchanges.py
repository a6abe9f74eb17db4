"""Requests and answers for the tests of relayed requests."""

from regroute.relay.passing import SMALL

PATH = b"/v2/a/manifests/1"
GET = b"GET %b HTTP/1.1\r\nHost: front.example\r\n\r\n" % PATH
HEAD = GET.replace(b"GET", b"HEAD")
OLD = GET.replace(b"HTTP/1.1", b"HTTP/1.0")
OK = b"HTTP/1.1 200 OK\r\n"
ONE = OK + b"Content-Length: 3\r\n\r\none"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
UPLOAD = b"PUT /v2/a/blobs/uploads/1 HTTP/1.1\r\nHost: front.example\r\n"
CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LARGE = SMALL + 1


def put(body: bytes, *fields: bytes) -> bytes:
    lines = b"".join(field + b"\r\n" for field in (b"Content-Length: %d" % len(body), *fields))
    return UPLOAD + lines + b"\r\n" + body


def put_chunks(*pieces: bytes) -> bytes:
    return UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(pieces)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def bytewise(raw: bytes) -> list[bytes]:
    return [raw[at : at + 1] for at in range(len(raw))]
