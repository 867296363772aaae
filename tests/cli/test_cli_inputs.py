"""What comes in: corpora to replay, cases to run, bytes to show; and the lists."""

from __future__ import annotations

import json
import os
import re
import shlex
from typing import TYPE_CHECKING

import pytest

from ancfuzz.abi import ABIS, NATIVE
from ancfuzz.cli.judging import DEFAULT_IMPLEMENTATIONS
from ancfuzz.invariants import FAMILIES, INVARIANTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from subprocess import CompletedProcess
    from typing import TypeAlias

    Run: TypeAlias = Callable[..., CompletedProcess[str]]

GIB = 1 << 30
TWO_MESSAGES = "two-messages.anc.json"
PASSES_TWO = "passes-two.anc.json"


def complaint(done: CompletedProcess[str]) -> str:
    """The one line on standard error."""
    (line,) = done.stderr.splitlines()
    return line


def last_line(done: CompletedProcess[str]) -> str:
    return done.stdout.splitlines()[-1]


# -- replay --------------------------------------------------------------------------


@pytest.fixture
def cases(folder: Path) -> Path:
    """A corpus with one good case in it, and all that can be wrong with a file."""
    place = folder / "cases"
    place.mkdir()
    (place / TWO_MESSAGES).symlink_to(folder / TWO_MESSAGES)
    (place / "text.anc.json").write_text("not JSON", encoding="utf-8")
    (place / "latin.anc.json").write_bytes(b'{"steps": [], "name": "\xfc"}')
    (place / "schema.anc.json").write_text('{"steps": [{"do": "fly"}]}', "utf-8")
    (place / "sense.anc.json").write_text('{"steps": [{"do": "close", "at": "a"}]}')
    (place / "dangling.anc.json").symlink_to("nowhere")
    os.mkfifo(place / "fifo.anc.json")
    with (place / "huge.anc.json").open("wb") as file:
        file.truncate(GIB)
    return place


BAD_FILES = "text", "latin", "schema", "sense", "dangling", "fifo", "huge"


def test_bad_files_are_told_one_by_one_and_the_others_replayed(
    run: Run, cases: Path
) -> None:
    arguments = "replay", cases.name, "missing", "-i", "reference", "--json", "-"
    done = run(*arguments)
    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert told["judged"]["folder"] == {"cases": 1}
    complaints = [ln for ln in done.stderr.splitlines() if ln.startswith("ancfuzz: ")]
    assert len(complaints) == len(BAD_FILES) + 1
    for name in BAD_FILES:
        (said,) = (line for line in complaints if f"/{name}.anc.json: " in line)
        assert len(said) < 300
    assert "$.steps[0]" in "".join(complaints)


def test_a_violation_goes_before_a_bad_file(run: Run, cases: Path) -> None:
    assert run("replay", cases.name, "-i", "sown:Unaligned").returncode == 1


def test_a_folder_without_cases_is_told(call: Run, folder: Path) -> None:
    (folder / "empty").mkdir()
    done = call("replay", "empty")
    assert (done.returncode, done.stdout) == (2, "")
    assert "empty: no case files (*.anc.json) in it" in complaint(done)


def test_a_case_that_does_not_concern_an_implementation_is_not_judged(
    run: Run, folder: Path
) -> None:
    done = run("replay", TWO_MESSAGES, "-i", "cpython")
    assert done.returncode == 3
    assert "cpython: " in done.stdout


# -- run -----------------------------------------------------------------------------


def test_run_takes_a_file_standard_input_or_the_case_itself(
    run: Run, folder: Path
) -> None:
    text = (folder / PASSES_TWO).read_text(encoding="utf-8")
    expected = run("run", PASSES_TWO)
    assert expected.returncode == 0
    assert "rights memfd eventfd" in expected.stdout
    assert "reference" in expected.stdout
    assert "cpython holds b" in expected.stdout
    assert run("run", text).stdout == expected.stdout
    assert run("run", "-", given=text).stdout == expected.stdout


def test_run_shows_what_is_wrong_and_the_command(run: Run, folder: Path) -> None:
    arguments = "run", PASSES_TWO, "--implementation", "sown:KeepsOne"
    done = run(*arguments)
    assert done.returncode == 1
    assert "> 2 b: receive" in done.stdout
    assert "\u2260" in done.stdout
    assert INVARIANTS["FD.count"].source in done.stdout
    assert shlex.split(last_line(done)) == ["ancfuzz", *arguments]


def test_run_in_json(run: Run) -> None:
    done = run(
        "run",
        PASSES_TWO,
        "-i",
        "sown:KeepsOne",
        "-i",
        "cpython",
        "--json",
    )
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["ok"] is False
    performed = [
        (one["implementation"], one["subject"]) for one in told["performances"]
    ]
    assert performed == [("sown:KeepsOne", "b"), ("cpython", "a"), ("cpython", "b")]
    broken, *right = told["performances"]
    assert broken["violations"]
    assert broken["accepted"]["answers"] != broken["observed"]["answers"]
    assert all(not one["violations"] for one in right)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("missing.anc.json", "missing.anc.json: cannot be read"),
        ("{", "CASE: "),
        ('{"steps": 5}', "$.steps"),
        (".", ".: not a regular file"),
    ],
)
def test_run_refuses_what_is_no_case(call: Run, argument: str, said: str) -> None:
    done = call("run", argument)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in complaint(done)


def test_a_case_that_concerns_nobody_is_not_judged(run: Run) -> None:
    done = run("run", TWO_MESSAGES, "-i", "cpython")
    assert done.returncode == 3
    assert "cpython: not judged: the case does not concern it" in done.stdout


# -- show ----------------------------------------------------------------------------

RIGHTS = "1400000000000000 01000000 01000000 05000000 00000000"


def test_show_takes_hex_or_raw_bytes(call: Run, folder: Path) -> None:
    (folder / "raw").write_bytes(bytes.fromhex(RIGHTS))
    abi = "--abi", "x86_64-linux-gnu"
    expected = call("show", RIGHTS, *abi)
    assert expected.returncode == 0
    assert "cmsg_len 20, SCM_RIGHTS" in expected.stdout
    assert "1 descriptor: 5" in expected.stdout
    colons = ":".join(re.findall("..", RIGHTS.replace(" ", "")))
    for same in ("0x" + RIGHTS.upper(), colons, "raw"):
        assert call("show", same, *abi).stdout == expected.stdout


def test_show_reads_by_any_layout(call: Run) -> None:
    control = "00000000 00000014 0000ffff 00000001 00000005"
    done = call(
        "show", control.replace("0000ffff", "00000001"), "--abi", "s390x-linux-musl"
    )
    assert "1 descriptor: 5" in done.stdout
    assert "broken" in call("show", control, "--abi", "x86_64-linux-gnu").stdout


def test_show_draws_a_case(call: Run, folder: Path) -> None:
    from_file = call("show", TWO_MESSAGES)
    assert from_file.returncode == 0
    assert from_file.stdout.startswith("two-messages\n  0 decode 48 bytes\n")
    assert call("show", (folder / TWO_MESSAGES).read_text("utf-8")).stdout == (
        from_file.stdout
    )


def test_control_bytes_that_begin_like_json_are_bytes(call: Run, folder: Path) -> None:
    (folder / "raw").write_bytes(b"{" + bytes(15))
    assert (
        "broken: cmsg_len 123"
        in call("show", "raw", "--abi", "x86_64-linux-gnu").stdout
    )


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("14zz", "'z' is not a hex digit"),
        ("140", "3 hex digits do not make whole bytes"),
        ("", "0 hex digits"),
        ("./missing", "./missing: no such file"),
        ("fifo", "fifo: not a regular file"),
        (".", ".: not a regular file"),
        ("huge", "huge: longer than 4194304 bytes"),
        ("dangling", "dangling: cannot be read: No such file"),
        ('{"steps": 5}', "$.steps"),
        ("case.anc.json", "case.anc.json: "),
        ("14\x1b[31m", "\\x1b"),
    ],
)
def test_show_refuses_in_one_line(
    call: Run, folder: Path, argument: str, said: str
) -> None:
    os.mkfifo(folder / "fifo")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "case.anc.json").write_bytes(b"\0")
    with (folder / "huge").open("wb") as file:
        file.truncate(GIB)
    done = call("show", argument)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in complaint(done)


# -- lists ---------------------------------------------------------------------------


def test_abi_lists_every_layout(call: Run) -> None:
    done = call("abi")
    assert all(name in done.stdout for name in ABIS)
    assert last_line(done) == f"native: {NATIVE.name}"
    told = json.loads(call("abi", "--json").stdout)
    assert [one["name"] for one in told] == [*ABIS]
    assert told[0]["constants"] == dict(ABIS[told[0]["name"]].constants)


@pytest.mark.parametrize(
    "name", ["native", "aarch64-macos-none", "x86_64-freebsd-none"]
)
def test_abi_shows_one_in_full(call: Run, name: str) -> None:
    abi = NATIVE if name == "native" else ABIS[name]
    done = call("abi", name)
    for words in (abi.name, abi.provenance, *abi.constants, *abi.structs):
        assert words in done.stdout
    told = json.loads(call("abi", name, "--json").stdout)
    assert told["data_offset"] == abi.data_offset


@pytest.mark.parametrize("arguments", [("abi",), ("show", "00", "--abi")], ids=" ".join)
def test_an_unknown_abi_is_told_with_those_that_are_close(
    call: Run, arguments: Sequence[str]
) -> None:
    done = call(*arguments, "x86_64-linux-gmu")
    assert (done.returncode, done.stdout) == (2, "")
    assert "x86_64-linux-gnu" in complaint(done)


def test_invariants_are_listed(call: Run) -> None:
    done = call("invariants")
    assert all(id_ in done.stdout for id_ in INVARIANTS)
    told = json.loads(call("invariants", "--json").stdout)
    assert {one["id"] for one in told} == {*INVARIANTS}
    assert all(one["source"] and one["reach"] and one["title"] for one in told)


def test_invariants_of_a_family_are_told_in_full(call: Run) -> None:
    done = call("invariants", "LEAK")
    chosen = [id_ for id_ in INVARIANTS if id_.startswith("LEAK.")]
    assert all(id_ in done.stdout for id_ in chosen)
    assert "CRASH." not in done.stdout
    assert FAMILIES["LEAK"] in done.stdout
    assert call("invariants", "LEEK").returncode == 2


def test_implementations_are_listed(call: Run) -> None:
    told = json.loads(call("implementations", "--json").stdout)
    assert {*DEFAULT_IMPLEMENTATIONS} <= {one["name"] for one in told}
    assert "MODULE:ATTR" in call("implementations").stdout
