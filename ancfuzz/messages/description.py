"""Control messages in words: one short line each, for people.

The words are those of the headers and man pages: the name of the type, then the fields
by their names.  What is not understood is counted, never guessed at.

This room must not know how payloads are laid out (``kinds``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ancfuzz.abi import NATIVE, Abi
from ancfuzz.messages.conversion import parse, type_name
from ancfuzz.messages.payloads import (
    Payload,
    Pidfd,
    Rights,
    SecurityLabel,
    Timestamp,
    Unknown,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ancfuzz.codec import ControlMessage

__all__ = ["describe"]

_MOST_NUMBERS = 8
_MOST_BYTES = 32


def describe(message: ControlMessage, abi: Abi = NATIVE) -> str:
    """Say a control message in one short line.

    ``SCM_RIGHTS 3 descriptors: 5 6 7``, ``SCM_CREDENTIALS pid 1 uid 0 gid 0``,
    ``level 41 type 8, 4 bytes``; and ``SCM_CREDENTIALS, 5 bytes`` where the payload is
    not what the type says.

    Args:
        message: as :func:`ancfuzz.decode` returns it.
        abi: the layout that it was decoded with.
    """
    payload = parse(message, abi)
    name = type_name(message.level, message.type, abi)
    if isinstance(payload, Unknown):
        name = name or f"level {message.level} type {message.type}"
        return f"{name}, {_count(len(message.data), 'byte')}"
    return f"{name} {_WORDS.get(type(payload), _fields)(payload)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _numbers(numbers: tuple[int, ...]) -> str:
    """Numbers with a space between; of many the first ones."""
    shown = " ".join(map(str, numbers[:_MOST_NUMBERS]))
    return shown if len(numbers) <= _MOST_NUMBERS else f"{shown} ..."


def _fields(payload: Payload) -> str:
    """The fields that are there, each behind its name."""
    told: list[str] = []
    for name in payload.__struct_fields__:
        value: int | tuple[int, ...] | None = getattr(payload, name)
        if value not in (None, ()):
            words = _numbers(value) if isinstance(value, tuple) else value
            told.append(f"{name} {words}")
    return " ".join(told)


def _rights(rights: Rights) -> str:
    told = _count(len(rights.descriptors), "descriptor")
    if rights.descriptors:
        told = f"{told}: {_numbers(rights.descriptors)}"
    if rights.stray:
        told = f"{told}, {_count(len(rights.stray), 'stray byte')}"
    return told


def _pidfd(pidfd: Pidfd) -> str:
    if pidfd.descriptor < 0:
        return f"errno {-pidfd.descriptor}, no descriptor"
    return f"descriptor {pidfd.descriptor}"


def _label(label: SecurityLabel) -> str:
    shown = ascii(label.label[:_MOST_BYTES])
    more = len(label.label) - _MOST_BYTES
    return shown if more <= 0 else f"{shown} and {_count(more, 'byte')} more"


def _time(time: Timestamp) -> str:
    return f"seconds {time.seconds} nanoseconds {time.nanoseconds}"


# What a list of fields does not say well.
_WORDS: Mapping[type[Payload], Callable[[Any], str]] = {
    Rights: _rights,
    Pidfd: _pidfd,
    SecurityLabel: _label,
    Timestamp: _time,
}
