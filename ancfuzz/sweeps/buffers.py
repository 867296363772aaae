"""The boundaries of bytes: encodings by capacity, cut buffers, hostile lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ancfuzz.abi import Abi
from ancfuzz.case import (
    Case,
    Decode,
    Encode,
    EncodeInto,
    PlainMessage,
)
from ancfuzz.codec import ControlMessage, encode
from ancfuzz.grammar import hostile_lengths
from ancfuzz.sweeps.product import Sweep

if TYPE_CHECKING:
    from ancfuzz.abi import Abi

__all__ = ["SWEEPS"]

# -- bytes ----------------------------------------------------------------------------

_SHAPES: tuple[tuple[PlainMessage, ...], ...] = (
    (),
    *(
        (PlainMessage(1, 1, "ab" * size),)
        for size in (0, 1, 3, 4, 5, 7, 8, 9, 12, 1012)
    ),
    *(
        (PlainMessage(1, 1, "0a" * first), PlainMessage(level, 2, "0b" * second))
        for first in (0, 1, 4, 5, 8, 12)
        for second in (0, 1, 4, 12)
        for level in (1, 41)
    ),
    tuple(PlainMessage(41, n, "0c" * n) for n in range(6)),
    (PlainMessage(-(2**31), 2**31 - 1, "ff"), PlainMessage(2**31 - 1, -1, "")),
    (PlainMessage(41, 9, ""), PlainMessage(41, 9, "")),
    (PlainMessage(1, 2, "0d" * 12), PlainMessage(1, 1, "0e" * 1012)),
)
_ROOM = (-17, -16, -9, -8, -7, -5, -4, -3, -1, 0, 1, 4, 7, 8, 15, 16, 17, 64)


def _needed(messages: tuple[PlainMessage, ...], abi: Abi) -> int:
    return sum(abi.cmsg_space(len(m.data) // 2) for m in messages)


def _encode(abi: Abi) -> Sweep:
    def make(messages: tuple[PlainMessage, ...], room: int) -> Case:
        return Case((Encode(messages, max(0, _needed(messages, abi) + room)),))

    return Sweep("encodings by capacity", (_SHAPES, _ROOM), make)


def _encode_into(abi: Abi) -> Sweep:
    def make(
        messages: tuple[PlainMessage, ...], room: int, misaligned: int, fill: int
    ) -> Case:
        capacity = max(0, _needed(messages, abi) + room)
        return Case((EncodeInto(messages, capacity, misaligned, fill),))

    return Sweep(
        "encodings in a buffer",
        (_SHAPES, _ROOM[::2], (0, 1, 2, 4, 7, 8), (0, 0xFF, 0x10)),
        make,
    )


def _decode(abi: Abi) -> Sweep:
    wholes = [
        encode(
            [ControlMessage(m.level, m.type, bytes.fromhex(m.data)) for m in shape], abi
        )
        for shape in _SHAPES
    ]

    def make(whole: bytes, cut: int, tail: str) -> Case:
        return Case((Decode((whole[: max(0, len(whole) - cut)]).hex() + tail),))

    tails = ("", "00", "ff" * 7, "00" * 11, "00" * 15, "ff" * 16, "00" * 24)
    return Sweep("whole and cut buffers", (wholes, range(26), tails), make)


def _hostile(abi: Abi) -> Sweep:
    order = abi.byte_order
    payloads = (b"", b"\x0a" * 4, b"\x0b" * 12, b"\x0c" * 20)

    def make(
        which: int, before: int, payload: bytes, behind: int, garbage: str
    ) -> Case:
        messages = [ControlMessage(1, 1, b"\x01\x02\x03\x04")] * before
        control = bytearray(encode(messages, abi))
        at = len(control)
        control += encode([ControlMessage(1, 1, payload)], abi)
        control += encode([ControlMessage(1, 2, b"\x05" * 12)] * behind, abi)
        lengths = hostile_lengths(len(control) - at, abi)
        length = lengths[which % len(lengths)]
        field = at + abi.length_offset
        control[field : field + abi.length_size] = length.to_bytes(
            abi.length_size, order
        )
        return Case((Decode(bytes(control).hex() + garbage),))

    count = len(hostile_lengths(64, abi))
    return Sweep(
        "hostile lengths",
        (range(count), (0, 1, 2), payloads, (0, 1), ("", "00" * 4, "ff" * 12)),
        make,
    )


SWEEPS = (_decode, _encode, _hostile, _encode_into)
"""Each makes a sweep for a layout."""
