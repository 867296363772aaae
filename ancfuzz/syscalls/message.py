"""Control memory, and the two system calls on it.

A :class:`Message` is what ``sendmsg`` and ``recvmsg`` take beside the data, and what is
left of it afterwards: which memory, how many bytes of it are in use, the flags and the
sender's address.  It costs little to make, and can be used for any number of calls.

The invariant: after a receive, the length and the flags say what was taken off the
queue, also where an exception cut the call short.

This module must not know what control bytes mean.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from array import array
from typing import TYPE_CHECKING

from ancfuzz.errors import UsageError
from ancfuzz.syscalls.header import NOTHING_ARRIVED, Call, idle
from ancfuzz.syscalls.memory import BYTES_BEGIN, address_of, place, share

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Buffer

__all__ = ["IOV_MAX", "Message"]

_BYTE = array("B", b"\0")

IOV_MAX: int = os.sysconf("SC_IOV_MAX")
"""Most buffers in one call; more are EMSGSIZE (sendmsg(2))."""

# As plain ints: or-ing an IntFlag takes half as long as sending a byte.
_NO_SIGNAL = int(getattr(socket, "MSG_NOSIGNAL", 0))
_CLOSE_ON_EXEC = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))

_C_INT_BITS = 31  # and one for the sign

_libc = ctypes.CDLL(None, use_errno=True)
_libc.sendmsg.restype = _libc.recvmsg.restype = ctypes.c_ssize_t
# No argtypes: checking them takes longer than the call. What is passed below is always
# an int, a reference and an int.
libc_sendmsg: Callable[[int, object, int], int] = _libc.sendmsg
libc_recvmsg: Callable[[int, object, int], int] = _libc.recvmsg


def _raise_unless_interrupted() -> None:
    """Return if the call that has just failed is to be repeated.

    Raises:
        OSError: it is not; with the errno of the call.
    """
    number = ctypes.get_errno()
    if number == errno.EINTR:
        return
    # A signal handler may run between a call and this function. If a call of its own
    # fails, its errno takes the place of ours; so what is left behind says "call
    # again": right for a call that was interrupted, harmless for one that failed.
    ctypes.set_errno(errno.EINTR)
    raise OSError(number, os.strerror(number))


def _no_descriptor(fd: int) -> OverflowError:
    # ctypes would cut the number to an int, and so call on somebody else's descriptor.
    return OverflowError(f"{fd} is no descriptor: expected a C int, -1 or above")


def in_use() -> UsageError:
    """What is raised while a receive is under way."""
    return UsageError(
        "another thread, or what this signal handler interrupted, is receiving into "
        "this buffer: expected one for each"
    )


class Message:
    """Memory for control bytes, and what the last call left there.

    The memory is borrowed: it can be neither resized nor released while this lives.

    One thread at a time.  While a receive is under way, whatever else would touch the
    memory is refused: a second receive, a send, :meth:`clear`.
    """

    __slots__ = (
        "_address",
        "_barred",
        "_capacity",
        "_flags",
        "_held",
        "_length",
        "_memory",
        "_where",
    )

    def __init__(self, control: Buffer | int, *, writable: bool = True) -> None:
        """Take hold of memory for control bytes.

        Args:
            control: any C-contiguous buffer, at any alignment; or a number of bytes,
                for memory of its own.
            writable: whether it is to be written to; then none of it is in use yet.  If
                not, all of it is, to be sent.

        Raises:
            ValueError: the number is negative.
            TypeError: it is no buffer, not contiguous, or read-only although it is to
                be written to.
        """
        self._where: int | None
        self._length = self._flags = 0
        self._address: bytes | None = None
        # Why there can be no call now, if there can be none.
        self._barred: Callable[[], Exception] | None = None
        if isinstance(control, int):
            if control < 0:
                raise ValueError(f"a capacity of {control} bytes: expected 0 or more")
            # Nobody else sees this memory, so that nothing has to hold it in its place.
            own = _BYTE * control
            self._memory: array[int] | memoryview | bytes = own
            self._held: list[object] | None = None
            self._where, self._capacity = own.buffer_info()
            return
        self._held = []
        self._where, self._capacity = place(control, self._held, writable=writable)
        if not writable:
            self._length = self._capacity
        if type(control) is bytes:
            self._memory = control
        else:
            # A view of no bytes cannot be cast.
            self._memory = memoryview(control if self._capacity else b"").cast("B")

    @property
    def capacity(self) -> int:
        """The size of the memory in bytes."""
        return self._capacity

    def __len__(self) -> int:
        """Bytes in use."""
        return self._length

    @property
    def flags(self) -> int:
        """``msg_flags`` of the last receive; 0 if it failed, or after :meth:`clear`."""
        return self._flags

    @property
    def address(self) -> bytes | None:
        """The ``sockaddr`` of the last sender: b"" if it has none.

        None if it was not asked for, if the receive failed, and after :meth:`clear`.
        """
        return self._address

    @property
    def control(self) -> bytes:
        """A copy of the bytes in use: what a send sends."""
        return bytes(self._memory[: self._length])

    def clear(self) -> None:
        """Have no byte in use, no flags and no address.

        Raises:
            UsageError: a receive is under way.
        """
        if self._barred is in_use:
            raise in_use()
        if self._length:
            self._forget()
        self._flags = 0
        self._address = None

    def _forget(self) -> None:
        """Have no byte in use any more; called where some are."""
        self._length = 0

    def release(self) -> None:
        """Let go of the memory; what is left can be neither sent nor received into."""
        if self._held is not None:
            self._held.clear()
        self._memory = _BYTE
        self._length = self._capacity = 0

    def _arrived(self, length: int) -> None:
        """What there is to be done about control bytes as soon as they are here."""

    # What nearly everybody has, one bytes to send or one bytearray to receive into, is
    # quicker below than through point_at(). And what holds the memory is dropped at the
    # end, not left to the frame: a traceback would keep that, and the memory with it.

    def sendmsg(
        self,
        fd: int,
        buffers: Sequence[Buffer],
        flags: int = 0,
        address: bytes | None = None,
    ) -> int:
        """Send data and the control bytes in use; see :func:`ancfuzz.syscalls.sendmsg`.

        They stay in use: a second call sends them again.

        Returns:
            Data bytes sent.

        Raises:
            OSError: with the errno of the call; nothing was sent.
            EnvironmentUnsupported: they are laid out for another system.
            UsageError: a receive is under way.
        """
        if fd >> _C_INT_BITS and fd != -1:
            raise _no_descriptor(fd)
        if (barred := self._barred) is not None:
            raise barred()
        try:
            call = idle.pop()
        except IndexError:
            call = Call()
        header = call.header
        held: list[object] | None = None
        try:
            if len(buffers) == 1 and type(data := buffers[0]) is bytes:
                first = call.first
                first.base = id(data) + BYTES_BEGIN
                first.length = len(data)
            else:
                held = call.point_at(buffers, writable=False)
            header.control = self._where
            header.controllen = self._length
            if address is not None:
                address = bytes(memoryview(address))
                header.name = id(address) + BYTES_BEGIN
                header.namelen = len(address)
            flags |= _NO_SIGNAL
            while (count := libc_sendmsg(fd, call.reference, flags)) < 0:
                _raise_unless_interrupted()
            return count
        finally:
            if held is not None:
                held.clear()
                header.iovlen = 1
            if address is not None:
                header.name, header.namelen = None, 0
            idle.append(call)

    def recvmsg(
        self,
        fd: int,
        buffers: Sequence[Buffer],
        flags: int = 0,
        address: bool = False,
        cloexec: bool = True,
    ) -> int:
        """Receive data and control bytes; see :func:`ancfuzz.syscalls.recvmsg`.

        Clears first, so that after a receive that failed there is nothing.  Whatever
        leaves it, length and flags are those of what was taken off the queue: a signal
        handler may raise just when something has arrived.

        Returns:
            Data bytes received.

        Raises:
            OSError: with the errno of the call.
            EnvironmentUnsupported: the memory is for control bytes of another system.
            UsageError: a receive is under way.
        """
        if fd >> _C_INT_BITS and fd != -1:
            raise _no_descriptor(fd)
        try:
            call = idle.pop()
        except IndexError:
            call = Call()
        header = call.header
        header.flags = NOTHING_ARRIVED
        shared: ctypes.c_char | None = None
        held: list[object] | None = None
        if (barred := self._barred) is not None:
            idle.append(call)
            raise barred()
        # No other thread and no signal handler runs between the question and the try.
        self._barred = in_use
        try:
            if self._length:
                self._forget()
            self._flags = 0
            self._address = None
            if (
                len(buffers) == 1
                and type(data := buffers[0]) is bytearray
                and (size := len(data))
            ):
                shared = share(data)
                first = call.first
                first.base = address_of(shared)
                first.length = size
            else:
                held = call.point_at(buffers, writable=True)
            header.control = self._where
            header.controllen = self._capacity
            if address:
                call.ask_for_sender()
            if cloexec:
                flags |= _CLOSE_ON_EXEC
            while (count := libc_recvmsg(fd, call.reference, flags)) < 0:
                _raise_unless_interrupted()
            return count
        finally:
            if (arrived := header.flags) != NOTHING_ARRIVED:
                self._flags = arrived
                if length := header.controllen:
                    self._length = length
                    self._arrived(length)
            if address:
                self._address = call.sender()
            self._barred = shared = None
            if held is not None:
                held.clear()
                header.iovlen = 1
            idle.append(call)
