"""Runs a command as systemd would: with sockets from descriptor 3 on, in this very process.

Its arguments are NAME=DESCRIPTOR for each socket, then -- and the command.
"""

import fcntl
import os
import sys

FIRST = 3


def main() -> None:
    separator = sys.argv.index("--")
    pairs = [argument.rpartition("=") for argument in sys.argv[1:separator]]
    given = [int(descriptor) for _, _, descriptor in pairs]
    # Out of the way first: one may be where another is to go.
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 100) for descriptor in given]
    for descriptor in given:
        os.close(descriptor)
    for target, descriptor in enumerate(moved, FIRST):
        os.dup2(descriptor, target)
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = str(len(moved))
    os.environ["LISTEN_FDNAMES"] = ":".join(name for name, _, _ in pairs)
    command = sys.argv[separator + 1 :]
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
