"""How each kind of descriptor is opened, and what it needs.

``ancfuzz.names`` says what a case may call a descriptor; the table here says how one of
that kind comes to be, on any machine: without ``/dev``, which sandboxes lack, without
the network, and in whatever directory the process happens to be.

What is opened is inert and private: an empty unlinked file, a directory that is gone
already, an unconnected socket, a pidfd of this very process.  A program under test that
reads, writes, polls or closes it harms nobody.

Every descriptor is close-on-exec from birth.  This room must not know names: numbering
and duplicates are the ``stock``'s.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ancfuzz.descriptors.calls import timerfd_create
from ancfuzz.errors import EnvironmentUnsupported, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["OPENERS", "Opener", "open_kind", "unavailable"]


@dataclass(frozen=True, slots=True)
class Opener:
    """How descriptors of a kind are opened.

    Attributes:
        kinds: what one call opens, in the order of its numbers: one kind, or the two
            ends of a pipe, which exist only together.
        open: returns the new numbers, which then belong to the caller.
        needs: the system call behind it, and the Linux that first had it.
    """

    kinds: tuple[str, ...]
    open: Callable[[], tuple[int, ...]]
    needs: str


def _second(number: int) -> int:
    """Another number for a descriptor whose owner is about to close it."""
    return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 0)


def _memfd() -> tuple[int, ...]:
    return (os.memfd_create("ancfuzz", os.MFD_CLOEXEC),)


def _eventfd() -> tuple[int, ...]:
    return (os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK),)


def _socket() -> tuple[int, ...]:
    return (socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).detach(),)


def _file() -> tuple[int, ...]:
    # Unlinked from the start with O_TMPFILE, and at once where there is none.
    with tempfile.TemporaryFile(buffering=0) as file:
        return (_second(file.fileno()),)


def _directory(flags: int = os.O_RDONLY) -> tuple[int, ...]:
    path = Path(tempfile.mkdtemp(prefix="ancfuzz-"))
    try:
        return (os.open(path, flags | os.O_DIRECTORY),)
    finally:
        path.rmdir()


def _path() -> tuple[int, ...]:
    return _directory(os.O_PATH)


def _epoll() -> tuple[int, ...]:
    with select.epoll() as epoll:
        return (_second(epoll.fileno()),)


def _timerfd() -> tuple[int, ...]:
    return (timerfd_create(),)


def _pidfd() -> tuple[int, ...]:
    return (os.pidfd_open(os.getpid()),)


_TABLE: Final = (
    Opener(("pipe-read", "pipe-write"), os.pipe, "pipe(2)"),
    Opener(("memfd",), _memfd, "memfd_create(2), Linux 3.17"),
    Opener(("eventfd",), _eventfd, "eventfd(2), Linux 2.6.22"),
    Opener(("socket",), _socket, "AF_UNIX sockets"),
    Opener(("file",), _file, "a writable directory for temporary files, see TMPDIR"),
    Opener(("directory",), _directory, "a writable directory for temporary files"),
    Opener(("path",), _path, "O_PATH of open(2), Linux 2.6.39, and a writable TMPDIR"),
    Opener(("epoll",), _epoll, "epoll_create1(2), Linux 2.6.27"),
    Opener(("timerfd",), _timerfd, "timerfd_create(2), Linux 2.6.25"),
    Opener(("pidfd",), _pidfd, "pidfd_open(2), Linux 5.3"),
)

OPENERS: Final[Mapping[str, Opener]] = MappingProxyType(
    {kind: opener for opener in _TABLE for kind in opener.kinds}
)
"""By kind, how to open one.  The keys are ``ancfuzz.names.KINDS``."""

# Too much is open, or the disk is full: true of this moment and not of this kernel.
_PASSING: Final = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC)
)


def open_kind(kind: str) -> tuple[int, ...]:
    """Open what ``OPENERS[kind].kinds`` says, in that order; the caller closes it.

    Raises:
        UsageError: there is no such kind.
        EnvironmentUnsupported: this kernel, sandbox or Python has none; says what is
            needed.
        OSError: there is no room just now: EMFILE, ENFILE, ENOMEM, ENOBUFS, ENOSPC.
    """
    opener = OPENERS.get(kind)
    if opener is None:
        raise UsageError(
            f"no descriptor kind {kind!r}: expected one of {', '.join(OPENERS)}"
        )
    try:
        return opener.open()
    except (OSError, AttributeError) as error:  # AttributeError: os lacks the function
        if isinstance(error, OSError) and error.errno in _PASSING:
            raise
        raise EnvironmentUnsupported(
            f"cannot open a {kind} here ({error}): it needs {opener.needs}"
        ) from error


@cache
def unavailable(kind: str) -> str | None:
    """Why no descriptor of this kind can be opened here; None if it can.

    Found out by opening one, once for each process.

    Raises:
        UsageError: there is no such kind.
        OSError: there is no room just now; nothing is known yet.
    """
    try:
        numbers = open_kind(kind)
    except EnvironmentUnsupported as error:
        return str(error)
    for number in numbers:
        os.close(number)
    return None
