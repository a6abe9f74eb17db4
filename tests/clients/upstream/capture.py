"""Every request as a line of JSON, written before it is answered."""

import json
import sys

from twisted.web.server import Request

_FORM = "application/x-www-form-urlencoded"


class Captured(Request):
    """A request that is told of before anything else comes of it.

    So whoever has got an answer, by whatever way, finds all that was asked for it."""

    def process(self) -> None:
        print(json.dumps(_told(self)), file=sys.stdout, flush=True)
        Request.process(self)


def _told(request: Request) -> dict[str, str | None]:
    form = request.getHeader("content-type") == _FORM
    return {
        "client": request.getClientAddress().host,
        "host": request.getRequestHostname().decode(),
        "method": request.method.decode(),
        "target": request.uri.decode(),
        "authorization": request.getHeader("authorization"),
        "cookie": request.getHeader("cookie"),
        "forwarded": request.getHeader("forwarded"),
        "user_agent": request.getHeader("user-agent"),
        "form": body(request).decode() if form else None,
    }


def body(request: Request) -> bytes:
    """The whole body; whoever reads it next finds it whole again."""
    if request.content is None:
        raise ValueError("the request has not been received")
    content: bytes = request.content.read()
    request.content.seek(0)
    return content
