"""Invariants of how a performance goes and what it leaves: LEAK, TIME, CRASH.

These look at a transcript alone; the model has no opinion on them.
"""

from __future__ import annotations

from typing import get_args

from ancfuzz.case import Step
from ancfuzz.invariants.registry import View, invariant, listed
from ancfuzz.transcript import Died, Hung, Nonsense, Raised

# Every step: making the implementation comes before the first, closing it behind the
# last, and a pair of its own is asked in all of them.
_ASKED: tuple[type, ...] = get_args(Step)


@invariant("LEAK.sent", source="close(2); SCM_RIGHTS installs a new descriptor")
def _leak(view: View) -> str | None:
    """Nothing that the case sent, and no pidfd, is still open at the end."""
    leaked = view.transcript.leaked
    return f"still open at the end: {listed(leaked)}" if leaked else None


@invariant("LEAK.foreign", source="send neither closes nor keeps what it was given")
def _foreign(view: View) -> str | None:
    """No descriptor is closed that belongs to somebody else."""
    lost = view.transcript.lost
    return f"closed or replaced: {listed(lost)}" if lost else None


@invariant("LEAK.growth", source="the descriptor table is finite")
def _growth(view: View) -> str | None:
    """A case repeated does not leave more descriptors open each time."""
    growth = view.transcript.growth
    if not growth:
        return None
    return f"each time it is performed, {growth} more descriptors stay open"


@invariant("TIME.hang", *_ASKED, source="every wait has a deadline")
def _hang(view: View) -> str | None:
    """An answer comes within the deadline; the socket is non-blocking."""
    if not isinstance(view.observed, Hung):
        return None
    return f"no answer within {view.observed.seconds:g} s"


@invariant(
    "CRASH.exception", *_ASKED, source="ancfuzz.Implementation: what may be raised"
)
def _exception(view: View) -> str | None:
    """No exception but OSError, Refused, Unsupported and MalformedControl."""
    if not isinstance(view.observed, Raised):
        return None
    return f"{view.observed.type}: {view.observed.message}"


@invariant("CRASH.process", *_ASKED, source="a library does not end its process")
def _process(view: View) -> str | None:
    """The process goes on."""
    if not isinstance(view.observed, Died):
        return None
    return f"the process {view.observed.how} instead of answering"


@invariant("CRASH.answer", *_ASKED, source="ancfuzz.Implementation: what is returned")
def _answer(view: View) -> str | None:
    """What is returned is what the operation returns."""
    if not isinstance(view.observed, Nonsense):
        return None
    return f"returned {view.observed.value}, expected {view.observed.expected}"


@invariant("CRASH.close", source="ancfuzz.Implementation.close")
def _closing(view: View) -> str | None:
    """``close()`` succeeds, whatever happened before."""
    closing = view.transcript.closing
    return f"close() raised {closing}" if closing else None


@invariant(
    "CRASH.output", source="standard output is the application's", reach="policy"
)
def _output(view: View) -> str | None:
    """Nothing is written to standard output."""
    output = view.transcript.output
    return f"wrote {output[:80]!r} to standard output" if output else None
