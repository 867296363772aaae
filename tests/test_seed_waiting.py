"""The seed while it waits: signals, timeouts, a socket closed by somebody else."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from ancfuzz import UsageError
from ancfuzz.ancillary import ScmRights, SocketAncillary
from ancfuzz.descriptors import open_numbers
from ancfuzz.sockets import UnixDatagram, UnixSeqpacket, UnixStream
from ancfuzz.syscalls import IOV_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

PATIENCE = 60.0
TYPES = {
    UnixStream: socket.SOCK_STREAM,
    UnixDatagram: socket.SOCK_DGRAM,
    UnixSeqpacket: socket.SOCK_SEQPACKET,
}


@pytest.fixture(autouse=True)
def leaks_nothing() -> Iterator[None]:
    before = open_numbers()
    yield
    assert open_numbers() == before


@pytest.fixture(params=TYPES)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def pair(kind: Any) -> Iterator[tuple[Any, Any]]:
    one, other = kind.pair()
    with one, other:
        yield one, other


def with_one(fd: int) -> SocketAncillary:
    ancillary = SocketAncillary(64)
    assert ancillary.add_fds([fd])
    return ancillary


def count_of(got: int | tuple[int, bool]) -> int:
    return got if isinstance(got, int) else got[0]


def fill(sock: Any) -> None:
    """Send until nothing more goes."""
    sock.socket.setblocking(False)
    for size in (4096, 1):
        with suppress(BlockingIOError):
            while True:
                sock.send_vectored_with_ancillary([bytes(size)], SocketAncillary(0))
    sock.socket.setblocking(True)


# Signals


@contextmanager
def ringing(handler: Callable[[], object]) -> Generator[None]:
    def ring(*_: object) -> None:
        handler()

    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_a_receive_outlasts_signals(
    pair: tuple[Any, Any], timeout: float | None
) -> None:
    """And what arrives at last arrives once, its descriptors with it."""
    ours, theirs = pair
    theirs.socket.settimeout(timeout)
    rung: list[int] = []
    one = with_one(ours.fileno())

    def ring() -> None:
        rung.append(0)
        if len(rung) == 3:
            ours.send_vectored_with_ancillary([b"late"], one)

    room = bytearray(8)
    with ringing(ring), SocketAncillary(64) as ancillary:
        got = theirs.recv_vectored_with_ancillary([room], ancillary)
        (rights,) = ancillary.messages()
        assert isinstance(rights, ScmRights)
        assert len(rights) == 1
    assert count_of(got) == 4
    assert len(rung) >= 3


@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_a_send_outlasts_signals(pair: tuple[Any, Any], timeout: float | None) -> None:
    """And its descriptors go once."""
    ours, theirs = pair
    fill(ours)
    ours.socket.settimeout(timeout)
    theirs.socket.setblocking(False)
    one = with_one(ours.fileno())
    rung: list[int] = []
    arrived = 0

    def drain() -> int:
        found = 0
        with SocketAncillary(64) as ancillary, suppress(BlockingIOError):
            while True:
                theirs.recv_vectored_with_ancillary([bytearray(65536)], ancillary)
                found += _close(ancillary)
        return found

    def ring() -> None:
        nonlocal arrived
        rung.append(0)
        if len(rung) == 3:
            arrived += drain()

    with ringing(ring):
        assert ours.send_vectored_with_ancillary([b"x"], one) == 1
    arrived += drain()
    assert arrived == 1
    assert len(rung) >= 3


def _close(ancillary: SocketAncillary) -> int:
    numbers = ancillary.take_fds()
    for number in numbers:
        os.close(number)
    return len(numbers)


class _StopError(Exception):
    pass


def test_a_handler_that_raises_gets_out_and_leaves_the_buffer_usable(
    pair: tuple[Any, Any],
) -> None:
    ours, theirs = pair

    def stop() -> None:
        raise _StopError

    with SocketAncillary(64) as ancillary:
        with ringing(stop), pytest.raises(_StopError):
            theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
        assert ancillary.is_empty
        one = with_one(ours.fileno())
        ours.send_vectored_with_ancillary([b"x"], one)
        theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
        assert len(list(ancillary.messages())) == 1


def test_a_handler_uses_a_buffer_of_its_own(pair: tuple[Any, Any]) -> None:
    """The one that is receiving is refused to it, and not disturbed."""
    ours, theirs = pair
    refused: list[UsageError] = []
    mine, own = UnixDatagram.pair()

    def ring() -> None:
        for touch in (
            ancillary.clear,
            lambda: own.recv_vectored_with_ancillary([bytearray(1)], ancillary),
        ):
            try:
                touch()
            except UsageError as error:
                refused.append(error)
        with SocketAncillary(64) as other:
            mine.send_vectored_with_ancillary([b"y"], with_one(0))
            own.recv_vectored_with_ancillary([bytearray(1)], other)
            assert len(list(other.messages())) == 1
        if len(refused) >= 4:
            signal.setitimer(signal.ITIMER_REAL, 0)
            ours.send_vectored_with_ancillary([b"x"], with_one(ours.fileno()))

    with mine, own, SocketAncillary(64) as ancillary:
        with ringing(ring):
            got = theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
        assert count_of(got) == 1
        assert len(list(ancillary.messages())) == 1
    assert len(refused) >= 4


# What becomes of a socket.socket


@pytest.mark.parametrize("timeout", [None, 0.0, 0.05])
def test_from_socket_waits_as_the_socket_does(kind: Any, timeout: float | None) -> None:
    """Blocking, non-blocking, or so long; and it may be changed at any time."""
    one, other = socket.socketpair(socket.AF_UNIX, TYPES[kind])
    with one, other:
        one.settimeout(timeout)
        ours = kind.from_socket(one)
        assert ours.socket.gettimeout() == timeout
        room, nothing = [bytearray(1)], SocketAncillary(0)
        if timeout is None:
            late = threading.Timer(0.05, other.send, [b"x"])
            late.start()
            assert count_of(ours.recv_vectored_with_ancillary(room, nothing)) == 1
            late.join()
            one.settimeout(0.0)
        expected = TimeoutError if timeout else BlockingIOError
        begun = time.monotonic()
        with pytest.raises(expected):
            ours.recv_vectored_with_ancillary(room, nothing)
        assert time.monotonic() - begun >= (timeout or 0)
        one.settimeout(PATIENCE)
        other.send(b"x")
        assert count_of(ours.recv_vectored_with_ancillary(room, nothing)) == 1


def test_a_default_timeout_is_a_new_socket_s_too(
    kind: Any,
) -> None:
    assert socket.getdefaulttimeout() is None
    socket.setdefaulttimeout(0.01)
    try:
        one, other = kind.pair()
        with one, other, pytest.raises(TimeoutError, match=r"timed out after 0\.01 s"):
            other.recv_vectored_with_ancillary([bytearray(1)], SocketAncillary(0))
    finally:
        socket.setdefaulttimeout(None)


# Somebody else closes it, or shuts it down


def test_shutting_down_wakes_who_waits(pair: tuple[Any, Any]) -> None:
    _, theirs = pair
    late = threading.Timer(0.05, theirs.socket.shutdown, [socket.SHUT_RD])
    late.start()
    got = theirs.recv_vectored_with_ancillary([bytearray(1)], SocketAncillary(64))
    late.join()
    assert count_of(got) == 0


def test_closing_does_not_wake_who_waits_and_its_call_ends_as_if_nothing_were(
    pair: tuple[Any, Any],
) -> None:
    """Linux holds the file for the call (close(2)); the next call is EBADF."""
    ours, theirs = pair
    answers: list[object] = []

    def wait() -> None:
        with SocketAncillary(64) as ancillary:
            for _ in range(2):
                try:
                    got = theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
                    answers.append((count_of(got), len(ancillary.take_fds())))
                except OSError as error:
                    answers.append(error.errno)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    time.sleep(0.05)
    theirs.close()
    assert waiting.is_alive()
    ours.send_vectored_with_ancillary([b"x"], SocketAncillary(0))
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    assert answers in ([(1, 0), errno.EBADF], [errno.EBADF, errno.EBADF])


def test_closing_ends_a_wait_with_a_timeout(pair: tuple[Any, Any]) -> None:
    _, theirs = pair
    theirs.socket.settimeout(0.2)
    late = threading.Timer(0.05, theirs.close)
    late.start()
    with pytest.raises((TimeoutError, OSError)):
        theirs.recv_vectored_with_ancillary([bytearray(1)], SocketAncillary(64))
    late.join()


# As much as goes


@pytest.mark.parametrize("size", [IOV_MAX - 1, IOV_MAX, IOV_MAX + 1, 3 * IOV_MAX])
def test_many_buffers(pair: tuple[Any, Any], size: int) -> None:
    """More than ``IOV_MAX`` go in part on a stream, and not at all in a packet."""
    ours, theirs = pair
    fits = size <= IOV_MAX
    parts = [b"%c" % (index % 251) for index in range(size)]
    rooms = [bytearray(1) for _ in range(size)]
    one = with_one(ours.fileno())
    with SocketAncillary(64) as ancillary:
        if not fits and not isinstance(ours, UnixStream):
            with pytest.raises(OSError, match="Message too long") as told:
                ours.send_vectored_with_ancillary(parts, one)
            assert told.value.errno == errno.EMSGSIZE
            with pytest.raises(OSError, match="Message too long"):
                theirs.recv_vectored_with_ancillary(rooms, ancillary)
            return
        assert ours.send_vectored_with_ancillary(parts, one) == min(size, IOV_MAX)
        got = theirs.recv_vectored_with_ancillary(rooms, ancillary)
        assert count_of(got) == min(size, IOV_MAX)
        assert b"".join(rooms[:IOV_MAX]) == b"".join(parts[:IOV_MAX])
        assert len(list(ancillary.messages())) == 1
