"""One system call each, for callers that keep no :class:`Message` of their own.

The messages of earlier calls are kept for the next ones.  A call that begins inside
another, in a thread or in a signal handler, finds none idle and makes its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ancfuzz.syscalls.message import NO_MEMORY, Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

__all__ = ["ReceiveResult", "recvmsg", "sendmsg"]


class ReceiveResult(NamedTuple):
    """What ``recvmsg`` left in its message header.

    Attributes:
        length: data bytes received.
        control_length: msg_controllen: control bytes received.
        flags: msg_flags: MSG_TRUNC, MSG_CTRUNC, and MSG_CMSG_CLOEXEC if it was given.
        address: the sender's ``sockaddr``, b"" if it has none; None if not asked for.
    """

    length: int
    control_length: int
    flags: int
    address: bytes | None


_idle: list[Message] = []


def _borrow() -> Message:
    try:
        return _idle.pop()
    except IndexError:
        return Message()


def sendmsg(
    fd: int,
    buffers: Sequence[Buffer],
    control: Buffer | None = None,
    flags: int = 0,
    address: bytes | None = None,
) -> int:
    """Send data and control bytes as they are (sendmsg(2)).

    Args:
        fd: a socket's descriptor.
        buffers: the data; more than ``IOV_MAX`` of them are EMSGSIZE.
        control: the control bytes; None and empty ones are NULL and 0.
        flags: ``MSG_*``; MSG_NOSIGNAL is added.
        address: a ``sockaddr`` to send to.

    Returns:
        Data bytes sent: on a stream, perhaps fewer than there are.  Control messages go
        with the first of them, and with none of them they do not go at all (unix(7)).

    Raises:
        OSError: with the errno of the call; never EINTR.
        TypeError: something is no C-contiguous buffer.
    """
    message = _borrow()
    held: list[object] = []
    try:
        message.lend(NO_MEMORY if control is None else control, held, writable=False)
        return message.send(fd, buffers, flags, address)
    finally:
        held.clear()
        _idle.append(message)


def recvmsg(
    fd: int,
    buffers: Sequence[Buffer],
    control: Buffer | None = None,
    flags: int = 0,
    *,
    address: bool = False,
    cloexec: bool = True,
) -> ReceiveResult:
    """Receive data and control bytes as they are (recvmsg(2)).

    Descriptors among the control bytes are the caller's from now on; it is
    :class:`ancfuzz.SocketAncillary` that keeps account of them.

    Args:
        fd: a socket's descriptor.
        buffers: where the data goes; more than ``IOV_MAX`` of them are EMSGSIZE.
        control: where the control bytes go; None and an empty one are NULL and 0.
        flags: ``MSG_*``.
        address: whether the sender's address is wanted.
        cloexec: add MSG_CMSG_CLOEXEC, where the system has it.

    Raises:
        OSError: with the errno of the call; never EINTR.
        TypeError: something is no C-contiguous buffer, or read-only.
    """
    message = _borrow()
    held: list[object] = []
    try:
        message.lend(NO_MEMORY if control is None else control, held, writable=True)
        count = message.receive(fd, buffers, flags, address=address, cloexec=cloexec)
        return ReceiveResult(count, message.length, message.flags, message.address)
    finally:
        held.clear()
        _idle.append(message)
