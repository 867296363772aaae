"""Invariants of what goes over sockets, from FD to STATE.

Each compares what a step was answered with what the model accepts of it; that a
difference may be excused has been settled before (``tolerances``).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from ancfuzz.case import (
    NamedCredentials,
    NamedPidfd,
    NamedRights,
    PlainMessage,
    Receive,
    Send,
    SendAll,
    SendRaw,
)
from ancfuzz.invariants.registry import View, invariant, listed
from ancfuzz.names import OTHER, PHANTOM
from ancfuzz.transcript import Answer, Failed, Got, Raised, Refusal, Sent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ancfuzz.case import Message

_UNIX7 = "unix(7)"
_BRIEF = 40  # hex digits of a payload that a sentence can hold
_T = TypeVar("_T")


def _both(view: View, kind: type[_T]) -> tuple[_T, _T] | None:
    """Accepted and observed, if both are answers of this kind."""
    if isinstance(view.accepted, kind) and isinstance(view.observed, kind):
        return view.accepted, view.observed
    return None


def _names(messages: Iterable[Message]) -> list[str]:
    return [
        name
        for message in messages
        if isinstance(message, NamedRights)
        for name in message.names()
    ]


@invariant("FD.count", Receive, SendAll, source=f"{_UNIX7} SCM_RIGHTS, scm_detach_fds")
def _count(view: View) -> str | None:
    """As many descriptors arrive as the kernel delivers."""
    if not (got := _both(view, Got)):
        return None
    expected, arrived = _names(got[0].messages), _names(got[1].messages)
    if len(expected) == len(arrived):
        return None
    return f"{len(arrived)} descriptors arrived, {len(expected)} were delivered"


@invariant("FD.identity", Receive, SendAll, source=f"{_UNIX7} SCM_RIGHTS")
def _identity(view: View) -> str | None:
    """Each descriptor is the open file description that was sent in its place."""
    if not (got := _both(view, Got)):
        return None
    expected, arrived = _names(got[0].messages), _names(got[1].messages)
    if len(expected) != len(arrived) or expected == arrived:
        return None
    if _invented(arrived) and not _invented(expected):
        return None
    return f"expected {listed(expected)} in this order; arrived {listed(arrived)}"


def _invented(names: list[str]) -> list[str]:
    return [name for name in names if name in (PHANTOM, OTHER)]


@invariant("FD.phantom", Receive, SendAll, source=f"{_UNIX7} SCM_RIGHTS")
def _phantom(view: View) -> str | None:
    """No descriptor is reported that this receive did not install."""
    if not (got := _both(view, Got)):
        return None
    invented = _invented(_names(got[1].messages))
    if len(invented) <= len(_invented(_names(got[0].messages))):
        return None
    return f"{len(invented)} reported descriptors were not installed by this receive"


@invariant("FD.unreported", Receive, SendAll, source="scm_detach_fds, scm_pidfd_recv")
def _unreported(view: View) -> str | None:
    """No descriptor is installed and not reported."""
    if not (got := _both(view, Got)):
        return None
    hidden = list(got[1].facts.unreported)
    return f"installed and not reported: {listed(hidden)}" if hidden else None


@invariant(
    "CLOEXEC.received",
    Receive,
    SendAll,
    source="recvmsg(2) MSG_CMSG_CLOEXEC; the promise",
    reach="policy",
)
def _close_on_exec(view: View) -> str | None:
    """Received descriptors are close-on-exec, as promised."""
    if not (got := _both(view, Got)):
        return None
    inheritable = list(got[1].facts.inheritable)
    if not inheritable or got[0].facts.inheritable:
        return None
    return f"not close-on-exec: {listed(inheritable)}"


@invariant("TRUNC.flag", Receive, SendAll, source="recvmsg(2) MSG_CTRUNC, put_cmsg")
def _truncated(view: View) -> str | None:
    """``truncated`` is the kernel's MSG_CTRUNC."""
    if not (got := _both(view, Got)) or got[0].truncated == got[1].truncated:
        return None
    if got[0].truncated:
        return "control data was lost (MSG_CTRUNC) and the receive does not say so"
    return "the receive says that control data was lost, and none was"


@invariant("TRUNC.flags", Receive, source="recvmsg(2) msg_flags")
def _flags(view: View) -> str | None:
    """``flags`` are the kernel's msg_flags."""
    if not (got := _both(view, Got)) or got[1].flags is None or got[0].flags is None:
        return None
    expected, shown = sorted(got[0].flags), sorted(got[1].flags)
    if expected == shown:
        return None
    return f"msg_flags: expected {listed(expected)}; shown {listed(shown)}"


@invariant("LEN.controllen", Receive, source="recvmsg(2) msg_controllen, put_cmsg")
def _controllen(view: View) -> str | None:
    """``control_length`` is the kernel's msg_controllen."""
    if not (got := _both(view, Got)) or got[1].control_length is None:
        return None
    if got[0].control_length == got[1].control_length:
        return None
    return (
        f"msg_controllen: expected {got[0].control_length}, "
        f"shown {got[1].control_length}"
    )


@invariant("CRED.value", Receive, SendAll, source=f"{_UNIX7} SCM_CREDENTIALS")
def _credentials(view: View) -> str | None:
    """Credentials are those of the sender, and come when they are asked for."""
    if not (got := _both(view, Got)):
        return None
    expected = [m for m in got[0].messages if isinstance(m, NamedCredentials)]
    arrived = [m for m in got[1].messages if isinstance(m, NamedCredentials)]
    if expected == arrived:
        return None
    return f"expected {_ids(expected)}; arrived {_ids(arrived)}"


def _ids(messages: list[NamedCredentials]) -> str:
    return (
        "; ".join(f"pid {m.pid} uid {m.uid} gid {m.gid}" for m in messages)
        or "no credentials"
    )


@invariant("ROUND.message", Receive, SendAll, source="recvmsg(2), cmsg(3)")
def _other_messages(view: View) -> str | None:
    """Messages of other types arrive as the kernel wrote them."""
    if not (got := _both(view, Got)):
        return None
    expected, arrived = (Counter(_others(one.messages)) for one in got)
    if expected == arrived:
        return None
    missing, extra = listed(expected - arrived), listed(arrived - expected)
    return f"missing: {missing}; unexpected: {extra}"


def _others(messages: Iterable[Message]) -> Iterator[str]:
    """What is neither a descriptor nor credentials, in words."""
    for message in messages:
        match message:
            case PlainMessage():
                data = message.data or "empty"
                yield f"level {message.level} type {message.type} data {data}"
            case NamedPidfd(of):
                yield f"a pidfd ({of})"
            case NamedRights(descriptors) if not descriptors:
                yield "an SCM_RIGHTS of no descriptors"
            case NamedRights(_, stray) if stray:
                yield f"{len(stray) // 2} bytes behind the last descriptor"
            case _:
                pass


@invariant("ORDER.messages", Receive, SendAll, source="scm_recv_unix")
def _order(view: View) -> str | None:
    """Messages come in the order in which they lie in the buffer."""
    if not (got := _both(view, Got)):
        return None
    expected, arrived = ([type(m).__name__ for m in one.messages] for one in got)
    if expected == arrived or sorted(expected) != sorted(arrived):
        return None
    return f"expected {', '.join(expected)}; arrived {', '.join(arrived)}"


@invariant("BOUND.data", Receive, SendAll, source=f"{_UNIX7}, unix_stream_read_generic")
def _data(view: View) -> str | None:
    """The payload is what lies between the boundaries that the kernel keeps."""
    if not (got := _both(view, Got)) or got[0].data == got[1].data:
        return None
    if _follows_peek(view):
        return None  # PEEK.keeps says it better
    return f"expected data {_brief(got[0].data)}; got {_brief(got[1].data)}"


def _brief(payload: str) -> str:
    if not payload:
        return "empty"
    return payload if len(payload) <= _BRIEF else f"{payload[:_BRIEF]}..."


@invariant("BOUND.count", Send, SendRaw, source="sendmsg(2)")
def _sent(view: View) -> str | None:
    """A send says how many bytes the kernel took."""
    if not (sent := _both(view, Sent)) or sent[0].count == sent[1].count:
        return None
    return f"{sent[0].count} bytes were taken; the send says {sent[1].count}"


def _follows_peek(view: View) -> bool:
    """Whether the receive before this one, at the same end, was a peek."""
    step = view.step
    for earlier in reversed(view.case.steps[: view.index]):
        if isinstance(earlier, Receive) and isinstance(step, Receive):
            return earlier.at == step.at and "MSG_PEEK" in earlier.flags
    return False


@invariant("PEEK.keeps", Receive, source="recv(2) MSG_PEEK")
def _peek(view: View) -> str | None:
    """What was peeked at is still there afterwards."""
    if not _follows_peek(view) or not isinstance(view.accepted, Got):
        return None
    if isinstance(view.observed, Failed):
        return f"after a peek the receive fails with {view.observed.errno}"
    if isinstance(view.observed, Got) and view.accepted.data != view.observed.data:
        return "after a peek the receive does not bring the same bytes"
    return None


_ANSWERED = (Sent, Got, Failed)


@invariant(
    "ERR.errno", Send, SendAll, SendRaw, Receive, source="sendmsg(2), recvmsg(2)"
)
def _errno(view: View) -> str | None:
    """Success is success, and a failure carries the system call's errno."""
    accepted, observed = view.accepted, view.observed
    if not (isinstance(accepted, _ANSWERED) and isinstance(observed, _ANSWERED)):
        return None
    if _outcome(accepted) == _outcome(observed):
        return None
    return f"expected {_outcome(accepted)}; got {_outcome(observed)}"


def _outcome(answer: Answer) -> str:
    return answer.errno if isinstance(answer, Failed) else "success"


@invariant("STATE.held", Receive, source="recvmsg(2): a failed call writes nothing")
def _held(view: View) -> str | None:
    """After a failed receive nothing is left to hand out."""
    if not isinstance(view.observed, Failed | Refusal | Raised):
        return None
    held = view.observed.facts.held
    if not held:
        return None
    return f"after a failed receive it still holds {len(held)} messages"
