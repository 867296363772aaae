"""Steps on bytes: encode, encode into a buffer, decode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ancfuzz.case import Decode, Encode, EncodeInto, PlainMessage
from ancfuzz.codec import ControlMessage
from ancfuzz.errors import MalformedControl
from ancfuzz.harness.answers import ENDINGS, nonsense, unchecked, unsuccessful
from ancfuzz.transcript import (
    Answer,
    Decoded,
    Encoded,
    EncodedInto,
    Malformation,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ancfuzz.harness.stage import Stage

__all__ = ["decode", "encode", "encode_into"]


def _plain(messages: Iterable[PlainMessage]) -> tuple[ControlMessage, ...]:
    return tuple(
        ControlMessage(m.level, m.type, bytes.fromhex(m.data)) for m in messages
    )


def encode(stage: Stage, step: Encode) -> Answer:
    """Lay messages out."""
    actor = stage.actor("", "encode")
    try:
        control = unchecked(actor.encode(_plain(step.messages), step.capacity))
    except ENDINGS as error:
        return unsuccessful(error)
    if control is None:
        return Encoded(None)
    if not isinstance(control, bytes | bytearray):
        return nonsense(control, "bytes, or None")
    return Encoded(control.hex())


def encode_into(stage: Stage, step: EncodeInto) -> Answer:
    """Lay messages out in a dirty buffer between two canaries."""
    actor = stage.actor("", "encode_into")
    messages = _plain(step.messages)
    canvas = stage.canvas
    with canvas.buffer(step.capacity, step.misaligned, step.fill) as buffer:
        try:
            count = unchecked(actor.encode_into(buffer, messages))
        except ENDINGS as error:
            return unsuccessful(error)
        content = canvas.content()
    if count is not None and (not isinstance(count, int) or count < 0):
        return nonsense(count, "the bytes used, or None")
    return EncodedInto(count, content.hex(), canvas.changed_outside())


def decode(stage: Stage, step: Decode) -> Answer:
    """Read messages."""
    actor = stage.actor("", "decode")
    try:
        messages = actor.decode(bytes.fromhex(step.control))
    except MalformedControl as error:
        return Decoded(
            malformed=Malformation(error.offset, error.needed, error.available)
        )
    except ENDINGS as error:
        return unsuccessful(error)
    try:
        return Decoded(
            tuple(
                PlainMessage(m.level, m.type, bytes(memoryview(m.data)).hex())
                for m in messages
            )
        )
    except (TypeError, AttributeError, ValueError):
        return nonsense(messages, "a list of ControlMessage")
