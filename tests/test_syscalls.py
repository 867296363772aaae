"""The raw calls: control bytes untouched, any memory, and signals in between."""

from __future__ import annotations

import array
import ctypes
import errno
import gc
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ancfuzz
from ancfuzz import ControlMessage, decode, encode
from ancfuzz.abi import NATIVE
from ancfuzz.descriptors import is_close_on_exec, open_numbers
from ancfuzz.syscalls import IOV_MAX, Message, header, message, recvmsg, sendmsg

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

KINDS = [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET]
CANARY = 0xA5
# What a child has to find: the package that is tested, and what it needs.
PATH = [str(Path(ancfuzz.__file__).parent.parent), *filter(None, sys.path)]


@pytest.fixture(autouse=True)
def leaks_nothing() -> Iterator[None]:
    before = open_numbers()
    yield
    assert open_numbers() == before


@contextmanager
def pair(kind: int = socket.SOCK_STREAM) -> Generator[tuple[int, int]]:
    one, other = socket.socketpair(socket.AF_UNIX, kind)
    with one, other:
        yield one.fileno(), other.fileno()


def fill(fd: int, buffers: list[Any]) -> None:
    """Send until nothing more goes."""
    with suppress(BlockingIOError):
        while True:
            sendmsg(fd, buffers)


def rights(*fds: int) -> ControlMessage:
    data = struct.pack(f"{len(fds)}i", *fds)
    return ControlMessage(socket.SOL_SOCKET, socket.SCM_RIGHTS, data)


# Control bytes


@pytest.mark.parametrize("kind", KINDS)
def test_control_bytes_arrive_as_the_kernel_writes_them(kind: int) -> None:
    memory = bytearray([CANARY]) * 64
    control = encode([rights(0, 0, 0)])
    with pair(kind) as (ours, theirs):
        assert sendmsg(ours, [b"x"], control) == 1
        got = recvmsg(theirs, [bytearray(1)], memory)
    (received,) = decode(memory[: got.control_length])
    numbers = struct.unpack("@3i", received.data)
    for number in numbers:
        os.close(number)
    used = NATIVE.cmsg_len(12)
    assert memory[:used] == encode([rights(*numbers)])[:used]
    # Not even the padding is written to (R5).
    assert memory[used:] == bytearray([CANARY]) * (64 - used)
    assert got.control_length == NATIVE.cmsg_space(12)
    assert got.length == 1
    assert not got.flags & socket.MSG_CTRUNC


@pytest.mark.parametrize(
    ("length", "number"),
    [
        (0, errno.EINVAL),
        (NATIVE.cmsg_len(0) - 1, errno.EINVAL),
        (NATIVE.cmsg_len(8) + 1, errno.EINVAL),
        (2 * sys.maxsize + 1, errno.EINVAL),
    ],
)
def test_a_wrong_length_is_the_kernels_to_refuse(length: int, number: int) -> None:
    control = bytearray(encode([rights(0, 0)]))
    struct.pack_into("@N", control, 0, length)
    with pair() as (ours, _), pytest.raises(OSError, match="Invalid") as refused:
        sendmsg(ours, [b"x"], control)
    assert refused.value.errno == number


@pytest.mark.parametrize("control", [None, b"", bytearray(), memoryview(b"")])
def test_no_control_is_null_and_0(control: Any) -> None:
    with pair() as (ours, theirs):
        assert sendmsg(ours, [b"x"], control) == 1
        assert sendmsg(ours, [b"y"], encode([rights(0)])) == 1
        into = bytearray() if isinstance(control, (bytes, memoryview)) else control
        assert recvmsg(theirs, [bytearray(1)], into, cloexec=False) == (1, 0, 0, None)
        truncated = (1, 0, socket.MSG_CTRUNC, None)
        assert recvmsg(theirs, [bytearray(1)], into, cloexec=False) == truncated


@pytest.mark.parametrize("cloexec", [True, False])
def test_what_arrives_is_close_on_exec_unless_told_otherwise(cloexec: bool) -> None:
    memory = bytearray(64)
    with pair() as (ours, theirs):
        sendmsg(ours, [b"x"], encode([rights(0)]))
        got = recvmsg(theirs, [bytearray(1)], memory, cloexec=cloexec)
    ((number,),) = (
        struct.unpack("@i", one.data) for one in decode(memory[: got.control_length])
    )
    assert is_close_on_exec(number) == cloexec
    os.close(number)


# Memory


def as_bytes(data: bytes, _: int) -> Any:
    return data


def as_bytearray(data: bytes, _: int) -> Any:
    return bytearray(data)


def as_slice(data: bytes, offset: int) -> Any:
    memory = bytearray(offset + len(data) + 1)
    memory[offset : offset + len(data)] = data
    return memoryview(memory)[offset : offset + len(data)]


def as_readonly_slice(data: bytes, offset: int) -> Any:
    return memoryview(b"?" * offset + data + b"?")[offset : offset + len(data)]


def as_array(data: bytes, _: int) -> Any:
    return array.array("B", data)


def as_ctypes(data: bytes, _: int) -> Any:
    return (ctypes.c_ubyte * len(data)).from_buffer_copy(data)


def as_mmap(data: bytes, offset: int) -> Any:
    memory = mmap.mmap(-1, offset + len(data) + 1)
    memory[offset : offset + len(data)] = data
    return memoryview(memory)[offset : offset + len(data)]


WRITABLE: list[Callable[[bytes, int], Any]] = [
    as_bytearray,
    as_slice,
    as_array,
    as_ctypes,
    as_mmap,
]
READABLE = [*WRITABLE, as_bytes, as_readonly_slice]

sizes = st.one_of(st.integers(0, 40), st.sampled_from([4095, 4096, 4097, 9000]))


@given(
    parts=st.lists(
        st.tuples(st.sampled_from(READABLE), sizes, st.integers(0, 15)), max_size=20
    ),
    holes=st.lists(
        st.tuples(st.sampled_from(WRITABLE), sizes, st.integers(0, 15)), max_size=20
    ),
    kind=st.sampled_from(KINDS),
)
def test_buffers_of_any_kind_are_one_message(
    parts: list[tuple[Any, int, int]], holes: list[tuple[Any, int, int]], kind: int
) -> None:
    whole = bytes(index % 251 for index in range(sum(size for _, size, _ in parts)))
    sent: list[Any] = []
    at = 0
    for make, size, offset in parts:
        sent.append(make(whole[at : at + size], offset))
        at += size
    received = [make(bytes(size), offset) for make, size, offset in holes]
    with pair(kind) as (ours, theirs):
        # A stream of nothing has nothing to receive; and all of this fits at once.
        if not whole and kind == socket.SOCK_STREAM:
            assert sendmsg(ours, sent) == 0
            return
        assert sendmsg(ours, sent) == len(whole)
        count = recvmsg(theirs, received).length
    room = sum(size for _, size, _ in holes)
    assert count == min(len(whole), room)
    got = b"".join(bytes(memoryview(one).cast("B")) if one else b"" for one in received)
    assert got == whole[:count] + bytes(room - count)


@pytest.mark.parametrize("offset", range(16))
@pytest.mark.parametrize("make", READABLE)
def test_control_bytes_lie_anywhere(make: Any, offset: int) -> None:
    control = make(encode([rights(0)]), offset)
    into = (make if make in WRITABLE else as_slice)(bytes(64), offset)
    with pair() as (ours, theirs):
        sendmsg(ours, [b"x"], control)
        got = recvmsg(theirs, [bytearray(1)], into)
    (one,) = decode(bytes(into)[: got.control_length])
    os.close(*struct.unpack("@i", one.data))


@pytest.mark.parametrize("wrong", [3, "text", None, [b"x"]])
def test_what_is_no_buffer_is_told(wrong: Any) -> None:
    with pair() as (ours, theirs):
        with pytest.raises(TypeError, match="is no bytes-like object"):
            sendmsg(ours, [b"x", wrong])
        with pytest.raises(TypeError, match="is no bytes-like object"):
            recvmsg(theirs, [bytearray(1), wrong])
        with pytest.raises(TypeError, match="int is no bytes-like object: data is"):
            sendmsg(ours, b"text")  # type: ignore[arg-type]
        if wrong is not None:
            with pytest.raises(TypeError, match="is no bytes-like object"):
                sendmsg(ours, [b"x"], wrong)


@pytest.mark.parametrize("readonly", [b"bytes", memoryview(b"view"), b""])
def test_nothing_is_received_into_what_is_read_only(readonly: Any) -> None:
    with pair() as (_, theirs):
        for bufs, control in ([readonly], None), ([bytearray(1)], readonly):
            with pytest.raises(TypeError, match="read-only"):
                recvmsg(theirs, bufs, control)
    with pytest.raises(TypeError, match="read-only"):
        Message(readonly)


@pytest.mark.parametrize("memory", [b"123456", bytearray(6)])
def test_memory_with_gaps_is_refused(memory: Any) -> None:
    with pair() as (ours, _), pytest.raises(TypeError, match="C-contiguous"):
        sendmsg(ours, [memoryview(memory)[::2]])


def test_memory_is_held_during_the_call_only() -> None:
    buffers = [bytearray(1), bytearray(2)]
    control = bytearray(64)
    with pair() as (ours, theirs):
        os.set_blocking(theirs, False)
        for many in (buffers[:1], buffers):
            sendmsg(ours, many, control=None)
            recvmsg(theirs, many, control)
            for one in (*many, control):
                one.append(0)
            with pytest.raises(BlockingIOError) as failed:
                recvmsg(theirs, many, control)
            for one in (*many, control):
                one.append(0)  # although the exception has its traceback
            assert failed.tb is not None
    for many in (buffers[:1], buffers):
        with pytest.raises(OSError, match="Bad file descriptor") as refused:
            sendmsg(-1, many, control)
        for one in (*many, control):
            one.append(0)
        assert refused.tb is not None


def test_a_message_holds_its_memory() -> None:
    control = bytearray(64)
    held = Message(control)
    with pytest.raises(BufferError):
        control.append(0)
    del held
    control.append(0)


def test_what_was_sent_is_not_kept_alive() -> None:
    data, control = bytes(1_000_000), bytes(9000)
    view = memoryview(data)
    counted = sys.getrefcount(data), sys.getrefcount(control)
    with pair() as (ours, _):
        os.set_blocking(ours, False)
        assert sendmsg(ours, [data])
        with pytest.raises(OSError, match="Invalid argument"):
            sendmsg(ours, [b"x"], control)
        fill(ours, [b"x", view, data])
    gc.collect()
    assert (sys.getrefcount(data), sys.getrefcount(control)) == counted


# Errors


@pytest.mark.parametrize("call", [sendmsg, recvmsg])
def test_a_number_is_never_another(call: Any) -> None:
    with pair() as (ours, theirs):
        sendmsg(theirs, [b"x"])
        for wrong in (ours + 2**32, ours - 2**32, 2**64 + ours, -2):
            with pytest.raises(OverflowError, match="is no descriptor"):
                call(wrong, [bytearray(1)])
        with pytest.raises(TypeError):
            call("3", [bytearray(1)])
        assert os.read(ours, 2) == b"x"
        os.set_blocking(theirs, False)
        with pytest.raises(BlockingIOError):
            os.read(theirs, 1)


@pytest.mark.parametrize("call", [sendmsg, recvmsg])
def test_errno_is_the_calls(call: Any) -> None:
    closed = os.dup(0)
    os.close(closed)
    for fd, number in ((-1, errno.EBADF), (closed, errno.EBADF)):
        with pytest.raises(OSError, match="Bad file descriptor") as failed:
            call(fd, [bytearray(1)])
        assert failed.value.errno == number
    one, other = os.pipe()
    with pytest.raises(OSError, match="Socket operation on non-socket") as failed:
        call(one, [bytearray(1)])
    assert failed.value.errno == errno.ENOTSOCK
    os.close(one)
    os.close(other)


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_buffers_as_the_kernel_takes(kind: int) -> None:
    with pair(kind) as (ours, theirs):
        assert sendmsg(ours, [b"x"] * IOV_MAX) == IOV_MAX
        into = [bytearray(1) for _ in range(IOV_MAX)]
        assert recvmsg(theirs, into).length == IOV_MAX
        assert b"".join(into) == b"x" * IOV_MAX
        for call, one in (sendmsg, b"x"), (recvmsg, bytearray(1)):
            with pytest.raises(OSError, match="Message too long") as refused:
                call(ours, [one] * (IOV_MAX + 1))
            assert refused.value.errno == errno.EMSGSIZE


def test_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # so that the path is short wherever that is
    path = b"socket"
    address = struct.pack("=H", socket.AF_UNIX) + path + b"\0"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unbound,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound,
    ):
        bound.bind(path)
        sendmsg(unbound.fileno(), [b"x"], address=address)
        sendmsg(bound.fileno(), [b"y"], address=address)
        here = bound.fileno()
        assert recvmsg(here, [bytearray(1)], address=True).address == b""
        assert recvmsg(here, [bytearray(1)], address=True).address == address
        sendmsg(bound.fileno(), [b"z"], address=address)
        assert recvmsg(here, [bytearray(1)]).address is None
        # The address of one call is not that of the next.
        with pytest.raises(OSError, match="not connected"):
            sendmsg(unbound.fileno(), [b"x"])


def test_the_message_header_is_the_platforms() -> None:
    declared: Any = header.Header
    places = [getattr(declared, name).offset for name, *_ in declared._fields_]
    expected = {
        8: [0, 8, 16, 24, 32, 40, 48],
        4: [0, 4, 8, 12, 16, 20, 24],
    }
    assert places == expected[struct.calcsize("P")]


# Signals


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


# What it costs to import, and where it cannot be


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(PATH)},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )


def test_importing_it_loads_little() -> None:
    done = run(
        "import sys, ctypes, socket; before = {*sys.modules}\n"
        "import ancfuzz.syscalls; print(*sorted({*sys.modules} - before))"
    )
    assert done.returncode == 0, done.stderr
    loaded = {*done.stdout.split()}
    assert "ancfuzz.syscalls.calls" in loaded
    assert not loaded & {"msgspec", "dataclasses", "json", "hypothesis", "pytest"}


@pytest.mark.parametrize("missing", ["AF_UNIX", "CMSG_LEN"])
def test_without_unix_sockets_it_says_so(missing: str) -> None:
    done = run(
        f"import socket; del socket.{missing}\n"
        "from ancfuzz import EnvironmentUnsupported\n"
        "try:\n    import ancfuzz.syscalls\n"
        "except EnvironmentUnsupported as error:\n    print(error)"
    )
    assert done.returncode == 0, done.stderr
    assert "this Python has no AF_UNIX sockets with sendmsg and recvmsg" in done.stdout
