"""The message header that both system calls take, as this platform declares it.

``struct msghdr`` and ``struct iovec`` take long to make and little to fill in, so a
:class:`Call` has one of the former, some of the latter and room for an address, and is
used again and again.  Whoever makes a system call takes one from :data:`idle`, and has
it alone until it is back there: two threads, or a signal handler and what it
interrupted, never fill in the same header.

The invariant: an idle call names one buffer and no address, and holds no memory but its
own.  The addresses in it are those of the last call, and nobody reads them.

This module must not know what control bytes mean, nor who owns the memory.
"""

from __future__ import annotations

import ctypes
import socket
import sys
from typing import TYPE_CHECKING, ClassVar

from ancfuzz.errors import EnvironmentUnsupported
from ancfuzz.syscalls.memory import place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

__all__ = ["NOTHING_ARRIVED", "Call", "Header", "idle"]

if not hasattr(socket, "AF_UNIX") or not hasattr(socket, "CMSG_LEN"):
    raise EnvironmentUnsupported(
        f"no descriptor can be passed on {sys.platform}: this Python has no AF_UNIX "
        "sockets with sendmsg and recvmsg; ancfuzz's codec, cases and corpora work here"
    )

# Linux reads two words here; musl declares an int beside padding for each, which is the
# same memory. POSIX and the BSDs have an int and a socklen_t.
_LINUX = sys.platform in {"linux", "android"}
_IovLength = ctypes.c_size_t if _LINUX else ctypes.c_int
_ControlLength = ctypes.c_size_t if _LINUX else ctypes.c_uint

_ADDRESS_CAPACITY = 128  # sizeof(struct sockaddr_storage)
# The kernel writes the field when it has taken a message off the queue, and only then;
# and it never sets every bit.
NOTHING_ARRIVED = -1
"""``msg_flags`` before a receive."""

_VECTORS = 8  # more are made where there are more buffers


class Vector(ctypes.Structure):
    """``struct iovec``."""

    base: int | None
    length: int
    _fields_: ClassVar = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Header(ctypes.Structure):
    """``struct msghdr``."""

    name: int | None
    namelen: int
    iov: int
    iovlen: int
    control: int | None
    controllen: int
    flags: int
    _fields_: ClassVar = (
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint),
        ("iov", ctypes.c_void_p),
        ("iovlen", _IovLength),
        ("control", ctypes.c_void_p),
        ("controllen", _ControlLength),
        ("flags", ctypes.c_int),
    )


class Call:
    """What one system call at a time needs to be made.

    Attributes:
        header: names :attr:`first`, and no address.
        reference: what is passed to the C library for it.
        first: the vector of the first buffer.
    """

    __slots__ = ("_entries", "_name", "_vectors", "first", "header", "reference")

    def __init__(self) -> None:
        self.header = Header()
        self.reference = ctypes.byref(self.header)
        self._name = ctypes.create_string_buffer(_ADDRESS_CAPACITY)
        self._make_room(_VECTORS)
        self.header.iovlen = 1

    def _make_room(self, count: int) -> None:
        self._vectors = (Vector * count)()
        self._entries = tuple(self._vectors)
        self.first = self._entries[0]
        self.header.iov = ctypes.addressof(self._vectors)

    def point_at(self, buffers: Sequence[Buffer], *, writable: bool) -> list[object]:
        """Let the header name these buffers; what is returned holds them there.

        Raises:
            TypeError: something is no C-contiguous buffer, or read-only and to be
                written to.
        """
        count = len(buffers)
        if count > len(self._entries):
            self._make_room(count)
        held: list[object] = []
        try:
            for entry, buffer in zip(self._entries, buffers, strict=False):
                entry.base, entry.length = place(buffer, held, writable=writable)
        except BaseException:
            held.clear()
            raise
        self.header.iovlen = count
        return held

    def ask_for_sender(self) -> None:
        """Let the header have room for a sender's address."""
        self.header.name = ctypes.addressof(self._name)
        self.header.namelen = _ADDRESS_CAPACITY

    def sender(self) -> bytes | None:
        """The sender's address; None if nothing arrived.  No room for one any more."""
        header = self.header
        arrived = header.flags != NOTHING_ARRIVED
        address = self._name.raw[: header.namelen] if arrived else None
        header.name, header.namelen = None, 0
        return address


idle: list[Call] = []
"""Calls that nobody uses just now: to be popped, or made if there is none."""
