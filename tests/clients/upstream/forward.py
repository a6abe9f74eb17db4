"""A registry: a docker-registry with what real ones do before and beside it."""

import json
import re
import sys
from collections.abc import Mapping
from urllib.parse import parse_qsl

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTCP
from twisted.python.failure import Failure
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from .capture import body
from .pages import page
from .referrers import Referrers
from .settings import RegistrySettings
from .storage import address

_BLOB = re.compile(r"/v2/.+/blobs/(?P<digest>[a-z0-9]+:[0-9a-f]+)")
_TAGS = re.compile(r"/v2/(?P<repository>.+)/tags/list")
_MANIFEST = re.compile(r"/v2/(?P<repository>.+)/manifests/(?P<reference>[^/]+)")
_REFERRERS = re.compile(r"/v2/(?P<repository>.+)/referrers/(?P<digest>[^/]+)")

# RFC 9110 §7.6.1, and what the agent itself sets.
_HOP_BY_HOP = (b"connection", b"keep-alive", b"transfer-encoding", b"te", b"trailer", b"upgrade")
_OF_THE_BODY = (b"content-length", b"expect")

_MANIFESTS = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"


class Registry(Resource):
    """Everything under /v2/, as the docker-registry at a port answers it, and more.

    That one decides who may do what: whatever is answered here was asked there first."""

    isLeaf = True

    def __init__(self, reactor: IReactorTCP, settings: RegistrySettings) -> None:
        Resource.__init__(self)
        self._agent = Agent(reactor, pool=HTTPConnectionPool(reactor))
        self._origin = f"http://127.0.0.1:{settings.port}"
        self._storage = settings.storage
        self._referrers = Referrers()

    def render(self, request: Request) -> int:
        answering = Deferred.fromCoroutine(self._answer(request))
        request.notifyFinish().addErrback(lambda gone: answering.cancel())
        answering.addErrback(_failed, request)
        return NOT_DONE_YET

    async def _answer(self, request: Request) -> None:
        method, path = request.method.decode(), _path(request)
        reading = method in ("GET", "HEAD")
        if reading and self._storage and (found := _BLOB.fullmatch(path)):
            await self._send_to_storage(request, self._storage, found["digest"])
        elif method == "GET" and (found := _TAGS.fullmatch(path)):
            await self._send_tags(request)
        elif method == "GET" and (found := _REFERRERS.fullmatch(path)):
            await self._send_referrers(request, found["repository"], found["digest"])
        elif method == "PUT" and (found := _MANIFEST.fullmatch(path)):
            await self._put_manifest(request, found["repository"])
        else:
            await self._send(request, await self._ask(request))

    async def _send_to_storage(self, request: Request, storage: str, digest: str) -> None:
        response = await self._ask(request)
        if response.code != 200:
            await self._send(request, response)
            return
        await readBody(response)
        request.setResponseCode(307)
        request.setHeader("location", address(storage, digest))
        request.finish()

    async def _send_tags(self, request: Request) -> None:
        response = await self._ask(request, _path(request))
        if response.code != 200:
            await self._send(request, response)
            return
        content = json.loads(await readBody(response))
        shown = page(sorted(content["tags"] or []), _query(request))
        _send_json(request, {**content, "tags": shown.entries}, link=shown.link(_path(request)))

    async def _send_referrers(self, request: Request, repository: str, digest: str) -> None:
        # Who may read the manifest may know what refers to it.
        request.requestHeaders.setRawHeaders("accept", [_MANIFESTS])
        allowed = await self._ask(request, f"/v2/{repository}/manifests/{digest}")
        if allowed.code != 200:
            await self._send(request, allowed)
            return
        await readBody(allowed)
        known = self._referrers.of(repository, digest)
        shown = page(list(known), _query(request))
        _send_json(
            request,
            {
                "schemaVersion": 2,
                "mediaType": _INDEX,
                "manifests": [known[each] for each in shown.entries],
            },
            kind=_INDEX,
            link=shown.link(_path(request)),
        )

    async def _put_manifest(self, request: Request, repository: str) -> None:
        manifest = body(request)
        response = await self._ask(request)
        if response.code == 201:
            media_type = request.getHeader("content-type") or ""
            subject = self._referrers.note(repository, media_type, manifest)
            if subject is not None:
                request.setHeader("oci-subject", subject)
        await self._send(request, response)

    async def _ask(self, request: Request, target: str | None = None) -> IResponse:
        """What the docker-registry answers to a request, or to the same for another target.

        HEAD is asked as GET: the agent does not tell the length that an answer to HEAD has. It is
        twisted.web that leaves the body out."""
        reading = request.method in (b"GET", b"HEAD")
        headers = _without(request.requestHeaders, *_HOP_BY_HOP, *_OF_THE_BODY)
        response: IResponse = await self._agent.request(
            b"GET" if reading else request.method,
            f"{self._origin}{target or request.uri.decode()}".encode(),
            headers,
            None if reading else FileBodyProducer(request.content),
        )
        return response

    async def _send(self, request: Request, response: IResponse) -> None:
        content = await readBody(response)
        request.setResponseCode(response.code, response.phrase)
        for name, values in _without(response.headers, *_HOP_BY_HOP).getAllRawHeaders():
            request.responseHeaders.setRawHeaders(name, values)
        if response.code not in (204, 304):
            request.setHeader("content-length", str(len(content)))
        request.write(content)
        request.finish()


def _failed(failure: Failure, request: Request) -> None:
    # A client that has gone gets no answer.
    if failure.check(CancelledError) is None:
        failure.printTraceback(sys.stderr)
        request.setResponseCode(502)
        request.finish()


def _send_json(
    request: Request,
    content: Mapping[str, object],
    *,
    kind: str = "application/json",
    link: str | None,
) -> None:
    text = json.dumps(content).encode()
    request.setHeader("content-type", kind)
    request.setHeader("content-length", str(len(text)))
    if link is not None:
        request.setHeader("link", link)
    request.write(text)
    request.finish()


def _without(headers: Headers, *names: bytes) -> Headers:
    """A copy without some fields; the others keep their repetitions and their order."""
    kept = headers.copy()
    for name in names:
        kept.removeHeader(name)
    return kept


def _path(request: Request) -> str:
    return request.path.decode()


def _query(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.uri.decode().partition("?")[2]))
