"""CMSG_FIRSTHDR and CMSG_NXTHDR of a target, run, beside our own reader.

Buffers of one to three messages, each payload from 0 to 64 bytes, with zeros behind
them, are read with every ``msg_controllen`` from nothing to all of it, once by the
macros (``walk.c``) and once by ``ancfuzz.codec``.  What has to be the same: where each
header is, its length, level and type, where its data begin, and where the walk ends.

Macros and ``decode`` part in two ways that are no fault of our tables.  They are
counted and named, and asserted of nobody:

* Macros believe a header.  ``decode`` refuses one whose length cannot be true; most
  macros yield it, for their user is to check it, and what they do behind it differs.
* musl hides an empty message at the end of a buffer (it asks for more than a header).

What the macros do with lengths chosen to break them is a table of its own
(:data:`SHAPES`).  Everything else that differs is a :class:`probe.Difference`.

A target whose programs do not run here has its macros expanded by its own headers and
compiled for this machine: in this machine's byte order, with the target's offsets.
"""

from __future__ import annotations

import struct
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from compilers import HOSTS, Build, CannotRun, Workshop, machine, zig
from probe import Difference

from ancfuzz.codec import ControlMessage, decode, encode, walk
from ancfuzz.errors import MalformedControl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ancfuzz.abi import Abi

SIZES = range(65)
YIELDS = "the macros yield the header that decode refuses"
HIDES = "the macros hide an empty last message"
REFUSES = "the macros end where decode raises"

_HERE = Path(__file__).resolve().parent
_WALK, _MAIN = _HERE / "walk.c", _HERE / "walk_main.c"
# zig would have the macros trap on what C leaves undefined, and nobody ships that.
_FLAGS = ("-w", "-std=gnu11", "-fno-sanitize=all")

_MOST_TOLD = 3  # a wrong table makes every walk differ; the first few say how
_AGAIN = {"s": "S", "b": "B", "o": "O", "m": "M"}
OUTCOMES = {
    "E": "ends before the bad header, as decode does",
    "Y": "yields the bad header, then ends",
    "G": "yields the bad header, then another behind it",
    "S": "yields the bad header, then the same again, for ever",
    "B": "yields the bad header, then goes back to one before it",
    "O": "yields the bad header, then one that is not inside the buffer",
    "-": "not a bad header in this layout",
}


@dataclass
class Walks:
    """What walking said of one target.

    Attributes:
        how: which programs were run.
        walks: how many walks were compared.
        recorded: how many of them differ in a way that is recorded, by its name.
        hostile: for each shape of :data:`SHAPES`, letters of :data:`OUTCOMES`.
        differences: the others, the first few of them.
        differing: how many they are.
    """

    how: str
    walks: int = 0
    recorded: Counter[str] = field(default_factory=Counter[str])
    hostile: dict[str, str] = field(default_factory=dict[str, str])
    differences: list[Difference] = field(default_factory=list[Difference])
    differing: int = 0


class Shape(NamedTuple):
    """A ``cmsg_len`` that cannot be true, and where it stands."""

    name: str
    length: Callable[[Abi, int], int]  # from the bytes left at its header
    second: bool


def _shapes() -> Iterator[Shape]:
    lengths: dict[str, Callable[[Abi, int], int]] = {
        "0": lambda _abi, _left: 0,
        "header - 1": lambda abi, _left: abi.header_size - 1,
        "header": lambda abi, _left: abi.header_size,
        "CMSG_LEN(0) - 1": lambda abi, _left: abi.cmsg_len(0) - 1,
        "left + 1": lambda _abi, left: left + 1,
        "left + alignment": lambda abi, left: left + abi.alignment,
        "2^31": lambda _abi, _left: 1 << 31,
        "2^32 - 1": lambda _abi, _left: (1 << 32) - 1,
        "2^32 - CMSG_SPACE(4)": lambda abi, _left: (1 << 32) - abi.cmsg_space(4),
        "2^63": lambda _abi, _left: 1 << 63,
        "2^64 - 1": lambda _abi, _left: (1 << 64) - 1,
        "2^64 - CMSG_SPACE(4)": lambda abi, _left: (1 << 64) - abi.cmsg_space(4),
    }
    for second in (False, True):
        for name, length in lengths.items():
            yield Shape(f"{'next' if second else 'first'}: {name}", length, second)


SHAPES = tuple(_shapes())


def controls(abi: Abi) -> Iterator[tuple[bytes, int]]:
    """Buffers to walk: each payload size alone, before others, behind and between.

    Beside each the first ``msg_controllen`` to read it with: the shorter ones were
    those of a buffer that began with the same message.
    """
    behind = bytes(abi.header_size + abi.alignment)
    for n in SIZES:
        for sizes in ((n,), (n, 0), (n, 1), (0, n), (n, 64 - n, n)):
            control = encode([_message(*at_n) for at_n in enumerate(sizes)], abi)
            alone = len(sizes) == 1
            yield control + behind, 0 if alone else abi.cmsg_space(sizes[0])


def _message(index: int, size: int) -> ControlMessage:
    data = bytes((16 * index + at) % 251 + 1 for at in range(size))
    return ControlMessage(1 + index, -1 - index, data)


def hostile(abi: Abi) -> Iterator[tuple[Shape, bytes]]:
    """For each shape that this layout can say, two or three messages, one of them bad.

    A shape that is no bad header in this layout is left out.
    """
    good = encode([_message(0, 4)], abi)
    for shape in SHAPES:
        at = len(good) if shape.second else 0
        control = bytearray(good * (3 if shape.second else 2))
        length = shape.length(abi, len(control) - at)
        if length >> 8 * abi.length_size or length == abi.cmsg_len(0):
            continue
        stop = at + abi.length_offset + abi.length_size
        control[at + abi.length_offset : stop] = length.to_bytes(
            abi.length_size, abi.byte_order
        )
        yield shape, bytes(control)


class _Reading(NamedTuple):
    """What our reader makes of a control buffer, as ``walk_main.c`` prints a walk."""

    control: bytes
    headers: tuple[str, ...]
    broken: int | None  # where it refuses to go on

    @property
    def line(self) -> str:
        return " ".join([".", *self.headers])


def _read(control: bytes, abi: Abi) -> _Reading:
    spans = [one for one in walk(control, abi) if one.kind in {"header", "broken"}]
    broken = spans.pop().start if spans and spans[-1].kind == "broken" else None
    messages, refused = _decoded(control, abi)
    if refused != broken or len(messages) != len(spans):
        # No macro prints this, so that it is a difference whatever they say.
        told = f"decode: {len(messages)}, refused at {refused}"
        told = f"{told}; walk: {len(spans)}, broken at {broken}"
        return _Reading(control, (told,), broken)
    headers: list[str] = []
    for span, message in zip(spans, messages, strict=True):
        data = span.start + abi.cmsg_len(0)
        length = abi.cmsg_len(len(message.data))
        if control[data : span.start + length] != message.data:
            data = -1  # what decode read does not lie where CMSG_DATA would be
        headers.append(f"{span.start}:{data}:{length}:{message.level}:{message.type}")
    return _Reading(control, tuple(headers), broken)


def _decoded(control: bytes, abi: Abi) -> tuple[list[ControlMessage], int | None]:
    """What decode reads, and where it refuses to go on."""
    try:
        return decode(control, abi), None
    except MalformedControl as error:
        refused = error.offset
    with suppress(MalformedControl):  # then it refuses twice, and that is told
        return decode(control[:refused], abi), refused
    return [], refused


@lru_cache(maxsize=16)
def _readings(abi: Abi) -> tuple[tuple[_Reading, str], ...]:
    """Each of our readings with its line; once for all targets of one layout."""
    readings = (
        _read(control[:size], abi)
        for control, first in controls(abi)
        for size in range(first, len(control) + 1)
    )
    return tuple((one, one.line) for one in readings)


def _judge(line: str, ours: _Reading, abi: Abi, result: Walks) -> None:
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


def _yields(theirs: Sequence[str], ours: _Reading) -> bool:
    count = len(ours.headers)
    return (
        len(theirs) > count
        and tuple(theirs[:count]) == ours.headers
        and theirs[count].startswith(f"{ours.broken}:")
    )


def _hides(theirs: Sequence[str], ours: _Reading, abi: Abi) -> bool:
    size, empty = len(ours.control), abi.cmsg_len(0)
    return tuple(theirs) == ours.headers[:-1] and ours.headers[-1].startswith(
        f"{size - empty}:{size}:{empty}:"
    )


def _outcome(line: str, control: bytes, abi: Abi) -> str:
    """The letter of :data:`OUTCOMES` for a walk over a hostile buffer."""
    end, *theirs = line.split(" ")
    behind = len(theirs) - len(_read(control, abi).headers)
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
    result = Walks(how=", ".join(programs))
    result.hostile = {shape.name: "" for shape in SHAPES}
    seen: set[bytes] = set()
    for program in programs.values():
        answer = shop.run([program], b"".join(_record(*one) for one in controls(here)))
        if answer not in seen:  # two programs that say the same are compared once
            seen.add(answer)
            _compare(answer, here, result)
        answer = shop.run([program], b"".join(_record(one, len(one)) for _, one in bad))
        for line, (shape, control) in zip(_lines(answer), bad, strict=True):
            letter = _outcome(line, control, here)
            if letter not in result.hostile[shape.name]:
                result.hostile[shape.name] += letter
    result.hostile = {name: told or "-" for name, told in result.hostile.items()}
    return result


def _record(control: bytes, first: int) -> bytes:
    return struct.pack("=ii", len(control), first) + control


def _lines(answer: bytes) -> list[str]:
    return answer.decode().splitlines()[1:]


def _compare(answer: bytes, abi: Abi, result: Walks) -> None:
    layout = f"{abi.header_size} {abi.data_offset} {abi.cmsg_space(1)}"
    compiled = answer.decode().splitlines()[0]
    if compiled != layout:
        what = "sizeof(struct cmsghdr), DATA_OFFSET, CMSG_SPACE(1), as walked"
        result.differing += 1
        result.differences.append(Difference(abi.name, what, compiled, layout))
    # What a reader makes of bytes follows from the layout, whoever has it.
    for line, (ours, told) in zip(_lines(answer), _readings(_bare(abi)), strict=True):
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
