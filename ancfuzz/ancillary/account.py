"""Who owns the descriptors that arrived.

The kernel installs descriptors while ``recvmsg`` runs; from then on each is open in
this process, whether anybody looks at it or not.  The account begins with the bytes
that the kernel wrote, and is kept apart from the buffer that they were written to:
what else is written there changes nothing about what is owned.

The invariant: a descriptor is entered once, and leaves the account once, by being taken
or by being closed.

This module must not know where the bytes came from.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ancfuzz.ancillary.items import (
    Layout,
    ScmRights,
    UnknownMessage,
    descriptors,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Account"]


class Account:
    """The received descriptors that nobody has taken or closed.

    Attributes:
        pending: False if there is certainly none.
    """

    __slots__ = ("_fds", "_layout", "_pidfds", "_record", "pending")

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._record = b""
        self._fds: list[int] = []
        self._pidfds: list[int] = []
        self.pending = False

    def enter(self, record: bytes) -> None:
        """Own what these control bytes, which the kernel wrote, say is installed."""
        # Read only when something is taken or closed: often nothing is but descriptors.
        self._record = record
        self.pending = True

    def _read_record(self) -> None:
        layout = self._layout
        pidfd = (layout.sol_socket, layout.scm_pidfd)
        fds: list[int] = []
        pidfds: list[int] = []
        messages, _ = read(self._record, layout)
        for message in messages:
            if isinstance(message, ScmRights):
                fds += _installed(message.fds)
            elif (
                isinstance(message, UnknownMessage)
                and (message.level, message.type) == pidfd
            ):
                pidfds += _installed(descriptors(message.data, layout))
        # At once, and at the end: what interrupts this leaves the record to be read.
        self._fds, self._pidfds, self._record = fds, pidfds, b""

    def take_fds(self) -> list[int]:
        """Hand over what came in SCM_RIGHTS messages, in its order."""
        if self._record:
            self._read_record()
        taken, self._fds = self._fds, []
        self.pending = bool(self._pidfds)
        return taken

    def take_pidfds(self) -> list[int]:
        """Hand over what came in SCM_PIDFD messages."""
        if self._record:
            self._read_record()
        taken, self._pidfds = self._pidfds, []
        self.pending = bool(self._fds)
        return taken

    def untaken(self) -> tuple[int, ...]:
        """What would be closed."""
        if self._record:
            self._read_record()
        return (*self._fds, *self._pidfds)

    def close(self) -> None:
        """Close what nobody has taken."""
        owned = self.untaken()
        self._fds, self._pidfds = [], []
        self.pending = False
        _close_runs(owned)


def _installed(numbers: tuple[int, ...]) -> tuple[int, ...]:
    # Where it could install none, the kernel says why: -EMFILE for a pidfd (R4,
    # scm_pidfd_recv in net/core/scm.c), any errno under SO_RIGHTS_NOTRUNC (R21).
    if numbers and min(numbers) < 0:
        return tuple(number for number in numbers if number >= 0)
    return numbers


def _close_runs(numbers: Iterable[int]) -> None:
    """Close these numbers and no other, neighbours at once.

    ``close_range`` takes half as long as a loop, but between the first number and the
    last there may be somebody else's: a run ends where the next number is not ours.
    """
    first = behind = -1
    for number in sorted(numbers):
        if number != behind:
            _close_run(first, behind)
            first = number
        behind = number + 1
    _close_run(first, behind)


def _close_run(first: int, behind: int) -> None:
    # Not for an empty run: os.closerange(-1, -1) closes all there is.
    if first < behind:
        os.closerange(first, behind)
