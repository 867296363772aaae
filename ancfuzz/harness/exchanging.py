"""Steps on sockets: open, set, send, receive, shut, close."""

from __future__ import annotations

import socket
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TypeGuard

from ancfuzz.case import payload_bytes
from ancfuzz.errors import EnvironmentUnsupported, Refused
from ancfuzz.harness.answers import (
    ENDINGS,
    errno_name,
    nonsense,
    unchecked,
    unsuccessful,
    with_facts,
)
from ancfuzz.harness.stage import is_real
from ancfuzz.host import FLAGS, OPTIONS
from ancfuzz.implementation import Received
from ancfuzz.implementations import Reference
from ancfuzz.naming import control_bytes, raw_names
from ancfuzz.syscalls import sendmsg
from ancfuzz.table import EVERY_SECOND, ShapedTable, shape_table
from ancfuzz.transcript import Answer, Done, Failed, NotPerformed, Raised, Sent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ancfuzz import case as script
    from ancfuzz.codec import ControlMessage
    from ancfuzz.harness.stage import Stage

__all__ = [
    "close",
    "open_pair",
    "receive",
    "send",
    "send_all",
    "send_raw",
    "set_option",
    "shape",
    "shut",
]

_KINDS = {
    "stream": socket.SOCK_STREAM,
    "dgram": socket.SOCK_DGRAM,
    "seqpacket": socket.SOCK_SEQPACKET,
}
_HOW = {
    "read": socket.SHUT_RD,
    "write": socket.SHUT_WR,
    "both": socket.SHUT_RDWR,
}
_METHODS = ("sendmsg", "recvmsg", "close")
_DONE = Done()
_SMALL_BUFFER = 4096  # bytes: makes one write of a long payload come short


def _bits(flags: Sequence[script.Flag]) -> int:
    return sum(FLAGS[flag] for flag in set(flags)) if flags else 0


def open_pair(stage: Stage, step: script.Open) -> Answer:
    """Make the pair; of its own, if the implementation brings one."""
    own = stage.own_pair
    if own is None:
        kind = _KINDS[step.kind] | socket.SOCK_NONBLOCK
        one, other = socket.socketpair(socket.AF_UNIX, kind)
        stage.set_up({"a": one, "b": other})
    else:
        try:
            pair = unchecked(own.pair(step.kind))
        except ENDINGS as error:
            return unsuccessful(error)
        ends = list(pair) if _is_a_row(pair) else []
        if len(ends) != len("ab") or not all(map(_is_an_end, ends)):
            return nonsense(pair, "two sockets, with sendmsg and recvmsg")
        stage.set_up(dict(zip("ab", ends, strict=True)))
    for name, number in stage.numbers.items():
        stage.stock.lend(name, number)
    for name in stage.endpoints:
        stage.stock.number(name)
    stage.accounts.opened(stage.numbers, own=own is not None)
    return _DONE


def _is_a_row(value: object) -> TypeGuard[tuple[object, ...] | list[object]]:
    return isinstance(value, tuple | list)


def _is_an_end(value: object) -> bool:
    return all(callable(getattr(value, name, None)) for name in _METHODS)


def set_option(stage: Stage, step: script.SetOption) -> Answer:
    """``setsockopt``."""
    option = OPTIONS.get(step.option)
    if option is None:
        return NotPerformed(f"this platform has no {step.option}")
    try:
        stage.sockets[step.at].setsockopt(socket.SOL_SOCKET, option, step.value)
    except OSError as error:
        return NotPerformed(f"{step.option}: {error.strerror}")
    return _DONE


def shape(stage: Stage, step: script.Table) -> Answer:
    """Note what the table is to look like: it is shaped around the next receive."""
    if not stage.may_shape:
        return NotPerformed("the descriptor table is shaped in a worker only")
    stage.shape = step
    return _DONE


def shut(stage: Stage, step: script.Shutdown) -> Answer:
    """``shutdown``."""
    stage.sockets[step.at].shutdown(_HOW[step.how])
    return _DONE


def close(stage: Stage, step: script.Close) -> Answer:
    """Close an end."""
    stage.accounts.closing(step.at)
    stage.sockets.pop(step.at).close()
    return _DONE


def send(stage: Stage, step: script.Send) -> Answer:
    """One ``sendmsg``."""
    actor = stage.actor(step.at, "send")
    messages = stage.messages(step.messages)
    sock = stage.sockets[step.at]
    try:
        count = unchecked(
            actor.send(sock, payload_bytes(step.data), messages, _bits(step.flags))
        )
    except ENDINGS as error:
        return unsuccessful(error)
    finally:
        stage.sent_by(actor, step.messages)
    if not isinstance(count, int) or count < 0:
        return nonsense(count, "the number of bytes sent")
    return Sent(int(count))


def send_raw(stage: Stage, step: script.SendRaw) -> Answer:
    """One ``sendmsg`` of control bytes as they are, by the reference."""
    sock = stage.sockets[step.at]
    if not is_real(sock):
        return NotPerformed("raw control bytes need a real socket")
    stage.sent += raw_names(step.control)
    control = control_bytes(step.control, stage.values)
    data = payload_bytes(step.data)
    try:
        return Sent(sendmsg(sock.fileno(), [data], control, _bits(step.flags)))
    except OSError as error:
        return Failed(errno_name(error))


def receive(stage: Stage, step: script.Receive) -> Answer:
    """One ``recvmsg``."""
    actor = stage.actor(step.at, "receive")
    flags = _bits(step.flags)
    sock = stage.sockets[step.at]
    accounts = stage.accounts
    try:
        with _shaped(stage.shape) if stage.shape else _AS_IT_IS as table:
            accounts.expect(table.occupied if table else ())
            try:
                received = actor.receive(
                    sock, step.data_capacity, step.control_capacity, flags
                )
            finally:
                if stage.is_under_test(actor):
                    accounts.arrived()
    except EnvironmentUnsupported:
        raise
    except Refused as error:
        return stage.refused(error, actor)
    except ENDINGS as error:
        answer = unsuccessful(error)
        facts = stage.stale(actor)
        return facts if isinstance(facts, Raised) else with_facts(answer, facts)
    return stage.observed(received, actor)


def _shaped(table: script.Table) -> AbstractContextManager[ShapedTable]:
    holes = EVERY_SECOND if table.holes else ""
    return shape_table(free=table.free, holes=holes, above=table.above)


_AS_IT_IS: AbstractContextManager[None] = nullcontext()


def send_all(stage: Stage, step: script.SendAll) -> Answer:
    """A send that takes many writes, while the reference drains the other end."""
    actor = stage.actor(step.at, "send_all")
    messages = stage.messages(step.messages)
    sock = stage.sockets[step.at]
    peer = stage.sockets["b" if step.at == "a" else "a"]
    if not is_real(sock):
        return NotPerformed("short writes need a real socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SMALL_BUFFER)
    data = payload_bytes(step.data)
    drain = _Drain(peer)
    stage.accounts.expect()
    drain.start()
    failure: Answer | None = None
    try:
        actor.send_all(sock, data, messages)
    except ENDINGS as error:
        failure = unsuccessful(error)
    finally:
        drain.finish()
        stage.accounts.arrived()
    received = Received(bytes(drain.data), tuple(drain.messages), drain.truncated)
    return failure or stage.observed(received, _REFERENCE)


_REFERENCE = Reference()


class _Drain(threading.Thread):
    """The reference, reading the other end of a long send while it goes on."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(name="ancfuzz drain", daemon=True)
        self._sock = sock
        self._done = threading.Event()
        self.data = bytearray()
        self.messages: list[ControlMessage] = []
        self.truncated = False

    def run(self) -> None:
        while True:
            # Asked before reading: what was sent by then is in the queue by then.
            is_over = self._done.is_set()
            try:
                got = _REFERENCE.receive(self._sock, 1 << 16, 4096)
            except BlockingIOError:
                if is_over:
                    return
                self._done.wait(0.0005)
                continue
            except OSError:
                return
            if not got.data:
                return  # the end of the stream
            self.data += got.data
            self.messages += got.messages
            self.truncated |= got.truncated

    def finish(self) -> None:
        """The send is over: read what is left, and stop."""
        self._done.set()
        self.join()
