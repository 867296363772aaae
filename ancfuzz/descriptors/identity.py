"""Whether two descriptor numbers are one open file description.

A duplicate, made by ``dup(2)`` or by passing over a socket, shares the description:
offset, status flags, everything but close-on-exec.  Opening the same thing again does
not.  There are three ways to ask, tried in this order and chosen once, on import:

    F_DUPFD_QUERY  fcntl(2), Linux 6.10; exact
    kcmp           kcmp(2), Linux 3.5, if neither the kernel's configuration nor a
                   seccomp filter forbids it; exact
    fstat          anywhere, and not exact; ``CONFUSED_BY_FSTAT`` says of what

Whichever is chosen proved itself on a pipe first: its read end is the same as a
duplicate of it, and not the same as the write end.  A number that is not open is the
same as nothing, itself included; that is an answer and never an error.

This room must not know names; :func:`identify` takes the candidates' as they come.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from ancfuzz.descriptors.calls import kcmp_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "CONFUSED_BY_FSTAT",
    "IDENTITY_METHOD",
    "Fingerprint",
    "IdentityMethod",
    "fingerprint",
    "identify",
    "identity_methods",
    "same_description",
]


class Fingerprint(NamedTuple):
    """What ``fstat`` and ``F_GETFL`` say of a descriptor that nobody can change.

    Permissions, size, times and flags such as O_NONBLOCK are left out: ``fchmod``, a
    write or ``F_SETFL`` changes those, and the description stays what it is.

    Attributes:
        device: ``st_dev``.
        inode: ``st_ino``.
        file_type: the file type bits of ``st_mode``.
        rdev: ``st_rdev``, of a device.
        access: O_RDONLY, O_WRONLY or O_RDWR, and O_PATH.
    """

    device: int
    inode: int
    file_type: int
    rdev: int
    access: int


_ACCESS: Final = os.O_ACCMODE | getattr(os, "O_PATH", 0)

CONFUSED_BY_FSTAT: Final = frozenset({"eventfd", "epoll", "timerfd", "pidfd"})
"""Kinds of which a fingerprint may confuse any two, of one kind or of different kinds.

They share one anonymous inode; a pidfd has that of its process from Linux 6.9 on.  Of
the others, two are confused only if they opened the same file, with the same access:
a pipe, a memfd or a file through ``/proc/self/fd``, a directory by its path.  The two
ends of a pipe differ in access, and a socket can only be duplicated.
"""


def fingerprint(number: int) -> Fingerprint:
    """What can be told of a descriptor without comparing it to another.

    Equal fingerprints may be one description or, as ``CONFUSED_BY_FSTAT`` says, two;
    different fingerprints are two.

    Raises:
        OSError: EBADF, the number is not open.
    """
    status = os.fstat(number)
    return Fingerprint(
        status.st_dev,
        status.st_ino,
        stat.S_IFMT(status.st_mode),
        status.st_rdev,
        fcntl.fcntl(number, fcntl.F_GETFL) & _ACCESS,
    )


_F_DUPFD_QUERY: Final = 1027  # linux/fcntl.h: F_LINUX_SPECIFIC_BASE + 3


def _same_by_query(a: int, b: int) -> bool:
    return fcntl.fcntl(a, _F_DUPFD_QUERY, b) == 1


def _same_by_kcmp(a: int, b: int) -> bool:
    return kcmp_files(a, b) == 0


def _same_by_fstat(a: int, b: int) -> bool:
    return fingerprint(a) == fingerprint(b)


@dataclass(frozen=True, slots=True)
class IdentityMethod:
    """One way to ask whether two numbers are one open file description.

    Attributes:
        name: ``F_DUPFD_QUERY``, ``kcmp`` or ``fstat``.
        compare: the bare question, of two numbers from 0 on that are open.
        cannot_tell: which descriptions it takes for one although they are two; empty
            if it is exact.
    """

    name: str
    compare: Callable[[int, int], bool]
    cannot_tell: str = ""

    @property
    def exact(self) -> bool:
        """Whether its yes is always right; a no always is."""
        return not self.cannot_tell

    def same(self, a: int, b: int) -> bool:
        """Whether both are open, and one open file description.

        Raises:
            OSError: the kernel refuses to answer, which a sandbox that was entered
                after the import can bring about; never EBADF.
        """
        if a < 0 or b < 0:
            return False
        try:
            return self.compare(a, b)
        except OSError as error:
            if error.errno == errno.EBADF:
                return False
            raise

    def works(self) -> bool:
        """Whether it can be asked here, and answers rightly for a pipe.

        Raises:
            OSError: three descriptors cannot be opened just now.
        """
        with ExitStack() as opened:
            read, write = os.pipe()
            opened.callback(os.close, read)
            opened.callback(os.close, write)
            duplicate = os.dup(read)
            opened.callback(os.close, duplicate)
            try:
                return self.compare(read, duplicate) and not self.compare(read, write)
            except OSError:
                # EINVAL, EPERM, ENOSYS, or whatever a seccomp filter likes to say.
                return False


_ALL_METHODS: Final = (
    IdentityMethod("F_DUPFD_QUERY", _same_by_query),
    IdentityMethod("kcmp", _same_by_kcmp),
    IdentityMethod(
        "fstat",
        _same_by_fstat,
        f"any two of {', '.join(sorted(CONFUSED_BY_FSTAT))}; one file opened twice "
        "with the same access",
    ),
)

IDENTITY_METHOD: Final = next(method for method in _ALL_METHODS if method.works())
"""The way that :func:`same_description` takes: the best one that works here."""


def identity_methods() -> tuple[IdentityMethod, ...]:
    """Every way that works here, the best one first."""
    return tuple(method for method in _ALL_METHODS if method.works())


def same_description(a: int, b: int) -> bool:
    """Whether both numbers are open, and one open file description.

    As sure as ``IDENTITY_METHOD.cannot_tell`` says.

    Raises:
        OSError: as :meth:`IdentityMethod.same`.
    """
    return IDENTITY_METHOD.same(a, b)


def identify(
    number: int, candidates: Mapping[str, int], *, expected: str | None = None
) -> str | None:
    """The name of the candidate whose open file description this number is.

    Args:
        number: of this process; one that is not open is none of them.
        candidates: numbers by name.  Duplicates of one description are the same to
            this function: the first in the mapping's order is found.
        expected: a candidate to try before all others, which is most of the speed: a
            miss costs as many comparisons as there are candidates.

    Raises:
        OSError: as :meth:`IdentityMethod.same`.
    """
    if expected is not None:
        guess = candidates.get(expected)
        if guess is not None and same_description(number, guess):
            return expected
    for name, candidate in candidates.items():
        if same_description(number, candidate):
            return name
    return None
