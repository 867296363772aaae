"""The two system calls that Python has no function for.

``kcmp(2)`` compares two open file descriptions; no libc wraps it, so it is made by its
number, and only on the processors whose number is in the table below.
``timerfd_create(2)`` is wrapped by every libc, and by Python from 3.13 on.

Nothing here knows what the answers are used for.  Each call raises what the system call
did, as ``OSError`` with its errno; a call that this platform lacks is ENOSYS.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ctypes

__all__ = ["kcmp_files", "timerfd_create"]

_KCMP_FILE: Final = 0  # linux/kcmp.h

_KCMP_NUMBERS: Final = {
    # (machine, whether Python is a 64-bit program): __NR_kcmp in asm/unistd.h
    ("x86_64", True): 312,
    ("x86_64", False): 349,
    ("i686", False): 349,
    ("aarch64", True): 272,
    ("aarch64", False): 378,
    ("armv7l", False): 378,
    ("riscv64", True): 272,
    ("loongarch64", True): 272,
    ("ppc64le", True): 354,
    ("ppc64", True): 354,
    ("s390x", True): 343,
}


@cache
def _libc() -> ctypes.CDLL:
    try:
        import ctypes
    except ImportError:  # a Python that was built without libffi
        raise _no_such_call("ctypes") from None
    return ctypes.CDLL(None, use_errno=True)


def _no_such_call(what: str) -> OSError:
    return OSError(errno.ENOSYS, f"{os.strerror(errno.ENOSYS)}: {what}")


def _checked(result: int) -> int:
    if result < 0:
        from ctypes import get_errno

        number = get_errno()
        raise OSError(number, os.strerror(number))
    return result


@cache
def _kcmp_number() -> int:
    machine = os.uname().machine
    number = _KCMP_NUMBERS.get((machine, sys.maxsize > 2**32))
    if number is None or sys.platform != "linux":
        raise _no_such_call(f"kcmp on {machine}")
    return number


def kcmp_files(a: int, b: int) -> int:
    """``kcmp(2)`` of two descriptors of this process.

    Returns:
        0 if they are one open file description; 1, 2 or 3 if they are not.

    Raises:
        OSError: EBADF if one is not open; EPERM where a sandbox forbids the call;
            ENOSYS where there is none.
    """
    pid = os.getpid()
    return _checked(int(_libc().syscall(_kcmp_number(), pid, pid, _KCMP_FILE, a, b)))


def timerfd_create() -> int:
    """A new timerfd on the monotonic clock: disarmed, non-blocking, close-on-exec.

    Raises:
        OSError: of the system call; ENOSYS where there is none.
    """
    create = getattr(_libc(), "timerfd_create", None)
    if create is None:
        raise _no_such_call("timerfd_create")
    # TFD_CLOEXEC and TFD_NONBLOCK are defined as these two.
    flags = os.O_CLOEXEC | os.O_NONBLOCK
    return _checked(int(create(time.CLOCK_MONOTONIC, flags)))
