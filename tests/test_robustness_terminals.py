"""Terminals and streams: narrow, plain, odd, closed, full, or gone."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.machine import ANCFUZZ, DEADLINE, PASSES_FILE, TWO_FILE, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

WRONG = "replay", TWO_FILE, "-i", "stubborn:Wrong"
RIGHT = "replay", TWO_FILE, "-i", "stubborn:Right"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.close()


# -- terminals -------------------------------------------------------------------------

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_a_terminal(machine: Machine, columns: int, *arguments: str) -> tuple[int, str]:
    """The exit status, and what a terminal of so many columns was told."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    process = machine.start(
        *arguments, env={"TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    written = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        # EIO is how Linux says that nobody has the terminal open any more.
        with suppress(OSError):
            while part := terminal.read(4096):
                written += part
        status = process.wait(DEADLINE)
    return status, ESCAPES.sub("", written.decode())


@pytest.mark.parametrize(
    "arguments",
    [WRONG, ("run", PASSES_FILE), ("show", TWO_FILE), ("check", "--cases", "20")],
    ids=" ".join,
)
def test_forty_columns(machine: Machine, arguments: Sequence[str]) -> None:
    status, shown = on_a_terminal(machine, 40, *arguments)
    assert status == (arguments == WRONG)
    head, *lines = (line.rstrip() for line in re.split(r"[\r\n]+", shown))
    assert head
    # A command is to be copied, and a heading to be found: they stay one line.
    whole = re.compile(r" *ancfuzz run |\d+\. ")
    assert [x for x in lines if len(x) > 40 and not whole.match(x)] == []


@pytest.mark.parametrize("columns", [0, 1, 10])
def test_terminals_that_are_hardly_any(machine: Machine, columns: int) -> None:
    status, shown = on_a_terminal(machine, columns, *WRONG)
    assert status == 1
    assert shown.splitlines()[-1].startswith("ancfuzz run ")


# -- locales and encodings -------------------------------------------------------------

PLAIN = {
    "LANG": {"LANG": "C"},
    "LC_ALL": {"LC_ALL": "C"},
    "LC_ALL, as it was": {
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
    },
    "POSIX": {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"},
    "ascii": {"PYTHONIOENCODING": "ascii:strict"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "cp037": {"PYTHONIOENCODING": "cp037"},
}


@pytest.mark.parametrize("environment", PLAIN.values(), ids=PLAIN)
def test_a_plain_terminal_gets_plain_text(
    machine: Machine, environment: dict[str, str]
) -> None:
    # The folder's name is no ASCII, and is in the command.
    arguments = *WRONG, "--findings", "gefunden-\xfc"
    encoding = environment.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    done = machine.run(*arguments, env=environment, encoding=encoding)
    assert (done.returncode, done.stderr) == (1, "")
    *lines, command = done.stdout.splitlines()
    assert "".join(line for line in lines if "gefunden" not in line).isascii()
    # A name that cannot be said is not named: the command carries the case.
    assert re.match(r"ancfuzz run '?(gefunden-(\xfc|\\xfc)/WALK|\{)", command)
    assert len([*machine.folder.glob("gefunden-*/*.anc.json")]) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8:surrogateescape"])
def test_others_get_what_they_can_say(machine: Machine, encoding: str) -> None:
    environment = {"PYTHONIOENCODING": encoding}
    name = encoding.partition(":")[0]
    done = machine.run(*WRONG, env=environment, encoding=name)
    assert (done.returncode, done.stderr) == (1, "")
    assert "\u2500" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("ancfuzz run ")


# -- streams ---------------------------------------------------------------------------


def redirected(redirection: str) -> tuple[str, ...]:
    return "/bin/sh", "-c", f'"$@" {redirection}', "sh", *ANCFUZZ


CLOSED = "<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"


@pytest.mark.parametrize(
    ("arguments", "status", "closed"),
    [*((WRONG, 1, closed) for closed in CLOSED), (RIGHT, 0, CLOSED[-1])],
)
def test_closed_streams_cost_neither_verdict_nor_files(
    machine: Machine, arguments: Sequence[str], status: int, closed: str
) -> None:
    reports = "--json", "report.json", "--junit", "report.xml"
    done = machine.run(*arguments, *reports, program=redirected(closed))
    assert (done.returncode, done.stderr) == (status, "")
    assert bool(done.stdout) == (" >&-" not in f" {closed}")
    assert len(machine.json()["violations"]) == machine.failures() == status
    assert len(machine.cases()) == status


def test_a_report_to_a_closed_standard_output_is_refused(machine: Machine) -> None:
    done = machine.run(*WRONG, "--json", "-", program=redirected(">&-"))
    assert done.returncode == 2
    assert done.stderr.startswith("ancfuzz: standard output: closed")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(RIGHT, 2), (WRONG, 1), ((*RIGHT, "--json", "-"), 2)],
)
def test_a_full_disk_behind_standard_output(
    machine: Machine, arguments: Sequence[str], status: int
) -> None:
    done = machine.run(*arguments, program=redirected(">/dev/full"))
    assert done.returncode == status
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ancfuzz: standard output: No space left on device")
    assert len(machine.cases()) == (arguments == WRONG)


@pytest.mark.parametrize(("arguments", "status"), [(RIGHT, 0), (WRONG, 1)])
def test_readers_that_went_away(
    machine: Machine, arguments: Sequence[str], status: int
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = machine.run(
            *arguments, "--json", "report.json", stdout=writing, stderr=writing
        )
    finally:
        os.close(writing)
    assert done.returncode == status
    assert len(machine.json()["violations"]) == len(machine.cases()) == status


# -- an ordinary user ------------------------------------------------------------------

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def as_nobody() -> tuple[str, ...]:
    """What makes an ordinary user of root; of anybody else, nothing has to."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return ()
    # An interpreter in root's home is nobody else's.
    command = [*NOBODY, sys.executable, "-c", "import ancfuzz.cli.session"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    return NOBODY if done.returncode == 0 else ()


USER = as_nobody()
ordinary = pytest.mark.skipif(
    os.geteuid() == 0 and not USER, reason="nobody else may run this interpreter"
)


@ordinary
def test_an_ordinary_user_judges_as_root_does(machine: Machine) -> None:
    arguments = "check", "--cases", "100", "--seed", "1", "--json", "-"
    done = machine.run(*arguments, program=(*USER, *ANCFUZZ))
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert told["environment"]["uid"] == (65534 if USER else os.geteuid())
    assert told["environment"]["capabilities"] == []
    for one in told["implementations"]:
        assert sum(one["judged"]["phase"].values()) > 90


@ordinary
def test_an_ordinary_user_is_told_what_is_forbidden(machine: Machine) -> None:
    machine.folder.chmod(0o555)
    arguments = "check", "--cases", "5", "-i", "cpython", "--json", "report.json"
    try:
        done = machine.run(*arguments, program=(*USER, *ANCFUZZ))
    finally:
        machine.folder.chmod(0o755)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "ancfuzz: report.json: cannot be written: Permission denied\n"
    )
