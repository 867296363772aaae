"""A recording judged: its cases, a verdict on each exchange, and what is missing.

What a program was answered is held against the model and the invariants as it is, for a
transcript can be judged wherever it was written.  It was the program that called and
the kernel that answered, so a breach here is not the program's: it is that of the
kernel, of what stands between the two (a preloaded library, an emulator), or of the
recording.  To tell these apart, what breaks is performed once by the reference, on the
kernel that is here.

This room must not know how a program is recorded, nor where the verdict goes.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from ancfuzz.case import Case
from ancfuzz.host import environment
from ancfuzz.implementations import resolve
from ancfuzz.invariants import INVARIANTS, Breach
from ancfuzz.judging import judge_transcript, perform_and_judge
from ancfuzz.recorder import concerns_control, distinct, match, recorded
from ancfuzz.report import Judged, NotJudged, Report, Violation
from ancfuzz.reproduction import judge_command
from ancfuzz.transcript import Transcript

if TYPE_CHECKING:
    from ancfuzz.judging import Performance
    from ancfuzz.recorder import Recorded, Recording

__all__ = ["JudgedExchange", "JudgedRecording", "judge_recording"]

_UNMATCHED = "of the other end nothing was seen, or not all"
_UNSAID = "a case has no words for it"
_SILENCE = "no message on a Unix socket was seen"
_NO_CONTROL = "no control message was seen, and no room for one"
_ELSEWHERE = (
    "performed by the reference here it is not broken, so what stands between that "
    "program and this kernel is at fault, or the recording"
)


class JudgedExchange(Struct, frozen=True):
    """One exchange, and the verdict on it.

    Attributes:
        case: the script.
        transcript: what the program was answered.
        violations: broken invariants.
        not_judged: why the rest was not judged; "" if all was.
    """

    case: Case
    transcript: Transcript
    violations: tuple[Breach, ...] = ()
    not_judged: str = ""


class JudgedRecording(Struct, frozen=True):
    """What came of a recording.

    Attributes:
        report: as of a check; the implementation is the program.
        cases: each once, named, with their source.
        exchanges: everything that a case can say, in the order of time.
        matched: how many exchanges there were, sayable or not.
    """

    report: Report
    cases: tuple[Case, ...]
    exchanges: tuple[JudgedExchange, ...]
    matched: int


def judge_recording(
    recording: Recording,
    *,
    program: str,
    source: str = "",
    payloads: bool = False,
    seconds: float = 0.0,
) -> JudgedRecording:
    """Judge everything that a recording holds.

    Args:
        recording: what was seen.
        program: what the report calls the implementation.
        source: where the cases come from; it is written into them.
        payloads: keep the data bytes; otherwise as many zero bytes stand for them.
        seconds: that the recording took; for the report.
    """
    matching = match(recording.calls)
    found = recorded(recording, payloads=payloads, matching=matching)
    concerned = sum(map(concerns_control, matching.exchanges))
    docket = _Docket(program, source)
    exchanges = tuple(map(docket.take, found))
    missing = Counter(docket.not_judged)
    missing[_UNMATCHED] += len(matching.unmatched)
    missing[_UNSAID] += concerned - len(found)
    reasons = [NotJudged(why, count) for why, count in missing.most_common() if count]
    if not found and not reasons:
        reasons = [NotJudged(_NO_CONTROL if recording.calls else _SILENCE, 0)]
    return JudgedRecording(
        docket.report(tuple(reasons), recording.stopped or "exhausted", seconds),
        tuple(replace(case, source=source) for case in distinct(found)),
        exchanges,
        len(matching.exchanges),
    )


class _Docket:
    """What the verdicts on one exchange after the other add up to."""

    def __init__(self, program: str, source: str) -> None:
        self.not_judged: Counter[str] = Counter()
        self._program = program
        self._source = source
        self._found: dict[str, Violation] = {}
        self._count = 0
        self._judged: Counter[str] = Counter()
        self._rules: Counter[str] = Counter()

    def take(self, one: Recorded) -> JudgedExchange:
        """Judge one exchange."""
        self._count += 1
        performance = judge_transcript(one.case, one.transcript)
        self._judged.update(performance.judged)
        self._rules.update(performance.accepted.rules)
        if performance.not_judged:
            self.not_judged[performance.not_judged] += 1
        for breach in performance.breaches:
            self._note(one, performance, breach)
        return JudgedExchange(
            one.case, one.transcript, performance.breaches, performance.not_judged
        )

    def _note(self, one: Recorded, judged: Performance, breach: Breach) -> None:
        known = self._found.get(breach.invariant)
        if known is not None:
            self._found[breach.invariant] = replace(known, seen=known.seen + 1)
            return
        again = any(
            breach.invariant == other.invariant
            for performance in perform_and_judge(one.case, resolve("reference"))
            for other in performance.breaches
        )
        self._found[breach.invariant] = Violation(
            invariant=breach.invariant,
            reach=breach.reach,
            message=breach.message if again else f"{breach.message} ({_ELSEWHERE})",
            implementation=self._program,
            case=replace(one.case, source=self._source),
            transcript=one.transcript,
            accepted=judged.accepted.transcript,
            step=breach.step,
            phase="recorded",
            source=INVARIANTS[breach.invariant].source,
            reproducible=again,
            reproduce=judge_command(one.case, one.transcript),
        )

    def report(
        self, reasons: tuple[NotJudged, ...], stopped: str, seconds: float
    ) -> Report:
        """As of a check of which the recorded program was the implementation."""
        import ancfuzz

        families: Counter[str] = Counter()
        for id_, count in self._judged.items():
            families[INVARIANTS[id_].family] += count
        return Report(
            ok=not self._found and bool(self._judged),
            implementation=self._program,
            violations=tuple(self._found.values()),
            judged=Judged(
                phase={"recorded": self._count} if self._judged else {},
                family=dict(sorted(families.items())),
                invariant=dict(sorted(self._judged.items())),
                rule=dict(sorted(self._rules.items())),
            ),
            not_judged=reasons,
            cases=self._count,
            seconds=round(seconds, 3),
            environment=environment(),
            stopped=stopped,
            version=str(ancfuzz.__version__),
        )
