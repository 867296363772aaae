"""The README is true: its code runs, and its commands are the ones that there are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
DEADLINE = 60.0


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    text = README.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_its_implementation_conforms(tmp_path: Path) -> None:
    module = next(block for block in blocks("python") if "# mine.py" in block)
    (tmp_path / "mine.py").write_text(module, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "ancfuzz",
        "check",
        "--cases",
        "400",
        "--seed",
        "1",
    ]
    done = subprocess.run(
        [*command, "--implementation", "mine:Mine"],
        capture_output=True,
        cwd=tmp_path,
        text=True,
        timeout=DEADLINE,
        check=False,
        env=os.environ | {"COLUMNS": "100"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing found" in done.stdout


def test_its_library_example_runs() -> None:
    example = next(block for block in blocks("python") if "# mine.py" not in block)
    done = subprocess.run(
        [sys.executable, "-c", example],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_its_first_lines_set_everything_up() -> None:
    marked = r"<!-- (the [a-z ]+) -->\n```console\n([^\n]+)\n```"
    lines = dict(re.findall(marked, README.read_text(encoding="utf-8")))
    assert lines["the main job"].endswith("ancfuzz check")
    assert lines["the tests"].endswith("pytest")
    for line in lines.values():
        assert line.startswith("python3 -m venv")
        assert " && .venv/bin/pip install " in line


def test_its_commands_exist() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ancfuzz", "--help"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    table = README.read_text(encoding="utf-8").partition("## Commands")[2]
    for name in re.findall(r"`ancfuzz ([a-z]+)", table.partition("##")[0]):
        assert f"  {name} " in done.stdout
