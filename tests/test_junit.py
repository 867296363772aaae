"""JUnit XML: the shape that CI servers demand, and nothing lost on the way into it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz import corpus
from ancfuzz.case import Case, Decode
from ancfuzz.junit import to_junit
from ancfuzz.report import Judged, NotJudged, Report, Violation
from ancfuzz.transcript import Decoded, Environment, Transcript

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = datetime(2024, 2, 29, 12, 30, 5, tzinfo=UTC)
CASE = Case(steps=(Decode("00" * 16),), name="zeros", note="<&> ]]>")


def violation(invariant: str = "WALK.stops", **changes: object) -> Violation:
    fields: dict[str, object] = {
        "invariant": invariant,
        "reach": "hostile",
        "message": "went on behind a header that cannot be true",
        "implementation": "mine:Mine",
        "case": CASE,
        "transcript": Transcript((Decoded(),)),
        "source": "net/core/scm.c",
        "reproduce": "ancfuzz run zeros.anc.json --implementation mine:Mine",
        **changes,
    }
    return Violation(**fields)  # type: ignore[arg-type]  # checked where it is used


def report(**changes: object) -> Report:
    fields: dict[str, object] = {
        "ok": False,
        "implementation": "mine:Mine",
        "violations": (violation(),),
        "judged": Judged(
            phase={"replay": 3, "random": 4},
            family={"WALK": 6, "ROUND": 2},
            invariant={"WALK.stops": 6, "ROUND.decode": 2, "PEEK.data": 0},
        ),
        "not_judged": (NotJudged("no SO_PASSPIDFD", 5),),
        "seed": 1234567890123,
        "cases": 7,
        "seconds": 8.0,
        "environment": Environment(kernel="Linux 6.1", uid=1000),
        "version": "9.8.7",
        **changes,
    }
    return Report(**fields)  # type: ignore[arg-type]  # as above


def parsed(*reports: Report) -> ET.Element:
    return ET.fromstring(to_junit(reports, now=NOW))  # noqa: S314  (our own output)


class Element(NamedTuple):
    """What both the schema of Ant's JUnit task and that of Jenkins' plugin allow."""

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    children: tuple[str, ...] = ()


SCHEMA = {
    "testsuites": Element(children=("testsuite",)),
    "testsuite": Element(
        frozenset({"name", "timestamp", "hostname", "package", "id", "time"})
        | {"tests", "failures", "errors"},
        frozenset({"skipped"}),
        ("properties", "testcase", "system-out", "system-err"),
    ),
    "properties": Element(children=("property",)),
    "property": Element(frozenset({"name", "value"})),
    "testcase": Element(
        frozenset({"name", "classname", "time"}), children=("skipped", "failure")
    ),
    "skipped": Element(optional=frozenset({"message"})),
    "failure": Element(frozenset({"type"}), frozenset({"message"})),
    "system-out": Element(),
    "system-err": Element(),
}
ONCE = ("properties", "system-out", "system-err")


def faults(element: ET.Element) -> list[str]:
    """Where an element differs from the schema, and all that is in it."""
    rule = SCHEMA[element.tag]
    found = [
        f"{element.tag}: {name}"
        for name in {*element.keys()} ^ rule.required
        if name not in rule.optional
    ]
    tags = [child.tag for child in element]
    if tags != sorted(tags, key=rule.children.index):
        found.append(f"{element.tag}: children in the order {tags}")
    if element.tag == "testsuite" and any(tags.count(tag) != 1 for tag in ONCE):
        found.append(f"testsuite: not one each of {ONCE}")
    if element.tag == "testcase" and len(tags) > 1:
        found.append("testcase: failed and skipped")
    return found + [fault for child in element for fault in faults(child)]


NOTHING_JUDGED = report(violations=(), judged=Judged(), not_judged=(), seconds=0.0)


@pytest.mark.parametrize(
    "reports",
    [
        pytest.param((), id="none"),
        pytest.param((report(),), id="a finding"),
        pytest.param((report(violations=()), report()), id="two implementations"),
        pytest.param((NOTHING_JUDGED,), id="nothing judged"),
    ],
)
def test_the_schema_is_kept(reports: Sequence[Report]) -> None:
    root = parsed(*reports)
    assert faults(root) == []
    for suite in root:
        cases = suite.findall("testcase")
        assert int(suite.attrib["tests"]) == len(cases) > 0
        failures = suite.findall("testcase/failure")
        assert int(suite.attrib["failures"]) == len(failures)
        assert int(suite.attrib["skipped"]) == len(suite.findall("testcase/skipped"))
        assert suite.attrib["timestamp"] == "2024-02-29T12:30:05"


def test_there_is_a_testcase_for_each_invariant_that_was_judged() -> None:
    (suite,) = parsed(report())
    cases = {case.attrib["name"]: case for case in suite.iter("testcase")}
    assert set(cases) == {"WALK.stops", "ROUND.decode"}
    assert cases["WALK.stops"].attrib["classname"] == "ancfuzz.mine:Mine.WALK"
    assert cases["ROUND.decode"].find("failure") is None
    times = [float(case.attrib["time"]) for case in cases.values()]
    assert sum(times) == pytest.approx(8.0)


def test_a_failure_holds_what_it_takes_to_see_it_again() -> None:
    (suite,) = parsed(report())
    (failure,) = suite.iter("failure")
    assert failure.attrib == {
        "message": "went on behind a header that cannot be true",
        "type": "hostile",
    }
    text = failure.text or ""
    assert "ancfuzz run zeros.anc.json --implementation mine:Mine" in text
    assert "net/core/scm.c" in text
    assert corpus.loads(text[text.index("\n{") :]) == CASE


def test_a_broken_invariant_that_was_not_counted_is_there_all_the_same() -> None:
    (suite,) = parsed(report(violations=(violation("LEAK.sent"),), judged=Judged()))
    assert [case.attrib["name"] for case in suite.iter("testcase")] == ["LEAK.sent"]
    assert suite.attrib["failures"] == "1"


def test_what_could_not_be_judged_is_said() -> None:
    (suite,) = parsed(report())
    assert suite.findtext("system-out") == "not judged: 5 cases: no SO_PASSPIDFD"
    (suite,) = parsed(report(violations=(), judged=Judged()))
    (skipped,) = suite.iter("skipped")
    assert skipped.attrib["message"] == "5 cases: no SO_PASSPIDFD"


def test_properties_say_how_to_repeat_the_run() -> None:
    (suite,) = parsed(report())
    properties = {
        one.attrib["name"]: one.attrib["value"] for one in suite.iter("property")
    }
    assert properties["seed"] == "1234567890123"
    assert properties["version"] == "9.8.7"
    assert properties["kernel"] == "Linux 6.1"
    assert properties["cases.random"] == "4"


# Production [2] of XML 1.0; the rest of Unicode cannot be said, not even escaped.
XML = [(0x9, 0xA), (0xD, 0xD), (0x20, 0xD7FF), (0xE000, 0xFFFD), (0x10000, 0x10FFFF)]


def in_xml(text: str) -> str:
    return "".join(
        character
        if any(first <= ord(character) <= last for first, last in XML)
        else character.encode("unicode_escape", "backslashreplace").decode()
        for character in text
    )


@given(st.text(st.characters(exclude_categories=[])), st.text())
def test_every_text_can_be_said(odd: str, text: str) -> None:
    broken = violation(message=odd + text, source=odd)
    root = parsed(report(violations=(broken,), not_judged=(NotJudged(odd, 1),)))
    assert faults(root) == []
    (failure,) = root.iter("failure")
    assert failure.attrib["message"] == in_xml(odd + text)
