"""Bugs in reading: what is said of bytes that end early, or lie."""

from __future__ import annotations

from ancfuzz import Implementation, MalformedControl, decode
from ancfuzz.abi import NATIVE
from ancfuzz.codec import ControlMessage, walk

from .registry import plant, without_unpadded_last


@plant("WALK.place", "hostile")
class PointsBehindTheHeader(Implementation):
    def decode(self, control: bytes) -> list[ControlMessage]:
        try:
            return decode(control)
        except MalformedControl as error:
            raise MalformedControl(
                offset=error.offset + NATIVE.header_size,
                needed=error.needed,
                available=error.available,
            ) from None


def as_far_as_it_goes(control: bytes) -> list[ControlMessage]:
    """The whole messages before the first that is not."""
    whole = [span for span in walk(control) if span.kind != "broken"]
    return decode(control[: whole[-1].stop if whole else 0])


@plant("WALK.stops", "hostile")
class TakesWhatIsLeft(Implementation):
    """A length beyond the buffer is cut to what is there, as for a whole message."""

    def decode(self, control: bytes) -> list[ControlMessage]:
        try:
            return decode(control)
        except MalformedControl as error:
            level, type_ = memoryview(control[error.offset + 8 :][:8]).cast("i")
            data = control[error.offset + NATIVE.data_offset :]
            return [*as_far_as_it_goes(control), ControlMessage(level, type_, data)]


@plant("WALK.inside", "hostile")
class ReadsPastTheEnd(Implementation):
    """Believes ``cmsg_len``, and so reads what lies behind the buffer."""

    def decode(self, control: bytes) -> list[ControlMessage]:
        try:
            return decode(control)
        except MalformedControl as error:
            memory = bytes(min(error.needed, 4096))
            return [*as_far_as_it_goes(control), ControlMessage(0, 0, memory)]


@plant("WALK.complete")
class DropsAnUnpaddedLast(Implementation):
    """Seed bug B1: a message whose padded end passes the buffer's is not seen."""

    def decode(self, control: bytes) -> list[ControlMessage]:
        return without_unpadded_last(decode(control), len(control))


@plant("ROUND.decode")
class PaddingIsData(Implementation):
    """Takes the payload up to the next header."""

    def decode(self, control: bytes) -> list[ControlMessage]:
        messages = decode(control)
        return [
            ControlMessage(m.level, m.type, m.data + bytes(-len(m.data) % 8))
            for m in messages
        ]
