"""Compile the headers of each target again, and compare them with our tables.

    python abi/check.py [--all] [--compiler NAME]... [--deadline S] [--json F]

What is compared, and how it can be without running anything, is in ``abi/README.md``.
This file is the order of things: find the compilers, probe each target, walk where
programs run, say it all.

Exit status: 0 no difference; 1 a difference; 2 usage; 3 nothing could be compared, or
a compiler that is here did not compile what it should.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import probe
import walks
from compilers import (
    COMPILERS,
    ZIG,
    Build,
    CannotBuild,
    CannotRun,
    NotRun,
    Workshop,
    system_builds,
    version,
    workshop,
    zig_builds,
)
from show import Checked, Run, as_json, as_text

from ancfuzz.abi import ABIS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HERE = Path(__file__).resolve().parent


def builds(shop: Workshop, asked: argparse.Namespace) -> Iterator[Build | NotRun]:
    """What can be compiled with, and what cannot; of the compilers asked for."""
    wanted = asked.compiler or COMPILERS
    yield from system_builds(shop, wanted)
    if ZIG in wanted:
        yield from zig_builds(every=asked.all)


def check_target(build: Build, shop: Workshop, run: Run) -> None:
    """Probe one target and walk its buffers; what it says is added to the run."""
    abi = ABIS[build.target]
    (shop.folder / "values.h").write_text(probe.questions(abi), encoding="ascii")
    image = shop.folder / "probe.o"
    image.unlink(missing_ok=True)  # what is read was compiled now
    walking = f"{build.target}, walks"
    try:
        if build.compiler not in run.versions:
            run.versions[build.compiler] = version(build, shop)
        source = _HERE / "probe.c"
        flags = ("-w", "-std=gnu11", "-I", shop.folder)
        shop.run([*build.command, *flags, "-c", source, "-o", image])
        found = probe.answers(image.read_bytes())
    except (CannotBuild, OSError, ValueError) as error:
        run.failed.append(NotRun(build.compiler, build.target, str(error)))
        return
    walked = None
    try:
        walked = walks.run(build, abi, found[probe.WORD], shop)
    except CannotRun as error:
        run.not_run.append(NotRun(build.compiler, walking, str(error)))
    except CannotBuild as error:
        run.failed.append(NotRun(build.compiler, walking, str(error)))
    word = found[probe.WORD]
    run.checked.append(Checked(build, word, probe.compare(abi, found), walked))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; its exit status."""
    parser = argparse.ArgumentParser(description="our tables against real headers")
    parser.add_argument(
        "--all", action="store_true", help="every target, not one of each layout"
    )
    parser.add_argument(
        "--compiler", action="append", choices=COMPILERS, help="only this one; again"
    )
    parser.add_argument(
        "--deadline",
        type=float,
        default=300.0,
        metavar="S",
        help="seconds for each program that is started (300)",
    )
    parser.add_argument("--json", type=Path, metavar="F", help="write all of it there")
    asked = parser.parse_args(arguments)
    run = Run()
    with workshop(asked.deadline) as shop:
        for one in builds(shop, asked):
            if isinstance(one, NotRun):
                run.not_run.append(one)
            else:
                check_target(one, shop, run)
    sys.stdout.write(as_text(run))
    if asked.json:
        told = json.dumps(as_json(run), indent=1)
        try:
            asked.json.write_text(f"{told}\n", encoding="utf-8")
        except OSError as error:
            parser.error(f"--json: {error}")
    return run.status


if __name__ == "__main__":
    sys.exit(main())
