"""A pair of sockets by their numbers, and what the raw calls send through it."""

from __future__ import annotations

import socket
import struct
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ancfuzz import ControlMessage
from ancfuzz.syscalls import sendmsg

if TYPE_CHECKING:
    from collections.abc import Generator

KINDS = [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET]
CANARY = 0xA5


@contextmanager
def pair(kind: int = socket.SOCK_STREAM) -> Generator[tuple[int, int]]:
    one, other = socket.socketpair(socket.AF_UNIX, kind)
    with one, other:
        yield one.fileno(), other.fileno()


def fill(fd: int, buffers: list[Any]) -> None:
    """Send until nothing more goes."""
    with suppress(BlockingIOError):
        while True:
            sendmsg(fd, buffers)


def rights(*fds: int) -> ControlMessage:
    data = struct.pack(f"{len(fds)}i", *fds)
    return ControlMessage(socket.SOL_SOCKET, socket.SCM_RIGHTS, data)
