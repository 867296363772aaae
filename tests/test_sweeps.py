"""Sweeps: each point once, in any order, on the axes that boundaries are made of."""

from __future__ import annotations

from collections import Counter
from itertools import product
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz import corpus
from ancfuzz.abi import ABIS, NATIVE, Abi
from ancfuzz.case import (
    Case,
    Decode,
    Encode,
    EncodeInto,
    NamedRights,
    Open,
    Receive,
    Send,
    SendAll,
    SetOption,
    SocketKind,
    Step,
    Table,
    check,
)
from ancfuzz.codec import walk
from ancfuzz.grammar import hostile_lengths
from ancfuzz.names import KINDS, kind_of
from ancfuzz.sweeps import Sweep, interleaved, sweeps

SWEEPS = {sweep.name: sweep for sweep in sweeps()}
LOOKED_AT = 400  # cases of each sweep: there are tens of thousands
EACH_SWEEP = pytest.mark.parametrize("sweep", SWEEPS.values(), ids=SWEEPS)


def some_cases(sweep: Sweep) -> list[Case]:
    indices = Random(1).sample(range(len(sweep)), min(len(sweep), LOOKED_AT))
    return [sweep.case(index) for index in indices]


def descriptors(case: Case) -> int:
    return sum(
        len(message.names())
        for step in case.steps
        if isinstance(step, Send | SendAll)
        for message in step.messages
        if isinstance(message, NamedRights)
    )


def steps_of(*names: str) -> list[Step]:
    return [
        step
        for name in names
        for case in some_cases(SWEEPS[name])
        for step in case.steps
    ]


# -- what a sweep is ----------------------------------------------------------------

AXES = st.lists(st.lists(st.integers(), min_size=1, max_size=4), min_size=1, max_size=4)


def noted(*point: int) -> Case:
    return Case((), note=repr(point))


@given(AXES)
def test_indices_are_the_points_of_the_product(axes: list[list[int]]) -> None:
    sweep = Sweep("a sweep", tuple(axes), noted)
    points = [repr(point) for point in product(*axes)]
    assert [sweep.case(n).note for n in range(len(sweep))] == points


@given(AXES, st.integers())
def test_shuffled_is_a_permutation_that_the_seed_determines(
    axes: list[list[int]], seed: int
) -> None:
    sweep = Sweep("a sweep", tuple(axes), noted)
    points = Counter(repr(point) for point in product(*axes))
    one, other = (
        [case.note for case in sweep.shuffled(Random(seed))] for _ in range(2)
    )
    assert Counter(one) == points
    assert one == other


def test_other_seeds_give_other_orders() -> None:
    sweep = Sweep("a sweep", (range(10), range(10)), noted)
    orders = {
        tuple(case.note for case in sweep.shuffled(Random(seed))) for seed in range(20)
    }
    assert len(orders) == 20


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers())
def test_several_sweeps_are_taken_in_turn_until_all_are_through(
    sizes: list[int], seed: int
) -> None:
    chosen = [Sweep(str(n), ([n], range(size)), noted) for n, size in enumerate(sizes)]
    taken = [eval(case.note) for case in interleaved(chosen, Random(seed))]  # noqa: S307
    assert sorted(taken) == [
        (n, at) for n, size in enumerate(sizes) for at in range(size)
    ]
    rounds = Counter[int]()
    for number, _ in taken:
        rounds[number] += 1
        # No sweep is a round ahead of another that still has cases.
        behind = [n for n, size in enumerate(sizes) if rounds[n] < size]
        assert all(rounds[number] <= rounds[n] + 1 for n in behind)
    assert taken == [
        eval(case.note)  # noqa: S307  (a tuple of our own)
        for case in interleaved(chosen, Random(seed))
    ]


# -- every sweep ----------------------------------------------------------------------


def test_sweeps_have_names_of_their_own() -> None:
    assert len(SWEEPS) == len(sweeps()) > 10


@EACH_SWEEP
def test_cases_make_sense(sweep: Sweep) -> None:
    for case in some_cases(sweep):
        check(case)
        assert corpus.loads(corpus.dumps(case)) == case


@EACH_SWEEP
def test_few_points_have_the_same_case(sweep: Sweep) -> None:
    cases = some_cases(sweep)
    assert len({corpus.case_id(case) for case in cases}) > 0.7 * len(cases)


@EACH_SWEEP
def test_an_index_is_always_the_same_case(sweep: Sweep) -> None:
    (again,) = [one for one in sweeps() if one.name == sweep.name]
    for index in (0, len(sweep) // 2, len(sweep) - 1):
        assert sweep.case(index) == again.case(index)


@pytest.mark.parametrize("abi", [ABIS["x86-linux-gnu"], ABIS["s390x-linux-musl"]])
def test_other_layouts_have_sweeps_of_their_own(abi: Abi) -> None:
    for sweep in sweeps(abi):
        for case in some_cases(sweep)[::20]:
            check(case)


# -- the axes -------------------------------------------------------------------------


def test_descriptors_around_every_number_at_which_something_changes() -> None:
    sweep = SWEEPS["rights by capacity"]
    counts = Counter(descriptors(sweep.case(n)) for n in range(len(sweep)))
    wanted = {*range(6), *range(27, 30), *range(59, 65), *range(251, 256)}
    assert set(counts) == wanted
    assert len(set(counts.values())) == 1


@pytest.mark.parametrize("passcred", [False, True])
def test_capacities_around_every_edge_of_every_number(passcred: bool) -> None:
    sweep = SWEEPS["rights by capacity"]
    found: dict[int, set[int]] = {}
    for index in range(len(sweep)):
        case = sweep.case(index)
        if any(isinstance(step, SetOption) for step in case.steps) != passcred:
            continue
        (receive,) = [step for step in case.steps if isinstance(step, Receive)]
        found.setdefault(descriptors(case), set()).add(receive.control_capacity)
    before = NATIVE.cmsg_space(12) if passcred else 0
    for count, capacities in found.items():
        length = before + NATIVE.cmsg_len(4 * count)
        space = before + NATIVE.cmsg_space(4 * count)
        edges = {length - 4, length - 1, length, length + 1, space, before}
        if count < 5:
            assert edges <= capacities | {before}
        assert {length - 4, length - 1, length, length + 1, space} <= capacities


def test_every_small_capacity() -> None:
    found = {
        step.control_capacity
        for step in steps_of("small capacities")
        if isinstance(step, Receive)
    }
    assert {0, 1, 15, 16, 17, 19, 20, 23, 24, 28, 32, 48, 52, 55, 56} <= found


def test_every_kind_of_socket_with_and_without_credentials() -> None:
    over_sockets = ("rights by capacity", "small capacities", "several messages")
    for name in (*over_sockets, "boundaries", "options", "descriptor tables"):
        cases = some_cases(SWEEPS[name])
        kinds = {s.kind for case in cases for s in case.steps if isinstance(s, Open)}
        assert kinds == set(get_args(SocketKind))
        options = [
            any(
                isinstance(s, SetOption) and s.option == "SO_PASSCRED"
                for s in case.steps
            )
            for case in cases
        ]
        assert set(options) == {True, False}


def test_several_messages_in_every_company() -> None:
    sends = [s for s in steps_of("several messages") if isinstance(s, Send)]
    assert {len(send.messages) for send in sends} >= {1, 2, 3}
    together = {tuple(type(m).__name__ for m in send.messages) for send in sends}
    assert ("NamedCredentials", "NamedRights") in together
    assert ("NamedRights", "NamedCredentials") in together
    assert ("NamedRights", "NamedRights") in together


def test_every_kind_of_descriptor() -> None:
    kinds = {
        kind_of(name)
        for step in steps_of("kinds of descriptors")
        if isinstance(step, Send)
        for message in step.messages
        if isinstance(message, NamedRights)
        for name in message.names()
    }
    assert kinds == set(KINDS)


def test_every_hostile_length_as_the_first_and_behind_others() -> None:
    sweep = SWEEPS["hostile lengths"]
    size, order = NATIVE.length_size, NATIVE.byte_order
    found: tuple[set[int], ...] = set(), set(), set()
    for index in range(len(sweep)):
        (step,) = sweep.case(index).steps
        assert isinstance(step, Decode)
        control = bytes.fromhex(step.control)
        at = 0
        for lengths in found:
            field = control[at + NATIVE.length_offset :][:size]
            if len(field) == size:
                lengths.add(int.from_bytes(field, order))
            at += NATIVE.cmsg_space(4)
    # Whatever is left: some lengths depend on it.
    wanted = {*hostile_lengths(24)} & {*hostile_lengths(56)} & {*hostile_lengths(96)}
    assert {0, 1, 2**31, (1 << 8 * size) - 1} <= wanted
    assert all(wanted <= lengths for lengths in found)


def test_buffers_are_cut_at_every_byte() -> None:
    kinds = Counter(
        [*walk(bytes.fromhex(step.control))][-1].kind
        for step in steps_of("whole and cut buffers")
        if isinstance(step, Decode) and step.control
    )
    assert set(kinds) >= {"data", "padding", "tail", "broken"}


@pytest.mark.parametrize("name", ["encodings by capacity", "encodings in a buffer"])
def test_encodings_fit_exactly_and_not_by_one(name: str) -> None:
    distances = Counter(
        step.capacity - sum(NATIVE.cmsg_space(len(m.data) // 2) for m in step.messages)
        for index in range(len(SWEEPS[name]))
        for step in SWEEPS[name].case(index).steps
        if isinstance(step, Encode | EncodeInto)
    )
    assert {-8, -1, 0, 1, 8} <= set(distances) or {-17, -9, -1, 1} <= set(distances)
    assert min(distances) < 0 < max(distances)


def test_tables_that_are_full_and_full_of_holes_and_high() -> None:
    tables = [step for step in steps_of("descriptor tables") if isinstance(step, Table)]
    assert {0, 1, 2} <= {table.free for table in tables}
    assert any(table.holes for table in tables)
    assert any(table.above == 1023 for table in tables)


def test_every_option_before_and_behind_the_send() -> None:
    early, late = set[str](), set[str]()
    for case in some_cases(SWEEPS["options"]):
        sent = [isinstance(step, Send) for step in case.steps].index(True)
        for index, step in enumerate(case.steps):
            if isinstance(step, SetOption):
                (early if index < sent else late).add(step.option)
    wanted = {"SO_PASSCRED", "SO_PASSPIDFD", "SO_TIMESTAMP", "SO_PASSRIGHTS"}
    assert wanted <= early & late


def test_peeks_at_every_size() -> None:
    peeked = {
        step.data_capacity
        for step in steps_of("boundaries")
        if isinstance(step, Receive) and "MSG_PEEK" in step.flags
    }
    assert {0, 1, 2, 64} <= peeked


def test_sends_that_one_write_does_not_take() -> None:
    sizes = {
        int(step.data.partition("*")[2] or 1)
        for step in steps_of("long sends")
        if isinstance(step, SendAll)
    }
    assert max(sizes) >= 1 << 18
    assert min(sizes) == 1
