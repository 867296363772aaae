"""Which numbers are closed together: each that was given, and no other."""

from __future__ import annotations

import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from ancfuzz.closing import runs


@given(numbers=st.sets(st.integers(-5, 60)))
@example(numbers={3, 7, *range(20, 273)})  # low holes filled, and one long run
@example(numbers={*range(253)})
@example(numbers={0, 2, 4, 6})
def test_each_number_is_in_one_run_and_no_other_is(numbers: set[int]) -> None:
    found = list(runs(sorted(numbers)))
    assert [n for first, behind in found for n in range(first, behind)] == sorted(
        numbers
    )


@given(numbers=st.sets(st.integers(0, 60)))
def test_runs_are_as_long_as_can_be(numbers: set[int]) -> None:
    found = list(runs(sorted(numbers)))
    for (_, behind), (first, _) in itertools.pairwise(found):
        assert behind < first
    assert all(first < behind for first, behind in found)
