"""The codec against a second one, over every layout and every way to be wrong.

:func:`second_decode` shares nothing with :func:`ancfuzz.codec.decode` but the numbers
of an Abi: it is written from the rule as prose, field by field, without :mod:`struct`.
"""

from __future__ import annotations

import array
import mmap
import pickle
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz.abi import ABIS, Abi
from ancfuzz.codec import ControlMessage, decode, encode, encoded_size, walk
from ancfuzz.errors import MalformedControl
from ancfuzz.strategies import (
    abis,
    control_buffers,
    control_messages,
    hostile_control_buffers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy
    from typing_extensions import Buffer

T = TypeVar("T")

X86_64 = ABIS["x86_64-linux-gnu"]
# One target for each layout and byte order that there is.
LAYOUTS = list(
    {
        (abi.byte_order, abi.length_offset, abi.length_size, abi.header_format[1:]): abi
        for abi in reversed([*ABIS.values()])
    }.values()
)
for_each_layout = pytest.mark.parametrize("abi", LAYOUTS, ids=lambda abi: abi.name)


class Fault(NamedTuple):
    offset: int
    needed: int
    available: int


def second_decode(control: bytes, abi: Abi) -> list[ControlMessage] | Fault:
    found: list[ControlMessage] = []
    at = 0

    def number(offset: int, size: int, *, signed: bool) -> int:
        field = control[at + offset : at + offset + size]
        return int.from_bytes(field, abi.byte_order, signed=signed)

    while True:
        left = len(control) - at
        if left < abi.header_size:
            return found
        length = number(abi.length_offset, abi.length_size, signed=False)
        if length < abi.data_offset:
            return Fault(at, abi.data_offset, length)
        if length > left:
            return Fault(at, length, left)
        found.append(
            ControlMessage(
                number(abi.level_offset, 4, signed=True),
                number(abi.type_offset, 4, signed=True),
                bytes(control[i] for i in range(at + abi.data_offset, at + length)),
            )
        )
        at += length
        while at % abi.alignment:
            at += 1


def first_decode(control: bytes, abi: Abi) -> list[ControlMessage] | Fault:
    try:
        return decode(control, abi)
    except MalformedControl as error:
        fault = error
    assert len(str(fault).splitlines()) == 1
    return Fault(fault.offset, fault.needed, fault.available)


def of_each_abi(
    make: Callable[..., SearchStrategy[T]],
) -> SearchStrategy[tuple[Abi, T]]:
    return abis().flatmap(lambda abi: st.tuples(st.just(abi), make(abi=abi)))


def message_lists(*, abi: Abi) -> SearchStrategy[list[ControlMessage]]:
    return st.lists(control_messages(abi=abi, max_size=64), max_size=5)


WELL_FORMED = of_each_abi(control_buffers)
HOSTILE = of_each_abi(hostile_control_buffers)
MESSAGES = of_each_abi(message_lists)


# Writing.


@given(MESSAGES)
def test_a_buffer_is_as_long_as_the_sum_of_cmsg_space(
    drawn: tuple[Abi, list[ControlMessage]],
) -> None:
    abi, messages = drawn
    space = sum(abi.cmsg_space(len(message.data)) for message in messages)
    assert len(encode(messages, abi)) == encoded_size(messages, abi) == space


@given(MESSAGES)
def test_what_was_written_is_read(drawn: tuple[Abi, list[ControlMessage]]) -> None:
    abi, messages = drawn
    assert decode(encode(messages, abi), abi) == messages


@given(MESSAGES)
def test_padding_is_zero(drawn: tuple[Abi, list[ControlMessage]]) -> None:
    abi, messages = drawn
    control = encode(messages, abi)
    for span in walk(control, abi):
        if span.kind == "padding":
            assert not any(control[span.start : span.stop])


@given(MESSAGES, st.integers(0, 5))
def test_messages_lie_one_behind_the_other(
    drawn: tuple[Abi, list[ControlMessage]], at: int
) -> None:
    abi, messages = drawn
    parts = encode(messages[:at], abi), encode(messages[at:], abi)
    assert b"".join(parts) == encode(messages, abi)
    assert encode(iter(messages), abi) == encode(tuple(messages), abi)


# One descriptor, number 5, as the headers of each layout lay it out.
BY_HAND = {
    "x86_64-linux-gnu": "1400000000000000 01000000 01000000 05000000 00000000",
    "aarch64_be-linux-gnu": "0000000000000014 00000001 00000001 00000005 00000000",
    "x86-linux-gnu": "10000000 01000000 01000000 05000000",
    "mips-linux-gnueabihf": "00000010 0000ffff 00000001 00000005",
    "x86_64-linux-musl": "14000000 00000000 01000000 01000000 05000000 00000000",
    "s390x-linux-musl": "00000000 00000014 00000001 00000001 00000005 00000000",
    "x86_64-freebsd-none": "14000000 ffff0000 01000000 00000000 05000000 00000000",
    "powerpc64-freebsd-none": "00000014 0000ffff 00000001 00000000 00000005 00000000",
    "aarch64-netbsd-none": (
        "14000000 ffff0000 01000000 00000000 05000000 00000000 00000000 00000000"
    ),
    "sparc64-openbsd-none": (
        "00000014 0000ffff 00000001 00000000 00000005 00000000 00000000 00000000"
    ),
}


def test_the_vectors_by_hand_are_of_every_layout() -> None:
    assert {ABIS[name].header_format[1:] for name in BY_HAND} == {
        abi.header_format[1:] for abi in LAYOUTS
    }
    assert len(BY_HAND) == len(LAYOUTS)


@pytest.mark.parametrize("name", BY_HAND)
def test_one_descriptor_by_hand(name: str) -> None:
    abi, control = ABIS[name], bytes.fromhex(BY_HAND[name])
    five = (5).to_bytes(4, abi.byte_order)
    message = ControlMessage(abi.constants["SOL_SOCKET"], 1, five)
    assert encode([message], abi) == control
    assert decode(control, abi) == [message]
    assert second_decode(control, abi) == [message]


def test_a_big_endian_musl_keeps_its_length_behind_the_padding() -> None:
    abi = ABIS["s390x-linux-musl"]
    control = encode([ControlMessage(1, 1, b"1234")], abi)
    assert (control[:4], control[4:8]) == (bytes(4), b"\0\0\0\x14")
    # glibc on the same machine reads one number of eight bytes: the same one.
    assert decode(control, ABIS["aarch64_be-linux-gnu"]) == decode(control, abi)


def test_no_messages_are_no_bytes() -> None:
    assert encode([]) == b""
    assert decode(b"") == []
    assert list(walk(b"")) == []


class Endless(bytes):
    """Says that it is longer than a length of four bytes can say."""

    def __len__(self) -> int:
        return 1 << 32


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (ControlMessage(1 << 31, 0, b""), "level 2147483648: expected a C int"),
        (ControlMessage(-(1 << 31) - 1, 0, b""), "level -2147483649: expected a C int"),
        (ControlMessage(0, 1 << 31, b""), "type 2147483648: expected a C int"),
        (ControlMessage(0, -(1 << 40), b""), "type -1099511627776: expected a C int"),
        (ControlMessage(0, 1.5, b""), "type 1.5: expected a C int"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (
            ControlMessage(0, 0, Endless()),
            "4294967296 payload bytes: cmsg_len of x86-linux-gnu has 4 bytes",
        ),
    ],
)
def test_what_cannot_be_written(message: ControlMessage, told: str) -> None:
    with pytest.raises(ValueError, match=f"^cannot encode {re.escape(told)}$"):
        encode([ControlMessage(1, 1, b""), message], ABIS["x86-linux-gnu"])


@pytest.mark.parametrize("number", [-(1 << 31), -1, 0, (1 << 31) - 1])
@for_each_layout
def test_level_and_type_are_any_c_ints(abi: Abi, number: int) -> None:
    messages = [ControlMessage(number, 7, b""), ControlMessage(7, number, b"")]
    assert decode(encode(messages, abi), abi) == messages


# Reading.


@given(WELL_FORMED | HOSTILE)
def test_both_decoders_agree(drawn: tuple[Abi, bytes]) -> None:
    abi, control = drawn
    assert first_decode(control, abi) == second_decode(control, abi)


@given(abis(), st.binary(max_size=200))
def test_any_bytes_end(abi: Abi, control: bytes) -> None:
    answer = first_decode(control, abi)
    assert answer == second_decode(control, abi)
    if not isinstance(answer, Fault):
        assert len(answer) <= len(control) // abi.header_size


@given(abis(), st.integers(0, 255), st.integers(0, 400))
def test_one_byte_repeated_ends(abi: Abi, byte: int, size: int) -> None:
    control = bytes([byte]) * size
    assert first_decode(control, abi) == second_decode(control, abi)


@given(WELL_FORMED)
def test_padding_and_tail_are_not_looked_at(drawn: tuple[Abi, bytes]) -> None:
    abi, control = drawn
    messages = decode(control, abi)
    clean = encode(messages, abi)
    assert decode(clean, abi) == messages
    assert -abi.alignment < len(control) - len(clean) < abi.header_size


@for_each_layout
def test_every_prefix_of_a_buffer(abi: Abi) -> None:
    messages = [ControlMessage(1, n, bytes(range(n))) for n in (4, 0, 12, 5)]
    control = encode(messages, abi)
    starts = [encoded_size(messages[:n], abi) for n in range(len(messages))]
    lengths = [abi.cmsg_len(len(message.data)) for message in messages]
    for size in range(len(control) + 1):
        expected: list[ControlMessage] | Fault = []
        whole = sum(s + n <= size for s, n in zip(starts, lengths, strict=True))
        expected = messages[:whole]
        if whole < len(messages) and size - starts[whole] >= abi.header_size:
            left = size - starts[whole]
            expected = Fault(starts[whole], lengths[whole], left)
        assert first_decode(control[:size], abi) == expected, size


@dataclass(frozen=True)
class Lie:
    """A true buffer of three messages, one of whose headers is to lie."""

    abi: Abi
    at: int
    left: int
    control: bytes

    def told(self, length: int) -> bytes:
        field = length.to_bytes(self.abi.length_size, self.abi.byte_order)
        start = self.at + self.abi.length_offset
        return self.control[:start] + field + self.control[start + len(field) :]


def hostile_lengths(abi: Abi, left: int) -> list[int]:
    header = abi.header_size
    every = [
        *(0, 1, header - 1, header, header + 1, abi.data_offset - 1, abi.data_offset),
        *(left - 1, left, left + 1),
        *(1 << 31, (1 << 32) - abi.alignment, (1 << 32) - 1),
        *(1 << 63, (1 << 64) - abi.alignment, (1 << 64) - 1),
    ]
    return [length for length in every if length < 1 << 8 * abi.length_size]


@pytest.mark.parametrize("which", [0, 1, 2])
@for_each_layout
def test_a_header_that_lies(abi: Abi, which: int) -> None:
    messages = [ControlMessage(1, 1, bytes([n]) * 4 * n) for n in (1, 2, 3)]
    control = encode(messages, abi)
    at = encoded_size(messages[:which], abi)
    lie = Lie(abi, at, len(control) - at, control)
    for length in hostile_lengths(abi, lie.left):
        told = lie.told(length)
        answer = first_decode(told, abi)
        if length < abi.data_offset:
            assert answer == Fault(at, abi.data_offset, length)
        elif length > lie.left:
            assert answer == Fault(at, length, lie.left)
        else:
            assert answer == second_decode(told, abi)
            assert isinstance(answer, list) or answer.offset > at
        if not isinstance(answer, list):
            spans = list(walk(told, abi))
            assert [s.message for s in spans if s.kind == "broken"] == [
                sum(s.kind == "header" for s in spans)
            ]


@for_each_layout
@pytest.mark.parametrize("tail", range(40))
def test_a_tail_is_ignored_if_it_is_shorter_than_a_header(abi: Abi, tail: int) -> None:
    message = ControlMessage(1, 1, b"1234")
    control = encode([message], abi) + bytes(tail)
    if tail < abi.header_size:
        assert decode(control, abi) == [message]
    else:
        at = abi.cmsg_space(4)
        assert first_decode(control, abi) == Fault(at, abi.data_offset, 0)


def test_an_unaligned_tail_of_the_classic_mistake() -> None:
    # CMSG_SPACE as cmsg_len: the padding of one descriptor is read as a second one.
    control = bytearray(encode([ControlMessage(1, 1, b"\5\0\0\0")], X86_64))
    control[0] = X86_64.cmsg_space(4)
    assert decode(control, X86_64) == [ControlMessage(1, 1, b"\5\0\0\0\0\0\0\0")]


# What bytes may come as.

ONE = ControlMessage(1, 1, b"12345678")
BYTES = encode([ONE, ONE], X86_64)


@pytest.mark.parametrize(
    "control",
    [
        pytest.param(bytearray(BYTES), id="bytearray"),
        pytest.param(memoryview(BYTES), id="memoryview"),
        pytest.param(array.array("I", BYTES), id="array of four-byte items"),
        pytest.param(memoryview(BYTES).cast("Q"), id="memoryview of eight-byte items"),
        pytest.param(memoryview(BYTES).cast("B", (6, 8)), id="in two dimensions"),
        pytest.param(memoryview(BYTES[::-1])[::-1], id="backwards"),
        pytest.param(
            memoryview(bytes(b for byte in BYTES for b in (byte, 0xFF)))[::2],
            id="every second byte",
        ),
        pytest.param(type("Child", (bytes,), {})(BYTES), id="a subclass of bytes"),
    ],
)
def test_any_bytes_like_object(control: Buffer) -> None:
    assert decode(control, X86_64) == [ONE, ONE]
    assert list(walk(control, X86_64)) == list(walk(BYTES, X86_64))
    for message in decode(control, X86_64):
        assert type(message.data) is bytes


def test_a_mapped_file_is_bytes_like_and_not_kept() -> None:
    with mmap.mmap(-1, len(BYTES)) as mapped:
        mapped[:] = BYTES
        messages = decode(mapped, X86_64)
        mapped[:] = bytes(len(BYTES))
    assert messages == [ONE, ONE]


@pytest.mark.parametrize("wrong", [5, "text", None, [1, 2], 1.5])
def test_what_is_not_bytes_is_a_type_error(wrong: object) -> None:
    with pytest.raises(TypeError):
        decode(cast("Any", wrong))
    with pytest.raises(TypeError):
        list(walk(cast("Any", wrong)))


def test_a_payload_is_counted_in_bytes() -> None:
    numbers = array.array("i", [5, 6])
    message = ControlMessage(1, 1, cast("Any", numbers))
    assert decode(encode([message]))[0].data == numbers.tobytes()


# And the rest.


def test_a_message_is_a_value() -> None:
    assert {ONE: 1}[ControlMessage(1, 1, b"12345678")] == 1
    twin = pickle.loads(pickle.dumps(ONE))  # noqa: S301  (our own bytes)
    assert twin == ONE
    with pytest.raises(AttributeError):
        ONE.level = 2  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
