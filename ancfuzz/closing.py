"""Which numbers lie next to each other, to be closed by one system call.

``close_range`` closes a run of neighbours in half the time of a loop, but between the
first number and the last there may be somebody else's.  So the question here is which
of some numbers follow each other without a gap; what arrives over a socket often does,
because the kernel gives out the lowest numbers that are free.

The invariant: of the numbers that are given each is in one run, and no other is.

This room must not know whose the numbers are, nor whether they are open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["runs"]


def runs(ordered: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Group numbers into runs without a gap.

    Args:
        ordered: the numbers, each once, in ascending order.

    Yields:
        The first number of a run, and the one behind its last, in ascending order.
    """
    at, behind = 0, len(ordered)
    while at < behind:
        first = ordered[at]
        # Holes in a descriptor table are low, and one long run comes behind them: that
        # the rest is a single one is seen without looking at each.
        if ordered[-1] - first == behind - 1 - at:
            yield first, ordered[-1] + 1
            return
        stop = at + 1
        while ordered[stop] == first + stop - at:  # ends: a gap is still to come
            stop += 1
        yield first, ordered[stop - 1] + 1
        at = stop
