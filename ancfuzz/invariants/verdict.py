"""A performance judged: which invariants looked, and which are broken.

Behind the first step that was answered otherwise than the model accepts, nothing more
is said of the steps: what follows a surprise is not a second one.  What the whole left
behind, such as a leak, is judged all the same.
"""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from ancfuzz.invariants.registry import INVARIANTS, Invariant, View
from ancfuzz.transcript import Decoded, Refusal

if TYPE_CHECKING:
    from ancfuzz.abi import Abi
    from ancfuzz.case import Case
    from ancfuzz.implementation import Promise
    from ancfuzz.model import Acceptance
    from ancfuzz.transcript import Answer, Transcript

__all__ = ["Breach", "Verdict", "judge"]


class Breach(Struct, frozen=True):
    """A broken invariant in one performance.

    Attributes:
        invariant: its id.
        reach: as in :class:`ancfuzz.report.Violation`.
        step: index of the step; the number of steps for the end.
        message: one line.
    """

    invariant: str
    reach: Literal["kernel", "hostile", "policy"]
    step: int
    message: str


class Verdict(NamedTuple):
    """What came of judging one performance.

    Attributes:
        breaches: broken invariants, at the first wrong step and at the end.
        judged: ids of the invariants that looked, each as often as it did.
    """

    breaches: tuple[Breach, ...]
    judged: tuple[str, ...]


@cache
def _for_step(step: type | None, chosen: frozenset[str]) -> tuple[Invariant, ...]:
    """The chosen invariants that look at such a step; at the end, for None."""
    return tuple(
        one
        for id_, one in INVARIANTS.items()
        if id_ in chosen and (step in one.steps if step else not one.steps)
    )


@cache
def _ids(step: type | None, chosen: frozenset[str]) -> tuple[str, ...]:
    return tuple(one.id for one in _for_step(step, chosen))


@lru_cache(maxsize=4096)
def _all_ids(steps: tuple[type, ...], chosen: frozenset[str]) -> tuple[str, ...]:
    """All that look at such steps, and at the end."""
    return tuple(chain.from_iterable(_ids(step, chosen) for step in (*steps, None)))


def judge(
    case: Case,
    observed: Transcript,
    acceptance: Acceptance,
    *,
    promise: Promise,
    abi: Abi,
    chosen: frozenset[str],
) -> Verdict:
    """Hold a performance against the chosen invariants."""
    if observed == acceptance.transcript and Refusal not in map(type, observed.answers):
        # It is so nearly always, and then nothing has to be looked at step by step.
        answered = case.steps[: len(observed.answers)]
        return Verdict((), _all_ids(tuple(map(type, answered)), chosen))
    looked: list[str] = []
    breaches: list[Breach] = []

    def look(index: int, accepted: Answer | None, answer: Answer | None) -> None:
        step = case.steps[index] if index < len(case.steps) else None
        view = View(case, index, step, accepted, answer, observed, promise, abi)
        found: list[Breach] = []
        for one in _for_step(type(step) if step else None, chosen):
            message = one.check(view)
            if message is not None:
                reach = "hostile" if _is_hostile(accepted) else one.reach
                # One line, whatever somebody's exception said.
                line = " ".join(message.split()).removesuffix(":")
                found.append(Breach(one.id, reach, index, line))
        if step is not None and getattr(step, "at", "") not in ("", observed.subject):
            found = _blame_the_sender(found) if observed.subject else found
        breaches.extend(found)

    answers = acceptance.transcript.answers
    # Once a descriptor of ours was closed, what a number means is anybody's guess: the
    # closing is the finding, and what the steps say is not.
    trusted = () if observed.lost else observed.answers
    for index, (step, accepted, answer) in enumerate(
        zip(case.steps, answers, trusted, strict=False)
    ):
        ids = _ids(type(step), chosen)
        if isinstance(answer, Refusal):
            ids = tuple(id_ for id_ in ids if id_.startswith(_OF_A_REFUSAL))
        looked += ids
        if accepted != answer:
            look(index, accepted, answer)
            break
    looked += _ids(None, chosen)
    if _left_something(observed):
        look(len(case.steps), None, None)
    return Verdict(tuple(breaches), tuple(looked))


def _left_something(observed: Transcript) -> bool:
    return bool(
        observed.leaked
        or observed.lost
        or observed.growth
        or observed.closing
        or observed.output
    )


# What can be judged where an implementation declined on purpose.
_OF_A_REFUSAL = ("STATE.", "TIME.", "CRASH.")

# What tells of a message that was sent wrong, when it is the reference that received
# it.
_CONTENT = ("FD.", "CRED.", "ROUND.", "BOUND.", "ERR.")


def _blame_the_sender(found: list[Breach]) -> list[Breach]:
    """Of what the reference received wrong, what speaks of the message itself."""
    content = [breach for breach in found if breach.invariant.startswith(_CONTENT)]
    return [
        replace(breach, message=f"at the receiver: {breach.message}")
        for breach in content or found
    ]


def _is_hostile(accepted: Answer | None) -> bool:
    """Whether the step read bytes that no kernel sends."""
    return isinstance(accepted, Decoded) and accepted.malformed is not None
