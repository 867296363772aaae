"""CMSG_FIRSTHDR and CMSG_NXTHDR of a target, run, beside our own reader.

The buffers of :mod:`buffers`, each payload from 0 to 64 bytes, are read with every
``msg_controllen`` from nothing to all of it, once by the macros (``walk.c``) and once
by ``ancfuzz.codec``.  What has to be the same: where each header is, its length, level
and type, where its data begin, and where the walk ends.

Macros and ``decode`` part in two ways that are no fault of our tables.  They are
counted and named, and asserted of nobody:

* Macros believe a header.  ``decode`` refuses one whose length cannot be true; most
  macros yield it, for their user is to check it, and what they do behind it differs.
* musl hides an empty message at the end of a buffer (it asks for more than a header).

What the macros do with lengths chosen to break them is a table of its own
(:data:`buffers.SHAPES`).  Everything else that differs is a :class:`probe.Difference`.

A target whose programs do not run here has its macros expanded by its own headers and
compiled for this machine: in this machine's byte order, with the target's offsets.
"""

from __future__ import annotations

import re
import struct
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from buffers import SHAPES, Reading, controls, hostile, read, readings
from compilers import HOSTS, Build, machine, zig
from probe import Difference
from workshop import CannotBuild, CannotRun, Workshop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ancfuzz.abi import Abi

YIELDS = "the macros yield the header that decode refuses"
HIDES = "the macros hide an empty last message"
REFUSES = "the macros end where decode raises"

_HERE = Path(__file__).resolve().parent
_WALK, _MAIN = _HERE / "walk.c", _HERE / "walk_main.c"
# zig would have the macros trap on what C leaves undefined, and nobody ships that.
_FLAGS = ("-w", "-std=gnu11", "-fno-sanitize=all")

# What walk_main.c prints: the layout, and a walk.
_LAYOUT = re.compile(r"\d+ \d+ \d+")
_LINE = re.compile(r"[.osbm]( \d+:-?\d+:\d+:-?\d+:-?\d+)*")

_MOST_TOLD = 3  # a wrong table makes every walk differ; the first few say how
_AGAIN = {"s": "S", "b": "B", "o": "O", "m": "M"}
OUTCOMES = {
    "E": "ends before the bad header, as decode does",
    "Y": "yields the bad header, then ends",
    "G": "yields the bad header, then another behind it",
    "S": "yields the bad header, then the same again, for ever",
    "B": "yields the bad header, then goes back to one before it",
    "O": "yields the bad header, then one that is not inside the buffer",
    "M": "yields the bad header, then more headers than there can be",
    "-": "not a bad header in this layout",
}


@dataclass
class Walks:
    """What walking said of one target.

    Attributes:
        how: which programs were run.
        walks: how many walks were compared.
        recorded: how many of them differ in a way that is recorded, by its name.
        hostile: for each of :data:`buffers.SHAPES`, letters of :data:`OUTCOMES`.
        differences: the others, the first few of them.
        differing: how many they are.
    """

    how: str
    walks: int = 0
    recorded: Counter[str] = field(default_factory=Counter[str])
    hostile: dict[str, str] = field(default_factory=dict[str, str])
    differences: list[Difference] = field(default_factory=list[Difference])
    differing: int = 0


def _judge(line: str, ours: Reading, abi: Abi, result: Walks) -> None:
    """Hold one line of ``walk_main.c`` that is not ours against our reading."""
    end, *theirs = line.split(" ")
    if _yields(theirs, ours):
        result.recorded[YIELDS] += 1
    elif end == "." and theirs and _hides(theirs, ours, abi):
        result.recorded[HIDES] += 1
    else:
        result.differing += 1
        if len(result.differences) < _MOST_TOLD:
            size, told = len(ours.control), ours.control.hex()
            what = f"walk, msg_controllen {size}, {told or 'no bytes'}"
            result.differences.append(Difference(abi.name, what, line, ours.line))


def _yields(theirs: Sequence[str], ours: Reading) -> bool:
    count = len(ours.headers)
    return (
        len(theirs) > count
        and tuple(theirs[:count]) == ours.headers
        and theirs[count].startswith(f"{ours.broken}:")
    )


def _hides(theirs: Sequence[str], ours: Reading, abi: Abi) -> bool:
    size, empty = len(ours.control), abi.cmsg_len(0)
    return tuple(theirs) == ours.headers[:-1] and ours.headers[-1].startswith(
        f"{size - empty}:{size}:{empty}:"
    )


def _outcome(line: str, control: bytes, abi: Abi) -> str:
    """The letter of :data:`OUTCOMES` for a walk over a hostile buffer."""
    end, *theirs = line.split(" ")
    behind = len(theirs) - len(read(control, abi).headers)
    if behind <= 0:
        return "E"
    return _AGAIN.get(end, "Y" if behind == 1 else "G")


def run(build: Build, abi: Abi, word: int, shop: Workshop) -> Walks:
    """Build the walking programs of one target, run them, compare.

    Args:
        build: how to compile for it.
        abi: our layout of it.
        word: bytes of a pointer there.
        shop: where to compile.

    Raises:
        CannotRun: its programs do not run on this machine.
        CannotBuild: something did not compile, or failed.
    """
    programs = _own_programs(build, shop) if build.runs else _lent(build, word, shop)
    # The same offsets in the byte order of this machine, where the macros run.
    here = replace(abi, byte_order=sys.byteorder)
    bad = list(hostile(here))
    regular = b"".join(_record(content, at) for _, content, at in controls(here))
    irregular = b"".join(_record(content, len(content)) for _, content in bad)
    result = Walks(how=", ".join(programs))
    result.hostile = {shape.name: "" for shape in SHAPES}
    # What a reader makes of bytes follows from the layout, whoever has it.
    expected = readings(_bare(here))
    seen: set[bytes] = set()
    for program in programs.values():
        said = shop.run([program], regular)
        if said not in seen:  # two programs that say the same are compared once
            seen.add(said)
            _compare(_answer(said, program, len(expected)), expected, here, result)
        said = shop.run([program], irregular)
        walked = _answer(said, program, len(bad)).walks
        for line, (shape, control) in zip(walked, bad, strict=True):
            letter = _outcome(line, control, here)
            if letter not in result.hostile[shape.name]:
                result.hostile[shape.name] += letter
    result.hostile = {name: told or "-" for name, told in result.hostile.items()}
    return result


def _record(control: bytes, first: int) -> bytes:
    return struct.pack("=ii", len(control), first) + control


class _Answer(NamedTuple):
    """What a program of ``walk_main.c`` printed."""

    layout: str
    walks: Sequence[str]


def _answer(said: bytes, program: Path, count: int) -> _Answer:
    """Read what a program printed; raises CannotBuild if it is not that many walks."""
    layout, *lines = said.decode("ascii", "backslashreplace").splitlines() or [""]
    if not _LAYOUT.fullmatch(layout):
        raise CannotBuild(f"{program.name}: prints {layout!r:.60} for a layout")
    for line in lines:
        if not _LINE.fullmatch(line):
            raise CannotBuild(f"{program.name}: prints {line!r:.60} for a walk")
    if len(lines) != count:
        raise CannotBuild(f"{program.name}: prints {len(lines)} walks of {count}")
    return _Answer(layout, lines)


def _compare(
    answer: _Answer,
    expected: Sequence[tuple[Reading, str]],
    abi: Abi,
    result: Walks,
) -> None:
    layout = f"{abi.header_size} {abi.data_offset} {abi.cmsg_space(1)}"
    if answer.layout != layout:
        what = "sizeof(struct cmsghdr), DATA_OFFSET, CMSG_SPACE(1), as walked"
        result.differing += 1
        result.differences.append(Difference(abi.name, what, answer.layout, layout))
    for line, (ours, told) in zip(answer.walks, expected, strict=True):
        result.walks += 1
        if line != told:
            _judge(line, ours, abi, result)
        elif ours.broken is not None:
            result.recorded[REFUSES] += 1


def _bare(abi: Abi) -> Abi:
    return replace(abi, name="", constants={}, structs={}, provenance="")


def _own_programs(build: Build, shop: Workshop) -> dict[str, Path]:
    """The target's own programs: its macros inlined, and its libc's functions."""
    programs: dict[str, Path] = {}
    for level in ("-O2", "-O0"):
        program = shop.folder / f"walk{level}"
        shop.run([*build.command, *_FLAGS, level, _WALK, _MAIN, "-o", program])
        programs[f"its own program {level}"] = program
    return programs


def _lent(build: Build, word: int, shop: Workshop) -> dict[str, Path]:
    """The target's macros, expanded by its headers and compiled for this machine."""
    command = zig()
    host = HOSTS.get(machine(), {}).get(word)
    if command is None or host is None:
        raise CannotRun(f"no compiler for {word}-byte programs that run here")
    expanded, program = shop.folder / "expanded.c", shop.folder / "walk"
    expanded.write_bytes(shop.run([*build.command, "-O2", "-E", "-P", _WALK]))
    here = (*command, "-target", host, *_FLAGS, "-O2")
    shop.run([*here, expanded, _MAIN, "-o", program, "-I", _HERE])
    return {f"its macros in a program for {host}": program}
