"""Where compiling happens: a temporary folder, and a deadline for what is started.

A :class:`Workshop` starts a program, waits for it, and returns what it wrote.  The
folder is gone at the end, however the end comes.  Only the libcs that zig builds to
link programs against are kept, in the user's cache: they take longer than the rest.

The invariant: no program that was started here outlives the call that started it, be
it done, failed, too slow, or the user impatient; for each runs in a session of its
own, and that is ended.

This room must not know what is compiled, nor with what.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from contextlib import AbstractContextManager

    Waiting = Callable[[], AbstractContextManager[None]]


class CannotBuild(Exception):
    """A program failed, or took too long; one line that says which and why."""


class CannotRun(CannotBuild):
    """A program that does not start: this machine does not run its kind."""


class TooSlow(CannotBuild):
    """A program that was ended at its deadline."""


class Workshop:
    """A temporary folder to compile in, and a deadline for whatever is started.

    Attributes:
        folder: gone when the workshop is closed.
    """

    def __init__(
        self, folder: Path, kept: Path | None, deadline: float, waiting: Waiting
    ) -> None:
        self.folder = folder
        self._deadline = deadline
        self._waiting = waiting
        # Objects are cached nowhere: what a run says, it has compiled.
        self._environment = {
            **os.environ,
            "LC_ALL": "C",
            # A compiler that is killed leaves its own files behind.
            "TMPDIR": str(folder),
            "ZIG_LOCAL_CACHE_DIR": str(folder / "zig"),
            "ZIG_GLOBAL_CACHE_DIR": str(kept or folder / "zig-global"),
        }

    def run(self, command: Sequence[str | Path], stdin: bytes = b"") -> bytes:
        """Run a program in the folder; what it wrote to standard output.

        Raises:
            CannotRun: it could not be started.
            TooSlow: it was not done at the deadline.
            CannotBuild: it failed.
        """
        told = " ".join((Path(command[0]).name, *map(str, command[1:4])))
        try:
            # A session of its own, so that a deadline ends its children too.
            started = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise CannotRun(f"{told} does not start: {error.strerror}") from error
        with started:
            try:
                with self._waiting():
                    out, complaint = started.communicate(stdin, self._deadline)
            except subprocess.TimeoutExpired:
                raise TooSlow(f"{told}: not done in {self._deadline:g} s") from None
            finally:
                if started.returncode is None:
                    os.killpg(started.pid, signal.SIGKILL)
        if started.returncode:
            raise CannotBuild(f"{told}: {_cause(started.returncode, complaint)}")
        return out


@contextmanager
def workshop(
    *, deadline: float, keeps: bool, waiting: Waiting = nullcontext
) -> Generator[Workshop]:
    """A workshop for as long as the block runs.

    Args:
        deadline: seconds, for each program that is started in it.
        keeps: whether zig's libcs are kept in the user's cache, if that can be.
        waiting: makes the context in which a program is waited for; what that raises
            ends the program.

    Raises:
        OSError: there can be no temporary folder.
    """
    with tempfile.TemporaryDirectory(prefix="ancfuzz-abi-") as folder:
        yield Workshop(Path(folder), _cache() if keeps else None, deadline, waiting)


def _cause(status: int, complaint: bytes) -> str:
    if status < 0:
        return f"ended by signal {-status}"
    told = complaint.decode(errors="backslashreplace")
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    for sign in ("error:", "error"):
        for line in lines:
            if sign in line:
                return line
    return lines[-1] if lines else f"exit status {status}"


def _cache() -> Path | None:
    """A folder of ours in the user's cache; None if there can be none."""
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(base).resolve() / "ancfuzz" / "zig"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: nobody's home is known
        return None
    return folder if os.access(folder, os.W_OK) else None
