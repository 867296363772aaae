"""The kinds of Unix socket, each with the calls that fit it.

A stream returns how much came, a packet socket also whether that is all of the packet;
only a datagram has somebody to send to and somebody who sent.

This module must not know what control messages say.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Self

from ancfuzz.sockets.addresses import decode_address, encode_address
from ancfuzz.sockets.endpoint import UnixSocket
from ancfuzz.syscalls import IOV_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

    from ancfuzz.ancillary import SocketAncillary
    from ancfuzz.sockets.addresses import SocketPath

__all__ = ["UnixDatagram", "UnixSeqpacket", "UnixStream"]

_MSG_TRUNC = int(socket.MSG_TRUNC)


class UnixStream(UnixSocket):
    """A stream: bytes without boundaries, and messages between them.

    What is received ends behind the bytes that came with descriptors, and begins with
    whatever came before them (R12, ``unix_stream_read_generic`` in
    ``net/unix/af_unix.c``).
    """

    __slots__ = ()
    _kind = socket.SOCK_STREAM

    def send_vectored_with_ancillary(
        self, bufs: Sequence[Buffer], ancillary: SocketAncillary, flags: int = 0
    ) -> int:
        """Send data, and control messages with its first byte.

        The messages stay in the buffer: a second send sends them again.

        Args:
            bufs: the data, one behind the other.
            ancillary: the messages.
            flags: ``MSG_*``; MSG_NOSIGNAL is added.

        Returns:
            Data bytes sent, perhaps fewer than there are.  The messages went with the
            first of them: what is sent of the rest must not bring them again.  So 0
            says that no message went either: with no data to go with, a stream checks
            descriptors and drops them (unix(7); S14).

        Raises:
            TimeoutError: the socket's timeout is over.
            OSError: with the errno of the call; nothing is sent.
        """
        if len(bufs) > IOV_MAX:
            bufs = _as_many_as_go(bufs)
        try:
            return ancillary.sendmsg(self._socket.fileno(), bufs, flags)
        except BlockingIOError:
            return self._send_later(bufs, ancillary, flags)

    def recv_vectored_with_ancillary(
        self, bufs: Sequence[Buffer], ancillary: SocketAncillary, flags: int = 0
    ) -> int:
        """Receive data, and control messages into the buffer.

        Args:
            bufs: where the data goes, one behind the other.
            ancillary: is cleared first; owns what arrives.
            flags: ``MSG_*``; MSG_CMSG_CLOEXEC is added.

        Returns:
            Data bytes received; 0 at the end of the stream.

        Raises:
            TimeoutError: the socket's timeout is over.
            OSError: with the errno of the call; the buffer is empty.
        """
        if len(bufs) > IOV_MAX:
            bufs = _as_many_as_go(bufs)
        try:
            return ancillary.recvmsg(self._socket.fileno(), bufs, flags)
        except BlockingIOError:
            return self._receive_later(bufs, ancillary, flags)


class _UnixPacketSocket(UnixSocket):
    """A socket that keeps boundaries, and so can cut a packet short."""

    __slots__ = ()

    def send_vectored_with_ancillary(
        self, bufs: Sequence[Buffer], ancillary: SocketAncillary, flags: int = 0
    ) -> int:
        """Send a packet with control messages; it may have no data.

        The messages stay in the buffer: a second send sends them again.

        Args:
            bufs: the data, one behind the other; more than ``IOV_MAX`` of them are
                EMSGSIZE.
            ancillary: the messages.
            flags: ``MSG_*``; MSG_NOSIGNAL is added.

        Returns:
            Data bytes sent, which are all.

        Raises:
            TimeoutError: the socket's timeout is over.
            OSError: with the errno of the call; nothing is sent.
        """
        try:
            return ancillary.sendmsg(self._socket.fileno(), bufs, flags)
        except BlockingIOError:
            return self._send_later(bufs, ancillary, flags)

    def recv_vectored_with_ancillary(
        self, bufs: Sequence[Buffer], ancillary: SocketAncillary, flags: int = 0
    ) -> tuple[int, bool]:
        """Receive a packet, and its control messages into the buffer.

        Args:
            bufs: where the data goes, one behind the other.
            ancillary: is cleared first; owns what arrives.
            flags: ``MSG_*``; MSG_CMSG_CLOEXEC is added.

        Returns:
            Data bytes received, and whether there were more (MSG_TRUNC): those are
            lost.  A packet of 0 bytes may bring descriptors.

        Raises:
            TimeoutError: the socket's timeout is over.
            OSError: with the errno of the call; the buffer is empty.
        """
        try:
            count = ancillary.recvmsg(self._socket.fileno(), bufs, flags)
        except BlockingIOError:
            count = self._receive_later(bufs, ancillary, flags)
        return count, bool(ancillary.flags & _MSG_TRUNC)


class UnixSeqpacket(_UnixPacketSocket):
    """Packets over a connection, in order."""

    __slots__ = ()
    _kind = socket.SOCK_SEQPACKET


class UnixDatagram(_UnixPacketSocket):
    """Packets to and from anybody."""

    __slots__ = ()
    _kind = socket.SOCK_DGRAM

    @classmethod
    def bind(cls, path: SocketPath) -> Self:
        """A socket at this path, which must not exist yet.

        Args:
            path: as for :meth:`connect`; an empty one asks for any abstract name
                (Linux).

        Raises:
            InvalidInput: the path is too long, or has a zero byte inside.
            OSError: with the errno of ``bind``.
        """
        return cls._opened(socket.socket.bind, path)

    def send_vectored_with_ancillary_to(
        self,
        bufs: Sequence[Buffer],
        ancillary: SocketAncillary,
        path: SocketPath,
        flags: int = 0,
    ) -> int:
        """Send a packet to the socket at a path.

        Args:
            bufs: as for :meth:`send_vectored_with_ancillary`.
            ancillary: as there.
            path: as for :meth:`connect`.
            flags: ``MSG_*``; MSG_NOSIGNAL is added.

        Returns:
            Data bytes sent, which are all.

        Raises:
            InvalidInput: the path is too long, or has a zero byte inside.
            TimeoutError: the socket's timeout is over.
            OSError: with the errno of the call; nothing is sent.
        """
        address = encode_address(path)
        try:
            return ancillary.sendmsg(self._socket.fileno(), bufs, flags, address)
        except BlockingIOError:
            return self._send_later(bufs, ancillary, flags, address)

    def recv_vectored_with_ancillary_from(
        self, bufs: Sequence[Buffer], ancillary: SocketAncillary, flags: int = 0
    ) -> tuple[int, bool, str | bytes | None]:
        """Receive a packet, and learn who sent it.

        Returns:
            As :meth:`recv_vectored_with_ancillary`; and the sender's address as
            :mod:`socket` has it: a path, the bytes of an abstract name, or None if the
            sender has none.

        Raises:
            TimeoutError: the socket's timeout is over.
            OSError: with the errno of the call; the buffer is empty.
        """
        try:
            count = ancillary.recvmsg(self._socket.fileno(), bufs, flags, address=True)
        except BlockingIOError:
            count = self._receive_later(bufs, ancillary, flags, address=True)
        truncated = bool(ancillary.flags & _MSG_TRUNC)
        return count, truncated, decode_address(ancillary.address)


def _as_many_as_go(bufs: Sequence[Buffer]) -> Sequence[Buffer]:
    # On a stream the rest can go in the next call. Empty buffers are left out first,
    # lest there be no data in those that go.
    return [one for one in bufs if memoryview(one).nbytes][:IOV_MAX]
