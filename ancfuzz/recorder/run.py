"""Running programs under the recorder, within a deadline, and ending what is left.

A :class:`Session` is a private folder, which holds a copy of the shim and the logs, and
the environment that points there.  Whatever is started with that environment is
recorded, and so are its children, through fork, exec and a change of user.

Daemons outlive the command that started them, so a session ends them: the processes
in which its own copy of the shim is mapped, and the descendants of what it started.

Nothing here knows what a control message is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Literal, Self

import msgspec

from ancfuzz.errors import UsageError
from ancfuzz.recorder.build import build
from ancfuzz.recorder.folder import Folder
from ancfuzz.recorder.log import Recording, read_logs
from ancfuzz.recorder.obstacles import obstacle
from ancfuzz.recorder.processes import descendants, end_all, has_mapped, holding, pids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Session", "record"]

_STOP_SECONDS: Final = 1.0
_GRACE_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.02
_LOOK_SECONDS: Final = 0.25

Stream = IO[bytes] | int | None


class Session:
    """Programs recorded together: a daemon and its clients, say. A context manager.

    Attributes:
        folder: where the logs go; it is removed at the end of the ``with`` block.
        environment: with it a program is recorded.
        deadline: when the session's time is over, as ``time.monotonic()`` counts.
    """

    def __init__(self, *, timeout: float, env: Mapping[str, str] | None = None) -> None:
        """Begins a session.

        Args:
            timeout: seconds for all of it; ``math.inf`` for no bound.
            env: the environment to start from, by default this process's.

        Raises:
            EnvironmentUnsupported: the shim cannot be compiled or stored.
        """
        library = build()
        self.deadline = time.monotonic() + timeout
        self._folder = Folder(library)
        self.folder = self._folder.path
        self._shim = self._folder.shim
        self._children: list[subprocess.Popen[bytes]] = []
        self._not_recorded: dict[str, str] = {}  # a program, and why
        self._bare: set[tuple[int, str]] = set()  # seen without the shim, once
        self.environment = dict(os.environ if env is None else env)
        before = self.environment.get("LD_PRELOAD", "")
        self.environment["LD_PRELOAD"] = f"{self._shim}:{before}".rstrip(":")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._folder:
            self.stop()

    @property
    def left(self) -> float:
        """Seconds until the deadline; never negative."""
        return max(0.0, self.deadline - time.monotonic())

    def start(
        self,
        command: Sequence[str],
        *,
        cwd: str | Path | None = None,
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = None,
        stderr: Stream = None,
        pass_fds: Sequence[int] = (),
        extra: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Starts a command and returns at once; ``stop`` will end it.

        Args:
            command: the program and its arguments.
            cwd: its working folder.
            stdin: nothing, by default.
            stdout: this process's, by default.
            stderr: this process's, by default.
            pass_fds: descriptors that it inherits.
            extra: variables added to its environment.

        Raises:
            UsageError: it cannot be started.
        """
        try:
            child = subprocess.Popen(
                list(command),
                env=self.environment | dict(extra or {}),
                cwd=cwd,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=tuple(pass_fds),
            )
        except OSError as error:
            why = obstacle(command[0]) if error.errno == errno.ENOEXEC else None
            if error.errno == errno.ENOENT and shutil.which(command[0]):
                why = "the program is there, and the interpreter that it names is not"
            said = f"{error.strerror}: {why}" if why else error.strerror
            raise UsageError(f"{command[0]} cannot be started: {said}") from error
        self._children.append(child)
        return child

    def wait(self, child: subprocess.Popen[bytes]) -> int | None:
        """Waits for a started command; None if the deadline comes first.

        Meanwhile it looks for descendants that cannot be recorded.
        """
        patience = _POLL_SECONDS
        while True:
            try:
                return child.wait(min(patience, self.left))
            except subprocess.TimeoutExpired:
                self._look_at(child)
                if not self.left:
                    return None
            patience = min(patience * 2, _LOOK_SECONDS)

    def alive(self) -> list[int]:
        """The pids of the recorded processes that are still running."""
        return [pid for pid in pids() if has_mapped(pid, self._shim)]

    def settle(self, seconds: float) -> bool:
        """Waits until nothing is left that was started; False if some still runs."""
        end = time.monotonic() + min(seconds, self.left)
        patience = _POLL_SECONDS
        while self.alive() or any(child.poll() is None for child in self._children):
            if time.monotonic() >= end:
                return False
            time.sleep(patience)
            patience = min(patience * 2, _LOOK_SECONDS)
        return True

    def stop(self) -> None:
        """Ends what is still running, first politely; then waits for it.

        A KeyboardInterrupt meanwhile is an end of the politeness.
        """
        with contextlib.ExitStack() as stack:
            held: dict[int, int] = {}
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(KeyboardInterrupt):
                    # What is held stays held: its parents may be gone by now.
                    held |= holding(stack, self._ours)
                    end_all(held.values(), number, _STOP_SECONDS)
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_STOP_SECONDS)

    def recording(self, *, notes: Sequence[str] = ()) -> Recording:
        """What has been seen so far."""
        seen = read_logs(self.folder)
        missing = (_made_no_log(*one) for one in self._not_recorded.items())
        return msgspec.structs.replace(seen, notes=(*notes, *missing, *seen.notes))

    def _look_at(self, child: subprocess.Popen[bytes]) -> None:
        """Notes which programs are running among a command's and are not recorded."""
        # The command itself, only if it was recorded and is another program by now.
        replaced = [child.pid] if any(self.folder.glob(f"*.{child.pid}.log")) else []
        bare: set[tuple[int, str]] = set()
        for pid in (*replaced, *descendants([child.pid])):
            link = Path(f"/proc/{pid}/exe")
            with contextlib.suppress(OSError):  # gone, or another user's
                program = str(link.readlink())
                if program in self._not_recorded or has_mapped(pid, self._shim):
                    continue
                why = obstacle(str(link))
                if str(link.readlink()) != program:
                    continue  # it was about to end, or to be something else
                if why is None and (pid, program) in self._bare:
                    # Seen twice, so it is not about to be loaded.
                    why = "somebody took LD_PRELOAD out of its environment"
                if why is not None:
                    self._not_recorded[program] = why
                bare.add((pid, program))
        self._bare = bare

    def _ours(self) -> list[int]:
        started = [child.pid for child in self._children if child.poll() is None]
        return [*self.alive(), *started, *descendants(started)]


def record(
    command: Sequence[str],
    *,
    timeout: float = 30.0,
    linger: float = 2.0,
    cwd: str | Path | None = None,
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = None,
    stderr: Stream = None,
    pass_fds: Sequence[int] = (),
) -> Recording:
    """Runs a command under the recorder, with its children, and returns what they did.

    A KeyboardInterrupt ends the command, and what it did so far is returned: what a
    terminal has interrupted with us gets a moment to end by itself.

    Args:
        command: the program and its arguments.
        timeout: seconds for all of it; then what still runs is ended.
        linger: seconds that daemons get after the command has ended.
        cwd: its working folder.
        stdin: nothing, by default.
        stdout: this process's, by default.
        stderr: this process's, by default.
        pass_fds: descriptors that it inherits.

    Raises:
        UsageError: the command cannot be started.
        EnvironmentUnsupported: the recorder cannot be compiled or stored here.
    """
    if not command:
        raise UsageError("there is no command to record")
    notes: list[str] = []
    status: int | None = None
    stopped: Literal["", "time", "interrupted"] = ""
    child: subprocess.Popen[bytes] | None = None
    with Session(timeout=timeout) as session:
        try:
            child = session.start(
                command,
                cwd=cwd,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=pass_fds,
            )
            status = session.wait(child)
            if status is None:
                stopped = "time"
                notes.append(f"{command[0]}: stopped after {timeout:g} seconds")
            elif not session.settle(linger):
                left = ", ".join(str(pid) for pid in session.alive())
                notes.append(f"{command[0]}: left processes that were ended: {left}")
        except KeyboardInterrupt:
            stopped = "interrupted"
            notes.append(f"{command[0]}: interrupted")
            with contextlib.suppress(KeyboardInterrupt):  # who insists is not let wait
                session.settle(_GRACE_SECONDS)
            status = child.poll() if child is not None else None
        session.stop()
        recording = session.recording(notes=notes)
    logged = {process.pid for process in recording.processes}
    if child is not None and child.pid not in logged:
        why = obstacle(command[0]) or "the recorder was not loaded into it"
        recording = msgspec.structs.replace(
            recording, notes=(_made_no_log(command[0], why), *recording.notes)
        )
    return msgspec.structs.replace(recording, status=status, stopped=stopped)


def _made_no_log(program: str, why: str) -> str:
    return f"{program}: made no log: {why}"
