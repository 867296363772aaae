"""The three kinds of Unix socket, and what their receives have in common."""

from __future__ import annotations

import socket

from ancfuzz.ancillary import SocketAncillary
from ancfuzz.sockets import UnixDatagram, UnixSeqpacket, UnixStream

KINDS = [UnixStream, UnixDatagram, UnixSeqpacket]
TYPES = {
    UnixStream: socket.SOCK_STREAM,
    UnixDatagram: socket.SOCK_DGRAM,
    UnixSeqpacket: socket.SOCK_SEQPACKET,
}
NOTHING = SocketAncillary(0)


def count_of(got: int | tuple[int, bool]) -> int:
    """Data bytes received: a packet socket says more than that."""
    return got if isinstance(got, int) else got[0]
