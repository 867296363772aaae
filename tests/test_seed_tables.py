"""What Rust's SocketAncillary was observed to do, row by row: adding and sending.

Each test is a row of a table of observations (2.1 encode, 2.2 send, 2.3 credentials)
and is named after it.  Receiving is in test_seed_receiving, and what was observed and
is wrong in test_seed_bugs.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import ancfuzz
from ancfuzz import ControlMessage, encode
from ancfuzz.abi import NATIVE
from ancfuzz.ancillary import (
    ScmCredentials,
    ScmRights,
    SocketAncillary,
    SocketCred,
    UnknownMessage,
)
from ancfuzz.descriptors import open_numbers
from ancfuzz.sockets import InvalidInput, UnixDatagram, UnixSeqpacket, UnixStream
from ancfuzz.syscalls import IOV_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the tables were observed on Linux"
)

OWN = SocketCred.current()
# What a child has to find: the package that is tested, and what it needs.
PATH = [str(Path(ancfuzz.__file__).parent.parent), *filter(None, sys.path)]
DIRTY = 0xA5

# The tables were observed with headers of 16 bytes; on 32-bit hosts they have 12, and
# the arithmetic is the Abi's.
space, length_of = NATIVE.cmsg_space, NATIVE.cmsg_len


def accepts(level: int, option: int | None) -> bool:
    """Whether this kernel knows an option of Unix sockets."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        try:
            ours.setsockopt(level, option or -1, 1)
        except OSError:
            return False
    return True


SO_PASSRIGHTS = NATIVE.constants.get("SO_PASSRIGHTS")

needs_passrights = pytest.mark.skipif(
    not accepts(socket.SOL_SOCKET, SO_PASSRIGHTS),
    reason="this kernel has no SO_PASSRIGHTS",
)


def may_become_somebody() -> bool:
    """Whether this process may change its ids to any others."""
    if os.geteuid() != 0:
        return False
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = int(status.split("CapEff:")[1].split()[0], 16)
    uid_map = Path("/proc/self/uid_map").read_text(encoding="ascii").split()
    return effective >> 6 & 3 == 3 and int(uid_map[2]) > 2**30


@cache
def child(scenario: str, uid: int | None = None) -> Any:
    """The answer of seed_child.py, or the number of the signal that killed it."""
    script = Path(__file__).with_name("seed_child.py")
    arguments = [scenario] if uid is None else [scenario, str(uid)]
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(PATH)},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    if done.returncode < 0:
        return signal.Signals(-done.returncode).name
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(autouse=True)
def leaks_nothing() -> Iterator[None]:
    before = open_numbers()
    yield
    assert open_numbers() == before


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture
def fd(pipe: tuple[int, int]) -> int:
    return pipe[0]


@pytest.fixture
def stream() -> Iterator[tuple[UnixStream, UnixStream]]:
    one, other = UnixStream.pair()
    with one, other:
        yield one, other


@pytest.fixture(params=[UnixStream, UnixDatagram, UnixSeqpacket])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Any]]:
    one, other = request.param.pair()
    with one, other:
        yield one, other


def end_of(number: int) -> int:
    """Which end of a pipe a descriptor is: fstat cannot tell them apart."""
    return fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE


def receive(sock: Any, capacity: int = 4096) -> SocketAncillary:
    """The control messages of what comes next."""
    ancillary = SocketAncillary(capacity)
    sock.recv_vectored_with_ancillary([bytearray(64)], ancillary)
    return ancillary


def numbers_in(ancillary: SocketAncillary) -> list[int]:
    """All descriptors of all SCM_RIGHTS messages."""
    found = [one for one in ancillary.messages() if isinstance(one, ScmRights)]
    return [number for message in found for number in message]


def rights(*fds: int) -> ControlMessage:
    return ControlMessage(
        socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds)
    )


# 2.1 Encode


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


# 2.2 Send


def test_2_2_len_0(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    assert ours.send_vectored_with_ancillary([b"plain"], SocketAncillary(0)) == 5
    data = bytearray(5)
    assert theirs.socket.recvmsg_into([data], 64) == (5, [], 0, None)
    assert data == b"plain"


def test_2_2_only_a_0_fd_cmsg(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    ancillary = SocketAncillary(64)
    ancillary.add_fds([])
    assert ours.send_vectored_with_ancillary([b"x"], ancillary) == 1
    received = receive(theirs)
    assert received.is_empty
    assert not received.truncated


@pytest.mark.parametrize("empty_first", [False, True])
def test_2_2_2_scm_rights_cmsgs(
    pair: tuple[Any, Any], pipe: tuple[int, int], empty_first: bool
) -> None:
    ours, theirs = pair
    ancillary = SocketAncillary(256)
    if empty_first:
        ancillary.add_fds([])
    ancillary.add_fds([pipe[0]])
    ancillary.add_fds([pipe[1], pipe[0]])
    assert ours.send_vectored_with_ancillary([b"x"], ancillary) == 1
    with receive(theirs) as received:
        assert len(list(received.messages())) == 1
        assert [end_of(number) for number in numbers_in(received)] == [0, 1, 0]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 28, 29, 64, 128, 252, 253])
def test_2_2_n_of_0_to_253(pair: tuple[Any, Any], fd: int, count: int) -> None:
    ours, theirs = pair
    ancillary = SocketAncillary(SocketAncillary.capacity_for(fds=count))
    assert ancillary.add_fds([fd] * count)
    assert ours.send_vectored_with_ancillary([b"x"], ancillary) == 1
    before = open_numbers()
    with receive(theirs, len(ancillary)) as received:
        assert not received.truncated
        assert len(open_numbers()) == len(before) + count
        assert len(numbers_in(received)) == count
        assert all(os.path.sameopenfile(n, fd) for n in numbers_in(received))


@pytest.mark.parametrize(
    ("counts", "sent"),
    [((254,), False), ((255,), False), ((200, 53), True), ((200, 54), False)],
)
def test_2_2_at_most_253_in_one_sendmsg(
    pair: tuple[Any, Any], fd: int, counts: tuple[int, ...], sent: bool
) -> None:
    ours, theirs = pair
    ancillary = SocketAncillary(2048)
    for count in counts:
        assert ancillary.add_fds([fd] * count)
    if sent:
        ours.send_vectored_with_ancillary([b"x"], ancillary)
        with receive(theirs) as received:
            assert len(numbers_in(received)) == sum(counts)
        return
    with pytest.raises(OSError, match="Invalid argument") as refused:
        ours.send_vectored_with_ancillary([b"x"], ancillary)
    assert refused.value.errno == errno.EINVAL


@pytest.mark.parametrize("which", ["fd -1", "closed", "one bad of several"])
def test_2_2_bad_fd(pair: tuple[Any, Any], fd: int, which: str) -> None:
    ours, theirs = pair
    closed = os.dup(fd)
    os.close(closed)
    bad = {"fd -1": [-1], "closed": [closed], "one bad of several": [fd, closed, fd]}
    ancillary = SocketAncillary(64)
    ancillary.add_fds(bad[which])
    control = ancillary.control
    with pytest.raises(OSError, match="Bad file descriptor") as refused:
        ours.send_vectored_with_ancillary([b"x"], ancillary)
    assert refused.value.errno == errno.EBADF
    assert ancillary.control == control
    theirs.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        receive(theirs)


def test_2_2_zero_data_bytes_on_a_stream(
    stream: tuple[UnixStream, UnixStream], fd: int
) -> None:
    """The kernel drops the descriptors and says 0 (S14, unix(7)), and so do we."""
    ours, theirs = stream
    ancillary = SocketAncillary(64)
    ancillary.add_fds([fd])
    nothing: list[list[bytes | bytearray]] = [[], [b""], [b"", bytearray()]]
    for bufs in nothing:
        assert ours.send_vectored_with_ancillary(bufs, ancillary) == 0
        assert len(ancillary) == 24
    theirs.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        receive(theirs)
    assert ours.send_vectored_with_ancillary([], SocketAncillary(64)) == 0


@pytest.mark.parametrize("kind", [UnixDatagram, UnixSeqpacket])
def test_2_2_zero_data_bytes_in_a_packet(kind: Any, fd: int) -> None:
    ours, theirs = kind.pair()
    with ours, theirs, SocketAncillary(64) as ancillary:
        ancillary.add_fds([fd])
        assert ours.send_vectored_with_ancillary([], ancillary) == 0
        got = theirs.recv_vectored_with_ancillary([bytearray(4)], ancillary)
        assert got == (0, False)
        assert len(numbers_in(ancillary)) == 1


def test_2_2_after_send(pair: tuple[Any, Any], fd: int) -> None:
    ours, theirs = pair
    ancillary = SocketAncillary(64)
    ancillary.add_fds([fd])
    for _ in range(2):
        assert ours.send_vectored_with_ancillary([b"x"], ancillary) == 1
        assert len(ancillary) == space(4)
    for _ in range(2):
        with receive(theirs) as received:
            assert len(numbers_in(received)) == 1


@pytest.mark.parametrize("kind", [UnixDatagram, UnixSeqpacket])
def test_2_2_1025_io_slices_in_a_packet(kind: Any) -> None:
    ours, theirs = kind.pair()
    with ours, theirs, pytest.raises(OSError, match="Message too long") as refused:
        ours.send_vectored_with_ancillary([b"x"] * (IOV_MAX + 1), SocketAncillary(0))
    assert refused.value.errno == errno.EMSGSIZE


def test_2_2_1025_io_slices_on_a_stream(
    stream: tuple[UnixStream, UnixStream], fd: int
) -> None:
    """As write_vectored: what does not go with this call goes with the next."""
    ours, theirs = stream
    ancillary = SocketAncillary(64)
    ancillary.add_fds([fd])
    slices = [b""] * IOV_MAX + [b"x"] * (IOV_MAX + 1)
    assert ours.send_vectored_with_ancillary(slices, ancillary) == IOV_MAX
    holes = [bytearray(0)] * IOV_MAX + [bytearray(1) for _ in range(IOV_MAX + 1)]
    assert theirs.recv_vectored_with_ancillary(holes, ancillary) == IOV_MAX
    assert b"".join(holes) == b"x" * IOV_MAX + b"\0"
    ancillary.clear()


def test_2_2_closed_peer() -> None:
    """SIGPIPE would kill the child; it is told EPIPE instead."""
    assert child("sigpipe") == "EPIPE"


@needs_passrights
def test_2_2_so_passrights_0_on_receiver(pair: tuple[Any, Any], fd: int) -> None:
    ours, theirs = pair
    theirs.socket.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)
    ancillary = SocketAncillary(64)
    ancillary.add_fds([fd])
    with pytest.raises(PermissionError) as refused:
        ours.send_vectored_with_ancillary([b"x"], ancillary)
    assert refused.value.errno == errno.EPERM


@pytest.mark.skipif(
    os.geteuid() == 0 and not may_become_somebody(),
    reason="root is not limited, and may not become another user",
)
def test_2_2_in_flight_fds() -> None:
    """110 are queued, and the next ten are too many: the check is before the add."""
    if may_become_somebody():
        # A user of its own, for others in flight would count too.
        answer = child("in_flight", 1_000_000 + os.getpid())
        assert answer == {"queued": 110, "then": "ETOOMANYREFS"}
    else:
        answer = child("in_flight")
        assert answer["queued"] <= 110
        assert answer["then"] == "ETOOMANYREFS"


def test_2_2_dgram_unconnected() -> None:
    sock = UnixDatagram.from_socket(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    with sock, pytest.raises(OSError, match="not connected") as refused:
        sock.send_vectored_with_ancillary([b"x"], SocketAncillary(0))
    assert refused.value.errno == errno.ENOTCONN


def test_2_2_dgram_missing_path() -> None:
    ours, theirs = UnixDatagram.pair()
    with ours, theirs, pytest.raises(FileNotFoundError):
        ours.send_vectored_with_ancillary_to([b"x"], SocketAncillary(0), "missing")


@pytest.mark.parametrize("length", [108, 200])
def test_2_2_dgram_200_char_path(length: int) -> None:
    ours, theirs = UnixDatagram.pair()
    with ours, theirs, pytest.raises(InvalidInput, match="expected 107 at most") as no:
        ours.send_vectored_with_ancillary_to([b"x"], SocketAncillary(0), "p" * length)
    assert isinstance(no.value, OSError)
    assert no.value.errno is None


# 2.3 Credentials


def test_2_3_receiver_without_so_passcred(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    ancillary = SocketAncillary(64)
    ancillary.add_creds([OWN])
    assert ours.send_vectored_with_ancillary([b"x"], ancillary) == 1
    received = receive(theirs)
    assert received.is_empty
    assert not received.truncated


def test_2_3_so_passcred_plain_send(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    theirs.set_passcred(True)
    ours.send_vectored_with_ancillary([b"x"], SocketAncillary(0))
    received = receive(theirs)
    assert list(received.messages()) == [ScmCredentials((OWN,))]
    assert len(received) == space(12)


def test_2_3_so_passcred_set_after_the_send(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    ours.send_vectored_with_ancillary([b"x"], SocketAncillary(0))
    theirs.set_passcred(True)
    nobody = SocketCred(0, 65534, 65534)
    assert list(receive(theirs).messages()) == [ScmCredentials((nobody,))]


# What a claim needs, and what the kernel says to somebody who has it (S10).
CLAIMS = {
    "zeros": ({"sys_admin", "setuid", "setgid"}, "ESRCH"),
    "own": (set[str](), "delivered as given"),
    "foreign uid": ({"setuid"}, "delivered as given"),
    "foreign gid": ({"setgid"}, "delivered as given"),
    "foreign pid": ({"sys_admin"}, "delivered as given"),
    "no such pid": ({"sys_admin"}, "ESRCH"),
    "uid -1": (set[str](), "EINVAL"),
    "gid -1": (set[str](), "EINVAL"),
}


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize(
    "uid",
    [
        pytest.param(None, id="as we are"),
        pytest.param(
            65534,
            id="unprivileged",
            marks=pytest.mark.skipif(
                not may_become_somebody(), reason="we may not become another user"
            ),
        ),
    ],
)
def test_2_3_claims(uid: int | None, claim: str) -> None:
    told = child("credentials", uid)
    needed, granted = CLAIMS[claim]
    may = {*told["may"]}
    if claim == "zeros":  # which is no foreign id to root
        may |= {f"set{kind}" for kind in ("uid", "gid") if told[kind] == 0}
    assert told["answers"][claim] == (granted if needed <= may else "EPERM")


def test_2_3_two_creds_cmsgs(pair: tuple[Any, Any]) -> None:
    """The last wins; with capabilities the two can differ."""
    ours, theirs = pair
    theirs.set_passcred(True)
    ancillary = SocketAncillary(128)
    other = SocketCred(OWN.pid, OWN.uid + 1, OWN.gid)
    may = may_become_somebody()
    ancillary.add_creds([other if may else OWN])
    ancillary.add_creds([OWN])
    ours.send_vectored_with_ancillary([b"x"], ancillary)
    assert list(receive(theirs).messages()) == [ScmCredentials((OWN,))]


@pytest.mark.parametrize("count", [0, 2, 3])
def test_2_3_add_creds_with_0_or_2_creds(pair: tuple[Any, Any], count: int) -> None:
    ancillary = SocketAncillary(128)
    assert ancillary.add_creds([OWN] * count)
    with pytest.raises(OSError, match="Invalid argument") as refused:
        pair[0].send_vectored_with_ancillary([b"x"], ancillary)
    assert refused.value.errno == errno.EINVAL


OPTIONS = {
    name: NATIVE.constants.get(name)
    for name in ("SO_PASSCRED", "SO_PASSPIDFD", "SO_TIMESTAMP")
}


@pytest.mark.parametrize("rights_first", [False, True])
def test_2_3_receive_order(pair: tuple[Any, Any], fd: int, rights_first: bool) -> None:
    ours, theirs = pair
    known = [
        name for name, option in OPTIONS.items() if accepts(socket.SOL_SOCKET, option)
    ]
    for name in known:
        theirs.socket.setsockopt(socket.SOL_SOCKET, OPTIONS[name], 1)
    ancillary = SocketAncillary(128)
    if rights_first:
        ancillary.add_fds([fd])
    ancillary.add_creds([OWN])
    if not rights_first:
        ancillary.add_fds([fd])
    ours.send_vectored_with_ancillary([b"x"], ancillary)
    with receive(theirs) as received:
        order = [kind_of(message) for message in received.messages()]
    expected = ["timestamp", "credentials", "rights", "pidfd"]
    if isinstance(theirs, UnixStream):
        expected.remove("timestamp")
    if "SO_PASSPIDFD" not in known:
        expected.remove("pidfd")
    assert order == expected


def kind_of(message: object) -> str:
    match message:
        case ScmRights():
            return "rights"
        case ScmCredentials():
            return "credentials"
        case UnknownMessage(type=4):
            return "pidfd"
        case UnknownMessage(type=type_) if type_ in {29, 63}:
            return "timestamp"
        case _:
            return repr(message)


def test_2_3_passcred_on_one_end(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    ours.set_passcred(True)
    assert ours.passcred()
    assert not theirs.passcred()
    ours.send_vectored_with_ancillary([b"x"], SocketAncillary(0))
    assert receive(theirs).is_empty
    ours.set_passcred(False)
    assert not ours.passcred()
