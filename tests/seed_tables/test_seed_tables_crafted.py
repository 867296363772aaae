"""What Rust's SocketAncillary was observed to do, row by row: 2.6, crafted bytes.

They are written to the buffer behind the back of SocketAncillary. See
test_seed_tables_encode.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any

import pytest

from ancfuzz import ControlMessage, MalformedControl, encode
from ancfuzz.abi import NATIVE
from ancfuzz.ancillary import ScmCredentials, ScmRights, SocketAncillary, SocketCred
from ancfuzz.sockets import UnixStream
from tests.seed_observed import HEADER, on_linux, send

pytestmark = on_linux


def crafted(length: int, region: int = 2 * HEADER, data: bytes = b"") -> Any:
    """A buffer whose first header claims a length, in a region of zeros."""
    buffer = bytearray(region)
    ancillary = SocketAncillary(buffer)
    for _ in range(region // HEADER):
        assert ancillary.add_fds([])
    buffer[:] = bytes(region)
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS)
    struct.pack_into("@Nii", buffer, 0, length, *rights)
    buffer[HEADER : HEADER + len(data)] = data
    return ancillary


@pytest.mark.parametrize("length", [0, 1, HEADER - 1])
def test_2_6_cmsg_len_too_small_as_first_header(length: int) -> None:
    """SIGSEGV in the original (B21)."""
    with pytest.raises(MalformedControl) as malformed:
        list(crafted(length).messages())
    assert malformed.value.offset == 0
    assert malformed.value.needed == HEADER
    assert malformed.value.available == length


@pytest.mark.parametrize(
    "length", [2 * HEADER + 1, 1000, sys.maxsize, 2 * sys.maxsize + 1]
)
def test_2_6_cmsg_len_beyond_the_region(length: int) -> None:
    """246 descriptors of somebody else's memory, or SIGSEGV, in the original (B21)."""
    ancillary = crafted(length)
    with pytest.raises(MalformedControl) as malformed:
        list(ancillary.messages())
    assert malformed.value.needed == length
    assert malformed.value.available == 2 * HEADER
    assert "malformed control message at offset 0" in repr(ancillary)


def test_2_6_cmsg_len_16() -> None:
    """The zero tail is Unknown{0,0} to the original, and no message here."""
    messages = crafted(HEADER).messages()
    assert next(messages) == ScmRights(())
    with pytest.raises(MalformedControl) as malformed:
        next(messages)
    assert malformed.value.offset == HEADER


@pytest.mark.parametrize("stray", [1, 2, 3])
def test_2_6_cmsg_len_17_to_19(stray: int) -> None:
    ancillary = crafted(HEADER + stray, 2 * HEADER)
    assert next(ancillary.messages()) == ScmRights(())


@pytest.mark.parametrize(("payload", "count"), [(11, 0), (12, 1), (23, 1), (30, 2)])
def test_2_6_creds_payload(payload: int, count: int) -> None:
    cred = SocketCred(1, 2, 3)
    data = cred.encode() * 3
    type_ = NATIVE.constants["SCM_CREDENTIALS"]
    whole = encode([ControlMessage(socket.SOL_SOCKET, type_, data[:payload])])
    buffer = bytearray(4 * HEADER)
    ancillary = SocketAncillary(buffer)
    while ancillary.add_fds([]):
        pass
    buffer[: len(whole)] = whole
    assert next(ancillary.messages()) == ScmCredentials((cred,) * count)


def test_2_6_region_below_16(fd: int) -> None:
    ancillary = SocketAncillary(HEADER - 1)
    assert not ancillary.add_fds([])
    ours, theirs = UnixStream.pair()
    with ours, theirs:
        send(ours, b"x", fd)
        theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
    assert list(ancillary.messages()) == []
    assert ancillary.truncated
