"""docs/seed.md: its examples run, and its list of differences names real tests."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from ancfuzz.descriptors import open_numbers

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "seed.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.skipif(
    sys.platform != "linux", reason="they show credentials and abstract names of Linux"
)
def test_the_examples_run() -> None:
    # One behind the other, as a reader would paste them.
    blocks = list(
        re.finditer(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    )
    assert len(blocks) == TEXT.count("```python")
    before = open_numbers()
    names: dict[str, Any] = {}
    for block in blocks:
        above = "\n" * TEXT.count("\n", 0, block.start(1))  # lines as in the document
        exec(compile(above + block[1], str(DOCUMENT), "exec"), names)  # noqa: S102
    assert open_numbers() == before


def test_the_list_of_differences_is_whole_and_shown() -> None:
    rows = re.findall(r"^\| B(\d+) \|(.*)\|$", TEXT, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 25))
    tests = "".join(
        path.read_text(encoding="utf-8")
        for path in DOCUMENT.parents[1].glob("tests/**/*.py")
    )
    for number, row in rows:
        shown = re.findall(r"`(test_\w+)`", row)
        assert shown or number == "24", f"B{number} names no test"
        for name in shown:
            assert f"def {name}(" in tests, f"B{number} names {name}"
