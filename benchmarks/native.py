"""``loop.c``, compiled for this machine and called.

It reads the clock itself, before its first round trip and after the last, so that
nothing of Python is in what it says.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pairing import CannotMeasure, Contender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from socket import socket

_SOURCE = Path(__file__).with_name("loop.c")
_DEADLINE = 60.0  # seconds
_COMPILERS = ("gcc", "cc", "clang")

CLOSE_EACH = "C, close() each"
CLOSE_RUNS = "C, close_range()"


def compiler() -> str | None:
    """A C compiler, if there is one."""
    return next(filter(None, map(shutil.which, _COMPILERS)), None)


def compiler_version() -> str | None:
    """What it calls itself."""
    found = compiler()
    return None if found is None else _run([found, "--version"]).partition("\n")[0]


def _run(command: Sequence[str]) -> str:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=_DEADLINE, check=True
        ).stdout
    except subprocess.CalledProcessError as error:
        raise CannotMeasure(f"{command[0]}: {error.stderr.strip()[:500]}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotMeasure(f"{command[0]}: {error}") from None


def build(with_compiler: str) -> Callable[..., int]:
    """Compile ``loop.c``, and load it.

    Raises:
        CannotMeasure: the compiler fails, or what it made cannot be loaded.
    """
    with tempfile.TemporaryDirectory(prefix="ancfuzz-bench-") as folder:
        library = str(Path(folder) / "loop.so")
        flags = ("-std=gnu11", "-O2", "-shared", "-fPIC")
        _run([with_compiler, *flags, str(_SOURCE), "-o", library])
        try:
            loop = ctypes.CDLL(library).round_trips
        except OSError as error:  # of another architecture, say
            raise CannotMeasure(f"{with_compiler}: {error}") from None
    loop.restype = ctypes.c_longlong
    c_int = ctypes.c_int
    loop.argtypes = [
        c_int,
        c_int,
        ctypes.POINTER(c_int),
        c_int,
        c_int,
        ctypes.c_long,
    ]
    return loop


def contenders(
    loop: Callable[..., int], one: socket, other: socket, fds: Sequence[int]
) -> Iterator[Contender]:
    """The loop as contenders: as it closes one by one, and by runs."""
    sent = (ctypes.c_int * len(fds))(*fds)
    ends = one.fileno(), other.fileno()
    for name, runs in (CLOSE_EACH, 0), (CLOSE_RUNS, 1):
        turn = partial(_turn, name, partial(loop, *ends, sent, len(fds), runs))
        yield Contender(name, turn)


def _turn(name: str, loop: Callable[[int], int], times: int) -> float:
    taken = loop(times)
    if taken < 0:
        raise CannotMeasure(f"{name}: {os.strerror(-taken)}")
    return taken
