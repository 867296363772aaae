"""A second decoder, to hold the codec's against.

:func:`second_decode` shares nothing with :func:`ancfuzz.codec.decode` but the numbers
of an Abi: it is written from the rule as prose, field by field, without :mod:`struct`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ancfuzz.codec import ControlMessage

if TYPE_CHECKING:
    from ancfuzz.abi import Abi


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
