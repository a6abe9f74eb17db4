"""How many connections the process has descriptors for."""

import resource

RESERVE = 256
"""Descriptors for all that is no client's connection: listeners, logs, files, what is to come."""


def raise_descriptors() -> int:
    """Raise the soft limit of descriptors to the hard one, and say how many clients fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    except (OSError, ValueError):
        # Not allowed here; then what there is must do.
        pass
    return room(soft)


def room(descriptors: int) -> int:
    """How many connections fit into so many descriptors; half of them where they are few."""
    return max(descriptors - RESERVE, descriptors // 2)
