"""Judges that acquit: what is right, and otherwise than most, is no violation."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ancfuzz import check
from tests.unusual import UNUSUAL

SLOW = {"ForksAndWaits": 40}  # cases: a fork takes as long as a dozen of them


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", sorted(UNUSUAL))
def test_nothing_is_found(name: str, seed: int) -> None:
    cases = SLOW.get(name, 300)
    report = check(f"unusual:{name}", cases=cases, seed=seed, corpus=[])
    found = [(v.invariant, v.message, v.reproduce) for v in report.violations]
    assert report.ok, found
    assert report.cases == cases


def test_the_shipped_corpus_acquits_them_too() -> None:
    for name in ("OnlyRights", "HidesRootAtTheEnd", "ShowsNoFlags"):
        report = check(f"unusual:{name}", cases=400, seed=3)
        assert report.ok, report.violations
        assert report.judged.phase.keys() == {"replay", "sweep", "random"}


def test_starvation_is_not_judged_and_says_so() -> None:
    report = check("unusual:OpensEachTime", cases=3000, seed=1, corpus=[])
    assert report.ok, report.violations
    assert any("starves" in one.reason for one in report.not_judged), report.not_judged


def test_what_an_api_cannot_say_is_not_judged_and_says_so() -> None:
    report = check("unusual:CannotSayCredentials", cases=500, seed=1, corpus=[])
    assert "descriptors only" in {one.reason for one in report.not_judged}
