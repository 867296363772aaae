"""Otherwise by promise, or by refusing: what an API says of itself holds."""

from __future__ import annotations

import errno
import socket
from typing import ClassVar

from ancfuzz import Implementation, Promise, Received, Refused, Unsupported
from ancfuzz.codec import ControlMessage

from .registry import (
    PLENTY,
    RIGHT,
    Messages,
    Receiver,
    changed,
    close,
    is_pidfd,
    is_rights,
    numbers_in,
    unusual,
)


@unusual
class Inheritable(Implementation):
    promise: ClassVar[Promise] = Promise(close_on_exec=False)

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        data, control, shown, _ = sock.recvmsg(data_capacity, control_capacity, flags)
        messages = tuple(ControlMessage(*message) for message in control)
        return Received(data, messages, bool(shown & socket.MSG_CTRUNC))


class OwnBuffer(Implementation):
    """Has a control buffer of its own, whatever it is asked for."""

    size: ClassVar[int] = PLENTY

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        return RIGHT.receive(sock, data_capacity, self.size, flags)


@unusual
class RoomForAll(OwnBuffer):
    promise: ClassVar[Promise] = Promise(capacity="own")


@unusual
class RoomForFour(OwnBuffer):
    """Room for four descriptors in whatever company: without any, for some more."""

    promise: ClassVar[Promise] = Promise(capacity="own", max_descriptors=4)
    size: ClassVar[int] = sum(map(socket.CMSG_SPACE, (16, 12, 16, 4)))


@unusual
class OnlyRights(Receiver):
    """Hands out descriptors and nothing else, and closes what it does not hand out."""

    promise: ClassVar[Promise] = Promise(reports="rights")

    def shown(self, got: Received) -> Received:
        close(numbers_in(m for m in got.messages if is_pidfd(m)))
        return changed(got, (m for m in got.messages if is_rights(m)))


class RefusesTruncation(Receiver):
    """All or nothing: what comes with a truncated message is closed."""

    promise: ClassVar[Promise] = Promise(on_truncation="refuse")
    refusal: ClassVar[Exception] = Refused("control data was truncated")

    def shown(self, got: Received) -> Received:
        if got.truncated:
            close(numbers_in(got.messages))
            raise self.refusal
        return got


@unusual
class RefusesTruncationOnPurpose(RefusesTruncation):
    pass


@unusual
class RefusesTruncationWithAnErrno(RefusesTruncation):
    refusal: ClassVar[Exception] = OSError(errno.EMSGSIZE, "Message too long")


@unusual
class TakesSixteen(Implementation):
    promise: ClassVar[Promise] = Promise(max_descriptors=16)

    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        if sum(len(m.data) // 4 for m in messages if is_rights(m)) > 16:
            raise Refused("at most sixteen descriptors")
        return RIGHT.send(sock, data, messages, flags)


@unusual
class TakesSixteenWithAnErrno(Implementation):
    promise: ClassVar[Promise] = Promise(max_descriptors=16)

    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        if sum(len(m.data) // 4 for m in messages if is_rights(m)) > 16:
            raise OSError(errno.E2BIG, "Argument list too long")
        return RIGHT.send(sock, data, messages, flags)


@unusual
class InsistsOnItsPayload(Implementation):
    """Sends its own four bytes of protocol, and takes no others."""

    promise: ClassVar[Promise] = Promise(payload=b"anc1")

    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        if data != b"anc1":
            raise ValueError(f"{data!r} is not our protocol")
        return RIGHT.send(sock, data, messages, flags)


@unusual
class CannotSayCredentials(Implementation):
    """``send_fds``: descriptors are all that there is to say."""

    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        if flags or any(not is_rights(m) or len(m.data) % 4 for m in messages):
            raise Unsupported("descriptors only")
        return RIGHT.send(sock, data, messages)


@unusual
class RefusesEverything(Implementation):
    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        raise Refused("not today")
