"""The grammar: what it draws makes sense, follows from the seed, and reaches far.

A draw that never reaches what bugs live on is worth nothing, so what has to come up
within so many draws is said here.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, TypeVar, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz import corpus
from ancfuzz.abi import ABIS, NATIVE, Abi
from ancfuzz.case import (
    Case,
    Close,
    Decode,
    Encode,
    EncodeInto,
    Flag,
    Message,
    NamedCredentials,
    NamedPidfd,
    NamedRights,
    Open,
    Option,
    Receive,
    Send,
    SendAll,
    SendRaw,
    SetOption,
    Shutdown,
    SocketKind,
    Step,
    Table,
    check,
)
from ancfuzz.choices import SeededChoices
from ancfuzz.codec import walk
from ancfuzz.errors import UsageError
from ancfuzz.grammar import (
    capacity_near,
    draw_case,
    draw_codec_case,
    draw_exchange,
    hostile_lengths,
    spread_out,
)
from ancfuzz.names import CLOSED, KINDS, NEGATIVE, expand, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")

DRAWS = 40_000
MOST = 253

# What is swept, and not drawn at random.
NOT_DRAWN: dict[object, str] = {
    Table: "a table is shaped in a worker, which costs more than a thousand draws",
    "MSG_WAITALL": "swept and in the vectors",
    "MSG_TRUNC": "an input to packet sockets only: in the vectors",
    "MSG_CTRUNC": "means nothing as an input: in the vectors",
    "MSG_EOR": "means nothing to Linux: in the vectors",
    "MSG_CMSG_CLOEXEC": "what receivers set themselves: in the vectors",
    "SO_PASSRIGHTS": "swept",
    "SO_INQ": "streams only: in the vectors",
}


class Answers:
    """Choices that a test gives; each is asked within what may be answered."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def integer(self, lo: int, hi: int) -> int:
        assert lo <= hi
        return self._draw(st.integers(lo, hi))

    def choice(self, options: Sequence[T]) -> T:
        assert options
        return self._draw(st.sampled_from(options))

    def data(self, size: int) -> bytes:
        return self._draw(st.binary(min_size=size, max_size=size))


@st.composite
def drawn(draw: st.DrawFn, abi: Abi) -> Case:
    return draw_case(Answers(draw), abi)


@cache
def bulk() -> tuple[Case, ...]:
    choices = SeededChoices(1)
    return tuple(draw_case(choices) for _ in range(DRAWS))


def steps() -> Iterator[Step]:
    return chain.from_iterable(case.steps for case in bulk())


def messages() -> Iterator[Message]:
    for step in steps():
        if isinstance(step, Send | SendAll):
            yield from step.messages


def names() -> Iterator[str]:
    for message in messages():
        if isinstance(message, NamedRights):
            yield from message.names()


# -- every draw -----------------------------------------------------------------------


@given(st.sampled_from([NATIVE, *ABIS.values()]).flatmap(drawn))
def test_whatever_is_answered_a_case_is_drawn_that_makes_sense(case: Case) -> None:
    check(case)
    assert corpus.loads(corpus.dumps(case)) == case
    assert case.steps


def test_what_is_drawn_in_bulk_makes_sense_too() -> None:
    for case in bulk():
        check(case)
    for case in bulk()[:2000]:
        assert corpus.loads(corpus.dumps(case)) == case


@given(st.integers(0, 2**64) | st.text(max_size=5))
def test_the_same_seed_draws_the_same_cases(seed: int | str) -> None:
    one, other = (
        [draw_case(choices) for _ in range(20)]
        for choices in (SeededChoices(seed), SeededChoices(seed))
    )
    assert one == other


def test_other_seeds_draw_other_cases_and_few_are_drawn_twice() -> None:
    few = bulk()[:5000]
    assert len({corpus.case_id(case) for case in few}) > len(few) * 0.8
    other = SeededChoices(2)
    assert [draw_case(other) for _ in range(20)] != list(bulk()[:20])


# -- how far they reach ---------------------------------------------------------------


def test_every_step_is_drawn() -> None:
    assert {type(step) for step in steps()} == set(get_args(Step)) - set(NOT_DRAWN)


def test_every_sort_of_message_is_drawn() -> None:
    # A pidfd is received, and never sent.
    assert {type(one) for one in messages()} == set(get_args(Message)) - {NamedPidfd}


def test_every_flag_is_drawn() -> None:
    flags = {
        flag
        for step in steps()
        if isinstance(step, Receive | Send | SendRaw)
        for flag in step.flags
    }
    assert flags == set(get_args(Flag)) - set(NOT_DRAWN)


def test_every_option_is_drawn_at_either_end() -> None:
    options = [step for step in steps() if isinstance(step, SetOption)]
    assert {step.option for step in options} == set(get_args(Option)) - set(NOT_DRAWN)
    assert {step.at for step in options} == {"a", "b"}


def test_every_kind_of_socket_is_drawn_as_often() -> None:
    kinds = Counter(step.kind for step in steps() if isinstance(step, Open))
    assert set(kinds) == set(get_args(SocketKind))
    assert min(kinds.values()) > sum(kinds.values()) / 5


def test_every_kind_of_descriptor_is_drawn_and_what_is_none() -> None:
    kinds = Counter(kind_of(name) for name in names())
    assert set(kinds) == {*KINDS, CLOSED, NEGATIVE}
    drawn_names = set(names())
    assert {f"dup:{kind}" for kind in KINDS} <= drawn_names
    assert {"socket:a", "socket:b"} <= drawn_names


def test_every_number_of_descriptors_up_to_the_most_comes_up() -> None:
    counts = Counter(
        len(one.names()) for one in messages() if isinstance(one, NamedRights)
    )
    assert set(range(6)) <= set(counts)
    assert max(counts) == MOST + 1  # and one more, to be refused
    assert len([count for count in counts if count > 64]) > 50
    # Most are small: a large one costs as much as fifty of them.
    assert sum(counts[n] for n in range(6)) > 0.9 * sum(counts.values())


def test_credentials_that_are_refused_are_drawn() -> None:
    drawn_ids = [one for one in messages() if isinstance(one, NamedCredentials)]
    assert {"self", "none", 1} <= {one.pid for one in drawn_ids}
    assert len({one.uid for one in drawn_ids}) > 1
    assert len({one.gid for one in drawn_ids}) > 1


def test_sends_may_be_empty_and_reads_too() -> None:
    assert {step.data for step in steps() if isinstance(step, Send)} >= {"", "78"}
    assert 0 in {step.data_capacity for step in steps() if isinstance(step, Receive)}


def test_streams_end_in_every_way() -> None:
    ends = [step for step in steps() if isinstance(step, Close | Shutdown)]
    assert {step.how for step in ends if isinstance(step, Shutdown)} == {
        "read",
        "write",
        "both",
    }
    assert any(isinstance(step, Close) for step in ends)


def test_capacities_lie_around_what_is_needed() -> None:
    choices = SeededChoices(3)
    distances = Counter(capacity_near(choices, 200) - 200 for _ in range(5000))
    for distance in (-8, -4, -1, 0, 1, 4, 8, 512):
        assert distances[distance]
    assert min(distances) <= -150
    assert all(capacity_near(choices, exact) >= 0 for exact in range(10))


def test_every_hostile_length_is_reached() -> None:
    """The first length of a buffer that is decoded, whichever it is."""
    smallest, size = NATIVE.data_offset, NATIVE.length_size
    wanted = {n for n in hostile_lengths(40) if not smallest <= n <= 200}
    found = set[int]()
    for step in steps():
        if isinstance(step, Decode):
            field = bytes.fromhex(step.control)[NATIVE.length_offset :][:size]
            if len(field) == size:
                found.add(int.from_bytes(field, NATIVE.byte_order))
    assert wanted <= found


def test_buffers_break_and_do_not() -> None:
    kinds = Counter(
        [*walk(bytes.fromhex(step.control))][-1].kind
        for step in steps()
        if isinstance(step, Decode) and step.control
    )
    assert min(kinds[kind] for kind in ("data", "padding", "tail", "broken")) > 100


def test_encodings_fit_and_do_not_in_every_position() -> None:
    fits: Counter[bool] = Counter()
    for step in steps():
        if isinstance(step, Encode | EncodeInto):
            needed = sum(NATIVE.cmsg_space(len(m.data) // 2) for m in step.messages)
            fits[needed <= step.capacity] += 1
    assert min(fits.values()) > 500
    into = [step for step in steps() if isinstance(step, EncodeInto)]
    assert {0, 1, 4} <= {step.misaligned for step in into}
    assert {0, 0xFF} <= {step.fill for step in into}


def test_raw_control_is_refused_and_taken() -> None:
    raw = {step.control for step in steps() if isinstance(step, SendRaw)}
    assert len(raw) > 100
    assert {"memfd", CLOSED, NEGATIVE} <= {
        name
        for control in raw
        for name in (CLOSED, NEGATIVE, "memfd")
        if f"{{{name}}}" in control
    }


# -- the parts ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["x86_64-linux-gnu", "x86-linux-gnu", "s390x-linux-musl"]
)
@pytest.mark.parametrize("left", [0, 16, 24, 1000])
def test_hostile_lengths_lie_where_readers_break(name: str, left: int) -> None:
    abi = ABIS[name]
    lengths = hostile_lengths(left, abi)
    top = 1 << 8 * abi.length_size
    assert len(set(lengths)) == len(lengths)
    assert all(0 <= n < top for n in lengths)
    header = abi.data_offset
    expected = {0, 1, header - 1, header, header + 1, left, left + 1, 2**31, top - 1}
    assert expected <= set(lengths)
    assert {n for n in (left - 1, 2**32, 2**63) if 0 <= n < top} <= set(lengths)


@pytest.mark.parametrize("count", [0, 1, 2, MOST])
def test_descriptors_spread_out_are_all_different(count: int) -> None:
    spread = [name for item in spread_out(count) for name in expand(item)]
    assert len(set(spread)) == len(spread) == count


def test_bytes_and_exchanges_can_be_drawn_apart() -> None:
    choices = SeededChoices(5)
    for _ in range(200):
        assert not isinstance(draw_codec_case(choices).steps[0], Open)
        assert isinstance(draw_exchange(choices).steps[0], Open)


def test_a_choice_is_within_what_may_be_answered() -> None:
    choices = SeededChoices(6)
    assert {choices.integer(3, 5) for _ in range(200)} == {3, 4, 5}
    assert {choices.choice("ab") for _ in range(200)} == {"a", "b"}
    assert [len(choices.data(n)) for n in (0, 1, 300)] == [0, 1, 300]
    with pytest.raises(UsageError):
        expand(choices.choice(["nothing"]))
