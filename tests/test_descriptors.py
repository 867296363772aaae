"""Opening by name: each kind is what its name says, and leaves nothing behind."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import ancfuzz
from ancfuzz import names
from ancfuzz.descriptors import (
    OPENERS,
    Stock,
    close_all,
    describe,
    is_close_on_exec,
    open_kind,
    open_numbers,
    unavailable,
)
from ancfuzz.errors import EnvironmentUnsupported, UsageError

AVAILABLE = [kind for kind in names.KINDS if unavailable(kind) is None]

SIGNS = {
    "pipe-read": (stat.S_ISFIFO, os.O_RDONLY),
    "pipe-write": (stat.S_ISFIFO, os.O_WRONLY),
    "memfd": (stat.S_ISREG, os.O_RDWR),
    "socket": (stat.S_ISSOCK, os.O_RDWR),
    "file": (stat.S_ISREG, os.O_RDWR),
    "directory": (stat.S_ISDIR, os.O_RDONLY),
    "path": (stat.S_ISDIR, os.O_PATH),
}


def test_every_kind_that_a_case_can_name_has_an_opener() -> None:
    assert set(OPENERS) == set(names.KINDS)


@pytest.mark.parametrize("kind", AVAILABLE)
def test_what_is_opened_is_what_the_name_says(kind: str) -> None:
    with Stock() as stock:
        number = stock.number(kind)
        assert is_close_on_exec(number)
        assert describe(number).startswith(f"{number}: {kind}")
        if kind in SIGNS:
            is_kind, access = SIGNS[kind]
            flags = fcntl.fcntl(number, fcntl.F_GETFL)
            assert is_kind(os.fstat(number).st_mode)
            assert flags & (os.O_ACCMODE | os.O_PATH) == access


@pytest.mark.parametrize("kind", AVAILABLE)
def test_opening_leaves_nothing_else_open_and_no_file_behind(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = open_numbers()
    numbers = open_kind(kind)
    assert open_numbers() == before | set(numbers)
    assert close_all(numbers) == ()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "directory", "path"])
def test_files_need_no_writable_working_directory(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()  # nobody can write there, not even root
    assert close_all(open_kind(kind)) == ()


def test_the_pidfd_is_of_this_process() -> None:
    with Stock() as stock:
        number = stock.number("pidfd")
        with open(f"/proc/self/fdinfo/{number}") as fdinfo:  # noqa: PTH123
            assert f"Pid:\t{os.getpid()}\n" in fdinfo.read()


def test_the_timerfd_runs_on_no_timer() -> None:
    with Stock() as stock, pytest.raises(BlockingIOError):
        os.read(stock.number("timerfd"), 8)


def test_a_kind_that_the_kernel_lacks_is_unsupported_and_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def memfd_create(*arguments: object) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "memfd_create", memfd_create)
    with pytest.raises(EnvironmentUnsupported, match=r"memfd.*Linux 3\.17"):
        open_kind("memfd")
    monkeypatch.delattr(os, "memfd_create")
    with pytest.raises(EnvironmentUnsupported, match=r"memfd.*Linux 3\.17"):
        open_kind("memfd")


def test_a_full_table_says_nothing_of_the_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def pidfd_open(pid: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    unavailable.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pidfd_open", pidfd_open)
        with pytest.raises(OSError, match="Too many"):
            unavailable("pidfd")
    assert (unavailable("pidfd") is None) == ("pidfd" in AVAILABLE)


def test_no_directory_for_temporary_files_is_unsupported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(EnvironmentUnsupported, match="temporary files"):
        open_kind("file")


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="expected one of pipe-read"):
        open_kind("floppy")


def test_elsewhere_the_import_says_what_is_missing() -> None:
    program = (
        "import os; os.name = 'nt'\n"
        "from ancfuzz.errors import EnvironmentUnsupported\n"
        "try: import ancfuzz.descriptors\n"
        "except EnvironmentUnsupported as error: print(error)\n"
    )
    home = Path(ancfuzz.__file__).parent.parent
    child = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(home)},
        text=True,
        timeout=60,
    )
    assert child.stderr == ""
    assert "this needs a POSIX system with AF_UNIX sockets" in child.stdout
