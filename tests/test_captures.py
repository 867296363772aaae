"""The captures are what they say: recorded from real programs, and nothing private.

That no implementation of ours breaks a rule on them is what ``ancfuzz replay`` shows.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from ancfuzz import corpus
from ancfuzz.case import Case, Receive, Send, SendRaw, payload_bytes
from ancfuzz.recorder.programs import PROGRAMS
from ancfuzz.recorder.programs import __main__ as record

FOLDER = Path(str(files("ancfuzz.corpora") / "captures"))
FILES = sorted(corpus.case_files([FOLDER]))
SOURCE = re.compile(
    r"[^|]+\d[^|]* \| [^|]+\. \| Linux \d+\.\d+, \w+ \| \d{4}-\d\d-\d\d"
)


def program_of(case: Case) -> str:
    """The program of a case: the longest name in the table that it begins with."""
    found = [name for name in PROGRAMS if case.name.startswith(f"{name}-")]
    return max(found, key=len, default="")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_capture_says_where_it_comes_from_and_keeps_no_payload(path: Path) -> None:
    case = corpus.read(path)
    assert path.name == f"{case.name}{corpus.SUFFIX}"
    assert program_of(case)
    assert SOURCE.fullmatch(case.source), case.source
    for step in case.steps:
        if isinstance(step, Send | SendRaw):
            assert not any(payload_bytes(step.data))
    assert any(isinstance(step, Receive) for step in case.steps)
    assert re.search(r"/(tmp|root|home|work)\b", path.read_text("utf-8")) is None


def test_at_least_eight_programs_were_recorded() -> None:
    recorded = {program_of(corpus.read(path)) for path in FILES}
    assert len(recorded) >= 8
    assert recorded <= {*PROGRAMS}


def test_the_list_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "PATH", "/nowhere")
    assert record.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*PROGRAMS]
    assert "tmux             no tmux: apt install tmux" in lines


def test_what_was_asked_for_and_is_missing_is_a_failure(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(record, "PATH", "/nowhere")
    assert record.main(["--output", str(tmp_path), "tmux"]) == 1
    assert "left out: no tmux" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    with pytest.raises(SystemExit):
        record.main(["no-such-program"])
    assert "no such program: no-such-program" in capsys.readouterr().err
