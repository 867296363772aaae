"""The errors of ancfuzz, ordered by whose fault they are.

    AncfuzzError
      UsageError              the caller asked for something that cannot be
      MalformedControl        the bytes are not a sequence of control messages
      EnvironmentUnsupported  this kernel, platform or privilege cannot do it

An implementation under test says two things by raising: ``Refused`` (declined on
purpose) and ``Unsupported`` (this API cannot express that).  They live here because the
wire floor, the judges and every user's implementation need the same two names.

A *violation* is not an error of ours: it is a finding, and lives with the judges.

This room knows nothing but text and numbers, and imports nothing of ancfuzz.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "AncfuzzError",
    "EnvironmentUnsupported",
    "MalformedControl",
    "Refused",
    "Unsupported",
    "UsageError",
]


class AncfuzzError(Exception):
    """Base of every error that ancfuzz raises on purpose."""


class UsageError(AncfuzzError):
    """What was asked for cannot be: a wrong name, option, file or value.

    The message is one line that says what, where, and what was expected instead.
    The command line ends with status 2 on it.
    """


class MalformedControl(AncfuzzError, ValueError):
    """Bytes that are not a sequence of control messages.

    Raised by :func:`ancfuzz.decode` alone, at the first header whose ``cmsg_len``
    cannot be true.  What came before that header was well-formed.

    Attributes:
        offset: where the header begins, in bytes from the start of the buffer.
        needed: bytes that must be there: ``CMSG_LEN(0)`` when the length is too small
            to be one, else the length that the header claims.
        available: bytes that are there: the length that the header claims when it is
            too small, else what is left of the buffer.
    """

    def __init__(self, *, offset: int, needed: int, available: int) -> None:
        super().__init__(offset, needed, available)
        self.offset = offset
        self.needed = needed
        self.available = available

    def __str__(self) -> str:
        return (
            f"malformed control message at offset {self.offset}: "
            f"{self.needed} bytes needed, {self.available} available"
        )

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive BaseException's own pickling, and a
        # worker process has to be able to send this error home.
        return _rebuild_malformed, (self.offset, self.needed, self.available)


def _rebuild_malformed(offset: int, needed: int, available: int) -> MalformedControl:
    return MalformedControl(offset=offset, needed=needed, available=available)


class EnvironmentUnsupported(AncfuzzError):
    """This kernel, platform, or privilege cannot do what was asked.

    Never a finding: what could not be judged is reported as such, with this message as
    the reason.
    """


class Refused(AncfuzzError):
    """An implementation under test declines on purpose.

    Only leaks and stale state are judged of a refused operation.

    Attributes:
        messages: control messages that it hands out all the same, if any.
    """

    def __init__(self, messages: Iterable[object] = ()) -> None:
        self.messages = tuple(messages) if not isinstance(messages, str) else ()
        super().__init__(messages if isinstance(messages, str) else self.messages)


class Unsupported(AncfuzzError):
    """This API cannot say that: the case is not judged on this implementation."""
