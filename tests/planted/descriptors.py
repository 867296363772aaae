"""Bugs of receivers with descriptors: lost, invented, left open, closed twice."""

from __future__ import annotations

import os
import socket

from ancfuzz import Implementation, Received, decode
from ancfuzz.codec import ControlMessage
from ancfuzz.syscalls import recvmsg

from .registry import (
    RIGHT,
    SCM_CREDENTIALS,
    SCM_RIGHTS,
    SOL_SOCKET,
    Messages,
    Receiver,
    changed,
    close,
    is_rights,
    numbers_in,
    plant,
    rights,
    try_to_close,
    without_unpadded_last,
)


@plant("FD.count")
class FirstOnlyRestClosed(Receiver):
    """Keeps the first descriptor and closes the others."""

    def spoil(self, got: Received) -> Received:
        close(numbers_in(got.messages)[1:])
        return changed(got, first_only(got.messages))


@plant("FD.unreported")
class FirstOnlyRestForgotten(Receiver):
    """Keeps the first descriptor; the others stay open."""

    def spoil(self, got: Received) -> Received:
        return changed(got, first_only(got.messages))


@plant("LEAK.sent")
class FirstOnlyRestLeaked(FirstOnlyRestForgotten):
    """The same: what is forgotten is also still open in the end."""


def first_only(messages: Messages) -> Messages:
    return tuple(rights(numbers_in([m])[:1]) if is_rights(m) else m for m in messages)


@plant("FD.unreported")
class DropsWhatIsUnpadded(Implementation):
    """Seed bug B1 over a socket: SO_PASSCRED, one descriptor, 52 to 55 bytes."""

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        got = RIGHT.receive(sock, data_capacity, control_capacity, flags)
        length = got.control_length or 0
        return changed(got, without_unpadded_last(list(got.messages), length))


@plant("FD.identity")
class LastFirst(Receiver):
    def spoil(self, got: Received) -> Received:
        return changed(
            got,
            (
                rights(reversed(numbers_in([m]))) if is_rights(m) else m
                for m in got.messages
            ),
        )


@plant("FD.phantom")
class InventsANumber(Receiver):
    """Reports one descriptor more than came, the next number."""

    def spoil(self, got: Received) -> Received:
        return changed(
            got,
            (
                rights([*(n := numbers_in([m])), n[-1] + 1]) if is_rights(m) else m
                for m in got.messages
            ),
        )


@plant("FD.phantom")
class ClosesBeforeItReports(Receiver):
    def spoil(self, got: Received) -> Received:
        close(numbers_in(got.messages))
        return got


@plant("FD.phantom")
class StaleBytesOfAFullTable(Implementation):
    """Takes a truncated message's room for a message: what is in it is stale."""

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        data, control = bytearray(data_capacity), bytearray(b"\7" * control_capacity)
        count, length, shown, _ = recvmsg(sock.fileno(), [data], control, flags)
        messages = decode(control[:length])
        if shown & socket.MSG_CTRUNC and not length and control_capacity >= 20:
            messages = [ControlMessage(SOL_SOCKET, SCM_RIGHTS, bytes(control[16:20]))]
        return Received(
            bytes(data[:count]), tuple(messages), bool(shown & socket.MSG_CTRUNC)
        )


@plant("CLOEXEC.received", "policy")
class Inheritable(Implementation):
    """``recvmsg`` as Python has it: without MSG_CMSG_CLOEXEC."""

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


@plant("FD.phantom")
class ClosesTwice(Implementation):
    """Closes what it handed out before, whose numbers mean something else by now."""

    def __init__(self) -> None:
        self.handed_out: list[int] = []

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        got = RIGHT.receive(sock, data_capacity, control_capacity, flags)
        for number in self.handed_out:
            try_to_close(number)
        self.handed_out = numbers_in(got.messages)
        return got


@plant("LEAK.sent")
class LeaksWhenItRefuses(Implementation):
    """Installs the descriptors, finds that it does not want them, and raises."""

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        got = RIGHT.receive(sock, data_capacity, control_capacity, flags)
        if len(numbers_in(got.messages)) > 1:
            raise OSError(71, "Protocol error")
        return got


@plant("LEAK.sent")
class PidfdsForgotten(Receiver):
    """Seed bug B3: messages it does not know are left out, and a pidfd is open."""

    def spoil(self, got: Received) -> Received:
        known = (SCM_RIGHTS, SCM_CREDENTIALS)
        return changed(got, (m for m in got.messages if m.type in known))


@plant("LEAK.growth")
class OneMoreEachTime(Receiver):
    """Opens something of its own at each receive, and never closes it."""

    def spoil(self, got: Received) -> Received:
        os.eventfd(0)
        return got
