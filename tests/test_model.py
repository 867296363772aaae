"""The model against the kernel, rule by rule.

Each row of :data:`FACTS` performs a case on this very kernel, through the reference,
and asserts the fact that the rule states: that it was observed, and that the model says
so too.  "No violation" would be true of a model that says nothing.

Then the other way round: each rule is replaced by a wrong one, and the boundary sweeps
have to notice.
"""

# A rule decides from plain values, whichever it likes: Callable[..., Any].
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false

from __future__ import annotations

import os
import random
import struct
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import pytest

from ancfuzz.abi import NATIVE
from ancfuzz.case import (
    Case,
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
from ancfuzz.implementations import resolve
from ancfuzz.judging import Judge
from ancfuzz.model import LINUX, RULES, accept
from ancfuzz.sweeps import interleaved, sweeps
from ancfuzz.transcript import Answer, Failed, Got, Sent, Transcript

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


def needs(fact: Fact) -> set[str]:
    """The options that a kernel must have for a fact."""
    return {step.option for step in fact.steps if isinstance(step, SetOption)}


PERFORMABLE = [fact for fact in FACTS if needs(fact) <= set(HERE.features)]


@pytest.mark.parametrize(
    "fact", PERFORMABLE, ids=[f"{f.rule}-{n}" for n, f in enumerate(PERFORMABLE)]
)
def test_the_kernel_and_the_model_show_it(fact: Fact) -> None:
    with Judge(resolve("reference")) as judging:
        one = judging.perform(Case(fact.steps), "")
    assert one.not_judged == ""
    assert len(one.transcript.answers) == len(fact.steps)
    assert fact.shows(one.transcript.answers[fact.at]), one.transcript.answers[fact.at]
    assert fact.shows(one.accepted.transcript.answers[fact.at])
    assert one.breaches == ()


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_of_sockets_deliver_the_same(kind: Any) -> None:
    with Judge(resolve("reference")) as judging:
        one = judging.perform(Case(exchange((*ONE, *TWO), 64, kind=kind)), "")
    assert names(one.transcript.answers[-1]) == ["memfd", "eventfd", "file"]  # type: ignore[arg-type]
    assert one.breaches == ()


def test_every_rule_has_a_fact() -> None:
    assert {fact.rule for fact in FACTS} == set(RULES)


@pytest.mark.parametrize("id_", RULES)
def test_a_rule_says_what_it_is(id_: str) -> None:
    rule = RULES[id_]
    assert rule.id == id_
    assert rule.source
    assert rule.text.endswith(".")


# -- deliberately wrong rules -------------------------------------------------------


@cache
def performed() -> tuple[tuple[Case, Transcript], ...]:
    """The facts and a few thousand boundaries, performed once."""
    on_sockets = [s for s in sweeps() if len(s.axes) > 1 and opens(s.case(0))]
    drawn = islice(interleaved(on_sockets, random.Random(7)), 2500)
    cases = [*(Case(fact.steps) for fact in PERFORMABLE), *drawn]
    with Judge(resolve("reference")) as judging:
        return tuple((case, judging.perform(case, "").transcript) for case in cases)


def opens(case: Case) -> bool:
    return any(isinstance(step, Open) for step in case.steps)


def is_noticed(id_: str, wrong: Callable[..., Any]) -> bool:
    rules = {**LINUX, id_: LINUX[id_]._replace(decide=wrong)}
    for case, observed in performed():
        accepted = accept(case, observed, rules=rules)
        told = zip(accepted.transcript.answers, observed.answers, strict=False)
        if any(one != other for one, other in told):
            return True
    return False


def otherwise(id_: str) -> Callable[..., Any]:
    """A rule that decides the opposite, or one more, or something else."""
    decide = LINUX[id_].decide

    def wrong(*values: Any, **named: Any) -> Any:
        match decide(*values, **named):
            case bool(right):
                return not right
            case int(right):
                return right + 1
            case str():
                return "EXDEV"
            case (int(pid), uid, gid):
                return (pid + 1, uid, gid)
            case None:
                return INSTEAD_OF_NONE[id_]
            case right:
                return right[1:]

    return WRONG.get(id_, wrong)


INSTEAD_OF_NONE: dict[str, Any] = {
    "C1": (7, 7, 7),
    "R2": 0,
    "S10p": "EXDEV",
    "S22": "EXDEV",
}
WRONG: dict[str, Callable[..., Any]] = {
    # The opposite would be a timestamp that nobody asked for, of no kind.
    "R17": lambda kind: kind == "stream",
}


def test_with_the_right_rules_nothing_is_noticed() -> None:
    assert not is_noticed("S01", LINUX["S01"].decide)


@pytest.mark.parametrize("id_", sorted({fact.rule for fact in PERFORMABLE}))
def test_a_wrong_rule_is_noticed(id_: str) -> None:
    assert is_noticed(id_, otherwise(id_))


SUBTLE: dict[str, tuple[str, Callable[..., Any]]] = {
    "a length of zero data is too short": ("S02", lambda n, h: n <= h),
    "stray bytes are a descriptor": ("S04", lambda n: (n + 3) // 4),
    "a length may pass the end by one": ("S05", lambda n, left: n > left + 1),
    "254 descriptors go": ("S06", lambda n: n > 254),
    "252 descriptors go": ("S06", lambda n: n > 252),
    "more than a ucred is one": ("S10", lambda n: n >= 12),
    "a pidfd can be sent": ("S11", lambda type_: type_ in (1, 2, 4)),
    "a header needs a byte behind it": ("S12", lambda n, h: n > h),
    "an empty packet is not queued": ("S14", lambda kind, n: n > 0),
    "explicit credentials come only where asked": (
        "C1",
        lambda explicit, own, *, asked: (explicit or own) if asked else None,
    ),
    "what was cut is left out": (
        "R2",
        lambda n, left, h: None if left < h + n else n,
    ),
    "room is counted in CMSG_SPACE": (
        "R3",
        lambda left, h: max(0, (left - h) // 8 * 2),
    ),
    "one descriptor for its CMSG_SPACE": (
        "R3",
        lambda left, h: (left - h) // 4 - (left == h + 8) if left > h else 0,
    ),
    "a pidfd needs its padding": ("R4", lambda left, h: left >= h + 8),
    "the length is never cut": ("R5", lambda space, left: space),
    "no buffer is truncation only with descriptors": (
        "R6",
        lambda n, *, credentials, pidfd: n > 0,
    ),
    "a table has one place more": (
        "R8",
        lambda n, free: n if free is None else min(n, free + 1),
    ),
    "a packet that just fits is cut": ("R11", lambda n, room: n >= room),
    "a read stops behind each message": (
        "R12",
        lambda *, carried_rights, rest: True,
    ),
    "a read goes on behind descriptors": (
        "R12",
        lambda *, carried_rights, rest: rest > 0,
    ),
    "another sender is no boundary": ("R13", lambda a, b, *, check: False),
    "a peek minds its size": ("R15", lambda *, peek, room: room > 0),
    "streams have timestamps": ("R17", lambda kind: True),
}


@pytest.mark.parametrize("what", SUBTLE)
def test_a_slightly_wrong_rule_is_noticed(what: str) -> None:
    id_, wrong = SUBTLE[what]
    assert is_noticed(id_, wrong)


# -- an acceptor --------------------------------------------------------------------


def test_a_short_write_of_a_stream_is_accepted_as_it_was() -> None:
    case = Case((Open(), Send("a", "61*300000"), Receive("b", 9, 0)))
    some = Got("61*9", flags=(), control_length=0)
    for count in (1, 219264, 300000):
        observed = Transcript((open_answer(), Sent(count), some), "")
        assert accept(case, observed).transcript.answers[1] == Sent(count)
    none = Transcript((open_answer(), Sent(0), some), "")
    assert accept(case, none).transcript.answers[1] != Sent(0)


def open_answer() -> Answer:
    with Judge(resolve("reference")) as judging:
        return judging.perform(Case((Open(),)), "").transcript.answers[0]


def test_the_rules_that_decided_are_counted() -> None:
    with Judge(resolve("reference")) as judging:
        fired = judging.perform(Case(exchange(ONE, 20)), "").accepted.rules
    assert fired.count("R3") == 1
    assert fired.count("S22") == 1
    assert "R4" not in fired


def test_a_number_that_stands_for_itself_is_not_judged() -> None:
    standard_input = raw(header(LEN4) + "00000000")
    unheard_of = raw(header(LEN4) + struct.pack("=i", os.getpid() + 5000).hex())
    with Judge(resolve("reference")) as judging:
        assert judging.perform(Case(unheard_of), "").not_judged
        assert judging.perform(Case(standard_input), "").breaches == ()
