"""``ancfuzz run``: one case, accepted and observed, step by step.

The case is performed for each end that the implementation can hold, by the same
judges as in a check, and the picture is the same.  Or what was answered comes in a
transcript, from ``record`` or from elsewhere, and nothing is performed.  With
``--json`` the transcripts come as they are, for another tool.

This room must not know how a case is performed.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ancfuzz.abi import NATIVE
from ancfuzz.cli.inputs import STANDARD_INPUT, read_case, read_transcript
from ancfuzz.cli.interruption import Interruption
from ancfuzz.cli.screen import Screen
from ancfuzz.cli.session import resolve_all
from ancfuzz.errors import UsageError
from ancfuzz.invariants import INVARIANTS
from ancfuzz.judging import judge_transcript, perform_and_judge
from ancfuzz.picture import transcript_lines
from ancfuzz.picture.lines import quantity
from ancfuzz.reproduction import judge_command, run_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ancfuzz.abi import Abi
    from ancfuzz.case import Case
    from ancfuzz.cli.status import Verdict
    from ancfuzz.judging import Performance

__all__ = ["run"]


class _Performed(NamedTuple):
    """Who performed, by which layout, and what came of it."""

    name: str
    abi: Abi
    performance: Performance


def run(
    verdict: Verdict, argument: str, names: Sequence[str], *, as_json: bool
) -> None:
    """Perform a case on implementations.

    Raises:
        UsageError: the case or a name cannot be.
    """
    verdict.asked = True
    case = read_case(argument)
    subjects = resolve_all(names)
    performed: list[_Performed] = []
    with Interruption(verdict) as interruption:
        with suppress(KeyboardInterrupt), interruption.armed():
            for subject in subjects:
                performances = perform_and_judge(case, subject)
                performed += [
                    _Performed(subject.name, subject.abi, one) for one in performances
                ]
        broken = _tell(verdict, case, performed, as_json=as_json)
        if as_json:
            return
        screen = Screen(sys.stdout)
        for name in sorted(
            {one.name for one in subjects} - {one.name for one in performed}
        ):
            screen.paragraph(f"{name}: not judged: the case does not concern it")
        if broken:
            given: str | Case = case if argument == STANDARD_INPUT else argument
            screen.command(run_command(given, broken[0]))


def judge(verdict: Verdict, argument: str, transcript: str, *, as_json: bool) -> None:
    """Judge what was answered to a case, here or elsewhere, and perform nothing.

    Raises:
        UsageError: the case or the transcript cannot be, or not of each other.
    """
    verdict.asked = True
    case, observed = read_case(argument), read_transcript(transcript)
    if len(observed.answers) > len(case.steps):
        raise UsageError(
            f"{len(observed.answers)} answers to {quantity(len(case.steps), 'step')}: "
            "the transcript is not of that case"
        )
    performed = [_Performed("recorded", NATIVE, judge_transcript(case, observed))]
    if _tell(verdict, case, performed, as_json=as_json) and not as_json:
        given: str | Case = case if argument == STANDARD_INPUT else argument
        told = observed if transcript == STANDARD_INPUT else transcript
        Screen(sys.stdout).command(judge_command(given, told))


def _tell(
    verdict: Verdict, case: Case, performed: Sequence[_Performed], *, as_json: bool
) -> list[str]:
    """Settle the verdict and print; returns the names of those who broke something."""
    broken = [one.name for one in performed if one.performance.breaches]
    verdict.found = bool(broken)
    verdict.judged = any(
        one.performance.accepted.transcript.answers for one in performed
    )
    if as_json:
        sys.stdout.write(_json(case, performed))
        return broken
    screen = Screen(sys.stdout)
    for one in performed:
        _print(screen, case, *one)
    return broken


def _json(case: Case, performed: Sequence[_Performed]) -> str:
    report: dict[str, Any] = {
        "ok": not any(one.performance.breaches for one in performed),
        "case": case,
        "performances": [
            {
                "implementation": name,
                "subject": performance.end,
                "accepted": performance.accepted.transcript,
                "observed": performance.transcript,
                "violations": performance.breaches,
                "not_judged": performance.not_judged,
            }
            for name, _, performance in performed
        ],
    }
    text = msgspec.json.format(msgspec.json.encode(report), indent=2).decode()
    return f"{text}\n"


def _print(
    screen: Screen, case: Case, name: str, abi: Abi, performance: Performance
) -> None:
    end = performance.end
    screen.say(f"{name} holds {end}" if end else name, "bold")
    breaches = performance.breaches
    lines = transcript_lines(
        case,
        performance.transcript,
        performance.accepted.transcript,
        abi,
        step=breaches[0].step if breaches else None,
        width=screen.width,
        glyphs=screen.glyphs,
    )
    screen.draw(lines)
    for breach in breaches:
        screen.say(f"   {breach.invariant} ({breach.reach})", "bold red")
        screen.paragraph(breach.message, indent=3)
        screen.paragraph(f"source: {INVARIANTS[breach.invariant].source}", indent=3)
    if performance.not_judged:
        screen.paragraph(f"not judged further: {performance.not_judged}", indent=3)
    elif not breaches:
        screen.say("   as accepted")
    screen.say()
