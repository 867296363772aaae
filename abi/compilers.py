"""The compilers that this machine has, and the targets that each can speak for.

A :class:`Build` is one way to compile for one row of ``ancfuzz.abi_table``.  Some rows
are the system's own compilers, which are looked for; the others are ``zig cc`` of the
``ziglang`` package, which brings the headers of every target with it.  What is not
here is a :class:`NotRun` with the reason and what to install: nothing is left out
without a word.

:class:`Workshop` is where compiling happens: one temporary folder, gone at the end, and
a deadline for each program that is started.  Only the libcs that zig builds to link
programs against are kept, in the user's cache: they take longer than all the rest.

This room must not know what is compiled, nor what it should say.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ancfuzz import abi_table
from ancfuzz.abi import ABIS

if TYPE_CHECKING:
    from collections.abc import Container, Generator, Iterator, Sequence

# What zig calls a machine, and the targets whose programs run on it: by word size, for
# a program that has to run here in the place of another target's.
HOSTS: dict[str, dict[int, str]] = {
    "x86_64": {8: "x86_64-linux-musl", 4: "x86-linux-musl"},
    "aarch64": {8: "aarch64-linux-musl"},
}
RUN_HERE: dict[str, tuple[str, ...]] = {
    "x86_64": (
        "x86_64-linux-gnu",
        "x86_64-linux-musl",
        "x86-linux-gnu",
        "x86-linux-musl",
    ),
    "aarch64": ("aarch64-linux-gnu", "aarch64-linux-musl"),
}


class CannotBuild(Exception):
    """A program failed, or took too long; one line that says which and why."""


class CannotRun(CannotBuild):
    """A program that was built is not one that this machine runs."""


class NotRun(NamedTuple):
    """Something that was not compared with a compiler, and why."""

    compiler: str
    what: str
    why: str


class Build(NamedTuple):
    """One way to compile for one row of our table.

    Attributes:
        target: the row's name.
        compiler: what to call it.
        command: what to start, without what is to be done.
        runs: whether the programs that it makes may run here.
    """

    target: str
    compiler: str
    command: tuple[str, ...]
    runs: bool


class _System(NamedTuple):
    """A compiler to look for, and what brings it on Debian."""

    name: str
    row: str
    packages: str


_SYSTEM = (
    _System("gcc", "native gcc x86_64-linux-gnu", "gcc libc6-dev"),
    _System("gcc -m32", "native gcc -m32 i386-linux-gnu", "gcc-multilib"),
    _System("gcc -mx32", "native gcc -mx32", "gcc-multilib"),
    _System("musl-gcc", "musl-gcc x86_64", "musl-tools"),
)
SYSTEM_ROWS = frozenset(one.row for one in _SYSTEM)
ZIG = "zig cc"
COMPILERS = (*(one.name for one in _SYSTEM), ZIG)


def machine() -> str:
    """What this machine calls itself, where its programs are Linux's; else ''."""
    return os.uname().machine if sys.platform == "linux" else ""


class Workshop:
    """A temporary folder to compile in, and a deadline for whatever is started.

    Attributes:
        folder: gone when the workshop is closed.
        deadline: seconds, for each program.
    """

    def __init__(self, folder: Path, deadline: float) -> None:
        self.folder = folder
        self.deadline = deadline
        kept = _cache() if zig() else None
        # Objects are cached nowhere: what a run says, it has compiled.
        self._environment = {
            **os.environ,
            "LC_ALL": "C",
            "ZIG_LOCAL_CACHE_DIR": str(folder / "zig"),
            "ZIG_GLOBAL_CACHE_DIR": str(kept or folder / "zig-global"),
        }

    def run(self, command: Sequence[str | Path], stdin: bytes = b"") -> bytes:
        """Run a program in the folder; what it wrote to standard output.

        Raises:
            CannotRun: it could not be started.
            CannotBuild: it failed, or took too long.
        """
        told = " ".join(map(str, command[:4])).replace(f"{self.folder}{os.sep}", "")
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
                out, complaint = started.communicate(stdin, self.deadline)
            except subprocess.TimeoutExpired:
                raise CannotBuild(f"{told}: not done in {self.deadline:g} s") from None
            finally:
                if started.returncode is None:
                    os.killpg(started.pid, signal.SIGKILL)
        if started.returncode:
            raise CannotBuild(f"{told}: {_cause(started.returncode, complaint)}")
        return out


@contextmanager
def workshop(deadline: float) -> Generator[Workshop]:
    """A workshop for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="ancfuzz-abi-") as folder:
        yield Workshop(Path(folder), deadline)


def _cause(status: int, complaint: bytes) -> str:
    if status < 0:
        return f"ended by signal {-status}"
    lines = complaint.decode(errors="replace").splitlines()
    errors = [line for line in lines if "error" in line] or lines[-1:]
    return errors[0].strip() if errors else f"exit status {status}"


def _cache() -> Path | None:
    """A folder of ours in the user's cache; None if there can be none."""
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(base).resolve() / "ancfuzz" / "zig"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: nobody's home is known
        return None
    return folder if os.access(folder, os.W_OK) else None


def system_builds(shop: Workshop, wanted: Container[str]) -> Iterator[Build | NotRun]:
    """The rows of the system's own compilers, of those wanted; each is looked for."""
    for one in _SYSTEM:
        if one.name not in wanted:
            continue
        command = tuple(one.name.split())
        try:
            yield Build(_row(one, command, shop), one.name, command, runs=True)
        except CannotBuild as error:
            yield NotRun(one.name, one.row, str(error))


def _row(one: _System, command: tuple[str, ...], shop: Workshop) -> str:
    """The row that a compiler of the system speaks for; raises CannotBuild."""
    if shutil.which(command[0]) is None:
        raise CannotBuild(f"not found on PATH (Debian: {one.packages})")
    triple = shop.run([*command, "-dumpmachine"]).decode().strip()
    row = one.row
    musl = one.name == "musl-gcc"
    if not triple.startswith("x86_64-") or ("musl" in triple and not musl):
        # The rows of Debian's compilers are x86-64's and, but for musl-gcc, glibc's. A
        # plain compiler elsewhere speaks for the row of its own target; musl-gcc calls
        # that what the gcc behind it does.
        target = triple.replace("-gnu", "-musl") if musl else triple
        row = abi_table.MULTIARCH.get(target, target)
        if len(command) > 1 or row not in ABIS:
            raise CannotBuild(f"compiles for {triple}, and our row is {one.row!r}")
    try:
        shop.run([*command, "-include", "sys/socket.h", "-E", "-x", "c", "-"])
    except CannotBuild as error:
        raise CannotBuild(f"{error} (Debian: {one.packages})") from error
    return row


def zig() -> tuple[str, ...] | None:
    """How to start ``zig cc``; None without the ``ziglang`` package."""
    spec = importlib.util.find_spec("ziglang")
    return None if spec is None else (sys.executable, "-m", "ziglang", "cc")


def zig_builds(*, every: bool) -> Iterator[Build | NotRun]:
    """Rows that ``zig cc`` compiles for.

    Args:
        every: all of them, and not the first of each family: of each layout that a
            system and its libc have.
    """
    rows = [row for row in abi_table.ROWS if row.target not in SYSTEM_ROWS]
    families: dict[tuple[str, str, str], str] = {}
    for row in rows:
        families.setdefault((row.os, libc(row.target), row.layout), row.target)
    wanted = {row.target for row in rows} if every else set(families.values())
    command = zig()
    left_out = len(rows) - len(wanted)
    if left_out:
        yield NotRun(
            ZIG,
            f"{left_out} targets",
            "each has the layout of one that was run: --all runs them too",
        )
    if command is None:
        yield NotRun(
            ZIG,
            f"{len(wanted)} targets",
            "no ziglang: python -m pip install ziglang, or use tox run -e abi",
        )
        return
    here = RUN_HERE.get(machine(), ())
    for row in rows:
        if row.target in wanted:
            asked = (*command, "-target", row.target)
            yield Build(row.target, ZIG, asked, runs=row.target in here)


def version(build: Build, shop: Workshop) -> str:
    """What a compiler calls its version; raises CannotBuild."""
    if build.compiler == ZIG:
        return f"ziglang {importlib.metadata.version('ziglang')}"
    return shop.run([*build.command, "--version"]).decode().partition("\n")[0]


def libc(target: str) -> str:
    """Whose headers a target's are: glibc's, musl's, or its system's."""
    system = next(row.os for row in abi_table.ROWS if row.target == target)
    if system != "linux":
        return system
    return "musl" if "musl" in target else "glibc"
