"""What a judge makes of answers that are no plain success or failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ancfuzz.case import Case, NamedRights, Open, Receive, Send, Table
from ancfuzz.checking import check
from ancfuzz.errors import Refused, Unsupported
from ancfuzz.implementation import Implementation, Promise, Received
from ancfuzz.implementations import CPython, subject
from ancfuzz.judging import Judge

if TYPE_CHECKING:
    import socket

TWO = (Open(), Send("a", "78", (NamedRights(("memfd", "eventfd")),)))


class RefusesTruncation(CPython):
    """Declines what was cut, and hands out what came all the same."""

    promise: ClassVar[Promise] = Promise(on_truncation="refuse")

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        got = super().receive(sock, data_capacity, control_capacity, flags)
        if got.truncated:
            raise Refused(got.messages)
        return got


class SilentWhenFull(CPython):
    """Never says that anything was lost, and prints: two faults."""

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        print("here")  # noqa: T201  (one of its faults)
        got = super().receive(sock, data_capacity, control_capacity, flags)
        return Received(got.data, got.messages, truncated=False)


class SaysNothing(Implementation):
    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        raise Unsupported("not this")


def test_what_a_refusal_hands_out_is_no_leak() -> None:
    with Judge(subject(RefusesTruncation)) as judging:
        one = judging.perform(Case((*TWO, Receive("b", 64, 20))), "b")
    assert one.breaches == ()
    (refusal,) = one.transcript.answers[2:]
    assert getattr(refusal, "messages", ()) == (NamedRights(("memfd",)),)


def test_a_fault_of_another_kind_does_not_hide_one_of_a_full_table() -> None:
    case = Case((*TWO, Table(free=1), Receive("b", 64, 64)))
    with Judge(subject(SilentWhenFull)) as judging:
        broken = {breach.invariant for breach in judging.perform(case, "b").breaches}
    assert broken == {"TRUNC.flag", "CRASH.output"}


def test_what_was_not_judged_is_not_in_order() -> None:
    nothing_said = check(SaysNothing, cases=30, seed=1, corpus=[])
    nothing_looked_at = check("cpython", cases=30, invariants=["ALIGN"], corpus=[])
    for report in (nothing_said, nothing_looked_at):
        assert not report.ok
        assert report.not_judged
        assert report.violations == ()
