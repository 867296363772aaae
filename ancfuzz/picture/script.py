"""A case as a list of steps; a transcript as accepted beside observed.

     0 open a pair a, b: stream → done
     1 a: send 1 byte (78), rights memfd#1..3 → sent 1 byte
    >2 b: receive up to 64 bytes, 32 of control
         accepted                    │ observed
         got 1 byte (78)             │ got 1 byte (78)
         rights memfd#1..3           ≠ rights memfd#1

A step on which both agree is told in one breath; where they differ, the two answers
stand side by side, and the step is marked.  Nothing is said twice: on a good run the
picture is the list of steps.

This room draws; what is accepted, and which step is to blame, others have decided.
"""

from __future__ import annotations

from difflib import SequenceMatcher
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from ancfuzz import codec
from ancfuzz.abi import NATIVE, Abi
from ancfuzz.case import Decode, SendRaw, control_tokens
from ancfuzz.picture.control import control_lines
from ancfuzz.picture.lines import (
    MIN_WIDTH,
    UNICODE,
    Glyphs,
    Line,
    Role,
    Segment,
    printable,
    window,
    wrap,
)
from ancfuzz.picture.words import answer_items, end_items, step_words
from ancfuzz.transcript import Decoded, Encoded, EncodedInto

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ancfuzz.case import Case, Step
    from ancfuzz.transcript import Answer, Transcript

__all__ = ["case_lines", "transcript_lines"]

_LIVE_VALUE = bytes(4)
_ROWS = 14  # of control bytes below a step
_ROWS_OF_A_SPAN = 3
_LINES_OF_A_DIFFERENCE = 4


def case_lines(
    case: Case, abi: Abi = NATIVE, *, width: int = 80, glyphs: Glyphs = UNICODE
) -> Iterator[Line]:
    """Draw a case: its steps, and under a step with control bytes those bytes.

    Args:
        case: what to draw.
        abi: the layout to read control bytes by.
        width: cells in a line; fewer than :data:`MIN_WIDTH` are taken for that.
        glyphs: the characters to draw with.

    Yields:
        Lines of at most ``width`` cells.
    """
    sheet = _Sheet(max(width, MIN_WIDTH), glyphs, abi)
    for number, step in enumerate(case.steps):
        yield from sheet.step(number, step)
        control, live = _control_of(step)
        if control:
            yield from control_lines(
                control, abi, width=width, glyphs=glyphs, live=live
            )


def _control_of(step: Step) -> tuple[bytes, dict[int, str]]:
    """The control bytes of a step, and by offset the names of the live values."""
    if isinstance(step, Decode):
        return bytes.fromhex(step.control), {}
    control = bytearray()
    live: dict[int, str] = {}
    if isinstance(step, SendRaw):
        for token in control_tokens(step.control):
            if isinstance(token, str):
                live[len(control)] = token
            control += _LIVE_VALUE if isinstance(token, str) else token
    return bytes(control), live


def transcript_lines(
    case: Case,
    observed: Transcript,
    accepted: Transcript | None = None,
    abi: Abi = NATIVE,
    *,
    step: int | None = None,
    width: int = 80,
    glyphs: Glyphs = UNICODE,
) -> Iterator[Line]:
    """Draw what came of a case.

    Args:
        case: the script.
        observed: what the performance answered.
        accepted: what ought to have been answered; None if nobody has an opinion.
        abi: the layout to read control bytes by.
        step: the index of the step to mark, the number of steps for what was found at
            the end; by default the first on which the two differ.
        width: cells in a line; fewer than :data:`MIN_WIDTH` are taken for that.
        glyphs: the characters to draw with.

    Yields:
        Lines of at most ``width`` cells.
    """
    sheet = _Sheet(max(width, MIN_WIDTH), glyphs, abi)
    rows = [*_rows(case, observed, accepted, abi)]
    if step is None:
        step = next((row.number for row in rows if row.differs), None)
    headed = False
    for row in rows:
        marked = row.number == step
        told = () if row.differs else row.observed
        yield from sheet.told(row.number, row.words, told, marked=marked)
        if not row.differs:
            continue
        if not headed:
            yield sheet.columns("accepted", "observed", " ", ("heading", "heading"))
            headed = True
        yield from sheet.compared(row.accepted, row.observed)
        if marked:
            bytes_lines = control_lines(
                row.control,
                abi,
                width=width,
                glyphs=glyphs,
                marks=row.marks,
                most_rows=_ROWS_OF_A_SPAN,
            )
            yield from window([*bytes_lines], _ROWS, glyphs)


class _Row(NamedTuple):
    """A step, or the end, as it is told; empty ``accepted`` is no opinion."""

    number: int
    words: str
    accepted: tuple[str, ...]
    observed: tuple[str, ...]
    control: bytes = b""
    marks: tuple[int, ...] = ()

    @property
    def differs(self) -> bool:
        return self.accepted not in ((), self.observed)


def _rows(
    case: Case, observed: Transcript, accepted: Transcript | None, abi: Abi
) -> Iterator[_Row]:
    wanted = accepted.answers if accepted else ()
    together = zip_longest(case.steps, observed.answers, wanted)
    for number, (step, answer, expected) in enumerate(together):
        yield _Row(
            number,
            "no step" if step is None else step_words(step, abi),
            () if expected is None else answer_items(expected, abi),
            ("no answer",) if answer is None else answer_items(answer, abi),
            *_parting(step, expected, answer, abi),
        )
    end = end_items(observed)
    if end:
        yield _Row(len(case.steps), "at the end", (), end)


class _Sheet:
    """How wide, with which characters, by which layout."""

    def __init__(self, width: int, glyphs: Glyphs, abi: Abi) -> None:
        self.width = width
        self.glyphs = glyphs
        self.abi = abi
        self.indent = 5 if width >= 3 * MIN_WIDTH else 1

    def step(self, number: int, step: Step) -> Iterator[Line]:
        return self.told(number, step_words(step, self.abi), ())

    def told(
        self, number: int, text: str, answers: Sequence[str], *, marked: bool = False
    ) -> Iterator[Line]:
        """A step and, in the same breath, what was answered."""
        words = printable(text, self.glyphs)
        if answers:
            told = "; ".join(printable(one, self.glyphs) for one in answers)
            words += f" {self.glyphs.answer} {told}"
        mark = Segment(">" if marked else " ", "mark")
        label = f"{number:>2} "
        for line in wrap(words, self.width - 1 - len(label), glyphs=self.glyphs):
            yield mark, Segment(label, "offset"), Segment(line, "step")
            mark, label = Segment(" ", "mark"), " " * len(label)

    def compared(
        self, expected: Sequence[str], answers: Sequence[str]
    ) -> Iterator[Line]:
        """Two answers side by side, equal items on the same line."""
        matcher = SequenceMatcher(None, expected, answers, autojunk=False)
        for kind, a, a_stop, b, b_stop in matcher.get_opcodes():
            for left, right in zip_longest(
                expected[a:a_stop], answers[b:b_stop], fillvalue=""
            ):
                yield from self._pair(left, right, equal=kind == "equal")

    def _pair(self, left: str, right: str, *, equal: bool) -> Iterator[Line]:
        room = self._column - len(self.glyphs.ellipsis)
        left, right = printable(left, self.glyphs), printable(right, self.glyphs)
        if not equal and left and right:
            left, right = _from_where_they_differ(left, right, room, self.glyphs)
        between = self.glyphs.bar if equal else self.glyphs.differs
        roles: tuple[Role, Role] = (
            ("same", "same") if equal else ("accepted", "observed")
        )
        # What only one side has is short: there is nothing to compare it with.
        most = _LINES_OF_A_DIFFERENCE if left and right else 2
        for one, other in zip_longest(
            wrap(left, self._column, most, self.glyphs),
            wrap(right, self._column, most, self.glyphs),
            fillvalue="",
        ):
            yield self.columns(one, other, between, roles)

    @property
    def _column(self) -> int:
        return (self.width - self.indent - 3) // 2

    def columns(
        self, left: str, right: str, between: str, roles: tuple[Role, Role]
    ) -> Line:
        """A line of two columns."""
        return (
            Segment(" " * self.indent),
            Segment(left[: self._column].ljust(self._column), roles[0]),
            Segment(f" {between} ", "rule"),
            Segment(right[: self._column], roles[1]),
        )


def _parting(
    step: Step | None, accepted: Answer | None, observed: Answer | None, abi: Abi
) -> tuple[bytes, tuple[int, ...]]:
    """The bytes that were read or made, and the offset at which the answers part."""
    match step, accepted, observed:
        case Decode(), Decoded(), Decoded():
            control = bytes.fromhex(step.control)
            index = _first_difference(accepted.messages, observed.messages)
            headers = [s.start for s in codec.walk(control, abi) if s.kind == "header"]
            return control, tuple(headers[index : index + 1])
        case _, Encoded(str(right)), Encoded(str(made)):
            pass
        case _, EncodedInto(buffer=right), EncodedInto(buffer=made):
            pass
        case _:
            return b"", ()
    control = bytes.fromhex(made)
    return control, (_first_difference(bytes.fromhex(right), control),)


def _first_difference(one: Sequence[object], other: Sequence[object]) -> int:
    pairs = zip_longest(one, other, fillvalue=None)
    return next(
        (n for n, (a, b) in enumerate(pairs) if a != b), max(len(one), len(other))
    )


def _from_where_they_differ(
    left: str, right: str, room: int, glyphs: Glyphs
) -> tuple[str, str]:
    """Two long texts, cut so that the first difference is in sight."""
    common = _first_difference(left, right)
    if common < 2 * room:
        return left, right
    skipped = common - room // 2
    return glyphs.ellipsis + left[skipped:], glyphs.ellipsis + right[skipped:]
