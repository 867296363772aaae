"""The raw calls, and what comes between: signals, handlers that raise, threads."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from ancfuzz import decode, encode
from ancfuzz.syscalls import Message, message, recvmsg, sendmsg
from tests.pairs import fill, pair, rights

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


@contextmanager
def alarmed(handler: Callable[[], object]) -> Generator[None]:
    """Have a handler run while a call waits, again and again."""

    def ring(*_: object) -> None:
        handler()

    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def test_a_receive_goes_on_when_a_handler_has_had_its_turn() -> None:
    rung: list[int] = []

    def ring() -> None:
        rung.append(0)
        if len(rung) == 3:
            sendmsg(ours, [b"late"])

    data = bytearray(4)
    with pair() as (ours, theirs), alarmed(ring):
        assert recvmsg(theirs, [data]).length == 4
    assert data == b"late"
    assert len(rung) >= 3


def test_a_send_goes_on_when_a_handler_has_had_its_turn() -> None:
    with pair() as (ours, theirs):
        os.set_blocking(ours, False)
        fill(ours, [bytes(65536)])
        os.set_blocking(ours, True)
        os.set_blocking(theirs, False)
        rung: list[int] = []

        def ring() -> None:
            rung.append(0)
            if len(rung) == 2:
                with suppress(BlockingIOError):
                    while True:
                        recvmsg(theirs, [bytearray(65536)])

        with alarmed(ring):
            assert sendmsg(ours, [b"x"]) == 1
    assert len(rung) >= 2


class _StopError(Exception):
    pass


def test_a_handler_that_raises_gets_out() -> None:
    def stop() -> None:
        raise _StopError

    data = bytearray(1)
    with pair() as (ours, theirs), alarmed(stop):
        with pytest.raises(_StopError):
            recvmsg(theirs, [data])
        data.append(0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        sendmsg(ours, [b"x"])
        assert recvmsg(theirs, [data]).length == 1  # nothing was lost


def test_the_errno_of_a_handlers_own_call_is_not_ours() -> None:
    rung: list[int] = []

    def fail() -> None:
        rung.append(0)
        with pytest.raises(OSError, match="Bad file descriptor"):
            sendmsg(-1, [b"x"])
        if len(rung) == 2:
            sendmsg(ours, [b"x"])

    with pair() as (ours, theirs), alarmed(fail):
        assert recvmsg(theirs, [bytearray(1)]).length == 1


def test_what_arrived_is_known_even_if_a_handler_raises_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The signal comes when the kernel is done, and before the call has returned."""
    real = message.libc_recvmsg

    def interrupted(*arguments: Any) -> int:
        real(*arguments)
        raise _StopError

    into = Message(bytearray(64))
    with pair() as (ours, theirs):
        sendmsg(ours, [b"x"], encode([rights(0)]))
        monkeypatch.setattr(message, "libc_recvmsg", interrupted)
        with pytest.raises(_StopError):
            into.recvmsg(theirs, [bytearray(1)])
        monkeypatch.undo()
    (one,) = decode(into.control)
    os.close(*struct.unpack("@i", one.data))


def test_nothing_stale_after_a_receive_that_failed() -> None:
    into = Message(bytearray(64))
    with pair() as (ours, theirs):
        os.set_blocking(theirs, False)
        sendmsg(ours, [b"x"], encode([rights(0, 0)]))
        into.recvmsg(theirs, [bytearray(1)], address=True)
        (one,) = decode(into.control)
        for number in struct.unpack("@2i", one.data):
            os.close(number)
        with pytest.raises(BlockingIOError):
            into.recvmsg(theirs, [bytearray(1)], address=True)
    assert (len(into), into.flags, into.address) == (0, 0, None)


def test_threads_have_a_message_each() -> None:
    wrong: list[object] = []

    def exchange(letter: bytes) -> None:
        data = bytearray(64)
        with pair(socket.SOCK_DGRAM) as (ours, theirs):
            for size in list(range(1, 64)) * 5:
                sendmsg(ours, [letter * size])
                got = recvmsg(theirs, [data])
                if got.length != size or bytes(data[:size]) != letter * size:
                    wrong.append((letter, size, got))

    threads = [threading.Thread(target=exchange, args=(b"%d" % n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert not any(thread.is_alive() for thread in threads)
