"""A sweep: a product of axes, as cases.

A sweep is not a list.  Its cases are made when they are asked for, by index, so that
any order costs nothing, and a short run can visit all sweeps in a seeded order.

This room must not know what is swept.
"""

from __future__ import annotations

from itertools import zip_longest
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from random import Random

    from ancfuzz.case import Case

__all__ = ["Sweep", "interleaved"]


class Sweep(NamedTuple):
    """A product of axes, as cases.

    Attributes:
        name: what it is about.
        axes: the values of each parameter of ``make``.
        make: makes the case of one point.
    """

    name: str
    axes: tuple[Sequence[Any], ...]
    make: Callable[..., Case]

    def __len__(self) -> int:
        return prod(len(axis) for axis in self.axes)

    def case(self, index: int) -> Case:
        """The case of one point; indices run through the last axis first."""
        point: list[Any] = []
        for axis in reversed(self.axes):
            index, place = divmod(index, len(axis))
            point.append(axis[place])
        return self.make(*reversed(point))

    def shuffled(self, random: Random) -> Iterator[Case]:
        """All cases, once each, in the order that a generator gives."""
        order = list(range(len(self)))
        random.shuffle(order)
        return map(self.case, order)


def interleaved(chosen: Sequence[Sweep], random: Random) -> Iterator[Case]:
    """All cases of several sweeps: one of each in turn, until all are through."""
    rounds = zip_longest(*(sweep.shuffled(random) for sweep in chosen))
    return (case for one in rounds for case in one if case is not None)
