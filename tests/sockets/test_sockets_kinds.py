"""Unix sockets: their kinds, how they are shared, and what is said of what arrived."""

from __future__ import annotations

import errno
import gc
import os
import socket
import warnings
from typing import Any

import pytest

from ancfuzz.abi import NATIVE
from ancfuzz.ancillary import ScmRights, SocketAncillary
from ancfuzz.descriptors import is_close_on_exec
from ancfuzz.sockets import InvalidInput, UnixStream
from tests.socket_kinds import KINDS, NOTHING, TYPES, count_of


def test_a_pair_is_connected_and_blocking(pair: tuple[Any, Any], kind: Any) -> None:
    ours, theirs = pair
    assert isinstance(ours, kind)
    assert os.get_blocking(ours.fileno())
    assert ours.socket.type == TYPES[kind]
    assert is_close_on_exec(ours.fileno())
    assert ours.send_vectored_with_ancillary([b"ab", b"", b"c"], NOTHING) == 3
    data = [bytearray(1), bytearray(4)]
    got = theirs.recv_vectored_with_ancillary(data, NOTHING)
    assert count_of(got) == 3
    assert data == [b"a", b"bc\0\0"]


def test_from_socket_shares(kind: Any) -> None:
    one, other = socket.socketpair(socket.AF_UNIX, TYPES[kind])
    ours = kind.from_socket(one)
    assert ours.socket is one
    assert ours.fileno() == one.fileno()
    one.setblocking(False)
    with pytest.raises(BlockingIOError):
        ours.recv_vectored_with_ancillary([bytearray(1)], NOTHING)
    ours.close()
    ours.close()
    assert one.fileno() == ours.fileno() == -1
    other.close()


@pytest.mark.parametrize("wrong", [*KINDS, "inet"])
def test_from_socket_wants_its_own_kind(kind: Any, wrong: Any) -> None:
    if wrong == "inet":
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        said = "AF_INET"
    else:
        sock = socket.socket(socket.AF_UNIX, TYPES[wrong])
        said = f"AF_UNIX and {TYPES[wrong].name} cannot be a {kind.__name__}"
    with sock:
        if wrong is kind:
            assert kind.from_socket(sock).socket is sock
            return
        with pytest.raises(InvalidInput, match=said):
            kind.from_socket(sock)
        assert sock.fileno() != -1


def test_a_dropped_one_warns_and_a_shared_one_does_not(kind: Any) -> None:
    one, other = kind.pair()
    with pytest.warns(ResourceWarning, match="unclosed"):
        del one
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shared = other.socket
        del other
        gc.collect()
        shared.close()


def test_a_closed_one_is_a_bad_descriptor(pair: tuple[Any, Any]) -> None:
    ours, _ = pair
    assert repr(ours).startswith(f"<{type(ours).__name__} <socket.socket")
    ours.close()
    assert "[closed]" in repr(ours)
    calls = [ours.send_vectored_with_ancillary, ours.recv_vectored_with_ancillary]
    for call in calls:
        with pytest.raises(OSError, match="Bad file descriptor") as failed:
            call([bytearray(1)], NOTHING)
        assert failed.value.errno == errno.EBADF


def test_the_end_of_a_stream_is_0() -> None:
    ours, theirs = UnixStream.pair()
    with theirs:
        ours.close()
        assert theirs.recv_vectored_with_ancillary([bytearray(1)], NOTHING) == 0


def test_closed_peers_are_errors_and_not_signals(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    theirs.close()
    with pytest.raises(OSError, match=r"Broken pipe|refused"):
        ours.send_vectored_with_ancillary([b"x"], NOTHING)


def test_more_than_a_stream_takes_is_sent_in_part() -> None:
    """And the descriptors go once, with the first of it (S19)."""
    ours, theirs = UnixStream.pair()
    with ours, theirs, SocketAncillary(64) as ancillary:
        ours.socket.setblocking(False)
        theirs.socket.setblocking(False)
        ancillary.add_fds([ours.fileno()])
        data = bytes(4_000_000)
        sent = ours.send_vectored_with_ancillary([data], ancillary)
        assert 0 < sent < len(data)
        came = arrived = 0
        while came < sent:
            came += theirs.recv_vectored_with_ancillary([bytearray(65536)], ancillary)
            arrived += sum(
                len(m) for m in ancillary.messages() if isinstance(m, ScmRights)
            )
        assert (came, arrived) == (sent, 1)


@pytest.mark.skipif(
    "SO_PASSCRED" not in NATIVE.constants, reason="this system has another option"
)
def test_passcred(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    option = NATIVE.constants["SO_PASSCRED"]
    for on in (True, False):
        ours.set_passcred(on)
        assert ours.passcred() is on
        assert ours.socket.getsockopt(socket.SOL_SOCKET, option) == on
        assert theirs.passcred() is False
