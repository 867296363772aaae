"""Steps, messages and answers in words: one short line, or a few, for each.

The words are for people who compare: the same thing is always said in the same words,
and two things that differ are never said alike.  So an answer becomes a list of *items*
(the bytes, each message, a flag, each descriptor that was not reported...), and two
answers can be laid side by side item by item.

Descriptors are written as cases write them, shortest form first: ``memfd#1..3`` and not
three names.  This room must not know how wide a line is.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias

from ancfuzz import messages as wire
from ancfuzz import transcript as said
from ancfuzz.abi import NATIVE, Abi
from ancfuzz.case import (
    Close,
    Decode,
    Encode,
    EncodeInto,
    NamedCredentials,
    NamedPidfd,
    NamedRights,
    Open,
    PlainMessage,
    Receive,
    Send,
    SendAll,
    SendRaw,
    SetOption,
    Shutdown,
    payload_bytes,
)
from ancfuzz.codec import ControlMessage
from ancfuzz.errors import UsageError
from ancfuzz.names import expand
from ancfuzz.picture.lines import quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ancfuzz.case import Message, Payload, Step, Table
    from ancfuzz.transcript import Answer, Facts, Transcript

    _Unanswered: TypeAlias = (
        said.NotPerformed
        | said.Raised
        | said.Nonsense
        | said.Untold
        | said.Hung
        | said.Died
    )

__all__ = ["answer_items", "end_items", "message_words", "names_words", "step_words"]

_NUMBERED = re.compile(r"(.*?)(?:#(\d+))?")


def names_words(items: Iterable[str]) -> str:
    """Descriptors by name, runs and repetitions written short."""
    names = [name for item in items for name in _expanded(item)]
    repeated = [(name, len(list(same))) for name, same in groupby(names)]
    words: list[str] = []
    at = 0
    while at < len(repeated):
        name, times = repeated[at]
        run = _run(repeated[at:])
        if run > 1:
            stem, first = _numbered(name)
            words.append(f"{stem}#{first}..{first + run - 1}")
        else:
            words.append(name if times == 1 else f"{name}*{times}")
        at += run
    return " ".join(words)


def _expanded(item: str) -> tuple[str, ...]:
    # Transcripts hold names that no case may: "phantom", "other".
    try:
        return expand(item)
    except UsageError:
        return (item,)


def _numbered(name: str) -> tuple[str, int]:
    match = _NUMBERED.fullmatch(name)
    if match is None or match[2] is None:
        return name, 0
    return match[1], int(match[2])


def _run(repeated: Sequence[tuple[str, int]]) -> int:
    """How many of these, from the first, count up by one."""
    stem, first = _numbered(repeated[0][0])
    if not first:
        return 1
    length = 0
    for name, times in repeated:
        if times != 1 or _numbered(name) != (stem, first + length):
            break
        length += 1
    return max(1, length)


def message_words(message: Message, abi: Abi = NATIVE) -> str:
    """A control message in words."""
    match message:
        case NamedRights(descriptors, stray):
            named = names_words(descriptors) or "none"
            return f"rights {named}{f' and stray bytes {stray}' if stray else ''}"
        case NamedCredentials(pid, uid, gid):
            return f"credentials pid {pid} uid {uid} gid {gid}"
        case NamedPidfd(of):
            return f"pidfd of {of}"
        case PlainMessage(level, type_, data):
            plain = ControlMessage(level, type_, bytes.fromhex(data))
            described = wire.describe(plain, abi)
            return f"{described} ({data})" if data else described


def _messages_words(messages: Iterable[Message], abi: Abi) -> str:
    return "; ".join(message_words(one, abi) for one in messages) or "no messages"


def _payload_words(payload: Payload) -> str:
    try:
        size = len(payload_bytes(payload))
    except (UsageError, ValueError):
        return payload
    return f"{quantity(size, 'byte')} ({payload})" if size else "0 bytes"


def _hex_words(text: str) -> str:
    size = quantity(len(text) // 2, "byte")
    return f"{size} ({text})" if text else size


def step_words(step: Step, abi: Abi = NATIVE) -> str:
    """What a step asks for."""
    match step:
        case Encode(messages, capacity):
            return f"encode {_messages_words(messages, abi)} into {capacity} bytes"
        case EncodeInto(messages, capacity, misaligned, fill):
            return (
                f"encode {_messages_words(messages, abi)} into a buffer of {capacity} "
                f"bytes {fill:02x}, {misaligned} past alignment"
            )
        case Decode(control):
            return f"decode {quantity(len(control) // 2, 'byte')}"
        case Open(kind):
            return f"open a pair a, b: {kind}"
        case SetOption(at, option, value):
            return f"{at}: set {option} to {value}"
        case Send(at, data, messages, flags):
            parts = [_payload_words(data), *(message_words(m, abi) for m in messages)]
            return f"{at}: send {', '.join([*parts, *flags])}"
        case SendAll(at, data, messages):
            parts = [_payload_words(data), *(message_words(m, abi) for m in messages)]
            return f"{at}: send all of {', '.join(parts)}"
        case SendRaw(at, control, data, flags):
            parts = [_payload_words(data), f"raw control {control or 'empty'}", *flags]
            return f"{at}: send {', '.join(parts)}"
        case Receive(at, data_capacity, control_capacity, flags):
            parts = [f"{data_capacity} bytes, {control_capacity} of control", *flags]
            return f"{at}: receive up to {', '.join(parts)}"
        case Shutdown(at, how):
            return f"{at}: shut down {how}"
        case Close(at):
            return f"{at}: close"
        case _:
            return _table_words(step)


def _table_words(step: Table) -> str:
    parts = [
        f"{step.free} free" if step.free is not None else "",
        "with holes" if step.holes else "",
        f"above {step.above}" if step.above is not None else "",
    ]
    return f"descriptor table: {', '.join(filter(None, parts)) or 'as it is'}"


def answer_items(answer: Answer, abi: Abi = NATIVE) -> tuple[str, ...]:
    """An answer, item by item; there is at least one."""
    return (*_said(answer, abi), *_facts_items(getattr(answer, "facts", None), abi))


def _said(answer: Answer, abi: Abi) -> Iterator[str]:
    match answer:
        case said.Done():
            yield "done"
        case said.Failed(errno):
            yield errno
        case said.Sent(count):
            yield f"sent {quantity(count, 'byte')}"
        case said.Got():
            yield from _got_items(answer, abi)
        case said.Encoded(control):
            yield "does not fit" if control is None else _hex_words(control)
        case said.EncodedInto(count, buffer, outside):
            yield "does not fit" if count is None else f"used {quantity(count, 'byte')}"
            yield f"buffer {buffer}"
            if outside:
                yield "bytes outside of the buffer changed"
        case said.Decoded(messages, malformed):
            yield from (message_words(one, abi) for one in messages)
            if malformed is not None:
                yield (
                    f"malformed at {malformed.offset}: {malformed.needed} needed, "
                    f"{malformed.available} available"
                )
            elif not messages:
                yield "no messages"
        case said.Refusal(reason, messages):
            yield f"refused{f': {reason}' if reason else ''}"
            yield from (message_words(one, abi) for one in messages)
        case _:
            yield from _unanswered_items(answer)


def _unanswered_items(answer: _Unanswered) -> Iterator[str]:
    """What came in place of an answer."""
    match answer:
        case said.NotPerformed(reason, by):
            yield f"not performed ({by}): {reason}"
        case said.Raised(type_, message):
            yield f"raised {type_}: {message}"
        case said.Nonsense(value, expected):
            yield f"returned {value}, expected {expected}"
        case said.Untold():
            yield "answered, and the answer was lost with the process"
        case said.Hung(seconds):
            yield f"no answer within {seconds:g} s"
        case said.Died(how, stderr):
            yield f"died: {how}"
            if stderr:
                yield stderr


def _got_items(answer: said.Got, abi: Abi) -> Iterator[str]:
    yield f"got {_payload_words(answer.data)}"
    yield from (message_words(one, abi) for one in answer.messages)
    if answer.truncated:
        yield "truncated"
    if answer.flags is not None:
        yield f"flags {' '.join(answer.flags) or 'none'}"
    if answer.control_length is not None:
        yield f"control length {answer.control_length}"


def _facts_items(facts: Facts | None, abi: Abi) -> Iterator[str]:
    if facts is None:
        return
    if facts.unreported:
        yield f"installed, not reported: {names_words(facts.unreported)}"
    if facts.inheritable:
        yield f"without close-on-exec: {names_words(facts.inheritable)}"
    if facts.held is not None:
        yield f"still holds {_messages_words(facts.held, abi)}"


def end_items(transcript: Transcript) -> tuple[str, ...]:
    """What was found out behind the last step; () for nothing."""
    found = (
        ("still open", names_words(transcript.leaked)),
        ("closed or replaced", names_words(transcript.lost)),
        ("close() raised", transcript.closing),
        ("written to standard output", transcript.output),
    )
    return tuple(f"{what}: {words}" for what, words in found if words)
