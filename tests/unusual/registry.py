"""The table of the unusual, and what they are made of.

Everything in this package is declared with :func:`unusual`. What is usual in one is
done by the reference (:data:`RIGHT`); :class:`Receiver` is for what is unusual before
or after a receive only.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, TypeVar

from ancfuzz import Implementation, Received
from ancfuzz.abi import NATIVE
from ancfuzz.codec import ControlMessage
from ancfuzz.implementations import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable

RIGHT = Reference()
SOL_SOCKET = NATIVE.constants["SOL_SOCKET"]
SCM_RIGHTS = NATIVE.constants["SCM_RIGHTS"]
SCM_CREDENTIALS = NATIVE.constants["SCM_CREDENTIALS"]
SCM_PIDFD = NATIVE.constants["SCM_PIDFD"]
UCRED_SIZE = 12
PLENTY = socket.CMSG_SPACE(4 * 253) + 256
Messages = tuple[ControlMessage, ...]
_Unusual = TypeVar("_Unusual", bound=Implementation)

UNUSUAL: dict[str, type[Implementation]] = {}


def unusual(cls: type[_Unusual]) -> type[_Unusual]:
    """Register an implementation under its class's name."""
    UNUSUAL[cls.__name__] = cls
    return cls


def is_rights(message: ControlMessage) -> bool:
    return (message.level, message.type) == (SOL_SOCKET, SCM_RIGHTS)


def is_pidfd(message: ControlMessage) -> bool:
    return (message.level, message.type) == (SOL_SOCKET, SCM_PIDFD)


def numbers_in(messages: Iterable[ControlMessage]) -> list[int]:
    """The descriptors in these messages, pidfds included."""
    return [
        number
        for message in messages
        if is_rights(message) or is_pidfd(message)
        for number in memoryview(message.data[: len(message.data) & -4]).cast("i")
        if number >= 0
    ]


def rights(numbers: Iterable[int]) -> ControlMessage:
    data = b"".join(n.to_bytes(4, sys.byteorder, signed=True) for n in numbers)
    return ControlMessage(SOL_SOCKET, SCM_RIGHTS, data)


def close(numbers: Iterable[int]) -> None:
    for number in numbers:
        os.close(number)


class Receiver(Implementation):
    """A receiver that does otherwise what :meth:`shown` says."""

    def before(self) -> None:
        """What it does before each receive."""

    def shown(self, got: Received) -> Received:
        return got

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        self.before()
        return self.shown(RIGHT.receive(sock, data_capacity, control_capacity, flags))


def changed(got: Received, messages: Iterable[ControlMessage]) -> Received:
    return Received(got.data, tuple(messages), got.truncated, got.flags)
