"""The main job: what it is spread over, what bounds it, and that it repeats."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ancfuzz import (
    Implementation,
    Report,
    UsageError,
    Violation,
    check,
    checking,
    replay,
)
from ancfuzz.case import Case, Decode, Open, Receive, Send, SetOption
from ancfuzz.invariants import FAMILIES, INVARIANTS
from ancfuzz.shipped import FOLDERS, shipped_cases
from ancfuzz.sweeps import Sweep, sweeps
from tests.planted.crashes import Raises
from tests.planted.descriptors import FirstOnlyRestForgotten
from tests.planted.encoders import SpaceAsLength

if TYPE_CHECKING:
    from ancfuzz import Abi
    from ancfuzz.checking import Progress

PLAIN = Case((Open(), Send("a"), Receive("b")))


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])


def essence(report: Report) -> object:
    """A report without what a clock or a host says."""
    return (
        report.ok,
        report.cases,
        report.stopped,
        report.judged,
        report.not_judged,
        [
            (v.invariant, v.message, v.case, v.step, v.phase, v.seen, v.reproduce)
            for v in report.violations
        ],
    )


@pytest.fixture(scope="module")
def thorough() -> Report:
    return check("reference", cases=2000, seed=5)


def test_nothing_is_found_in_the_reference(thorough: Report) -> None:
    assert thorough.violations == ()
    assert thorough.ok
    assert (thorough.cases, thorough.stopped, thorough.seed) == (2000, "cases", 5)


def test_a_short_run_touches_everything(thorough: Report) -> None:
    judged = thorough.judged
    assert judged.phase.keys() == {"replay", "sweep", "random"}
    assert min(judged.phase.values()) > 100
    assert judged.family.keys() == FAMILIES.keys()
    assert judged.invariant.keys() == INVARIANTS.keys()
    assert judged.folder.keys() == {folder for folder, _ in shipped_cases()}
    assert judged.folder.keys() <= set(FOLDERS)
    assert sum(judged.folder.values()) <= judged.phase["replay"]
    for family, count in judged.family.items():
        parts = [
            n for id_, n in judged.invariant.items() if id_.startswith(family + ".")
        ]
        assert sum(parts) == count > 0


def test_a_short_run_takes_from_every_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {sweep.name for sweep in sweeps()}
    taken: set[str] = set()

    def noted(abi: Abi) -> tuple[Sweep, ...]:
        def note(sweep: Sweep) -> Sweep:
            def make(*point: object) -> Case:
                taken.add(sweep.name)
                return sweep.make(*point)

            return Sweep(sweep.name, sweep.axes, make)

        return tuple(map(note, sweeps(abi)))

    monkeypatch.setattr("ancfuzz.checking.sweeps", noted)
    check("reference", cases=200, seed=1)
    assert taken == whole


@pytest.mark.parametrize("name", ["reference", "cpython", "planted:SpaceAsLength"])
def test_the_same_seed_and_count_give_the_same_report(name: str) -> None:
    first = check(name, cases=150, seed=11)
    assert essence(check(name, cases=150, seed=11)) == essence(first)
    assert essence(check(name, cases=150, seed=12)) != essence(first)


def test_the_seed_is_drawn_and_told() -> None:
    first = check("reference", cases=20)
    again = check("reference", cases=20, seed=first.seed)
    assert essence(first) == essence(again)
    assert first.seed != check("reference", cases=1).seed


@pytest.mark.parametrize("cases", [0, 1, 7])
def test_the_count_is_exact(cases: int) -> None:
    report = check("reference", cases=cases, seed=1)
    assert report.cases == cases
    assert report.ok == (cases > 0)


def test_the_time_is_a_bound() -> None:
    report = check("reference", seconds=0.3, seed=1)
    assert report.stopped == "time"
    assert report.cases > 0
    assert report.ok


def test_no_time_is_no_case() -> None:
    report = check("reference", seconds=0, seed=1)
    assert (report.cases, report.ok, report.stopped) == (0, False, "time")
    with pytest.raises(UsageError, match="-1"):
        check("reference", seconds=-1)


def test_findings_are_a_bound() -> None:
    report = check("planted:LevelAndTypeSwapped", cases=500, seed=1, max_findings=1)
    assert report.stopped == "findings"
    assert len(report.violations) == 1
    assert report.cases < 500


def test_each_invariant_is_one_violation() -> None:
    report = check(FirstOnlyRestForgotten, cases=200, seed=1, corpus=[])
    ids = [violation.invariant for violation in report.violations]
    assert len(ids) == len(set(ids)) > 1
    assert max(violation.seen for violation in report.violations) > 5


def test_only_what_is_chosen_is_judged() -> None:
    report = check(SpaceAsLength, cases=100, seed=1, invariants=["LEN", "CAP.fits"])
    assert {id_.partition(".")[0] for id_ in report.judged.invariant} == {"LEN", "CAP"}
    assert [v.invariant for v in report.violations] == ["LEN.cmsg_len"]
    others = check(SpaceAsLength, cases=100, seed=1, exclude=["LEN.cmsg_len"])
    assert "LEN.cmsg_len" not in {v.invariant for v in others.violations}
    assert "LEN.cmsg_len" not in others.judged.invariant
    with pytest.raises(UsageError, match="LENGTH"):
        check(SpaceAsLength, cases=1, invariants=["LENGTH"])


def test_an_interruption_ends_it_with_what_was_found() -> None:
    def interrupt(progress: Progress) -> None:
        if progress.violations > 1:
            os.kill(os.getpid(), signal.SIGINT)

    report = check("planted:OneMore", seconds=60, seed=1, corpus=[], progress=interrupt)
    assert report.stopped == "interrupted"
    assert "LEN.total" in {violation.invariant for violation in report.violations}
    assert report.cases > 0


def test_progress_is_told() -> None:
    told: list[Progress] = []
    check("reference", seconds=0.8, seed=1, progress=told.append)
    assert told
    assert [one.cases for one in told] == sorted(one.cases for one in told)
    assert {one.implementation for one in told} == {"reference"}
    assert {one.phase for one in told} <= {"replay", "sweep", "random"}
    assert told[-1].budget_seconds == 0.8


class Nothing(Implementation):
    """Overrides nothing."""


class OnlyCloses(Implementation):
    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("cls", [Nothing, OnlyCloses])
def test_what_tests_nothing_is_not_ok_and_says_why(cls: type[Implementation]) -> None:
    report = check(cls, cases=50, seed=1)
    assert not report.ok
    assert report.violations == ()
    (reason,) = report.not_judged
    assert "overrides no operation" in reason.reason


def test_a_class_of_a_function_is_checked() -> None:
    class Local(SpaceAsLength):
        pass

    report = check(Local, cases=20, seed=1, corpus=[])
    assert "LEN.cmsg_len" in {violation.invariant for violation in report.violations}


def test_an_instance_and_a_callable_are_checked() -> None:
    for found in (SpaceAsLength(), lambda: SpaceAsLength()):  # noqa: PLW0108
        report = check(found, cases=20, seed=1, corpus=[])
        assert "LEN.cmsg_len" in {v.invariant for v in report.violations}


# -- replay -------------------------------------------------------------------------


def test_replay_performs_what_it_is_given_and_nothing_else() -> None:
    report = replay("reference", [("mine", PLAIN), ("mine", PLAIN), ("yours", PLAIN)])
    assert report.ok
    assert (report.cases, report.stopped) == (3, "exhausted")
    assert report.judged.folder == {"mine": 2, "yours": 1}
    assert report.judged.phase == {"replay": 3}


def test_replay_finds_and_names_the_phase() -> None:
    (violation, *_) = replay(Raises, [("mine", PLAIN)]).violations
    assert isinstance(violation, Violation)
    assert (violation.invariant, violation.phase) == ("CRASH.exception", "replay")


def test_a_case_that_does_not_concern_it_is_not_counted() -> None:
    report = replay(Raises, [("mine", Case((Decode(""),)))])
    assert (report.cases, report.ok) == (0, False)
    assert [one.reason for one in report.not_judged] == [
        "no case concerned its operations"
    ]


def test_what_a_kernel_lacks_is_not_judged_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(__import__("ancfuzz.host").host.OPTIONS, "SO_PASSCRED")
    case = Case((Open(), SetOption("b", "SO_PASSCRED"), Send("a"), Receive("b")))
    report = replay("reference", [("mine", case)])
    assert report.violations == ()
    assert any("SO_PASSCRED" in one.reason for one in report.not_judged)


# -- told as it comes ------------------------------------------------------------------


def test_what_is_found_is_told_at_once_and_again_when_it_is_smaller() -> None:
    told: list[Violation] = []
    report = check("planted:SpaceAsLength", cases=200, seed=1, found=told.append)
    assert {one.invariant for one in told} == {v.invariant for v in report.violations}
    for violation in report.violations:
        first, *later = (v for v in told if v.invariant == violation.invariant)
        last = later[-1] if later else first
        assert (last.case, last.reproduce) == (violation.case, violation.reproduce)
        assert len(last.case.steps) <= len(first.case.steps)
    assert len(told) > len(report.violations), "something could be made smaller"


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ({}, 20.0),
        ({"cases": 5}, None),
        ({"cases": 5, "seconds": 20.0}, 20.0),
        ({"seconds": None}, None),
    ],
)
def test_a_time_that_nobody_asked_for_gives_way_to_a_count(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], seconds: float | None
) -> None:
    class Begun(Exception):
        """The run would begin."""

    def run(_: object, **options: object) -> None:
        assert options["seconds"] == seconds
        raise Begun

    monkeypatch.setattr(checking, "Run", run)
    with pytest.raises(Begun):
        check("reference", **asked)
