"""Judges that convict: every bug of ``planted`` is found, made small, and shown again.

What must hold of each, whatever it does: the invariant that it breaks is among the
violations, with the right reach; the violation's own case breaks it again; and when the
check is over no process and no descriptor is left, and no limit is changed.
"""

from __future__ import annotations

import json
import os
import resource
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ancfuzz import check, corpus
from ancfuzz.case import NamedRights, Send
from ancfuzz.descriptors import open_numbers
from ancfuzz.implementations import resolve
from ancfuzz.invariants import INVARIANTS
from ancfuzz.judging import Judge
from tests.planted import PLANTED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ancfuzz import Report, Violation

MARK = "ANCFUZZ_TEST_PLANTED"
SEED = 1
RACES = {"TwoReturn"}  # which of two processes comes first is nobody's to say
HANGS = {name for name, plant in PLANTED.items() if plant.invariant == "TIME.hang"}


def left_behind(mark: str) -> set[str]:
    """Processes that were started in an environment with this mark, and still run."""
    needle = f"{MARK}={mark}".encode()
    found: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if needle in environment.split(b"\0"):
            found.add((process / "cmdline").read_text(errors="replace"))
    return found


@pytest.fixture(autouse=True)
def nothing_left(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[None]:
    mark = f"{os.getpid()}-{request.node.name}"
    monkeypatch.setenv(MARK, mark)
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])
    before = open_numbers(), resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    assert (open_numbers(), resource.getrlimit(resource.RLIMIT_NOFILE)) == before
    assert left_behind(mark) == set()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of a second for a case: long enough for all that do not hang."""
    monkeypatch.setattr("ancfuzz.checking.DEADLINE", 0.25)


def breaks_again(violation: Violation) -> bool:
    """Whether the violation's case, performed by itself, breaks the same invariant."""
    with Judge(resolve(violation.implementation)) as judging:
        again = judging.perform(violation.case, violation.transcript.subject)
    return (violation.invariant, violation.reach) in {
        (breach.invariant, breach.reach) for breach in again.breaches
    }


def looks_right(violation: Violation) -> None:
    """What a reader relies on, whatever was found."""
    assert violation.message.strip()
    assert "\n" not in violation.message
    assert violation.source == INVARIANTS[violation.invariant].source
    assert 0 <= violation.step <= len(violation.case.steps)
    program, command, text, option, name = shlex.split(violation.reproduce)
    assert (program, command, option) == ("ancfuzz", "run", "--implementation")
    assert name == violation.implementation
    assert json.loads(text)
    assert corpus.loads(text).steps == violation.case.steps


def convict(name: str) -> Violation:
    invariant, reach = PLANTED[name].invariant, PLANTED[name].reach
    report = check(
        f"planted:{name}",
        cases=1200,
        seed=SEED,
        invariants=[invariant],
        max_findings=1,
        corpus=[],
    )
    assert not report.ok
    found = {violation.invariant: violation for violation in report.violations}
    assert invariant in found, (found, report.not_judged)
    assert found[invariant].reach == reach
    return found[invariant]


def test_every_invariant_is_broken_by_a_bug() -> None:
    assert {plant.invariant for plant in PLANTED.values()} == set(INVARIANTS)


@pytest.mark.parametrize("name", sorted(PLANTED.keys() - HANGS))
def test_the_bug_is_found(name: str) -> None:
    violation = convict(name)
    looks_right(violation)
    if name not in RACES:
        assert violation.reproducible
        assert breaks_again(violation)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", sorted(HANGS))
def test_the_hang_is_found(name: str) -> None:
    violation = convict(name)
    looks_right(violation)
    assert violation.reproducible


# What has to be found within a few seconds, whoever looks for whatever: all invariants.
FIRST = {
    "DropsAnUnpaddedLast": "WALK.complete",
    "DropsWhatIsUnpadded": "FD.unreported",
    "SpaceAsLength": "LEN.cmsg_len",
    "SendsSpaceAsLength": "FD.count",
    "FirstOnlyRestClosed": "FD.count",
    "FirstOnlyRestForgotten": "LEAK.sent",
    "TruncationIgnored": "TRUNC.flag",
    "KeepsADuplicate": "LEAK.sent",
    "Inheritable": "CLOEXEC.received",
    "StaleBytesOfAFullTable": "FD.phantom",
}


def whole_check(name: str) -> Report:
    """The main job as a stranger runs it, but for the number of cases."""
    return check(f"planted:{name}", cases=500, seed=SEED)


@pytest.mark.parametrize("name", FIRST)
def test_a_short_run_finds_what_is_asked_of_it(name: str) -> None:
    report = whole_check(name)
    found = {violation.invariant: violation for violation in report.violations}
    assert FIRST[name] in found
    for violation in report.violations:
        looks_right(violation)
        assert violation.reproducible


def test_a_finding_is_made_small() -> None:
    steps = convict("FirstOnlyRestClosed").case.steps
    assert [type(step).__name__ for step in steps] == ["Open", "Send", "Receive"]
    assert isinstance(steps[1], Send)
    assert steps[1].messages == (NamedRights(("memfd", "memfd#1")),)
