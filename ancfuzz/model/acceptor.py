"""A case and a transcript in, the accepted transcript out.

Step by step the acceptor asks the model's state what comes of a step, shows that answer
to the tolerances (what an implementation may do otherwise, see ``tolerances``), and
writes down what it accepts.  It judges nothing: two transcripts side by side are what
the invariants look at.

It stops having an opinion where it must: behind a step that the implementation cannot
say or this kernel cannot do, and where a case passes a number that stands for itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

from msgspec import Struct
from msgspec.structs import replace

from ancfuzz import tolerances
from ancfuzz.abi import NATIVE, Abi
from ancfuzz.case import (
    Case,
    Close,
    Decode,
    Encode,
    EncodeInto,
    NamedRights,
    Open,
    Receive,
    Send,
    SendAll,
    SendRaw,
    SetOption,
    Shutdown,
    Step,
    Table,
    payload_bytes,
    payload_text,
)
from ancfuzz.codec import ControlMessage, decode, encode
from ancfuzz.errors import MalformedControl
from ancfuzz.implementation import Promise
from ancfuzz.model.endpoints import Endpoint, Reader, pair
from ancfuzz.model.rules import LINUX, Decide, Rule, RuleSet
from ancfuzz.model.sending import Names, Parcel, parse
from ancfuzz.names import description_of, endpoint_name
from ancfuzz.naming import sent_names
from ancfuzz.transcript import (
    Answer,
    Decoded,
    Done,
    Encoded,
    EncodedInto,
    Failed,
    Got,
    Malformation,
    NotPerformed,
    Raised,
    Refusal,
    Sent,
    Transcript,
    Untold,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ancfuzz.case import PlainMessage

__all__ = ["Acceptance", "accept"]

_PLENTY = 1 << 16  # a control capacity at which nothing is ever cut
_NEARLY_FULL_BYTES = 64 << 10  # a send may block when this much is queued, not before
_NEARLY_FULL_MESSAGES = 100
_NO_POLICY = Promise()
_IN_FLIGHT = (
    "this user has more descriptors in flight than RLIMIT_NOFILE (ETOOMANYREFS): start "
    "with a higher one, see `ulimit -n`"
)
_UNSUCCESSFUL = (Failed, Refusal, Raised)


class Acceptance(Struct, frozen=True, gc=False):
    """What the model makes of a transcript.

    Attributes:
        transcript: what it accepts, as far as it has an opinion.
        unknown: why it has none of the steps behind, if it has none.
        rules: ids of the rules that decided, each as often as it did.
    """

    transcript: Transcript
    unknown: str
    rules: tuple[str, ...]


def accept(
    case: Case,
    observed: Transcript,
    *,
    promise: Promise | None = None,
    abi: Abi = NATIVE,
    rules: dict[str, Rule] = LINUX,
) -> Acceptance:
    """Say what ought to have been answered.

    Args:
        case: what was performed.
        observed: what was answered; where Linux leaves something open, it decides.
        promise: of the implementation that held ``observed.subject``.
        abi: its layout.
        rules: of the kernel that it ran on.
    """
    in_force = RuleSet(rules)
    acceptor = _Acceptor(case, observed, promise or _NO_POLICY, abi, in_force.decide)
    answers: list[Answer] = []
    for step, answer in zip(case.steps, observed.answers, strict=False):
        if isinstance(answer, NotPerformed):
            acceptor.unknown = answer.reason
            break
        accepted = acceptor.step(step, answer)
        if acceptor.unknown:
            break
        answers.append(answer if isinstance(answer, Untold) else accepted)
    # What a case leaves behind is nothing, and that is what the fields say by default.
    transcript = Transcript(tuple(answers), observed.subject, observed.environment)
    return Acceptance(transcript, acceptor.unknown, tuple(in_force.fired))


class _Acceptor:
    """The state that a case's steps share."""

    def __init__(
        self,
        case: Case,
        observed: Transcript,
        promise: Promise,
        abi: Abi,
        rule: Decide,
    ) -> None:
        self.unknown = ""
        self._environment = observed.environment
        self._subject = observed.subject
        self._promise = promise
        self._abi = abi
        self._rule = rule
        self._case = case
        self._names = Names(observed.environment, NATIVE)
        self._ends: dict[str, Endpoint] = {}
        self._free: int | None = None
        self._closing: set[str] = set()

    def step(self, step: Step, observed: Answer) -> Answer:
        """What is accepted of one step."""
        return _STEPS[type(step)](self, step, observed)

    def _promised(self, at: str) -> Promise:
        return self._promise if at == self._subject else _NO_POLICY

    def _interrupted(self, observed: Answer, at: str) -> TypeGuard[Failed]:
        """Surfacing EINTR is right: then nothing was sent, and nothing was taken."""
        return (
            at == self._subject
            and isinstance(observed, Failed)
            and observed.errno == "EINTR"
        )

    # -- sockets ----------------------------------------------------------------

    def open(self, step: Open, _: Answer) -> Answer:
        """Two ends, nothing set, nothing sent."""
        one, other = pair(step.kind)
        self._ends = {"a": one, "b": other}
        return _DONE

    def set_option(self, step: SetOption, _: Answer) -> Answer:
        """An option counts from the next message on."""
        self._ends[step.at].set_option(step.option, step.value)
        return _DONE

    def shape(self, step: Table, _: Answer) -> Answer:
        """How many numbers the next receives find free."""
        self._free = step.free
        return _DONE

    def shut(self, step: Shutdown, _: Answer) -> Answer:
        """``shutdown(2)``."""
        self._ends[step.at].shut(step.how)
        return _DONE

    def close(self, step: Close, _: Answer) -> Answer:
        """The number is closed; the socket behind it may live on in a queue."""
        if any(_is_duplicate_of(step.at, name) for name in sent_names(self._case)):
            self.unknown = "a closed endpoint of which there is a duplicate"
        self._names.close(endpoint_name(step.at))
        self._closing.add(step.at)
        self._close_what_can_be()
        return _DONE

    def _parcel(self, control: bytes) -> Parcel:
        parcel = parse(control, self._names, NATIVE, self._rule, self._environment)
        self.unknown = parcel.unknown
        return parcel

    def send(self, step: Send | SendRaw, observed: Answer) -> Answer:
        """One ``sendmsg``: refused, or queued at the other end."""
        end = self._ends[step.at]
        if isinstance(step, Send):
            control = self._names.control(step.messages)
            refused = tolerances.refused_send(
                step.messages, self._promised(step.at), observed
            )
            if refused or self._interrupted(observed, step.at):
                return observed
        else:
            control = self._names.raw(step.control)
        data = payload_bytes(step.data)
        parcel = self._parcel(control)
        queues = self._rule("S14", end.kind, len(data))
        if queues and self._may_exceed_in_flight(parcel, observed):
            self.unknown = _IN_FLIGHT
            return observed
        errno = end.send_errno(parcel, self._rule, queues=queues)
        if errno:
            return Failed(errno)
        if isinstance(observed, Failed) and observed.errno == "EAGAIN":
            if _nearly_full(end.peer):
                return observed
        elif isinstance(observed, Sent) and _may_be_short(end, observed, len(data)):
            data = data[: observed.count]
        if queues:
            end.enqueue(parcel, data, self._names.own, self._rule)
        return Sent(len(data))

    def _may_exceed_in_flight(self, parcel: Parcel, observed: Answer) -> bool:
        """Whether a send was refused for what is in flight, perhaps in other processes.

        All that a user has in flight counts against the sender's RLIMIT_NOFILE, and
        nobody can ask how much that is (``too_many_unix_fds`` in
        ``net/unix/af_unix.c``; the privileged have no such limit).  It is asked behind
        what is wrong with the control bytes, and before most of what is with the peer.
        """
        return (
            isinstance(observed, Failed)
            and observed.errno == "ETOOMANYREFS"
            and bool(parcel.rights)
            and not parcel.errno
            and "CAP_SYS_RESOURCE" not in self._environment.capabilities
        )

    def send_all(self, step: SendAll, observed: Answer) -> Answer:
        """What the reference received of it, all told."""
        parcel = self._parcel(self._names.control(step.messages))
        data = payload_bytes(step.data)
        end = self._ends[step.at]
        queues = self._rule("S14", end.kind, len(data))
        if queues and self._may_exceed_in_flight(parcel, observed):
            self.unknown = _IN_FLIGHT
        errno = end.send_errno(parcel, self._rule, queues=queues)
        if errno:
            return Failed(errno)
        rights = parcel.rights if self._rule("S19", 0) else ()
        messages = (NamedRights(rights),) if rights else ()
        return Got(data=payload_text(data), messages=messages)

    def receive(self, step: Receive, observed: Answer) -> Answer:
        """One ``recvmsg``."""
        if self._interrupted(observed, step.at):
            return replace(observed, facts=tolerances.stale(observed.facts))
        promise = self._promised(step.at)
        end = self._ends[step.at]
        own_choice = promise.capacity == "own"
        reader = Reader(
            end, step, self._rule, NATIVE, self._names.own, self._environment.root
        )
        accepted: Answer = reader.read(
            self._free, control_capacity=_PLENTY if own_choice else None
        )
        if isinstance(accepted, Got):
            accepted = tolerances.received(accepted, observed, promise)
        elif isinstance(observed, _UNSUCCESSFUL):
            accepted = replace(accepted, facts=tolerances.stale(observed.facts))
        if self._closing:
            self._close_what_can_be()
        return accepted

    def _close_what_can_be(self) -> None:
        """Close endpoints whose number is closed, unless they are still in flight.

        What is in flight is open (unix(7)); it closes when it is received, and the
        performer closes what it receives at once.  In flight to itself alone it waits
        for the collector of cycles, and nobody knows how long (R18).
        """
        for at in sorted(self._closing):
            holders = [
                name
                for name, end in self._ends.items()
                if not end.closed
                and any(endpoint_name(at) in queued.rights for queued in end.queue)
            ]
            if holders == [at]:
                self.unknown = "when a closed cycle of sockets is collected"
            elif not holders:
                self._closing.remove(at)
                self._ends[at].close()
                if any(end.is_unsure and not end.closed for end in self._ends.values()):
                    self.unknown = "whether unread packets of no bytes reset a peer"
                self._close_what_can_be()
                return

    # -- the codec --------------------------------------------------------------

    def encode(self, step: Encode, observed: Answer) -> Answer:
        """Bytes, or that they do not fit."""
        messages = _plain(step.messages)
        control = encode(messages, self._abi)
        expected = Encoded(control.hex() if len(control) <= step.capacity else None)
        return tolerances.encoded(
            expected, observed, messages, step.capacity, self._abi
        )

    def encode_into(self, step: EncodeInto, observed: Answer) -> Answer:
        """The same in a buffer, which is as it was if they do not fit."""
        messages = _plain(step.messages)
        control = encode(messages, self._abi)
        before = bytes([step.fill]) * step.capacity
        if len(control) > step.capacity:
            expected = EncodedInto(None, before.hex())
        else:
            after = control + before[len(control) :]
            expected = EncodedInto(len(control), after.hex())
        return tolerances.encoded_into(expected, observed, messages, step, self._abi)

    def decode(self, step: Decode, observed: Answer) -> Answer:
        """Messages, or where the bytes are malformed."""
        control = bytes.fromhex(step.control)
        expected = expected_decoding(control, self._abi)
        return tolerances.decoded(expected, observed, control, self._abi)


_STEPS: dict[type[Step], Callable[[_Acceptor, Any, Answer], Answer]] = {
    Open: _Acceptor.open,
    SetOption: _Acceptor.set_option,
    Send: _Acceptor.send,
    SendAll: _Acceptor.send_all,
    SendRaw: _Acceptor.send,
    Receive: _Acceptor.receive,
    Table: _Acceptor.shape,
    Shutdown: _Acceptor.shut,
    Close: _Acceptor.close,
    Encode: _Acceptor.encode,
    EncodeInto: _Acceptor.encode_into,
    Decode: _Acceptor.decode,
}
_DONE = Done()


def expected_decoding(control: bytes, abi: Abi) -> Decoded:
    """What :func:`ancfuzz.decode` makes of the bytes, as an answer."""
    try:
        messages = decode(control, abi)
    except MalformedControl as error:
        malformed = Malformation(error.offset, error.needed, error.available)
        return Decoded(malformed=malformed)
    return Decoded(tolerances.plain_messages(messages))


def _plain(messages: Iterable[PlainMessage]) -> list[ControlMessage]:
    return [
        ControlMessage(message.level, message.type, bytes.fromhex(message.data))
        for message in messages
    ]


def _may_be_short(end: Endpoint, observed: Sent, size: int) -> bool:
    """How much of a large write a stream takes is the kernel's own business (S19)."""
    return end.kind == "stream" and (
        0 < observed.count < size and size > _NEARLY_FULL_BYTES // 2
    )


def _is_duplicate_of(endpoint: str, name: str) -> bool:
    return name != (own := endpoint_name(endpoint)) and description_of(name) == own


def _nearly_full(end: Endpoint | None) -> bool:
    return end is not None and (
        len(end.queue) >= _NEARLY_FULL_MESSAGES
        or sum(len(queued.data) for queued in end.queue) >= _NEARLY_FULL_BYTES
    )
