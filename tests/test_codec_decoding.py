"""The codec against a second one, over every layout and every way to be wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz.codec import ControlMessage, decode, encode, encoded_size, walk
from ancfuzz.errors import MalformedControl
from ancfuzz.strategies import abis, control_buffers, hostile_control_buffers
from tests.layouts import X86_64, for_each_layout, of_each_abi
from tests.second_codec import Fault, second_decode

if TYPE_CHECKING:
    from ancfuzz.abi import Abi


def first_decode(control: bytes, abi: Abi) -> list[ControlMessage] | Fault:
    try:
        return decode(control, abi)
    except MalformedControl as error:
        fault = error
    assert len(str(fault).splitlines()) == 1
    return Fault(fault.offset, fault.needed, fault.available)


WELL_FORMED = of_each_abi(control_buffers)
HOSTILE = of_each_abi(hostile_control_buffers)


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
