"""How many descriptors the process may have, and how many clients that makes room for."""

import resource
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.descriptors import RESERVE, room


@pytest.mark.parametrize(
    ("descriptors", "clients"),
    [
        (65536, 65536 - 256),
        (1024, 768),
        (513, 257),
        (512, 256),
        (511, 255),
        (256, 128),
        (200, 100),
        (3, 1),
    ],
)
def test_some_descriptors_are_kept_for_other_things(descriptors: int, clients: int) -> None:
    """So many as are reserved, or half of them where that would leave the clients with less."""
    assert room(descriptors) == clients


@given(st.integers(2, 1 << 30))
def test_there_is_always_room_for_a_client_and_for_something_else(descriptors: int) -> None:
    assert 1 <= room(descriptors) < descriptors
    assert room(descriptors) <= room(descriptors + 1)
    assert descriptors - room(descriptors) <= RESERVE


RAISE = """
import resource
from regroute.descriptors import raise_descriptors
print(raise_descriptors(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("soft", "hard"), [(100, 800), (800, 800), (100, 150)])
def test_the_soft_limit_becomes_the_hard_one(soft: int, hard: int) -> None:
    """In a process of its own: nobody but root gets a hard limit back."""
    started = subprocess.run(
        [sys.executable, "-c", RAISE],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
    )
    assert started.stdout.split() == [str(room(hard)), str(hard), str(hard)]


def test_where_the_limit_cannot_be_raised_what_there_is_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where a container's policy refuses the call."""

    def refuse(kind: int, limits: tuple[int, int]) -> None:
        raise PermissionError(1, "Operation not permitted")

    from regroute.descriptors import raise_descriptors

    monkeypatch.setattr(resource, "setrlimit", refuse)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, 4096))
    assert raise_descriptors() == room(1024)
