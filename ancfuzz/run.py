"""A run: cases taken from a source until the budget is used up, and what came of it.

A run counts, times, tells how far it has come, and keeps what was found: one violation
for each invariant, performed once more to see that it breaks again, and made smaller at
the end.  Whoever asked is told of each as it is found, and again when it is smaller, so
that nothing is lost with this process.  Where only the number of cases is bounded
nothing depends on the clock, so that the same cases give the same report.

This room must not know where cases come from.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from ancfuzz.host import environment
from ancfuzz.invariants import INVARIANTS
from ancfuzz.report import Judged, NotJudged, Phase, Report, Violation
from ancfuzz.reproduction import run_command
from ancfuzz.shrink import shrink
from ancfuzz.transcript import Hung

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ancfuzz.case import Case
    from ancfuzz.invariants import Breach
    from ancfuzz.judging import Judge, Performance

__all__ = ["Drawn", "Progress", "Run"]

_EVERY = 0.25  # seconds between reports of progress
_SHRINK_SHARE = 0.2  # of the time is kept for making findings smaller
_SHRINK_SECONDS = 2.0  # at most, for each finding
_SHRINK_ATTEMPTS = 600  # at most, for each finding
_HANG_COSTS = 150  # attempts: one that hangs takes as long as so many that do not


class Progress(Struct, frozen=True):
    """How far a check has come; given to a callback a few times a second."""

    implementation: str
    phase: str
    cases: int
    seconds: float
    budget_seconds: float | None
    budget_cases: int | None
    violations: int


class Drawn(NamedTuple):
    """A case, and where it comes from.

    Attributes:
        phase: replay, sweep or random.
        folder: of the corpus, for what is replayed.
        case: the script.
    """

    phase: Phase
    folder: str
    case: Case


class Run:
    """One check of one implementation, as it goes on."""

    def __init__(
        self,
        judging: Judge,
        *,
        seconds: float | None,
        cases: int | None,
        seed: int,
        max_findings: int | None,
        progress: Callable[[Progress], None] | None,
        found: Callable[[Violation], None] | None = None,
    ) -> None:
        self._judging = judging
        self._seconds = seconds
        self._cases = cases
        self._seed = seed
        self._max_findings = max_findings
        self._progress = progress
        self._tell_found = found
        self._started = time.monotonic()
        self._told = 0.0
        self._count = 0
        self._stopped = "exhausted"
        self._found: dict[str, Violation] = {}
        self._seen: Counter[str] = Counter()
        self._phases: Counter[str] = Counter()
        self._folders: Counter[str] = Counter()
        self._judged: Counter[str] = Counter()
        self._rules: Counter[str] = Counter()
        self._unjudged: Counter[str] = Counter()

    def go(self, source: Iterator[Drawn]) -> None:
        """Take cases until the budget is used up."""
        for drawn in source:
            ends = self._judging.ends(drawn.case)
            if not ends:
                continue
            if self._is_over(drawn.phase):
                break
            self._count += 1
            self._take(drawn, ends)
        self._make_smaller()

    def interrupt(self) -> None:
        """Somebody pressed Ctrl-C: there is a report all the same."""
        self._stopped = "interrupted"

    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    def _is_over(self, phase: str) -> bool:
        if self._cases is not None and self._count >= self._cases:
            self._stopped = "cases"
        elif self._max_findings is not None and len(self._found) >= self._max_findings:
            self._stopped = "findings"
        elif self._seconds is not None and self._elapsed() >= self._share():
            self._stopped = "time"
        else:
            self._tell(phase)
            return False
        return True

    def _share(self) -> float:
        """Seconds for drawing cases; what is found needs some of the rest."""
        seconds = self._seconds or 0.0
        return seconds - min(
            seconds * _SHRINK_SHARE, len(self._found) * _SHRINK_SECONDS / 4
        )

    def _tell(self, phase: str) -> None:
        elapsed = self._elapsed()
        if self._progress is None or elapsed - self._told < _EVERY:
            return
        self._told = elapsed
        self._progress(
            Progress(
                self._judging.subject.name,
                phase,
                self._count,
                elapsed,
                self._seconds,
                self._cases,
                len(self._found),
            )
        )

    def _take(self, drawn: Drawn, ends: Sequence[str]) -> None:
        judged_at_all = False
        for end in ends:
            one = self._judging.perform(drawn.case, end)
            self._judged.update(one.judged)
            self._rules.update(one.accepted.rules)
            judged_at_all = judged_at_all or bool(one.judged)
            if one.not_judged:
                self._unjudged[one.not_judged] += 1
            for breach in one.breaches:
                self._note(drawn, one, breach)
        if judged_at_all:
            self._phases[drawn.phase] += 1
            if drawn.folder:
                self._folders[drawn.folder] += 1

    def _note(self, drawn: Drawn, one: Performance, breach: Breach) -> None:
        self._seen[breach.invariant] += 1
        known = self._found.get(breach.invariant)
        # What can happen is worth more than what takes bytes that no kernel sends.
        if known is not None and not (
            known.reach == "hostile" and breach.reach != "hostile"
        ):
            return
        again = self._judging.perform(drawn.case, one.end)
        broken = any(b.invariant == breach.invariant for b in again.breaches)
        if not broken and breach.invariant == "TIME.hang":
            # A machine that was busy for once is no finding.
            self._unjudged["it took too long once, and not again"] += 1
            return
        message = breach.message
        if not broken:
            message += " (not reproduced when performed once more)"
        name = self._judging.subject.name
        self._found[breach.invariant] = Violation(
            invariant=breach.invariant,
            reach=breach.reach,
            message=message,
            implementation=name,
            case=drawn.case,
            transcript=one.transcript,
            accepted=one.accepted.transcript,
            step=breach.step,
            phase=drawn.phase,
            source=INVARIANTS[breach.invariant].source,
            reproducible=broken,
            reproduce=run_command(drawn.case, name),
        )
        self._announce(breach.invariant)

    def _announce(self, invariant: str) -> None:
        """Tell who asked of what was found, or found to be smaller."""
        if self._tell_found is not None:
            self._tell_found(self._found[invariant])

    def _make_smaller(self) -> None:
        """Shrink what was found, as far as time and attempts go."""
        for violation in list(self._found.values()):
            if violation.reproducible:
                limit = None
                if self._seconds is not None:
                    left = max(self._seconds - self._elapsed(), self._seconds * 0.05)
                    limit = time.monotonic() + min(left, _SHRINK_SECONDS)
                self._shrink(violation, limit)
                if self._found[violation.invariant] is not violation:
                    self._announce(violation.invariant)

    def _shrink(self, violation: Violation, limit: float | None) -> None:
        """Put the smallest case found in its place, each time that one is found."""
        id_ = violation.invariant
        end = violation.transcript.subject
        attempts = _SHRINK_ATTEMPTS

        def out_of_time() -> bool:
            return attempts <= 0 or (limit is not None and time.monotonic() > limit)

        def is_broken(case: Case) -> bool:
            nonlocal attempts
            if end not in self._judging.ends(case):
                return False
            one = self._judging.perform(case, end)
            hung = any(isinstance(a, Hung) for a in one.transcript.answers)
            attempts -= _HANG_COSTS if hung else 1
            for breach in one.breaches:
                if (breach.invariant, breach.reach) == (id_, violation.reach):
                    self._found[id_] = replace(
                        violation,
                        case=case,
                        transcript=one.transcript,
                        accepted=one.accepted.transcript,
                        step=breach.step,
                        message=breach.message,
                        reproduce=run_command(case, violation.implementation),
                    )
                    return True
            return False

        shrink(violation.case, is_broken, out_of_time=out_of_time)

    def report(self) -> Report:
        """What came of it."""
        families: Counter[str] = Counter()
        for id_, count in self._judged.items():
            families[INVARIANTS[id_].family] += count
        violations = tuple(
            replace(violation, seen=self._seen[id_])
            for id_, violation in self._found.items()
        )
        return Report(
            ok=not violations and bool(self._judged),
            implementation=self._judging.subject.name,
            violations=violations,
            judged=Judged(
                phase=dict(sorted(self._phases.items())),
                family=dict(sorted(families.items())),
                invariant=dict(sorted(self._judged.items())),
                rule=dict(sorted(self._rules.items())),
                folder=dict(sorted(self._folders.items())),
            ),
            not_judged=tuple(
                NotJudged(reason, count)
                for reason, count in self._not_judged().most_common()
            ),
            seed=self._seed,
            cases=self._count,
            seconds=round(self._elapsed(), 3),
            environment=environment(),
            stopped=self._stopped,
            version=_version(),
        )

    def _not_judged(self) -> Counter[str]:
        reasons = Counter(self._unjudged)
        if not self._judging.subject.operations - {"close"}:
            reasons["it overrides no operation of ancfuzz.Implementation"] = 0
        elif self._count and not self._judged and not reasons:
            reasons["no chosen invariant looks at what it does"] = self._count
        elif not self._count:
            reasons["no case concerned its operations"] = 0
        return reasons


def _version() -> str:
    import ancfuzz

    return str(ancfuzz.__version__)
