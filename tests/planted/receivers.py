"""Bugs of receivers with all but descriptors: flags, lengths, credentials, data."""

from __future__ import annotations

import socket
import sys

from ancfuzz import Implementation, Received
from ancfuzz.codec import ControlMessage

from .registry import CLOCKS, RIGHT, SCM_CREDENTIALS, Messages, Receiver, changed, plant


@plant("TRUNC.flag")
class TruncationIgnored(Receiver):
    def spoil(self, got: Received) -> Received:
        return changed(got, truncated=False, flags=None)


@plant("TRUNC.flag")
class AlwaysTruncated(Receiver):
    def spoil(self, got: Received) -> Received:
        return changed(got, truncated=True, flags=None)


@plant("TRUNC.flags")
class FlagsOfTheCall(Receiver):
    """Shows no flag of what came: the receiver never looked."""

    def spoil(self, got: Received) -> Received:
        return changed(got, flags=0)


@plant("LEN.controllen")
class ControlLengthIsCapacity(Implementation):
    """msg_controllen as it was before the call."""

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        got = RIGHT.receive(sock, data_capacity, control_capacity, flags)
        return changed(got, control_length=control_capacity)


@plant("CRED.value")
class AnotherUid(Receiver):
    """Reads the ids in the order pid, gid, uid, and adds one to tell them apart."""

    def spoil(self, got: Received) -> Received:
        return changed(got, (self.misread(message) for message in got.messages))

    def misread(self, message: ControlMessage) -> ControlMessage:
        if message.type != SCM_CREDENTIALS or len(message.data) != 12:
            return message
        pid, uid, gid = memoryview(message.data).cast("I")
        data = b"".join(
            (n & 0xFFFFFFFF).to_bytes(4, sys.byteorder) for n in (pid, gid + 1, uid)
        )
        return ControlMessage(message.level, message.type, data)


@plant("CRED.value")
class CredentialsDropped(Receiver):
    def spoil(self, got: Received) -> Received:
        return changed(got, (m for m in got.messages if m.type != SCM_CREDENTIALS))


@plant("ROUND.message")
class ClocksDropped(Receiver):
    def spoil(self, got: Received) -> Received:
        return changed(got, (m for m in got.messages if m.type not in CLOCKS))


@plant("ORDER.messages")
class LastMessageFirst(Receiver):
    def spoil(self, got: Received) -> Received:
        return changed(got, reversed(got.messages))


@plant("BOUND.data")
class WholeBuffer(Implementation):
    """Returns the buffer and not the bytes that came."""

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        got = RIGHT.receive(sock, data_capacity, control_capacity, flags)
        return changed(got, data=got.data.ljust(data_capacity, b"\0"))


@plant("PEEK.keeps")
class PeekTakes(Implementation):
    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        flags &= ~int(socket.MSG_PEEK)
        return RIGHT.receive(sock, data_capacity, control_capacity, flags)


@plant("ERR.errno")
class EveryErrorIsEio(Implementation):
    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        try:
            return RIGHT.receive(sock, data_capacity, control_capacity, flags)
        except OSError as error:
            raise OSError(5, "Input/output error") from error


@plant("STATE.held")
class KeepsTheLast(Implementation):
    """Seed bug B5: after a failed receive the messages of the one before are there."""

    def __init__(self) -> None:
        self.last: Messages = ()

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        got = RIGHT.receive(sock, data_capacity, control_capacity, flags)
        self.last = got.messages
        return got

    def held(self) -> Messages:
        return self.last
