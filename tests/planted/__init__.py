"""Bugs on purpose: implementations of a few lines, each wrong in one way.

A judge that never convicts proves nothing.  For every invariant there is one bug here
that breaks it and hardly anything else, and beside them the ways in which real code
goes wrong: it raises, hangs, exits, forks, closes what is not its own.
:data:`PLANTED` says what each has to be convicted of.

The worker imports this package by its name, ``planted``, or from its file, and the
tests as ``tests.planted``.  So it stands alone: it needs ancfuzz and nothing of the
tests, its modules name one another relatively, and every bug is known as the package's
own: ``planted:NAME``, whichever module it is written in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import (
    crashes,
    decoders,
    descriptors,
    encoders,
    hangs,
    kernels,
    receivers,
    senders,
)
from .registry import PLANTED, Plant

if TYPE_CHECKING:
    from ancfuzz import Implementation

__all__ = [
    "PLANTED",
    "Plant",
    "crashes",
    "decoders",
    "descriptors",
    "encoders",
    "hangs",
    "kernels",
    "receivers",
    "senders",
]

for _plant in PLANTED.values():
    _plant.bug.__module__ = __name__


def __getattr__(name: str) -> type[Implementation]:
    """A bug, by its name."""
    if name in PLANTED:
        return PLANTED[name].bug
    raise AttributeError(f"no bug is called {name}")
