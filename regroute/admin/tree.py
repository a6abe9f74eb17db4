"""The admin listener's pages."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import Request, datetimeToString
from twisted.web.resource import Resource

from ..answers import Answer, Refusal
from ..explain import explain
from ..outcome import Outcome
from ..target import parse_target
from ..web import wire
from . import replies
from .guard import guard
from .question import read_question
from .subject import Subject, faults

_log = Logger()

_READING = ("GET", "HEAD")
_READY = {
    "starting": (503, "starting: it does not serve yet"),
    "serving": (200, "serving"),
    "stopping": (503, "stopping: send no more here"),
}


class Front(Resource):
    """Every path of the admin listener. `is_local`: it is reached over a Unix socket."""

    isLeaf = True

    def __init__(self, subject: Subject, is_local: bool, reactor: IReactorTime) -> None:
        Resource.__init__(self)
        self._subject = subject
        self._is_local = is_local
        self._reactor = reactor
        self._pages: dict[str, Callable[[Request], Answer]] = {
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/metrics": self._metrics,
            "/explain": self._explain,
            "/status.json": self._status,
        }

    def render(self, request: Request) -> int:
        """Answer a request; the client may be gone before there is an answer."""
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)

        def write(answer: Answer) -> None:
            if gone:
                return
            date = datetimeToString(self._reactor.seconds())
            request.setResponseCode(answer.status)
            for name, value in wire.answer_fields(answer, date):
                request.responseHeaders.setRawHeaders(name, [value])
            request.write(answer.body)
            request.finish()

        Deferred.fromCoroutine(self._answer(request)).addErrback(_refuse).addCallback(write)
        return server.NOT_DONE_YET

    async def _answer(self, request: Request) -> Answer:
        fields = request.requestHeaders
        target = parse_target(request.uri)
        hosts = fields.getRawHeaders(b"host") or ()
        has_origin = fields.hasHeader(b"origin")
        guard(request.method, target, hosts, has_origin, is_local=self._is_local)
        if target.path == "/reload":
            return await self._reload(request)
        page = self._pages.get(target.path)
        if page is None:
            return replies.plain(404, f"there is nothing here but {', '.join(self._pages)}")
        if request.method not in (b"GET", b"HEAD"):
            return replies.plain(405, "this can only be read", allow=_READING)
        return page(request)

    def _health(self, request: Request) -> Answer:
        return replies.plain(200, "alive")

    def _readiness(self, request: Request) -> Answer:
        return replies.plain(*_READY[self._subject.life.state])

    def _metrics(self, request: Request) -> Answer:
        accepted = request.requestHeaders.getRawHeaders(b"accept") or ()
        return replies.content(*self._subject.exposition(b", ".join(accepted).decode("latin-1")))

    def _explain(self, request: Request) -> Answer:
        asked = read_question(request.uri.partition(b"?")[2].partition(b"#")[0])
        explanation = explain(
            self._subject.checked(),
            self._subject.file,
            asked.client,
            asked.method,
            asked.target,
            asked.host,
            asked.user_agent,
            self._subject.known_open(),
        )
        return replies.document(200, explanation.as_json())

    def _status(self, request: Request) -> Answer:
        return replies.document(200, self._subject.status(self._reactor.seconds()))

    async def _reload(self, request: Request) -> Answer:
        if not self._is_local:
            return replies.plain(
                403, "a reload is asked for over a Unix socket: admin: {unix: PATH}"
            )
        if request.method != b"POST":
            return replies.plain(405, "a reload is asked for by POST", allow=("POST",))
        return _tell(await self._subject.reload())


def _tell(outcome: Outcome) -> Answer:
    """What has come of a reload, for programs."""
    if outcome.changes is not None:
        return replies.document(200, {"result": outcome.result, "changes": outcome.changes})
    status = 422 if outcome.faults else 500
    return replies.document(status, {"result": outcome.result, "faults": faults(outcome.faults)})


def _refuse(failure: Failure) -> Answer:
    if isinstance(failure.value, Refusal):
        return replies.plain(failure.value.status, failure.value.message)
    _log.failure("the admin listener has no answer", failure)
    return replies.plain(500, "internal error: the log has it")
