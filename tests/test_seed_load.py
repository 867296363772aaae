"""The seed in bulk: what a hundred thousand round trips leave behind, which is nothing.

A leak of one object or one descriptor in each trip is found; that is shown first.
"""

from __future__ import annotations

import ctypes
import gc
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ancfuzz.ancillary import ScmRights, SocketAncillary
from ancfuzz.descriptors import open_numbers
from ancfuzz.sockets import UnixDatagram, UnixSeqpacket, UnixStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TRIPS = 100_000
WARM_UP = 300  # caches fill, the interpreter specializes
PAGE = os.sysconf("SC_PAGE_SIZE")
STATM = Path("/proc/self/statm")
ROOT = Path(__file__).parents[1]


class Growth(NamedTuple):
    """What there is more of than before."""

    descriptors: frozenset[int]
    blocks: int  # of memory, whatever their size
    bytes: int  # of resident memory; 0 without /proc


def resident() -> int:
    return int(STATM.read_bytes().split()[1]) * PAGE if STATM.exists() else 0


def growth(trip: Callable[[], object], trips: int) -> Growth:
    for _ in range(WARM_UP):
        trip()
    gc.collect()
    numbers, blocks, size = open_numbers(), sys.getallocatedblocks(), resident()
    for _ in range(trips):
        trip()
    gc.collect()
    more = sys.getallocatedblocks() - blocks
    return Growth(open_numbers() - numbers, more, resident() - size)


def most_bytes(trips: int) -> int:
    return max(16 * trips, 1_000_000)


def assert_no_growth(trip: Callable[[], object], trips: int = TRIPS) -> None:
    grown = growth(trip, trips)
    assert grown.descriptors == frozenset()
    # One block a trip would be ten times, 32 bytes a trip twice as much.
    assert grown.blocks < trips // 10
    assert grown.bytes < most_bytes(trips)


# That it would be seen


def test_an_object_kept_of_each_trip_is_seen() -> None:
    kept: list[object] = []
    with pytest.raises(AssertionError, match="blocks"):
        assert_no_growth(lambda: kept.append(object()), 2000)


def native_growth() -> int:
    """What is seen of a leak of 64 bytes a trip that Python knows nothing of."""
    malloc, free = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
    malloc.restype = ctypes.c_void_p
    # Addresses in memory of a fixed size, which is not growth.
    kept = (ctypes.c_void_p * (TRIPS + WARM_UP))()
    places = iter(range(len(kept)))

    def trip() -> None:
        where = malloc(64)
        ctypes.memset(where, 1, 64)
        kept[next(places)] = where

    ctypes.memset(kept, 0, ctypes.sizeof(kept))
    try:
        return growth(trip, TRIPS).bytes
    finally:
        for where in kept:
            free(ctypes.c_void_p(where))


@pytest.mark.skipif(not STATM.exists(), reason="resident memory is read from /proc")
def test_memory_that_is_not_pythons_is_seen() -> None:
    # In a process of its own: memory that other tests gave back would be used again.
    program = "from tests.test_seed_load import native_growth; print(native_growth())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert int(done.stdout) > most_bytes(TRIPS)


def test_a_descriptor_kept_of_one_trip_is_seen() -> None:
    kept: list[int] = []

    def trip() -> None:
        if len(kept) < WARM_UP + 1:
            kept.append(os.dup(0))

    try:
        with pytest.raises(AssertionError, match="frozenset"):
            assert_no_growth(trip, 10)
    finally:
        for number in kept:
            os.close(number)


# Round trips


@pytest.fixture(params=[UnixStream, UnixDatagram, UnixSeqpacket])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Any]]:
    before = open_numbers()
    one, other = request.param.pair()
    with one, other:
        yield one, other
    assert open_numbers() == before


@pytest.fixture
def stream() -> Iterator[tuple[UnixStream, UnixStream]]:
    one, other = UnixStream.pair()
    with one, other:
        yield one, other


def prepared(count: int) -> SocketAncillary:
    ancillary = SocketAncillary(SocketAncillary.capacity_for(fds=count))
    assert ancillary.add_fds([0] * count)
    return ancillary


@pytest.mark.parametrize("count", [0, 1])
def test_reused_and_cleared(pair: tuple[Any, Any], count: int) -> None:
    ours, theirs = pair
    sent, received, room = SocketAncillary(64), SocketAncillary(64), bytearray(1)
    seen = [True] * count

    def trip() -> None:
        sent.clear()
        sent.add_fds([0] * count)
        ours.send_vectored_with_ancillary([b"x"], sent)
        theirs.recv_vectored_with_ancillary([room], received)
        assert [isinstance(one, ScmRights) for one in received.messages()] == seen
        received.clear()

    assert_no_growth(trip)


def with_block(theirs: Any, _: SocketAncillary) -> None:
    with SocketAncillary(64) as received:
        theirs.recv_vectored_with_ancillary([bytearray(1)], received)


def taken(theirs: Any, received: SocketAncillary) -> None:
    theirs.recv_vectored_with_ancillary([bytearray(1)], received)
    for number in received.take_fds():
        os.close(number)
    assert received.take_fds() == received.take_pidfds() == []


def next_receive(theirs: Any, received: SocketAncillary) -> None:
    theirs.recv_vectored_with_ancillary([bytearray(1)], received)
    assert any(isinstance(message, ScmRights) for message in received.messages())


def several_buffers(theirs: Any, received: SocketAncillary) -> None:
    buffers = [bytearray(1), memoryview(bytearray(3))[1:]]
    theirs.recv_vectored_with_ancillary(buffers, received)


@pytest.mark.parametrize(
    "receive",
    [with_block, taken, next_receive, several_buffers],
    ids=lambda f: f.__name__,
)
def test_each_way_to_let_go(
    stream: tuple[UnixStream, UnixStream],
    receive: Callable[[Any, SocketAncillary], None],
) -> None:
    ours, theirs = stream
    three, received = prepared(3), SocketAncillary(64)

    def trip() -> None:
        ours.send_vectored_with_ancillary([b"x"], three)
        receive(theirs, received)

    with received:
        assert_no_growth(trip, TRIPS // 2)


@pytest.mark.parametrize("capacity", [0, 23])
def test_truncated(pair: tuple[Any, Any], capacity: int) -> None:
    ours, theirs = pair
    eight, received, room = prepared(8), SocketAncillary(capacity), bytearray(1)

    def trip() -> None:
        ours.send_vectored_with_ancillary([b"xx"], eight)
        theirs.recv_vectored_with_ancillary([room], received)
        assert received.truncated
        if isinstance(theirs, UnixStream):
            theirs.socket.recv(1)

    with received:
        assert_no_growth(trip, TRIPS // 4)


def test_datagrams_with_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with UnixDatagram.bind("here") as ours, SocketAncillary(64) as received:
        one = prepared(1)

        def trip() -> None:
            ours.send_vectored_with_ancillary_to([b"x"], one, "here")
            got = ours.recv_vectored_with_ancillary_from([bytearray(1)], received)
            assert got == (1, False, "here")

        assert_no_growth(trip, TRIPS // 4)


# Calls that fail


def test_nothing_to_receive(pair: tuple[Any, Any]) -> None:
    _, theirs = pair
    received, room = SocketAncillary(64), bytearray(1)

    def trip() -> None:
        with suppress(BlockingIOError):
            theirs.recv_vectored_with_ancillary([room], received, socket.MSG_DONTWAIT)
            raise AssertionError

    assert_no_growth(trip, TRIPS // 4)


def test_bad_descriptors(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    ours.close()
    received, wrong, room = SocketAncillary(64), SocketAncillary(64), bytearray(1)
    wrong.add_fds([-1])

    calls: list[Callable[[], object]] = [
        lambda: ours.recv_vectored_with_ancillary([room], received),
        lambda: ours.send_vectored_with_ancillary([b"x"], received),
        lambda: theirs.send_vectored_with_ancillary([b"x"], wrong),
    ]

    def trip() -> None:
        for call in calls:
            with pytest.raises(OSError, match="Bad file descriptor"):
                call()

    assert_no_growth(trip, TRIPS // 10)


def test_reset_connections() -> None:
    """A peer that is gone with something unread, descriptors of ours among it."""
    one, received = prepared(1), SocketAncillary(64)

    def trip() -> None:
        ours, theirs = UnixStream.pair()
        with ours:
            ours.send_vectored_with_ancillary([b"x"], one)
            theirs.close()
            with pytest.raises(ConnectionResetError):
                ours.recv_vectored_with_ancillary([bytearray(1)], received)
            assert received.is_empty

    assert_no_growth(trip, TRIPS // 20)
