"""The book of the descriptor table: leaks, losses, and what is neither."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

import pytest

from ancfuzz import Implementation, Received
from ancfuzz.case import Case, NamedRights, Open, Receive, Send, SetOption, Step
from ancfuzz.descriptors import open_numbers
from ancfuzz.harness import Performer
from ancfuzz.host import environment
from ancfuzz.implementations import Reference, subject
from ancfuzz.transcript import Got
from tests.planted.descriptors import first_only
from tests.planted.registry import numbers_in, rights

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from ancfuzz.transcript import Transcript

RIGHT = Reference()
OPENED = Open()
THREE = Send("a", "78", (NamedRights(("memfd", "eventfd", "memfd")),))
RECEIVE = Receive("b", 9, 96)


@pytest.fixture
def performer() -> Iterator[Performer]:
    performer = Performer()
    yield performer
    performer.close()


class Does(Implementation):
    """Right, and then does what the test says, with what it got."""

    act: ClassVar[Callable[[Received], Received]]
    atlast: ClassVar[list[int]] = []

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        got = RIGHT.receive(sock, data_capacity, control_capacity, flags)
        return type(self).act(got)

    def close(self) -> None:
        while self.atlast:
            os.close(self.atlast.pop())


def performed(
    performer: Performer, act: Callable[[Received], Received], *steps: Step
) -> Transcript:
    cls = type("Does", (Does,), {"act": staticmethod(act)})
    chosen = steps or (OPENED, THREE, RECEIVE)
    return performer.perform(Case(chosen), subject(cls), "b")


def last(transcript: Transcript) -> Got:
    answer = transcript.answers[-1]
    assert isinstance(answer, Got)
    return answer


def reporting(got: Received, numbers: list[int]) -> Received:
    return Received(got.data, (rights(numbers),), got.truncated)


def balanced(transcript: Transcript) -> bool:
    return transcript.leaked == transcript.lost == ()


def test_what_is_reported_is_closed_by_the_harness(performer: Performer) -> None:
    performed(performer, lambda got: got)
    before = open_numbers()
    transcript = performed(performer, lambda got: got)
    assert open_numbers() == before
    assert last(transcript).messages == (NamedRights(("memfd", "eventfd", "memfd")),)
    assert balanced(transcript)


def test_a_number_that_was_open_before_is_reported_as_other_and_not_closed(
    performer: Performer,
) -> None:
    mine = os.eventfd(0)
    try:
        transcript = performed(
            performer, lambda got: reporting(got, [*numbers_in(got.messages), mine])
        )
        os.fstat(mine)
    finally:
        os.close(mine)
    assert last(transcript).messages == (
        NamedRights(("memfd", "eventfd", "memfd", "other")),
    )


def test_numbers_that_are_not_open_are_phantoms(performer: Performer) -> None:
    transcript = performed(performer, lambda got: reporting(got, [-1, 99999]))
    assert last(transcript).messages == (NamedRights(("phantom", "phantom")),)
    assert sorted(last(transcript).facts.unreported) == ["eventfd", "memfd", "memfd"]
    assert sorted(transcript.leaked) == ["eventfd", "memfd", "memfd"]


def test_a_number_reported_twice_is_one_descriptor(performer: Performer) -> None:
    transcript = performed(
        performer,
        lambda got: reporting(got, [numbers_in(got.messages)[0]] * 2),
    )
    assert last(transcript).messages == (NamedRights(("memfd", "other")),)


def test_unreported_and_closed_later_is_seen_and_no_leak(performer: Performer) -> None:
    def act(got: Received) -> Received:
        Does.atlast.extend(numbers_in(got.messages)[1:])
        return Received(got.data, first_only(got.messages), got.truncated)

    transcript = performed(performer, act)
    assert sorted(last(transcript).facts.unreported) == ["eventfd", "memfd"]
    assert balanced(transcript)


def test_a_leak_is_found_though_as_many_are_open_as_before(
    performer: Performer,
) -> None:
    spare = os.eventfd(0)

    def act(got: Received) -> Received:
        os.close(spare)  # the harness's caller's: as many open as before
        return Received(got.data, first_only(got.messages), got.truncated)

    transcript = performed(performer, act)
    assert "eventfd" in transcript.leaked


def test_a_runtimes_own_are_nobodys_leak(performer: Performer) -> None:
    own: list[int] = []

    def act(got: Received) -> Received:
        own.extend([os.eventfd(0), os.memfd_create("own"), *os.pipe()])
        return got

    try:
        transcript = performed(performer, act)
        assert balanced(transcript)
        assert last(transcript).facts.unreported == ()
        assert transcript.grown == 4
        for number in own:
            os.fstat(number)  # not the harness's to close
        assert performed(performer, lambda got: got).grown == 0
    finally:
        for number in own:
            os.close(number)


def test_a_number_is_used_again(performer: Performer) -> None:
    steps = (OPENED, THREE, RECEIVE, THREE, RECEIVE)
    used: list[list[int]] = []

    def act(got: Received) -> Received:
        used.append(numbers_in(got.messages))
        return got

    transcript = performed(performer, act, *steps)
    assert used[0] == used[1]
    assert transcript.answers[2] == transcript.answers[4]
    assert balanced(transcript)


def test_what_the_case_sent_and_somebody_closed_is_lost_and_made_anew(
    performer: Performer,
) -> None:
    sent: list[int] = []

    class Closes(Implementation):
        def send(
            self,
            sock: socket.socket,
            data: bytes,
            messages: tuple[object, ...],
            flags: int = 0,
        ) -> int:
            count = RIGHT.send(sock, data, messages, flags)  # type: ignore[arg-type]
            number = numbers_in(messages)[0]  # type: ignore[arg-type]
            sent.append(number)
            os.close(number)
            return count

    send = Send("a", "78", (NamedRights(("memfd",)),))
    for _ in range(2):
        transcript = performer.perform(Case((OPENED, send)), subject(Closes), "a")
        assert transcript.lost == ("memfd",)
        assert transcript.leaked == ()
    assert len(sent) == 2
    again = performed(performer, lambda got: got, OPENED, send, RECEIVE)
    assert last(again).messages == (NamedRights(("memfd",)),)
    assert balanced(again)


@pytest.mark.skipif(
    "SO_PASSPIDFD" not in environment().features, reason="SO_PASSPIDFD: Linux 6.5"
)
def test_a_pidfd_that_nobody_reports_is_a_leak(performer: Performer) -> None:
    steps = OPENED, SetOption("b", "SO_PASSPIDFD"), Send("a"), RECEIVE
    transcript = performed(
        performer, lambda got: Received(got.data, (), got.truncated), *steps
    )
    assert transcript.leaked == ("pidfd",)


def test_an_endpoint_that_was_passed_is_known_again(performer: Performer) -> None:
    passed = Send("a", "78", (NamedRights(("socket:a", "socket:b", "dup:socket:a")),))
    transcript = performed(performer, lambda got: got, OPENED, passed, RECEIVE)
    assert last(transcript).messages == (
        NamedRights(("socket:a", "socket:b", "socket:a")),
    )
    assert balanced(transcript)
