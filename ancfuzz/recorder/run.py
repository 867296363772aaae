"""Running programs under the recorder, within a deadline, and ending what is left.

A :class:`Session` is a private folder, which holds a copy of the shim and the logs, and
the environment that points there.  Whatever is started with that environment is
recorded, and so are its children, through fork, exec and a change of user.

Daemons outlive the command that started them, so a session ends them: exactly the
processes whose pid is the name of one of its logs and in which this session's own copy
of the shim is mapped.  A pid that has been given to somebody else fails the second
test, and the signal goes through a pidfd that was opened before the test was made.

Nothing here knows what a control message is.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

import msgspec

from ancfuzz.errors import EnvironmentUnsupported, UsageError
from ancfuzz.recorder.build import build
from ancfuzz.recorder.log import Recording, read_logs
from ancfuzz.recorder.obstacles import obstacle

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = ["Session", "record"]

# Root records what changes its user, too: others may then add a log and pass through,
# but not list the folder nor touch a log that is not theirs (as in /tmp).
_MODE_FOR_ROOT: Final = 0o1733
_MODE_FOR_USERS: Final = 0o700
_STOP_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.02

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
            timeout: seconds for all of it.
            env: the environment to start from, by default this process's.

        Raises:
            EnvironmentUnsupported: the shim cannot be compiled or stored.
        """
        library = build()
        self.deadline = time.monotonic() + timeout
        self.folder = Path(tempfile.mkdtemp(prefix="ancfuzz-record-"))
        self._shim = self.folder / "recorder.so"
        self._children: list[subprocess.Popen[bytes]] = []
        try:
            # A copy: the cache is in a home that a daemon's own user cannot enter.
            shutil.copyfile(library, self._shim)
            self._shim.chmod(0o755)
            as_root = os.geteuid() == 0
            self.folder.chmod(_MODE_FOR_ROOT if as_root else _MODE_FOR_USERS)
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise EnvironmentUnsupported(
                f"the recorder cannot prepare {self.folder}: {error.strerror}; "
                "name another folder in TMPDIR"
            ) from error
        self.environment = dict(os.environ if env is None else env)
        before = self.environment.get("LD_PRELOAD", "")
        self.environment["LD_PRELOAD"] = f"{self._shim}:{before}".rstrip(":")
        self.environment["ANCFUZZ_RECORD"] = str(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

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
            raise UsageError(
                f"{command[0]} cannot be started: {error.strerror}"
            ) from error
        self._children.append(child)
        return child

    def wait(self, child: subprocess.Popen[bytes]) -> int | None:
        """Waits for a started command; None if the deadline comes first."""
        try:
            return child.wait(self.left)
        except subprocess.TimeoutExpired:
            return None

    def alive(self) -> list[int]:
        """The pids of the recorded processes that are still running."""
        with contextlib.ExitStack() as stack:
            return list(self._running(stack))

    def settle(self, seconds: float) -> bool:
        """Waits until no recorded process is left; False if some still run."""
        end = time.monotonic() + min(seconds, self.left)
        while self.alive():
            if time.monotonic() >= end:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def stop(self) -> None:
        """Ends what is still running, first politely; then waits for it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.ExitStack() as stack:
                running = self._running(stack).values()
                for child in self._children:
                    if child.poll() is None:
                        child.send_signal(number)
                for pidfd in running:
                    # Gone meanwhile, or another user's and we are not root.
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        signal.pidfd_send_signal(pidfd, number)
                _wait_for_ends(running, _STOP_SECONDS)
            for child in self._children:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(_STOP_SECONDS)

    def recording(self, *, notes: Sequence[str] = ()) -> Recording:
        """What has been seen so far."""
        seen = read_logs(self.folder)
        return msgspec.structs.replace(seen, notes=(*notes, *seen.notes))

    def _running(self, stack: contextlib.ExitStack) -> dict[int, int]:
        """By pid, a pidfd of each live process that has our copy of the shim mapped.

        The stack closes the pidfds.
        """
        shim = os.fsencode(self._shim)
        # NAME.PID.log, and a name may have dots of its own.
        names = {log.name.split(".")[-2] for log in self.folder.glob("*.log")}
        found: dict[int, int] = {}
        for pid in sorted(int(name) for name in names if name.isdecimal()):
            try:
                pidfd = os.pidfd_open(pid)
                stack.callback(os.close, pidfd)
                maps = Path(f"/proc/{pid}/maps").read_bytes()
            except OSError:
                continue  # it is gone, or never was ours to look at
            if shim in maps:
                found[pid] = pidfd
        return found


def _wait_for_ends(pidfds: Collection[int], seconds: float) -> None:
    """Waits until processes have ended; a pidfd is readable from then on."""
    poller, left = select.poll(), len(pidfds)
    for pidfd in pidfds:
        poller.register(pidfd, select.POLLIN)
    end = time.monotonic() + seconds
    while left and (patience := end - time.monotonic()) > 0:
        for pidfd, _ in poller.poll(patience * 1000):
            poller.unregister(pidfd)
            left -= 1


def record(
    command: Sequence[str],
    *,
    timeout: float = 30.0,
    linger: float = 2.0,
    cwd: str | Path | None = None,
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = None,
    stderr: Stream = None,
) -> Recording:
    """Runs a command under the recorder, with its children, and returns what they did.

    Args:
        command: the program and its arguments.
        timeout: seconds for all of it; then what still runs is ended.
        linger: seconds that daemons get after the command has ended.
        cwd: its working folder.
        stdin: nothing, by default.
        stdout: this process's, by default.
        stderr: this process's, by default.

    Raises:
        UsageError: the command cannot be started.
        EnvironmentUnsupported: the recorder cannot be compiled or stored here.
    """
    if not command:
        raise UsageError("there is no command to record")
    notes: list[str] = []
    with Session(timeout=timeout) as session:
        child = session.start(
            command, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr
        )
        status = session.wait(child)
        if status is None:
            notes.append(f"{command[0]}: stopped after {timeout:g} seconds")
        elif not session.settle(linger):
            left = ", ".join(str(pid) for pid in session.alive())
            notes.append(f"{command[0]}: left processes that were ended: {left}")
        session.stop()
        recording = session.recording(notes=notes)
    if all(process.pid != child.pid for process in recording.processes):
        why = obstacle(command[0]) or "the recorder was not loaded into it"
        notes.append(f"{command[0]}: made no log: {why}")
        recording = msgspec.structs.replace(
            recording, notes=(notes[-1], *recording.notes)
        )
    return msgspec.structs.replace(recording, status=status)
