"""Files: full disks, read-only folders, reports that replace, cases that are none."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from ancfuzz import corpus
from ancfuzz.case import Case, Decode
from ancfuzz.cli.destinations import destinations
from ancfuzz.cli.findings import Keeper
from ancfuzz.cli.inputs import labelled_cases
from ancfuzz.errors import UsageError
from ancfuzz.report import Report, Violation
from ancfuzz.transcript import Decoded, Transcript
from tests.machine import (
    ANCFUZZ,
    TWO_FILE,
    TWO_MESSAGES,
    Machine,
    may_mount,
    on_a_tmpfs,
    under,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GIB = 1 << 30


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.close()


# -- mounted for the test alone --------------------------------------------------------

mounted = pytest.mark.skipif(
    not may_mount(), reason="nothing may be mounted here, not even in a namespace"
)
READ_ONLY = "ro"
WRONG = "replay", TWO_FILE, "-i", "stubborn:Wrong"


@mounted
@pytest.mark.parametrize(
    ("options", "reason"),
    [("size=4k,nr_inodes=1", "No space left"), (READ_ONLY, "Read-only file system")],
)
def test_findings_that_cannot_be_saved_are_told(
    machine: Machine, options: str, reason: str
) -> None:
    place = machine.folder / "kept"
    place.mkdir()
    program = on_a_tmpfs(options, place)
    done = machine.run(*WRONG, "--findings", "kept", program=program)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"ancfuzz: kept: findings cannot be saved: {reason}")
    command = done.stdout.splitlines()[-1]
    assert command.startswith("ancfuzz run '{"), "it carries the case itself"


@mounted
def test_a_report_on_a_read_only_folder_is_refused_before_the_run(
    machine: Machine,
) -> None:
    place = machine.folder / "kept"
    place.mkdir()
    program = on_a_tmpfs(READ_ONLY, place)
    done = machine.run(*WRONG, "--json", "kept/report.json", program=program)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line == (
        "ancfuzz: kept/report.json: cannot be written: Read-only file system"
    )


FILLS = 'echo earlier > "$1/report.json" && shift && exec "$@"'


@mounted
def test_a_full_disk_loses_the_report_and_neither_findings_nor_the_earlier_one(
    machine: Machine,
) -> None:
    place = machine.folder / "kept"
    place.mkdir()
    looks = '"$@"; status=$?; cat kept/report.json; ls -A kept; exit $status'
    # Room for the earlier report, and to try; none for a new one.
    program = on_a_tmpfs(
        "size=8k",
        place,
        ["sh", "-c", FILLS, "sh", str(place), "sh", "-c", looks, "sh", *ANCFUZZ],
    )
    done = machine.run(*WRONG, "--json", "kept/report.json", program=program)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line == "ancfuzz: kept/report.json: No space left on device: report lost"
    *printed, earlier, left = done.stdout.splitlines()
    assert (earlier, left) == ("earlier", "report.json")
    assert printed[-1].startswith("ancfuzz run .ancfuzz/findings/")
    assert len(machine.cases()) == 1


# The disk fills up when Python has made sure that it can be written.
FILLS_UP = """
import os, sys, tempfile
from ancfuzz.cli import main

folder = tempfile.gettempdir()
assert folder == os.environ["TMPDIR"]
with open(os.path.join(folder, "full"), "wb") as file:
    file.write(b"x")
sys.exit(main())
"""


@mounted
def test_temporary_files_need_no_disk(machine: Machine) -> None:
    """Neither the page that is shared with a worker, nor what an implementation prints.

    A page of a file that a full disk has no room for is a SIGBUS.
    """
    program = sys.executable, "-c", FILLS_UP
    arguments = "run", TWO_FILE, "-i", "stubborn:Prints", "--json"
    on_one_page = on_a_tmpfs("size=4k", machine.scratch, program)
    done = machine.run(*arguments, program=on_one_page)
    (performed,) = json.loads(done.stdout)["performances"]
    assert performed["observed"]["answers"] == performed["accepted"]["answers"]
    assert [one["invariant"] for one in performed["violations"]] == ["CRASH.output"]


@mounted
def test_without_a_folder_for_temporary_files(machine: Machine) -> None:
    program = on_a_tmpfs(READ_ONLY, machine.scratch)
    done = machine.run("replay", TWO_FILE, "-i", "stubborn:Right", program=program)
    assert (done.returncode, done.stderr) == (0, "")


# -- findings --------------------------------------------------------------------------


def violation(case: Case, implementation: str = "mine:X") -> Violation:
    return Violation(
        invariant="WALK.complete",
        reach="kernel",
        message="2 messages, 1 was read",
        implementation=implementation,
        case=case,
        transcript=Transcript((Decoded(),)),
    )


SMALLER = Case((Decode("00" * 16),))


def test_the_smaller_case_takes_the_place_of_the_first(tmp_path: Path) -> None:
    keeper = Keeper(str(tmp_path))
    keeper.save(violation(TWO_MESSAGES))
    (first,) = tmp_path.iterdir()
    keeper.save(violation(SMALLER))
    (second,) = tmp_path.iterdir()
    assert first != second
    found = (violation(SMALLER),)
    report = keeper.keep(Report(ok=False, implementation="x", violations=found))
    assert str(second) in report.violations[0].reproduce
    assert [*tmp_path.iterdir()] == [second]


def test_a_file_that_another_finding_needs_stays(tmp_path: Path) -> None:
    keeper = Keeper(str(tmp_path))
    keeper.save(violation(TWO_MESSAGES, "mine:X"))
    keeper.save(violation(TWO_MESSAGES, "mine:Y"))
    keeper.save(violation(SMALLER, "mine:X"))
    assert len([*tmp_path.iterdir()]) == 2
    keeper.save(violation(SMALLER, "mine:Y"))
    assert len([*tmp_path.iterdir()]) == 1


def test_a_file_of_an_earlier_run_stays(tmp_path: Path) -> None:
    Keeper(str(tmp_path)).save(violation(TWO_MESSAGES))
    keeper = Keeper(str(tmp_path))
    keeper.save(violation(TWO_MESSAGES))
    keeper.save(violation(SMALLER))
    assert len([*tmp_path.iterdir()]) == 2


def test_what_could_not_be_saved_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "in the way").write_text("a file", encoding="ascii")
    keeper = Keeper(str(tmp_path / "in the way"))
    keeper.save(violation(TWO_MESSAGES))
    errors = [keeper.error]
    assert isinstance(errors[0], OSError)
    (tmp_path / "in the way").unlink()
    found = (violation(TWO_MESSAGES),)
    report = keeper.keep(Report(ok=False, implementation="x", violations=found))
    errors.append(keeper.error)
    assert errors[1] is None
    assert "in the way" in report.violations[0].reproduce


# -- reports ---------------------------------------------------------------------------


def write(name: object, content: bytes = b"new") -> None:
    with destinations(str(name)) as (destination,):
        assert destination is not None
        destination.write(content)


def test_a_report_replaces_a_file_and_keeps_its_permissions(tmp_path: Path) -> None:
    file = tmp_path / "report"
    file.write_text("an earlier one", encoding="ascii")
    file.chmod(0o640)
    with file.open("rb") as reader:
        write(file)
        assert reader.read() == b"an earlier one", "who reads it has it whole"
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [*tmp_path.iterdir()] == [file]


def test_a_new_report_has_the_permissions_of_a_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write(tmp_path / "report")
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_what_it_leads_to_is_replaced(
    tmp_path: Path, exists: bool
) -> None:
    (tmp_path / "below").mkdir()
    target = tmp_path / "below" / "target"
    if exists:
        target.write_text("an earlier and longer one", encoding="ascii")
    (tmp_path / "via").symlink_to("below/target")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "via")
    write(link)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert [*(tmp_path / "below").iterdir()] == [target]


def test_a_file_with_two_names_keeps_both(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("an earlier and longer one", encoding="ascii")
    two.hardlink_to(one)
    write(one)
    assert one.read_bytes() == two.read_bytes() == b"new"


@pytest.mark.skipif(sys.platform != "linux", reason="the links of /proc")
@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}", "link"])
def test_an_open_file_is_written_and_not_replaced(tmp_path: Path, name: str) -> None:
    file = tmp_path / "file"
    with file.open("w+b") as opened:
        (tmp_path / "link").symlink_to(f"/dev/fd/{opened.fileno()}")
        write(tmp_path / name.format(opened.fileno()))
        assert opened.read() == b"new"
        assert os.path.samestat(os.fstat(opened.fileno()), file.stat())


def test_a_pipe_gets_it_all(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader:
        write(f"/dev/fd/{writing}")
        os.close(writing)
        assert reader.read() == b"new"


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "folder", "folder/", "new/", "missing/x", "x" * 256, "loop", "\0"],
)
def test_what_cannot_be_written_is_told_and_nothing_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match="cannot be written"), destinations(name):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "loop"}


def test_a_name_as_long_as_a_name_can_be(tmp_path: Path) -> None:
    write(tmp_path / ("x" * 255))
    assert len([*tmp_path.iterdir()]) == 1


def test_trying_leaves_nothing_behind(tmp_path: Path) -> None:
    with destinations(str(tmp_path / "report")):
        assert [*tmp_path.iterdir()] == []
    assert [*tmp_path.iterdir()] == []


# -- cases -----------------------------------------------------------------------------


@pytest.fixture
def corpus_of_horrors(machine: Machine) -> Path:
    place = machine.folder / "horrors"
    place.mkdir()
    with (place / "huge.anc.json").open("wb") as file:
        file.truncate(GIB)
    os.mkfifo(place / "fifo.anc.json")
    (place / "loop.anc.json").symlink_to("loop.anc.json")
    (place / "folder.anc.json").mkdir()
    (place / "deep.anc.json").write_bytes(b'{"steps": ' + b"[" * (3 << 20))
    (place / "latin.anc.json").write_bytes(b'{"steps": [],\n "name": "\xfc"}')
    return place


IN_LITTLE_MEMORY = under(f"resource.setrlimit(resource.RLIMIT_AS, ({GIB // 2},) * 2)")

SAID = {
    "huge": "longer than 4194304 bytes: no case is",
    "fifo": "not a regular file",
    "loop": "cannot be read: Too many levels of symbolic links",
    "deep": "$.steps[0]",
    "latin": "not UTF-8: byte 24, in line 2, is 0xfc",
    "folder": "not a regular file",
}


@pytest.mark.parametrize(
    ("command", "name"),
    [*(("run", name) for name in SAID), ("show", "huge"), ("show", "deep")],
)
def test_a_file_that_is_no_case_is_one_line(
    machine: Machine, corpus_of_horrors: Path, command: str, name: str
) -> None:
    path = f"{corpus_of_horrors.name}/{name}.anc.json"
    done = machine.run(command, path, program=IN_LITTLE_MEMORY)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"ancfuzz: {path}: ")
    assert SAID[name] in line


def test_a_corpus_of_them_is_told_one_by_one(
    machine: Machine, corpus_of_horrors: Path
) -> None:
    shutil.copy(machine.folder / TWO_FILE, corpus_of_horrors)
    arguments = "replay", corpus_of_horrors.name, "-i", "reference"
    done = machine.run(*arguments, program=IN_LITTLE_MEMORY)
    assert done.returncode == 2
    told = done.stderr.splitlines()
    assert len(told) == len(SAID) - 1  # a folder is looked into, and it is empty
    assert done.stdout.splitlines()[-1] == "nothing found"


def test_a_case_that_vanishes_is_told_and_the_next_one_read(tmp_path: Path) -> None:
    for name in ("first", "second", "third"):
        corpus.write(TWO_MESSAGES, tmp_path, name)
    told: list[UsageError] = []
    reading = labelled_cases([str(tmp_path)], told.append)
    next(reading)
    (tmp_path / "second.anc.json").unlink()
    with (tmp_path / "third.anc.json").open("a", encoding="ascii") as file:
        file.write("{}")  # and one that grows
    assert [*reading] == []
    assert "cannot be read: No such file" in str(told[0])
    assert "third.anc.json: JSON is malformed: trailing" in str(told[1])
