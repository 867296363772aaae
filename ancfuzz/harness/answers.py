"""What an implementation returned or raised, as an answer of a transcript.

Three exceptions are words of the contract (``Refused``, ``Unsupported``, an ``OSError``
with an errno); any other, ``SystemExit`` included, is a crash, and a value of the wrong
type is nonsense.  Both are answers: nothing that an implementation does ends a case.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, cast

from msgspec.structs import astuple

from ancfuzz.codec import ControlMessage
from ancfuzz.errors import Refused, Unsupported
from ancfuzz.implementation import Received
from ancfuzz.transcript import (
    NO_FACTS,
    Answer,
    Facts,
    Failed,
    Nonsense,
    Raised,
    Refusal,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ENDINGS",
    "errno_name",
    "nonsense",
    "raised",
    "unchecked",
    "unsuccessful",
    "with_facts",
    "wrong_with",
]

ENDINGS = (Exception, SystemExit)
"""How an implementation may end a call instead of returning."""

_MOST = 200  # characters of a repr that is quoted


def errno_name(error: OSError) -> str:
    """``EBADF`` and the like."""
    number = error.errno or 0
    return errno.errorcode.get(number, f"errno {number}")


def raised(error: BaseException) -> Raised:
    """A crash."""
    return Raised(type(error).__name__, str(error)[: 2 * _MOST])


def unsuccessful(error: BaseException) -> Answer:
    """An exception as an answer.

    Raises:
        Unsupported: it was this one, which ends the case.
    """
    if isinstance(error, Unsupported):
        raise error
    if isinstance(error, Refused):
        return Refusal(str(error))
    if isinstance(error, OSError) and error.errno is not None:
        return Failed(errno_name(error))
    return raised(error)


def nonsense(value: object, expected: str) -> Nonsense:
    """A value that the operation must not return."""
    try:
        shown = repr(value)
    except Exception as error:  # noqa: BLE001  (a stranger's __repr__ may raise)
        shown = f"a {type(value).__name__} whose repr raises {type(error).__name__}"
    return Nonsense(shown[:_MOST], expected)


def unchecked(value: object) -> object:
    """What an implementation returned, its annotation forgotten: it may lie."""
    return value


def with_facts(answer: Answer, facts: Facts) -> Answer:
    """The answer of a failed receive, with what was true whatever it said."""
    if facts == NO_FACTS:
        return answer
    match answer:
        case Failed(name):
            return Failed(name, facts)
        case Refusal(reason, messages):
            return Refusal(reason, messages, facts)
        case Raised(type_, message):
            return Raised(type_, message, facts)
        case _:
            return answer


def wrong_with(received: object) -> str:
    """What is wrong with the types of a Received; "" if nothing is."""
    if not isinstance(received, Received):
        return "an ancfuzz.Received"
    # A struct holds what it was given: its annotations are not looked at.
    values = cast("tuple[object, ...]", astuple(received))
    data, messages, truncated, flags, length = values
    if not isinstance(data, bytes | bytearray | memoryview):
        return "Received.data as bytes"
    if not isinstance(messages, tuple | list):
        return "Received.messages as a tuple of ControlMessage"
    if any(map(_is_no_message, cast("Sequence[object]", messages))):
        return "Received.messages as a tuple of ControlMessage"
    if not isinstance(truncated, int):
        return "Received.truncated as a bool"
    if not isinstance(flags, int | None) or not isinstance(length, int | None):
        return "Received.flags and Received.control_length as an int or None"
    return ""


def _is_no_message(message: object) -> bool:
    if not isinstance(message, ControlMessage):
        return True
    level, type_, data = cast("tuple[object, ...]", astuple(message))
    return not (
        isinstance(level, int)
        and isinstance(type_, int)
        and isinstance(data, bytes | bytearray | memoryview)
    )
