"""Other sockets below the same interface, and another interface altogether."""

from __future__ import annotations

import socket
from typing import Any

from ancfuzz import (
    Implementation,
    Received,
    Refused,
    SocketAncillary,
    UnixDatagram,
    UnixSeqpacket,
    UnixStream,
    Unsupported,
    decode,
)

from .registry import PLENTY, Messages, is_rights, unusual


@unusual
class ItsOwnSocketpair(Implementation):
    def pair(self, kind: str) -> tuple[Any, Any]:
        types = {
            "stream": socket.SOCK_STREAM,
            "dgram": socket.SOCK_DGRAM,
            "seqpacket": socket.SOCK_SEQPACKET,
        }
        a, b = socket.socketpair(socket.AF_UNIX, types[kind] | socket.SOCK_NONBLOCK)
        return a, b


@unusual
class TheSeed(Implementation):
    """This project's own :class:`ancfuzz.SocketAncillary`, as a user has it."""

    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        if not all(is_rights(m) and len(m.data) % 4 == 0 for m in messages):
            raise Unsupported("descriptors only")
        with SocketAncillary(PLENTY) as ancillary:
            for message in messages:
                if not ancillary.add_fds(list(memoryview(message.data).cast("i"))):
                    raise Unsupported("more than one message takes")
            if messages and not data:
                raise Refused("a stream carries descriptors with data")
            return seed_of(sock).send_vectored_with_ancillary([data], ancillary, flags)

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        data = bytearray(data_capacity)
        with SocketAncillary(control_capacity) as ancillary:
            count = seed_of(sock).recv_vectored_with_ancillary([data], ancillary, flags)
            if not isinstance(count, int):
                count, _ = count
            messages = tuple(decode(ancillary.control))
            ancillary.take_fds()
            ancillary.take_pidfds()
            return Received(bytes(data[:count]), messages, ancillary.truncated)


SEEDS: dict[
    socket.SocketKind,
    type[UnixStream | UnixDatagram | UnixSeqpacket],
] = {
    socket.SOCK_STREAM: UnixStream,
    socket.SOCK_DGRAM: UnixDatagram,
    socket.SOCK_SEQPACKET: UnixSeqpacket,
}


def seed_of(sock: socket.socket) -> UnixStream | UnixDatagram | UnixSeqpacket:
    """The socket as the seed has it; it stays the caller's to close."""
    return SEEDS[socket.SocketKind(sock.type)].from_socket(sock)
