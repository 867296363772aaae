"""The message header that both system calls take, and the two calls on it.

``struct msghdr`` and ``struct iovec`` are declared as this platform has them.  A
:class:`Message` is made once and used for any number of calls: what does not change
from one call to the next (the control memory, the vectors) is not told the C library
again.

The invariant: after a receive, ``length`` and ``flags`` say what was taken off the
queue, also where an exception cut the call short; and between calls the message holds
no memory but its own.

This module must not know what control bytes mean.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
from typing import TYPE_CHECKING, ClassVar

from ancfuzz.errors import EnvironmentUnsupported
from ancfuzz.syscalls.memory import KEEPABLE, address_of, place, share

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Buffer

__all__ = ["IOV_MAX", "NO_MEMORY", "Message"]

if not hasattr(socket, "AF_UNIX") or not hasattr(socket, "CMSG_LEN"):
    raise EnvironmentUnsupported(
        f"no descriptor can be passed on {sys.platform}: this Python has no AF_UNIX "
        "sockets with sendmsg and recvmsg; ancfuzz's codec, cases and corpora work here"
    )

IOV_MAX: int = os.sysconf("SC_IOV_MAX")
"""Most buffers in one call; more are EMSGSIZE (sendmsg(2))."""

# Linux reads two words here; musl declares an int beside padding for each, which is the
# same memory. POSIX and the BSDs have an int and a socklen_t.
_LINUX = sys.platform in {"linux", "android"}
_IovLength = ctypes.c_size_t if _LINUX else ctypes.c_int
_ControlLength = ctypes.c_size_t if _LINUX else ctypes.c_uint

# As plain ints: or-ing an IntFlag takes half as long as sending a byte.
_NO_SIGNAL = int(getattr(socket, "MSG_NOSIGNAL", 0))
_CLOSE_ON_EXEC = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))

_INT_MAX = 2**31 - 1
_ADDRESS_CAPACITY = 128  # sizeof(struct sockaddr_storage)

NO_MEMORY = bytearray()
"""What is passed on as NULL and 0."""

# msg_flags before a receive. The kernel writes the field when it has taken a message
# off the queue, and only then; and it never sets every bit.
_NOTHING_ARRIVED = -1


class _Vector(ctypes.Structure):
    """``struct iovec``; a field declared ``char *`` takes bytes and addresses alike."""

    base: bytes | int | None
    length: int
    _fields_: ClassVar = (("base", ctypes.c_char_p), ("length", ctypes.c_size_t))


class Header(ctypes.Structure):
    """``struct msghdr``."""

    name: bytes | int | None
    namelen: int
    iov: int
    iovlen: int
    control: bytes | int | None
    controllen: int
    flags: int
    _fields_: ClassVar = (
        ("name", ctypes.c_char_p),
        ("namelen", ctypes.c_uint),
        ("iov", ctypes.c_void_p),
        ("iovlen", _IovLength),
        ("control", ctypes.c_char_p),
        ("controllen", _ControlLength),
        ("flags", ctypes.c_int),
    )


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


class Message:
    """A ``struct msghdr`` and its memory for control bytes, for any number of calls.

    The memory can be neither resized nor released while the message lives.  One message
    serves one call at a time: threads need one each.

    Attributes:
        control: the memory for control bytes, as unsigned bytes.
        capacity: its size in bytes.
        length: bytes of it in use.  :meth:`send` sends as many; :meth:`receive` sets it
            to msg_controllen, and to 0 if nothing arrived.
        flags: msg_flags of the last receive; 0 if nothing arrived.
        address: the ``sockaddr`` of the last sender, b"" if it has none; None if
            nothing arrived, or if it was not asked for.
    """

    __slots__ = (
        "_entries",
        "_first",
        "_header",
        "_held",
        "_name",
        "_reference",
        "_vectors",
        "address",
        "capacity",
        "control",
        "flags",
        "length",
    )

    def __init__(self, control: Buffer = NO_MEMORY) -> None:
        """Take hold of memory for control bytes, none of which is in use at first.

        Args:
            control: any writable C-contiguous buffer, at any alignment; none by
                default.

        Raises:
            TypeError: it is no buffer, read-only, or not contiguous.
        """
        self.flags = 0
        self.address: bytes | None = None
        self._held: list[object] = []
        self._header = Header()
        self._reference = ctypes.byref(self._header)
        self._name = ctypes.create_string_buffer(_ADDRESS_CAPACITY)
        self._make_room(8)
        self.lend(control, self._held, writable=True)
        self.length = 0
        # A view of no bytes cannot be cast.
        self.control = memoryview(control if self.capacity else NO_MEMORY).cast("B")

    def lend(self, control: Buffer, held: list[object], *, writable: bool) -> None:
        """Let ``msg_control`` name this memory, all of it in use, while it is held."""
        where, size = place(control, held, writable=writable)
        self._header.control = where
        self.capacity = self.length = size

    def _make_room(self, count: int) -> None:
        self._vectors = (_Vector * count)()
        self._entries = tuple(self._vectors)
        self._first = self._entries[0]
        self._header.iov = ctypes.addressof(self._vectors)

    def _point_at(self, buffers: Sequence[Buffer], *, writable: bool) -> list[object]:
        """Let the vectors name these buffers; what is returned holds them there."""
        count = len(buffers)
        if count > len(self._entries):
            self._make_room(count)
        self._header.iovlen = count
        held: list[object] = []
        try:
            for entry, buffer in zip(self._entries, buffers, strict=False):
                entry.base, entry.length = place(buffer, held, writable=writable)
        except BaseException:
            held.clear()
            raise
        return held

    # What nearly everybody has, one bytes to send or one bytearray to receive into, is
    # quicker below than through place(). And what holds the memory is dropped at the
    # end, not left to the frame: a traceback would keep that, and the memory with it.

    def send(
        self,
        fd: int,
        buffers: Sequence[Buffer],
        flags: int = 0,
        address: bytes | None = None,
    ) -> int:
        """Call ``sendmsg`` with the control bytes in use; see :func:`sendmsg`."""
        if not -1 <= fd <= _INT_MAX:
            raise _no_descriptor(fd)
        header = self._header
        held: list[object] | None = None
        try:
            if (
                len(buffers) == 1
                and type(data := buffers[0]) is bytes
                and len(data) <= KEEPABLE
            ):
                first = self._first
                first.base = data
                first.length = len(data)
                header.iovlen = 1
            else:
                held = self._point_at(buffers, writable=False)
            header.controllen = self.length
            if address is not None:
                header.name, header.namelen = address, len(address)
            flags |= _NO_SIGNAL
            while (count := libc_sendmsg(fd, self._reference, flags)) < 0:
                _raise_unless_interrupted()
            return count
        finally:
            if held:
                held.clear()
            if address is not None:
                header.name, header.namelen = None, 0

    def receive(
        self,
        fd: int,
        buffers: Sequence[Buffer],
        flags: int = 0,
        *,
        address: bool = False,
        cloexec: bool = True,
    ) -> int:
        """Call ``recvmsg`` with all of the control memory; see :func:`recvmsg`.

        Whatever leaves it, ``length`` and ``flags`` are those of what was taken off the
        queue: a signal handler may raise just when something has arrived.
        """
        if not -1 <= fd <= _INT_MAX:
            raise _no_descriptor(fd)
        header = self._header
        header.flags = _NOTHING_ARRIVED
        self.length = self.flags = 0
        self.address = None
        shared: ctypes.c_char | None = None
        held: list[object] | None = None
        try:
            if (
                len(buffers) == 1
                and type(data := buffers[0]) is bytearray
                and (size := len(data))
            ):
                shared = share(data)
                first = self._first
                first.base = address_of(shared)
                first.length = size
                header.iovlen = 1
            else:
                held = self._point_at(buffers, writable=True)
            header.controllen = self.capacity
            if address:
                header.name = address_of(self._name)
                header.namelen = _ADDRESS_CAPACITY
            if cloexec:
                flags |= _CLOSE_ON_EXEC
            while (count := libc_recvmsg(fd, self._reference, flags)) < 0:
                _raise_unless_interrupted()
            return count
        finally:
            shared = None
            if held:
                held.clear()
            if (arrived := header.flags) != _NOTHING_ARRIVED:
                self.flags = arrived
                self.length = header.controllen
                if address:
                    self.address = self._name.raw[: header.namelen]
            if address:
                header.name, header.namelen = None, 0
