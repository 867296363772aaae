"""Shrinking: what is returned still shows it, is no larger, and cannot be made smaller.

The same case and the same question give the same answer, and the time is bounded.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz import corpus
from ancfuzz.case import (
    Case,
    Decode,
    Encode,
    EncodeInto,
    NamedCredentials,
    NamedRights,
    Open,
    PlainMessage,
    Receive,
    Send,
    SendAll,
    SendRaw,
    SetOption,
    check,
    payload_bytes,
)
from ancfuzz.choices import SeededChoices
from ancfuzz.codec import ControlMessage, decode, encode
from ancfuzz.errors import MalformedControl
from ancfuzz.grammar import draw_case
from ancfuzz.shrink import shrink

if TYPE_CHECKING:
    from collections.abc import Callable

ATTEMPTS = 20_000  # far more than any of these cases needs

SEEDS = st.integers(0, 2**32)
CASES = SEEDS.map(lambda seed: draw_case(SeededChoices(seed)))


def size(case: Case) -> tuple[int, int, int, int]:
    """Steps, messages, descriptors, bytes: what a reader has to read."""
    messages = [m for step in case.steps for m in getattr(step, "messages", ())]
    controls = [getattr(step, "control", "") for step in case.steps]
    data = [step.data for step in case.steps if isinstance(step, Send | SendAll)]
    return (
        len(case.steps),
        len(messages),
        sum(len(m.names()) for m in messages if isinstance(m, NamedRights)),
        sum(len(control) // 2 for control in controls)
        + sum(len(m.data) // 2 for m in messages if isinstance(m, PlainMessage))
        + sum(max(len(payload_bytes(one)), 1) for one in data),
    )


def asked(still: Callable[[Case], bool]) -> Callable[[Case], bool]:
    """The same question, of cases that make sense, and so many times at most."""
    attempts = count(1)

    def ask(case: Case) -> bool:
        check(case)
        assert next(attempts) < ATTEMPTS, "it does not come to an end"
        return still(case)

    return ask


def sends(case: Case) -> list[Send]:
    return [step for step in case.steps if isinstance(step, Send)]


def passes(number: int) -> Callable[[Case], bool]:
    """Whether so many descriptors go in one message."""

    def still(case: Case) -> bool:
        return any(
            len(message.names()) >= number
            for send in sends(case)
            for message in send.messages
            if isinstance(message, NamedRights)
        )

    return still


def answer(case: Case, salt: int) -> int:
    """A number without sense, the same in every process."""
    return crc32(f"{corpus.case_id(case)} {salt}".encode())


# -- whatever is asked ----------------------------------------------------------------


@given(CASES)
def test_anything_shrinks_to_nearly_nothing(case: Case) -> None:
    assert size(shrink(case, asked(lambda _: True))) <= (1, 0, 0, 0)


@given(CASES)
def test_what_cannot_be_made_smaller_stays(case: Case) -> None:
    assert shrink(case, asked(lambda _: False)) is case


@given(CASES, SEEDS)
def test_what_is_returned_shows_it_and_is_no_larger(case: Case, salt: int) -> None:
    """A question without sense: the shape of the answers must not matter."""

    def still(one: Case) -> bool:
        return one is case or answer(one, salt) % 3 == 0

    small = shrink(case, asked(still))
    assert still(small)
    assert all(a <= b for a, b in zip(size(small), size(case), strict=True))
    assert shrink(case, asked(still)) == small


@given(CASES, SEEDS)
def test_the_smallest_found_is_shrunk_no_further(case: Case, salt: int) -> None:
    def still(one: Case) -> bool:
        return one == case or answer(one, salt) % 4 == 0

    small = shrink(case, asked(still))
    assert shrink(small, asked(lambda one: one != small and still(one))) is small


def test_without_time_nothing_is_asked() -> None:
    case = draw_case(SeededChoices(1))

    def still(_: Case) -> bool:
        raise AssertionError("there was no time for it")

    assert shrink(case, still, out_of_time=lambda: True) is case


def test_when_time_runs_out_the_best_so_far_is_returned() -> None:
    case = Case((Open(), Send("a", "78", (NamedRights(("memfd#1..253",)),))))
    candidates: list[Case] = []

    def still(one: Case) -> bool:
        candidates.append(one)
        return passes(2)(one)

    small = shrink(case, still, out_of_time=lambda: len(candidates) >= 5)
    assert len(candidates) == 5
    assert passes(2)(small)
    assert size(small) < size(case)


# -- what is left ---------------------------------------------------------------------

GOOD = encode([ControlMessage(1, 1, bytes(8))]).hex()
NOISE = (
    SetOption("b", "SO_PASSCRED"),
    Send("b", "61*40", (NamedCredentials(),), ("MSG_DONTWAIT",)),
    Decode("00" * 40),
    Receive("a", 7, 77, ("MSG_PEEK",)),
)


def on_peek(case: Case) -> bool:
    return any(isinstance(s, Receive) and "MSG_PEEK" in s.flags for s in case.steps)


def cuts(case: Case) -> bool:
    """Whether a receive has room for one descriptor, and not for two."""
    return passes(2)(case) and any(
        isinstance(step, Receive) and 20 <= step.control_capacity < 24
        for step in case.steps
    )


def breaks_behind_one(case: Case) -> bool:
    """Whether a buffer is malformed, and not at its beginning."""
    for step in case.steps:
        if isinstance(step, Decode):
            try:
                decode(bytes.fromhex(step.control))
            except MalformedControl as error:
                return error.offset > 0
    return False


def long_send(case: Case) -> bool:
    return any(
        isinstance(step, SendAll) and len(payload_bytes(step.data)) >= 5000
        for step in case.steps
    )


def encodes_with_room(case: Case) -> bool:
    return any(
        isinstance(step, Encode) and step.capacity >= 20 and step.messages
        for step in case.steps
    )


def into_dirty_buffer(case: Case) -> bool:
    return any(isinstance(step, EncodeInto) and step.fill > 3 for step in case.steps)


def ends_in_ab(case: Case) -> bool:
    return any(
        isinstance(step, Decode) and step.control.endswith("ab") for step in case.steps
    )


def sends_raw(case: Case) -> bool:
    return any(isinstance(step, SendRaw) for step in case.steps)


@pytest.mark.parametrize(
    ("case", "still", "expected"),
    [
        (
            Case((Open(), *NOISE, Send("a", "6162", (NamedRights(("file*5",)),)))),
            passes(2),
            Case((Open(), Send("a", "78", (NamedRights(("memfd", "memfd#1")),)))),
        ),
        (
            Case((Open("dgram"), Send("a", "78", (NamedRights(("memfd#1..253",)),)))),
            passes(254),
            None,
        ),
        (
            Case((Open("seqpacket"), *NOISE)),
            on_peek,
            Case((Open(), Receive("a", 64, 0, ("MSG_PEEK",)))),
        ),
        (
            Case(
                (
                    Open("dgram"),
                    *NOISE,
                    Send(
                        "a",
                        "",
                        (
                            NamedRights(("pipe-read", "dup:file", "epoll"), "abab"),
                            NamedCredentials(),
                        ),
                    ),
                    Receive("b", 3, 23, ("MSG_DONTWAIT",)),
                )
            ),
            cuts,
            Case(
                (
                    Open(),
                    Send("a", "", (NamedRights(("memfd", "memfd#1")),)),
                    Receive("b", 64, 20),
                )
            ),
        ),
        (
            Case((Open(), *NOISE, SendAll("a", "6162*150000", (NamedRights(()),)))),
            long_send,
            Case((Open(), SendAll("a", "6162*2500"))),
        ),
        (
            Case((Encode((PlainMessage(1, 1, "ab" * 40), PlainMessage(41, 7)), 99),)),
            encodes_with_room,
            Case((Encode((PlainMessage(41, 7),), 20),)),
        ),
        (
            Case((EncodeInto((PlainMessage(1, 1, "abcdef"),), 64, 7, 255),)),
            into_dirty_buffer,
            Case((EncodeInto((), 0, 0, 4),)),
        ),
        (
            # Of the first message a header is left, of the rest a header of zeros.
            Case((Decode(GOOD + GOOD + "00" * 16 + "ff" * 40), *NOISE[2:3])),
            breaks_behind_one,
            Case((Decode(encode([ControlMessage(1, 1, b"")]).hex() + "00" * 16),)),
        ),
        (
            Case((Decode("00" * 10 + "ab"),)),
            ends_in_ab,
            Case((Decode("ab"),)),
        ),
        (
            Case((Open(), *NOISE, SendRaw("a", "00{memfd}", "61"))),
            sends_raw,
            Case((Open(), SendRaw("a", "00{memfd}", "61"))),
        ),
    ],
    ids=range(10),
)
def test_what_is_left_is_what_it_takes(
    case: Case, still: Callable[[Case], bool], expected: Case | None
) -> None:
    assert shrink(case, asked(still)) == (expected or case)
