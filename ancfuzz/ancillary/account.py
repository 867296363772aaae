"""Who owns the descriptors that arrived.

The kernel installs descriptors while ``recvmsg`` runs; from then on each is open in
this process, whether anybody looks at it or not.  The account begins with the bytes
that the kernel wrote, and is kept apart from the buffer that they were written to:
what else is written there changes nothing about what is owned.

The invariant: a descriptor is entered once, and leaves the account once, by being taken
or by being closed.  That holds for threads, too: what they race for is an entry of a
dictionary, which only one of them can pop.

This module must not know where the bytes came from.
"""

from __future__ import annotations

import os
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from ancfuzz.ancillary.items import ScmRights, UnknownMessage, descriptors, read
from ancfuzz.closing import runs

if TYPE_CHECKING:
    from ancfuzz.ancillary.items import Layout

__all__ = ["Account"]

_FDS: Final = "descriptors"
_PIDFDS: Final = "pidfds"


class _Owned(NamedTuple):
    """Descriptors of one kind.

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

    __slots__ = ("_layout", "_owned", "_unread")

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._unread = b""
        self._owned: dict[str, _Owned] = {}

    def enter(self, record: bytes) -> None:
        """Own what these control bytes, which the kernel wrote, say is installed.

        What was owned before is closed: threads may have seen to it that there is some.
        """
        if self._owned or self._unread:
            self.close()
        self._unread = record  # at once: what interrupts the reading leaves it unread
        self._read()

    def _read(self) -> None:
        self._owned = _installed(self._unread, self._layout).copy()
        self._unread = b""

    def take_fds(self) -> list[int]:
        """Hand over what came in SCM_RIGHTS messages, in its order."""
        return self._take(_FDS)

    def take_pidfds(self) -> list[int]:
        """Hand over what came in SCM_PIDFD messages."""
        return self._take(_PIDFDS)

    def _take(self, kind: str) -> list[int]:
        if self._unread:
            self._read()
        taken = self._owned.pop(kind, None)
        return [] if taken is None else list(taken.numbers)

    def untaken(self) -> tuple[int, ...]:
        """What would be closed."""
        if self._unread:
            self._read()
        return sum((owned.numbers for owned in tuple(self._owned.values())), ())

    def close(self) -> None:
        """Close what nobody has taken."""
        if self._unread:
            self._read()
        owned = self._owned
        for kind in tuple(owned):
            closing = owned.pop(kind, None)
            if closing is not None:
                for first, behind in closing.runs:
                    os.closerange(first, behind)

    def __del__(self) -> None:
        if self._owned or self._unread:
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


# The kernel gives out the lowest numbers that are free: whoever closes what arrived
# before the next receive gets the same numbers, and so the same bytes, again.
@lru_cache(maxsize=16)
def _installed(record: bytes, layout: Layout) -> dict[str, _Owned]:
    """By kind, what control bytes say is installed; no kind of which there is none."""
    pidfd = (layout.sol_socket, layout.scm_pidfd)
    found: dict[str, list[int]] = {}
    messages, _ = read(record, layout)
    for message in messages:
        if isinstance(message, ScmRights):
            found.setdefault(_FDS, []).extend(message.fds)
        elif (
            isinstance(message, UnknownMessage)
            and (message.level, message.type) == pidfd
        ):
            found.setdefault(_PIDFDS, []).extend(descriptors(message.data, layout))
    owned: dict[str, _Owned] = {}
    for kind, told in found.items():
        # Where it could install none, the kernel says why: -EMFILE for a pidfd (R4,
        # scm_pidfd_recv in net/core/scm.c), any errno under SO_RIGHTS_NOTRUNC (R21).
        installed = tuple(number for number in told if number >= 0)
        if installed:
            owned[kind] = _Owned(installed, tuple(runs(sorted(installed))))
    return owned
