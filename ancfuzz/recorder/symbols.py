"""Live values to symbols: what a case may say of descriptors, pids and ids.

A recording holds numbers that mean something in one process at one moment.  A case is
performed by others, so a descriptor becomes the name of what it was (``names``), and
the sender's own pid and ids become ``self``.  Where a case has no name for a thing, the
nearest that it has stands for it; the table says which.

What is sent is said by number of the sender, and what arrives by the same names: a
descriptor that arrived is the one that was sent in its place, which ``exchanges`` has
made sure of.  A layout of its own is kept as a template of the very bytes
(``case.ControlTemplate``).
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import TYPE_CHECKING, Final

from ancfuzz.abi import NATIVE
from ancfuzz.case import (
    Message,
    NamedCredentials,
    NamedPidfd,
    NamedRights,
    PlainMessage,
)
from ancfuzz.codec import decode, walk
from ancfuzz.names import CLOSED, NEGATIVE, description_of, endpoint_name
from ancfuzz.naming import NO_PID, named_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ancfuzz.codec import ControlMessage
    from ancfuzz.recorder.log import Descriptor, ReceiveCall, SendCall

__all__ = [
    "STANDS_FOR",
    "control_template",
    "count_descriptors",
    "descriptor_names",
    "received_messages",
    "sender_ids",
    "sent_messages",
]

STANDS_FOR: Final = {
    "fifo": "pipe-read",
    "terminal": "file",
    "device": "file",
    "block-device": "file",
    "signalfd": "eventfd",
    "inotify": "eventfd",
    "anonymous": "eventfd",
    "other": "file",
}
"""Of what a case cannot name, the nearest thing that it can."""

# All files of one anonymous inode look alike to fstat(2): equal says nothing.
_ALIKE: Final = frozenset({"eventfd", "epoll", "timerfd", "pidfd"})
_MOST_TWINS: Final = 9  # names end at dup9
_UCRED: Final = struct.Struct("@iII")
_INT: Final = struct.Struct("@i")
_PIDFD: Final = NATIVE.constants.get("SCM_PIDFD")


def descriptor_names(
    descriptors: Sequence[Descriptor], endpoints: Mapping[int, str]
) -> tuple[str, ...]:
    """A name for each descriptor of a message, in order.

    Args:
        descriptors: what they were.
        endpoints: the exchange's own sockets, by inode.
    """
    by_number: dict[int, str] = {}
    by_identity: dict[object, list[str]] = {}
    count: dict[str, int] = {}
    for one in descriptors:
        if one.fd in by_number:
            continue  # the same number once more
        kind = STANDS_FOR.get(one.kind, one.kind)
        same = by_identity.setdefault(one.identity, [])
        if kind == CLOSED:
            name = CLOSED if one.fd >= 0 else NEGATIVE
        elif kind == "socket" and one.inode in endpoints:
            name = endpoint_name(endpoints[one.inode])
        elif same and kind not in _ALIKE and len(same) <= _MOST_TWINS:
            # Another number for the same file, as far as fstat(2) can tell.
            name = f"dup{len(same) if len(same) > 1 else ''}:{same[0]}"
        else:
            count[kind] = count.get(kind, 0) + 1
            name = kind if count[kind] == 1 else f"{kind}#{count[kind]}"
        by_number[one.fd] = name
        if kind != CLOSED:
            same.append(name)
    return tuple(by_number[one.fd] for one in descriptors)


def sent_messages(sent: SendCall, endpoints: Mapping[int, str]) -> tuple[Message, ...]:
    """The control messages of a send, in the words of a case.

    Raises:
        MalformedControl: they are not well-formed.
    """
    names = iter(descriptor_names(sent.fds, endpoints))
    return tuple(_sent(one, sent, names) for one in decode(sent.control))


def _sent(one: ControlMessage, sent: SendCall, names: Iterator[str]) -> Message:
    match _type(one):
        case socket.SCM_RIGHTS:
            whole = len(one.data) // _INT.size
            return NamedRights(
                descriptors=tuple(next(names) for _ in range(whole)),
                stray=one.data[whole * _INT.size :].hex(),
            )
        case socket.SCM_CREDENTIALS if len(one.data) == _UCRED.size:
            pid, uid, gid = _UCRED.unpack(one.data)
            # What the kernel let pass, the sender was allowed to say: its own ids.
            went = sent.result >= 0
            return NamedCredentials(
                pid="self" if went or pid == sent.pid else "none",
                uid="self" if went or uid == sent.uid else uid,
                gid="self" if went or gid == sent.gid else gid,
            )
        case _:
            return PlainMessage(one.level, one.type, one.data.hex())


def count_descriptors(control: bytes) -> int:
    """How many descriptors there are in control bytes.

    Raises:
        MalformedControl: they are not well-formed.
    """
    return sum(
        len(one.data) // _INT.size
        for one in decode(control)
        if _type(one) == socket.SCM_RIGHTS
    )


def _type(one: ControlMessage) -> int | None:
    """The type of a message of level SOL_SOCKET; None on any other level."""
    return one.type if one.level == socket.SOL_SOCKET else None


def sender_ids(sent: SendCall) -> tuple[int, int, int]:
    """The pid, uid and gid for which a case says ``self``: those that the sender gave.

    Root may give another's (systemd-notify gives its parent's pid), and the last of
    several credentials wins (scm_send in net/core/scm.c).
    """
    given = [
        one.data
        for one in decode(sent.control)
        if _type(one) == socket.SCM_CREDENTIALS and len(one.data) == _UCRED.size
    ]
    if sent.result < 0 or not given:
        return sent.pid, sent.uid, sent.gid
    pid, uid, gid = _UCRED.unpack(given[-1])
    return pid, uid, gid


def received_messages(
    call: ReceiveCall, names: Sequence[str], own: tuple[int, int, int]
) -> tuple[Message, ...]:
    """The control messages of a receive, in the words of a transcript.

    Args:
        call: the receive.
        names: of the descriptors that were sent.
        own: the pid, uid and gid that are called ``self``.

    Raises:
        MalformedControl: they are not well-formed; the kernel writes no such thing.
    """
    return tuple(_received(one, names, own) for one in decode(call.control))


def _received(
    one: ControlMessage, names: Sequence[str], own: tuple[int, int, int]
) -> Message:
    match _type(one):
        case socket.SCM_RIGHTS:
            count = len(one.data) // _INT.size
            return NamedRights(tuple(description_of(name) for name in names[:count]))
        case socket.SCM_CREDENTIALS:
            return named_credentials(one.data, own, NATIVE)
        case kind if kind == _PIDFD and len(one.data) == _INT.size:
            (number,) = _INT.unpack(one.data)
            return NamedPidfd("self" if number >= 0 else "none")
        case _:
            return PlainMessage(one.level, one.type, one.data.hex())


def control_template(sent: SendCall, endpoints: Mapping[int, str]) -> str:
    """The control bytes of a send, names for what is live in them, padding zero.

    Raises:
        MalformedControl: they are not well-formed.
    """
    said = sent_messages(sent, endpoints)
    pieces: list[str] = []
    for span in walk(sent.control, NATIVE):
        if span.kind == "header":
            pieces.append(sent.control[span.start : span.stop].hex())
        elif span.kind == "data":
            pieces.append(_template(said[span.message]))
        else:
            # Padding and tail: whatever lay on the program's stack is its own business.
            pieces.append("00" * (span.stop - span.start))
    return "".join(pieces)


def _template(message: Message) -> str:
    match message:
        case NamedRights():
            return "".join(f"{{{name}}}" for name in message.names()) + message.stray
        case NamedCredentials():
            return "".join(
                _symbol(field, getattr(message, field))
                for field in ("pid", "uid", "gid")
            )
        case PlainMessage():
            return message.data
        case _:
            raise AssertionError(message)  # a pidfd is never sent


def _symbol(field: str, value: int | str) -> str:
    if value == "self":
        return f"{{{field}}}"
    number = value if isinstance(value, int) else NO_PID
    return number.to_bytes(_INT.size, sys.byteorder).hex()
