"""Signals: a run that is ended reports what it found, and nothing of it stays.

What an implementation starts is in its worker's process group and goes with it; only
where ancfuzz itself is killed by SIGKILL nothing of ours runs any more, and then the
worker goes, and what the worker started is nobody's.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING

import pytest

from ancfuzz import corpus
from tests.machine import (
    ANCFUZZ,
    DEADLINE,
    PASSES_FILE,
    TWO_FILE,
    TWO_MESSAGES,
    Machine,
    all_gone,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="pids are looked up in /proc"
)

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
REPORTS = "--json", "report.json", "--junit", "report.xml"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.close()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, out, err


# -- the moments of a run --------------------------------------------------------------


@pytest.mark.parametrize("number", [INT, TERM])
def test_while_an_implementation_is_imported(machine: Machine, number: int) -> None:
    hangs = {"ANCFUZZ_HANGS_IN_IMPORT": "1"}
    process = machine.start("check", "-i", "stubborn:Right", *REPORTS, env=hangs)
    word, pids = machine.told()
    assert word == "imports"
    process.send_signal(number)
    assert ended(process) == (128 + number, "", "ancfuzz: interrupted\n")
    all_gone(pids)
    assert machine.left_behind() == set()


@pytest.mark.parametrize("number", [INT, TERM, HUP])
def test_while_a_worker_hangs(machine: Machine, number: int) -> None:
    process = machine.start("replay", TWO_FILE, "-i", "stubborn:Hangs", *REPORTS)
    word, pids = machine.told()
    assert (word, len(pids)) == ("hangs", 2)
    process.send_signal(number)
    status, out, err = ended(process)
    assert (status, err) == (128 + number, "")
    assert out.splitlines()[-1] == "nothing could be judged, interrupted"
    all_gone(pids)  # the worker, and what the implementation started
    assert machine.json()["implementations"][0]["stopped"] == "interrupted"
    assert machine.failures() == 0
    assert machine.left_behind() == {"report.json", "report.xml"}


@pytest.mark.parametrize("numbers", [(INT,), (TERM,), (INT, INT), (TERM, INT, HUP)])
def test_while_a_finding_is_made_smaller(
    machine: Machine, numbers: tuple[int, ...]
) -> None:
    arguments = "replay", TWO_FILE, "-i", "stubborn:WrongThenHangs", *REPORTS
    process = machine.start(*arguments)
    word, pids = machine.told()
    assert word == "shrinks"
    (saved,) = machine.cases()
    assert saved.steps == TWO_MESSAGES.steps, "it is on disk before it is smaller"
    for number in numbers:  # what a terminal says, a wrapper may say again
        process.send_signal(number)
    status, out, err = ended(process)
    assert (status, err) == (1, "")
    (file,) = machine.findings.glob(f"*{corpus.SUFFIX}")
    path = file.relative_to(machine.folder)
    assert out.splitlines()[-1] == (
        f"ancfuzz run {path} --implementation stubborn:WrongThenHangs"
    )
    told = machine.json()
    assert [one["case"]["name"] for one in told["violations"]] == [TWO_MESSAGES.name]
    assert told["implementations"][0]["stopped"] == "interrupted"
    assert machine.failures() == 1
    all_gone(pids)
    assert machine.left_behind() == {"report.json", "report.xml"}


def a_full_fifo(machine: Machine) -> int:
    """Where reports go, and nobody reads them: it takes a page."""
    os.mkfifo(machine.folder / "report.json")
    reader = os.open(machine.folder / "report.json", os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    return reader


def holds(reader: int) -> int:
    """Bytes that wait in a FIFO."""
    answer = fcntl.ioctl(reader, termios.FIONREAD, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


def test_while_a_report_is_written(machine: Machine) -> None:
    reader = a_full_fifo(machine)
    arguments = "replay", TWO_FILE, "-i", "stubborn:Wrong", "--json", "report.json"
    process = machine.start(*arguments)
    wait_until(lambda: holds(reader) == 4096)
    process.send_signal(TERM)
    os.set_blocking(reader, True)
    with os.fdopen(reader, "rb") as file:
        told = json.loads(file.read())  # whole
    assert len(told["violations"]) == 1
    status, out, err = ended(process)
    assert (status, err) == (1, "")
    assert out.splitlines()[-1].startswith("ancfuzz run ")


def test_who_insists_ends_what_hangs(machine: Machine) -> None:
    reader = a_full_fifo(machine)
    arguments = "replay", TWO_FILE, "-i", "stubborn:Wrong", "--json", "report.json"
    process = machine.start(*arguments)
    wait_until(lambda: holds(reader) == 4096)
    end = time.monotonic() + DEADLINE
    while process.poll() is None:
        assert time.monotonic() < end
        process.send_signal(INT)
        time.sleep(0.1)  # the pace of an impatient user; it ends when it ends
    os.close(reader)
    assert (process.returncode, len(machine.cases())) == (1, 1)
    assert process.stderr is not None
    assert process.stderr.read() == "ancfuzz: interrupted\n"


@pytest.mark.parametrize("seconds", [0.0, 0.06, 0.12, 0.25])
def test_at_any_moment_of_the_start(machine: Machine, seconds: float) -> None:
    process = machine.start("check", "-i", "cpython", "--time", "60", *REPORTS)
    time.sleep(seconds)  # whenever that is: what is asked for holds at all times
    process.send_signal(TERM)
    status, _, err = ended(process)
    assert (status, err) in {
        (-TERM, ""),  # Python itself is starting: nothing is there that could be lost
        (128 + TERM, "ancfuzz: interrupted\n"),
        (128 + TERM, "ancfuzz: cpython: interrupted before there was a report\n"),
        (128 + TERM, ""),
    }
    assert machine.left_behind() <= {"report.json", "report.xml"}


ENDS = """
import signal, sys
from ancfuzz.cli import main

status = main()
signal.raise_signal(signal.SIGTERM)
sys.exit(status)
"""


def test_a_signal_that_is_too_late_changes_nothing(machine: Machine) -> None:
    program = sys.executable, "-c", ENDS
    done = machine.run("replay", TWO_FILE, "-i", "stubborn:Wrong", program=program)
    assert (done.returncode, done.stderr) == (1, "")


def test_one_case_that_hangs(machine: Machine) -> None:
    process = machine.start("run", TWO_FILE, "-i", "stubborn:Hangs")
    _, pids = machine.told()
    process.send_signal(TERM)
    status, _, err = ended(process)
    assert (status, err) == (128 + TERM, "")
    all_gone(pids)


def test_while_standard_input_is_awaited(machine: Machine) -> None:
    process = machine.start("show", "-", stdin=subprocess.PIPE)
    # What it was given is no case yet, and it has read all of it.
    assert process.stdin is not None
    number = process.stdin.fileno()
    os.write(number, b"{")
    wait_until(lambda: holds(number) == 0)
    process.send_signal(INT)
    assert ended(process) == (128 + INT, "", "ancfuzz: interrupted\n")


# -- SIGKILL ---------------------------------------------------------------------------


def test_a_kill_loses_no_finding(machine: Machine) -> None:
    arguments = "replay", TWO_FILE, "-i", "stubborn:WrongThenHangs", *REPORTS
    process = machine.start(*arguments)
    word, pids = machine.told()
    assert word == "shrinks"
    process.kill()
    assert process.wait(DEADLINE) == -signal.SIGKILL
    (saved,) = machine.cases()
    assert saved.steps == TWO_MESSAGES.steps
    all_gone(pids)  # the kernel saw to it
    assert machine.left_behind() == set(), "no half report, no empty one"
    (file,) = machine.findings.glob(f"*{corpus.SUFFIX}")
    assert machine.run("run", str(file), "-i", "stubborn:Wrong").returncode == 1


def test_a_kill_while_an_implementation_is_imported(machine: Machine) -> None:
    hangs = {"ANCFUZZ_HANGS_IN_IMPORT": "1"}
    process = machine.start("check", "-i", "stubborn:Right", env=hangs)
    _, pids = machine.told()
    process.kill()
    all_gone(pids)


# -- an interrupt that nobody sent -----------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [("Interrupts", "KeyboardInterrupt"), ("Exits", "SystemExit: 0")],
)
def test_an_implementation_that_raises_one_crashes(
    machine: Machine, name: str, said: str
) -> None:
    done = machine.run("replay", TWO_FILE, "-i", f"stubborn:{name}", *REPORTS)
    assert (done.returncode, done.stderr) == (1, "")
    (violation,) = machine.json()["violations"]
    assert violation["invariant"] == "CRASH.exception"
    assert violation["message"].startswith(said)
    assert machine.json()["implementations"][0]["stopped"] == "exhausted"


def test_a_module_that_raises_one_is_told(machine: Machine) -> None:
    text = "raise KeyboardInterrupt\n"
    (machine.folder / "impatient.py").write_text(text, encoding="ascii")
    done = machine.run("check", "-i", "impatient:X")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "importing it ends the process" in line
    assert line.endswith("KeyboardInterrupt")


# -- from Python -----------------------------------------------------------------------

CHECKS = """
import json, os, resource, signal, sys
import ancfuzz
from ancfuzz import corpus
from ancfuzz.descriptors import open_numbers

before = resource.getrlimit(resource.RLIMIT_NOFILE), sorted(open_numbers())
found = []
report = ancfuzz.check(
    "stubborn:WrongThenHangs", cases=1, deadline=60, found=found.append,
    corpus=[("here", corpus.read(sys.argv[1]))],
)
after = resource.getrlimit(resource.RLIMIT_NOFILE), sorted(open_numbers())
handler = signal.getsignal(signal.SIGINT) is signal.default_int_handler
print(json.dumps({
    "stopped": report.stopped, "violations": len(report.violations),
    "found": len(found), "same": before == after and handler,
}))
"""


def test_from_python_ctrl_c_gives_a_report(machine: Machine) -> None:
    program = sys.executable, "-c", CHECKS
    process = machine.start(TWO_FILE, program=program)
    _, pids = machine.told()
    process.send_signal(INT)
    status, out, err = ended(process)
    assert (status, err) == (0, "")
    assert json.loads(out) == {
        "stopped": "interrupted",
        "violations": 1,
        "found": 1,
        "same": True,
    }
    all_gone(pids)
    assert machine.left_behind() == set()


def test_ctrl_c_at_a_terminal_is_one_for_all_of_its_processes(
    machine: Machine,
) -> None:
    # A terminal tells the whole foreground group: ancfuzz, and no worker.
    process = machine.start(
        "replay",
        TWO_FILE,
        PASSES_FILE,
        "-i",
        "stubborn:WrongThenHangs",
        program=ANCFUZZ,
        start_new_session=True,
    )
    _, pids = machine.told()
    os.killpg(process.pid, INT)
    status, out, err = ended(process)
    assert (status, err) == (1, "")
    assert "CRASH" not in "".join(case.name for case in machine.cases())
    assert out.splitlines()[-1].startswith("ancfuzz run ")
    all_gone(pids)
