"""The main job: an implementation, many cases, a report.

Three sources of cases are taken in turn, so that a short run is spread over all of
them: the corpus (replay), the boundaries (sweep), and the grammar over a seeded
generator (random).  Each case is performed at each end that the implementation can
hold, accepted by the model, and judged; a broken invariant is performed once more to
see that it breaks again, and made smaller at the end.  The same seed and count draw the
same cases.

Ours and CPython's implementations are performed in this process, except where the
descriptor table has to be shaped; everything else in a worker.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from ancfuzz.choices import SeededChoices
from ancfuzz.errors import UsageError
from ancfuzz.grammar import draw_case
from ancfuzz.implementation import Implementation
from ancfuzz.implementations import Subject, import_name, resolve, subject
from ancfuzz.invariants import select
from ancfuzz.judging import Judge, Performance, perform_and_judge
from ancfuzz.run import Drawn, Progress, Run
from ancfuzz.shipped import shipped_cases
from ancfuzz.sweeps import interleaved, sweeps
from ancfuzz.worker import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ancfuzz.case import Case
    from ancfuzz.report import Report, Violation

__all__ = [
    "Performance",
    "Progress",
    "Testable",
    "check",
    "perform_and_judge",
    "replay",
]

Testable: TypeAlias = (
    str
    | Subject
    | type[Implementation]
    | Implementation
    | Callable[[], type[Implementation] | Implementation]
)
"""What can be checked: a name, a class, an instance, or what makes one of these."""


class _UnlessCounted(float):
    """Seconds that nobody asked for: they give way to a bound by count."""


_DEFAULT_SECONDS = _UnlessCounted(20.0)
_SHORTEST_DEADLINE = 0.5  # seconds, for a case that takes a thousandth of that


def _replayed(cases: Iterable[tuple[str, Case]]) -> Iterator[Drawn]:
    for folder, case in cases:
        yield Drawn("replay", folder, case)


def _swept(judging: Judge, seed: int) -> Iterator[Drawn]:
    order = random.Random(seed)
    for case in interleaved(sweeps(judging.abi), order):
        yield Drawn("sweep", "", case)


def _random(judging: Judge, seed: int) -> Iterator[Drawn]:
    choices = SeededChoices(seed)
    while True:
        yield Drawn("random", "", draw_case(choices, judging.abi))


def _in_turn(sources: Sequence[tuple[Iterator[Drawn], int]]) -> Iterator[Drawn]:
    """So many of each source in turn, until all are through."""
    left = list(sources)
    while left:
        for source, turns in list(left):
            for _ in range(turns):
                drawn = next(source, None)
                if drawn is None:
                    left.remove((source, turns))
                    break
                yield drawn


def _report(run: Run, judging: Judge, source: Iterator[Drawn]) -> Report:
    """Run, and report what came of it, whenever Ctrl-C comes."""
    try:
        run.go(source)
        judging.close()  # a worker takes its time to end
        return run.report()
    except KeyboardInterrupt:
        run.interrupt()
        judging.close()
        return run.report()


def _subject(implementation: Testable) -> Subject:
    if isinstance(implementation, Subject):
        return implementation
    if isinstance(implementation, str):
        return resolve(implementation)
    return subject(implementation, import_name=import_name(implementation))


def check(
    implementation: Testable,
    *,
    seconds: float | None = _DEFAULT_SECONDS,
    cases: int | None = None,
    seed: int | None = None,
    invariants: Iterable[str] | None = None,
    exclude: Iterable[str] = (),
    max_findings: int | None = None,
    corpus: Iterable[tuple[str, Case]] | None = None,
    progress: Callable[[Progress], None] | None = None,
    found: Callable[[Violation], None] | None = None,
    deadline: float | None = None,
) -> Report:
    """Check an implementation: replay, sweeps and random cases, in turn.

    Args:
        implementation: a name, an :class:`ancfuzz.Implementation` subclass, an
            instance, or a callable that makes one.
        seconds: wall time for all of it; None for no limit, which is the default where
            ``cases`` is one.
        cases: how many cases; the same seed and count give the same result.
        seed: draws the same cases again; a fresh one by default, in the report.
        invariants: only these: families, ids or globs.
        exclude: all but these.
        max_findings: stop at so many.
        corpus: ``(folder, case)`` to replay; the shipped corpus by default.
        progress: called a few times a second.
        found: called with each violation as soon as it is found, and once more with a
            smaller case; what it raises ends the check.
        deadline: seconds that one case may take in a worker; by default two, and less
            in a short run.

    Returns:
        What was found and judged.  Ctrl-C ends it early and is reported as such.

    Raises:
        UsageError: there is no such implementation or invariant.
    """
    if cases is not None and isinstance(seconds, _UnlessCounted):
        seconds = None
    if seconds is not None and not 0 <= seconds < float("inf"):
        raise UsageError(f"{seconds} seconds: expected 0 or more")
    if cases is not None and cases < 0:
        raise UsageError(f"{cases} cases: expected 0 or more")
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    chosen = select(invariants, exclude)
    if deadline is None:
        # A hang is performed twice, and must not use up a short run alone.
        quarter = DEADLINE if seconds is None else seconds / 4
        deadline = min(DEADLINE, max(_SHORTEST_DEADLINE, quarter))
    with Judge(_subject(implementation), chosen, deadline=deadline) as judging:
        run = Run(
            judging,
            seconds=seconds,
            cases=cases,
            seed=seed,
            max_findings=max_findings,
            progress=progress,
            found=found,
        )
        if judging.subject.operations - {"close"}:
            replayed = list(shipped_cases() if corpus is None else corpus)
            random.Random(seed).shuffle(replayed)
            sources = _in_turn(
                (
                    (_replayed(replayed), 1),
                    (_swept(judging, seed), 2),
                    (_random(judging, seed), 1),
                )
            )
        else:
            sources = iter(())
        return _report(run, judging, sources)


def replay(
    implementation: Testable,
    cases: Iterable[tuple[str, Case]],
    *,
    invariants: Iterable[str] | None = None,
    exclude: Iterable[str] = (),
    progress: Callable[[Progress], None] | None = None,
    found: Callable[[Violation], None] | None = None,
) -> Report:
    """Replay cases, and nothing else.

    Args:
        implementation: as for :func:`check`.
        cases: ``(folder, case)``; the folder is what the report counts them under.
        invariants: only these.
        exclude: all but these.
        progress: called a few times a second.
        found: as for :func:`check`.

    Raises:
        UsageError: there is no such implementation or invariant.
    """
    chosen = select(invariants, exclude)
    with Judge(_subject(implementation), chosen) as judging:
        run = Run(
            judging,
            seconds=None,
            cases=None,
            seed=0,
            max_findings=None,
            progress=progress,
            found=found,
        )
        return _report(run, judging, _replayed(cases))
