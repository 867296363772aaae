"""The compilers that this machine has, and the targets that each can speak for.

A :class:`Build` is one way to compile for one row of ``ancfuzz.abi_table``.  Some rows
are the system's own compilers, which are looked for; the others are ``zig cc`` of the
``ziglang`` package, which brings the headers of every target with it.  What is not
here is a :class:`NotRun` with the reason and what to install, and what is here and
broken is :class:`Failed`: nothing is left out without a word.

This room must not know what is compiled, nor what it should say.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from typing import TYPE_CHECKING, NamedTuple

from workshop import CannotBuild, TooSlow, Workshop

from ancfuzz import abi_table
from ancfuzz.abi import ABIS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

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


class NotHere(Exception):
    """A compiler, or the headers for it, that this machine does not have."""


class NotRun(NamedTuple):
    """Something that was not compared with a compiler, and why."""

    compiler: str
    what: str
    why: str


class Failed(NotRun):
    """The same of a compiler that is here, and should have been able to."""


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
ZIGLANG = "ziglang"  # the package that brings it
_ZIGLANG = (sys.executable, "-m", ZIGLANG)
COMPILERS = (*(one.name for one in _SYSTEM), ZIG)


def machine() -> str:
    """What this machine calls itself, where its programs are Linux's; else ''."""
    return os.uname().machine if sys.platform == "linux" else ""


class Wanted(NamedTuple):
    """What a run is asked to compile.

    Attributes:
        compilers: with which of :data:`COMPILERS`.
        targets: for which rows, by name; empty: for the first of each family, that is,
            of each layout, in each byte order, that a system and its libc have.
        every: for all rows, then.
    """

    compilers: Collection[str] = COMPILERS
    targets: Collection[str] = ()
    every: bool = False


def builds(shop: Workshop, wanted: Wanted) -> Iterator[Build | NotRun]:
    """What can be compiled of what is wanted, and what cannot, and why."""
    for one in _SYSTEM:
        if one.name in wanted.compilers:
            found = _system_build(one, shop)
            row = found.target if isinstance(found, Build) else found.what
            if not wanted.targets or row in wanted.targets:
                yield found
    if ZIG in wanted.compilers:
        yield from _zig_builds(wanted)


def _system_build(one: _System, shop: Workshop) -> Build | NotRun:
    command = tuple(one.name.split())
    try:
        return Build(_row(one, command, shop), one.name, command, runs=True)
    except NotHere as error:
        return NotRun(one.name, one.row, str(error))
    except CannotBuild as error:
        return Failed(one.name, one.row, str(error))


def _row(one: _System, command: tuple[str, ...], shop: Workshop) -> str:
    """The row that a compiler of the system speaks for.

    Raises:
        NotHere: there is no such compiler, or none for a row of ours.
        CannotBuild: there is one, and it does not even say what it compiles for.
    """
    if shutil.which(command[0]) is None:
        raise NotHere(f"not found on PATH (Debian: {one.packages})")
    triple = _first_line((*command, "-dumpmachine"), shop)
    row = one.row
    musl = one.name == "musl-gcc"
    if not triple.startswith("x86_64-") or ("musl" in triple and not musl):
        # The rows of Debian's compilers are x86-64's and, but for musl-gcc, glibc's. A
        # plain compiler elsewhere speaks for the row of its own target; musl-gcc calls
        # that what the gcc behind it does.
        target = triple.replace("-gnu", "-musl") if musl else triple
        row = abi_table.MULTIARCH.get(target, target)
        if len(command) > 1 or row not in ABIS:
            raise NotHere(f"compiles for {triple}, and our row is {one.row!r}")
    try:
        shop.run([*command, "-include", "sys/socket.h", "-E", "-x", "c", "-"])
    except TooSlow:
        raise
    except CannotBuild as error:
        raise NotHere(f"{error} (Debian: {one.packages})") from error
    return row


def zig() -> tuple[str, ...] | None:
    """How to start ``zig cc``; None without the ``ziglang`` package."""
    found = importlib.util.find_spec(ZIGLANG)
    return None if found is None else (*_ZIGLANG, "cc")


def _family(row: abi_table.Row) -> tuple[str, ...]:
    return row.os, libc(row.target), row.layout, row.byte_order


def _zig_builds(wanted: Wanted) -> Iterator[Build | NotRun]:
    rows = [row for row in abi_table.ROWS if row.target not in SYSTEM_ROWS]
    if wanted.targets:
        rows = [row for row in rows if row.target in wanted.targets]
    families: dict[tuple[str, ...], str] = {}
    for row in rows:
        families.setdefault(_family(row), row.target)
    command = zig()
    if command is None:
        if rows:
            why = "no ziglang: python -m pip install ziglang, or use tox run -e abi"
            yield NotRun(ZIG, f"{len(rows)} targets", why)
        return
    here = RUN_HERE.get(machine(), ())
    left_out = 0
    for row in rows:
        if wanted.every or wanted.targets or row.target in families.values():
            asked = (*command, "-target", row.target)
            yield Build(row.target, ZIG, asked, runs=row.target in here)
        else:
            left_out += 1
    if left_out:
        why = "each has the layout of one that was run: --all runs them too"
        yield NotRun(ZIG, f"{left_out} targets", why)


def version(build: Build, shop: Workshop) -> str:
    """What a compiler calls its version; raises CannotBuild."""
    if build.compiler == ZIG:
        return f"{ZIGLANG} {_first_line((*_ZIGLANG, 'version'), shop)}"
    return _first_line((*build.command, "--version"), shop)


def _first_line(command: tuple[str, ...], shop: Workshop) -> str:
    answer = shop.run(command).decode(errors="backslashreplace")
    return answer.partition("\n")[0].strip()


def libc(target: str) -> str:
    """Whose headers a target's are: glibc's, musl's, or its system's."""
    system = next(row.os for row in abi_table.ROWS if row.target == target)
    if system != "linux":
        return system
    return "musl" if "musl" in target else "glibc"
