"""What this process has open: how many, which, what they are, and closing them.

The count is the leak check that is made after every case, so it must cost next to
nothing; :data:`COUNT_METHOD` is the cheaper one that is right here, chosen on import:

    size     the size of ``/proc/self/fd``, Linux 6.2; one ``stat``, 3 us
    numbers  as many as :func:`open_numbers` lists: the more is open, the longer

The list is that of ``/proc/self/fd`` or ``/dev/fd``; where there is neither, each
number below the soft limit is asked for, and what was opened before that limit was
lowered, and lies above it, is missed.

Counts and lists are of a moment: what another thread opens meanwhile is in them or not.
No function here holds a descriptor when it returns, and none needs one that it cannot
get: with a full table (EMFILE), :func:`open_numbers` asks number by number.

This room must not know whose a descriptor is.  :func:`close_all` closes what it is told
to, and never a number in between.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import select
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ancfuzz.closing import runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "COUNT_METHOD",
    "CountMethod",
    "close_all",
    "describe",
    "find_count_method",
    "find_listing",
    "is_close_on_exec",
    "is_open",
    "open_count",
    "open_numbers",
]

_MOST_NUMBERS: Final = 1 << 20  # fs.nr_open, unless an administrator raised it


def is_open(number: int) -> bool:
    """Whether this process has this number open; a negative one it never has."""
    if number < 0:
        return False
    try:
        fcntl.fcntl(number, fcntl.F_GETFD)
    except OSError as error:
        if error.errno == errno.EBADF:
            return False
        raise
    return True


def is_close_on_exec(number: int) -> bool:
    """Whether ``execve`` closes it (FD_CLOEXEC, which belongs to the number alone).

    Raises:
        OSError: EBADF, the number is not open.
    """
    return bool(fcntl.fcntl(number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC)


def find_listing(directories: Iterable[str]) -> str | None:
    """The first directory that lists what is open: it has to show a new pipe."""
    ends = os.pipe()
    try:
        for directory in directories:
            try:
                shown = set(_list(directory))
            except OSError:  # not mounted here, or hidden by a sandbox
                continue
            if shown.issuperset(ends):
                return directory
        return None
    finally:
        for end in ends:
            os.close(end)


def _list(directory: str) -> Iterator[int]:
    return map(int, os.listdir(directory))  # noqa: PTH208  (numbers, not Paths)


_LISTING: Final = find_listing(("/proc/self/fd", "/dev/fd"))

IS_LISTED: Final = _LISTING is not None
"""Whether the system lists what is open.

If not, each number below the soft limit is asked for, and that takes as long as the
limit is high.
"""


def open_numbers() -> frozenset[int]:
    """The numbers that this process has open, and none that was opened to find out."""
    # A listing shows the descriptor that reads it, which is closed by now.
    return frozenset(filter(is_open, _candidates()))


def _candidates() -> Iterable[int]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _LISTING is None:
        return range(_bounded(soft))
    try:
        return _list(_LISTING)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
    # No number is left to read a listing with. The soft limit may have been lowered to
    # bring that about, and then there are open numbers above it.
    return _until_counted() if COUNT_METHOD.name == "size" else range(_bounded(hard))


def _bounded(limit: int) -> int:
    return limit if 0 <= limit < _MOST_NUMBERS else _MOST_NUMBERS  # -1 is unlimited


def _until_counted() -> Iterator[int]:
    missing = open_count()
    for number in range(_MOST_NUMBERS):
        if missing <= 0:
            return
        if is_open(number):
            missing -= 1
            yield number


def _size() -> int:
    return os.stat("/proc/self/fd").st_size  # noqa: PTH116  (a Path doubles the cost)


@dataclass(frozen=True, slots=True)
class CountMethod:
    """One way to count what is open.

    Attributes:
        name: ``size`` or ``numbers``.
        count: asks.
    """

    name: str
    count: Callable[[], int]


def _count_numbers() -> int:
    return len(open_numbers())


def find_count_method(size: Callable[[], int]) -> CountMethod:
    """By size, if that is the count both before and after a pipe is opened."""
    by_size = CountMethod("size", size)
    by_numbers = CountMethod("numbers", _count_numbers)
    try:
        if not _is_count(size):
            return by_numbers
        ends = os.pipe()
        try:
            return by_size if _is_count(size) else by_numbers
        finally:
            for end in ends:
                os.close(end)
    except FileNotFoundError:  # no /proc
        return by_numbers


def _is_count(size: Callable[[], int]) -> bool:
    # Twice, because another thread may open something between the two. To mistake a
    # right size for a wrong one costs time and nothing else.
    return any(size() == _count_numbers() for _ in range(2))


COUNT_METHOD: Final = find_count_method(_size)
"""The way that :func:`open_count` takes."""


def open_count() -> int:
    """How many descriptors this process has open."""
    return COUNT_METHOD.count()


_KINDS_BY_TARGET: Final = {
    "anon_inode:[eventfd]": "eventfd",
    "anon_inode:[eventpoll]": "epoll",
    "anon_inode:[timerfd]": "timerfd",
    "anon_inode:[pidfd]": "pidfd",
}
_KINDS_BY_TYPE: Final = {
    stat.S_IFSOCK: "socket",
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}
_ACCESS: Final = {os.O_RDONLY: "read", os.O_WRONLY: "write", os.O_RDWR: "read-write"}


def describe(number: int) -> str:
    """One line about a number for people: kind, target, flags; "not open" if it is not.

    Kinds are called as ``ancfuzz.names`` calls them, where it has a name.
    """
    if not is_open(number):
        return f"{number}: not open"
    try:
        flags = fcntl.fcntl(number, fcntl.F_GETFL)
        file_type = stat.S_IFMT(os.fstat(number).st_mode)
        on_exec = "close-on-exec" if is_close_on_exec(number) else "inheritable"
    except OSError as error:  # closed meanwhile, or on a file system that went away
        return f"{number}: {error.strerror}"
    access = _ACCESS.get(flags & os.O_ACCMODE, "?")
    target = _target(number)
    words = [f"{_kind(target, file_type, flags, access)} {target}".rstrip(), access]
    words += ["non-blocking"] if flags & os.O_NONBLOCK else []
    return f"{number}: {', '.join([*words, on_exec])}"


def _target(number: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115  (not always a path)
    except OSError:
        return ""


def _kind(target: str, file_type: int, flags: int, access: str) -> str:
    if flags & getattr(os, "O_PATH", 0):
        return "path"
    if file_type == stat.S_IFIFO:
        return f"pipe-{access}"
    if target.startswith("/memfd:"):
        return "memfd"
    return _KINDS_BY_TARGET.get(target) or _KINDS_BY_TYPE.get(file_type, "other")


_WORTH_A_POLL: Final = 64  # measured: below, closing one by one is as fast


def close_all(numbers: Iterable[int]) -> tuple[int, ...]:
    """Close these numbers and no other.

    Neighbours are closed together, by ``close_range`` where there is one; what lies
    between two that are not neighbours stays open.  A number that is given twice is
    closed once.

    Returns:
        Those that were not open, in ascending order.

    Raises:
        OSError: ``close`` failed otherwise than with EBADF, say EIO, when the number is
            closed all the same.  Those after it are still open.
    """
    ordered = sorted(set(numbers))
    absent: list[int] = []
    for first, behind in runs(ordered):
        absent += _close_run(range(first, behind))
    return tuple(absent)


def _close_run(run: range) -> list[int]:
    if len(run) >= _WORTH_A_POLL and run.start >= 0:
        absent = _not_open(run)
        os.closerange(run.start, run.stop)
        return absent
    return [number for number in run if not _close(number)]


def _close(number: int) -> bool:
    try:
        os.close(number)
    except OSError as error:
        if error.errno == errno.EBADF:
            return False
        raise
    return True


def _not_open(run: range) -> list[int]:
    """Those of many numbers that are not open, by one system call."""
    poll = select.poll()
    for number in run:
        poll.register(number, 0)
    try:
        polled = poll.poll(0)
    except OSError:  # EINVAL: more than the soft limit, which a shaped table makes low
        polled = [(number, select.POLLNVAL) for number in run]
    doubtful = [number for number, event in polled if event & select.POLLNVAL]
    # To poll, what was opened with O_PATH is not open.
    return [number for number in doubtful if not is_open(number)]
