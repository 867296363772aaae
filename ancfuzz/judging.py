"""Cases of one implementation performed, accepted and judged.

A :class:`Judge` puts the rooms of this floor together: it decides where a case is
performed (ours and CPython's in this process, except where the descriptor table has to
be shaped or nobody lists it; everything else in a worker), at which ends, and hands
what was observed to the model and the invariants.

This room must not know where cases come from, nor what is done with a verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Self

from msgspec.structs import replace

from ancfuzz.abi import NATIVE
from ancfuzz.case import Case, NamedRights, Send, SendAll, Table
from ancfuzz.descriptors import IS_LISTED
from ancfuzz.errors import EnvironmentUnsupported
from ancfuzz.harness import NO_ROOM, Performer, ends_to_hold
from ancfuzz.host import environment
from ancfuzz.implementation import Promise
from ancfuzz.invariants import Breach, judge, select
from ancfuzz.model import Acceptance, accept
from ancfuzz.transcript import NotPerformed, Transcript
from ancfuzz.worker import DEADLINE, Worker

if TYPE_CHECKING:
    from ancfuzz.abi import Abi
    from ancfuzz.implementations import Subject

__all__ = ["RECORDED", "Judge", "Performance", "judge_transcript", "perform_and_judge"]

RECORDED: Final = Promise(close_on_exec=False)
"""What is known of a program that was recorded: the kernel's own calls, and no policy.

Whether received descriptors are close-on-exec is the program's to decide.
"""

_REPEATS = 4
_STARVES = "its runtime starves in a full table, with no descriptor sent"


def _fills_the_table(case: Case) -> bool:
    return any(isinstance(s, Table) and s.free is not None for s in case.steps)


def _without_descriptors(case: Case) -> Case:
    steps = tuple(
        replace(
            step,
            messages=tuple(m for m in step.messages if not isinstance(m, NamedRights)),
        )
        if isinstance(step, Send | SendAll)
        else step
        for step in case.steps
    )
    return replace(case, steps=steps)


class Performance(NamedTuple):
    """One performance of a case, accepted and judged.

    Attributes:
        end: the end that the implementation held; "" for none.
        transcript: what was observed.
        accepted: what the model accepts.
        breaches: what is broken.
        not_judged: why the rest was not judged; "" if all was.
        judged: ids of the invariants that looked, each as often as it did.
    """

    end: str
    transcript: Transcript
    accepted: Acceptance
    breaches: tuple[Breach, ...]
    not_judged: str
    judged: tuple[str, ...]


class Judge:
    """Performs and judges the cases of one implementation; a context manager.

    Args:
        of: the implementation.
        chosen: ids of the invariants to judge by; all by default.
        deadline: seconds for one case in a worker.
    """

    def __init__(
        self,
        of: Subject,
        chosen: frozenset[str] | None = None,
        *,
        deadline: float = DEADLINE,
    ) -> None:
        self.subject = of
        self.chosen = select() if chosen is None else chosen
        self.promise = of.promise
        self.abi = of.abi
        self._performer: Performer | None = None
        self._worker: Worker | None = None
        self._deadline = deadline

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker, close what the performer holds."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
        self._close_performer()

    def _close_performer(self) -> None:
        if self._performer is not None:
            self._performer.close()
            self._performer = None

    def ends(self, case: Case) -> tuple[str, ...]:
        """The ends at which the case concerns the implementation."""
        if self.subject.is_reference:
            return ("",)  # both ends are its own anyway
        return ends_to_hold(case, self.subject.operations)

    def perform(self, case: Case, end: str) -> Performance:
        """Perform a case and judge it."""
        case = self._adapted(case)
        one = self._judged(case, end)
        if one.breaches and _fills_the_table(case):
            starving = self._starving(case, end)
            kept = tuple(b for b in one.breaches if b.invariant not in starving)
            if kept != one.breaches:
                return one._replace(breaches=kept, not_judged=_STARVES)
        return one

    def _judged(self, case: Case, end: str) -> Performance:
        observed = self._perform(case, end)
        if observed.grown:
            observed = self._repeated(case, end, observed)
        return judge_transcript(
            case, observed, promise=self.promise, abi=self.abi, chosen=self.chosen
        )

    def _starving(self, case: Case, end: str) -> set[str]:
        """Invariants that a full table breaks although no descriptor is sent.

        What is broken in an empty table just as well is a fault of its own.
        """
        control = _without_descriptors(case)
        roomy = replace(
            control, steps=tuple(s for s in case.steps if not isinstance(s, Table))
        )
        full = {b.invariant for b in self._judged(control, end).breaches}
        if full:
            full -= {b.invariant for b in self._judged(roomy, end).breaches}
        return full

    def _repeated(self, case: Case, end: str, observed: Transcript) -> Transcript:
        """The same, and what comes of repeating: a runtime opens its own once."""
        grown = [self._perform(case, end).grown for _ in range(_REPEATS)]
        if min(grown) and self._worker is not None:
            self._worker.renew()  # its table has a limit, and the next case needs room
        return replace(observed, growth=min(grown))

    def _perform(self, case: Case, end: str) -> Transcript:
        if self.subject.trusted and IS_LISTED and Table not in map(type, case.steps):
            if self._performer is None:
                self._performer = Performer()
            observed = self._performer.perform(case, self.subject, end)
            if observed.answers != (NO_ROOM,):
                return observed
        # A child inherits nothing: its table has room where this one may be full.
        return self._perform_in_worker(case, end)

    def _perform_in_worker(self, case: Case, end: str) -> Transcript:
        while True:
            try:
                if self._worker is None:
                    self._worker = Worker(self.subject, deadline=self._deadline)
                return self._worker.perform(case, end)
            except EnvironmentUnsupported as error:
                if self._performer is None:
                    return Transcript((NotPerformed(str(error)),), end, environment())
            self._close_performer()  # it may hold what starting a worker takes

    def _adapted(self, case: Case) -> Case:
        """The case with the payload that the implementation insists on."""
        payload = self.promise.payload
        if payload is None:
            return case
        steps = tuple(
            replace(step, data=payload.hex())
            if isinstance(step, Send | SendAll)
            else step
            for step in case.steps
        )
        return replace(case, steps=steps)


def judge_transcript(
    case: Case,
    observed: Transcript,
    *,
    promise: Promise = RECORDED,
    abi: Abi = NATIVE,
    chosen: frozenset[str] | None = None,
) -> Performance:
    """Judge what was answered to a case, here or elsewhere; nothing is performed.

    Args:
        case: the script.
        observed: what was answered; ``observed.subject`` is the end that is judged.
        promise: of whoever answered; by default of a program that was recorded.
        abi: its layout.
        chosen: ids of the invariants to judge by; all by default.
    """
    acceptance = accept(case, observed, promise=promise, abi=abi)
    breaches, judged = judge(
        case,
        observed,
        acceptance,
        promise=promise,
        abi=abi,
        chosen=select() if chosen is None else chosen,
    )
    if observed.answers and isinstance(observed.answers[-1], NotPerformed):
        judged = ()  # opening a pair is no verdict on anybody
    return Performance(
        observed.subject, observed, acceptance, breaches, acceptance.unknown, judged
    )


def perform_and_judge(
    case: Case, of: Subject, *, chosen: frozenset[str] | None = None
) -> list[Performance]:
    """Perform one case at each end that the implementation can hold."""
    with Judge(of, chosen) as judging:
        return [judging.perform(case, end) for end in judging.ends(case)]
