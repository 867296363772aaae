"""Shapes of a worker's descriptor table, against what a receive installs there."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
from contextlib import contextmanager
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ancfuzz
from ancfuzz import table
from ancfuzz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

Ask: TypeAlias = "Callable[..., dict[str, Any]]"

HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
DEADLINE = 60.0

roomy = pytest.mark.skipif(
    0 <= HARD < 2048, reason=f"the hard limit of {HARD} descriptors is too low"
)


@contextmanager
def started_worker() -> Generator[Ask]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(DEADLINE)
        child = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("table_worker.py")),
                str(theirs.fileno()),
            ],
            env={**os.environ, "PYTHONPATH": str(Path(ancfuzz.__file__).parent.parent)},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
        try:
            theirs.close()
            with ours.makefile("rw") as lines:

                def ask(name: str, **arguments: object) -> dict[str, Any]:
                    print(json.dumps([name, arguments]), file=lines, flush=True)
                    answer: dict[str, Any] = json.loads(lines.readline())
                    return answer

                yield ask
            ours.close()
            assert child.wait(DEADLINE) == 0
        finally:
            child.kill()
            child.wait()


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    with started_worker() as asked:
        yield asked


def given_out(
    before: list[int], count: int, *, holes: str = ".", above: int | None = None
) -> list[int]:
    """The numbers that the kernel gives out: the lowest free ones in order (R8)."""
    lowest = -1 if above is None else above
    free = (number for number in range(lowest + 1, 1 << 20) if number not in before)
    first = next(free)
    patterned = (
        number
        for number in chain([first], free)
        if number - first >= table.HOLES_SPAN
        or holes[(number - first) % len(holes)] == "."
    )
    return list(islice(patterned, count))


@given(free=st.integers(0, 260), count=st.integers(1, 253))
def test_exactly_so_many_slots_are_free(ask: Ask, free: int, count: int) -> None:
    answer = ask("exchange", shape={"free": free}, count=count)
    assert answer["numbers"] == given_out(answer["before"], min(free, count))
    assert answer["truncated"] is (free < count)
    assert answer["exact"]
    assert answer["counted"]
    assert answer["restored"]
    assert answer["lost"] == []


@roomy
@given(
    holes=st.sampled_from(["x.", ".x", "xx.", ".xx.", "x...", "..x", "xxxxxxx."]),
    free=st.none() | st.integers(0, 90),
    above=st.none() | st.integers(0, 300),
    count=st.integers(1, 100),
    strewn=st.lists(st.integers(3, 120), max_size=6),
)
def test_a_receive_fills_the_holes(
    *,
    ask: Ask,
    holes: str,
    free: int | None,
    above: int | None,
    count: int,
    strewn: list[int],
) -> None:
    shape = {"holes": holes, "free": free, "above": above}
    answer = ask("exchange", shape=shape, count=count, strewn=strewn)
    delivered = count if free is None else min(free, count)
    expected = given_out(answer["before"], delivered, holes=holes, above=above)
    assert answer["numbers"] == expected
    assert answer["truncated"] is (delivered < count)
    assert answer["exact"]
    assert answer["restored"]


@roomy
def test_no_two_descriptors_are_neighbours(ask: Ask) -> None:
    shape = {"holes": table.EVERY_SECOND}
    numbers = ask("exchange", shape=shape, count=253)["numbers"]
    assert len(numbers) == 253
    assert all(b - a >= 2 for a, b in pairwise(numbers))


@roomy
@pytest.mark.parametrize("shape", [{}, {"free": 60}, {"holes": ".x"}])
def test_numbers_above_what_a_select_can_take(ask: Ask, shape: dict[str, Any]) -> None:
    answer = ask("exchange", shape={"above": 1023, **shape}, count=60)
    holes = shape.get("holes", ".")
    expected = given_out(answer["before"], 60, holes=holes, above=1023)
    assert answer["numbers"] == expected
    assert not answer["truncated"]
    assert answer["exact"]
    assert answer["restored"]


@roomy
@pytest.mark.parametrize("shape", [{"above": 1023}, {"holes": ".x"}, {"free": 60}])
def test_a_low_soft_limit_makes_way(ask: Ask, shape: dict[str, Any]) -> None:
    answer = ask("exchange", shape=shape, count=60, soft=50)
    assert len(answer["numbers"]) == 60
    assert not answer["truncated"]
    assert answer["restored"]


def test_no_shape_is_no_change(ask: Ask) -> None:
    answer = ask("exchange", shape={}, count=3)
    assert answer["numbers"] == given_out(answer["before"], 3)
    assert answer["restored"]


def test_shapes_nest(ask: Ask) -> None:
    answer = ask("nested")
    two, none, one, again = answer["seen"]
    assert len(two) == 2
    assert two[0] > 200
    assert two[1] - two[0] >= 2
    assert none == []
    assert one == two[:1]
    assert again == two
    assert answer["restored"]


def test_what_was_closed_or_replaced_is_left_alone_and_said(ask: Ask) -> None:
    answer = ask("sabotage", victims=3)
    assert answer["lost"] == answer["expected"]
    assert answer["left"]


def test_a_fork_of_a_worker_is_none(ask: Ask) -> None:
    assert ask("forked") == {"status": 0}


@pytest.mark.parametrize(
    "shape", [{"above": 1023}, {"free": 70}, {"above": 62, "holes": "x.", "free": 2}]
)
def test_a_hard_limit_that_is_too_low_is_unsupported(shape: dict[str, Any]) -> None:
    with started_worker() as ask:
        answer = ask("refused", shape=shape, hard=64)
        assert answer["said"].startswith("EnvironmentUnsupported: a hard limit of 64")
        assert answer["restored"]
        # The same worker goes on, with what there is room for.
        assert ask("exchange", shape={"free": 2}, count=3)["truncated"]
        assert ask("refused", shape={"above": 60}, hard=64)["said"] == "entered"


def test_all_that_is_left_can_be_left() -> None:
    with started_worker() as ask:
        answer = ask("all_that_is_left", hard=64)
        assert answer["left"] == answer["taken"] > 0


def test_closing_needs_no_room(ask: Ask) -> None:
    answer = ask("close_under_a_low_limit")
    assert answer["is_low"]
    assert answer["absent"] == answer["expected"]
    assert answer["restored"]


def test_this_process_is_no_worker() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    for shape in (table.free_slots(2), table.holes(), table.above(1023)):
        with pytest.raises(UsageError, match="not declared a worker"), shape:
            pass
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits


@pytest.mark.parametrize(
    ("shape", "wrong"),
    [
        ({"free": -1}, "-1 slots"),
        ({"above": -1}, "above -1"),
        ({"holes": "x"}, "no pattern"),
        ({"holes": "..."}, "no pattern"),
        ({"holes": "x.o"}, "no pattern"),
    ],
)
def test_a_shape_that_makes_no_sense_is_refused(
    shape: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(UsageError, match=wrong):
        table.shape_table(**shape)
