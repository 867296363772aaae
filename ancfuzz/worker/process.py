"""The child process: started, watched, killed.

An implementation that can be imported by its name gets a fresh interpreter; a class
that cannot (one in a function, or in ``__main__``) gets a fork, which a process with
threads must not make.  Either way the child is the leader of a session of its own, so
that what it starts can be killed with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ancfuzz.descriptors import open_numbers
from ancfuzz.errors import UsageError
from ancfuzz.worker import child
from ancfuzz.worker.scratch import long_scratch

if TYPE_CHECKING:
    import socket

    from ancfuzz.implementations import Subject

__all__ = ["Child"]

_TAIL = 2000  # bytes of standard error that are quoted


def _let_go_of_the_rest(kept: set[int]) -> None:
    """Put a file that leads nowhere in the place of every other open descriptor.

    A fork has all of its parent's, and the code under test may write to any number.
    They are not closed: objects that came along would close these numbers again, when
    they mean something else.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in open_numbers() - kept - {nowhere}:
        os.dup2(nowhere, number, inheritable=False)
    os.dup2(nowhere, 0)
    os.close(nowhere)


class Child:
    """The process: started, watched, killed."""

    def __init__(self, subject: Subject, channel: socket.socket, position: int) -> None:
        if not subject.import_name and threading.active_count() > 1:
            raise UsageError(
                f"{subject.name} cannot be imported by its name, and this process has "
                "threads, so it must not be forked: define it at the top of a module"
            )
        self._stderr = long_scratch()
        self._pid = 0
        self._status: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        try:
            if subject.import_name:
                self._spawn(subject.import_name, channel, position)
            else:
                self._fork(subject, channel, position)
        except OSError:
            self.close()
            raise

    def _spawn(self, name: str, channel: socket.socket, position: int) -> None:
        number = channel.fileno()
        settings = json.dumps(
            {
                "name": name,
                "channel": number,
                "position": position,
                "path": sys.path,
                "parent": os.getpid(),
            }
        )
        code = (
            "import json, sys; s = json.loads(sys.argv[1]); sys.path[:] = s['path']; "
            "from ancfuzz.worker.child import main; main(s)"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, settings],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            pass_fds=[number, position],
            start_new_session=True,
        )
        self._pid = self._process.pid

    def _fork(self, subject: Subject, channel: socket.socket, position: int) -> None:
        """For what no other process can import: a class in a function, in __main__."""
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid:
            return
        status = 1
        try:
            os.setsid()
            os.dup2(self._stderr.fileno(), 2)
            _let_go_of_the_rest({1, 2, channel.fileno(), position})
            child.serve(channel, subject, parent, position)
            status = 0
        finally:
            os._exit(status)

    def kill(self) -> None:
        """Kill it with all that it started, and wait for it."""
        self._signal_group()
        self._wait(5.0)

    def _signal_group(self) -> None:
        # Only while nobody has waited for it: afterwards its number may be another's.
        if self._pid and self._status is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)

    def _has_ended(self, seconds: float) -> bool:
        """Whether it ends in that time; it stays a zombie, and its pid its own."""
        deadline = time.monotonic() + seconds
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while self._status is None:
            try:
                if os.waitid(os.P_PID, self._pid, options) is not None:
                    return True
            except ChildProcessError:  # reaped already: SIGCHLD is ignored
                self._status = 0
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def _wait(self, seconds: float) -> int | None:
        """The wait status as subprocess has it (negative: a signal); None if alive."""
        if self._status is None and self._has_ended(seconds) and self._status is None:
            if self._process is not None:
                self._status = self._process.wait()
            else:
                _, status = os.waitpid(self._pid, 0)
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def reap(self) -> str:
        """How it ended, in words; it is killed if it did not."""
        ended = self._has_ended(1.0)
        self._signal_group()  # what it started; itself, if it goes on
        code = self._wait(5.0)
        if not ended or code is None:
            return ""
        if code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = f"signal {-code}"
            return f"was killed by {name}"
        return f"exited with status {code}"

    def stderr_tail(self) -> str:
        """The end of what it wrote to standard error."""
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - _TAIL))
        return self._stderr.read().decode("utf-8", "backslashreplace")

    def close(self) -> None:
        """Forget what it wrote to standard error."""
        self._stderr.close()
