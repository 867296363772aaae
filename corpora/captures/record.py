# ruff: noqa: INP001  (a script beside its data, not a package)
"""Records the captures beside this file again: see ``ancfuzz.recorder.programs``.

    python corpora/captures/record.py [--list] [--output FOLDER] [PROGRAM...]

A corpus is data and knows nothing of how it was made; this is only the doorstep of the
program that made it.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    # In front, so that an --output of the caller's own wins.
    sys.argv[1:1] = ["--output", str(Path(__file__).resolve().parent)]
    runpy.run_module("ancfuzz.recorder.programs", run_name="__main__")
