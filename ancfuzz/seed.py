"""The seed under test: ``SocketAncillary`` over this project's own sockets.

What users of the library call is checked like anybody else's: one
:class:`~ancfuzz.SocketAncillary` receives again and again, so that anything stale would
show, and what it cannot say (a message of another type) is said to be so.

This room must not know how it is performed.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from ancfuzz.abi import NATIVE
from ancfuzz.ancillary import SocketAncillary, SocketCred
from ancfuzz.codec import ControlMessage, decode
from ancfuzz.errors import Unsupported
from ancfuzz.implementation import Implementation, Received
from ancfuzz.sockets import UnixDatagram, UnixSeqpacket, UnixStream

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Seed"]

_KINDS: dict[int, type[UnixStream | UnixDatagram | UnixSeqpacket]] = {
    socket.SOCK_STREAM: UnixStream,
    socket.SOCK_DGRAM: UnixDatagram,
    socket.SOCK_SEQPACKET: UnixSeqpacket,
}
_RIGHTS = (NATIVE.constants.get("SOL_SOCKET"), NATIVE.constants.get("SCM_RIGHTS"))
_CREDENTIALS = (
    NATIVE.constants.get("SOL_SOCKET"),
    NATIVE.constants.get("SCM_CREDENTIALS"),
)
_INT = 4  # bytes of a descriptor number
_UCRED = 12  # bytes of a struct ucred


def _over(sock: socket.socket) -> UnixStream | UnixDatagram | UnixSeqpacket:
    return _KINDS[sock.type].from_socket(sock)


def _add(ancillary: SocketAncillary, message: ControlMessage) -> bool:
    kind = message.level, message.type
    if kind == _RIGHTS and len(message.data) % _INT == 0:
        count = len(message.data) // _INT
        return ancillary.add_fds(struct.unpack(f"={count}i", message.data))
    if kind == _CREDENTIALS and len(message.data) % _UCRED == 0:
        creds = (SocketCred(*ids) for ids in struct.iter_unpack("=iII", message.data))
        return ancillary.add_creds(creds)
    raise Unsupported("SocketAncillary adds descriptors and credentials, and no more")


class Seed(Implementation):
    """SocketAncillary over UnixStream, UnixDatagram and UnixSeqpacket."""

    name = "seed"

    def __init__(self) -> None:
        self._ancillary = SocketAncillary(0)

    def encode_into(
        self, buffer: memoryview, messages: Sequence[ControlMessage]
    ) -> int | None:
        """Add to an ancillary over the caller's buffer."""
        ancillary = SocketAncillary(buffer)
        # One that does not fit changes nothing, and ours is asked for all of them.
        size = sum(NATIVE.cmsg_space(len(message.data)) for message in messages)
        if size > ancillary.capacity and len(messages) > 1:
            return None
        added = [_add(ancillary, message) for message in messages]
        return len(ancillary) if all(added) else None

    def send(
        self,
        sock: socket.socket,
        data: bytes,
        messages: Sequence[ControlMessage],
        flags: int = 0,
    ) -> int:
        """Send what was added to an ancillary of just the right capacity."""
        size = sum(NATIVE.cmsg_space(len(message.data)) for message in messages)
        ancillary = SocketAncillary(size)
        for message in messages:
            _add(ancillary, message)
        return _over(sock).send_vectored_with_ancillary([data], ancillary, flags)

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        """Receive into one and the same ancillary, and hand over what it owns."""
        if self._ancillary.capacity != control_capacity:
            self._ancillary.clear()
            self._ancillary = SocketAncillary(control_capacity)
        ancillary = self._ancillary
        data = bytearray(data_capacity)
        got = _over(sock).recv_vectored_with_ancillary([data], ancillary, flags)
        count = got if isinstance(got, int) else got[0]
        messages = tuple(decode(ancillary.control))
        ancillary.take_fds()
        ancillary.take_pidfds()
        return Received(
            data=bytes(data[:count]),
            messages=messages,
            truncated=ancillary.truncated,
            flags=ancillary.flags,
        )

    def held(self) -> tuple[ControlMessage, ...]:
        """What the ancillary would still yield."""
        return tuple(decode(self._ancillary.control))

    def close(self) -> None:
        """Close what was not taken."""
        self._ancillary.clear()
