"""Unix sockets: their kinds, their addresses, how they wait and how they are shared."""

from __future__ import annotations

import errno
import gc
import os
import signal
import socket
import struct
import sys
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz import UsageError
from ancfuzz.abi import NATIVE
from ancfuzz.ancillary import ScmRights, SocketAncillary
from ancfuzz.descriptors import is_close_on_exec, open_numbers
from ancfuzz.sockets import InvalidInput, UnixDatagram, UnixSeqpacket, UnixStream
from ancfuzz.sockets.addresses import decode_address, encode_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KINDS = [UnixStream, UnixDatagram, UnixSeqpacket]
TYPES = {
    UnixStream: socket.SOCK_STREAM,
    UnixDatagram: socket.SOCK_DGRAM,
    UnixSeqpacket: socket.SOCK_SEQPACKET,
}
NOTHING = SocketAncillary(0)

on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="abstract names are Linux's"
)


@pytest.fixture(autouse=True)
def leaks_nothing() -> Iterator[None]:
    before = open_numbers()
    yield
    assert open_numbers() == before


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the working one: paths in it are short wherever it is."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def pair(kind: Any) -> Iterator[tuple[Any, Any]]:
    one, other = kind.pair()
    with one, other:
        yield one, other


def count_of(got: int | tuple[int, bool]) -> int:
    """Data bytes received: a packet socket says more than that."""
    return got if isinstance(got, int) else got[0]


# Making one


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


# Connecting and addresses


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("as_path", [str, os.fsencode, Path])
def test_connect(kind: Any, as_path: Any) -> None:
    path = as_path("socket")
    with socket.socket(socket.AF_UNIX, TYPES[kind]) as listener:
        listener.bind("socket")
        if kind is not UnixDatagram:
            listener.listen()
        with kind.connect(path) as ours:
            assert ours.send_vectored_with_ancillary([b"x"], NOTHING) == 1
            theirs = listener if kind is UnixDatagram else listener.accept()[0]
            assert theirs.recv(8) == b"x"
            theirs.close()


def test_connect_to_nobody(kind: Any, here: Path) -> None:
    with pytest.raises(FileNotFoundError):
        kind.connect("missing")
    (here / "file").touch()
    with pytest.raises(ConnectionRefusedError):
        kind.connect("file")
    with pytest.raises(OSError, match="in use"):
        UnixDatagram.bind("file")


@pytest.mark.usefixtures("here")
def test_datagrams_to_and_from_a_path() -> None:
    with UnixDatagram.bind(Path("one")) as ours, UnixDatagram.bind("two") as theirs:
        with SocketAncillary(64) as ancillary:
            ancillary.add_fds([ours.fileno()])
            sent = ours.send_vectored_with_ancillary_to([b"abc"], ancillary, "two")
            assert sent == 3
            data = bytearray(2)
            got = theirs.recv_vectored_with_ancillary_from([data], ancillary)
            assert got == (2, True, "one")
            assert data == b"ab"
            (rights,) = ancillary.messages()
            assert isinstance(rights, ScmRights)
            assert os.path.sameopenfile(rights.fds[0], ours.fileno())
        theirs.socket.connect("one")
        theirs.send_vectored_with_ancillary([b"x"], NOTHING)
        got = ours.recv_vectored_with_ancillary_from([bytearray(1)], NOTHING)
        assert got == (1, False, "two")


@on_linux
@pytest.mark.parametrize("as_path", [os.fsdecode, bytes])
def test_abstract_names(as_path: Any) -> None:
    name = as_path(b"\0ancfuzz \xff\0 %d" % os.getpid())
    with UnixDatagram.bind(name) as ours, UnixDatagram.bind("") as theirs:
        theirs.send_vectored_with_ancillary_to([b"x"], NOTHING, name)
        got = ours.recv_vectored_with_ancillary_from([bytearray(1)], NOTHING)
        own = theirs.socket.getsockname()
        assert got == (1, False, own)
        assert isinstance(own, bytes)  # the kernel chose it
        with UnixDatagram.connect(name) as third:
            assert third.socket.getpeername() == os.fsencode(name)


def test_no_address_is_none(pair: tuple[Any, Any]) -> None:
    ours, theirs = UnixDatagram.pair()
    with ours, theirs:
        ours.send_vectored_with_ancillary([b"x"], NOTHING)
        got = theirs.recv_vectored_with_ancillary_from([bytearray(1)], NOTHING)
        assert got == (1, False, None)


@pytest.mark.parametrize(
    "use",
    [
        UnixStream.connect,
        UnixDatagram.connect,
        UnixSeqpacket.connect,
        UnixDatagram.bind,
        encode_address,
    ],
)
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("p" * 200, "a path of 200 bytes"),
        ("ä" * 60, "a path of 120 bytes"),
        ("p" * 108, "a path of 108 bytes"),
        (b"\0" + b"a" * 108, "a path of 109 bytes"),
        ("a\0b", "zero byte inside"),
        (b"a\0", "zero byte inside"),
    ],
)
def test_a_path_that_would_be_cut_is_refused(
    use: Callable[[Any], object], path: Any, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said) as refused:
        use(path)
    assert isinstance(refused.value, UsageError)
    assert isinstance(refused.value, OSError)
    assert isinstance(refused.value, ValueError)
    assert refused.value.errno is None


paths = st.binary(min_size=1, max_size=107).filter(lambda path: b"\0" not in path)
names = st.binary(max_size=107).map(lambda name: b"\0" + name)


@given(path=st.one_of(paths, names))
def test_addresses_come_back(path: bytes) -> None:
    address = encode_address(path)
    assert address[:2] == struct.pack("=H" if sys.platform == "linux" else "=xB", 1)
    expected = path if path[0] == 0 else os.fsdecode(path)
    assert decode_address(address) == expected


@given(path=paths)
def test_longest_path_is_not_cut_without_its_zero_byte(path: bytes) -> None:
    """As the kernel gives one that fills the structure: there is no room for it."""
    assert decode_address(encode_address(path)[:-1]) == os.fsdecode(path)
    assert (
        decode_address(b"") is decode_address(None) is decode_address(b"\1\0") is None
    )


# Waiting


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


# What is said of what arrived


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
