"""The folder of a session: where its logs and its copy of the shim are.

It is private, it is made where the user wants temporary files, and it is gone when the
session is over, however it ends.  The owner holds a lock on it (flock(2)), which the
kernel lets go of with the owner: so a folder that a killed owner left is known, and the
next session takes it away, unless programs that were being recorded still use it.

This room must not know what is in a log.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import Final, Self

from ancfuzz.errors import EnvironmentUnsupported
from ancfuzz.recorder.processes import has_mapped, pids

__all__ = ["Folder"]

PREFIX: Final = "ancfuzz-record-"
SHIM: Final = "recorder.so"
# Root records what changes its user, too: others may then add a log and pass through,
# but not list the folder nor touch a log that is not theirs (as in /tmp).
_MODE_FOR_ROOT: Final = 0o1733
_MODE_FOR_USERS: Final = 0o700
_SETTLED_SECONDS: Final = 60.0  # a folder is locked a moment after it is made
_SEPARATORS: Final = " :$"  # of LD_PRELOAD, and what it would expand (ld.so(8))


class Folder:
    """A folder of our own; a context manager that removes it.

    Attributes:
        path: of the folder.
        shim: of the copy of the library that is in it.
    """

    def __init__(self, library: Path) -> None:
        """Makes the folder, and takes away those that were left behind.

        Args:
            library: the compiled shim.

        Raises:
            EnvironmentUnsupported: it cannot be made, or cannot be preloaded from.
        """
        # Named by the user, it is that folder or none.
        parent = os.environ.get("TMPDIR", "")
        try:
            with contextlib.ExitStack() as stack:
                # As /proc/PID/maps will name it. Path.resolve() does not take loops.
                parent = os.path.realpath(parent or tempfile.gettempdir())
                self.path = _made(Path(parent), stack)
                self.shim = self.path / SHIM
                # A copy: the cache is in a home that a daemon's own user cannot enter.
                shutil.copyfile(library, self.shim)
                self.shim.chmod(0o755)
                as_root = os.geteuid() == 0
                self.path.chmod(_MODE_FOR_ROOT if as_root else _MODE_FOR_USERS)
                self._stack = stack.pop_all()
        except OSError as error:
            raise EnvironmentUnsupported(
                f"the recorder cannot keep its logs in {parent or 'any folder'}: "
                f"{error.strerror}; name another folder in TMPDIR"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _made(parent: Path, stack: contextlib.ExitStack) -> Path:
    """A new folder, locked; the stack removes it.

    Raises:
        OSError: it cannot be made, or nothing in it could be preloaded.
    """
    _sweep(parent)
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    stack.callback(shutil.rmtree, path, ignore_errors=True)
    stack.callback(os.close, _locked(path))
    if os.statvfs(path).f_flag & os.ST_NOEXEC:
        raise PermissionError(errno.EACCES, "it is mounted noexec")
    if any(character in str(path) for character in _SEPARATORS):
        raise OSError(errno.EINVAL, "LD_PRELOAD has no way to name it")
    return path


def _locked(path: str | Path) -> int:
    """A descriptor that holds the lock of a folder.

    Raises:
        OSError: there is none to be had: BlockingIOError, somebody else has it.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def _sweep(parent: Path) -> None:
    """Removes our own folders whose owner was killed."""
    for path in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            is_ = path.lstat()
            recent = time.time() - is_.st_mtime < _SETTLED_SECONDS
            if not stat.S_ISDIR(is_.st_mode) or is_.st_uid != os.geteuid() or recent:
                continue
            lock = _locked(path)
            try:
                if not any(has_mapped(pid, path / SHIM) for pid in pids()):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
