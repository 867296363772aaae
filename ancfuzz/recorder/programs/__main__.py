"""Records real programs, and writes what they pass as cases.

    python corpora/captures/record.py [--list] [--output FOLDER] [PROGRAM...]

Each program runs with its clients in a temporary folder, with a configuration, sockets
and a runtime folder of its own, under the recorder, within a deadline, and is ended
afterwards.  Nothing is installed: a program that is not there is left out, and the
Debian packages that would bring it are said.  Most can be recorded as an ordinary user;
root sees more, for then daemons also change their user.

Payloads are replaced by as many zero bytes: PulseAudio sends its cookie and tmux an
environment, and none of it says anything about control messages.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ancfuzz import corpus
from ancfuzz.errors import AncfuzzError, UsageError
from ancfuzz.recorder import Session, cases
from ancfuzz.recorder.programs import PROGRAMS
from ancfuzz.recorder.programs.stage import PATH, SECONDS, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ancfuzz.case import Case
    from ancfuzz.recorder.programs import Program


def missing(program: Program) -> str:
    """Why a program cannot be recorded here; empty if it can be."""
    absent = [
        command
        for command in program.commands.split()
        if shutil.which(command, path=PATH) is None
    ]
    if absent:
        return f"no {', '.join(absent)}: apt install {program.packages}"
    return "only root can run it" if program.root and os.geteuid() else ""


def capture(name: str) -> tuple[Case, ...]:
    """Records one program and its clients.

    Raises:
        AncfuzzError: something did not start, did not end in time, or passed nothing.
    """
    program = PROGRAMS[name]
    environment = {"PATH": PATH, "LANG": "C.UTF-8"}
    with (
        tempfile.TemporaryDirectory(prefix="ancfuzz-capture-") as folder,
        Session(timeout=SECONDS, env=environment) as session,
    ):
        Path(folder).chmod(0o755)  # a daemon's own user has to find its way
        stage = Stage(session, Path(folder))
        try:
            program.run(stage)
        except (UsageError, OSError) as error:
            output = stage.output.read_text(errors="replace").splitlines()
            said = output[-1] if output else "nothing"
            raise UsageError(f"{error}; the last that was said: {said}") from error
        session.stop()
        found = cases(session.recording())
    if not any("cap0" not in case.name for case in found):
        raise UsageError("no control message was seen")
    return tuple(
        msgspec.structs.replace(case, name=_name(name, case), source=_source(name))
        for case in found
    )


def _name(program: str, case: Case) -> str:
    """The name of a case, and of its file, which begins with the program's."""
    return case.name if case.name.startswith(program) else f"{program}-{case.name}"


def _source(name: str) -> str:
    """Program, version, what was done, kernel and date; no machine and no user."""
    program = PROGRAMS[name]
    version = _version(program)
    if name not in version.lower():
        version = f"{name}: {version}"
    kernel = ".".join(platform.release().split(".")[:2])
    today = dt.datetime.now(tz=dt.UTC).date()
    done = " ".join((program.run.__doc__ or "").split())
    said = (version, done, f"Linux {kernel}, {platform.machine()}", today)
    return " | ".join(map(str, said))


def _version(program: Program) -> str:
    """The first line with a number in it that the program says of itself."""
    asked = subprocess.run(
        program.version,
        env={"PATH": PATH, "LANG": "C.UTF-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
        check=False,
    )
    lines = asked.stdout.decode(errors="replace").splitlines()
    found = next((line for line in lines if any(c.isdigit() for c in line)), "")
    return " ".join(found.removesuffix("compiled with:").split())


def write(name: str, found: Sequence[Case], output: Path) -> None:
    """Puts the cases of a program in place of those that were there."""
    for old in output.glob(f"{name}-*{corpus.SUFFIX}"):
        old.unlink()
    for case in found:
        corpus.write(case, output)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 1 if a program that was asked for was not recorded."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="record.py", description=about)
    parser.add_argument("program", nargs="*", metavar="PROGRAM", help="by default all")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--output", type=Path, default=Path(), help="a folder")
    asked = parser.parse_args(arguments)
    unknown = {*asked.program} - {*PROGRAMS}
    if unknown:
        parser.error(f"no such program: {', '.join(sorted(unknown))}")
    failed = 0
    for name in asked.program or PROGRAMS:
        why = missing(PROGRAMS[name])
        if asked.list:
            say(name, why or "can be recorded")
        elif why:
            failed += name in asked.program
            say(name, f"left out: {why}")
        else:
            try:
                found = capture(name)
                write(name, found, asked.output)
            except AncfuzzError as error:
                failed += 1
                say(name, f"failed: {error}")
            else:
                say(name, f"{len(found)} cases")
    return 1 if failed else 0


def say(name: str, what: str) -> None:
    """One line for one program."""
    sys.stdout.write(f"{name:16} {what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
