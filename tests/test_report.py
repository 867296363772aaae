"""Reports: plain JSON, there and back, and sums that add up."""

from __future__ import annotations

import json
from collections import Counter

import msgspec
import pytest

from ancfuzz import Report, check
from ancfuzz.report import merge, to_json
from tests.planted.crashes import Raises

SEEN_BY_USERS = {
    "ok",
    "violations",
    "judged",
    "not_judged",
    "seed",
}


@pytest.fixture(scope="module")
def reports() -> list[Report]:
    return [
        check("reference", cases=150, seed=1),
        check("cpython", cases=150, seed=1),
        check(Raises, cases=30, seed=1),
    ]


def test_a_report_is_plain_json_there_and_back(reports: list[Report]) -> None:
    for report in reports:
        text = msgspec.json.encode(report)
        assert msgspec.json.decode(text, type=Report) == report
        assert json.loads(text).keys() >= SEEN_BY_USERS


def test_what_was_found_is_in_it(reports: list[Report]) -> None:
    assert [report.ok for report in reports] == [True, True, False]
    found = json.loads(msgspec.json.encode(reports[2]))["violations"]
    assert "CRASH.exception" in {violation["invariant"] for violation in found}
    for violation in found:
        assert violation.keys() >= {
            "invariant",
            "reach",
            "message",
            "case",
            "transcript",
            "step",
            "reproduce",
        }
        assert violation["reach"] in ("kernel", "hostile", "policy")


def test_the_sum_is_of_its_parts(reports: list[Report]) -> None:
    whole = merge(reports)
    assert whole.keys() >= SEEN_BY_USERS
    assert not whole["ok"]
    assert merge(reports[:2])["ok"]
    assert whole["cases"] == sum(report.cases for report in reports)
    assert len(whole["violations"]) == len(reports[2].violations)
    assert isinstance(whole["implementations"], list)
    parts = [msgspec.to_builtins(report) for report in reports]
    assert whole["implementations"] == parts
    for field in ("phase", "family", "invariant", "rule", "folder"):
        total: Counter[str] = Counter()
        for report in reports:
            total.update(getattr(report.judged, field))
        assert whole["judged"][field] == total
    assert json.loads(to_json(reports)) == json.loads(json.dumps(whole))


def test_nothing_is_not_ok() -> None:
    assert merge([])["ok"] is False
    assert json.loads(to_json([]))["implementations"] == []
