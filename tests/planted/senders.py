"""Bugs of senders: what they count, and what they do to what they were lent."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

from ancfuzz import Implementation, encode
from ancfuzz.syscalls import sendmsg

from .registry import RIGHT, Messages, numbers_in, plant, space_as_length, try_to_close

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable


class Sender(Implementation):
    """A sender that does something besides sending."""

    def aside(self, sock: socket.socket, messages: Messages) -> None:
        """What it does wrong."""

    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        count = RIGHT.send(sock, data, messages, flags)
        self.aside(sock, messages)
        return count


@plant("FD.count")
class SendsSpaceAsLength(Implementation):
    """CMSG_SPACE as ``cmsg_len``: the kernel reads the padding as descriptor 0."""

    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        return sendmsg(sock.fileno(), [data], space_as_length(messages), flags)


@plant("BOUND.count")
class CountsControlToo(Implementation):
    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        return RIGHT.send(sock, data, messages, flags) + len(encode(messages))


@plant("ERR.errno")
class NeverFails(Implementation):
    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        try:
            return RIGHT.send(sock, data, messages, flags)
        except OSError:
            return len(data)


@plant("LEAK.sent")
class KeepsADuplicate(Sender):
    def aside(self, sock: socket.socket, messages: Messages) -> None:
        for number in numbers_in(messages):
            if number >= 0:
                os.dup(number)


@plant("LEAK.foreign")
class ClosesWhatItSent(Sender):
    def aside(self, sock: socket.socket, messages: Messages) -> None:
        for number in set(numbers_in(messages)):
            try_to_close(number)


@plant("LEAK.foreign")
class ClosesOneAndLeaksOne(Sender):
    """As many open as before, and not the same."""

    def aside(self, sock: socket.socket, messages: Messages) -> None:
        for number in numbers_in(messages)[:1]:
            spare = os.dup(number)
            os.dup(spare)
            os.close(number)
            os.close(spare)


@plant("LEAK.foreign")
class ReplacesWhatItSent(Sender):
    """The number stays open and is something else: ``dup2`` over it."""

    def aside(self, sock: socket.socket, messages: Messages) -> None:
        for number in numbers_in(messages)[:1]:
            os.dup2(0, number, inheritable=False)


@plant("LEAK.foreign")
class ClosesTheSocket(Sender):
    def aside(self, sock: socket.socket, messages: Messages) -> None:
        os.close(sock.detach())


@plant("FD.count")
class AgainOnEachShortWrite(Implementation):
    """The descriptors go with every part of a long message."""

    def send_all(self, sock: socket.socket, data: bytes, messages: Messages) -> None:
        send_in_parts(sock, data, lambda _: messages)


@plant("FD.count")
class WithTheLastPart(Implementation):
    """The descriptors are kept for a part that a long message does not have."""

    def send_all(self, sock: socket.socket, data: bytes, messages: Messages) -> None:
        whole = len(data)
        send_in_parts(sock, data, lambda rest: messages if rest > whole else ())


@plant("BOUND.data")
class OnePartOnly(Implementation):
    """Takes a short write for the whole."""

    def send_all(self, sock: socket.socket, data: bytes, messages: Messages) -> None:
        RIGHT.send(sock, data, messages)


def send_in_parts(
    sock: socket.socket, data: bytes, messages_for: Callable[[int], Messages]
) -> None:
    while data:
        try:
            sent = RIGHT.send(sock, data, messages_for(len(data)))
        except BlockingIOError:
            select.select([], [sock], [], 1.0)
        else:
            data = data[sent:]
