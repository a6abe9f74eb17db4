"""Who is held off from a socket that is about to be closed."""

import socket

import pytest

from regroute.web.newcomers import hold_off


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_new_connections_are_left_unanswered_and_old_ones_live_on(
    family: socket.AddressFamily, host: str
) -> None:
    with socket.create_server((host, 0), family=family) as listening:
        address = listening.getsockname()
        with socket.create_connection(address[:2]) as waiting:
            hold_off(listening)
            with socket.socket(family) as late:
                late.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    late.connect(address)
            near, _ = listening.accept()
            with near:
                near.sendall(b"x")
                assert waiting.recv(1) == b"x"
                waiting.sendall(b"y")
                assert near.recv(1) == b"y"


def test_other_sockets_are_left_alone() -> None:
    with socket.socket(socket.AF_UNIX) as other:
        hold_off(other)
