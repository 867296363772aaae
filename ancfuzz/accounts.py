"""The descriptor table kept like a book: what was there, what came, what must go.

A performer asks four things of it.  What is behind the numbers that a receive reports;
which numbers appeared and were not reported; whether everything is as before when the
case is over; and, when it is not, what it is.

Counting comes first, because it is cheap and nearly always all there is to do: only
when the number of open descriptors is not the expected one is the table listed.
Numbers that appeared and are nothing that the case sent are the runtime's own (a log,
an epoll), and are nobody's leak.

It closes only numbers that it saw appear and knows to be the case's.
"""

from __future__ import annotations

import gc
import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from ancfuzz.abi import NATIVE
from ancfuzz.case import Message, NamedPidfd, NamedRights, PlainMessage
from ancfuzz.descriptors import (
    Stock,
    close_all,
    identify,
    is_close_on_exec,
    is_open,
    open_count,
    open_numbers,
    process_behind,
)
from ancfuzz.names import (
    OTHER,
    PHANTOM,
    description_of,
    endpoint_name,
    names_endpoint,
)
from ancfuzz.naming import Values, named_credentials

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from ancfuzz.codec import ControlMessage

__all__ = ["Accounts", "Balance"]

_INT = 4  # bytes of a descriptor number
_NONE: frozenset[int] = frozenset()
# A sender that takes padding for a number sends these.
_STANDARD = {"number:0": 0, "number:1": 1, "number:2": 2}
_SOCKET = NATIVE.constants.get("SOL_SOCKET")
_RIGHTS = NATIVE.constants.get("SCM_RIGHTS")
_CREDENTIALS = NATIVE.constants.get("SCM_CREDENTIALS")
_PIDFD = NATIVE.constants.get("SCM_PIDFD")


class Balance(NamedTuple):
    """What a case left behind.

    Attributes:
        leaked: names of what it sent, or pidfds, still open.
        lost: names of the stock's and the case's own that were closed or replaced.
        grown: descriptors still open that it did not send: a runtime's own, perhaps.
    """

    leaked: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    grown: int = 0


_BALANCED = Balance()


class Accounts:
    """What is open in this process, from one case to the next.

    Args:
        stock: the descriptors that cases send.
        vigilant: whether to look after each case if they are still what they were, and
            not only when the number of open descriptors is wrong.
    """

    def __init__(self, stock: Stock, *, vigilant: bool = True) -> None:
        self._stock = stock
        self._vigilant = vigilant
        self._known: set[int] = set()
        self._stock_size = -1
        self._is_settled = False
        self._ends: dict[str, int] = {}
        self._gone: dict[int, str] = {}
        self._installed = 0
        self._occupied: frozenset[int] = frozenset()
        self._adrift: set[int] = set()
        self._strangers: set[int] = set()
        self._lost_early: set[str] = set()
        self._labels: dict[int, str] = {}
        self._next = 0

    # -- the course of a case ------------------------------------------------------

    def begin(self) -> None:
        """A case begins: what is open now is none of its doing."""
        self._ends = {}
        self._gone = {}
        self._adrift = set()
        self._strangers = set()
        self._lost_early = set()
        self._next = 0
        size = len(self._stock.numbers)
        if not self._is_settled or size != self._stock_size:
            self._known = set(open_numbers())
            self._stock_size = size
            self._is_settled = True

    def emptied(self) -> None:
        """The stock was: as many names may lead to other numbers when a case begins."""
        self._is_settled = False

    def opened(self, ends: Mapping[str, int], *, own: bool = False) -> None:
        """The case's own endpoints were opened.

        Args:
            ends: numbers, by name.
            own: the implementation made them, and what appeared is what they need.
        """
        for end, number in ends.items():
            self._ends[endpoint_name(end)] = number
        self._known.update(ends.values())
        if own or len(self._stock.numbers) != self._stock_size:
            # Duplicates of the endpoints, made to be sent, go with the endpoints too.
            self._known |= open_numbers()
            self._is_settled = False

    def closing(self, end: str) -> None:
        """An endpoint is about to be closed."""
        name = endpoint_name(end)
        number = self._ends.pop(name, None)
        if number is not None:
            self._known.discard(number)
            # It may still be in flight. A socket is one file, and has an inode of its
            # own as long as it lives.
            self._gone[os.fstat(number).st_ino] = name

    def expect(self, occupied: Iterable[int] = ()) -> None:
        """A receive comes next: what appears from here on, it installed.

        Args:
            occupied: numbers that a shape of the table holds open meanwhile.
        """
        self._occupied = frozenset(occupied) if occupied else _NONE
        self._labels = {}

    def arrived(self) -> None:
        """The receive is over; a shape of the table may still be there."""
        before = len(self._known) + len(self._occupied) + len(self._adrift)
        self._installed = open_count() - before

    def sent_by_a_stranger(self, sent: Iterable[str]) -> None:
        """Somebody was given these to send: look that they are still what they were.

        At the end it may be too late: a number that was closed can come to mean the
        same file again, received.
        """
        if self._vigilant:
            self._lost_early.update(self._stock.verify(dict.fromkeys(sent)))

    # -- what a receive brought ----------------------------------------------------

    def named(
        self, messages: Iterable[ControlMessage], sent: Sequence[str], values: Values
    ) -> tuple[tuple[Message, ...], frozenset[int]]:
        """Messages with names for numbers, and the numbers that are new and real.

        Args:
            messages: as an implementation reports them.
            sent: names of what the case sent so far, in order.
            values: the performer's ids and layout.
        """
        named: list[Message] = []
        new: set[int] = set()
        for message in messages:
            kind = message.type if message.level == _SOCKET else None
            data = bytes(message.data)
            if kind == _RIGHTS:
                named.append(self._rights(data, sent, new))
            elif kind == _CREDENTIALS:
                named.append(named_credentials(data, values.own, values.abi))
            elif kind == _PIDFD and len(data) == _INT:
                named.append(self._pidfd(data, new))
            else:
                named.append(PlainMessage(message.level, message.type, data.hex()))
        return tuple(named), frozenset(new)

    def _candidates(self, sent: Iterable[str]) -> dict[str, int]:
        """Numbers of what was sent, by the names of their descriptions."""
        candidates: dict[str, int] = {}
        stock, ends = self._stock.numbers, self._ends
        for name in sent:
            original = description_of(name)
            if original not in candidates:
                number = stock.get(original, ends.get(original))
                if number is not None:
                    candidates[original] = number
        return candidates

    def _rights(
        self,
        data: bytes,
        sent: Sequence[str],
        new: set[int],
    ) -> NamedRights:
        whole = len(data) // _INT
        numbers = struct.unpack_from(f"={whole}i", data)
        candidates = self._candidates(sent)
        names = tuple([self._name(one, sent, candidates, new) for one in numbers])
        return NamedRights(names, data[_INT * whole :].hex())

    def _is_new(self, number: int, new: set[int]) -> bool:
        return (
            number not in self._known
            and number not in self._occupied
            and number not in new
        )

    def _name(
        self,
        number: int,
        sent: Sequence[str],
        candidates: Mapping[str, int],
        new: set[int],
    ) -> str:
        if not self._is_new(number, new):
            return OTHER if is_open(number) else PHANTOM
        if number < 0 or not is_open(number):
            return PHANTOM
        new.add(number)
        guess = description_of(sent[self._next % len(sent)]) if sent else None
        self._next += 1
        name = identify(number, candidates, expected=guess)
        if name is None:
            name = self._gone_end(number) or identify(number, _STANDARD) or OTHER
        elif name != guess:
            # Out of step with what was sent: guess on from here.
            with suppress(ValueError):
                self._next = [description_of(one) for one in sent].index(name) + 1
        self._labels[number] = name
        return name

    def _gone_end(self, number: int) -> str | None:
        """The endpoint that a number is, although its own number was closed."""
        return self._gone.get(os.fstat(number).st_ino) if self._gone else None

    def _pidfd(self, data: bytes, new: set[int]) -> NamedPidfd:
        number = int.from_bytes(data, NATIVE.byte_order, signed=True)
        if number < 0:
            return NamedPidfd("none")
        if is_open(number) and self._is_new(number, new):
            pid = process_behind(number)
            if pid is not None:
                new.add(number)
                self._labels[number] = "pidfd"
                return NamedPidfd("self" if pid == os.getpid() else "other")
        return NamedPidfd("other")

    def inheritable(self, numbers: Iterable[int]) -> tuple[str, ...]:
        """Names of those that lack close-on-exec, of numbers called new."""
        lacking = [number for number in numbers if not is_close_on_exec(number)]
        return tuple([self._labels.get(number, OTHER) for number in sorted(lacking)])

    def unreported(
        self, reported: Iterable[int], sent: Sequence[str]
    ) -> tuple[str, ...]:
        """Names of what this receive installed beyond what was reported."""
        reported = set(reported)
        if self._installed <= len(reported):
            return ()
        gc.collect()  # what only a cycle holds open is let go of, not leaked
        candidates = self._candidates(sent)
        names: list[str] = []
        appeared = open_numbers() - self._known - self._occupied - reported
        for number in sorted(appeared - self._adrift):
            name = self._recognise(number, candidates)
            if name is None:
                self._known.add(number)  # the runtime's own
                self._strangers.add(number)
            else:
                self._adrift.add(number)
                names.append(name)
        return tuple(names)

    def close_what_appeared(self, sent: Sequence[str]) -> None:
        """Close what this receive installed, whatever was said of it."""
        candidates = self._candidates(sent)
        appeared = open_numbers() - self._known - self._occupied
        close_all(n for n in appeared if self._recognise(n, candidates) is not None)

    def _recognise(self, number: int, candidates: Mapping[str, int]) -> str | None:
        name = identify(number, candidates) or self._gone_end(number)
        if name is None and process_behind(number) is not None:
            return "pidfd"
        return name

    def close(self, numbers: Collection[int]) -> None:
        """Close numbers that :meth:`named` called new."""
        if numbers:
            close_all(numbers)

    # -- the end of a case -----------------------------------------------------------

    def settle(self, sent: Sequence[str]) -> Balance:
        """What the case left behind, and what it took away; everything put right.

        To be asked while the endpoints are still open, and the implementation is gone.
        What leaked is closed here.
        """
        # A count does not show a number that was closed and came to mean another file.
        suspects = dict.fromkeys(sent) if self._vigilant else ()
        lost = self._stock.verify(suspects) if suspects else ()
        lost += tuple(sorted(self._lost_early.difference(lost)))
        if (
            open_count() == len(self._known)
            and not self._adrift
            and not self._strangers
            and not lost
        ):
            self._known.difference_update(self._ends.values())
            return _BALANCED
        gc.collect()
        numbers = open_numbers()
        candidates = self._candidates(sent)
        leaked: list[tuple[int, str]] = []
        for number in sorted(numbers - self._known):
            name = self._recognise(number, candidates)
            if name is None:
                self._strangers.add(number)
            else:
                leaked.append((number, name))
        grown = len(self._strangers & numbers)
        lost = self._lost(numbers)
        close_all(number for number, _ in leaked)
        self._adrift = set()
        for name in lost:
            if not names_endpoint(name):
                self._stock.discard(name)
        self._ends = {}
        self._is_settled = False  # list the table anew for the next case
        return Balance(tuple(name for _, name in leaked), lost, grown)

    def _lost(self, numbers: frozenset[int]) -> tuple[str, ...]:
        ends = tuple(name for name, n in self._ends.items() if n not in numbers)
        early = self._lost_early.difference(now := self._stock.verify())
        return (*now, *sorted(early), *ends)
