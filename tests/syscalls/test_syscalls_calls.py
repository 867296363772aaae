"""The raw calls: control bytes untouched, errors as the kernel says them.

And what it costs to import them, and where that cannot be.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ancfuzz
from ancfuzz import decode, encode
from ancfuzz.abi import NATIVE
from ancfuzz.descriptors import is_close_on_exec
from ancfuzz.syscalls import IOV_MAX, header, recvmsg, sendmsg
from tests.pairs import CANARY, KINDS, pair, rights


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


# What a child has to find: the package that is tested, and what it needs.
PATH = [str(Path(ancfuzz.__file__).parent.parent), *filter(None, sys.path)]


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
