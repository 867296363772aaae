"""The table of bugs, and what bugs are made of.

Everything in this package is declared with :func:`plant`. A bug does by itself only
what is wrong with it: the rest is done by the reference (:data:`RIGHT`), and what
:class:`Encoder` and :class:`Receiver` get from it is spoilt in one method. No bug is
here: what is here is what bugs of more than one family need.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from msgspec.structs import replace

from ancfuzz import Implementation, Received, encode
from ancfuzz.abi import NATIVE
from ancfuzz.codec import ControlMessage
from ancfuzz.implementations import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RIGHT = Reference()
SOL_SOCKET = NATIVE.constants["SOL_SOCKET"]
SCM_RIGHTS = NATIVE.constants["SCM_RIGHTS"]
SCM_CREDENTIALS = NATIVE.constants["SCM_CREDENTIALS"]
CLOCKS = (NATIVE.constants["SCM_TIMESTAMP"], NATIVE.constants["SCM_TIMESTAMPNS"])
CLOEXEC = int(socket.MSG_CMSG_CLOEXEC)
Messages = tuple[ControlMessage, ...]
_Bug = TypeVar("_Bug", bound=Implementation)


class Plant(NamedTuple):
    """A bug, and what it is to be convicted of.

    Attributes:
        bug: the implementation.
        invariant: which has to be among the violations.
        reach: with which reach.
    """

    bug: type[Implementation]
    invariant: str
    reach: str


PLANTED: dict[str, Plant] = {}


def plant(invariant: str, reach: str = "kernel") -> Callable[[type[_Bug]], type[_Bug]]:
    """Register a bug under its class's name."""

    def register(bug: type[_Bug]) -> type[_Bug]:
        PLANTED[bug.__name__] = Plant(bug, invariant, reach)
        return bug

    return register


def is_rights(message: ControlMessage) -> bool:
    return (message.level, message.type) == (SOL_SOCKET, SCM_RIGHTS)


def numbers_in(messages: Iterable[ControlMessage]) -> list[int]:
    return [
        number
        for message in messages
        if is_rights(message)
        for number in memoryview(message.data[: len(message.data) & -4]).cast("i")
    ]


def rights(numbers: Iterable[int]) -> ControlMessage:
    data = b"".join(n.to_bytes(4, sys.byteorder, signed=True) for n in numbers)
    return ControlMessage(SOL_SOCKET, SCM_RIGHTS, data)


def close(numbers: Iterable[int]) -> None:
    for number in numbers:
        os.close(number)


class Encoder(Implementation):
    """An encoder that is wrong in what :meth:`lay_out` makes of the messages."""

    def lay_out(self, messages: Messages) -> bytes:
        return encode(messages, self.abi)

    def encode(self, messages: Messages, capacity: int) -> bytes | None:
        control = self.lay_out(messages)
        return control if len(control) <= capacity else None


def space_as_length(messages: Messages) -> bytes:
    """Bytes in which ``cmsg_len`` counts the padding: CMSG_SPACE for CMSG_LEN."""
    padded = [
        ControlMessage(m.level, m.type, m.data + bytes(-len(m.data) % NATIVE.alignment))
        for m in messages
    ]
    return encode(padded)


def without_unpadded_last(
    messages: list[ControlMessage], length: int
) -> list[ControlMessage]:
    padded = sum(NATIVE.cmsg_space(len(message.data)) for message in messages)
    return messages[:-1] if len(messages) > 1 and padded > length else messages


class Receiver(Implementation):
    """A receiver that is wrong in what :meth:`spoil` makes of what it got."""

    def spoil(self, got: Received) -> Received:
        return got

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        return self.spoil(RIGHT.receive(sock, data_capacity, control_capacity, flags))


def changed(
    got: Received, messages: Iterable[ControlMessage] | None = None, **fields: object
) -> Received:
    if messages is not None:
        fields["messages"] = tuple(messages)
    return replace(got, **fields)


def try_to_close(number: int) -> None:
    try:
        os.close(number)
    except OSError:
        return
