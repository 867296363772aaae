"""Invariants as rows: what each is called, who says so, and the function that looks.

An invariant looks at one step: what was asked, what the model accepts, what was
observed (:class:`View`).  It returns a sentence if it is broken and None if it holds.
Where accepted and observed are equal every invariant holds; that is what lets the
judges skip the looking and only count, and a test holds every invariant to it.

This room must not know how anything was performed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from ancfuzz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ancfuzz.abi import Abi
    from ancfuzz.case import Case, Step
    from ancfuzz.implementation import Promise
    from ancfuzz.transcript import Answer, Transcript

__all__ = [
    "FAMILIES",
    "INVARIANTS",
    "Invariant",
    "View",
    "invariant",
    "listed",
    "select",
]

FAMILIES = {
    "ALIGN": "header and data offsets, and the padding between them",
    "LEN": "cmsg_len, and the length of the whole buffer",
    "CAP": "what fits and what does not; a refused add changes nothing",
    "ROUND": "round trips, both ways",
    "WALK": "the walk over a buffer ends, stays inside, says where it broke",
    "FD": "identity, order and number of descriptors; none unreported, none invented",
    "LEAK": "nothing that the case sent stays open",
    "CLOEXEC": "received descriptors are close-on-exec",
    "TRUNC": "truncated is the kernel's MSG_CTRUNC, and what is left arrives",
    "CRED": "who sent, when it is told, and what stands in for it",
    "ORDER": "control messages come in the order in which they lie in the buffer",
    "BOUND": "the bytes of a message, and where it ends",
    "PEEK": "a peek takes nothing",
    "ERR": "success or failure, and the errno",
    "STATE": "nothing stale after a failure",
    "TIME": "an answer comes in time",
    "CRASH": "an answer comes, and is one",
}


@dataclass(frozen=True, slots=True)
class View:
    """One step of a performance, as an invariant sees it.

    Attributes:
        case: the script.
        index: of the step; the number of steps for what is judged at the end.
        step: what was asked; None at the end.
        accepted: what the model accepts of it.
        observed: what was answered.
        transcript: everything that was observed.
        promise: of the implementation under test.
        abi: its layout.
    """

    case: Case
    index: int
    step: Step | None
    accepted: Answer | None
    observed: Answer | None
    transcript: Transcript
    promise: Promise
    abi: Abi


Check: TypeAlias = Callable[[View], str | None]


class Invariant(NamedTuple):
    """One invariant.

    Attributes:
        id: ``FAMILY.name``.
        reach: see :class:`ancfuzz.report.Violation`.
        source: who says so.
        title: one line.
        steps: the steps it looks at; empty for the end of a case.
        check: the function that looks.
    """

    id: str
    reach: Literal["kernel", "hostile", "policy"]
    source: str
    title: str
    steps: tuple[type, ...]
    check: Check

    @property
    def family(self) -> str:
        """The part of the id before the dot."""
        return self.id.partition(".")[0]


INVARIANTS: dict[str, Invariant] = {}


def invariant(
    id_: str,
    *steps: type,
    source: str,
    reach: Literal["kernel", "hostile", "policy"] = "kernel",
) -> Callable[[Check], Check]:
    """Register a check; its docstring's first line is its title."""

    def register(check: Check) -> Check:
        title = (check.__doc__ or "").partition("\n")[0].rstrip(".")
        INVARIANTS[id_] = Invariant(id_, reach, source, title, steps, check)
        return check

    return register


def listed(names: Iterable[str]) -> str:
    """A few names in a sentence, and how many more there are."""
    words = list(names)
    if len(words) > _FEW:
        return f"{', '.join(words[:_FEW])} and {len(words) - _FEW} more"
    return ", ".join(words) or "none"


_FEW = 6


def select(
    patterns: Iterable[str] | None = None, exclude: Iterable[str] = ()
) -> frozenset[str]:
    """The ids that patterns choose: a family, an id, or a glob; all without patterns.

    Raises:
        UsageError: a pattern chooses nothing, or nothing is left.
    """
    if isinstance(patterns, str) or isinstance(exclude, str):
        raise UsageError("patterns are a list of strings: expected one in brackets")
    chosen = frozenset(INVARIANTS) if patterns is None else _matching_any(patterns)
    left = chosen - _matching_any(exclude)
    if not left:
        raise UsageError("no invariant is left to judge by: choose fewer to exclude")
    return left


def _matching_any(patterns: Iterable[str]) -> frozenset[str]:
    none: frozenset[str] = frozenset()
    return none.union(*map(_matching, patterns))


def _matching(pattern: str) -> frozenset[str]:
    wanted = pattern.upper() if pattern.upper() in FAMILIES else pattern
    found = frozenset(
        id_
        for id_, one in INVARIANTS.items()
        if one.family == wanted or fnmatchcase(id_, wanted)
    )
    if not found:
        raise UsageError(
            f"no invariant is called {pattern!r}: expected a family "
            f"({', '.join(FAMILIES)}), an id like FD.identity, or a glob"
        )
    return found
