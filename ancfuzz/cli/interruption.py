"""SIGINT, SIGTERM and SIGHUP: the end of a run, and not of its findings.

While a run is *armed*, a signal becomes a KeyboardInterrupt wherever it is; ``check``
turns that into a report of what was found so far.  While findings are saved and reports
are written, the first signal is only remembered; one that comes a second later or more
insists, and ends whatever hangs.  Those in between are the same wish told twice: by a
terminal, and by a program that passes on what the terminal said.

A signal that the caller ignores (``nohup``, a job in a shell's background) stays
ignored.  This room must not know what is interrupted.
"""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType, TracebackType

    from ancfuzz.cli.status import Verdict

__all__ = ["Interruption"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ONE_WISH = 1.0  # seconds in which a signal that comes again says nothing new


class Interruption:
    """Handles the signals that end a run, inside a ``with`` block.

    Args:
        verdict: its ``signal`` becomes the number of the first one that comes.
        last: whether the process ends behind the block: what comes then is too late,
            and must not change the exit status.
    """

    def __init__(self, verdict: Verdict, *, last: bool = False) -> None:
        self._verdict = verdict
        self._last = last
        self._since: float | None = None
        self._armed = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Only the main thread may set handlers, and only it gets KeyboardInterrupt.
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self._last else handler)
        self._before.clear()

    @contextmanager
    def armed(self) -> Generator[None]:
        """While this lasts, the first signal is raised as well."""
        if self._verdict.signal:
            raise KeyboardInterrupt
        self._armed = True
        try:
            yield
        finally:
            self._armed = False

    def _handle(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        is_first = not self._verdict.signal
        if self._since is None:
            self._since = now
        self._verdict.signal = self._verdict.signal or number
        if (self._armed and is_first) or now - self._since > _ONE_WISH:
            raise KeyboardInterrupt
