"""SIGINT, SIGTERM and SIGHUP: the end of a run, and not of its findings.

While a run is *armed*, a signal becomes a KeyboardInterrupt wherever it is; ``check``
turns that into a report of what was found so far.  While findings are saved and reports
are written, the first signal is only remembered; a second one ends whatever hangs.

A signal that the caller ignores (``nohup``, a job in a shell's background) stays
ignored.  This room must not know what is interrupted.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType, TracebackType

__all__ = ["Interruption"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Handles the signals that end a run, inside a ``with`` block.

    Attributes:
        signal: the number of the first signal that came; 0 for none.
    """

    def __init__(self) -> None:
        self.signal = 0
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
            signal.signal(number, handler)
        self._before.clear()

    @contextmanager
    def armed(self) -> Generator[None]:
        """While this lasts, the first signal is raised as well."""
        if self.signal:
            raise KeyboardInterrupt
        self._armed = True
        try:
            yield
        finally:
            self._armed = False

    def _handle(self, number: int, _: FrameType | None) -> None:
        insists = bool(self.signal)
        self.signal = self.signal or number
        if self._armed or insists:
            raise KeyboardInterrupt
