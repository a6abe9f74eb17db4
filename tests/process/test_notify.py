"""What the daemon tells systemd over its notification socket, and that it does without one."""

import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ..ports import free_port
from .apart import apart, replace
from .daemon import PATIENCE, Daemon, command, eventually

RULES = "listen: [{{port: {port}}}]\nrules: [{{name: one, to: 'https://{name}.example'}}]\n"
FAULTY = "rules: []\n"


class Ear:
    """systemd's end: it hears messages in their order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.socket.settimeout(PATIENCE)

    def close(self) -> None:
        self.socket.close()

    def hear(self) -> dict[str, str]:
        """The next message but signs of life."""
        while (message := self.hear_anything()) == {"WATCHDOG": "1"}:
            pass
        return message

    def hear_anything(self) -> dict[str, str]:
        """The next message, as its assignments."""
        text = self.socket.recv(4096).decode()
        assignments = [line.split("=", 1) for line in text.split("\n")]
        assert len(dict(assignments)) == len(assignments)
        return dict(assignments)

    def has_silence(self) -> bool:
        """Whether nothing has been said that is not heard yet, signs of life aside."""
        self.socket.setblocking(False)
        try:
            self.hear()
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(PATIENCE)
        return False


@pytest.fixture
def ear(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ear]:
    """A socket with a path, or with an abstract name where a test asks for that."""
    name = getattr(request, "param", None) or str(tmp_path / "notify")
    with closing(Ear(name)) as ear:
        yield ear


EITHER = pytest.mark.parametrize(
    "ear", [None, f"@regroute-{uuid.uuid4()}"], ids=["path", "abstract"], indirect=True
)


@contextmanager
def notifying(ear: Ear, directory: Path, **environ: str) -> Iterator[Daemon]:
    """A daemon that has not said anything yet, and may not listen yet."""
    port = free_port()
    file, output = directory / "rules.yaml", directory / "stderr"
    file.write_text(RULES.format(port=port, name="one"))
    with output.open("wb") as written:
        process = subprocess.Popen(
            command(file),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=written,
            env={**os.environ, "NOTIFY_SOCKET": ear.name, **environ},
        )
    try:
        yield Daemon(process, port, file, output)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@EITHER
def test_it_is_ready_when_it_answers_and_not_before(ear: Ear, tmp_path: Path) -> None:
    """The very first request after READY is answered; that there is no message before it counts."""
    with notifying(ear, tmp_path) as daemon:
        assert ear.hear()["READY"] == "1"
        assert daemon.ask("/v2/").getheader("Location") == "https://one.example/v2/"
        assert ear.has_silence()


@pytest.mark.parametrize(
    "text", [FAULTY, "listen: [{port: 1, host: 192.0.2.77}]\nrules: [{to: a}]"]
)
def test_what_cannot_start_is_never_ready(ear: Ear, tmp_path: Path, text: str) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(text)
    ended = subprocess.run(
        command(file),
        capture_output=True,
        timeout=PATIENCE,
        env={**os.environ, "NOTIFY_SOCKET": ear.name},
    )
    assert ended.returncode == 1
    assert ear.has_silence()


@pytest.mark.parametrize(
    ("name", "status"), [("two", "reloaded "), (None, "the old rules stay in force")]
)
def test_a_reload_is_told_from_its_beginning_to_its_end(
    ear: Ear, tmp_path: Path, name: str | None, status: str
) -> None:
    """Also where nothing comes of it: a service that says no READY again would be restarted."""
    with notifying(ear, tmp_path) as daemon:
        assert ear.hear()["READY"] == "1"
        replace(daemon, RULES.format(port=daemon.port, name=name) if name else FAULTY)
        earliest = time.monotonic_ns() // 1000
        daemon.hang_up()
        reloading, ready = ear.hear(), ear.hear()
        latest = time.monotonic_ns() // 1000
        assert reloading["RELOADING"] == "1"
        assert "READY" not in reloading
        assert earliest <= int(reloading["MONOTONIC_USEC"]) <= latest
        assert (ready["READY"], "RELOADING" in ready) == ("1", False)
        assert status in ready["STATUS"]
        # Whoever waits for `systemctl reload` finds the new rules in force.
        location = daemon.ask("/").getheader("Location")
        assert location == f"https://{name or 'one'}.example/"
        assert ear.has_silence()


def test_each_of_several_reloads_is_told_with_a_time_of_its_own(ear: Ear, tmp_path: Path) -> None:
    with notifying(ear, tmp_path) as daemon:
        assert ear.hear()["READY"] == "1"
        times = []
        for _ in range(3):
            daemon.hang_up()
            times.append(int(ear.hear()["MONOTONIC_USEC"]))
            assert ear.hear()["READY"] == "1"
        assert times == sorted(set(times))


@EITHER
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
def test_a_stop_is_told_before_what_is_in_flight_ends(
    ear: Ear, tmp_path: Path, number: signal.Signals
) -> None:
    with notifying(ear, tmp_path) as daemon:
        assert ear.hear()["READY"] == "1"
        with daemon.connect() as connection:
            connection.sendall(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n1")
            assert daemon.answers()
            daemon.process.send_signal(number)
            assert ear.hear()["STOPPING"] == "1"
            assert daemon.process.poll() is None
            connection.sendall(b"2")
            assert connection.recv(12) == b"HTTP/1.1 405"
        # From a keyboard, Twisted ends by the signal itself, as programs do there.
        assert daemon.status() == (0 if number == signal.SIGTERM else -number)
        assert ear.has_silence()
        assert "Traceback" not in daemon.log()


def test_signs_of_life_come_in_time(ear: Ear, tmp_path: Path) -> None:
    """Twice in systemd's patience: the socket gives up where one does not come within it."""
    patience = 4
    with notifying(ear, tmp_path, WATCHDOG_USEC=str(patience * 1_000_000)) as daemon:
        assert ear.hear()["READY"] == "1"
        ear.socket.settimeout(patience)
        signs = 0
        while signs < 3:
            signs += ear.hear_anything() == {"WATCHDOG": "1"}
        daemon.terminate()
        assert daemon.status() == 0


def test_signs_of_life_end_where_the_reactor_stands_still(ear: Ear, tmp_path: Path) -> None:
    """Or else systemd would never know."""
    with notifying(ear, tmp_path, WATCHDOG_USEC="200000") as daemon:
        ear.hear()
        ear.hear_anything()
        daemon.process.send_signal(signal.SIGSTOP)
        os.waitpid(daemon.process.pid, os.WUNTRACED)
        assert ear.has_silence()
        ear.socket.settimeout(1.0)
        with pytest.raises(TimeoutError):
            ear.hear_anything()
        daemon.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("others", [{}, {"WATCHDOG_PID": "1"}], ids=["not asked", "of another"])
def test_signs_of_life_are_for_who_asks_this_process(
    ear: Ear, tmp_path: Path, others: dict[str, str]
) -> None:
    environ = others and others | {"WATCHDOG_USEC": "20000"}
    with notifying(ear, tmp_path, **environ) as daemon:
        assert ear.hear()["READY"] == "1"
        daemon.terminate()
        said: list[dict[str, str]] = []
        while not said or "STOPPING" not in said[-1]:
            said.append(ear.hear_anything())
        assert {"WATCHDOG": "1"} not in said
        assert daemon.status() == 0


# Without systemd.


@pytest.mark.parametrize(
    ("name", "complaints"),
    [
        pytest.param(None, 0, id="no variable"),
        pytest.param("", 0, id="empty"),
        pytest.param("relative", 0, id="no address"),
        pytest.param("/nowhere/notify", 1, id="no such socket"),
        pytest.param("/dev/null", 1, id="no socket"),
        pytest.param("/" + "x" * 200, 1, id="too long"),
        pytest.param("@nobody-listens-here", 1, id="nobody"),
        pytest.param("vsock:2:1234", 0, id="of another family"),
    ],
)
def test_nothing_depends_on_a_notification_socket(
    tmp_path: Path, name: str | None, complaints: int
) -> None:
    """It starts, reloads and stops as ever, and complains at most once."""
    port = free_port()
    text = RULES.format(port=port, name="one")
    environ = {} if name is None else {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "20000"}
    with apart(text, tmp_path, port, environ=environ) as daemon:
        replace(daemon, RULES.format(port=port, name="two"))
        daemon.hang_up()
        assert daemon.logs("reloaded")
        assert daemon.ask("/").getheader("Location") == "https://two.example/"
        daemon.terminate()
        assert daemon.status() == 0
    assert daemon.log().count("systemd cannot be told") == complaints
    assert "Traceback" not in daemon.log()


def test_systemd_may_come_late(tmp_path: Path) -> None:
    """A socket that appears again is spoken to again, as when systemd is started anew."""
    port, name = free_port(), str(tmp_path / "notify")
    text = RULES.format(port=port, name="one")
    with apart(text, tmp_path, port, environ={"NOTIFY_SOCKET": name}) as daemon:
        assert daemon.logs("systemd cannot be told")
        with closing(Ear(name)) as ear:
            daemon.hang_up()
            assert ear.hear()["RELOADING"] == "1"
            assert ear.hear()["READY"] == "1"
        daemon.terminate()
        assert daemon.status() == 0
    assert eventually(lambda: "Server Shut Down" in daemon.log())
