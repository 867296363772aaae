"""What a check found, as values: violations, counts, and what could not be judged.

Everything here is frozen, plain JSON, and complete: a violation carries the case, what
was observed and what the model accepts, and the command that shows it again.  A report
says as much of what was judged (by phase, family, invariant, rule and corpus folder) as
of what was found, for a clean report over nothing is worth nothing.

This room must not know how anything is performed, judged or printed.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from ancfuzz.case import Case
from ancfuzz.transcript import Environment, Transcript

__all__ = ["Judged", "NotJudged", "Reach", "Report", "Violation", "merge", "to_json"]

Reach: TypeAlias = Literal["kernel", "hostile", "policy"]
Phase: TypeAlias = Literal["replay", "sweep", "random", "recorded"]


class Violation(Struct, frozen=True, kw_only=True):
    """One broken invariant, in the smallest case that was seen to break it.

    Attributes:
        invariant: its id, ``FAMILY.name``.
        reach: ``kernel``: can happen against a real kernel; ``hostile``: only when fed
            bytes that no kernel sends; ``policy``: breaks its own promise.
        message: one line: what, where, what was expected.
        implementation: the name by which it was asked for.
        case: the script.
        transcript: what was observed.
        accepted: what the model accepts, where it has an opinion.
        step: index of the offending step; the number of steps for what is judged at
            the end, such as a leak.
        phase: where the case came from.
        source: the authority behind the invariant: a man page, a kernel function.
        seen: how many cases broke this invariant in this run.
        reproducible: whether performing the case once more broke it again.
        reproduce: a command line that shows it again.
    """

    invariant: str
    reach: Reach
    message: str
    implementation: str
    case: Case
    transcript: Transcript
    accepted: Transcript | None = None
    step: int = 0
    phase: Phase = "random"
    source: str = ""
    seen: int = 1
    reproducible: bool = True
    reproduce: str = ""


class Judged(Struct, frozen=True):
    """How much was judged, counted.

    Attributes:
        phase: cases by phase: replay, sweep, random; recorded.
        family: verdicts by family of invariants.
        invariant: verdicts by invariant.
        rule: how often each rule of the model decided something.
        folder: replayed cases by corpus folder.
    """

    phase: dict[str, int] = {}
    family: dict[str, int] = {}
    invariant: dict[str, int] = {}
    rule: dict[str, int] = {}
    folder: dict[str, int] = {}


class NotJudged(Struct, frozen=True):
    """What could not be judged: how many cases, and why."""

    reason: str
    cases: int


class Report(Struct, frozen=True, kw_only=True):
    """What came of checking one implementation.

    Attributes:
        ok: whether nothing was found and something was judged.
        implementation: the name by which it was asked for.
        violations: one for each invariant broken, smallest case first seen.
        judged: counts of what was judged.
        not_judged: what was not, with reasons.
        seed: draws the same cases again.
        cases: performed, in all.
        seconds: wall time.
        environment: the kernel, the user, what it can do.
        stopped: why the run ended: ``time``, ``cases``, ``findings``, ``exhausted`` or
            ``interrupted``.
        version: of ancfuzz.
    """

    ok: bool
    implementation: str
    violations: tuple[Violation, ...] = ()
    judged: Judged = Judged()
    not_judged: tuple[NotJudged, ...] = ()
    seed: int = 0
    cases: int = 0
    seconds: float = 0.0
    environment: Environment = Environment()
    stopped: str = ""
    version: str = ""


def _add(counts: list[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for some in counts:
        for key, count in some.items():
            total[key] = total.get(key, 0) + count
    return dict(sorted(total.items()))


def merge(reports: list[Report]) -> dict[str, Any]:
    """One JSON object for a run over several implementations.

    It has the fields of a report, summed up, and the reports themselves under
    ``implementations``.
    """
    reasons: list[dict[str, int]] = [
        {one.reason: one.cases for one in report.not_judged} for report in reports
    ]
    judged = {
        field: _add([getattr(report.judged, field) for report in reports])
        for field in Judged.__struct_fields__
    }
    first = reports[0] if reports else Report(ok=False, implementation="")
    return {
        "ok": bool(reports) and all(report.ok for report in reports),
        "seed": first.seed,
        "version": first.version,
        "environment": msgspec.to_builtins(first.environment),
        "cases": sum(report.cases for report in reports),
        "seconds": sum(report.seconds for report in reports),
        "judged": judged,
        "not_judged": [
            {"reason": reason, "cases": cases}
            for reason, cases in _add(reasons).items()
        ],
        "violations": [
            msgspec.to_builtins(violation)
            for report in reports
            for violation in report.violations
        ],
        "implementations": [msgspec.to_builtins(report) for report in reports],
    }


def to_json(reports: list[Report]) -> bytes:
    """:func:`merge` as JSON text, indented."""
    return msgspec.json.format(msgspec.json.encode(merge(reports)), indent=2) + b"\n"
