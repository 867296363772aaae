"""SocketAncillary against the codec: adding, reading, layouts of other systems."""

from __future__ import annotations

import array
import mmap
import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz import (
    Abi,
    ControlMessage,
    EnvironmentUnsupported,
    MalformedControl,
    decode,
    encode,
)
from ancfuzz.abi import ABIS, NATIVE
from ancfuzz.ancillary import (
    Item,
    ScmCredentials,
    ScmRights,
    SocketAncillary,
    SocketCred,
    UnknownMessage,
)
from ancfuzz.ancillary.items import layout_of
from ancfuzz.descriptors import open_numbers
from tests.arriving import abis, arrive, c_ints, creds, message_of


@given(
    abi=abis,
    added=st.lists(
        st.one_of(
            st.lists(c_ints, max_size=20), st.lists(creds, min_size=1, max_size=3)
        ),
        max_size=8,
    ),
    capacity=st.integers(0, 300),
    offset=st.integers(0, 15),
    dirt=st.integers(0, 255),
)
def test_it_is_the_codec_with_a_capacity(
    abi: Abi, added: list[list[Any]], capacity: int, offset: int, dirt: int
) -> None:
    memory = bytearray([dirt]) * (offset + capacity + 8)
    view = memoryview(memory)[offset : offset + capacity]
    ancillary = SocketAncillary(view, abi=abi)
    expected: list[ControlMessage] = []
    items: list[Item] = []
    for item in added:
        of_creds = bool(item) and isinstance(item[0], SocketCred)
        if of_creds and not abi.structs:
            continue
        wanted = [*expected, message_of(item, abi)]
        fits = len(encode(wanted, abi)) <= capacity
        before = bytes(memory)
        add = ancillary.add_creds if of_creds else ancillary.add_fds
        assert add(item) == fits
        if fits:
            expected = wanted
            what = ScmCredentials if of_creds else ScmRights
            items.append(what(tuple(item)))
        else:
            assert memory == before
        assert ancillary.control == encode(expected, abi)
        assert len(ancillary) == len(ancillary.control)
        assert ancillary.is_empty == (not expected)
    assert decode(ancillary.control, abi) == expected
    assert list(ancillary.messages()) == items
    # Nothing is written but what was added.
    used = offset + len(ancillary)
    assert memory[:offset] == bytes([dirt]) * offset
    assert memory[used:] == bytes([dirt]) * (len(memory) - used)
    assert ancillary.capacity == capacity


@given(control=st.binary(max_size=128), abi=abis)
def test_reading_what_somebody_wrote_to_the_buffer(control: bytes, abi: Abi) -> None:
    """As decode: all that is whole, and then the same error."""
    buffer = bytearray(128)
    ancillary = SocketAncillary(buffer, abi=abi)
    while ancillary.add_fds([]):
        pass
    buffer[: len(control)] = control
    used = ancillary.control
    seen: list[Item] = []
    broken = None
    try:
        for one in ancillary.messages():
            seen.append(one)  # noqa: PERF402  (which ones came before the error?)
    except MalformedControl as error:
        broken = error
    whole = used if broken is None else used[: broken.offset]
    assert len(seen) == len(decode(whole, abi))
    if broken is not None:
        with pytest.raises(MalformedControl) as same:
            decode(used, abi)
        assert str(broken) == str(same.value)
        assert str(broken) in repr(ancillary)
    assert ancillary.take_fds() == []
    ancillary.clear()


@pytest.mark.parametrize(
    "make",
    [
        lambda: 64,
        lambda: bytearray(64),
        lambda: memoryview(bytearray(80))[3:67],
        lambda: mmap.mmap(-1, 64),
        lambda: array.array("i", bytes(64)),
        lambda: memoryview(bytearray(64)).cast("i", (4, 4)),
    ],
)
def test_any_memory_will_do(make: Any, pair: tuple[int, int]) -> None:
    ancillary = SocketAncillary(make())
    assert ancillary.capacity == 64
    with ancillary:
        before = open_numbers()
        arrive(pair, ancillary)
        (rights,) = ancillary.messages()
        assert isinstance(rights, ScmRights)
        assert {*rights} == open_numbers() - before


@pytest.mark.parametrize(
    ("memory", "error", "said"),
    [
        (b"bytes", TypeError, "read-only bytes"),
        (memoryview(b"view"), TypeError, "read-only memoryview"),
        (memoryview(bytearray(8))[::2], TypeError, "C-contiguous"),
        ("text", TypeError, "str is no bytes-like object"),
        (None, TypeError, "NoneType is no bytes-like object"),
        (1.5, TypeError, "float is no bytes-like object"),
        (-1, ValueError, "a capacity of -1 bytes"),
    ],
)
def test_other_memory_will_not(memory: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        SocketAncillary(memory)


def test_the_buffer_is_borrowed() -> None:
    buffer = bytearray(64)
    ancillary = SocketAncillary(buffer)
    with pytest.raises(BufferError):
        buffer.clear()
    del ancillary
    buffer.clear()


def test_control_is_a_copy() -> None:
    ancillary = SocketAncillary(64)
    ancillary.add_fds([3])
    control = ancillary.control
    ancillary.clear()
    ancillary.add_fds([4])
    assert decode(control)[0].data == struct.pack("@i", 3)


def test_messages_of_another_system_do_not_leave_this_one(
    pair: tuple[int, int],
) -> None:
    other = next(abi for abi in ABIS.values() if abi.byte_order != NATIVE.byte_order)
    ancillary = SocketAncillary(64, abi=other)
    assert ancillary.abi is other
    for call in (ancillary.sendmsg, ancillary.recvmsg):
        with pytest.raises(EnvironmentUnsupported, match=f"laid out for {other.name}"):
            call(pair[0], [bytearray(1)])


def test_the_native_layout_is_known_by_its_value(pair: tuple[int, int]) -> None:
    layout_of.cache_clear()
    for abi in (replace(NATIVE), NATIVE):
        with SocketAncillary(64, abi=abi) as ancillary:
            arrive(pair, ancillary)


def test_a_layout_without_names_is_refused() -> None:
    bare = Abi("bare", "little", 16, 0, 8, 8, 12, 8, 16)
    with pytest.raises(
        EnvironmentUnsupported, match="bare does not say what SOL_SOCKET"
    ):
        SocketAncillary(64, abi=bare)


def test_items_are_values() -> None:
    for one, same, other in (
        (ScmRights((1,)), ScmRights((1,)), ScmRights((2,))),
        (
            UnknownMessage(1, 2, b""),
            UnknownMessage(1, 2, b""),
            UnknownMessage(1, 3, b""),
        ),
        (ScmCredentials(()), ScmCredentials(()), ScmRights(())),
    ):
        assert one == same
        assert hash(one) == hash(same)
        assert one != other
