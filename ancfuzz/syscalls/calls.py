"""One system call each, for callers that keep no :class:`Message` of their own.

The memory is held during the call and no longer, also where an exception keeps the
frames of the call alive with its traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ancfuzz.syscalls.memory import no_buffer
from ancfuzz.syscalls.message import Message

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


def _memory(control: Buffer | None) -> Buffer | int:
    if isinstance(control, int):  # to a Message it is a capacity
        raise no_buffer(control)
    return 0 if control is None else control


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
    message = Message(_memory(control), writable=False)
    try:
        return message.sendmsg(fd, buffers, flags, address)
    finally:
        message.release()


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
    message = Message(_memory(control))
    try:
        count = message.recvmsg(fd, buffers, flags, address=address, cloexec=cloexec)
        return ReceiveResult(count, len(message), message.flags, message.address)
    finally:
        message.release()
