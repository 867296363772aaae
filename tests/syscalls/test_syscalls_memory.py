"""The raw calls take any memory, anywhere, and hold it no longer than the call."""

from __future__ import annotations

import array
import ctypes
import gc
import mmap
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz import decode, encode
from ancfuzz.syscalls import Message, recvmsg, sendmsg
from tests.pairs import KINDS, fill, pair, rights

if TYPE_CHECKING:
    from collections.abc import Callable


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
