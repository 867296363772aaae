"""What ships: every case is read, means what it says, and convicts nobody who is right.

Of each vector somebody wrote down by hand, from the rules, what comes of it
(``data/vector-outcomes.json``).  So there are three opinions here, of the kernel, of
the model and of people, and all three have to agree.
"""

from __future__ import annotations

import json
import re
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

import ancfuzz
from ancfuzz import corpus
from ancfuzz.abi import NATIVE
from ancfuzz.case import (
    Case,
    Decode,
    Encode,
    EncodeInto,
    Message,
    NamedCredentials,
    NamedPidfd,
    NamedRights,
    Receive,
    Send,
    SendAll,
    SendRaw,
    SetOption,
    Table,
)
from ancfuzz.implementations import resolve
from ancfuzz.judging import Judge, Performance
from ancfuzz.model import RULES
from ancfuzz.shipped import FOLDERS, shipped_cases
from ancfuzz.transcript import (
    Answer,
    Decoded,
    Encoded,
    EncodedInto,
    Failed,
    Got,
    Malformation,
    NotPerformed,
    Sent,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ancfuzz.transcript import Environment

ROOT = Path(ancfuzz.corpora.__path__[0])
VECTORS = ROOT / "vectors"
OUTCOMES = Path(__file__).with_name("data") / "vector-outcomes.json"
SUBJECTS = sorted(path.name for path in VECTORS.iterdir() if path.is_dir())
FEWEST_VECTORS = 120
# Older kernels lack these.
MAY_BE_MISSING = {"SO_PASSPIDFD", "SO_PASSRIGHTS", "SO_INQ"}


@cache
def files(folder: str) -> tuple[Path, ...]:
    return tuple(corpus.case_files([ROOT / folder]))


@cache
def vectors() -> dict[str, Case]:
    return {case.name: case for _, case in shipped_cases(("vectors",))}


def table(markdown: Path, heading: str) -> list[list[str]]:
    """The rows of the first table whose first column is headed so, cells stripped."""
    lines = markdown.read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows: list[list[str]] = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def backticked(cells: Iterable[str]) -> list[str]:
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


# -- the files -----------------------------------------------------------------------


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_is_written_as_it_would_be_written_again(folder: str) -> None:
    for path in files(folder):
        case = corpus.read(path)
        assert path.read_text(encoding="utf-8") == corpus.pretty(case), path
        assert path.name == f"{case.name}{corpus.SUFFIX}"


def test_no_two_cases_are_called_the_same() -> None:
    names = [case.name for _, case in shipped_cases()]
    assert len(set(names)) == len(names)


def test_everything_is_shipped_and_counted_by_its_folder() -> None:
    shipped = [(folder, case.name) for folder, case in shipped_cases()]
    assert shipped == [
        (folder, path.name.removesuffix(corpus.SUFFIX))
        for folder in FOLDERS
        for path in files(folder)
    ]
    assert list(shipped_cases(("captures", "nowhere"))) == list(
        shipped_cases(("captures",))
    )


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_case_says_where_it_comes_from(folder: str) -> None:
    for path in files(folder):
        assert corpus.read(path).source, path


def test_the_schema_is_that_of_the_classes() -> None:
    path = ROOT / "schema" / "case.schema.json"
    made = json.dumps(corpus.schema(), indent=2, sort_keys=True) + "\n"
    assert path.read_text(encoding="utf-8") == made, "corpora/README.md says how"


def test_every_case_is_valid_by_the_schema() -> None:
    schema = json.loads((ROOT / "schema" / "case.schema.json").read_bytes())
    validator: Any = jsonschema.Draft202012Validator(schema)
    for folder in FOLDERS:
        for path in files(folder):
            validator.validate(json.loads(path.read_bytes()))


# -- the vectors ---------------------------------------------------------------------


def test_there_are_vectors_for_everything() -> None:
    assert len(vectors()) >= FEWEST_VECTORS
    described = backticked(row[0] for row in table(VECTORS / "README.md", "folder"))
    assert sorted(described) == SUBJECTS
    assert all(any((VECTORS / subject).iterdir()) for subject in SUBJECTS)


def test_every_script_is_there_once() -> None:
    known: dict[str, str] = {}
    for name, case in vectors().items():
        assert known.setdefault(corpus.case_id(case), name) == name


def test_every_vector_says_why_it_is_there() -> None:
    for name, case in vectors().items():
        assert case.note.endswith((".", ".)")), name
        assert case.flags, name
        assert len(set(case.flags)) == len(case.flags), name


def test_every_flag_is_defined_and_used() -> None:
    rows = table(VECTORS / "README.md", "flag")
    defined = backticked(flag for flag, _, _ in rows)
    assert defined == sorted(set(defined))
    used = {flag for case in vectors().values() for flag in case.flags}
    assert set(defined) == used
    assert all(meaning for _, _, meaning in rows)


def test_every_bug_type_is_defined_and_used() -> None:
    text = (VECTORS / "README.md").read_text(encoding="utf-8")
    defined = set(re.findall(r"^- `([A-Z_]+)`: ", text, re.MULTILINE))
    assert {kind for _, kind, _ in table(VECTORS / "README.md", "flag")} == defined


def test_every_rule_has_a_vector_and_no_other_is_cited() -> None:
    cited = {
        rule
        for case in vectors().values()
        for rule in re.findall(r"\b([SCR]\d+p?) \(", case.source)
    }
    others = backticked(row[0] for row in table(VECTORS / "README.md", "rule"))
    assert cited == {*RULES, *others}
    assert not {*RULES} & {*others}


# -- the texts -----------------------------------------------------------------------


def blocks(markdown: Path, language: str) -> list[str]:
    text = markdown.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_example_of_a_case_is_one_and_is_well_written() -> None:
    (text,) = blocks(ROOT / "README.md", "json")
    assert corpus.pretty(corpus.loads(text)) == text


def test_the_example_in_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks(ROOT / "README.md", "python")
    exec(code, {})  # noqa: S102  (our own)
    assert len(capsys.readouterr().out.splitlines()) == len(vectors())


def test_the_folders_are_described() -> None:
    described = backticked(row[0] for row in table(ROOT / "README.md", "folder"))
    there = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"__pycache__"}
    assert {name.rstrip("/") for name in described} == there


# -- what comes of them --------------------------------------------------------------


def _ids(value: int | str, own: int) -> int:
    return own if value == "self" else int(value)


def _counted(names: tuple[str, ...]) -> str:
    """Names as a list in a case would have them: counted up, or so many times."""
    items: list[str] = []
    for name, run in groupby(names):
        stem, mark, number = name.partition("#")
        times = len([*run])
        before = items[-1].partition("#") if items else ("", "", "")
        last = before[2].rpartition("..")[2]
        if (times, before[0], last) == (1, stem, f"{int(number or 0) - 1}"):
            first = before[2].partition("..")[0]
            items[-1] = f"{stem}{mark}{first}..{number}"
        else:
            items.append(name if times == 1 else f"{name}*{times}")
    return " ".join(items)


def _message(message: Message, environment: Environment) -> str:
    match message:
        case NamedRights():
            stray = f"+{message.stray}" if message.stray else ""
            return f"rights({_counted(message.names())}{stray})"
        case NamedCredentials():
            uid = _ids(message.uid, environment.uid)
            gid = _ids(message.gid, environment.gid)
            return f"credentials({message.pid} {uid} {gid})"
        case NamedPidfd():
            return f"pidfd({message.of})"
        case _:
            size = len(message.data) // 2
            return f"message({message.level} {message.type} {size} bytes)"


def _repeated(data: str) -> str:
    """Hex in which four bytes that come eight times and more are counted."""
    return re.sub(r"([0-9a-f]{8})\1{7,}", lambda m: f"({m[1]}*{len(m[0]) // 8})", data)


def outcome(answer: Answer, environment: Environment) -> str:
    """An answer in the words of ``vector-outcomes.json``."""
    match answer:
        case Sent(count):
            return f"sent {count}"
        case Failed(errno):
            return errno
        case Got():
            words = [answer.data or "empty"]
            words += [_message(message, environment) for message in answer.messages]
            flags = set(answer.flags or ()) - {"MSG_CMSG_CLOEXEC"}
            words += sorted((flag.removeprefix("MSG_") for flag in flags), reverse=True)
            if answer.control_length is not None:
                words.append(f"controllen={answer.control_length}")
            return " ".join(words)
        case Encoded(control):
            return "refused" if control is None else _repeated(control) or "empty"
        case EncodedInto(count, buffer):
            said = "refused" if count is None else str(count)
            return f"{said} {_repeated(buffer) or 'empty'}"
        case Decoded(messages, None):
            read = [f"{m.level}/{m.type}:{_repeated(m.data)}" for m in messages]
            return ", ".join(read) or "no messages"
        case Decoded(_, Malformation(offset, needed, available)):
            return f"malformed at {offset}: {needed} needed, {available} available"
        case _:
            return repr(answer)


TELLING = (Decode, Encode, EncodeInto, Receive, Send, SendAll, SendRaw)


def told(case: Case, one: Performance) -> list[str]:
    """What came of the steps that have something to say, as far as they were done."""
    return [
        outcome(answer, one.transcript.environment)
        for step, answer in zip(case.steps, one.transcript.answers, strict=False)
        if isinstance(step, TELLING) and not isinstance(answer, NotPerformed)
    ]


@cache
def predictions() -> dict[str, list[str] | dict[str, list[str] | str]]:
    return dict(json.loads(OUTCOMES.read_bytes()))


def predicted(name: str, environment: Environment) -> list[str]:
    """What was written down of a vector, for somebody with these privileges."""
    said = predictions()[name]
    if isinstance(said, dict):
        granted = said["needs"] in environment.capabilities
        said = [*said["granted" if granted else "refused"]]
    return [one.format(uid=environment.uid, gid=environment.gid) for one in said]


def test_somebody_predicted_what_comes_of_each_vector() -> None:
    assert set(predictions()) == set(vectors())
    assert list(predictions()) == sorted(predictions())


def may_stop(case: Case, environment: Environment) -> bool:
    """Whether a host may be unable to perform all of a case."""
    return any(
        isinstance(step, Table)
        or (
            isinstance(step, SetOption)
            and step.option in MAY_BE_MISSING - {*environment.features}
        )
        for step in case.steps
    )


@pytest.mark.skipif(
    (NATIVE.header_size, NATIVE.byte_order) != (16, "little"),
    reason="capacities and raw bytes are those of 64-bit little-endian layouts",
)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_what_comes_of_them_is_what_was_predicted(subject: str) -> None:
    wrong: dict[str, tuple[list[str], list[str]]] = {}
    with Judge(resolve("reference")) as judging:
        for path in files(f"vectors/{subject}"):
            case = corpus.read(path)
            one = judging.perform(case, "")
            assert not one.breaches, (case.name, one.breaches)
            environment = one.transcript.environment
            expected, observed = predicted(case.name, environment), told(case, one)
            if one.not_judged:
                assert may_stop(case, environment), (case.name, one.not_judged)
                expected = expected[: len(observed)]
            if expected != observed:
                wrong[case.name] = expected, observed
    assert wrong == {}


@pytest.mark.parametrize("name", ["reference", "cpython"])
def test_nothing_is_found_in_what_is_right(name: str) -> None:
    report = ancfuzz.replay(name, shipped_cases())
    assert report.violations == ()
    assert report.ok
    assert set(report.judged.folder) >= {"captures", "vectors"}
    if name == "reference":
        assert report.judged.folder["vectors"] == len(vectors())
        assert set(report.judged.rule) == set(RULES)
