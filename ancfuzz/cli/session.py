"""A run: from the names of implementations to reports, files, words and a verdict.

The order is that of what must not be lost.  Everything that can be wrong with what was
asked for is found before the run.  Then each implementation is judged, and each finding
is saved as soon as it is there; the reports are written; and only then is anything
printed, for a reader may go away.

This room must not know how a case is performed or what is right; it asks ``check``, and
prints what it says.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ancfuzz import implementations, shipped
from ancfuzz.checking import check as check_implementation
from ancfuzz.checking import replay as replay_cases
from ancfuzz.cli.destinations import destinations, human_stream
from ancfuzz.cli.findings import Keeper
from ancfuzz.cli.inputs import labelled_cases
from ancfuzz.cli.interruption import Interruption
from ancfuzz.cli.progress import live_progress
from ancfuzz.cli.screen import Screen
from ancfuzz.cli.status import complain
from ancfuzz.cli.summary import (
    print_findings,
    print_head,
    print_summary,
    was_judged,
)
from ancfuzz.errors import UsageError
from ancfuzz.invariants import FAMILIES, INVARIANTS, select
from ancfuzz.junit import to_junit
from ancfuzz.report import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ancfuzz.cli.status import Verdict
    from ancfuzz.implementations import Subject
    from ancfuzz.report import Report, Violation

__all__ = ["CheckOptions", "Options", "check", "replay", "resolve_all"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What check and replay are asked for; see ``--help``."""

    names: tuple[str, ...]
    invariants: tuple[str, ...]
    exclude: tuple[str, ...]
    json_file: str | None
    junit: str | None
    findings: str


@dataclass(frozen=True, kw_only=True)
class CheckOptions(Options):
    """What check is asked for besides."""

    seconds: float | None
    cases: int | None
    seed: int | None
    max_findings: int | None


def check(verdict: Verdict, options: CheckOptions) -> None:
    """Replay, sweep and draw.

    Raises:
        UsageError: something that was asked for cannot be; nothing has been run.
    """
    seed = secrets.randbits(32) if options.seed is None else options.seed
    judge = partial(
        check_implementation,
        cases=options.cases,
        seed=seed,
        max_findings=options.max_findings,
    )
    if options.seconds is not None:
        judge = partial(judge, seconds=options.seconds)
    _judge_all(verdict, options, judge, seed)


def replay(verdict: Verdict, paths: Sequence[str], options: Options) -> None:
    """Perform the cases of a corpus, and nothing else.

    Raises:
        UsageError: something that was asked for cannot be; nothing has been run.
    """
    cases = list(
        labelled_cases(paths, verdict.misuse) if paths else shipped.shipped_cases()
    )
    if cases:
        _judge_all(verdict, options, partial(replay_cases, cases=cases), seed=None)


def _judge_all(
    verdict: Verdict,
    options: Options,
    judge: Callable[..., Report],
    seed: int | None,
) -> None:
    verdict.asked = True
    invariants = options.invariants or None
    chosen = select(invariants, options.exclude)
    with (
        Interruption(verdict) as interruption,
        destinations(options.json_file, options.junit) as (json_to, junit_to),
    ):
        with interruption.armed():
            subjects = resolve_all(options.names)
        screen = Screen(human_stream(json_to, junit_to))
        print_head(screen, seed)
        judge = partial(judge, invariants=invariants, exclude=options.exclude)
        keeper = Keeper(options.findings)
        reports = _reports(verdict, subjects, judge, keeper, interruption)
        for destination, render in ((json_to, to_json), (junit_to, to_junit)):
            if destination is not None:
                try:
                    destination.write(render(reports))
                except UsageError as error:
                    verdict.misuse(error)
        families = {INVARIANTS[id_].family for id_ in chosen}
        print_summary(screen, reports, [one for one in FAMILIES if one in families])
        print_findings(screen, reports, {one.name: one.abi for one in subjects})


def resolve_all(names: Sequence[str]) -> list[Subject]:
    """Everything that is asked for by name, each once.

    Raises:
        UsageError: for all that cannot be, in one line.
    """
    subjects: list[Subject] = []
    wrong: list[str] = []
    for name in dict.fromkeys(names):
        try:
            subjects.append(implementations.resolve(name))
        except UsageError as error:
            wrong.append(str(error))
    if wrong:
        raise UsageError("; ".join(wrong))
    return subjects


def _reports(
    verdict: Verdict,
    subjects: Sequence[Subject],
    judge: Callable[..., Report],
    keeper: Keeper,
    interruption: Interruption,
) -> list[Report]:
    """Judge one implementation after the other, until a signal ends it."""

    def found(violation: Violation) -> None:
        verdict.found = True
        keeper.save(violation)

    reports: list[Report] = []
    with live_progress() as progress:
        for subject in subjects:
            report: Report | None = None
            # The report may be there although a signal came: it is not lost.
            try:
                with suppress(KeyboardInterrupt), interruption.armed():
                    report = judge(subject, progress=progress, found=found)
            except UsageError as error:
                # It could be imported here, and not where it is performed.
                verdict.misuse(error)
                continue
            if report is None:
                complain(f"{subject.name}: interrupted before there was a report")
                break
            report = keeper.keep(report)
            reports.append(report)
            verdict.found = verdict.found or bool(report.violations)
            verdict.judged = verdict.judged or was_judged(report)
            if verdict.signal:
                break
    if keeper.error is not None:
        complain(
            f"{keeper.folder}: findings cannot be saved: {keeper.error.strerror}: "
            "their commands carry the case itself"
        )
    return reports
