"""Control messages with Kaitai Struct's runtime.

Written by hand in the manner of what ``kaitai-struct-compiler`` generates from

    seq:
      - id: messages
        type: message
        repeat: eos
    types:
      message:
        seq:
          - {id: length, type: u8}
          - {id: level, type: s4}
          - {id: type, type: s4}
          - {id: data, type: s4, repeat: expr, repeat-expr: (length - 16) / 4}
          - {id: padding, size: -length % 8}

once for reading, and once for writing (its ``--read-write``), of which only what
writes is here.
"""

# pyright: basic
# Its base classes are Any here, and with them all that they have.

from __future__ import annotations

import importlib
from io import BytesIO
from typing import TYPE_CHECKING, Any

from rivals import HEADER, Codec, Payload, Plain, ints, label, packed

if TYPE_CHECKING:
    from collections.abc import Sequence

kaitaistruct: Any = importlib.import_module("kaitaistruct")
KaitaiStruct: Any = kaitaistruct.KaitaiStruct
ReadWriteKaitaiStruct: Any = kaitaistruct.ReadWriteKaitaiStruct
KaitaiStream: Any = kaitaistruct.KaitaiStream


class Control(KaitaiStruct):  # type: ignore[misc]  # Any: it need not be installed
    """A control buffer."""

    payload: Payload

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.messages: list[Message] = []
        while not self._io.is_eof():
            self.messages.append(Message(self._io, self))


class Message(KaitaiStruct):  # type: ignore[misc]  # as above
    """One message of it."""

    def __init__(self, stream: Any, parent: Control) -> None:
        super().__init__(stream)
        self._parent = parent
        self._read(parent.payload)

    def _read(self, payload: Payload) -> None:
        self.length = self._io.read_u8le()
        self.level = self._io.read_s4le()
        self.type = self._io.read_s4le()
        if payload == "ints":
            self.data = []
            for _ in range((self.length - HEADER) // 4):
                self.data.append(self._io.read_s4le())
        else:
            self.data = self._io.read_bytes(self.length - HEADER)
        self.padding = self._io.read_bytes(-self.length % 8)


class ControlOfInts(Control):
    """With descriptors as integers."""

    payload: Payload = "ints"


class ControlOfBytes(Control):
    """With payloads as bytes."""

    payload: Payload = "bytes"


class WrittenMessage(ReadWriteKaitaiStruct):  # type: ignore[misc]  # as above
    """One message to write."""

    def __init__(self, plain: Plain, payload: Payload) -> None:
        super().__init__(None)
        self.level, self.type, data = plain
        self.length = HEADER + len(data)
        self.data = ints(data) if payload == "ints" else data
        self.padding = bytes(-len(data) % 8)
        self._dirty = False

    def _write__seq(self, stream: Any) -> None:
        super()._write__seq(stream)
        self._io.write_u8le(self.length)
        self._io.write_s4le(self.level)
        self._io.write_s4le(self.type)
        if isinstance(self.data, bytes):
            self._io.write_bytes(self.data)
        else:
            for number in self.data:
                self._io.write_s4le(number)
        self._io.write_bytes(self.padding)


class WrittenControl(ReadWriteKaitaiStruct):  # type: ignore[misc]  # as above
    """A control buffer to write."""

    def __init__(self, messages: list[WrittenMessage]) -> None:
        super().__init__(None)
        self.messages = messages
        self.size = sum(one.length + len(one.padding) for one in messages)
        self._dirty = False

    def _fetch_instances(self) -> None:
        """Nothing is read lazily."""

    def _write__seq(self, stream: Any) -> None:
        super()._write__seq(stream)
        for one in self.messages:
            one._write__seq(self._io)  # noqa: SLF001  (as it is generated)


def _encode(control: WrittenControl) -> bytes:
    # The runtime writes into a stream of a fixed size.
    stream = KaitaiStream(BytesIO(bytes(control.size)))
    control._write(stream)  # noqa: SLF001  (its public face is spelled so)
    return bytes(stream.to_byte_array())


def codec(payload: Payload) -> Codec:
    """Kaitai's runtime, with the payload as it is asked for."""
    control = ControlOfInts if payload == "ints" else ControlOfBytes

    def plain(found: Control) -> list[Plain]:
        return [(one.level, one.type, packed(one.data)) for one in found.messages]

    def made(messages: Sequence[Plain]) -> WrittenControl:
        return WrittenControl([WrittenMessage(one, payload) for one in messages])

    return Codec(label("kaitai", payload), control.from_bytes, plain, _encode, made)
