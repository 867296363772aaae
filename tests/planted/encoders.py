"""Bugs in writing: wrong lengths, wrong places, and buffers that are too small."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, ClassVar

from ancfuzz import Implementation, encode
from ancfuzz.abi import ABIS, NATIVE
from ancfuzz.codec import ControlMessage, walk

from .registry import RIGHT, Encoder, Messages, plant, space_as_length

if TYPE_CHECKING:
    from ancfuzz import Abi


@plant("LEN.cmsg_len")
class SpaceAsLength(Encoder):
    """The classic: ``cmsg_len = CMSG_SPACE(n)``."""

    def lay_out(self, messages: Messages) -> bytes:
        return space_as_length(messages)


@plant("ALIGN.next")
class NoPaddingBetween(Encoder):
    """The second header right behind the first one's data."""

    def lay_out(self, messages: Messages) -> bytes:
        return b"".join(encode([m])[: NATIVE.cmsg_len(len(m.data))] for m in messages)


@plant("ALIGN.padding")
class DirtyPadding(Encoder):
    """Padding is what was in memory before."""

    def lay_out(self, messages: Messages) -> bytes:
        control = bytearray(encode(messages))
        for span in walk(control):
            if span.kind == "padding":
                control[span.start : span.stop] = b"\xcc" * (span.stop - span.start)
        return bytes(control)


@plant("LEN.total")
class OneMore(Encoder):
    """A whole empty message too many at the end."""

    def lay_out(self, messages: Messages) -> bytes:
        return encode((*messages, ControlMessage(0, 0, b"")))


@plant("ROUND.encode")
class LevelAndTypeSwapped(Encoder):
    def lay_out(self, messages: Messages) -> bytes:
        return encode([ControlMessage(m.type, m.level, m.data) for m in messages])


@plant("CAP.fits")
class RefusesAnExactFit(Implementation):
    def encode(self, messages: Messages, capacity: int) -> bytes | None:
        control = encode(messages)
        return control if len(control) < capacity else None


@plant("CAP.exceeds")
class CapacityIgnored(Implementation):
    def encode(self, messages: Messages, capacity: int) -> bytes | None:
        return encode(messages)


@plant("CAP.outside")
class WritesBehindTheBuffer(Implementation):
    """Zeroes a terminator behind what it wrote, wherever the buffer ends."""

    def encode_into(self, buffer: memoryview, messages: Messages) -> int | None:
        count = RIGHT.encode_into(buffer, messages)
        if count is not None and len(buffer):
            first = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
            ctypes.memset(first + count, 0, 8)
        return count


@plant("CAP.outside")
class WritesBeforeTheBuffer(Implementation):
    """Aligns the buffer downwards before it writes."""

    def encode_into(self, buffer: memoryview, messages: Messages) -> int | None:
        if len(buffer):
            first = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
            if first % NATIVE.alignment:
                ctypes.memset(first - first % NATIVE.alignment, 0, 1)
        return RIGHT.encode_into(buffer, messages)


@plant("CAP.unchanged")
class ClearsBeforeItRefuses(Implementation):
    def encode_into(self, buffer: memoryview, messages: Messages) -> int | None:
        buffer[:] = bytes(len(buffer))
        return RIGHT.encode_into(buffer, messages)


@plant("ALIGN.padding")
class TrustsACleanBuffer(Implementation):
    """Writes headers and data, and takes the padding to be zero already."""

    def encode_into(self, buffer: memoryview, messages: Messages) -> int | None:
        control = encode(messages)
        if len(control) > len(buffer):
            return None
        for span in walk(control):
            if span.kind != "padding":
                buffer[span.start : span.stop] = control[span.start : span.stop]
        return len(control)


@plant("ALIGN.next")
class AlignsToEight(Encoder):
    """A cross-encoder for a target that aligns to four, with the host's eight."""

    abi: ClassVar[Abi] = ABIS["aarch64-macos-none"]

    def lay_out(self, messages: Messages) -> bytes:
        parts = [encode([message], self.abi) for message in messages]
        return b"".join(part + bytes(-len(part) % 8) for part in parts)
