"""Implementations that stand in the way of a run's end, and tell when they do.

Each writes a line to the FIFO that ``ANCFUZZ_TOLD`` names: a word, its pid, and the pid
of what it started, if it did.  So a test waits for the moment, and never for a time.
"""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
import time
from pathlib import Path

import ancfuzz

AGES = 600.0  # seconds: longer than any test waits


def tell(*words: object) -> None:
    line = " ".join(map(str, words)) + "\n"
    with Path(os.environ["ANCFUZZ_TOLD"]).open("w", encoding="ascii") as told:
        told.write(line)


if os.environ.get("ANCFUZZ_HANGS_IN_IMPORT"):
    tell("imports", os.getpid())
    time.sleep(AGES)


class Right(ancfuzz.Implementation):
    def decode(self, control: bytes) -> list[ancfuzz.ControlMessage]:
        return ancfuzz.decode(control)


class Wrong(ancfuzz.Implementation):
    """Looks for the next header right behind the data."""

    def decode(self, control: bytes) -> list[ancfuzz.ControlMessage]:
        messages: list[ancfuzz.ControlMessage] = []
        at = 0
        while len(control) - at >= 16:
            length, level, type_ = struct.unpack_from("Qii", control, at)
            if not 16 <= length <= len(control) - at:
                break
            data = control[at + 16 : at + length]
            messages.append(ancfuzz.ControlMessage(level, type_, data))
            at += length
        return messages


class Hangs(ancfuzz.Implementation):
    """With a process of its own, which it would leave behind."""

    def decode(self, control: bytes) -> list[ancfuzz.ControlMessage]:
        code = f"import time; time.sleep({AGES})"
        started = subprocess.Popen([sys.executable, "-c", code])
        tell("hangs", os.getpid(), started.pid)
        started.wait()
        return []


class WrongThenHangs(Wrong):
    """Wrong when it is judged, and wrong again; hangs when the case gets smaller."""

    calls = 0

    def decode(self, control: bytes) -> list[ancfuzz.ControlMessage]:
        cls = type(self)
        cls.calls += 1
        if cls.calls > 2:
            tell("shrinks", os.getpid())
            time.sleep(AGES)
        return super().decode(control)


class Interrupts(ancfuzz.Implementation):
    def decode(self, control: bytes) -> list[ancfuzz.ControlMessage]:
        raise KeyboardInterrupt


class Exits(ancfuzz.Implementation):
    def decode(self, control: bytes) -> list[ancfuzz.ControlMessage]:
        raise SystemExit(0)


class Prints(Right):
    """Two pages, twice."""

    def decode(self, control: bytes) -> list[ancfuzz.ControlMessage]:
        for stream in (sys.stdout, sys.stderr):
            print("x" * 2 * resource.getpagesize(), file=stream, flush=True)
        return super().decode(control)
