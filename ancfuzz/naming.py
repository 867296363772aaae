"""From names to numbers and back: where a case meets live values.

Whoever performs a case has real numbers for its names, and the model has made-up ones.
Both lay out control bytes and read credentials by the functions here, each with a
:class:`Values` of its own, so that what they say can be compared.

This room must not know where a number comes from, nor open anything.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from ancfuzz.case import (
    Case,
    Message,
    NamedCredentials,
    NamedRights,
    PlainMessage,
    Send,
    SendAll,
    SendRaw,
    control_tokens,
)
from ancfuzz.codec import ControlMessage

if TYPE_CHECKING:
    from collections.abc import Callable

    from ancfuzz.abi import Abi

__all__ = [
    "NO_PID",
    "OVERFLOW_ID",
    "SELF_PID",
    "Values",
    "control_bytes",
    "control_message",
    "named_credentials",
    "raw_names",
    "sent_names",
]

SELF_PID = 1_000_001
"""Stands for the performer's own pid where only some bytes of it arrived."""

NO_PID = 2**31 - 1
"""A pid that no process has: above every ``pid_max``."""

OVERFLOW_ID = 65534
"""What stands for an id that a reader's user namespace has none for.

Linux's own ``kernel.overflowuid`` and ``kernel.overflowgid``.
"""

_UCRED_SIZE = 12  # three 32-bit ids on every Linux


_IDS = ("pid", "uid", "gid")
_WITH_MESSAGES = (Send, SendAll)


def sent_names(case: Case) -> list[str]:
    """The descriptors that a case sends, each as often as it does, in order."""
    sent: list[str] = []
    for step in case.steps:
        if isinstance(step, _WITH_MESSAGES):
            for message in step.messages:
                if isinstance(message, NamedRights):
                    sent += message.names()
        elif isinstance(step, SendRaw):
            sent += raw_names(step.control)
    return sent


def raw_names(template: str) -> list[str]:
    """The descriptors that a control template names, in order."""
    return [
        token
        for token in control_tokens(template)
        if isinstance(token, str) and token not in _IDS
    ]


class Values(NamedTuple):
    """The live values behind the names of a case.

    Attributes:
        number: gives the descriptor number behind a name.
        own: the performer's (pid, uid, gid).
        abi: the layout in which they are written.
    """

    number: Callable[[str], int]
    own: tuple[int, int, int]
    abi: Abi


def control_message(message: Message, values: Values) -> ControlMessage:
    """A message of a case with its names replaced by values."""
    constants = values.abi.constants
    order = values.abi.struct_order
    match message:
        case NamedRights():
            numbers = [values.number(name) for name in message.names()]
            data = struct.pack(f"{order}{len(numbers)}i", *numbers)
            data += bytes.fromhex(message.stray)
            type_ = constants["SCM_RIGHTS"]
        case NamedCredentials():
            data = struct.pack(f"{order}III", *_claimed(message, values.own))
            type_ = constants["SCM_CREDENTIALS"]
        case PlainMessage():
            data = bytes.fromhex(message.data)
            return ControlMessage(message.level, message.type, data)
        case _:
            raise AssertionError(f"{message!r} is received, never sent")
    return ControlMessage(constants["SOL_SOCKET"], type_, data)


def _claimed(
    message: NamedCredentials, own: tuple[int, int, int]
) -> tuple[int, int, int]:
    pid = {"self": own[0], "none": NO_PID}.get(str(message.pid))
    return (
        (int(message.pid) if pid is None else pid) & 0xFFFFFFFF,
        (own[1] if message.uid == "self" else int(message.uid)) & 0xFFFFFFFF,
        (own[2] if message.gid == "self" else int(message.gid)) & 0xFFFFFFFF,
    )


def control_bytes(template: str, values: Values) -> bytes:
    """Control bytes of a case with its names replaced by values."""
    order = values.abi.byte_order
    own = dict(zip(_IDS, values.own, strict=True))
    parts: list[bytes] = []
    for token in control_tokens(template):
        if isinstance(token, bytes):
            parts.append(token)
        else:
            value = own[token] if token in own else values.number(token)
            parts.append((value & 0xFFFFFFFF).to_bytes(4, order))
    return b"".join(parts)


def named_credentials(
    data: bytes, own: tuple[int, int, int], abi: Abi
) -> NamedCredentials | PlainMessage:
    """The payload of an SCM_CREDENTIALS message with the performer's ids named.

    Two performances of one case have different pids; named, they compare equal.

    Args:
        data: the payload; other than twelve bytes were cut, or are no ``struct ucred``.
        own: the performer's (pid, uid, gid).
        abi: for the byte order.
    """
    if len(data) != _UCRED_SIZE:
        own_pid = own[0].to_bytes(4, abi.byte_order)
        arrived = min(len(data), 4)
        if data[:arrived] == own_pid[:arrived]:
            data = SELF_PID.to_bytes(4, abi.byte_order)[:arrived] + data[arrived:]
        constants = abi.constants
        return PlainMessage(
            constants["SOL_SOCKET"], constants["SCM_CREDENTIALS"], data.hex()
        )
    pid, uid, gid = struct.unpack(f"{abi.struct_order}iII", data)
    return NamedCredentials(
        pid="self" if pid == own[0] else pid,
        uid="self" if uid == own[1] else uid,
        gid="self" if gid == own[2] else gid,
    )
