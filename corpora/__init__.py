"""The corpus that ships with ancfuzz: cases as data, none of them run as a program.

    captures     recorded from real programs, and the script that records them
    vectors      made by hand, each for one thing that goes wrong; README.md has the
                 table of flags
    regressions  found by fuzzing, made small, kept
    schema       the JSON Schema of a case file

Each case is a file ``NAME.anc.json``.  To load them, wherever ancfuzz is installed::

    from ancfuzz.shipped import shipped_cases

    for folder, case in shipped_cases(("vectors",)):
        print(folder, case.name, case.note)

``ancfuzz.corpus`` reads and writes case files anywhere else.  This package holds data
and imports nothing.
"""

from __future__ import annotations
