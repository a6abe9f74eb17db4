"""Forty clients that ask all the time, and keep account of every request."""

import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from socket import create_connection

from ..processes import eventually
from .bed import Bed
from .service import NAME

CLIENTS = 40
PAUSE = 0.01
"""What a client waits between two requests, in seconds: so it is the daemon that is busy."""
AT_ONCE = 0.5
"""A client that asks again within so many seconds is to find its connection open."""
PATIENCE = 20.0
"""A client that has no answer after so many seconds has lost its request."""


@dataclass
class Account:
    """What came of the requests of all clients: how many were answered or lost, by their kinds.

    A request counts as lost that was refused, reset or never answered in full, or whose connection
    was closed at its end without a word of that before.
    """

    answered: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)


class Client(threading.Thread):
    """Asks until it is told to stop, as a correct client does.

    It goes on with a new connection after ``Connection: close``, and where it finds that the
    connection has ended while it did not need it: that is any server's right.
    """

    def __init__(self, bed: Bed, trust: ssl.SSLContext | None, keeps: bool) -> None:
        super().__init__(daemon=True)
        self.kind = f"{'TLS' if trust else 'plain'}, {'kept' if keeps else 'new'}"
        self.answered = 0
        self.lost: Counter[str] = Counter()
        self._bed = bed
        self._trust = trust
        self._keeps = keeps
        self._stop_asking = threading.Event()

    def stop(self) -> None:
        """Let it end after the request that it is at."""
        self._stop_asking.set()

    def run(self) -> None:
        """Ask, and ask again."""
        self._bed.enter_network()
        connection: HTTPConnection | None = None
        last = 0.0
        while not self._stop_asking.wait(PAUSE):
            if connection is not None and _has_ended(connection):
                if time.monotonic() - last < AT_ONCE:
                    self._lose("closed without a word")
                connection.close()
                connection = None
            try:
                connection = connection or self._connect()
                stays = _ask(connection) and self._keeps
            except (OSError, HTTPException, ValueError) as failure:
                self._lose(repr(failure))
                stays = False
            else:
                self.answered += 1
            last = time.monotonic()
            if connection is not None and not stays:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _lose(self, why: str) -> None:
        self.lost[f"{self.kind}: {why}"] += 1

    def _connect(self) -> HTTPConnection:
        connected = create_connection(("127.0.0.1", 443 if self._trust else 80), PATIENCE)
        client = HTTPConnection(NAME)
        # Without this, a request on a connection that has ended is sent on another one, unseen.
        client.auto_open = 0
        try:
            client.sock = (
                self._trust.wrap_socket(connected, server_hostname=NAME)
                if self._trust
                else connected
            )
        except BaseException:
            connected.close()
            raise
        return client


def _ask(client: HTTPConnection) -> bool:
    """Ask for something and check the answer; says whether its connection stays open."""
    client.request("GET", "/v2/pause/manifests/3.9")
    answer = client.getresponse()
    answer.read()
    if answer.status != 302:
        raise ValueError(f"answered with {answer.status}")
    return not answer.will_close


def _has_ended(client: HTTPConnection) -> bool:
    """Whether the server has closed, of which nobody has read yet."""
    client.sock.setblocking(False)
    try:
        return client.sock.recv(1) == b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True
    finally:
        client.sock.settimeout(PATIENCE)


class Load:
    """The clients while they ask."""

    def __init__(self, clients: list[Client]) -> None:
        self._clients = clients

    def goes_on(self) -> bool:
        """Whether each client comes to get another answer."""
        before = [client.answered for client in self._clients]
        return all(
            eventually(self._has_more(client, count))
            for client, count in zip(self._clients, before, strict=True)
        )

    @staticmethod
    def _has_more(client: Client, count: int) -> Callable[[], bool]:
        return lambda: client.answered > count or not client.is_alive()

    def account(self) -> Account:
        """What has come of it so far."""
        account = Account()
        for client in self._clients:
            account.answered[client.kind] += client.answered
            account.lost += client.lost
        return account


@contextmanager
def load(bed: Bed, trust: ssl.SSLContext) -> Iterator[Load]:
    """Forty clients of four kinds, from when each has its first answer until the block ends."""
    clients = [
        Client(bed, trust if number % 2 else None, keeps=number % 4 < 2)
        for number in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    running = Load(clients)
    try:
        assert running.goes_on()
        yield running
    finally:
        for client in clients:
            client.stop()
        for client in clients:
            client.join()
