"""A stock of descriptors by name, opened once and sent in case after case.

A case names descriptors (``ancfuzz.names``); whoever performs it asks the stock for
their numbers.  What was opened stays open, under the same number, for the next case: a
look-up is a dictionary's, and a leak of one case shows as a number that the stock does
not know.

A program under test may close a number that is not its own, or close it twice, and the
number then comes to mean something else.  So the stock keeps a *witness* of each
description, a duplicate at a high number, where descriptors that are opened as usual,
at the lowest free number, do not come.  :meth:`Stock.verify` compares each number to
its witness, and no number is closed that is not the same as its witness.

Names stand for each other: ``dup:memfd`` is a duplicate of ``memfd``, ``pipe-read#2``
and ``pipe-write#2`` are two ends of one pipe.  :meth:`Stock.discard` keeps that true.

This room must not know what a case is, nor what the descriptors are used for.
"""

from __future__ import annotations

import fcntl
import os
import resource
import warnings
from contextlib import ExitStack
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from ancfuzz.descriptors.identity import Fingerprint, fingerprint, same_description
from ancfuzz.descriptors.kinds import OPENERS, open_kind
from ancfuzz.errors import UsageError
from ancfuzz.names import CLOSED, NEGATIVE, description_of, endpoint_name, expand

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType
    from typing import Self

__all__ = ["NEVER_OPEN", "Stock"]

NEVER_OPEN: Final = 2**31 - 1
"""The number behind ``closed``: no table reaches it.

The kernel gives out numbers below ``fs.nr_open``, and that is below INT_MAX.
"""

_WITNESSES_FROM: Final = 512


class _Witness(NamedTuple):
    """A duplicate that vouches for a description, and how to know it again."""

    number: int
    fingerprint: Fingerprint


def _witness(number: int) -> _Witness:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = min(_WITNESSES_FROM, soft // 2)
    looks = fingerprint(number)
    return _Witness(fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, lowest), looks)


def _is_intact(witness: _Witness) -> bool:
    # Nothing vouches for a witness. What is left is that its number was a high one and
    # that it looks the same.
    try:
        return fingerprint(witness.number) == witness.fingerprint
    except OSError:
        return False


def _stem_and_suffix(name: str) -> tuple[str, str]:
    stem, mark, index = name.partition("#")
    return stem, mark + index


class Stock:
    """Descriptors by name, opened when they are first asked for.

    A context manager, not for several threads at once.  The numbers that it gives
    out are its own: they are to be sent, compared and described, never closed.
    """

    def __init__(self) -> None:
        # Everything that number() answers without work; the rest says whose it is.
        self._numbers: dict[str, int] = {CLOSED: NEVER_OPEN, NEGATIVE: -1}
        self._own: dict[str, int] = {}
        self._witnesses: dict[str, _Witness] = {}
        self._lent: dict[str, int] = {}
        self._of_endpoints: list[str] = []  # duplicates of what was lent

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_own", None):
            warnings.warn(f"unclosed {self!r}", ResourceWarning, 2, source=self)
            self.close()

    def __repr__(self) -> str:
        return f"<Stock of {len(self._own)} descriptors>"

    def number(self, name: str) -> int:
        """The number behind a name, which is opened if it is not yet.

        Opening takes two numbers of the table, one of them for the witness, so a case
        asks for all its names before it makes the table small.

        Args:
            name: one descriptor of ``ancfuzz.names``; a list item such as
                ``memfd#1..3`` is expanded first.

        Raises:
            UsageError: it names no descriptor, or several, or an endpoint that was not
                lent.
            EnvironmentUnsupported: its kind cannot be opened here, and why.
            OSError: there is no room just now: EMFILE and the like.
        """
        number = self._numbers.get(name)
        return self._open(name) if number is None else number

    @property
    def numbers(self) -> Mapping[str, int]:
        """What the stock has open, by name: a live view, to ``identify`` among."""
        return MappingProxyType(self._own)

    def names(self) -> tuple[str, ...]:
        """The names that the stock has open, in the order of their opening."""
        return tuple(self._own)

    def lend(self, endpoint: str, number: int) -> None:
        """Let ``socket:ENDPOINT`` name a socket of the caller's until :meth:`reclaim`.

        The stock does not close, verify or keep it open.
        """
        name = endpoint_name(endpoint)
        self._lent[name] = self._numbers[name] = number

    def reclaim(self) -> None:
        """Forget the endpoints that were lent, and close duplicates of them.

        The caller does this before it closes the endpoints: afterwards it can no
        longer be told whose the duplicates are.
        """
        if self._lent:
            if self._of_endpoints:
                self._release(self._of_endpoints)
            for name in self._lent:
                del self._numbers[name]
            self._lent.clear()

    def verify(self, names: Iterable[str] | None = None) -> tuple[str, ...]:
        """The names whose number is no longer what it was: closed, or replaced.

        One comparison a name (``identity``), and as sure as that.  A count does not see
        this: who closes one number and leaks another leaves as many open.

        Args:
            names: which to look at, say what a case sent; those that the stock does
                not have open are passed over.  All that it has open, if not given.
        """
        looked_at = self._own if names is None else names
        return tuple(
            name for name in looked_at if name in self._own and not self._is_own(name)
        )

    def discard(self, name: str) -> None:
        """Forget a name, so that it is opened anew when it is next asked for.

        With an original go its duplicates and the other end of its pipe, for a name has
        to mean what it says; a duplicate goes alone.  A number is closed if it still is
        the stock's, and left alone if somebody replaced it.  A name that the stock does
        not have open is none of its business.
        """
        if name not in self._own:
            return
        if description_of(name) != name:
            self._release([name])
            return
        stem, suffix = _stem_and_suffix(name)
        originals = {f"{kind}{suffix}" for kind in OPENERS[stem].kinds}
        self._release([n for n in self._own if description_of(n) in originals])

    def close(self) -> None:
        """Close everything that is still the stock's own; twice is once."""
        self._release(list(self._own))
        for name in self._lent:
            del self._numbers[name]
        self._lent.clear()

    def _open(self, name: str) -> int:
        if expand(name) != (name,):
            raise UsageError(f"{name!r} names several descriptors: expected one")
        original = description_of(name)
        if original != name:
            return self._open_duplicate(name, original)
        stem, suffix = _stem_and_suffix(name)
        if stem not in OPENERS:
            raise UsageError(
                f"{name!r} cannot be opened: expected a kind, {CLOSED}, {NEGATIVE}, or "
                f"an endpoint that was lent ({', '.join(self._lent) or 'none was'})"
            )
        numbers = open_kind(stem)
        names = [f"{kind}{suffix}" for kind in OPENERS[stem].kinds]
        witnesses: list[_Witness] = []
        with ExitStack() as undo:
            for number in numbers:
                undo.callback(os.close, number)
            for number in numbers:
                witness = _witness(number)
                undo.callback(os.close, witness.number)
                witnesses.append(witness)
            undo.pop_all()
        self._witnesses.update(zip(names, witnesses, strict=True))
        for one, number in zip(names, numbers, strict=True):
            self._own[one] = self._numbers[one] = number
        return self._own[name]

    def _open_duplicate(self, name: str, original: str) -> int:
        if original in (CLOSED, NEGATIVE):
            raise UsageError(f"{name!r} cannot be opened: {original} has no duplicate")
        self.number(original)
        duplicate = fcntl.fcntl(self._reference(original), fcntl.F_DUPFD_CLOEXEC, 0)
        self._own[name] = self._numbers[name] = duplicate
        if original in self._lent:
            self._of_endpoints.append(name)
        return duplicate

    def _reference(self, original: str) -> int:
        """The number that is compared to, and duplicated: nobody else has seen it."""
        witness = self._witnesses.get(original)
        return self._lent[original] if witness is None else witness.number

    def _is_own(self, name: str) -> bool:
        return same_description(self._own[name], self._reference(description_of(name)))

    def _release(self, names: Iterable[str]) -> None:
        """Close and forget; what is no longer the stock's own is only forgotten."""
        names = list(names)
        # A set: a number that was closed behind our back may have come to a duplicate
        # of the same description, and then belongs to two names.
        for number in {self._own[name] for name in names if self._is_own(name)}:
            os.close(number)
        for name in names:
            del self._own[name], self._numbers[name]
            if name in self._of_endpoints:
                self._of_endpoints.remove(name)
            witness = self._witnesses.pop(name, None)
            if witness is not None and _is_intact(witness):
                os.close(witness.number)
