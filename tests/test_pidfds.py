"""Which process a pidfd is of: told by /proc, and found out without."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from ancfuzz.descriptors import pidfds, process_behind

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

pytestmark = pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="this system has no pidfds"
)

BOTH = pytest.mark.parametrize(
    "ask",
    [process_behind, pidfds.without_proc],
    ids=["with", "without"],
)


@contextmanager
def another() -> Generator[tuple[subprocess.Popen[bytes], int]]:
    """A process that waits, and a pidfd of it."""
    code = "import sys; sys.stdin.read()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        number = os.pidfd_open(process.pid)
        try:
            yield process, number
        finally:
            os.close(number)


@BOTH
def test_our_own(ask: Callable[[int], int | None]) -> None:
    number = os.pidfd_open(os.getpid())
    try:
        assert ask(number) == os.getpid()
    finally:
        os.close(number)


@BOTH
def test_another_process_and_one_that_is_gone(
    ask: Callable[[int], int | None],
) -> None:
    with another() as (process, number):
        assert ask(number) in {process.pid, pidfds.UNKNOWN, os.getpid()}
        if ask is process_behind:
            assert ask(number) == process.pid
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        assert ask(number) == pidfds.GONE


@BOTH
def test_what_is_no_pidfd(ask: Callable[[int], int | None]) -> None:
    ends = os.pipe()
    memory = os.memfd_create("no pidfd")
    for number in (*ends, memory):
        assert ask(number) is None
        os.close(number)
        assert ask(number) is None
    assert ask(-1) is None
