"""One exchange as steps, each with what was answered to it.

The steps are those of a case: a fresh pair of sockets with the options that the
program's had, the send, and the receives with the program's own capacities and flags.
The answers are what the program's calls returned, in the words of a transcript, so that
a recording can be judged as it is, and not only what comes of performing it again.

Where the layout of the control messages is the usual one they are named, and any
implementation can be asked to send them.  Where a program leaves its last message
unpadded (libwayland does), the very bytes are kept.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Final, TypeAlias

from ancfuzz.case import (
    Close,
    Open,
    Receive,
    Send,
    SendRaw,
    SetOption,
    Step,
    payload_text,
)
from ancfuzz.codec import decode, encoded_size
from ancfuzz.errors import MalformedControl
from ancfuzz.names import description_of
from ancfuzz.naming import OVERFLOW_ID
from ancfuzz.recorder.log import ReceiveCall
from ancfuzz.recorder.symbols import (
    control_template,
    count_descriptors,
    descriptor_names,
    received_messages,
    sender_ids,
    sent_messages,
)
from ancfuzz.transcript import Answer, Done, Facts, Failed, Got, Sent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ancfuzz.case import Flag, Option, SocketKind
    from ancfuzz.recorder.exchanges import Exchange
    from ancfuzz.recorder.log import Call, SendCall

__all__ = ["KINDS", "OPTIONS", "Answered", "concerns_control", "steps"]

Answered: TypeAlias = tuple[Step, Answer]

KINDS: Final[dict[int, SocketKind]] = {
    socket.SOCK_STREAM: "stream",
    socket.SOCK_DGRAM: "dgram",
    socket.SOCK_SEQPACKET: "seqpacket",
}
OPTIONS: Final[tuple[tuple[str, Option], ...]] = (
    ("passcred", "SO_PASSCRED"),
    ("passpidfd", "SO_PASSPIDFD"),
    ("timestamp", "SO_TIMESTAMP"),
    ("timestampns", "SO_TIMESTAMPNS"),
)
_FLAGS: Final[tuple[Flag, ...]] = (
    "MSG_PEEK",
    "MSG_DONTWAIT",
    "MSG_WAITALL",
    "MSG_TRUNC",
    "MSG_CTRUNC",
    "MSG_EOR",
    "MSG_CMSG_CLOEXEC",
)
# Of no effect on AF_UNIX, or on a performer that ignores SIGPIPE.
_WITHOUT_EFFECT: Final = socket.MSG_NOSIGNAL | socket.MSG_MORE
_SAYABLE: Final = sum(getattr(socket, flag) for flag in _FLAGS) | _WITHOUT_EFFECT
_MOST_BYTES: Final = 1 << 20  # that a case may hold of data, or of capacity
_CLOEXEC: Final = 1  # FD_CLOEXEC
# What was queued before SO_PASSCRED was set has no credentials: then the receiver is
# told pid 0 and the overflow ids (scm_recv_unix in net/core/scm.c).
_NOBODY: Final = struct.pack("@iII", 0, OVERFLOW_ID, OVERFLOW_ID)


def steps(exchange: Exchange, *, payloads: bool = False) -> tuple[Answered, ...]:
    """The script of an exchange with its answers; empty if a case cannot say it.

    An exchange without control messages, nor room for any, is none to be said.

    Args:
        exchange: what was recorded.
        payloads: keep the data bytes that were logged; otherwise all are zero.
    """
    calls = _calls(exchange)
    if (
        calls[0].type not in KINDS
        or not concerns_control(exchange)
        or not all(map(_can_be_said, calls))
    ):
        return ()
    return tuple(_Script(exchange, payloads=payloads).all())


def concerns_control(exchange: Exchange) -> bool:
    """Whether there are control messages in it, or room for any."""
    return any(call.capacity for call in _calls(exchange))


def _calls(exchange: Exchange) -> tuple[Call, ...]:
    sent = (exchange.sent,) if exchange.sent else ()
    return (*sent, *exchange.received)


def _can_be_said(call: Call) -> bool:
    if call.flags & ~_SAYABLE or call.result > _MOST_BYTES:
        return False
    try:
        descriptors = count_descriptors(call.control)
    except MalformedControl:
        return False  # of a receive, it is no kernel's
    # Longer ones were logged in part.
    whole = call.out if isinstance(call, ReceiveCall) else call.capacity
    return len(call.control) == whole and len(call.fds) == descriptors


class _Script:
    """An exchange being written down."""

    def __init__(self, exchange: Exchange, *, payloads: bool) -> None:
        self._exchange = exchange
        self._sent = sent = exchange.sent
        self._received = exchange.received
        self._endpoints: dict[int, str] = {}
        self._names: tuple[str, ...] = ()
        self._data = b""
        if sent is not None:
            self._endpoints[sent.inode] = "a"
            self._endpoints |= {call.inode: "b" for call in self._received}
            self._names = descriptor_names(sent.fds, self._endpoints)
            size = min(sent.result if sent.result >= 0 else sent.size, _MOST_BYTES)
            kept = sent.data if payloads else b""
            self._data = kept[:size].ljust(size, b"\0")

    def all(self) -> Iterator[Answered]:
        sent, received = self._sent, self._received
        kind = (sent or received[0]).type
        yield Open(KINDS[kind]), Done()
        late = bool(received) and received[0].control.find(_NOBODY) >= 0
        if received and not late:
            yield from _options("b", received[0])
        if sent is not None:
            yield from _options("a", sent)
            yield from _plain(self._exchange.before)
            yield self._send(sent)
            yield from _plain(self._exchange.after)
        elif received[0].result == 0:
            yield Close("a"), Done()
        if late:
            yield from _options("b", received[0])
        yield from self._receives()

    def _send(self, sent: SendCall) -> Answered:
        data, flags = payload_text(self._data), _flags(sent.flags)
        answer = Failed(_errno(sent)) if sent.result < 0 else Sent(len(self._data))
        if len(sent.control) == encoded_size(decode(sent.control)):
            said = sent_messages(sent, self._endpoints)
            return Send("a", data, said, flags), answer
        template = control_template(sent, self._endpoints)
        return SendRaw("a", template, data, flags), answer

    def _receives(self) -> Iterator[Answered]:
        left = bytes(self._exchange.before) + self._data + bytes(self._exchange.after)
        for call in self._received:
            room = call.capacity if call.has_control else 0
            step = Receive(
                "b",
                data_capacity=min(call.size, _MOST_BYTES),
                control_capacity=min(room, _MOST_BYTES),
                flags=_flags(call.flags),
            )
            if call.result < 0:
                yield step, Failed(_errno(call))
                continue
            got = left[: min(call.result, call.size)]
            if not call.flags & socket.MSG_PEEK:
                left = left[len(got) :]
            yield step, self._got(call, got)

    def _got(self, call: ReceiveCall, data: bytes) -> Got:
        own = sender_ids(self._sent) if self._sent else (-1, call.uid, call.gid)
        return Got(
            payload_text(data),
            received_messages(call, self._names, own),
            truncated=bool(call.msg_flags & socket.MSG_CTRUNC),
            flags=_flags(call.msg_flags),
            control_length=call.out,
            facts=Facts(
                inheritable=tuple(
                    description_of(name)
                    for name, one in zip(self._names, call.fds, strict=False)
                    if not one.flags & _CLOEXEC
                )
            ),
        )


def _options(endpoint: str, call: Call) -> Iterator[Answered]:
    for field, option in OPTIONS:
        if getattr(call, field) > 0:
            yield SetOption(endpoint, option), Done()
    if call.passrights == 0:
        yield SetOption(endpoint, "SO_PASSRIGHTS", 0), Done()


def _plain(size: int) -> Iterator[Answered]:
    if size:
        yield Send("a", payload_text(bytes(size))), Sent(size)


def _flags(flags: int) -> tuple[Flag, ...]:
    return tuple(name for name in _FLAGS if flags & getattr(socket, name))


def _errno(call: Call) -> str:
    return errno.errorcode.get(call.errno, str(call.errno))
