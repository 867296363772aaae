"""The rules of Linux, one function each.

A rule decides one thing from plain numbers; ``sending``, ``receiving`` and ``sockets``
only bring the numbers.  So a rule can be read on its own, cited from a finding, counted
when it decides, replaced by a deliberately wrong one to see whether anybody notices,
and differ between kernels as a row of a table and not as a branch.

The ids are those of ARCHITECTURE.md's list: S for what ``sendmsg`` does with a control
buffer, C for when credentials are attached, R for what ``recvmsg`` puts in one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ancfuzz.naming import OVERFLOW_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["LINUX", "RULES", "Decide", "Rule", "RuleSet"]

Decide: TypeAlias = "Callable[..., Any]"
"""Lets a rule decide: takes its id, and the values that the rule takes."""


class Rule(NamedTuple):
    """One rule.

    Attributes:
        id: as findings and reports cite it.
        text: what it says, in one sentence.
        source: the kernel function or manual page that says so.
        decide: the rule as a function of plain values.
    """

    id: str
    text: str
    source: str
    decide: Callable[..., Any]


RULES: dict[str, Rule] = {}


def _rule(
    id_: str, text: str, source: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(decide: Callable[..., Any]) -> Callable[..., Any]:
        RULES[id_] = Rule(id_, text, source, decide)
        return decide

    return register


SCM_MAX_FD = 253  # include/net/scm.h
_SIZEOF_UCRED = 12
_INVALID_ID = 0xFFFFFFFF

_SCM = "net/core/scm.c"
_UNIX = "net/unix/af_unix.c"


@_rule("S01", "Control shorter than a header is ignored.", "CMSG_FIRSTHDR")
def _is_considered(control: int, header: int) -> bool:
    return control >= header


@_rule("S02", "cmsg_len below a header is EINVAL.", f"{_SCM} CMSG_OK")
def _is_too_short(length: int, header: int) -> bool:
    return length < header


@_rule("S04", "Stray bytes behind the last whole int are ignored.", "scm_fp_copy")
def _whole_descriptors(payload: int) -> int:
    return payload // 4


@_rule("S05", "cmsg_len beyond the bytes left is EINVAL.", f"{_SCM} CMSG_OK")
def _is_too_long(length: int, left: int) -> bool:
    return length > left


@_rule("S06", "More than 253 descriptors in one sendmsg are EINVAL.", "SCM_MAX_FD")
def _are_too_many(descriptors: int) -> bool:
    return descriptors > SCM_MAX_FD


@_rule("S07", "A number that is not open is EBADF.", "scm_fp_copy")
def _bad_descriptor_errno() -> str:
    return "EBADF"


@_rule("S10", "SCM_CREDENTIALS holds exactly a struct ucred.", "__scm_send")
def _is_a_ucred(payload: int) -> bool:
    return payload == _SIZEOF_UCRED


@_rule("S10p", "Who one may claim to be: EINVAL, EPERM, ESRCH.", "scm_check_creds")
def _may_claim(
    claimed: tuple[int, int, int],
    own: tuple[int, int, int],
    capabilities: tuple[str, ...],
    *,
    ids_exist: bool,
    pid_exists: bool | None,
) -> str | None:
    pid, uid, gid = claimed
    if _INVALID_ID in (uid, gid) or not ids_exist:
        return "EINVAL"
    if not (
        (pid == own[0] or "CAP_SYS_ADMIN" in capabilities)
        and (uid == own[1] or "CAP_SETUID" in capabilities)
        and (gid == own[2] or "CAP_SETGID" in capabilities)
    ):
        return "EPERM"
    return "ESRCH" if pid_exists is False else None


@_rule("S11", "A SOL_SOCKET type that is not sendable is EINVAL.", "__scm_send")
def _is_sendable(type_: int) -> bool:
    return type_ in (1, 2)


@_rule("S12", "Fewer bytes than a header behind the last one are ignored.", "socket.h")
def _is_another_header(left: int, header: int) -> bool:
    return left >= header


@_rule("S14", "An empty payload on a stream sends nothing.", "unix_stream_sendmsg")
def _is_queued(kind: str, size: int) -> bool:
    return kind != "stream" or size > 0


@_rule("S17", "A peer that cannot receive: EPIPE, ECONNREFUSED, ENOTCONN.", _UNIX)
def _no_peer_errno(kind: str, *, first: bool) -> str:
    if kind != "dgram":
        return "EPIPE"
    return "ECONNREFUSED" if first else "ENOTCONN"


@_rule("S19", "Descriptors go with the first byte of the message.", _UNIX)
def _carries_rights(part: int) -> bool:
    return part == 0


@_rule("S22", "A receiver with SO_PASSRIGHTS off: EPERM for the sender.", _UNIX)
def _rights_errno(descriptors: int, *, passrights: bool) -> str | None:
    return "EPERM" if descriptors and not passrights else None


@_rule("C1", "Whose credentials a message gets, and when.", "unix_maybe_add_creds")
def _attached_credentials(
    explicit: tuple[int, int, int] | None,
    own: tuple[int, int, int],
    *,
    asked: bool,
) -> tuple[int, int, int] | None:
    return explicit or (own if asked else None)


@_rule("C2", "A message without credentials reads as the overflow ids.", "scm_recv")
def _shown_credentials(stored: tuple[int, int, int] | None) -> tuple[int, int, int]:
    return stored or (0, OVERFLOW_ID, OVERFLOW_ID)


@_rule("C3", "The end of a stream reads as {0, 0, 0}.", "unix_stream_read_generic")
def _end_credentials(uid: int, gid: int) -> tuple[int, int, int]:
    return (0, uid, gid)  # the kernel's root, in the words of the receiver's namespace


@_rule("R1", "Timestamp, credentials, rights, pidfd, queue length.", "scm_recv_unix")
def _order() -> tuple[str, ...]:
    return ("timestamp", "credentials", "rights", "pidfd", "inq")


@_rule("R2", "A message that does not fit is cut, and MSG_CTRUNC.", "put_cmsg")
def _cut(payload: int, left: int, header: int) -> int | None:
    if left < header:
        return None
    return min(payload, left - header)


@_rule("R3", "As many descriptors as whole ints fit.", "scm_detach_fds")
def _room_for_descriptors(left: int, header: int) -> int:
    return (left - header) // 4 if left > header else 0


@_rule("R4", "A pidfd whole or not at all; no room is MSG_CTRUNC.", "scm_pidfd_recv")
def _pidfd_fits(left: int, header: int) -> bool:
    return left >= header + 4


@_rule("R5", "msg_controllen is the bytes advanced over.", "put_cmsg")
def _advance(space: int, left: int) -> int:
    return min(space, left)


@_rule("R6", "No control buffer: MSG_CTRUNC if there was anything.", "scm_recv_common")
def _null_is_truncated(descriptors: int, *, credentials: bool, pidfd: bool) -> bool:
    return descriptors > 0 or credentials or pidfd


@_rule("R8", "A full descriptor table delivers what fits.", "scm_detach_fds")
def _free_slots(wanted: int, free: int | None) -> int:
    return wanted if free is None else min(wanted, free)


@_rule("R9", "MSG_CMSG_CLOEXEC is echoed in msg_flags.", "____sys_recvmsg")
def _echoed_flags(flags: tuple[str, ...]) -> tuple[str, ...]:
    return ("MSG_CMSG_CLOEXEC",) if "MSG_CMSG_CLOEXEC" in flags else ()


@_rule("R11", "A packet longer than the buffer is cut, and MSG_TRUNC.", _UNIX)
def _is_packet_cut(size: int, capacity: int) -> bool:
    return size > capacity


@_rule("R12", "A stream read stops behind bytes that carried rights.", _UNIX)
def _stops_behind(*, carried_rights: bool, rest: int) -> bool:
    return carried_rights or rest > 0


@_rule("R13", "A stream read stops before another sender's bytes.", "unix_skb_scm_eq")
def _stops_before(stored: object, first: object, *, check: bool) -> bool:
    return check and stored != first


@_rule("R14", "A stream read of no bytes takes the rights.", _UNIX)
def _takes_rights() -> bool:
    return True


@_rule("R15", "A stream peek does not mind its size between messages.", _UNIX)
def _goes_on(*, peek: bool, room: int) -> bool:
    return peek or room > 0


@_rule("R17", "Timestamps on packets only, never on a stream.", "__sock_recv_timestamp")
def _has_timestamp(kind: str) -> bool:
    return kind != "stream"


class RuleSet:
    """Rules in force, and which of them decided.

    Attributes:
        fired: the id of each that decided, in order, as often as it did.
    """

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._rules = rules
        self.fired: list[str] = []

    def decide(self, id_: str, *values: Any, **named: Any) -> Any:
        """Let rule ``id_`` decide, and note that it did."""
        self.fired.append(id_)
        return self._rules[id_].decide(*values, **named)


LINUX: dict[str, Rule] = RULES
"""The native kernel's rules; another kernel is this with rows replaced."""
