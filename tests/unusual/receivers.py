"""Otherwise in what a receive shows: less than came, other numbers, other types."""

from __future__ import annotations

import errno
import fcntl
import sys
from typing import TYPE_CHECKING

from ancfuzz import Implementation, Received
from ancfuzz.abi import NATIVE

from .registry import (
    RIGHT,
    SCM_CREDENTIALS,
    SCM_PIDFD,
    SOL_SOCKET,
    UCRED_SIZE,
    Messages,
    Receiver,
    changed,
    close,
    is_pidfd,
    is_rights,
    numbers_in,
    rights,
    unusual,
)

if TYPE_CHECKING:
    import socket

    from ancfuzz.codec import ControlMessage


@unusual
class HidesWhatWasCut(Receiver):
    """Of a message that the kernel cut, nothing: ``truncated`` says it."""

    def shown(self, got: Received) -> Received:
        kept = [m for m in got.messages if not self.is_cut(m)]
        return changed(got, kept if got.truncated else got.messages)

    def is_cut(self, message: ControlMessage) -> bool:
        whole = {SCM_CREDENTIALS: UCRED_SIZE, SCM_PIDFD: 4}
        clocks = {SCM_TIMESTAMP: 16, SCM_TIMESTAMPNS: 16}
        size = (whole | clocks).get(message.type, 0)
        return message.level == SOL_SOCKET and len(message.data) < size


SCM_TIMESTAMP = NATIVE.constants["SCM_TIMESTAMP"]
SCM_TIMESTAMPNS = NATIVE.constants["SCM_TIMESTAMPNS"]


@unusual
class HidesRootAtTheEnd(Receiver):
    """Credentials {0, 0, 0} at the end of a stream are nobody's."""

    def shown(self, got: Received) -> Received:
        if got.data:
            return got
        kept = (
            m for m in got.messages if m.type != SCM_CREDENTIALS or m.data.strip(b"\0")
        )
        return changed(got, kept)


@unusual
class HidesAFailedPidfd(Receiver):
    """A pidfd of -24 is an errno and no descriptor."""

    def shown(self, got: Received) -> Received:
        failed = [
            m
            for m in got.messages
            if is_pidfd(m) and int.from_bytes(m.data, sys.byteorder, signed=True) < 0
        ]
        return changed(got, (m for m in got.messages if m not in failed))


@unusual
class ShowsNoFlags(Receiver):
    def shown(self, got: Received) -> Received:
        return Received(got.data, got.messages, got.truncated)


@unusual
class LooseTypes(Receiver):
    """Bytes-like, a list, a bit for a bool: close enough to be understood."""

    def shown(self, got: Received) -> Received:
        return Received(
            bytearray(got.data),  # type: ignore[arg-type]  # what is unusual
            list(got.messages),  # type: ignore[arg-type]
            8 if got.truncated else 0,  # type: ignore[arg-type]
        )


@unusual
class HighNumbers(Receiver):
    """Moves each descriptor up, the last first: neither lowest nor in order."""

    def shown(self, got: Received) -> Received:
        return changed(
            got, [self.moved(m) if is_rights(m) else m for m in got.messages]
        )

    def moved(self, message: ControlMessage) -> ControlMessage:
        old = numbers_in([message])
        new: list[int] = []
        try:
            new.extend(
                fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 300)
                for number in reversed(old)
            )
        except OSError:  # no such numbers under a low limit
            close(new)
            return message
        close(old)
        return rights(reversed(new))


@unusual
class SurfacesEintr(Implementation):
    """Every other call is interrupted before it did anything."""

    def __init__(self) -> None:
        self.calls = 0

    def interrupted(self) -> None:
        self.calls += 1
        if self.calls % 2:
            raise InterruptedError(errno.EINTR, "Interrupted system call")

    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        self.interrupted()
        return RIGHT.send(sock, data, messages, flags)

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        self.interrupted()
        return RIGHT.receive(sock, data_capacity, control_capacity, flags)
