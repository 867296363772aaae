"""Memory of every kind, at every alignment, for the messages and for the data."""

from __future__ import annotations

import array
import ctypes
import mmap
import os
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from ancfuzz.ancillary import ScmRights, SocketAncillary
from ancfuzz.descriptors import open_numbers
from ancfuzz.sockets import UnixDatagram, UnixSeqpacket, UnixStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZE = 64  # divisible by the size of any item
CANARY = 0xA5
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def leaks_nothing() -> Iterator[None]:
    before = open_numbers()
    yield
    assert open_numbers() == before


@pytest.fixture(params=[UnixStream, UnixDatagram, UnixSeqpacket])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Any]]:
    one, other = request.param.pair()
    with one, other:
        yield one, other


def dirty(size: int) -> bytearray:
    return bytearray([CANARY]) * size


def of_bytearray(offset: int) -> memoryview:
    return memoryview(dirty(SIZE + 32))[offset : offset + SIZE]


def of_mmap(offset: int) -> memoryview:
    memory = mmap.mmap(-1, SIZE + 32)
    memory[:] = bytes(dirty(SIZE + 32))
    return memoryview(memory)[offset : offset + SIZE]


def of_array(offset: int) -> memoryview:
    return memoryview(array.array("B", dirty(SIZE + 32)))[offset : offset + SIZE]


def of_ctypes(offset: int) -> memoryview:
    memory = (ctypes.c_ubyte * (SIZE + 32)).from_buffer_copy(dirty(SIZE + 32))
    return memoryview(memory)[offset : offset + SIZE]


WHOLE: dict[str, Callable[[], Any]] = {
    "bytearray": lambda: dirty(SIZE),
    "mmap": lambda: mmap.mmap(-1, SIZE),
    **{
        f"array {code}": partial(array.array, code, bytes(dirty(SIZE)))
        for code in "bBhHiIlLqQfd"
    },
    "ctypes": ctypes.c_double * (SIZE // 8),
    "a structure": ctypes.c_char * SIZE,
    "ints": lambda: memoryview(dirty(SIZE)).cast("i"),
    "two dimensions": lambda: memoryview(dirty(SIZE)).cast("B", (8, SIZE // 8)),
}


def exchange(pair: tuple[Any, Any], into: Any, data: Any, out: Any) -> None:
    """Send and receive three descriptors, all memory being of the caller's kind."""
    ours, theirs = pair
    sent = SocketAncillary(out)
    assert sent.capacity == SIZE
    assert sent.add_fds([ours.fileno()] * 3)
    memoryview(data).cast("B")[:] = bytes(range(SIZE))
    assert ours.send_vectored_with_ancillary([data], sent) == SIZE
    room = memoryview(data).cast("B")
    room[:] = bytes(SIZE)
    with SocketAncillary(into) as received:
        theirs.recv_vectored_with_ancillary([data], received)
        (rights,) = received.messages()
        assert isinstance(rights, ScmRights)
        assert len(rights) == 3
        assert all(os.path.sameopenfile(one, ours.fileno()) for one in rights)
        # Not a byte behind the message is written to, its padding included (R5).
        used = len(received.control)
        rest = bytes(memoryview(into).cast("B")[used:])
        assert rest == bytes(len(rest)) or rest == bytes([CANARY]) * len(rest)
    assert bytes(room) == bytes(range(SIZE))


@pytest.mark.parametrize("offset", range(16))
@pytest.mark.parametrize("make", [of_bytearray, of_mmap, of_array, of_ctypes])
def test_at_any_alignment(
    pair: tuple[Any, Any], make: Callable[[int], memoryview], offset: int
) -> None:
    into, data, out = make(offset), make(15 - offset), make(offset)
    exchange(pair, into, data, out)
    for view in (into, data, out):
        whole = view.obj
        around = bytes(memoryview(whole).cast("B"))
        at = 15 - offset if view is data else offset
        assert around[:at] == bytes([CANARY]) * at
        assert {*around[at + SIZE :]} == {CANARY}


@pytest.mark.parametrize("kind", WHOLE)
def test_of_any_kind(pair: tuple[Any, Any], kind: str) -> None:
    make = WHOLE[kind]
    exchange(pair, make(), make(), make())


READ_ONLY: dict[str, Callable[[], Any]] = {
    "bytes": lambda: bytes(SIZE),
    "no bytes": lambda: b"",
    "view": lambda: memoryview(bytearray(SIZE)).toreadonly(),
    "mmap": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ),
}
WITH_GAPS: dict[str, Callable[[], Any]] = {
    "every other": lambda: memoryview(bytearray(SIZE))[::2],
    "backwards": lambda: memoryview(bytearray(SIZE))[::-1],
}


def test_released_memory_is_refused(pair: tuple[Any, Any]) -> None:
    view = memoryview(bytearray(SIZE))
    view.release()
    with pytest.raises(ValueError, match="released memoryview"):
        SocketAncillary(view)
    for call in (
        pair[0].send_vectored_with_ancillary,
        pair[1].recv_vectored_with_ancillary,
    ):
        with pytest.raises(ValueError, match="released memoryview"):
            call([view], SocketAncillary(0))


@pytest.mark.parametrize("kind", READ_ONLY)
def test_read_only_memory_is_refused_where_it_would_be_written_to(
    pair: tuple[Any, Any], kind: str
) -> None:
    """When the buffer is made; and for data, before anything is taken off the queue."""
    ours, theirs = pair
    memory = READ_ONLY[kind]()
    with pytest.raises(TypeError, match="cannot write to a read-only"):
        SocketAncillary(memory)
    with SocketAncillary(SIZE) as ancillary:
        ancillary.add_fds([ours.fileno()])
        ours.send_vectored_with_ancillary([b"x"], ancillary)
        with pytest.raises(TypeError, match="cannot write to a read-only"):
            theirs.recv_vectored_with_ancillary([bytearray(1), memory], ancillary)
        assert ancillary.is_empty
        theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
        assert len(list(ancillary.messages())) == 1
    if memory:
        sent = ours.send_vectored_with_ancillary([memory], SocketAncillary(0))
        assert sent == len(memory)


@pytest.mark.parametrize("kind", WITH_GAPS)
def test_memory_with_gaps_is_refused(pair: tuple[Any, Any], kind: str) -> None:
    memory = WITH_GAPS[kind]()
    with pytest.raises(TypeError, match="C-contiguous"):
        SocketAncillary(memory)
    for call in (
        pair[0].send_vectored_with_ancillary,
        pair[1].recv_vectored_with_ancillary,
    ):
        with pytest.raises(TypeError, match="C-contiguous"):
            call([memory], SocketAncillary(0))


@pytest.mark.parametrize(
    "make",
    [
        lambda: 0,
        bytearray,
        lambda: memoryview(bytearray()),
        lambda: memoryview(bytearray(8))[4:4],
        lambda: array.array("i"),
        ctypes.c_char * 0,
    ],
)
def test_no_memory_at_all(pair: tuple[Any, Any], make: Callable[[], Any]) -> None:
    ours, theirs = pair
    ancillary = SocketAncillary(make())
    assert (ancillary.capacity, len(ancillary)) == (0, 0)
    assert not ancillary.add_fds([])
    with SocketAncillary(SIZE) as sent:
        sent.add_fds([ours.fileno()])
        ours.send_vectored_with_ancillary([b"x"], sent)
    theirs.recv_vectored_with_ancillary([bytearray(1), bytearray()], ancillary)
    assert ancillary.truncated
    assert ancillary.take_fds() == []
    assert ancillary.control == b""


def test_the_buffer_cannot_be_resized_while_it_is_borrowed() -> None:
    memory = bytearray(SIZE)
    ancillary = SocketAncillary(memory)
    for resize in (memory.clear, lambda: memory.append(0), memory.pop):
        with pytest.raises(BufferError):
            resize()
    memory[:] = bytes(SIZE)  # of the same size
    file = mmap.mmap(-1, SIZE)
    other = SocketAncillary(file)
    with pytest.raises(BufferError):
        file.close()
    del ancillary, other
    memory.clear()
    file.close()


def test_data_cannot_be_resized_while_the_kernel_may_write_to_it() -> None:
    """And can be as soon as the call is over."""
    ours, theirs = UnixStream.pair()
    data = bytearray(8)
    with ours, theirs:
        waiting = threading.Thread(
            target=theirs.recv_vectored_with_ancillary,
            args=([data], SocketAncillary(0)),
            daemon=True,
        )
        waiting.start()
        deadline = time.monotonic() + PATIENCE
        while True:  # until it has begun to wait
            try:
                data.append(0)
                del data[8:]
            except BufferError:
                break
            assert time.monotonic() < deadline
        ours.send_vectored_with_ancillary([b"12345678"], SocketAncillary(0))
        waiting.join(PATIENCE)
        assert not waiting.is_alive()
    assert data[:8] == b"12345678"
    data.append(0)
    data.clear()


class _Bytes(bytes):
    """Bytes that are not quite ``bytes``."""


@pytest.mark.parametrize("size", [0, 1, 4096, 70_000])
@pytest.mark.parametrize("kind", [bytes, _Bytes, bytearray, memoryview])
def test_what_is_sent_is_what_was_given(kind: Any, size: int) -> None:
    data = bytes(index % 251 for index in range(size))
    ours, theirs = UnixDatagram.pair()
    with ours, theirs:
        sent = ours.send_vectored_with_ancillary([kind(data)], SocketAncillary(0))
        assert sent == size
        room = bytearray(size + 1)
        got = theirs.recv_vectored_with_ancillary([room], SocketAncillary(0))
        assert got == (size, False)
        assert room[:size] == data
