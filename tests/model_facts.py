"""What each rule of the model says, as a case that shows it on a kernel.

A row of :data:`FACTS` is a case, the answer that shows the rule, and what is true of
that answer.  ``test_model`` performs them.
"""

# What an answer shows is said in lambdas, which pyright does not infer.
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ancfuzz.abi import NATIVE
from ancfuzz.case import (
    Close,
    Flag,
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
    Step,
    Table,
)
from ancfuzz.host import environment
from ancfuzz.transcript import Answer, Failed, Got, Sent

if TYPE_CHECKING:
    from collections.abc import Callable

ONE = (NamedRights(("memfd",)),)
TWO = (NamedRights(("eventfd", "file")),)
HERE = environment()
PACKETS = ("dgram", "seqpacket")
KINDS = ("stream", *PACKETS)
OVERFLOW = NamedCredentials(0, 65534, 65534)
PEEK: tuple[Flag, ...] = ("MSG_PEEK",)
EINVAL, EBADF = Failed("EINVAL"), Failed("EBADF")


def header(length: int, level: int = 1, type_: int = 1) -> str:
    return struct.pack("@Nii", length, level, type_).hex()


def own(ids: NamedCredentials) -> NamedCredentials:
    """The same ids as a transcript of a performer with those ids words them."""
    return NamedCredentials(
        ids.pid,
        "self" if ids.uid == HERE.uid else ids.uid,
        "self" if ids.gid == HERE.gid else ids.gid,
    )


Shows: TypeAlias = "Callable[[Answer], bool]"


def got(shows: Callable[[Got], bool]) -> Shows:
    """What is shown by a receive that succeeds."""
    return lambda answer: isinstance(answer, Got) and shows(answer)


class Fact(NamedTuple):
    """What a rule says comes of a case.

    Attributes:
        rule: its id.
        steps: the case.
        at: the answer that shows it.
        shows: what is true of that answer.
    """

    rule: str
    steps: tuple[Step, ...]
    at: int
    shows: Shows


def names(answer: Got) -> list[str]:
    return [
        name
        for message in answer.messages
        if isinstance(message, NamedRights)
        for name in message.names()
    ]


def ids(answer: Got) -> list[NamedCredentials]:
    return [m for m in answer.messages if isinstance(m, NamedCredentials)]


def cut_bytes(answer: Got) -> int:
    """How many bytes of its only message arrived."""
    (message,) = answer.messages
    assert isinstance(message, PlainMessage)
    return len(message.data) // 2


def sent(count: int) -> Shows:
    return lambda answer: answer == Sent(count)


def fails(errno: str) -> Shows:
    return lambda answer: answer == Failed(errno)


def brings(data: str, *descriptors: str) -> Shows:
    return got(lambda it: (it.data, names(it)) == (data, list(descriptors)))


def exchange(
    messages: tuple[Any, ...], capacity: int, *before: Step, kind: Any = "stream"
) -> tuple[Step, ...]:
    return (Open(kind), *before, Send("a", "78", messages), Receive("b", 64, capacity))


PASSCRED = SetOption("b", "SO_PASSCRED")
PASSPIDFD = SetOption("b", "SO_PASSPIDFD")


def raw(control: str) -> tuple[Step, ...]:
    return (Open(), SendRaw("a", control), Receive("b", 64, 128))


LEN4 = NATIVE.cmsg_len(4)
H = NATIVE.header_size
MANY = NamedRights(("memfd*253",))

OFF = SetOption("b", "SO_PASSRIGHTS", 0)

FACTS = [
    Fact("S01", raw(header(LEN4)[:-2]), 1, sent(1)),
    Fact("S01", raw(header(LEN4)[:-2]), 2, brings("78")),
    Fact("S02", raw(header(H - 1)), 1, fails("EINVAL")),
    Fact("S02", raw(header(0, level=41)), 1, fails("EINVAL")),
    Fact("S02", raw(header(H)), 1, sent(1)),
    Fact("S04", raw(header(LEN4 + 3) + "{memfd}000000"), 2, brings("78", "memfd")),
    Fact("S04", raw(header(H + 3) + "000000"), 2, brings("78")),
    Fact("S05", raw(header(LEN4 + 1) + "{memfd}"), 1, fails("EINVAL")),
    Fact("S05", raw(header(2**63, level=41)), 1, fails("EINVAL")),
    Fact("S06", exchange((MANY,), 1100), 1, sent(1)),
    Fact("S06", exchange((NamedRights(("memfd*254",)),), 1100), 1, fails("EINVAL")),
    Fact("S06", exchange((MANY, NamedRights(())), 1100), 1, sent(1)),
    Fact("S06", exchange((MANY, *ONE), 1100), 1, fails("EINVAL")),
    Fact("S07", exchange((NamedRights(("memfd", "closed")),), 64), 1, fails("EBADF")),
    Fact("S07", exchange((NamedRights(("negative",)),), 64), 2, fails("EAGAIN")),
    Fact("S10", exchange((PlainMessage(1, 2, "00" * 11),), 64), 1, fails("EINVAL")),
    Fact("S10", exchange((NamedCredentials(),), 64), 1, sent(1)),
    Fact(
        "S10p",
        exchange((NamedCredentials("self", 0xFFFFFFFF),), 64),
        1,
        fails("EINVAL"),
    ),
    Fact(
        "S10p",
        exchange((NamedCredentials("none"),), 64),
        1,
        fails("ESRCH" if "CAP_SYS_ADMIN" in HERE.capabilities else "EPERM"),
    ),
    Fact("S11", exchange((PlainMessage(1, 3, "00000000"),), 64), 1, fails("EINVAL")),
    Fact("S11", exchange((PlainMessage(41, 3, "00000000"),), 64), 1, sent(1)),
    Fact("S11", exchange((PlainMessage(1, 4, "00" * 12),), 64), 1, fails("EINVAL")),
    Fact("S12", raw(header(LEN4) + "{memfd}" + "00" * 19), 2, brings("78", "memfd")),
    Fact("S12", raw(header(LEN4) + "{memfd}" + "00" * 20), 1, fails("EINVAL")),
    Fact("S14", (Open(), Send("a", "", ONE), Receive("b", 9, 64)), 1, sent(0)),
    Fact("S14", (Open(), Send("a", "", ONE), Receive("b", 9, 64)), 2, fails("EAGAIN")),
    Fact(
        "S14",
        (Open("dgram"), Send("a", "", ONE), Receive("b", 9, 64)),
        2,
        brings("", "memfd"),
    ),
    Fact("S17", (Open(), Close("b"), Send("a")), 2, fails("EPIPE")),
    Fact("S17", (Open("dgram"), Close("b"), Send("a")), 2, fails("ECONNREFUSED")),
    Fact(
        "S17", (Open("dgram"), Close("b"), Send("a"), Send("a")), 3, fails("ENOTCONN")
    ),
    Fact("S17", (Open(), Shutdown("b", "read"), Send("a")), 2, fails("EPIPE")),
    Fact(
        "S17",
        (Open(), Close("b"), Send("a", "78", (NamedRights(("closed",)),))),
        2,
        fails("EBADF"),
    ),
    Fact(
        "S19", (Open(), SendAll("a", "61*60000", ONE)), 1, brings("61*60000", "memfd")
    ),
    Fact("S22", exchange(ONE, 64, OFF), 2, fails("EPERM")),
    Fact("S22", exchange((NamedRights(()),), 64, OFF), 2, sent(1)),
    Fact("S22", exchange((NamedRights(("closed",)),), 64, OFF), 2, fails("EBADF")),
    Fact(
        "C1",
        exchange((), 64, PASSCRED),
        3,
        got(lambda it: ids(it) == [NamedCredentials()]),
    ),
    Fact("C1", exchange((), 64), 2, got(lambda it: ids(it) == [])),
    Fact(
        "C1",
        (Open(), Send("a", "78", (NamedCredentials(),)), PASSCRED, Receive("b", 9, 64)),
        3,
        got(lambda it: ids(it) == [NamedCredentials()]),
    ),
    Fact(
        "C2",
        (Open(), Send("a"), PASSCRED, Receive("b", 9, 64)),
        3,
        got(lambda it: ids(it) == [own(OVERFLOW)]),
    ),
    Fact(
        "C3",
        (Open(), PASSCRED, Close("a"), Receive("b", 9, 64)),
        3,
        got(lambda it: (it.data, ids(it)) == ("", [own(NamedCredentials(0, 0, 0))])),
    ),
    Fact(
        "C3",
        (Open("seqpacket"), PASSCRED, Close("a"), Receive("b", 9, 64)),
        3,
        got(lambda it: (it.data, it.messages) == ("", ())),
    ),
    Fact(
        "R1",
        exchange(
            ONE, 128, PASSCRED, PASSPIDFD, SetOption("b", "SO_TIMESTAMP"), kind="dgram"
        ),
        5,
        got(
            lambda it: (
                [type(m) for m in it.messages]
                == [PlainMessage, NamedCredentials, NamedRights, NamedPidfd]
            )
        ),
    ),
    Fact(
        "R2",
        exchange((), 15, PASSCRED),
        3,
        got(lambda it: it.truncated and not it.messages),
    ),
    Fact(
        "R2",
        exchange((), 20, PASSCRED),
        3,
        got(lambda it: it.truncated and cut_bytes(it) == 4),
    ),
    Fact(
        "R2",
        exchange((), 28, PASSCRED),
        3,
        got(lambda it: not it.truncated and ids(it) == [NamedCredentials()]),
    ),
    Fact("R3", exchange(ONE, 19), 2, got(lambda it: it.truncated and not it.messages)),
    Fact(
        "R3",
        exchange(ONE, 20),
        2,
        got(lambda it: not it.truncated and names(it) == ["memfd"]),
    ),
    Fact(
        "R3",
        exchange(TWO, NATIVE.cmsg_space(4)),
        2,
        got(lambda it: names(it) == ["eventfd", "file"] and not it.truncated),
    ),
    Fact(
        "R3",
        exchange(TWO, 23),
        2,
        got(lambda it: it.truncated and names(it) == ["eventfd"]),
    ),
    Fact(
        "R4",
        exchange((), 19, PASSPIDFD),
        3,
        got(lambda it: it.truncated and not it.messages),
    ),
    Fact(
        "R4",
        exchange((), 20, PASSPIDFD),
        3,
        got(lambda it: not it.truncated and it.messages == (NamedPidfd("self"),)),
    ),
    Fact(
        "R4",
        (Open(), Send("a"), PASSPIDFD, Receive("b", 9, 16)),
        3,
        got(lambda it: it.truncated and not it.messages),
    ),
    Fact("R5", exchange(ONE, 21), 2, got(lambda it: it.control_length == 21)),
    Fact("R5", exchange(ONE, 99), 2, got(lambda it: it.control_length == 24)),
    Fact(
        "R6",
        exchange(ONE, 0),
        2,
        got(lambda it: it.truncated and it.control_length == 0),
    ),
    Fact("R6", exchange((), 0), 2, got(lambda it: not it.truncated)),
    Fact("R6", exchange((), 0, PASSCRED), 3, got(lambda it: it.truncated)),
    Fact(
        "R8",
        (Open(), Send("a", "78", TWO), Table(free=1), Receive("b", 9, 64)),
        3,
        got(lambda it: it.truncated and names(it) == ["eventfd"]),
    ),
    Fact(
        "R8",
        (Open(), Send("a", "78", TWO), Table(free=0), Receive("b", 9, 64)),
        3,
        got(lambda it: it.truncated and not it.messages and it.data == "78"),
    ),
    Fact("R9", exchange(ONE, 64), 2, got(lambda it: it.flags == ("MSG_CMSG_CLOEXEC",))),
    Fact("R9", exchange(ONE, 64), 2, got(lambda it: it.facts.inheritable == ())),
    Fact(
        "R11",
        (Open("dgram"), Send("a", "6162", ONE), Receive("b", 1, 64)),
        2,
        got(lambda it: "MSG_TRUNC" in (it.flags or ()) and brings("61", "memfd")(it)),
    ),
    Fact(
        "R12",
        (
            Open(),
            Send("a", "6161"),
            Send("a", "62", ONE),
            Send("a", "63"),
            Receive("b", 9, 64),
        ),
        4,
        brings("616162", "memfd"),
    ),
    Fact(
        "R13",
        (
            Open(),
            Send("a", "61"),
            PASSCRED,
            Send("a", "62"),
            Receive("b", 9, 64),
            Receive("b", 9, 64),
        ),
        4,
        brings("61"),
    ),
    Fact(
        "R14",
        (Open(), Send("a", "61", ONE), Receive("b", 0, 64)),
        2,
        brings("", "memfd"),
    ),
    Fact(
        "R14",
        (Open(), Send("a", "61", ONE), Receive("b", 0, 64), Receive("b", 9, 64)),
        3,
        brings("61"),
    ),
    Fact(
        "R15",
        (Open(), Send("a", "6161"), Send("a", "6262", ONE), Receive("b", 2, 64, PEEK)),
        3,
        brings("6161", "memfd"),
    ),
    Fact(
        "R15",
        (Open(), Send("a", "6161"), Send("a", "6262", ONE), Receive("b", 2, 64)),
        3,
        brings("6161"),
    ),
    Fact(
        "R17",
        exchange((), 64, SetOption("b", "SO_TIMESTAMP"), kind="dgram"),
        3,
        got(
            lambda it: (
                [m.type for m in it.messages if isinstance(m, PlainMessage)]
                == [NATIVE.constants["SCM_TIMESTAMP"]]
            )
        ),
    ),
    Fact(
        "R17",
        exchange((), 64, SetOption("b", "SO_TIMESTAMP")),
        3,
        got(lambda it: it.messages == ()),
    ),
]
