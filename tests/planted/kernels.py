"""Bugs of kernels: pairs of sockets whose ends are faulty themselves."""

from __future__ import annotations

import socket
from typing import Any, ClassVar

from ancfuzz import Implementation

from .registry import SCM_CREDENTIALS, SCM_RIGHTS, plant

Parts = tuple[bytes, list[tuple[int, int, bytes]], int, object]


class End:
    """An end of a pair of its own: a kernel that :meth:`spoil` makes faulty."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sendmsg = sock.sendmsg
        self.setsockopt = sock.setsockopt
        self.shutdown = sock.shutdown
        self.close = sock.close

    def spoil(self, got: Parts) -> Parts:
        return got

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0) -> Parts:
        return self.spoil(self.sock.recvmsg(bufsize, ancbufsize, flags))


class Kernel(Implementation):
    """A kernel, right but for its :attr:`end`."""

    end: ClassVar[type[End]] = End

    def pair(self, kind: str) -> tuple[Any, Any]:
        types = {"stream": 1, "dgram": 2, "seqpacket": 5}
        type_ = types[kind] | socket.SOCK_NONBLOCK
        a, b = socket.socketpair(socket.AF_UNIX, type_)
        return self.end(a), self.end(b)


class WithoutTruncation(End):
    def spoil(self, got: Parts) -> Parts:
        data, control, flags, address = got
        return data, control, flags & ~int(socket.MSG_CTRUNC), address


class WithoutCredentials(End):
    def spoil(self, got: Parts) -> Parts:
        data, control, flags, address = got
        return data, [m for m in control if m[1] != SCM_CREDENTIALS], flags, address


class InReverse(End):
    def spoil(self, got: Parts) -> Parts:
        data, control, flags, address = got
        turned = [
            (level, type_, b"".join(reversed([part[i : i + 4] for i in places])))
            if type_ == SCM_RIGHTS
            else (level, type_, part)
            for level, type_, part in control
            for places in [range(0, len(part), 4)]
        ]
        return data, turned, flags, address


@plant("TRUNC.flag")
class KernelLosesTruncation(Kernel):
    end = WithoutTruncation


@plant("CRED.value")
class KernelDropsCredentials(Kernel):
    end = WithoutCredentials


@plant("FD.identity")
class KernelReordersDescriptors(Kernel):
    end = InReverse
