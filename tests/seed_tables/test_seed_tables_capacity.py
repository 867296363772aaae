"""What Rust's SocketAncillary was observed to do: 2.4, receiving into too little room.

Room in the control buffer, and in the descriptor table. See test_seed_tables_encode.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any

import pytest

from ancfuzz.ancillary import ScmCredentials, SocketAncillary
from ancfuzz.descriptors import open_numbers
from tests.seed_observed import (
    HEADER,
    OWN,
    align,
    child,
    numbers_in,
    on_linux,
    send,
    space,
)

if TYPE_CHECKING:
    from ancfuzz.sockets import UnixStream

pytestmark = on_linux

CANARY = 0xA5
CREDS = space(12)


@pytest.mark.parametrize("count", range(65))
def test_2_4_closed_form(
    stream: tuple[UnixStream, UnixStream], fd: int, count: int
) -> None:
    """All capacities from 0 to 300, for each number of descriptors from 0 to 64."""
    ours, theirs = stream
    sent = SocketAncillary(SocketAncillary.capacity_for(fds=count))
    sent.add_fds([fd] * count)
    memory = bytearray(301)
    data = [bytearray(1)]
    open_before = len(open_numbers())
    for capacity in range(301):
        memory[:] = bytes([CANARY]) * 301
        ours.send_vectored_with_ancillary([b"x"], sent)
        with SocketAncillary(memoryview(memory)[:capacity]) as received:
            theirs.recv_vectored_with_ancillary(data, received)
            room = max(capacity - HEADER, 0) // 4
            yielded = min(count, room)
            used = min(HEADER + align(4 * yielded), capacity) if yielded else 0
            assert received.truncated == (yielded < count), capacity
            assert len(received) == used, capacity
            numbers = numbers_in(received)
            assert len(numbers) == yielded, capacity
            if capacity % 29 == 0:  # it costs as much as all the rest
                assert len(open_numbers()) == open_before + yielded, capacity
            assert all(os.path.sameopenfile(number, fd) for number in numbers[-1:])
        assert memory[capacity:] == bytes([CANARY]) * (301 - capacity)
    assert len(open_numbers()) == open_before


def test_2_4_cap_0_with_fds_sent(pair: tuple[Any, Any], fd: int) -> None:
    ours, theirs = pair
    send(ours, b"x", fd, fd)
    ancillary = SocketAncillary(0)
    theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
    assert ancillary.is_empty
    assert ancillary.truncated


@pytest.mark.parametrize("capacity", range(HEADER, HEADER + 12))
def test_2_4_creds_into_cap_16_to_27(pair: tuple[Any, Any], capacity: int) -> None:
    ours, theirs = pair
    theirs.set_passcred(True)
    send(ours, b"x")
    ancillary = SocketAncillary(capacity)
    theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
    assert list(ancillary.messages()) == [ScmCredentials(())]
    assert struct.unpack_from("@N", ancillary.control) == (capacity,)
    assert ancillary.truncated


@pytest.mark.parametrize("capacity", range(HEADER + 12, CREDS + 1))
def test_2_4_creds_into_cap_28_to_31(pair: tuple[Any, Any], capacity: int) -> None:
    ours, theirs = pair
    theirs.set_passcred(True)
    send(ours, b"x")
    ancillary = SocketAncillary(capacity)
    theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
    assert list(ancillary.messages()) == [ScmCredentials((OWN,))]
    assert len(ancillary) == capacity
    assert not ancillary.truncated


@pytest.mark.parametrize("capacity", range(CREDS + 1, CREDS + HEADER + 4))
def test_2_4_creds_and_2_fds_into_cap_33_to_51(
    pair: tuple[Any, Any], fd: int, capacity: int
) -> None:
    ours, theirs = pair
    theirs.set_passcred(True)
    send(ours, b"x", fd, fd)
    ancillary = SocketAncillary(capacity)
    theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
    assert list(ancillary.messages()) == [ScmCredentials((OWN,))]
    assert len(ancillary) == CREDS
    assert ancillary.truncated
    assert ancillary.take_fds() == []


def test_2_4_fd_table_room_for_5_of_10() -> None:
    assert child("small_table")["5"] == {
        "length": space(20),
        "truncated": True,
        "yielded": [5],
        "installed": 5,
    }


def test_2_4_fd_table_full() -> None:
    assert child("small_table")["0"] == {
        "length": 0,
        "truncated": True,
        "yielded": [],
        "installed": 0,
    }
