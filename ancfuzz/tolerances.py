"""What an implementation may do otherwise and still be right.

Each function takes what the model expects and what was observed, and returns what is
accepted: the expectation, changed towards the observation where the difference is one
of the freedoms that an API has.  Leniency lives here and nowhere else, so that the
invariants can be strict.

The freedoms:

* encode: several SCM_RIGHTS merged into one, none for an empty one, the last message
  not padded;
* decode: on malformed bytes, stopping with what came before; no empty SCM_RIGHTS;
* receive: of a message that the kernel cut, leaving it out; hiding the credentials
  {0, 0, 0} at the end of a stream; leaving out a pidfd that is an errno; and what the
  promise says (rights only, inheritable descriptors, its own capacity, refusing
  truncation, a largest number of descriptors).

This room knows answers and layouts.  It must not know the state of any socket.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ancfuzz.abi import NATIVE, Abi
from ancfuzz.case import NamedCredentials, NamedPidfd, NamedRights, PlainMessage
from ancfuzz.codec import ControlMessage, encode, walk
from ancfuzz.transcript import (
    Answer,
    Decoded,
    Encoded,
    EncodedInto,
    Facts,
    Failed,
    Got,
    Refusal,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ancfuzz.case import EncodeInto, Flag, Message
    from ancfuzz.implementation import Promise

__all__ = [
    "allowed_encodings",
    "decoded",
    "encoded",
    "encoded_into",
    "plain_messages",
    "received",
    "refused_send",
    "stale",
]

_ZERO = NamedCredentials(pid=0, uid=0, gid=0)


# -- encode -------------------------------------------------------------------------


def _is_rights(message: ControlMessage, abi: Abi) -> bool:
    constants = abi.constants
    return message.level == constants.get(
        "SOL_SOCKET"
    ) and message.type == constants.get("SCM_RIGHTS")


def _without_empty(
    messages: Iterable[ControlMessage], abi: Abi
) -> list[ControlMessage]:
    return [m for m in messages if m.data or not _is_rights(m, abi)]


def _merged(messages: list[ControlMessage], abi: Abi) -> list[ControlMessage]:
    """Every SCM_RIGHTS in the place of the first, descriptors in order."""
    rights = [m for m in messages if _is_rights(m, abi)]
    if not rights or any(len(m.data) % 4 for m in rights):
        return messages
    one = replace(rights[0], data=b"".join(m.data for m in rights))
    first = messages.index(rights[0])
    return [
        one if index == first else m
        for index, m in enumerate(messages)
        if index == first or not _is_rights(m, abi)
    ]


def allowed_encodings(messages: list[ControlMessage], abi: Abi) -> Iterator[bytes]:
    """Every encoding of the messages that is right, the canonical one first."""
    seen: set[bytes] = set()
    for chosen in (
        messages,
        _without_empty(messages, abi),
        _merged(messages, abi),
        _merged(_without_empty(messages, abi), abi),
    ):
        whole = encode(chosen, abi)
        last = len(chosen[-1].data) if chosen else 0
        unpadded = whole[: len(whole) - (abi.align(last) - last)]
        for control in (whole, unpadded):
            if control not in seen:
                seen.add(control)
                yield control


def encoded(
    expected: Encoded,
    observed: Answer,
    messages: list[ControlMessage],
    capacity: int,
    abi: Abi,
) -> Encoded:
    """Accept any right encoding that fits."""
    if not isinstance(observed, Encoded) or observed == expected:
        return expected
    if observed.control is None:
        return expected
    control = bytes.fromhex(observed.control)
    if len(control) <= capacity and control in allowed_encodings(messages, abi):
        return observed
    return expected


def encoded_into(
    expected: EncodedInto,
    observed: Answer,
    messages: list[ControlMessage],
    step: EncodeInto,
    abi: Abi,
) -> EncodedInto:
    """The same in a buffer, whose unused rest may hold anything after a success."""
    if not isinstance(observed, EncodedInto) or observed.count is None:
        return expected
    buffer = bytes.fromhex(observed.buffer)
    used = buffer[: observed.count]
    if observed.count <= step.capacity == len(buffer) and used in allowed_encodings(
        messages, abi
    ):
        return replace(observed, outside=False)
    return expected


# -- decode -------------------------------------------------------------------------


def plain_messages(messages: Iterable[ControlMessage]) -> tuple[PlainMessage, ...]:
    """Control messages as answers write them."""
    return tuple(PlainMessage(m.level, m.type, m.data.hex()) for m in messages)


def _before_the_break(control: bytes, abi: Abi) -> tuple[PlainMessage, ...]:
    """The messages that lie whole before the first header that cannot be true."""
    header = abi.header
    messages: list[PlainMessage] = []
    for span in walk(control, abi):
        if span.kind == "header":
            _, level, type_ = header.unpack_from(control, span.start)
            messages.append(PlainMessage(level, type_))
        elif span.kind == "data":
            data = control[span.start : span.stop].hex()
            messages[-1] = replace(messages[-1], data=data)
    return tuple(messages)


def _nonempty(messages: tuple[PlainMessage, ...], abi: Abi) -> list[PlainMessage]:
    constants = abi.constants
    rights = (constants.get("SOL_SOCKET"), constants.get("SCM_RIGHTS"))
    return [m for m in messages if m.data or (m.level, m.type) != rights]


def decoded(expected: Decoded, observed: Answer, control: bytes, abi: Abi) -> Decoded:
    """Accept stopping at a break, and leaving an empty SCM_RIGHTS out."""
    if not isinstance(observed, Decoded):
        return expected
    if expected.malformed is None:
        same = observed.malformed is None and _nonempty(
            observed.messages, abi
        ) == _nonempty(expected.messages, abi)
        return observed if same else expected
    if observed.malformed is not None:
        # Where it breaks is a fact; how many bytes an API thinks it wanted is its own.
        same = observed.malformed.offset == expected.malformed.offset
        return observed if same else expected
    before = _before_the_break(control, abi)
    same = _nonempty(observed.messages, abi) == _nonempty(before, abi)
    return observed if same else expected


# -- sockets ------------------------------------------------------------------------


def refused_send(
    messages: Iterable[Message], promise: Promise, observed: Answer
) -> bool:
    """Whether a send is declined in a way that the promise allows."""
    if isinstance(observed, Refusal):
        return True
    most = promise.max_descriptors
    return (
        most is not None
        and isinstance(observed, Failed)
        and len(_rights(messages)) > most
    )


def stale(facts: Facts) -> Facts:
    """What is accepted of a failed receive: nothing held, nothing installed."""
    return Facts(held=None if facts.held is None else ())


def received(expected: Got, observed: Answer, promise: Promise) -> Answer:
    """Accept what an API may show, hide or refuse of one receive."""
    if isinstance(observed, Refusal):
        return replace(observed, facts=stale(observed.facts))
    if isinstance(observed, Failed):
        refuses = promise.on_truncation == "refuse" and expected.truncated
        return Failed(observed.errno, stale(observed.facts)) if refuses else expected
    if not isinstance(observed, Got) or observed == expected:
        return expected
    expected = _own_capacity(expected, observed, promise)
    messages = _shown(expected, observed, promise)
    flags: tuple[Flag, ...] | None = expected.flags
    length = expected.control_length
    if promise.capacity == "own":
        # How large its buffer is nobody knows; whether it was too small is known.
        length = observed.control_length
        if expected.truncated and flags is not None and "MSG_CTRUNC" not in flags:
            flags = ("MSG_CTRUNC", *flags)
    if observed.flags is None:
        flags = None
    elif flags is not None and "MSG_CMSG_CLOEXEC" not in observed.flags:
        flags = tuple(flag for flag in flags if flag != "MSG_CMSG_CLOEXEC")
    return Got(
        data=expected.data,
        messages=messages,
        truncated=expected.truncated,
        flags=flags,
        control_length=None if observed.control_length is None else length,
        facts=Facts(
            inheritable=() if promise.close_on_exec else observed.facts.inheritable,
            held=observed.facts.held,
        ),
    )


def _rights(messages: Iterable[Message]) -> tuple[str, ...]:
    return tuple(
        chain.from_iterable(m.names() for m in messages if isinstance(m, NamedRights))
    )


def _own_capacity(expected: Got, observed: Got, promise: Promise) -> Got:
    """An API with a buffer of its own may cut at any number above what it promised."""
    if promise.capacity == "caller":
        return expected
    sent, kept = _rights(expected.messages), _rights(observed.messages)
    most = len(sent) if promise.max_descriptors is None else promise.max_descriptors
    if len(kept) >= len(sent) or len(kept) < most:
        return expected
    cut = sent[: len(kept)]
    messages = tuple(
        NamedRights(cut) if isinstance(m, NamedRights) else m
        for m in expected.messages
        if cut or not isinstance(m, NamedRights)
    )
    return replace(expected, messages=messages, truncated=True)


def _shown(expected: Got, observed: Got, promise: Promise) -> tuple[Message, ...]:
    if _rights_apart(observed.messages) == _rights_apart(expected.messages):
        return observed.messages
    shown: list[Message] = []
    for message in expected.messages:
        same = _same_clock(message, observed)
        if same in observed.messages or not _may_hide(message, expected, promise):
            shown.append(same)
    return tuple(shown)


def _rights_apart(
    messages: tuple[Message, ...],
) -> tuple[tuple[str, ...], str, list[Message]]:
    """Descriptors, stray bytes, and the rest: however many SCM_RIGHTS it takes."""
    stray = "".join(m.stray for m in messages if isinstance(m, NamedRights))
    rest: list[Message] = [m for m in messages if not isinstance(m, NamedRights)]
    return _rights(messages), stray, rest


def _may_hide(message: Message, expected: Got, promise: Promise) -> bool:
    match message:
        case NamedRights():
            return False
        case NamedPidfd(of="none"):
            return True
        case NamedCredentials():
            at_end = not expected.data and message == _zero_like(message)
            return at_end or promise.reports == "rights"
        case PlainMessage():
            cut = expected.truncated and message is expected.messages[-1]
            return cut or promise.reports == "rights"
        case _:
            return promise.reports == "rights"


def _zero_like(message: NamedCredentials) -> NamedCredentials:
    """{0, 0, 0} in the words of a performer who may be root."""
    return NamedCredentials(
        pid=0,
        uid="self" if message.uid == "self" else 0,
        gid="self" if message.gid == "self" else 0,
    )


def _same_clock(message: Message, observed: Got) -> Message:
    """A timestamp says what the clock said: take the observed one of the same size."""
    constants = NATIVE.constants
    clocks = {constants.get("SCM_TIMESTAMP"), constants.get("SCM_TIMESTAMPNS")}
    if isinstance(message, PlainMessage) and message.type in clocks:
        for other in observed.messages:
            if (
                isinstance(other, PlainMessage)
                and other.type == message.type
                and len(other.data) == len(message.data)
            ):
                return other
    return message
