"""How Unix sockets wait: for room, for data, for as long as they were told."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import pytest

from ancfuzz.ancillary import SocketAncillary
from tests.socket_kinds import NOTHING, count_of


def test_a_timeout_is_honoured(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    theirs.socket.settimeout(0.05)
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match=r"timed out after 0\.05 s"):
        theirs.recv_vectored_with_ancillary([bytearray(1)], SocketAncillary(64))
    assert time.monotonic() - begun >= 0.05
    theirs.socket.settimeout(60)
    late = threading.Timer(
        0.05, ours.send_vectored_with_ancillary, ([b"late"], SocketAncillary(0))
    )
    late.start()
    data = bytearray(4)
    assert count_of(theirs.recv_vectored_with_ancillary([data], NOTHING)) == 4
    late.join()
    assert data == b"late"


def test_a_send_waits_for_room(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    ours.socket.settimeout(0)
    sent = 0
    with suppress(BlockingIOError):
        while True:
            sent += ours.send_vectored_with_ancillary([bytes(1000)], NOTHING)
    ours.socket.settimeout(0.05)
    with pytest.raises(TimeoutError):
        ours.send_vectored_with_ancillary([bytes(1000)], NOTHING)
    ours.socket.settimeout(60)

    def drain() -> None:
        got = 0
        while got < sent:
            got += len(theirs.socket.recv(65536))

    late = threading.Timer(0.05, drain)
    late.start()
    assert ours.send_vectored_with_ancillary([b"x"], NOTHING) == 1
    late.join()


@pytest.mark.parametrize("how", ["MSG_DONTWAIT", "setblocking", "os.set_blocking"])
def test_who_must_not_wait_does_not(pair: tuple[Any, Any], how: str) -> None:
    _, theirs = pair
    theirs.socket.settimeout(60)
    if how == "setblocking":
        theirs.socket.setblocking(False)
    elif how == "os.set_blocking":
        theirs.socket.settimeout(None)
        os.set_blocking(theirs.fileno(), False)
    flags = socket.MSG_DONTWAIT if how == "MSG_DONTWAIT" else 0
    with pytest.raises(BlockingIOError):
        theirs.recv_vectored_with_ancillary([bytearray(1)], NOTHING, flags)


def test_a_timeout_outlasts_signals(pair: tuple[Any, Any]) -> None:
    _, theirs = pair
    theirs.socket.settimeout(0.1)
    rung: list[int] = []

    def ring(*_: object) -> None:
        rung.append(0)

    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    begun = time.monotonic()
    try:
        with pytest.raises(TimeoutError):
            theirs.recv_vectored_with_ancillary([bytearray(1)], NOTHING)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert time.monotonic() - begun >= 0.1
    assert rung


def test_waking_up_in_vain_does_not_begin_the_wait_anew(
    pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is something to receive, and somebody else is always faster."""
    ours, theirs = pair
    ours.send_vectored_with_ancillary([b"x"], NOTHING)
    theirs.socket.settimeout(0.05)

    def nothing_left(*_: object, **__: object) -> int:
        raise BlockingIOError

    monkeypatch.setattr(SocketAncillary, "recvmsg", nothing_left)
    with pytest.raises(TimeoutError):
        theirs.recv_vectored_with_ancillary([bytearray(1)], NOTHING)
