"""Where --json and --junit go: proven writable before a run, written whole at its end.

A fuzzer that finds out after an hour that it cannot write its report has wasted the
hour.  So a destination is tried first, and nothing of that is left behind, however the
run ends.  A file is replaced: the report is written beside it and renamed into its
place, so that a reader sees the earlier report or the new one, and never half of one.

Some destinations cannot be replaced, and are written as they are: a FIFO, a device,
what /dev/stdout and /dev/fd/3 lead to, a file with several names, one in a folder that
takes no other.  A symbolic link stays, and what it leads to is replaced.

This room must not know what a report is.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ancfuzz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import TextIO

__all__ = ["Destination", "destinations", "human_stream"]

STANDARD_OUTPUT = "-"
_MOST_LINKS = 40  # as the kernel follows, before it says ELOOP


class Destination(Protocol):
    """What gets one report."""

    is_standard_output: bool

    def write(self, content: bytes) -> None:
        """Put the report there.

        Raises:
            UsageError: it cannot be written after all: a full disk.
        """

    def close(self) -> None:
        """Let go of it, whether anything was written or not."""


class _StandardOutput:
    """What ``-`` names."""

    is_standard_output = True

    def __init__(self) -> None:
        """See that there is one.

        Raises:
            UsageError: it was closed before we began.
        """
        if sys.__stdout__ is None:
            raise UsageError("standard output: closed: the report cannot go there")

    def write(self, content: bytes) -> None:
        sys.stdout.write(content.decode())
        sys.stdout.flush()

    def close(self) -> None:
        pass


class _Stream:
    """A file, opened now and written at the end."""

    is_standard_output = False

    def __init__(self, name: str) -> None:
        """Open it, and leave what it holds.

        Raises:
            OSError: it cannot be opened.
        """
        self._name = name
        # O_NONBLOCK: a FIFO that nobody reads is an error and not a wait.
        mode = os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK
        self._number = os.open(name, mode)
        os.set_blocking(self._number, True)

    def write(self, content: bytes) -> None:
        try:
            if stat.S_ISREG(os.fstat(self._number).st_mode):
                os.ftruncate(self._number, 0)
            _write_all(self._number, content)
        except OSError as error:
            raise _lost(self._name, error) from None

    def close(self) -> None:
        os.close(self._number)


class _Replaced:
    """A file that is, or will be, where a name leads, and that is replaced."""

    is_standard_output = False

    def __init__(
        self,
        name: str,
        target: Path,
        before: os.stat_result | None = None,
        stream: _Stream | None = None,
    ) -> None:
        """Try whether it can be.

        Args:
            name: as it was asked for.
            target: where that leads.
            before: the file that is there; None if none is.
            stream: that file, opened.

        Raises:
            OSError: nothing can be made in its folder.
        """
        self._name = name
        self._target = target
        self._before = before
        self._stream = stream
        # A file without a name: it goes with us, even if we are killed.
        with tempfile.TemporaryFile(dir=target.parent):
            pass

    def write(self, content: bytes) -> None:
        target = self._target
        # Not named after the target, whose name may be as long as a name can be.
        beside = target.with_name(f".ancfuzz-{secrets.token_hex(6)}")
        try:
            mode = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            number = os.open(beside, mode, 0o666)
            try:
                self._take_after(number)
                _write_all(number, content)
            finally:
                os.close(number)
            try:
                beside.replace(target)
            except OSError:
                # Somebody else's in a sticky folder, or mounted there by itself.
                if self._stream is None:
                    raise
                self._stream.write(content)
        except OSError as error:
            raise _lost(self._name, error) from None
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)

    def _take_after(self, number: int) -> None:
        """Owner and permissions are those of the file before, as far as we may."""
        if self._before is not None:
            with suppress(OSError):
                os.fchown(number, self._before.st_uid, self._before.st_gid)
            os.fchmod(number, stat.S_IMODE(self._before.st_mode))

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


def _write_all(number: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(number, rest) :]


def _lost(name: str, error: OSError) -> UsageError:
    return UsageError(f"{name}: {error.strerror}: report lost")


def _destination(name: str) -> Destination:
    """Find out what a name stands for, and that it can be written.

    Raises:
        UsageError: it cannot.
    """
    if name == STANDARD_OUTPUT:
        return _StandardOutput()
    try:
        target = _followed(name)
        if target is None:
            return _Stream(name)
        before = _status(target)
        if before is None:
            return _Replaced(name, target)
        # Who may replace a file is the folder's to say; who may write it, its own.
        stream = _Stream(name)
        if not stat.S_ISREG(before.st_mode) or before.st_nlink > 1:
            return stream
        try:
            return _Replaced(name, target, before, stream)
        except OSError:
            return stream
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{name}: cannot be written: {reason}") from None


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _followed(name: str) -> Path | None:
    """Where a name leads, links followed; None if it is none to be replaced.

    A link in /proc is no path but an open file: /dev/stdout, /dev/fd/3.

    Raises:
        OSError: it leads nowhere.
    """
    if name.endswith("/"):
        return None  # a folder, or nothing: opening it says which
    path = Path(name)
    for _ in range(_MOST_LINKS):
        folder = path.parent.resolve(strict=True)
        if folder.is_relative_to("/proc"):
            return None
        path = folder / path.name
        if not path.is_symlink():
            return path
        path = folder / path.readlink()
    return None


@contextmanager
def destinations(*names: str | None) -> Generator[tuple[Destination | None, ...]]:
    """Try several; None stays None.

    Raises:
        UsageError: one cannot be written, or two are standard output.
    """
    if names.count(STANDARD_OUTPUT) > 1:
        raise UsageError("standard output (-) can take one report only")
    with ExitStack() as stack:
        found: list[Destination | None] = []
        for name in names:
            if name is None:
                found.append(None)
                continue
            destination = _destination(name)
            stack.callback(destination.close)
            found.append(destination)
        yield tuple(found)


def human_stream(*reports: Destination | None) -> TextIO:
    """Where the table goes: standard output, unless a report takes it."""
    taken = any(report is not None and report.is_standard_output for report in reports)
    return sys.stderr if taken else sys.stdout
