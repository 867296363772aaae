"""``ancfuzz record``: however a recording ends, what was seen is kept and told."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ancfuzz import corpus
from tests.recordings import DEADLINE, NEEDS, PASSES, compiled, is_running, python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from subprocess import CompletedProcess
    from typing import TypeAlias

    Run: TypeAlias = Callable[..., CompletedProcess[str]]
    Start: TypeAlias = Callable[..., subprocess.Popen[str]]

pytestmark = [*NEEDS, pytest.mark.usefixtures("logs")]

ANCFUZZ = (sys.executable, "-m", "ancfuzz")
RECORDED = Path(".ancfuzz/recorded")

# Passes descriptors; forks a child that never passes any, and a daemon; and stays.
STAYS = (
    PASSES.partition("print(")[0]
    + """
import time
pids = [os.getpid()]
def fork(detached):
    reading, writing = os.pipe()
    if os.fork() == 0:
        if detached:
            os.setsid()
            if os.fork():
                os._exit(0)
        os.write(writing, b"%d" % os.getpid())
        time.sleep(600)
    pids.append(int(os.read(reading, 20)))
fork(False)
fork(True)
with open("pids~", "w") as file:
    print(*pids, file=file)
os.rename("pids~", "pids")
print("here", flush=True)
"""
)


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start commands; those that still run at the end are killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **env: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*ANCFUZZ, *arguments],
            cwd=folder,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
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
    if Path("pids").exists():
        for pid in pids():
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)


def pids() -> list[int]:
    return [int(pid) for pid in Path("pids").read_text("ascii").split()]


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def begun(process: subprocess.Popen[str]) -> bool:
    return process.poll() is not None or Path("pids").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_program_and_children_in_order(
    start: Start, number: signal.Signals
) -> None:
    program = (
        STAYS
        + """
import signal
def end(number, frame):
    print("ends in order", flush=True)
    sys.exit(5)
signal.signal(signal.SIGTERM, end)
time.sleep(600)
"""
    )
    process = start("record", "--json", "j", *python(program))
    wait_until(lambda: begun(process))
    process.send_signal(number)
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 128 + number
    assert out == "here\nends in order\n"
    assert "1 case in .ancfuzz/recorded: 1 new\n" in err
    assert err.splitlines()[-1] == "nothing found, interrupted"
    assert not any(map(is_running, pids()))
    assert len(list(RECORDED.glob("*.anc.json"))) == 1
    told = json.loads(Path("j").read_bytes())
    assert told["implementations"][0]["stopped"] == "interrupted"


def test_who_insists_does_not_wait(start: Start) -> None:
    program = (
        STAYS
        + """
import signal
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
time.sleep(600)
"""
    )
    process = start("record", *python(program))
    wait_until(lambda: begun(process))
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert "1 case in .ancfuzz/recorded: 1 new\n" in err
    assert not any(map(is_running, pids()))


def test_the_deadline_ends_program_and_children(run: Run) -> None:
    done = run("record", "--time", "2", *python(STAYS + "time.sleep(600)"))
    assert (done.returncode, done.stdout) == (0, "here\n")
    assert f"{sys.executable}: stopped after 2 seconds" in done.stderr
    assert done.stderr.endswith("nothing found\n")
    assert not any(map(is_running, pids()))


def test_what_is_left_running_is_ended(run: Run) -> None:
    done = run("record", *python(STAYS))
    assert (done.returncode, done.stdout) == (0, "here\n")
    assert "ended with status 0" in done.stderr
    left = re.findall(r"left processes that were ended: (.*)", done.stderr)
    assert sorted(left[0].split(", ")) == sorted(map(str, pids()[1:]))
    assert not any(map(is_running, pids()))


def test_a_killed_recorder_leaves_programs_but_no_logs_for_ever(
    start: Start, run: Run, logs: Path
) -> None:
    process = start("record", *python(STAYS + "time.sleep(600)"))
    wait_until(lambda: begun(process))
    process.kill()
    process.wait(DEADLINE)
    # They are the user's; and as long as they live, they have their folder.
    assert all(map(is_running, pids()))
    (left,) = logs.iterdir()
    aged = time.time() - 3600
    os.utime(left, (aged, aged))
    run("record", "--output", "a", *python(PASSES))
    assert left.exists()
    for pid in pids():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_running, pids())))
    run("record", "--output", "b", *python(PASSES))
    assert not left.exists()


def test_a_folder_that_somebody_records_into_stays(
    start: Start, run: Run, logs: Path
) -> None:
    process = start("record", *python(STAYS + "time.sleep(600)"))
    wait_until(lambda: begun(process))
    (used,) = logs.iterdir()
    aged = time.time() - 3600
    os.utime(used, (aged, aged))
    run("record", "--output", "a", *python(PASSES))
    assert used.exists()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE)


def test_a_program_that_is_killed(run: Run) -> None:
    killed = PASSES.replace("print(", "os.kill(os.getpid(), 9); print(")
    done = run("record", *python(killed))
    assert done.returncode == 0
    assert re.match(r"\S+ ended by SIGKILL: 1 process, 2 messages", done.stderr)
    assert "1 case in .ancfuzz/recorded: 1 new" in done.stderr


def test_a_log_that_cannot_be_written_in_full(run: Run) -> None:
    bounded = PASSES.replace(
        "print(",
        "import resource, signal\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        # Whoever writes more dies of it, and it must not be the program.
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "for _ in range(9): a.sendmsg([b'x'])\n"
        "print(",
    )
    done = run("record", *python(bounded))
    assert (done.returncode, done.stdout) == (0, "a secret \n")
    assert ".log: lacks calls: it could not be written\n" in done.stderr
    assert "1 case in .ancfuzz/recorded: 1 new" in done.stderr


FULL = 'mount -t tmpfs -o size=64k none full && exec "$@"'
UNSHARE = shutil.which("unshare") or "unshare"


def may_mount() -> bool:
    """Whether there can be a small disk here."""
    if os.geteuid() != 0:
        return False
    return subprocess.run([UNSHARE, "-m", "true"], check=False).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="only who may mount can fill a disk")
def test_a_full_disk(folder: Path, run: Run) -> None:
    Path("full").mkdir()

    def on_small_disk(*arguments: str, **env: str) -> CompletedProcess[str]:
        return subprocess.run(
            [UNSHARE, "-m", "sh", "-c", FULL, "sh", *ANCFUZZ, *arguments],
            cwd=folder,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    fill = PASSES.replace(
        "print(",
        "import pathlib\n"
        "with open('full/x', 'wb', 0) as file:\n"
        "    try:\n"
        "        while file.write(bytes(100)): pass\n"
        "    except OSError: pass\n"
        "print(",
    )
    done = on_small_disk("record", "--output", "full/out", *python(fill))
    assert done.returncode == 2
    assert "cannot be saved: No space left on device: case lost" in done.stderr
    done = on_small_disk("record", "--json", "full/j", "--output", "out", *python(fill))
    assert done.returncode == 2
    assert "full/j: No space left on device: report lost" in done.stderr
    assert "1 case in out: 1 new" in done.stderr
    # A page of the log is there already.
    long = fill.replace("print(", "[a.sendmsg([bytes(999)]) for _ in range(9)]\nprint(")
    done = on_small_disk("record", *python(long), TMPDIR=str(folder / "full"))
    assert done.returncode == 0
    assert ".log: lacks calls: it could not be written\n" in done.stderr
    assert "1 case in .ancfuzz/recorded: 1 new" in done.stderr


# -- streams and terminals -----------------------------------------------------------


def test_our_words_fit_forty_columns_of_ascii(run: Run, folder: Path) -> None:
    program = folder / "prügel\N{SNOWMAN}"
    program.symlink_to(compiled("int main(void) { return 0; }", folder))
    done = run(
        "record",
        *("--output", "größe\N{SNOWMAN}", "--", str(program)),
        COLUMNS="40",
        LANG="C",
        PYTHONCOERCECLOCALE="0",
        PYTHONUTF8="0",
    )
    assert done.returncode == 3
    assert done.stderr.isascii()
    done = run(
        "record",
        *("--output", "größe\N{SNOWMAN}", "--", "/bin/sh", "-c", 'exec "$@"', "sh"),
        *python(PASSES)[1:],
        LC_ALL="C",
        PYTHONCOERCECLOCALE="0",
        PYTHONUTF8="0",
    )
    assert done.returncode == 0
    assert "gr\\" in done.stderr
    (path,) = Path("größe\N{SNOWMAN}").glob("*")
    assert corpus.read(path).name.isascii()


def test_our_own_streams_may_be_gone(run: Run) -> None:
    for redirection in ("2>/dev/full", "2>&-"):
        done = run("record", "--output", "x", *python(PASSES), redirection=redirection)
        assert (done.returncode, done.stdout) == (0, "a secret \n")
    done = run("record", "--json", "-", *python("0"), redirection=">/dev/full")
    assert done.returncode == 2
    assert "standard output: No space left" in done.stderr


def test_ctrl_c_on_a_terminal_reaches_the_program_first(folder: Path) -> None:
    program = (
        STAYS
        + """
print("a terminal" if os.isatty(0) and os.isatty(1) and os.isatty(2) else "none")
try:
    print("begun", flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    time.sleep(0.3)
    print("interrupted once", flush=True)
    sys.exit(9)
"""
    )
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        command = [*ANCFUZZ, "record", *python(program)]
        os.execv(command[0], command)  # noqa: S606  (of ours, and no shell is wanted)
    written = b""
    # EIO is how Linux says that nobody has the terminal open any more.
    with os.fdopen(terminal, "r+b", buffering=0) as file, suppress(OSError):
        while part := file.read(4096):
            written += part
            if b"begun" in part:
                file.write(b"\x03")
    _, status = os.waitpid(child, 0)
    text = written.decode()
    assert os.waitstatus_to_exitcode(status) == 130, text
    assert "a terminal" in text
    assert "interrupted once" in text
    assert "ended with status 9" in text
    assert "nothing found, interrupted" in text
    assert not any(map(is_running, pids()))


def test_many_processes_and_ways_to_start_them(run: Run, folder: Path) -> None:
    done = run(
        "record",
        *("--", "/bin/sh", "-c"),
        'for i in 1 2 3; do "$@" & done; wait; exec "$@"',
        *("sh", *python(PASSES)[1:]),
    )
    assert done.returncode == 0
    assert "5 processes, 8 messages, 4 exchanges" in done.stderr
    assert "1 case in .ancfuzz/recorded: 1 new" in done.stderr
