"""``check``: what becomes of reports, with a stand-in for the judges."""

from __future__ import annotations

import json
import os
import shlex
import signal
from contextlib import suppress
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from ancfuzz import corpus
from ancfuzz.case import Case, Decode
from ancfuzz.cli import session
from ancfuzz.cli.judging import DEFAULT_IMPLEMENTATIONS
from ancfuzz.errors import UsageError
from ancfuzz.report import Judged, NotJudged, Report, Violation
from ancfuzz.reproduction import run_command
from ancfuzz.transcript import Decoded, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from subprocess import CompletedProcess
    from typing import TypeAlias

    from ancfuzz.implementations import Subject

    Run: TypeAlias = Callable[..., CompletedProcess[str]]

    Reports: TypeAlias = dict[str, Report | BaseException]

CASE = Case((Decode("00" * 16),), name="two")


def complaint(done: CompletedProcess[str]) -> str:
    """The one line on standard error."""
    (line,) = done.stderr.splitlines()
    return line


def last_line(done: CompletedProcess[str]) -> str:
    return done.stdout.splitlines()[-1]


def violation(**changes: object) -> Violation:
    fields: dict[str, object] = {
        "invariant": "WALK.complete",
        "reach": "kernel",
        "message": "2 messages, 1 was read",
        "implementation": "reference",
        "case": CASE,
        "transcript": Transcript((Decoded(),)),
        **changes,
    }
    return Violation(**fields)  # type: ignore[arg-type]  # checked where it is used


def report(*violations: Violation, judged: int = 1, **changes: object) -> Report:
    fields: dict[str, object] = {
        "ok": not violations and bool(judged),
        "implementation": "reference",
        "violations": violations,
        "judged": Judged(phase={"random": judged}, invariant={"WALK.complete": judged}),
        "version": "0",
        **changes,
    }
    return Report(**fields)  # type: ignore[arg-type]  # as above


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> Reports:
    """What a stand-in for ``ancfuzz.check`` returns or raises, by implementation."""
    answers: Reports = {
        name: report(implementation=name) for name in DEFAULT_IMPLEMENTATIONS
    }

    def check(subject: Subject, **_: object) -> Report:
        answer = answers[subject.name]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(session, "check_implementation", check)
    return answers


def test_nothing_found(call: Run, reports: Reports) -> None:
    assert reports
    done = call("check", "--seed", "7")
    assert (done.returncode, done.stderr) == (0, "")
    assert "seed 7" in done.stdout.splitlines()[0]
    assert last_line(done) == "nothing found"


def test_a_violation_in_any_implementation(call: Run, reports: Reports) -> None:
    reports["cpython"] = report(violation(implementation="cpython"))
    done = call("check")
    assert done.returncode == 1
    assert shlex.split(last_line(done))[:2] == ["ancfuzz", "run"]
    assert last_line(done).endswith("--implementation cpython")


def test_nothing_could_be_judged(call: Run, reports: Reports) -> None:
    unjudged = (NotJudged("no such socket option", 9),)
    for name in reports:
        reports[name] = report(judged=0, not_judged=unjudged, implementation=name)
    done = call("check")
    assert done.returncode == 3
    for name in reports:
        assert f"{name}: 9 cases not judged: no such socket option" in done.stdout
    reports["reference"] = report()
    assert call("check").returncode == 0


def test_an_interrupted_run_reports_and_ends(
    call: Run,
    reports: Reports,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(subject: Subject, **_: object) -> Report:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        answer = reports[subject.name]
        assert isinstance(answer, Report)
        return answer

    monkeypatch.setattr(session, "check_implementation", interrupted)
    reports["reference"] = report(stopped="interrupted")
    done = call("check")
    assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, "")
    assert last_line(done) == "nothing found, interrupted"
    assert "cpython" not in done.stdout
    reports["reference"] = report(violation(), stopped="interrupted")
    done = call("check")
    assert done.returncode == 1
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_interruption_before_there_is_a_report(call: Run, reports: Reports) -> None:
    reports["cpython"] = KeyboardInterrupt()
    reports["reference"] = report(violation())
    done = call("check")
    assert done.returncode == 1
    assert complaint(done).startswith("ancfuzz: cpython: interrupted")


def test_one_that_cannot_be_performed_keeps_no_other_from_it(
    call: Run, folder: Path, reports: Reports
) -> None:
    reports["reference"] = UsageError("reference: its process exited")
    done = call("check", "--json", "report.json")
    assert done.returncode == 2
    assert complaint(done) == "ancfuzz: reference: its process exited"
    told = json.loads((folder / "report.json").read_bytes())
    assert [one["implementation"] for one in told["implementations"]] == ["cpython"]
    reports["cpython"] = report(violation(implementation="cpython"))
    assert call("check").returncode == 1


def test_what_was_found_before_a_defect_counts(
    call: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, found: Callable[[Violation], None], **__: object) -> Report:
        found(violation())
        raise ZeroDivisionError

    monkeypatch.setattr(session, "check_implementation", fails)
    done = call("check")
    assert done.returncode == 1
    assert "defect in ancfuzz" in done.stderr
    assert len([*(folder / ".ancfuzz" / "findings").iterdir()]) == 1


def test_a_defect_of_our_own_is_no_verdict(call: Run, reports: Reports) -> None:
    reports["reference"] = ZeroDivisionError("planted")
    done = call("check")
    assert done.returncode == 70
    assert "ZeroDivisionError: planted" in done.stderr
    assert "defect in ancfuzz" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--implementation", "refrence"), "did you mean reference?"),
        (("--implementation", "sown:Missing"), "has no attribute 'Missing'"),
        (("--implementation", "sown:struct"), "is no implementation"),
        (("--implementation", "nowhere:X"), "'nowhere' cannot be imported"),
        (("--invariant", "LEEK"), "'LEEK'"),
        (("--exclude-invariant", "*"), "no invariant is left"),
        (("--json", "missing/report.json"), "missing/report.json: cannot be written"),
        (("--junit", "."), ".: cannot be written"),
        (("--json", "-", "--junit", "-"), "one report only"),
    ],
    ids=repr,
)
def test_what_cannot_be_is_said_in_one_line_before_the_run(
    call: Run,
    reports: Reports,
    arguments: Sequence[str],
    said: str,
) -> None:
    reports["reference"] = AssertionError("it was run")
    done = call("check", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in complaint(done)


def test_all_names_that_are_wrong_are_said_at_once(call: Run) -> None:
    done = call("check", "-i", "nobody", "-i", "reference", "-i", "nothing")
    assert done.returncode == 2
    assert "'nobody'" in complaint(done)
    assert "'nothing'" in complaint(done)


@pytest.mark.parametrize(
    ("arguments", "bounds"),
    [
        ((), {"cases": None}),
        (("--time", "3"), {"cases": None, "seconds": 3.0}),
        (("--cases", "9"), {"cases": 9}),
        (("--cases", "9", "--time", "0.5"), {"cases": 9, "seconds": 0.5}),
    ],
)
def test_a_bound_that_nobody_asked_for_is_left_to_check(
    call: Run,
    monkeypatch: pytest.MonkeyPatch,
    arguments: Sequence[str],
    bounds: dict[str, float | None],
) -> None:
    asked: list[dict[str, object]] = []

    def check(subject: Subject, **options: object) -> Report:
        asked.append(options)
        return report(implementation=subject.name)

    monkeypatch.setattr(session, "check_implementation", check)
    assert call("check", *arguments).returncode == 0
    for options in asked:
        given = {"seconds", "cases"} & options.keys()
        assert {name: options[name] for name in given} == bounds
        assert options["seed"] == asked[0]["seed"]
        assert options["progress"] is None, "nobody watches a pipe"


# -- findings ------------------------------------------------------------------------


def test_a_finding_is_saved_as_a_case(
    call: Run,
    folder: Path,
    reports: Reports,
) -> None:
    reports["reference"] = report(violation())
    done = call("check", "--json", "report.json")
    (saved,) = (folder / ".ancfuzz" / "findings").iterdir()
    case = corpus.read(saved)
    assert case.steps == CASE.steps
    assert case.note == "2 messages, 1 was read"
    assert saved.name == f"WALK.complete-{corpus.case_id(case)}{corpus.SUFFIX}"
    assert (folder / ".ancfuzz" / ".gitignore").read_text(encoding="utf-8") == "*\n"
    path = saved.relative_to(folder)
    assert last_line(done) == f"ancfuzz run {path} --implementation reference"
    told = json.loads((folder / "report.json").read_bytes())
    assert told["violations"][0]["reproduce"] == last_line(done)


def test_another_folder_gets_no_gitignore(
    call: Run,
    folder: Path,
    reports: Reports,
) -> None:
    reports["reference"] = report(violation())
    done = call("check", "--findings", "-a b")
    (saved,) = (folder / "-a b").iterdir()
    assert shlex.split(last_line(done))[2] == f"./-a b/{saved.name}"


@pytest.mark.parametrize("name", ["sown.py/below", "\u6f22\n"])
def test_where_no_file_can_be_named_the_command_carries_the_case(
    call: Run, reports: Reports, name: str
) -> None:
    reports["reference"] = report(violation())
    done = call("check", "--findings", name)
    assert done.returncode == 1
    words = shlex.split(last_line(done))
    assert corpus.loads(words[2]).steps == CASE.steps
    assert ("cannot be saved" in done.stderr) == (name == "sown.py/below")


def test_a_case_that_is_too_long_for_an_argument_goes_through_a_pipe() -> None:
    case = Case((Decode("00" * 100_000),), note="x")
    line = run_command(case, "a b:C")
    assert line.startswith("printf %s '{")
    assert line.endswith("| ancfuzz run - --implementation 'a b:C'")


def test_what_could_be_reproduced_comes_first(call: Run, reports: Reports) -> None:
    reports["reference"] = report(
        violation(reproducible=False, message="once"),
        violation(invariant="WALK.stops"),
    )
    assert "WALK.stops-" in last_line(call("check"))


# -- reports -------------------------------------------------------------------------


def test_a_report_on_standard_output_has_it_for_itself(
    call: Run, reports: Reports
) -> None:
    reports["reference"] = report(violation())
    done = call("check", "--json", "-", "--junit", "report.xml")
    told = json.loads(done.stdout)
    assert (told["ok"], len(told["violations"])) == (False, 1)
    assert "WALK.complete" in done.stderr
    assert len([*ET.parse("report.xml").iter("testsuite")]) == 2  # noqa: S314


def test_an_earlier_report_stays_until_there_is_a_new_one(
    call: Run,
    folder: Path,
    reports: Reports,
) -> None:
    file = folder / "report.json"
    file.write_text("x" * 100_000, encoding="utf-8")
    reports["reference"] = ZeroDivisionError()
    assert call("check", "--json", "report.json", "--junit", "new.xml").returncode == 70
    assert file.stat().st_size == 100_000
    assert not (folder / "new.xml").exists()
    reports["reference"] = report()
    assert call("check", "--json", "report.json").returncode == 0
    assert json.loads(file.read_bytes())["ok"] is True


def test_a_report_to_a_pipe_that_nobody_reads_is_refused(
    call: Run, folder: Path
) -> None:
    os.mkfifo(folder / "pipe")
    done = call("check", "--json", "pipe")
    assert (done.returncode, done.stdout) == (2, "")
    assert "pipe: cannot be written" in complaint(done)


@pytest.mark.parametrize(("found", "status"), [((), 2), ((violation(),), 1)])
def test_a_full_disk_loses_the_report_and_not_the_findings(
    call: Run,
    reports: Reports,
    found: tuple[Violation, ...],
    status: int,
) -> None:
    reports["reference"] = report(*found)
    done = call("check", "--json", "/dev/full")
    assert done.returncode == status
    assert "/dev/full: No space left on device" in complaint(done)
    assert ("WALK.complete" in done.stdout) == bool(found)


def test_many_implementations_fit_a_narrow_screen(
    call: Run,
    reports: Reports,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reports["seed"] = report(implementation="seed", cases=1234)
    monkeypatch.setenv("COLUMNS", "40")
    names = [word for name in reports for word in ("-i", name)]
    done = call("check", *names)
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines()[1:])) <= 40
    assert "1,234" in done.stdout
