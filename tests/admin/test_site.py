"""The bounds of the admin listener: how many, how long, how large."""

from regroute.admin.site import MOST
from regroute.config.schema import Limits

from ..making import HEAD_SIZE, HEAD_TIME, IDLE_TIME
from .bed import Bed

GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def test_one_more_than_there_may_be_takes_the_place_of_the_oldest() -> None:
    bed = Bed()
    clients = [bed.client() for _ in range(MOST)]
    assert not any(client.wire.is_closed for client in clients)
    assert bed.client().send(GET).answer().status == 200
    assert [client.wire.is_aborted for client in clients] == [True] + [False] * (MOST - 1)
    assert clients[1].send(GET).answer().status == 200


def test_who_is_silent_is_let_go_and_who_trickles_is_told() -> None:
    bed = Bed()
    silent, trickling = bed.client(), bed.client()
    trickling.send(GET[:10])
    bed.clock.advance(HEAD_TIME)
    assert trickling.answer().status == 408
    bed.clock.advance(IDLE_TIME - HEAD_TIME)
    assert silent.wire.is_closed
    assert Limits() == bed.site.limits()


def test_what_is_too_long_is_refused() -> None:
    bed = Bed()
    long = b"GET /explain?path=/" + b"a" * HEAD_SIZE + b" HTTP/1.1\r\nHost: ::1\r\n\r\n"
    assert bed.client().send(long).answer().status == 414


def test_a_connection_serves_one_request_after_another() -> None:
    client = Bed().client()
    assert [answer.status for answer in client.send(GET * 3).answers()] == [200] * 3
    assert client.is_reading


def test_when_it_ends_who_is_silent_goes_at_once_and_an_answer_is_waited_for() -> None:
    bed = Bed(is_local=True)
    silent, busy = bed.client(), bed.client()
    busy.send(b"POST /reload HTTP/1.1\r\nHost: x\r\n\r\n")
    ended: list[None] = []
    bed.site.drain().addCallback(ended.append)
    assert (silent.wire.is_closed, busy.wire.is_closed, ended) == (True, False, [])
    bed.site.abort()
    assert (busy.wire.is_aborted, ended) == (True, [None])
