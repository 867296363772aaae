"""What Rust's SocketAncillary was observed to do, row by row: 2.1, adding.

Each test is a row of a table of observations and is named after it; what was observed
and is wrong is in test_seed_bugs.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from ancfuzz import ControlMessage, encode
from ancfuzz.ancillary import ScmCredentials, ScmRights, SocketAncillary, SocketCred
from tests.seed_observed import length_of, numbers_in, on_linux, space

if TYPE_CHECKING:
    from ancfuzz.sockets import UnixStream

pytestmark = on_linux

DIRTY = 0xA5


def rights(*fds: int) -> ControlMessage:
    return ControlMessage(
        socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds)
    )


def test_2_1_new_on_dirty_buffer() -> None:
    buffer = bytearray([DIRTY]) * 64
    ancillary = SocketAncillary(buffer)
    assert len(ancillary) == 0
    assert ancillary.is_empty
    assert not ancillary.truncated
    assert list(ancillary.messages()) == []
    assert ancillary.capacity == 64
    assert buffer == bytearray([DIRTY]) * 64


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 28, 253])
def test_2_1_add_fds_n(count: int) -> None:
    needed = space(4 * count)
    buffer = bytearray([DIRTY]) * (needed + 8)
    ancillary = SocketAncillary(buffer)
    assert ancillary.add_fds(range(count))
    assert len(ancillary) == needed
    assert buffer[:needed] == encode([rights(*range(count))])
    assert buffer[needed:] == bytearray([DIRTY]) * 8
    (length,) = struct.unpack_from("@N", buffer)
    assert length == length_of(4 * count)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 253])
def test_2_1_capacity_short_by_1(count: int) -> None:
    capacity = space(4 * count) - 1
    buffer = bytearray([DIRTY]) * capacity
    ancillary = SocketAncillary(buffer)
    assert not ancillary.add_fds(range(count))
    assert len(ancillary) == 0
    assert buffer == bytearray([DIRTY]) * capacity


def test_2_1_cap_0() -> None:
    ancillary = SocketAncillary(0)
    assert not ancillary.add_fds([])
    assert not ancillary.add_fds([0])
    assert not ancillary.add_creds([])
    assert ancillary.is_empty


def test_2_1_add_fds_of_none() -> None:
    ancillary = SocketAncillary(64)
    assert ancillary.add_fds([])
    assert len(ancillary) == space(0)
    assert list(ancillary.messages()) == [ScmRights(())]


def test_2_1_add_fds_x2() -> None:
    ancillary = SocketAncillary(64)
    assert ancillary.add_fds([3])
    assert ancillary.add_fds([4, 5])
    assert list(ancillary.messages()) == [ScmRights((3,)), ScmRights((4, 5))]
    assert numbers_in(ancillary) == [3, 4, 5]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_2_1_add_creds(count: int) -> None:
    cred = SocketCred(1, 2, 3)
    ancillary = SocketAncillary(64)
    assert ancillary.add_creds([cred] * count)
    assert len(ancillary) == space(12 * count)
    assert list(ancillary.messages()) == [ScmCredentials((cred,) * count)]


def test_2_1_mix() -> None:
    cred = SocketCred(1, 2, 3)
    ancillary = SocketAncillary(256)
    assert ancillary.add_fds([3])
    assert ancillary.add_creds([cred])
    assert ancillary.add_fds([])
    assert ancillary.add_fds([4])
    assert list(ancillary.messages()) == [
        ScmRights((3,)),
        ScmCredentials((cred,)),
        ScmRights(()),
        ScmRights((4,)),
    ]


def test_2_1_messages_again() -> None:
    ancillary = SocketAncillary(64)
    ancillary.add_fds([3, 4])
    first = ancillary.messages()
    assert next(first) == ScmRights((3, 4))
    assert list(ancillary.messages()) == [ScmRights((3, 4))]
    assert list(first) == []


def test_2_1_clear(fd: int) -> None:
    buffer = bytearray(64)
    ancillary = SocketAncillary(buffer)
    ancillary.add_fds([fd])
    written = bytes(buffer)
    ancillary.clear()
    assert ancillary.is_empty
    assert not ancillary.truncated
    assert ancillary.capacity == 64
    assert list(ancillary.messages()) == []
    assert buffer == written  # not wiped
    os.fstat(fd)  # added, so not ours to close


def test_2_1_debug() -> None:
    ancillary = SocketAncillary(bytearray(b"secret" * 10))
    assert "secret" not in repr(ancillary)
    ancillary.add_fds([1234])
    assert "1234" in repr(ancillary)
    ancillary.clear()
    assert "1234" not in repr(ancillary)


@pytest.mark.parametrize("offset", range(8))
def test_2_1_misaligned_buffer(
    offset: int, stream: tuple[UnixStream, UnixStream], fd: int
) -> None:
    ours, theirs = stream
    ancillary = SocketAncillary(memoryview(bytearray(64))[offset : offset + 40])
    assert ancillary.add_fds([fd])
    assert list(ancillary.messages()) == [ScmRights((fd,))]
    assert ours.send_vectored_with_ancillary([b"x"], ancillary) == 1
    with SocketAncillary(memoryview(bytearray(64))[offset : offset + 40]) as received:
        theirs.recv_vectored_with_ancillary([bytearray(1)], received)
        (number,) = numbers_in(received)
        assert os.path.sameopenfile(number, fd)


def test_2_1_fd_values(stream: tuple[UnixStream, UnixStream]) -> None:
    for value in (-1, 999, 2**31 - 1, -(2**31)):
        ancillary = SocketAncillary(64)
        assert ancillary.add_fds([value])
        with pytest.raises(OSError, match="Bad file descriptor"):
            stream[0].send_vectored_with_ancillary([b"x"], ancillary)


def test_2_1_k_appends() -> None:
    ancillary = SocketAncillary(4000 * space(4))
    for number in range(4000):
        assert ancillary.add_fds([number])
    assert not ancillary.add_fds([])
    assert list(ancillary.messages()) == [ScmRights((n,)) for n in range(4000)]
