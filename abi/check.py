"""Compile the headers of each target again, and compare them with our tables.

    python abi/check.py [--all] [--target NAME]... [--compiler NAME]...
                        [--deadline S] [--json F]

What is compared, and how it can be without running anything, is in ``abi/README.md``.
This file is the order of things: find the compilers, probe each target, walk where
programs run, say it all, however the run ends.

Exit status: 0 no difference; 1 a difference; 2 usage, or a report that could not be
written; 3 nothing could be compared, or a compiler that is here did not compile what it
should; 70 a defect of this program; 128 + N ended by signal N.  A difference goes
before everything else.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import probe
import walks
from compilers import COMPILERS, Build, Failed, NotRun, Wanted, builds, version, zig
from show import Checked, Run, as_json, as_text
from workshop import CannotBuild, CannotRun, Workshop, workshop

from ancfuzz.abi import ABIS
from ancfuzz.cli.destinations import destinations
from ancfuzz.cli.interruption import Interruption
from ancfuzz.cli.status import Verdict, complain
from ancfuzz.cli.streams import guarded
from ancfuzz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HERE = Path(__file__).resolve().parent
_LONGEST_DEADLINE = 86400.0  # poll(2) counts milliseconds in an int


def check_target(build: Build, shop: Workshop, run: Run) -> None:
    """Probe one target and walk its buffers; what it says is added to the run."""
    abi = ABIS[build.target]
    try:
        if build.compiler not in run.versions:
            run.versions[build.compiler] = version(build, shop)
        found = probe.answers(_compiled(probe.questions(abi), build, shop))
    except (CannotBuild, OSError, ValueError) as error:
        run.left_out.append(Failed(build.compiler, build.target, str(error)))
        return
    walking = f"{build.target}, walks"
    walked = None
    try:
        walked = walks.run(build, abi, found[probe.WORD], shop)
    except CannotRun as error:
        run.left_out.append(NotRun(build.compiler, walking, str(error)))
    except (CannotBuild, OSError) as error:
        run.left_out.append(Failed(build.compiler, walking, str(error)))
    word = found[probe.WORD]
    run.checked.append(Checked(build, word, probe.compare(abi, found), walked))


def _compiled(questions: Mapping[str, str], build: Build, shop: Workshop) -> bytes:
    """The object file that answers."""
    for name, text in questions.items():
        (shop.folder / name).write_text(text, encoding="ascii")
    image = shop.folder / "probe.o"
    image.unlink(missing_ok=True)  # what is read was compiled now
    flags = ("-w", "-std=gnu11", "-I", shop.folder)
    shop.run([*build.command, *flags, "-c", _HERE / "probe.c", "-o", image])
    return image.read_bytes()


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= _LONGEST_DEADLINE:
        raise argparse.ArgumentTypeError(
            f"{text}: expected more than 0 and at most {_LONGEST_DEADLINE:g} seconds"
        )
    return seconds


def _target(text: str) -> str:
    if text not in ABIS:
        raise argparse.ArgumentTypeError(
            f"no target {text!r} in our tables: ancfuzz abi lists them"
        )
    return text


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="our tables against real headers")
    parser.add_argument(
        "--all", action="store_true", help="every target, not one of each layout"
    )
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        type=_target,
        metavar="NAME",
        help="only this row of our tables; again",
    )
    parser.add_argument(
        "--compiler", action="append", choices=COMPILERS, help="only this one; again"
    )
    parser.add_argument(
        "--deadline",
        type=_seconds,
        default=300.0,
        metavar="S",
        help="seconds for each program that is started (300)",
    )
    parser.add_argument("--json", metavar="F", help="write all of it there")
    return parser.parse_args(arguments)


def _check(wanted: Wanted, deadline: float, interruption: Interruption) -> Run:
    """Everything that was asked for, or what was done of it before a signal came."""
    run = Run()
    with (
        # A signal is raised where a program is waited for, and nowhere else: so that
        # no program is left behind, nor half of a folder.
        suppress(KeyboardInterrupt),
        workshop(
            deadline=deadline, keeps=zig() is not None, waiting=interruption.armed
        ) as shop,
    ):
        for one in builds(shop, wanted):
            if isinstance(one, NotRun):
                run.left_out.append(one)
            else:
                check_target(one, shop, run)
    return run


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; its exit status."""
    verdict = Verdict(asked=True)
    with guarded() as (out, _):
        asked = _arguments(arguments)
        wanted = Wanted(asked.compiler or COMPILERS, asked.target, asked.all)
        try:
            with (
                Interruption(verdict) as interruption,
                destinations(asked.json) as (report,),
            ):
                run = _check(wanted, asked.deadline, interruption)
                run.signal = verdict.signal
                verdict.found = bool(run.differences)
                verdict.judged = bool(run.checked) and not run.failed
                sys.stdout.write(as_text(run))
                if report:
                    told = json.dumps(as_json(run, verdict.status), indent=1)
                    report.write(f"{told}\n".encode())
        except UsageError as error:
            verdict.misuse(error)
        except OSError as error:
            complain(f"no temporary folder: {error}")
        except Exception:  # noqa: BLE001  (told in full; 1 would be a difference)
            verdict.crashed = True
            traceback.print_exc()
        if verdict.signal:
            complain("interrupted: said above is what was compared until then")
        out.flush()
        if out.error is not None:
            verdict.misuse(f"standard output: {out.error.strerror}: output was lost")
    return verdict.status


if __name__ == "__main__":
    sys.exit(main())
