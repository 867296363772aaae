"""The descriptor table as an input: full, nearly full, full of holes, above 1023.

What a receive installs depends on which numbers are free and how many.  The kernel
gives out the lowest free numbers in ascending order, as many as the soft RLIMIT_NOFILE
leaves, then sets MSG_CTRUNC and drops the rest (R8; ``scm_detach_fds`` in
``net/core/scm.c``).  Receivers go wrong there: they take what they did not get, count
on neighbours being consecutive, put a number above 1023 into an ``fd_set``.

Three shapes, each a context manager that puts everything back.  They nest, the limit
innermost, and :func:`shape_table` makes them together:

    free_slots(k)  exactly k numbers can still be given out
    holes("x.")    the free numbers are scattered between used ones
    above(1023)    all free numbers are greater

All of it is exact as long as no other thread opens or closes.  It changes limits and
occupies numbers for the whole process, so it happens in a worker only, which says that
it is one by :func:`allow_in_this_process`; a fork of a worker has to say so again.

Under a low soft limit an unprivileged sender gets ETOOMANYREFS early (S20), and
anything else that opens a file gets EMFILE: a shape is for around a receive.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
from typing import TYPE_CHECKING, Final

from ancfuzz.descriptors import (
    Fingerprint,
    close_all,
    fingerprint,
    is_open,
    same_description,
)
from ancfuzz.errors import EnvironmentUnsupported, UsageError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = [
    "EVERY_SECOND",
    "HOLES_SPAN",
    "ShapedTable",
    "above",
    "allow_in_this_process",
    "free_slots",
    "holes",
    "shape_table",
]

EVERY_SECOND: Final = "x."
"""The pattern in which no two free numbers are neighbours."""

HOLES_SPAN: Final = 512
"""How many numbers a pattern of holes is laid over.

With every second one free they take the most that one message brings, 253 (S06).
"""

_ROOM: Final = 512  # numbers that stay free above what is occupied, if the limit allows

_worker: int | None = None


def allow_in_this_process() -> None:
    """Declare this process a worker, whose table may be shaped.

    A worker is a process that ancfuzz started and may lose; never the one that imported
    ancfuzz to use it.
    """
    global _worker  # noqa: PLW0603  (a process is one thing, and so is what it is for)
    _worker = os.getpid()


def _refuse_unless_worker() -> None:
    if _worker != os.getpid():
        raise UsageError(
            "the descriptor table of this process is not to be shaped: it was not "
            "declared a worker, which allow_in_this_process() does in a process of its "
            "own"
        )


class ShapedTable:
    """A shape of the descriptor table, from ``__enter__`` to ``__exit__``, once.

    Entering raises :class:`EnvironmentUnsupported` where the hard limit, or the
    system's ``fs.nr_open``, leaves too few numbers for it; the table is then as it was.

    Attributes:
        lost: of the numbers that it held open, those that it found closed or replaced
            on the way back, and left alone.
    """

    def __init__(self, *, free: int | None, holes: str, above: int | None) -> None:
        if free is not None and free < 0:
            raise UsageError(f"{free} slots cannot be free: expected 0 or more")
        if above is not None and above < 0:
            raise UsageError(f"numbers above {above}: expected 0 or more")
        if holes and set(holes) != {"x", "."}:
            raise UsageError(
                f"{holes!r} is no pattern of holes: expected at least one 'x', a used "
                "number, and one '.', a free one"
            )
        self._free = free
        self._holes = holes
        self._above = above
        self._limits = (0, 0)
        self._filler: Fingerprint | None = None
        self._taken: list[int] = []
        self.lost: tuple[int, ...] = ()

    @property
    def occupied(self) -> tuple[int, ...]:
        """The numbers that it holds open just now, in ascending order."""
        return tuple(self._taken)

    def __enter__(self) -> Self:
        _refuse_unless_worker()
        self._limits = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            # What the soft limit is now, perhaps an outer shape's, is no obstacle.
            _set_soft_limit(hard, hard)
            if self._holes or self._above is not None:
                self._occupy(hard)
                highest = max((*self._taken, self._above or 0))
                soft = max(soft, min(hard, highest + 1 + _ROOM))
            if self._free is not None:
                soft = _limit_that_leaves(self._free, hard)
            _set_soft_limit(soft, hard)
        except BaseException as error:
            self._restore()
            if isinstance(error, OSError) and error.errno == errno.EMFILE:
                raise EnvironmentUnsupported(
                    f"a hard limit of {hard} descriptors is too low for this shape of "
                    "the table: start with a higher one, see `ulimit -Hn`"
                ) from error
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

    def _occupy(self, hard: int) -> None:
        # One end of a pipe of its own: inert, and unlike anything else that is open.
        filler, other_end = os.pipe()
        try:
            os.close(other_end)
            self._filler = fingerprint(filler)
            if self._above is not None:
                self._occupy_up_to(self._above, filler)
            if self._holes:
                self._occupy_between_holes(filler, hard)
        finally:
            if filler not in self._taken:
                os.close(filler)

    def _occupy_up_to(self, last: int, filler: int) -> None:
        number = filler
        while number <= last:
            self._taken.append(number)
            number = os.dup(filler)
        if number == filler:
            number = os.dup(filler)  # a number above must be left, or this is EMFILE
        os.close(number)

    def _occupy_between_holes(self, filler: int, hard: int) -> None:
        first = filler
        if filler in self._taken:
            first = os.dup(filler)
            os.close(first)
        wanted = HOLES_SPAN if self._free is None else self._free + 1
        for number in range(first, min(first + HOLES_SPAN, hard)):
            used = number != filler and is_open(number)
            if self._holes[(number - first) % len(self._holes)] == ".":
                wanted -= 0 if used else 1
                if wanted == 0:
                    return
            elif number == filler:
                self._taken.append(filler)
            elif not used:
                self._taken.append(fcntl.fcntl(filler, fcntl.F_DUPFD_CLOEXEC, number))

    def _restore(self) -> None:
        _set_soft_limit(*self._limits)
        # The first that is still a filler vouches for the others: to compare two is
        # faster than to look at each.
        known = next(filter(self._is_filler, self._taken), -1)
        own = {number for number in self._taken if same_description(number, known)}
        self.lost = tuple(number for number in self._taken if number not in own)
        close_all(own)
        self._taken.clear()

    def _is_filler(self, number: int) -> bool:
        try:
            return fingerprint(number) == self._filler
        except OSError as error:
            if error.errno == errno.EBADF:
                return False
            raise


def _set_soft_limit(soft: int, hard: int) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    except (ValueError, OSError) as error:
        # EPERM: fs.nr_open was made lower than the hard limit after that was set.
        raise EnvironmentUnsupported(
            f"the soft limit on descriptors cannot be set to {soft} of {hard}: {error}"
        ) from error


def _limit_that_leaves(free: int, hard: int) -> int:
    """The soft limit below which exactly so many numbers are free."""
    probes: list[int] = []
    try:
        probes.append(os.open("/", os.O_RDONLY))
        while len(probes) <= free:
            probes.append(os.dup(probes[0]))
    except OSError as error:
        if error.errno == errno.EMFILE and len(probes) == free:
            return hard  # all that there are
        raise
    finally:
        close_all(probes)
    return probes[free]


def shape_table(
    *, free: int | None = None, holes: str = "", above: int | None = None
) -> ShapedTable:
    """Shape the descriptor table of this process, a worker.

    Args:
        free: how many more numbers can be given out, exactly; None for plenty.
        holes: a pattern such as ``EVERY_SECOND``, ``x`` for a used number and ``.`` for
            a free one, repeated over ``HOLES_SPAN`` numbers from the lowest free one
            on.  What is open already stays so, also where the pattern has a hole.  With
            ``free`` it goes no further than there are numbers to give out.
        above: no number up to this one is free.

    Returns:
        A context manager.  Above first, then holes, then the limit.

    Raises:
        UsageError: a value makes no sense; on entry, this process is no worker.
    """
    return ShapedTable(free=free, holes=holes, above=above)


def free_slots(k: int) -> ShapedTable:
    """Exactly k numbers can be given out: 0 is a full table."""
    return shape_table(free=k)


def holes(pattern: str = EVERY_SECOND) -> ShapedTable:
    """The free numbers are scattered: see :func:`shape_table`."""
    return shape_table(holes=pattern)


def above(number: int) -> ShapedTable:
    """All free numbers are greater than this one."""
    return shape_table(above=number)
