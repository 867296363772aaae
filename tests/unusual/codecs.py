"""Other encodings of the same messages, and other readings of the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ancfuzz import Implementation, MalformedControl, Refused, decode, encode
from ancfuzz.abi import ABIS
from ancfuzz.codec import ControlMessage, walk

from .registry import RIGHT, SCM_RIGHTS, SOL_SOCKET, Messages, is_rights, unusual

if TYPE_CHECKING:
    import socket

    from ancfuzz import Abi


class Encoder(Implementation):
    """An encoder that lays out what :meth:`chosen` makes of the messages."""

    last_is_padded: ClassVar[bool] = True

    def chosen(self, messages: list[ControlMessage]) -> list[ControlMessage]:
        return messages

    def encode(self, messages: Messages, capacity: int) -> bytes | None:
        chosen = self.chosen(list(messages))
        control = encode(chosen, self.abi)
        if chosen and not self.last_is_padded:
            size = len(chosen[-1].data)
            control = control[: len(control) - (self.abi.align(size) - size)]
        return control if len(control) <= capacity else None


def merged(messages: list[ControlMessage]) -> list[ControlMessage]:
    """One SCM_RIGHTS in the place of the first; what has stray bytes stays as it is."""
    of_rights = [m for m in messages if is_rights(m)]
    if not of_rights or any(len(m.data) % 4 for m in of_rights):
        return messages
    one = ControlMessage(SOL_SOCKET, SCM_RIGHTS, b"".join(m.data for m in of_rights))
    at = messages.index(of_rights[0])
    rest = [m for m in messages[at:] if not is_rights(m)]
    return [*messages[:at], one, *rest]


def without_empty(messages: list[ControlMessage]) -> list[ControlMessage]:
    return [m for m in messages if m.data or not is_rights(m)]


@unusual
class MergesRights(Encoder):
    def chosen(self, messages: list[ControlMessage]) -> list[ControlMessage]:
        return merged(messages)


@unusual
class LeavesEmptyRightsOut(Encoder):
    def chosen(self, messages: list[ControlMessage]) -> list[ControlMessage]:
        return without_empty(messages)


@unusual
class UnpaddedLast(Encoder):
    last_is_padded: ClassVar[bool] = False


@unusual
class MergesAndLeavesOutUnpadded(Encoder):
    last_is_padded: ClassVar[bool] = False

    def chosen(self, messages: list[ControlMessage]) -> list[ControlMessage]:
        return without_empty(merged(without_empty(messages)))


@unusual
class MergesWhatItSends(Implementation):
    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        kept = tuple(without_empty(merged(list(messages))))
        return RIGHT.send(sock, data, kept, flags)


@unusual
class ForMacOs(Encoder):
    """A cross-compiler's codec: twelve bytes of header, an alignment of four."""

    abi: ClassVar[Abi] = ABIS["aarch64-macos-none"]

    def decode(self, control: bytes) -> list[ControlMessage]:
        return decode(control, self.abi)

    def encode_into(self, buffer: memoryview, messages: Messages) -> int | None:
        control = encode(messages, self.abi)
        if len(control) > len(buffer):
            return None
        buffer[: len(control)] = control
        return len(control)


@unusual
class ForBigEndianMusl(ForMacOs):
    abi: ClassVar[Abi] = ABIS["s390x-linux-musl"]


@unusual
class UsesTheRestOfTheBuffer(Implementation):
    """Clears the caller's whole buffer first, once it knows that there is room."""

    def encode_into(self, buffer: memoryview, messages: Messages) -> int | None:
        control = encode(messages)
        if len(control) > len(buffer):
            return None
        buffer[:] = control.ljust(len(buffer), b"\0")
        return len(control)


def as_far_as_it_goes(control: bytes) -> list[ControlMessage]:
    """The whole messages before the first that is not."""
    whole = [span for span in walk(control) if span.kind != "broken"]
    return decode(control[: whole[-1].stop if whole else 0])


@unusual
class StopsAtTheBreak(Implementation):
    def decode(self, control: bytes) -> list[ControlMessage]:
        return as_far_as_it_goes(control)


@unusual
class WordsItItsOwnWay(Implementation):
    """Says where it breaks, and counts needed bytes from elsewhere."""

    def decode(self, control: bytes) -> list[ControlMessage]:
        try:
            return decode(control)
        except MalformedControl as error:
            raise MalformedControl(offset=error.offset, needed=0, available=0) from None


@unusual
class ReadsNoEmptyRights(Implementation):
    def decode(self, control: bytes) -> list[ControlMessage]:
        return without_empty(decode(control))


@unusual
class RefusesMalformed(Implementation):
    def decode(self, control: bytes) -> list[ControlMessage]:
        try:
            return decode(control)
        except MalformedControl as error:
            raise Refused(str(error)) from error


@unusual
class DecodesLazily(Implementation):
    """A tuple of messages whose data are views: still messages."""

    def decode(self, control: bytes) -> list[ControlMessage]:
        messages = decode(bytearray(control))
        return tuple(  # type: ignore[return-value]  # a sequence, as good as a list
            ControlMessage(m.level, m.type, memoryview(m.data))  # type: ignore[arg-type]
            for m in messages
        )
