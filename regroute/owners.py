"""Whose a host is, as far as its name tells."""

from .networks.spans import parse_address

# What many countries put before a name of theirs.
_KINDS = frozenset({"ac", "co", "com", "edu", "gov", "go", "ne", "net", "or", "org"})


def host_of(url: str) -> str:
    """The host of an origin or URL that has been checked, in lower case, without brackets."""
    authority = url.partition("://")[2].partition("/")[0].lower()
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]


def owner(host: str) -> str:
    """The part of a host's name that its owner has registered: an address is its own.

    A guess, for there is no rule, and the list of all exceptions is long and never right: two
    labels, or three under a country's name, as in ``example.co.uk``. So the customers of a cloud
    that gives out names under its own are taken for one.
    """
    bare = host.removesuffix(".")
    try:
        return str(parse_address(bare))
    except ValueError:
        labels = bare.split(".")
    is_regional = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _KINDS
    return ".".join(labels[-3 if is_regional else -2 :])


def is_this_machine(host: str) -> bool:
    """Whether what is said to a host stays on this machine."""
    try:
        return parse_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
