"""Who owns the descriptors that arrived.

The kernel installs descriptors while ``recvmsg`` runs; from then on each is open in
this process, whether anybody looks at it or not.  The account begins with the bytes
that the kernel wrote, and is kept apart from the buffer that they were written to:
what else is written there changes nothing about what is owned.

The invariant: a descriptor is entered once, and leaves the account once, by being taken
or by being closed.  That holds for threads, too: what they race for is an entry of a
list, and only one of them can pop it.

This module must not know where the bytes came from.
"""

from __future__ import annotations

import os
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ancfuzz.ancillary.items import ScmRights, UnknownMessage, descriptors, read
from ancfuzz.closing import runs

if TYPE_CHECKING:
    from ancfuzz.ancillary.items import Layout

__all__ = ["Account"]

_Entry = TypeVar("_Entry")


class _Owned(NamedTuple):
    """What one record had of one kind.

    Attributes:
        numbers: in the order of their arrival.
        runs: the same numbers, as :func:`ancfuzz.closing.runs` has them.
    """

    numbers: tuple[int, ...]
    runs: tuple[tuple[int, int], ...]


class Account:
    """The received descriptors that nobody has taken or closed.

    Dropped with some of them, it closes them and warns: with a tracemalloc traceback,
    of where the first of all was received.
    """

    __slots__ = ("_fds", "_layout", "_pidfds", "_unread")

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        # Lists because to pop and to extend are one step each, whatever threads do.
        self._unread: list[bytes] = []
        self._fds: list[_Owned] = []
        self._pidfds: list[_Owned] = []

    def enter(self, record: bytes) -> None:
        """Own what these control bytes, which the kernel wrote, say is installed."""
        self._unread.append(record)  # at once: what interrupts the reading leaves it
        self._read()

    def _read(self) -> None:
        while self._unread and (record := _pop(self._unread)):
            try:
                fds, pidfds = _installed(record, self._layout)
            except BaseException:
                self._unread.append(record)
                raise
            self._fds += fds
            if pidfds:
                self._pidfds += pidfds

    def take_fds(self) -> list[int]:
        """Hand over what came in SCM_RIGHTS messages, in its order."""
        return self._take(self._fds)

    def take_pidfds(self) -> list[int]:
        """Hand over what came in SCM_PIDFD messages."""
        return self._take(self._pidfds)

    def _take(self, owned: list[_Owned]) -> list[int]:
        if self._unread:
            self._read()
        taken: list[int] = []
        while owned and (one := _pop(owned)):
            taken += one.numbers
        return taken

    def untaken(self) -> tuple[int, ...]:
        """What would be closed."""
        if self._unread:
            self._read()
        owned = (*self._fds, *self._pidfds)
        return tuple(number for one in owned for number in one.numbers)

    def close(self) -> None:
        """Close what nobody has taken."""
        if self._unread:
            self._read()
        while self._fds or self._pidfds:
            one = _pop(self._fds) or _pop(self._pidfds)
            if one is not None:
                for first, behind in one.runs:
                    os.closerange(first, behind)

    def __del__(self) -> None:
        if self._fds or self._pidfds or self._unread:
            try:
                warnings.warn(
                    f"received descriptors {self.untaken()} were neither taken nor "
                    "closed",
                    ResourceWarning,
                    stacklevel=2,
                    source=self,
                )
            finally:  # a filter may make an error of the warning
                self.close()


def _pop(entries: list[_Entry]) -> _Entry | None:
    """An entry, for one thread alone; None if somebody else was quicker."""
    try:
        return entries.pop()
    except IndexError:
        return None


# The kernel gives out the lowest numbers that are free: whoever closes what arrived
# before the next receive gets the same numbers, and so the same bytes, again.
@lru_cache(maxsize=16)
def _installed(
    record: bytes, layout: Layout
) -> tuple[tuple[_Owned, ...], tuple[_Owned, ...]]:
    """What control bytes say is installed: descriptors, and pidfds."""
    pidfd = (layout.sol_socket, layout.scm_pidfd)
    fds: list[int] = []
    pidfds: list[int] = []
    messages, _ = read(record, layout)
    for message in messages:
        if isinstance(message, ScmRights):
            fds += message.fds
        elif (
            isinstance(message, UnknownMessage)
            and (message.level, message.type) == pidfd
        ):
            pidfds += descriptors(message.data, layout)
    return _owned(fds), _owned(pidfds)


def _owned(told: list[int]) -> tuple[_Owned, ...]:
    # Where it could install none, the kernel says why: -EMFILE for a pidfd (R4,
    # scm_pidfd_recv in net/core/scm.c), any errno under SO_RIGHTS_NOTRUNC (R21).
    numbers = tuple(number for number in told if number >= 0)
    return (_Owned(numbers, tuple(runs(sorted(numbers)))),) if numbers else ()
