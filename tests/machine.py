"""The command line as a process, for tests of the machine around the judges.

A process is started in a folder of its own, with a TMPDIR of its own; what it says of
its progress comes through a FIFO (``tests/stubborn.py``).  Every wait has a deadline.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from ancfuzz import corpus
from ancfuzz.case import Case, Decode, NamedRights, Open, Receive, Send

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ANCFUZZ = (sys.executable, "-m", "ancfuzz")
DEADLINE = 60.0
TWO_MESSAGES = Case(
    (Decode("11000000000000000100000001000000ff00000000000000" * 2),),
    name="two-messages",
)
PASSES_TWO = Case(
    (
        Open(),
        Send("a", messages=(NamedRights(("memfd", "eventfd")),)),
        Receive("b", control_capacity=24),
    ),
    name="passes-two",
)
TWO_FILE = f"{TWO_MESSAGES.name}{corpus.SUFFIX}"
PASSES_FILE = f"{PASSES_TWO.name}{corpus.SUFFIX}"


class Machine:
    """A folder, and what runs in it.

    Attributes:
        folder: the working directory: two cases are in it.
        findings: where findings go.
        scratch: TMPDIR.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.findings = folder / ".ancfuzz" / "findings"
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        for case in (TWO_MESSAGES, PASSES_TWO):
            corpus.write(case, folder)
        fifo = folder / "told"
        os.mkfifo(fifo)
        # For reading and writing: neither we nor they wait for the other to open it.
        self._told = os.open(fifo, os.O_RDWR | os.O_CLOEXEC)
        self._pids: set[int] = set()
        self._started: list[subprocess.Popen[str]] = []
        gone = ("COLUMNS", "LC_ALL", "LANG", "NO_COLOR", "FORCE_COLOR", "TERM")
        self.environment = {
            **{key: value for key, value in os.environ.items() if key not in gone},
            "ANCFUZZ_TOLD": str(fifo),
            "PYTHONIOENCODING": "utf-8",
            "PYTHONPATH": str(Path(__file__).parent),
            "TMPDIR": str(self.scratch),
        }

    def close(self) -> None:
        for process in self._started:
            with process:
                process.kill()
        for pid in self._pids:
            with suppress(ProcessLookupError):
                if b"python" in command_line(pid):
                    os.kill(pid, signal.SIGKILL)
        os.close(self._told)

    def start(
        self, *arguments: str, program: Sequence[str] = ANCFUZZ, **options: Any
    ) -> subprocess.Popen[str]:
        env = {**self.environment, **options.pop("env", {})}
        options = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "encoding": "utf-8",
            **options,
        }
        process = subprocess.Popen(
            [*program, *arguments], cwd=self.folder, env=env, **options
        )
        self._started.append(process)
        return process

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=DEADLINE)
        return subprocess.CompletedProcess([], process.returncode, out or "", err or "")

    def told(self) -> tuple[str, list[int]]:
        """The next line of an implementation: a word, and pids."""
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self._told], [], [], DEADLINE)
            assert ready, "nothing was told in time"
            line += os.read(self._told, 1)
        word, *pids = line.decode().split()
        self._pids.update(map(int, pids))
        return word, [int(pid) for pid in pids]

    def cases(self) -> list[Case]:
        """The findings on disk, each of them read: no half file is."""
        if not self.findings.exists():
            return []
        return [corpus.read(path) for path in corpus.case_files([self.findings])]

    def json(self, name: str = "report.json") -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.folder / name).read_bytes())
        return report

    def failures(self, name: str = "report.xml") -> int:
        """The failures that a JUnit file counts."""
        root = ET.parse(self.folder / name)  # noqa: S314  (our own)
        return len([*root.iter("failure")])

    def left_behind(self) -> set[str]:
        """What is there besides the cases, the findings and the reports."""
        there = {path.name for path in self.folder.iterdir()}
        scratch = {path.name for path in self.scratch.iterdir()}
        known = {TWO_FILE, PASSES_FILE, ".ancfuzz", "scratch", "told"}
        return (there | scratch) - known


def under(setup: str) -> tuple[str, ...]:
    """A program that does something to itself, and becomes ancfuzz."""
    code = (
        f"import os, resource, sys\n{setup}\n"
        "command = [sys.executable, '-m', 'ancfuzz', *sys.argv[1:]]\n"
        "os.execv(sys.executable, command)"
    )
    return sys.executable, "-c", code


# Root mounts in a namespace of its own; anybody else is root in one, where allowed.
_UNSHARE = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "-r", "--mount")
_MOUNTS = 'mount -t tmpfs -o "$1" none "$2" && shift 2 && exec "$@"'


def on_a_tmpfs(
    options: str, folder: Path | str, program: Sequence[str] = ANCFUZZ
) -> tuple[str, ...]:
    """A program that has a file system of its own over a folder."""
    return (*_UNSHARE, "sh", "-c", _MOUNTS, "sh", options, str(folder), *program)


def may_mount() -> bool:
    """Whether it can be had."""
    if shutil.which("unshare") is None:
        return False
    command = on_a_tmpfs("size=4k", "/proc", ["true"])
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    return done.returncode == 0


def command_line(pid: int) -> bytes:
    """Of a process, or nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_running(pid: int) -> bool:
    with suppress(OSError):
        status = Path(f"/proc/{pid}/stat").read_text("ascii")
        return status.rpartition(") ")[2][0] != "Z"
    return False


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def all_gone(pids: Sequence[int]) -> None:
    """Wait until none of these processes runs."""
    wait_until(lambda: not any(map(is_running, pids)))
