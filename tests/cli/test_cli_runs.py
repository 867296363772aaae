"""Whole runs in processes of their own: verdicts, streams, terminals, signals."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ancfuzz.cli.judging import DEFAULT_IMPLEMENTATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from subprocess import CompletedProcess
    from typing import TypeAlias

    Run: TypeAlias = Callable[..., CompletedProcess[str]]
    Start: TypeAlias = Callable[..., subprocess.Popen[str]]

ANCFUZZ = (sys.executable, "-m", "ancfuzz")
DEADLINE = 60.0
TWO_MESSAGES = "two-messages.anc.json"
PASSES_TWO = "passes-two.anc.json"
RIGHTS = "1400000000000000 01000000 01000000 05000000 00000000"


def last_line(done: CompletedProcess[str]) -> str:
    return done.stdout.splitlines()[-1]


# -- whole runs ----------------------------------------------------------------------


def test_the_same_seed_and_count_give_the_same_result(run: Run) -> None:
    arguments = "check", "--cases", "60", "--seed", "3", "--json", "-"
    first, second = (json.loads(run(*arguments).stdout) for _ in range(2))
    for told in (first, second):
        assert told["ok"]
        assert told["seed"] == 3
        assert told["cases"] == 60 * len(DEFAULT_IMPLEMENTATIONS)
        del told["seconds"]
        for one in told["implementations"]:
            del one["seconds"]
    assert first == second


def test_a_planted_bug_is_found_and_its_command_finds_it_again(
    run: Run,
) -> None:
    done = run("check", "-i", "sown:Unaligned", "--time", "3", "--max-findings", "1")
    assert done.returncode == 1
    name, *words = shlex.split(last_line(done))
    assert name == "ancfuzz"
    again = run(*words)
    assert again.returncode == 1
    (id_,) = re.findall(r"findings/(\w+\.\w+)-", last_line(done))
    assert id_ in again.stdout


def test_an_implementation_without_operations_is_not_judged(
    run: Run,
) -> None:
    done = run("check", "-i", "sown:Empty", "--time", "3")
    assert done.returncode == 3
    assert "overrides no operation" in done.stdout


# -- streams -------------------------------------------------------------------------


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start commands; those that still run at the end are killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, ignoring: str = "") -> subprocess.Popen[str]:
        program = [*ANCFUZZ, *arguments]
        if ignoring:
            # An ignored signal is inherited; a shell can ignore one for its child.
            script = f"trap '' {ignoring}; exec \"$@\""
            program = ["/bin/sh", "-c", script, "sh", *program]
        process = subprocess.Popen(
            program,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


@pytest.mark.parametrize(("name", "status"), [("Right", 0), ("Unaligned", 1)])
def test_a_reader_that_goes_away_does_not_change_the_verdict(
    start: Start, name: str, status: int
) -> None:
    process = start("check", "-i", f"sown:{name}", "--cases", "300")
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(DEADLINE) == status
    assert process.stderr is not None
    assert process.stderr.read() == ""


@pytest.mark.parametrize(
    "arguments", [("abi", "--json"), ("--help",), ("show", "00" * 9999)]
)
def test_a_list_that_nobody_reads_ends_quietly(
    folder: Path, arguments: Sequence[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*ANCFUZZ, *arguments],
            cwd=folder,
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=DEADLINE,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_disk_behind_standard_output_is_told(run: Run) -> None:
    done = run("abi", redirection=">/dev/full")
    assert done.returncode == 2
    assert done.stderr.startswith("ancfuzz: standard output: No space left")
    failing = "run", TWO_MESSAGES, "-i", "sown:Unaligned"
    assert run(*failing, redirection=">/dev/full").returncode == 1


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_get_nothing_else(run: Run, closed: str) -> None:
    done = run("run", PASSES_TWO, "-i", "cpython", redirection=closed)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("as accepted" in done.stdout) == (" >&-" not in f" {closed}")


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C"},
        {"LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=" ".join,
)
def test_plain_terminals_get_plain_text(run: Run, environment: dict[str, str]) -> None:
    done = run("run", PASSES_TWO, "-i", "sown:KeepsOne", COLUMNS="40", **environment)
    assert done.returncode == 1
    assert done.stdout.isascii()
    assert "-> sent" in done.stdout
    *lines, _command = done.stdout.splitlines()
    assert max(map(len, lines)) <= 40


def on_a_terminal(folder: Path, *arguments: str, **env: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*ANCFUZZ, *arguments],
        cwd=folder,
        env={**os.environ, "TERM": "xterm", **env},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    with process, os.fdopen(ours, "rb", buffering=0) as terminal:
        timer_end = time.monotonic() + DEADLINE
        # EIO is how Linux says that nobody has the terminal open any more.
        with suppress(OSError):
            while time.monotonic() < timer_end and (part := terminal.read(4096)):
                written += part
        assert process.wait(DEADLINE) == 0
    return written.decode()


COLOUR = re.compile(r"\x1b\[(?:\d+;)*[349][0-7](?:;\d+)*m")


def test_a_terminal_gets_colours_and_progress(folder: Path) -> None:
    shown = on_a_terminal(folder, "check", "-i", "sown:Right", "--time", "1")
    assert re.search(r"sown:Right  \w+  [\d,]+ cases  \d of 1 s  0 findings", shown)
    assert COLOUR.search(on_a_terminal(folder, "show", RIGHTS))


def test_no_color_is_honoured(folder: Path) -> None:
    shown = on_a_terminal(folder, "show", RIGHTS, NO_COLOR="1")
    assert "SCM_RIGHTS" in shown
    assert not COLOUR.search(shown)


def test_a_pipe_gets_neither(run: Run) -> None:
    done = run("check", "-i", "sown:Right", "--time", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout


# -- signals -------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    """The workers of a process: a child that only tries an import is none."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text("ascii").split())
    return [child for child in found if b"ancfuzz.worker" in command_line(child)]


def command_line(pid: int) -> bytes:
    """Of a process, or nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    with suppress(OSError):
        status = Path(f"/proc/{pid}/stat").read_text("ascii")
        return status.rpartition(") ")[2][0] != "Z"
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_in_order(start: Start, number: int) -> None:
    process = start("check", "-i", "sown:Hangs", "--time", "60")
    # A child means that the worker is busy, for this implementation never answers.
    wait_until(lambda: process.poll() is not None or children(process.pid))
    workers = children(process.pid)
    process.send_signal(number)
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, err) == (128 + number, "")
    assert out.splitlines()[-1].endswith("interrupted")
    wait_until(lambda: not any(map(is_running, workers)))


def test_what_was_found_before_a_signal_is_reported(start: Start, folder: Path) -> None:
    process = start(
        "check", "-i", "sown:Unaligned", "--time", "60", "--json", "report.json"
    )
    wait_until(lambda: process.poll() is not None or children(process.pid))
    time.sleep(2)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, err) == (1, "")
    assert "stopped by  interrupted" in re.sub(" {2,}", "  ", out)
    told = json.loads((folder / "report.json").read_bytes())
    assert told["violations"]
    assert told["implementations"][0]["stopped"] == "interrupted"


def test_a_signal_that_the_caller_ignores_stays_ignored(
    start: Start,
) -> None:
    process = start(
        "check",
        "-i",
        "sown:Right",
        "--time",
        "2",
        ignoring="INT HUP",
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert out.splitlines()[-1] == "nothing found"
