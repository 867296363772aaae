"""The command line's face: help, versions, mistakes, and the exit status."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ancfuzz.cli.status import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from subprocess import CompletedProcess
    from typing import TypeAlias

    Run: TypeAlias = Callable[..., CompletedProcess[str]]

COMMANDS = (
    *("check", "replay", "run", "record", "show"),
    *("abi", "invariants", "implementations"),
)


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), ()])
def test_the_help_names_every_command(call: Run, arguments: Sequence[str]) -> None:
    done = call(*arguments)
    assert {*re.findall(r"^  ([a-z]+) ", done.stdout + done.stderr, re.MULTILINE)} >= {
        *COMMANDS
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_of_a_line_and_more(call: Run, name: str) -> None:
    short, long = call(name, "-h"), call(name, "--help")
    assert short.stdout == long.stdout
    assert (short.returncode, long.returncode) == (0, 0)
    assert short.stdout.startswith(f"Usage: ancfuzz {name}")
    assert "..." not in "".join(
        line
        for line in call("--help").stdout.splitlines()
        if line.startswith(f"  {name} ")
    )


def test_help_loads_nothing_heavy(folder: Path) -> None:
    program = (
        "import sys\n"
        "from ancfuzz.cli import main\n"
        f"for name in {COMMANDS!r}:\n"
        "    assert main([name, '--help']) == 0\n"
        "heavy = {'rich', 'msgspec', 'hypothesis', 'pytest', 'atheris'}\n"
        "sys.exit(' '.join(heavy & {*sys.modules}) or None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_version(call: Run) -> None:
    assert call("--version").stdout.startswith("ancfuzz ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("chek",),
        ("check", "--nonsense"),
        ("check", "surplus"),
        ("run",),
        ("show",),
        ("check", "--cases", "0"),
        ("check", "--seed", "-1"),
        ("check", "--max-findings", "none"),
        *(("check", "--time", text) for text in ("0", "-1", "nan", "inf", "soon")),
    ],
    ids=" ".join,
)
def test_what_cannot_be_parsed_is_a_usage_error(
    call: Run, arguments: Sequence[str]
) -> None:
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr


def test_a_shell_can_ask_for_completions(run: Run) -> None:
    done = run(_ANCFUZZ_COMPLETE="bash_source")
    assert done.returncode == 0
    assert "complete" in done.stdout


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (Verdict(), 0),
        (Verdict(asked=True, judged=True), 0),
        (Verdict(asked=True), 3),
        (Verdict(asked=True, misused=True), 2),
        (Verdict(misused=True), 2),
        (Verdict(asked=True, judged=True, signal=15), 143),
        (Verdict(asked=True, signal=2, misused=True), 130),
        (Verdict(asked=True, judged=True, crashed=True), 70),
        (Verdict(asked=True, found=True, misused=True, signal=2, crashed=True), 1),
    ],
)
def test_the_ranks(verdict: Verdict, status: int) -> None:
    assert verdict.status == status
