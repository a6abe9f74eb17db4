"""How much of what it has been sent a client has taken.

The kernel holds megabytes for a slow one, so that nothing seems to move for minutes while it reads
all the time.
"""

import os
import socket
import struct

# Where tcpi_bytes_acked is in struct tcp_info (linux/tcp.h), since Linux 4.1.
_ACKNOWLEDGED = 120
_SIZE = _ACKNOWLEDGED + 8


def taken(transport: object) -> int:
    """How many bytes the other end of a TCP connection has acknowledged so far.

    Always none where the system does not tell, and on other connections.
    """
    fileno = getattr(transport, "fileno", None)
    if fileno is None or not hasattr(socket, "TCP_INFO"):
        return 0
    try:
        with socket.socket(fileno=os.dup(fileno())) as same:
            info = same.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
    except OSError:
        return 0
    if len(info) < _SIZE:
        return 0
    (acknowledged,) = struct.unpack_from("=Q", info, _ACKNOWLEDGED)
    return int(acknowledged)
