"""From a recording to cases: what a program passed, as scripts that anybody can run.

Each exchange becomes a case with the transcript of what the program itself saw.
Exchanges that differ in nothing but their bytes are one case, named by the program that
sent and by what it sent.

Nothing private survives unless it is asked for: payloads become as many zero bytes,
padding becomes zero, and neither names, paths, numbers of processes nor times are
copied into a case.  What is kept of a control message is its layout, byte for byte.

This room knows what a case says; what must come of it is not its business.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import msgspec

from ancfuzz.case import (
    Case,
    NamedCredentials,
    NamedRights,
    Receive,
    Send,
    SendRaw,
    Step,
)
from ancfuzz.host import environment
from ancfuzz.recorder.exchanges import match
from ancfuzz.recorder.steps import KINDS, OPTIONS, steps
from ancfuzz.recorder.symbols import STANDS_FOR, sent_messages
from ancfuzz.transcript import Environment, Transcript

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ancfuzz.recorder.exchanges import Exchange, Matching
    from ancfuzz.recorder.log import Call, Recording

__all__ = ["Recorded", "cases", "distinct", "recorded", "shape"]

_MOST_WORDS = 4  # for control messages in a name, which has to be that of a file
_OF_ROOT = ("CAP_SETGID", "CAP_SETUID", "CAP_SYS_ADMIN", "CAP_SYS_RESOURCE")


class Recorded(msgspec.Struct, frozen=True):
    """A case, and what the program saw that it was taken from.

    Attributes:
        case: without ``source``, which only the caller knows.
        transcript: one answer for each step; the subject is the receiver.
    """

    case: Case
    transcript: Transcript


def recorded(
    recording: Recording,
    *,
    payloads: bool = False,
    matching: Matching | None = None,
) -> tuple[Recorded, ...]:
    """Everything that a recording holds and a case can say, in the order of time.

    Args:
        recording: what was seen.
        matching: of its calls, if it is there already.
        payloads: keep the data bytes; otherwise as many zero bytes stand for them.
            Of data that is longer than the log keeps, the rest is zero in any case.
    """
    programs = {process.pid: process.name for process in recording.processes}
    found: list[Recorded] = []
    for exchange in (matching or match(recording.calls)).exchanges:
        answered = steps(exchange, payloads=payloads)
        if not answered:
            continue
        first: Call = exchange.sent or exchange.received[0]
        name = f"{_slug(programs.get(first.pid, 'unknown'))}-{_what(exchange)}"
        case = Case(
            tuple(step for step, _ in answered), name=name, note=_note(exchange)
        )
        transcript = Transcript(
            tuple(answer for _, answer in answered),
            subject="b",
            environment=_environment(first),
        )
        found.append(Recorded(case, transcript))
    return tuple(found)


def cases(recording: Recording, *, payloads: bool = False) -> tuple[Case, ...]:
    """The cases that a recording holds, each once, each with a name of its own.

    The arguments are those of :func:`recorded`.
    """
    return distinct(recorded(recording, payloads=payloads))


def distinct(found: Iterable[Recorded]) -> tuple[Case, ...]:
    """The cases of what was recorded, each :func:`shape` once, with different names."""
    different: dict[tuple[Step, ...], Case] = {}
    for one in found:
        key = shape(one.case)
        # Of equals the name that sorts first: which process came first is chance, and
        # two recordings ought to agree.
        kept = different.get(key)
        if kept is None or one.case.name < kept.name:
            different[key] = one.case
    return _with_different_names(different.values())


def shape(case: Case) -> tuple[Step, ...]:
    """What tells one recorded case from another: its steps without their bytes."""
    return tuple(_without_sizes(step) for step in case.steps)


def _environment(call: Call) -> Environment:
    """This host, with the caller's ids in place of ours."""
    return msgspec.structs.replace(
        environment(),
        uid=call.uid,
        gid=call.gid,
        capabilities=_OF_ROOT if call.uid == 0 else (),
    )


def _without_sizes(step: Step) -> Step:
    """A step without its bytes: what is left tells one case from another."""
    match step:
        case Send() | SendRaw():
            return msgspec.structs.replace(step, data="78" if step.data else "")
        case Receive():
            return msgspec.structs.replace(step, data_capacity=bool(step.data_capacity))
        case _:
            return step


def _what(exchange: Exchange) -> str:
    """What a case is about, for its name."""
    sent, received = exchange.sent, exchange.received
    first: Call = sent or received[0]
    words: list[str] = []
    if first.type != socket.SOCK_STREAM:
        words.append(KINDS[first.type])
    if sent is not None:
        said = [_word(one) for one in sent_messages(sent, {})] or ["plain"]
        words += said[:_MOST_WORDS] + ["more"] * (len(said) > _MOST_WORDS)
        if sent.result < 0:
            words.append(errno.errorcode.get(sent.errno, str(sent.errno)).lower())
    elif received[0].result < 0:
        words.append("nothing")
    else:
        words.append("end")
    for call in received[:1]:
        words += [field for field, _ in OPTIONS if getattr(call, field) > 0]
        words += ["peek"] if call.flags & socket.MSG_PEEK else []
        words += ["cut"] if call.msg_flags & socket.MSG_CTRUNC else []
        words.append(f"cap{call.capacity}")
    return "-".join(words)


def _word(message: object) -> str:
    match message:
        case NamedRights():
            return f"rights{len(message.descriptors)}"
        case NamedCredentials():
            return "credentials"
        case _:
            return "other"


def _note(exchange: Exchange) -> str:
    """What the steps cannot say."""
    notes: list[str] = []
    sent = exchange.sent
    if sent is not None:
        stood_for = sorted({d.kind for d in sent.fds if d.kind in STANDS_FOR})
        notes += [f"For a {kind} stands a {STANDS_FOR[kind]}." for kind in stood_for]
        if len(sent.iovecs) > 1:
            notes.append(f"The program sent {len(sent.iovecs)} buffers at once.")
    return " ".join(notes)


def _slug(name: str) -> str:
    # ASCII: it becomes a file's name, in whatever locale.
    plain = (c if c.isascii() and c.isalnum() else " " for c in name.lower())
    return "-".join("".join(plain).split()) or "unknown"


def _with_different_names(found: Iterable[Case]) -> tuple[Case, ...]:
    count: dict[str, int] = {}
    named: list[Case] = []
    for case in found:
        number = count[case.name] = count.get(case.name, 0) + 1
        name = case.name if number == 1 else f"{case.name}-{number}"
        named.append(msgspec.structs.replace(case, name=name))
    return tuple(named)
