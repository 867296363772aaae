"""A child that does not outlive its parent, and that hears no terminal.

Whoever starts a process to run somebody else's code in answers for it.  In an orderly
end the parent kills it, with everything in its process group.  But the parent can be
killed itself, by SIGKILL or for want of memory, and nothing of it runs then: so the
child asks the kernel to be killed at that moment (PR_SET_PDEATHSIG, prctl(2)).  What
the child started in its turn is not covered by that.

This room must not know what runs in the child.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["die_with_parent", "hear_no_terminal"]

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent: int) -> None:
    """Ask to be killed when the parent dies; elsewhere than on Linux, nothing.

    Args:
        parent: its pid; if it is dead by now, so are we.
    """
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _pass_over(_number: int, _frame: FrameType | None) -> None:
    """Do nothing, and be no reason for a system call to fail (PEP 475)."""


def hear_no_terminal() -> None:
    """Leave the signals that end a run to the parent, which ends us.

    So a KeyboardInterrupt in here is nobody's Ctrl-C: whoever is performed raised it.
    """
    # A handler, for what is ignored stays ignored in everything that is started.
    signal.signal(signal.SIGINT, _pass_over)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if callable(signal.getsignal(number)):  # a fork has its parent's
            signal.signal(number, signal.SIG_DFL)
