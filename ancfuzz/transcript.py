"""A transcript: what was answered, step by step, when a case was performed.

One answer per step.  Answers name descriptors as cases do, by the open file description
that a number turned out to be, so that two performances of one case compare equal.  The
model writes its opinion in the same words: what it accepts is a transcript too.

An answer says two kinds of things, and keeps them apart:

* what the implementation *said* (bytes, messages, a flag, an error);
* what was *true* whatever it said: :class:`Facts`, read off the descriptor table.

This room must not know how a case is performed, nor what ought to have been answered.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from ancfuzz.case import Flag, Hex, Message, Payload, PlainMessage

__all__ = [
    "NO_FACTS",
    "Answer",
    "Decoded",
    "Died",
    "Done",
    "Encoded",
    "EncodedInto",
    "Environment",
    "Facts",
    "Failed",
    "Got",
    "Hung",
    "Nonsense",
    "NotPerformed",
    "Raised",
    "Refusal",
    "Sent",
    "Transcript",
    "Untold",
]


class Facts(Struct, frozen=True, omit_defaults=True, gc=False):
    """What a receive did to the descriptor table, whatever the receiver said of it.

    Attributes:
        unreported: descriptors that were installed and not reported.
        inheritable: reported descriptors that lack close-on-exec.
        held: messages that the implementation would still hand out; None if it does
            not say.
    """

    unreported: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    held: tuple[Message, ...] | None = None


NO_FACTS = Facts()
"""Nothing was installed that was not reported, and nobody was asked what is held."""


class _Answer(Struct, frozen=True, tag_field="answer", omit_defaults=True, gc=False):
    """What all answers share: how they are told apart in JSON."""


class Done(_Answer, frozen=True, tag="done"):
    """The step succeeded and has nothing to say."""


class Failed(_Answer, frozen=True, tag="failed"):
    """An OSError: the errno by its name."""

    errno: str
    facts: Facts = NO_FACTS


class Sent(_Answer, frozen=True, tag="sent"):
    """A send, with the bytes that it says were sent."""

    count: int


class Got(_Answer, frozen=True, tag="got"):
    """A receive.

    Attributes:
        data: the payload.
        messages: the control messages, descriptors by name.
        truncated: MSG_CTRUNC.
        flags: msg_flags by name, for those who see them.
        control_length: msg_controllen as returned, for those who see it.
        facts: what was true whatever was said.
    """

    data: Payload
    messages: tuple[Message, ...] = ()
    truncated: bool = False
    flags: tuple[Flag, ...] | None = None
    control_length: int | None = None
    facts: Facts = NO_FACTS


class Encoded(_Answer, frozen=True, tag="encoded"):
    """An encoding; None if it says that the capacity is too small."""

    control: Hex | None


class EncodedInto(_Answer, frozen=True, tag="encoded_into"):
    """An encoding in a caller's buffer.

    Attributes:
        count: bytes used, or None if it says that the capacity is too small.
        buffer: the whole buffer afterwards.
        outside: whether a byte before or behind the buffer changed.
    """

    count: int | None
    buffer: Hex
    outside: bool = False


class Malformation(Struct, frozen=True):
    """Where bytes are malformed, as ``MalformedControl`` says it."""

    offset: int
    needed: int
    available: int


class Decoded(_Answer, frozen=True, tag="decoded"):
    """A decoding: the messages, or where it says that the bytes are malformed."""

    messages: tuple[PlainMessage, ...] = ()
    malformed: Malformation | None = None


class Refusal(_Answer, frozen=True, tag="refused"):
    """Declined on purpose (``ancfuzz.Refused``)."""

    reason: str = ""
    messages: tuple[Message, ...] = ()
    facts: Facts = NO_FACTS


class NotPerformed(_Answer, frozen=True, tag="not_performed"):
    """The step could not be performed: by this API, this kernel, or any more."""

    reason: str
    by: Literal["implementation", "environment", "earlier step"] = "environment"


class Raised(_Answer, frozen=True, tag="raised"):
    """An exception that the contract does not know: the implementation crashed."""

    type: str
    message: str
    facts: Facts = NO_FACTS


class Nonsense(_Answer, frozen=True, tag="nonsense"):
    """A value that the contract does not know, for example None for bytes."""

    value: str
    expected: str
    facts: Facts = NO_FACTS


class Untold(_Answer, frozen=True, tag="untold"):
    """The step was answered, and the answer was lost with the process."""


class Hung(_Answer, frozen=True, tag="hung"):
    """No answer within so many seconds; the process was killed."""

    seconds: float


class Died(_Answer, frozen=True, tag="died"):
    """The process ended instead of answering: by a signal, or with an exit status."""

    how: str
    stderr: str = ""


Answer: TypeAlias = (
    Done
    | Failed
    | Sent
    | Got
    | Encoded
    | EncodedInto
    | Decoded
    | Refusal
    | NotPerformed
    | Raised
    | Nonsense
    | Untold
    | Hung
    | Died
)


class Environment(Struct, frozen=True):
    """Who performed, and on what: all that an answer may rightly depend on.

    Attributes:
        kernel: ``uname -sr``, for the reader.
        uid: the performer's real user id.
        gid: the performer's real group id.
        capabilities: those that it has where the kernel asks for them: CAP_SETUID and
            CAP_SETGID; CAP_SYS_ADMIN over its processes; CAP_SYS_RESOURCE over the
            whole machine.
        is_init: whether its pid is 1, which a case may name: the first of a container.
        uids: user ids that exist here, as (first, how many); () for all.
        gids: the same of groups.
        root: what the kernel's own user and group, 0 and 0, are called here.
        features: socket options and rules that this kernel has and older ones lack.
        identity: how open file descriptions were told apart.
    """

    kernel: str = ""
    uid: int = 0
    gid: int = 0
    capabilities: tuple[str, ...] = ()
    is_init: bool = False
    uids: tuple[tuple[int, int], ...] = ()
    gids: tuple[tuple[int, int], ...] = ()
    root: tuple[int, int] = (0, 0)
    features: tuple[str, ...] = ()
    identity: str = ""


class Transcript(Struct, frozen=True, omit_defaults=True, gc=False):
    """What came of a case.

    Attributes:
        answers: one for each step.
        subject: the endpoint that the implementation under test held; the reference
            held the other.
        environment: who performed, and on what.
        leaked: descriptors that the case sent, and pidfds, still open after it all.
        lost: descriptors of the harness that are closed or replaced after it all.
        grown: other descriptors that are open after it all and were not before.
        growth: the least that :attr:`grown` was when the case was repeated; 0 if it was
            not, or once was not.
        closing: the exception that ``close()`` raised, if it did.
        output: what was written to standard output meanwhile.
    """

    answers: tuple[Answer, ...]
    subject: str = ""
    environment: Environment = Environment()
    leaked: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    grown: int = 0
    growth: int = 0
    closing: str = ""
    output: str = ""
