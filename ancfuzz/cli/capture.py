"""A recording: from a command to cases in a folder, a verdict, and a few words.

The order is that of what must not be lost.  That reports and cases can be written is
found out before the program runs.  When it has ended, by itself or by a signal to us,
what it did is judged; findings are saved, then cases, then the report; and only then is
anything said, on standard error, for the other streams are the program's.

This room must not know how a program is recorded or what is right.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import platform
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import ancfuzz
from ancfuzz import recorder
from ancfuzz.cli.destinations import destinations
from ancfuzz.cli.findings import Keeper
from ancfuzz.cli.interruption import Interruption
from ancfuzz.cli.screen import Screen
from ancfuzz.cli.shelf import Shelf
from ancfuzz.cli.status import complain
from ancfuzz.cli.summary import print_findings, was_judged
from ancfuzz.descriptors import open_numbers
from ancfuzz.errors import EnvironmentUnsupported, UsageError
from ancfuzz.picture.lines import quantity
from ancfuzz.recorded import judge_recording
from ancfuzz.report import merge

if TYPE_CHECKING:
    from ancfuzz.cli.status import Verdict
    from ancfuzz.recorded import JudgedRecording
    from ancfuzz.recorder import Recording
    from ancfuzz.report import Report

__all__ = ["Options", "record"]

_LINGER_SECONDS = 2.0  # for what the program leaves running, if nothing bounds the run
_STANDARD = 3  # descriptors below are the standard streams
_MOST_NOTES = 12


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked for; see ``--help``."""

    command: tuple[str, ...]
    output: str
    seconds: float | None
    payloads: bool
    findings: str
    json_file: str | None


def record(verdict: Verdict, options: Options) -> None:
    """Record a command.

    Raises:
        UsageError: something that was asked for cannot be; nothing was recorded.
        EnvironmentUnsupported: nothing can be recorded here; nothing was run.
    """
    verdict.asked = True
    program = Path(options.command[0]).name
    with (
        destinations(options.json_file) as (json_to,),
        Shelf(options.output) as shelf,
        Interruption(verdict) as interruption,
    ):
        began = time.monotonic()
        recording: Recording | None = None
        with suppress(KeyboardInterrupt), interruption.armed():
            recording = _run(options)
        if recording is None:
            complain(f"{program}: interrupted before anything was recorded")
            return
        judged = judge_recording(
            recording,
            program=program,
            source=_source(program),
            payloads=options.payloads,
            seconds=time.monotonic() - began,
        )
        keeper = Keeper(options.findings)
        report = keeper.keep(judged.report)
        verdict.found = bool(report.violations)
        verdict.judged = was_judged(report)
        shelf.put(judged.cases)
        if json_to is not None:
            try:
                json_to.write(_json(recording, judged, report, shelf))
            except UsageError as error:
                verdict.misuse(error)
        screen = Screen(sys.stderr)
        _print(screen, recording, judged, shelf)
        for name, why in shelf.lost:
            verdict.misuse(f"{name}: cannot be saved: {why}: case lost")
        if keeper.error is not None:
            complain(f"{keeper.folder}: cannot be written: {keeper.error.strerror}")
        _print_gaps(screen, report)
        print_findings(screen, [report], {})


def _run(options: Options) -> Recording:
    seconds = options.seconds
    try:
        return recorder.record(
            options.command,
            timeout=math.inf if seconds is None else seconds,
            linger=_LINGER_SECONDS if seconds is None else seconds,
            stdin=None,
            # What we inherited was meant for the program.
            pass_fds=[
                number
                for number in open_numbers()
                if number >= _STANDARD and os.get_inheritable(number)
            ],
        )
    except EnvironmentUnsupported as error:
        raise EnvironmentUnsupported(f"{error}; nothing was run") from error


def _source(program: str) -> str:
    """Program, recorder, kernel and date; no machine, no user, no arguments."""
    kernel = ".".join(platform.release().split(".")[:2])
    today = dt.datetime.now(tz=dt.UTC).date()
    return (
        f"{program} | Recorded by ancfuzz {ancfuzz.__version__}. | "
        f"Linux {kernel}, {platform.machine()} | {today}"
    )


def _json(
    recording: Recording, judged: JudgedRecording, report: Report, shelf: Shelf
) -> bytes:
    """A report as of a check, and beside it what was recorded."""
    whole: dict[str, Any] = merge([report])
    whole["recording"] = {
        "program": report.implementation,
        "status": recording.status,
        "processes": [process.name for process in recording.processes],
        "messages": len(recording.calls),
        "matched": judged.matched,
        "notes": recording.notes,
        "cases": judged.cases,
        "saved": [str(path) for path in shelf.added],
        "exchanges": judged.exchanges,
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"


def _print(
    screen: Screen, recording: Recording, judged: JudgedRecording, shelf: Shelf
) -> None:
    counts = ", ".join(
        (
            _processes(len(recording.processes)),
            quantity(len(recording.calls), "message"),
            quantity(judged.matched, "exchange"),
        )
    )
    program = judged.report.implementation
    screen.paragraph(f"{program}{_ending(recording.status)}: {counts}")
    if judged.cases:
        cases = quantity(len(judged.cases), "case")
        known = f", {shelf.known} there before" if shelf.known else ""
        new = len(shelf.added)
        screen.say(f"{cases} in {shelf.folder}: {new} new{known}")
    for note in recording.notes[:_MOST_NOTES]:
        screen.say(note)
    if len(recording.notes) > _MOST_NOTES:
        more = quantity(len(recording.notes) - _MOST_NOTES, "more note")
        screen.paragraph(f"{more}: --json has them all")


def _processes(count: int) -> str:
    return f"{count:,} process{'' if count == 1 else 'es'}"


def _ending(status: int | None) -> str:
    if status is None:
        return ""
    if status >= 0:
        return f" ended with status {status}"
    try:
        return f" ended by {signal.Signals(-status).name}"
    except ValueError:
        return f" ended by signal {-status}"


def _print_gaps(screen: Screen, report: Report) -> None:
    for one in report.not_judged:
        count = f"{quantity(one.cases, 'exchange')} " if one.cases else ""
        screen.say(f"{count}not judged: {one.reason}")
