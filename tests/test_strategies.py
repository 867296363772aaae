"""Strategies: what they promise holds, what they are for is found, and shrinks well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from ancfuzz import strategies
from ancfuzz.abi import ABIS, NATIVE, Abi
from ancfuzz.codec import ControlMessage, decode, encode, walk
from ancfuzz.errors import MalformedControl
from ancfuzz.messages import Payload, Pidfd, Rights, Timestamp, Ucred, build
from ancfuzz.strategies import (
    abis,
    capacities,
    control_buffers,
    control_messages,
    hostile_control_buffers,
    payloads,
)
from ancfuzz.strategies.buffers import hostile_lengths

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy

T = TypeVar("T")

LINUX = ABIS["x86_64-linux-gnu"]
BSD = ABIS["aarch64-netbsd-none"]


def minimal(strategy: SearchStrategy[T], wanted: Callable[[T], bool]) -> T:
    """What Hypothesis finds and shrinks to; NoSuchExample if it finds nothing."""
    return find(strategy, wanted, settings=settings(max_examples=2000, database=None))


def found(strategy: SearchStrategy[T], wanted: Callable[[T], bool]) -> T:
    """What Hypothesis finds first."""
    once = settings(max_examples=3000, database=None, phases=[Phase.generate])
    return find(strategy, wanted, settings=once)


def anything(_: object) -> bool:
    return True


def fault(control: bytes) -> MalformedControl | None:
    """What decode says of a buffer."""
    try:
        decode(control, LINUX)
    except MalformedControl as error:
        return error
    return None


def kinds(control: bytes) -> list[str]:
    return [span.kind for span in walk(control, LINUX)]


# Promises.


@given(abis())
def test_abis_are_verified_ones(abi: Abi) -> None:
    assert ABIS[abi.name] is abi


@given(st.data(), abis(), st.integers(0, 3), st.integers(0, 3))
def test_control_buffers_decode(
    data: st.DataObject, abi: Abi, least: int, more: int
) -> None:
    drawn = control_buffers(abi=abi, min_messages=least, max_messages=least + more)
    control = data.draw(drawn)
    assert type(control) is bytes
    assert least <= len(decode(control, abi)) <= least + more


@given(st.data(), abis(), st.integers(0, 40))
def test_control_messages_can_be_encoded_and_are_no_longer_than_asked(
    data: st.DataObject, abi: Abi, most: int
) -> None:
    message = data.draw(control_messages(abi=abi, max_size=most))
    assert len(message.data) <= most
    assert decode(encode([message], abi), abi) == [message]


@given(st.data(), abis())
def test_payloads_can_be_built(data: st.DataObject, abi: Abi) -> None:
    build(data.draw(payloads(abi=abi)), abi)


@given(st.data(), abis(), st.lists(control_messages(max_size=40), max_size=3))
def test_capacities_are_sizes(
    data: st.DataObject, abi: Abi, messages: list[ControlMessage]
) -> None:
    assert data.draw(capacities(messages, abi=abi)) >= 0


@pytest.mark.parametrize("abi", [LINUX, BSD, ABIS["s390x-linux-musl"]])
@pytest.mark.parametrize("left", [12, 16, 24, 48, 1000])
def test_hostile_lengths_fit_their_field(abi: Abi, left: int) -> None:
    lengths = hostile_lengths(abi, left)
    assert list(lengths) == sorted(set(lengths))
    limit = 1 << 8 * abi.length_size
    edges = {
        *(0, 1, abi.header_size - 1, abi.header_size, abi.header_size + 1),
        *(left - 1, left, left + 1),
        *(1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - abi.alignment, (1 << 64) - 1),
    }
    assert {edge for edge in edges if edge < limit} <= set(lengths)
    assert all(0 <= length < limit for length in lengths)


# What they are for.


def dirty(control: bytes) -> bool:
    """Whether what was there before is still there, in the padding."""
    return any(
        span.kind == "padding" and any(control[span.start : span.stop])
        for span in walk(control, LINUX)
    )


WELL_FORMED: dict[str, Callable[[bytes], bool]] = {
    "nothing": lambda c: c == b"",
    "clean padding": lambda c: "padding" in kinds(c) and not dirty(c),
    "dirty padding": dirty,
    "the last one unpadded": lambda c: len(c) % 8 == 4 and kinds(c)[-1] == "data",
    "nothing but a tail": lambda c: kinds(c) == ["tail"],
    "a tail": lambda c: kinds(c)[-2:] == ["padding", "tail"],
    "four messages": lambda c: kinds(c).count("header") == 4,
}


@pytest.mark.parametrize("name", WELL_FORMED)
def test_well_formed_corners_are_found(name: str) -> None:
    found(control_buffers(abi=LINUX), WELL_FORMED[name])


def told(control: bytes) -> int | None:
    """The length that the header tells which breaks the buffer."""
    error = fault(control)
    if error is None:
        return None
    return int.from_bytes(control[error.offset : error.offset + 8], "little")


def broken(control: bytes) -> int | None:
    """Which header breaks the buffer."""
    return kinds(control).count("header") if fault(control) else None


HOSTILE: dict[str, Callable[[bytes], bool]] = {
    "the first header": lambda c: broken(c) == 0,
    "the second header": lambda c: broken(c) == 1,
    "the third header": lambda c: broken(c) == 2,
    "zero": lambda c: told(c) == 0,
    "one less than a header": lambda c: told(c) == 15,
    "2^31": lambda c: told(c) == 1 << 31,
    "2^32 - 1": lambda c: told(c) == (1 << 32) - 1,
    "2^63": lambda c: told(c) == 1 << 63,
    "2^64 - 8, which aligns to itself": lambda c: told(c) == (1 << 64) - 8,
    "2^64 - 1, which aligns to zero": lambda c: told(c) == (1 << 64) - 1,
    "one more than is left": lambda c: bool(
        (error := fault(c)) and error.needed == error.available + 1
    ),
    "true all the same": lambda c: len(c) > 16 and not fault(c),
    "less than a header": lambda c: 0 < len(c) < 16,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_corners_are_found(name: str) -> None:
    found(hostile_control_buffers(abi=LINUX), HOSTILE[name])


def descriptors(payload: Payload) -> int | None:
    return len(payload.descriptors) if isinstance(payload, Rights) else None


PAYLOADS: dict[str, Callable[[Payload], bool]] = {
    "no descriptor": lambda p: descriptors(p) == 0,
    "one descriptor": lambda p: descriptors(p) == 1,
    "many descriptors": lambda p: 200 < (descriptors(p) or 0) < 253,
    "the most descriptors": lambda p: descriptors(p) == 253,
    "stray bytes": lambda p: isinstance(p, Rights) and len(p.stray) == 3,
    "a negative number": lambda p: isinstance(p, Rights) and -1 in p.descriptors,
    "credentials": lambda p: isinstance(p, Ucred),
    "an errno for a pidfd": lambda p: p == Pidfd(-24),
    "a time before 1970": lambda p: isinstance(p, Timestamp) and p.seconds < 0,
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_payloads_worth_testing_are_found(name: str) -> None:
    found(payloads(abi=LINUX), PAYLOADS[name])


MESSAGES: dict[str, Callable[[ControlMessage], bool]] = {
    "rights": lambda m: (m.level, m.type) == (1, 1) and len(m.data) in range(4, 40),
    "credentials": lambda m: (m.level, m.type) == (1, 2) and len(m.data) == 12,
    "truncated credentials": lambda m: (m.level, m.type) == (1, 2) and len(m.data) < 12,
    "any level": lambda m: m.level not in (0, 1, 6, 41),
    "a long one": lambda m: len(m.data) > 1000,
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_worth_testing_are_found(name: str) -> None:
    found(control_messages(abi=LINUX), MESSAGES[name])


RIGHTS = build(Rights((3, 4)), LINUX)


@pytest.mark.parametrize(
    "capacity", [0, 15, 16, 17, 19, 20, 21, 23, 24, 25, 48, 49, 64]
)
def test_the_edges_of_what_is_sent_are_found(capacity: int) -> None:
    two = capacities([RIGHTS, RIGHTS], abi=LINUX)
    assert found(two, lambda size: size == capacity) == capacity


def test_without_messages_any_small_capacity_is_drawn() -> None:
    assert minimal(capacities([], abi=LINUX), lambda size: size > 9) == 10


# Shrinking.


def test_the_simplest_of_each() -> None:
    assert minimal(abis(), anything) == NATIVE
    assert minimal(payloads(), anything) == Rights()
    assert minimal(control_messages(), anything) == build(Rights())
    assert minimal(control_buffers(), anything) == b""
    assert minimal(hostile_control_buffers(), anything) == b""


def test_a_fault_of_one_message_shrinks_to_one_message() -> None:
    wanted = minimal(
        control_buffers(abi=LINUX),
        lambda control: any(m.type == 2 for m in decode(control, LINUX)),
    )
    (message,) = decode(wanted, LINUX)
    assert message.data in (b"", bytes(12))
    assert wanted == encode([message], LINUX)


def test_the_smallest_lie_is_small() -> None:
    lie = minimal(hostile_control_buffers(abi=LINUX), lambda c: fault(c) is not None)
    assert lie == bytes(16)


# Arguments.


@pytest.mark.parametrize(
    ("make", "options", "said"),
    [
        (control_messages, {"abi": 64}, "abi=64 is not an Abi: pass"),
        (control_buffers, {"abi": "x86_64-linux-gnu"}, "is not an Abi: pass"),
        (hostile_control_buffers, {"abi": abis()}, r"flatmap\(lambda abi: "),
        (payloads, {"abi": None}, "abi=None is not an Abi: pass"),
        (control_messages, {"max_size": -1}, "max_size=-1: pass a whole number"),
        (control_messages, {"max_size": 1.5}, "max_size=1.5: pass a whole number"),
        (control_buffers, {"min_messages": True}, "min_messages=True: pass a whole"),
        (
            control_buffers,
            {"min_messages": 9},
            "min_messages=9 is more than max_messages=4: pass a larger max_messages",
        ),
        (abis, {"names": "x86-linux-gnu"}, "pass a list of names"),
        (abis, {"names": 5}, "names=5: pass a list of names"),
        (abis, {"names": []}, "pass at least one name"),
        (abis, {"names": ["x86-linux-gnu", "vax"]}, r"not there: \['vax'\]"),
        (capacities, {"messages": [b"bytes"]}, "pass a list of ControlMessage"),
        (capacities, {"messages": RIGHTS}, "pass a list of ControlMessage"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(
    make: Callable[..., object], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidArgument, match=said):
        make(**options)


def test_options_are_keywords() -> None:
    for make in (abis, payloads, control_messages, control_buffers):
        with pytest.raises(TypeError):
            cast("Any", make)(LINUX)


@pytest.mark.parametrize(
    "strategy",
    [
        control_messages(),
        control_messages(abi=BSD, max_size=8),
        control_buffers(min_messages=1, max_messages=2),
        hostile_control_buffers(abi=BSD),
        payloads(abi=BSD),
        abis(names=["x86-linux-gnu"]),
    ],
    ids=repr,
)
def test_a_strategy_prints_as_what_can_be_pasted(
    strategy: SearchStrategy[object],
) -> None:
    names = {**vars(strategies), **vars(st), "ABIS": ABIS}
    assert repr(eval(repr(strategy), names)) == repr(strategy)  # noqa: S307
