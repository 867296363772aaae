"""A source of choices: all that a grammar may ask for.

Three questions, and whoever answers them drives the grammar: a seeded generator for
bulk, the bytes of a fuzzer, Hypothesis for a test.  What is drawn depends on the
answers alone.

This room must not know what is drawn.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Choices", "SeededChoices"]

_T = TypeVar("_T")


class Choices(Protocol):
    """What a grammar may ask for."""

    def integer(self, lo: int, hi: int) -> int:
        """An integer from lo to hi, both included."""
        ...

    def choice(self, options: Sequence[_T]) -> _T:
        """One of the options."""
        ...

    def data(self, size: int) -> bytes:
        """So many bytes."""
        ...


class SeededChoices:
    """Choices of a generator that a seed determines."""

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed)

    def integer(self, lo: int, hi: int) -> int:
        """An integer from lo to hi, both included."""
        # randrange is four times as slow, and its bias-free ends are not needed here.
        return lo + int(self._random.random() * (hi - lo + 1))

    def choice(self, options: Sequence[_T]) -> _T:
        """One of the options."""
        return options[int(self._random.random() * len(options))]

    def data(self, size: int) -> bytes:
        """So many bytes."""
        return self._random.randbytes(size)
