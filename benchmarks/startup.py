"""How long Python takes to start, and to start and import us.

Each is a process of its own, whose CPU time the kernel says when it has ended
(``wait4``): what it read from disk counts only as far as the CPU had to do with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

from pairing import CannotMeasure, Cell, Contender, Effort, Table, interleave

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BARE = "python -c pass"
COLUMN = "CPU"
_LAZY = "import ancfuzz; ancfuzz"
COMMANDS: dict[str, tuple[str, ...]] = {
    BARE: ("-c", "pass"),
    "import socket": ("-c", "import socket"),
    "import ancfuzz": ("-c", "import ancfuzz"),
    "ancfuzz.decode": ("-c", f"{_LAZY}.decode"),
    "ancfuzz.SocketAncillary": ("-c", f"{_LAZY}.SocketAncillary"),
    "ancfuzz.check": ("-c", f"{_LAZY}.check"),
    "ancfuzz --help": ("-m", "ancfuzz", "--help"),
    "ancfuzz invariants": ("-m", "ancfuzz", "invariants"),
}


def run(name: str, arguments: Sequence[str]) -> int:
    """Run Python once; nanoseconds of CPU."""
    # -P: what is installed is imported, and not what lies in the working directory.
    command = [sys.executable, "-P", *arguments]
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)  # it was waited for
    if child.returncode:
        raise CannotMeasure(f"{name}: exit status {child.returncode}")
    return round(1e9 * (used.ru_utime + used.ru_stime))


def _turn(name: str, arguments: Sequence[str], times: int) -> float:
    return sum(run(name, arguments) for _ in range(times))


def tables(effort: Effort, left_out: Callable[[str, str], None]) -> Iterator[Table]:
    """The one table."""
    del left_out
    found = [Contender(name, partial(_turn, name, it)) for name, it in COMMANDS.items()]
    samples = interleave(found, effort.long_rounds, turn=0)
    base = samples[BARE]
    rows = {name: {COLUMN: Cell(taken, base)} for name, taken in samples.items()}
    title = "start-up: CPU of the process"
    yield Table("startup", title, "difference", BARE, (COLUMN,), rows)
