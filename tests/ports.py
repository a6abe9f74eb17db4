"""Ports to listen on in tests."""

import random
import socket

_CHOICE = range(10_240, 32_768)
"""Below the ports that the system gives to connections (ip_local_port_range): one of those may be
taken again before a test has come to listen on it."""


def free_port() -> int:
    """A port that nobody listens on, on any address."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens on, on any address."""
    found: list[int] = []
    for port in random.sample(_CHOICE, len(_CHOICE)):
        if len(found) == count:
            break
        with socket.socket(socket.AF_INET6) as probe:
            try:
                probe.bind(("::", port))
            except OSError:
                continue
        found.append(port)
    return found
