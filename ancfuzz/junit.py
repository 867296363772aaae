"""JUnit XML: what CI servers read.

One ``testsuite`` for each implementation, one ``testcase`` for each invariant that was
judged: it failed if it was broken, and the failure holds the message, the case and the
command that shows it again.  What could not be judged is said in ``system-out``; where
nothing could be, the suite holds one skipped testcase, for an empty suite looks green.

All invariants are judged at once, so none has a time of its own: that of the suite is
shared out by the number of verdicts.

The elements, their attributes and their order are those that both the Ant schema and
the xUnit plugin of Jenkins accept.  This room must not know how a report was made.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from ancfuzz import corpus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ancfuzz.report import Report, Violation

__all__ = ["to_junit"]

# Everything that XML 1.0 has no way to say, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(reports: Sequence[Report], *, now: datetime | None = None) -> bytes:
    """Reports as JUnit XML.

    Args:
        reports: one for each implementation.
        now: the time that the suites bear; the present by default.
    """
    root = ET.Element("testsuites")
    timestamp = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S")
    for number, report in enumerate(reports):
        root.append(_suite(report, number, timestamp))
    ET.indent(root)
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _suite(report: Report, number: int, timestamp: str) -> ET.Element:
    broken = {violation.invariant: violation for violation in report.violations}
    verdicts = {**dict.fromkeys(broken, 1), **report.judged.invariant}
    judged = {id_: count for id_, count in verdicts.items() if count}
    suite = ET.Element(
        "testsuite",
        _attributes(
            name=f"ancfuzz.{report.implementation}",
            id=number,
            package="ancfuzz",
            hostname="localhost",
            timestamp=timestamp,
            tests=max(1, len(judged)),
            failures=len(broken),
            errors=0,
            skipped=0 if judged else 1,
            time=f"{report.seconds:.3f}",
        ),
    )
    _append_properties(suite, report)
    total = sum(judged.values())
    for id_, count in sorted(judged.items()):
        seconds = report.seconds * count / total
        suite.append(_testcase(report, id_, seconds, broken.get(id_)))
    reasons = [f"{one.cases} cases: {one.reason}" for one in report.not_judged]
    if not judged:
        case = _testcase(report, "nothing judged", 0.0, None)
        reason = "; ".join(reasons) or "no case was judged"
        ET.SubElement(case, "skipped", _attributes(message=reason))
        suite.append(case)
    _append_text(suite, "system-out", [f"not judged: {reason}" for reason in reasons])
    _append_text(suite, "system-err", ())
    return suite


def _append_properties(suite: ET.Element, report: Report) -> None:
    environment = report.environment
    properties = ET.SubElement(suite, "properties")
    for name, value in {
        "implementation": report.implementation,
        "seed": report.seed,
        "version": report.version,
        "cases": report.cases,
        "stopped": report.stopped,
        "kernel": environment.kernel,
        "uid": environment.uid,
        **{f"cases.{phase}": count for phase, count in report.judged.phase.items()},
    }.items():
        ET.SubElement(properties, "property", _attributes(name=name, value=value))


def _testcase(
    report: Report, id_: str, seconds: float, violation: Violation | None
) -> ET.Element:
    family = id_.partition(".")[0]
    case = ET.Element(
        "testcase",
        _attributes(
            name=id_,
            classname=f"ancfuzz.{report.implementation}.{family}",
            time=f"{seconds:.3f}",
        ),
    )
    if violation is not None:
        attributes = _attributes(message=violation.message, type=violation.reach)
        _append_text(
            case,
            "failure",
            (
                violation.message,
                f"reach: {violation.reach}",
                f"seen in {violation.seen} cases, phase {violation.phase}",
                f"source: {violation.source}",
                f"reproduce: {violation.reproduce}",
                corpus.pretty(violation.case),
            ),
        ).attrib.update(attributes)
    return case


def _append_text(parent: ET.Element, tag: str, lines: Iterable[str]) -> ET.Element:
    element = ET.SubElement(parent, tag)
    element.text = _sayable("\n".join(lines))
    return element


def _attributes(**values: object) -> dict[str, str]:
    return {name: _sayable(str(value)) for name, value in values.items()}


def _sayable(text: str) -> str:
    """Text with what XML cannot say as Python's escapes."""
    return _NOT_XML.sub(lambda match: ascii(match[0])[1:-1], text)
