"""Unix sockets that send and receive control messages: three kinds, one behaviour.

What Rust's ``UnixStream`` and ``UnixDatagram`` offer for ancillary data, and a
``UnixSeqpacket`` beside them, so that a packet's MSG_TRUNC is never lost.  Everything
else that a socket can do is ``socket.socket``'s business, and :attr:`UnixStream.socket`
is one: its timeout is honoured, its options count, closing either closes both.

The invariants: a call that returns has sent or received; EINTR is no error; SIGPIPE
never comes; a call that could only lose the messages in silence raises.

This room must not know what control messages say (``ancillary`` does).
"""

from __future__ import annotations

from ancfuzz.sockets.addresses import InvalidInput, SocketPath
from ancfuzz.sockets.kinds import UnixDatagram, UnixSeqpacket, UnixStream

__all__ = [
    "InvalidInput",
    "SocketPath",
    "UnixDatagram",
    "UnixSeqpacket",
    "UnixStream",
]
