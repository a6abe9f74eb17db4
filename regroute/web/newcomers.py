"""Who connects in the moment in which a listening socket is closed, and would be reset.

The kernel completes connections by itself, so between the last accept and the close there may be
one more. A filter on the socket leaves connections that begin unanswered, while those under way
are completed. A client's kernel asks again a second later (RFC 6298 §2), and meets whatever listens
there by then.
"""

import ctypes
import socket
import struct
import sys
from contextlib import suppress

HOLD_OFF_TIME = 0.02
"""How long before the close newcomers are held off, in seconds: longer than a handshake takes that
is under way, and not much longer, for it costs each of them a second."""

_SO_ATTACH_FILTER = 26  # socket(7), asm-generic/socket.h

# Classic BPF on the TCP header: drop what has SYN without ACK.
_FLAGS, _SYN_ACK, _SYN = 13, 0x12, 0x02
_DROP, _KEEP = 0, 0x40000  # how many bytes of the packet are let through
_PROGRAM = (
    (0x30, 0, 0, _FLAGS),  # ldb [13]
    (0x54, 0, 0, _SYN_ACK),  # and #0x12
    (0x15, 0, 1, _SYN),  # jeq #0x02
    (0x06, 0, 0, _DROP),  # ret #0
    (0x06, 0, 0, _KEEP),  # ret #0x40000
)
_CODE = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in _PROGRAM))


def hold_off(listening: socket.socket) -> None:
    """Leave new connections to a TCP socket unanswered from now on, where the system knows how."""
    if sys.platform != "linux":
        return
    # struct sock_fprog.
    program = struct.pack("@HP", len(_PROGRAM), ctypes.addressof(_CODE))
    with suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
