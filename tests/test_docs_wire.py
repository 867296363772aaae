"""docs/wire.md: its examples run, and its table is the table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ancfuzz.abi_table import LAYOUTS, Layout

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "wire.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")


def test_the_examples_run() -> None:
    # One behind the other, as a reader would paste them.
    blocks = list(
        re.finditer(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    )
    assert len(blocks) == TEXT.count("```python")
    names: dict[str, Any] = {}
    for block in blocks:
        above = "\n" * TEXT.count("\n", 0, block.start(1))  # lines as in the document
        exec(compile(above + block[1], str(DOCUMENT), "exec"), names)  # noqa: S102


def test_the_documented_layouts_are_the_layouts() -> None:
    row = re.compile(r"^\| `(\w+)` \|" + r" (\d+) \|" * 7, re.MULTILINE)
    documented = {
        name: Layout(*map(int, numbers)) for name, *numbers in row.findall(TEXT)
    }
    assert documented == LAYOUTS
