"""Pictures: whatever is drawn, it fits, it is harmless, and it leaves nothing out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from ancfuzz import case as script
from ancfuzz import transcript as said
from ancfuzz.abi import ABIS, NATIVE
from ancfuzz.codec import ControlMessage, encode, walk
from ancfuzz.picture import (
    ASCII,
    UNICODE,
    case_lines,
    control_lines,
    printable,
    text,
    transcript_lines,
    window,
)
from ancfuzz.picture.lines import Segment, wrap
from tests.pictured import (
    LP64,
    abis,
    answers,
    buffers,
    cases,
    glyph_sets,
    texts,
    transcripts,
    widths,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ancfuzz.abi import Abi
    from ancfuzz.picture import Glyphs, Line

SPAN_ROLES = frozenset({"header", "data", "padding", "tail", "broken"})


def assert_fits(lines: Iterable[Line], width: int, glyphs: Glyphs) -> None:
    for line in lines:
        drawn = "".join(segment.text for segment in line)
        assert cell_len(drawn) == len(drawn) <= width
        assert drawn.isprintable()
        assert drawn.isascii() or glyphs is UNICODE


# -- whatever is drawn ---------------------------------------------------------------


@given(buffers(), abis, widths, glyph_sets)
def test_a_buffer_fits_and_every_byte_is_drawn_once(
    control: bytes, abi: Abi, width: int, glyphs: Glyphs
) -> None:
    lines = [*control_lines(control, abi, width=width, glyphs=glyphs)]
    assert_fits(lines, width, glyphs)
    rows = [s.text for line in lines for s in line if s.role in SPAN_ROLES]
    cells = " ".join(rows).replace(glyphs.bar, " ").split()
    assert bytes(int(cell, 16) for cell in cells) == control


@given(buffers(), abis, widths, glyph_sets, st.integers(1, 4))
def test_a_span_takes_no_more_rows_than_it_may(
    control: bytes, abi: Abi, width: int, glyphs: Glyphs, most: int
) -> None:
    lines = [*control_lines(control, abi, width=width, glyphs=glyphs, most_rows=most)]
    assert_fits(lines, width, glyphs)
    rows = sum(s.role in SPAN_ROLES for line in lines for s in line)
    assert rows <= most * len([*walk(control, abi)])


@given(buffers(), widths)
def test_a_row_begins_at_its_offset_and_belongs_to_one_span(
    control: bytes, width: int
) -> None:
    at = 0
    kinds = [s.kind for s in walk(control, LP64) for _ in range(s.start, s.stop)]
    for line in control_lines(control, LP64, width=width):
        row = {segment.role: segment.text for segment in line}
        kind = next((role for role in row if role in SPAN_ROLES), None)
        if kind is None:
            continue
        assert int(row["offset"]) == at
        size = (len(row[kind]) + 1) // 3
        assert kinds[at : at + size] == [kind] * size
        at += size
    assert at == len(control)


@given(
    buffers(),
    st.sets(st.integers(0, 99), max_size=3),
    widths,
    st.none() | st.integers(1, 3),
)
def test_rows_with_a_mark_are_those_that_were_asked_for(
    control: bytes, marks: set[int], width: int, most: int | None
) -> None:
    broken = {s.start for s in walk(control, LP64) if s.kind == "broken"}
    wanted = {at for at in marks | broken if at < len(control)}
    found: set[int] = set()
    for line in control_lines(control, LP64, width=width, marks=marks, most_rows=most):
        if line[0] != Segment(">", "mark"):
            continue
        start, size = int(line[1].text), (len(line[2].text) + 1) // 3
        inside = {at for at in wanted if start <= at < start + size}
        assert inside
        found |= inside
    assert found == wanted


@given(cases, abis, widths, glyph_sets)
def test_a_case_fits(case: script.Case, abi: Abi, width: int, glyphs: Glyphs) -> None:
    lines = [*case_lines(case, abi, width=width, glyphs=glyphs)]
    assert_fits(lines, width, glyphs)
    assert len(lines) >= len(case.steps)


@given(cases, transcripts, st.none() | transcripts, widths, glyph_sets)
def test_a_transcript_fits(
    case: script.Case,
    observed: said.Transcript,
    accepted: said.Transcript | None,
    width: int,
    glyphs: Glyphs,
) -> None:
    lines = transcript_lines(case, observed, accepted, width=width, glyphs=glyphs)
    assert_fits(lines, width, glyphs)


@given(cases, st.data(), st.integers(-1, 8))
def test_every_step_can_be_marked(
    case: script.Case, data: st.DataObject, step: int
) -> None:
    count = len(case.steps)
    drawn = st.lists(answers, min_size=count, max_size=count).map(tuple)
    observed = said.Transcript(data.draw(drawn), leaked=("memfd",))
    accepted = said.Transcript(data.draw(drawn))
    lines = [*transcript_lines(case, observed, accepted, step=step)]
    marked = [int(line[1].text) for line in lines if line[0] == Segment(">", "mark")]
    # Rows of bytes below the step may be marked as well.
    assert marked[:1] == ([step] if 0 <= step <= count else [])


@example("\x1b[31m\r\n\u202e\ud800\u6f22e\u0301\u200b", UNICODE)
@given(texts, glyph_sets)
def test_what_a_stranger_wrote_is_one_harmless_line(
    string: str, glyphs: Glyphs
) -> None:
    safe = printable(string, glyphs)
    assert safe.isprintable()
    assert cell_len(safe) == len(safe)
    assert safe.isascii() or glyphs is UNICODE
    kept = string.isascii() and string.isprintable()
    assert (safe == string) >= kept


@given(st.text("ab ", max_size=200), st.integers(3, 30), st.integers(1, 5), glyph_sets)
def test_wrapping_keeps_the_words_or_says_that_it_does_not(
    string: str, width: int, most: int, glyphs: Glyphs
) -> None:
    lines = wrap(string, width, most, glyphs)
    assert 1 <= len(lines) <= most
    assert all(len(line) <= width for line in lines)
    if not lines[-1].endswith(glyphs.ellipsis):
        assert "".join(lines).replace(" ", "") == string.replace(" ", "")


@given(st.integers(0, 40), st.integers(3, 30), st.data())
def test_a_window_is_small_and_shows_the_mark(
    count: int, most: int, data: st.DataObject
) -> None:
    marked = data.draw(st.integers(-1, count))
    lines: list[Line] = [
        (Segment(">" if n == marked else " ", "mark"), Segment(str(n)))
        for n in range(count)
    ]
    seen = window(lines, most)
    assert len(seen) <= most
    if 0 <= marked < count:
        assert lines[marked] in seen
    kept = [line for line in seen if line in lines]
    left_out = sum(
        int(s.text.split()[1]) for ln in seen for s in ln if s.role == "rule"
    )
    assert len(kept) + left_out == count


# -- whole pictures ------------------------------------------------------------------

RIGHTS = ControlMessage(1, 1, bytes.fromhex("050000000600000007000000"))


def test_a_buffer_wide() -> None:
    control = encode([RIGHTS], LP64) + bytes.fromhex(
        "8000000000000000 01000000 01000000"
    )
    assert text(control_lines(control, LP64, width=80)) == (
        "   0 1c 00 00 00 00 00 00 00│01 00 00 00│01 00 00 00  "
        "#0 cmsg_len 28, SCM_RIGHTS\n"
        "  16 05 00 00 00 06 00 00 00 07 00 00 00              3 descriptors: 5 6 7\n"
        "  28 00 00 00 00                                      padding\n"
        "> 32 80 00 00 00 00 00 00 00│01 00 00 00│01 00 00 00  "
        "broken: cmsg_len 128, but\n"
        "                                                      16 bytes left\n"
    )


def test_a_buffer_narrow_and_in_ascii() -> None:
    control = encode([RIGHTS], LP64)[:28] + bytes.fromhex("ff000000 08000000")
    assert text(control_lines(control, LP64, width=40, glyphs=ASCII)) == (
        "  #0 cmsg_len 28, SCM_RIGHTS\n"
        "   0 1c 00 00 00 00 00 00 00\n"
        "   8 01 00 00 00|01 00 00 00\n"
        "  3 descriptors: 5 6 7\n"
        "  16 05 00 00 00 06 00 00 00\n"
        "  24 07 00 00 00\n"
        "  padding, not zero\n"
        "  28 ff 00 00 00\n"
        "  tail: 4 bytes, fewer than a header:\n"
        "  ignored\n"
        "  32 08 00 00 00\n"
    )


def test_a_big_endian_musl_length_stands_behind_its_padding() -> None:
    abi = ABIS["s390x-linux-musl"]
    (header, *_) = control_lines(encode([RIGHTS], abi), abi, width=80)
    assert "00 00 00 00│00 00 00 1c│00 00 00 01│00 00 00 01" in text([header])


def test_a_length_below_a_header() -> None:
    drawn = text(control_lines(bytes.fromhex("0f" + "00" * 15), LP64, width=100))
    assert "> " in drawn
    assert "broken: cmsg_len 15 is below CMSG_LEN(0), 16" in drawn


def test_live_values_are_drawn_as_dots_under_their_names() -> None:
    raw = script.SendRaw("a", "1400000000000000" + "0100000001000000" + "{memfd#1}")
    case = script.Case((script.Open(), raw))
    drawn = text(case_lines(case, LP64, width=80))
    assert ".. .. .. .." in drawn
    assert "live: memfd#1" in drawn


CASE = script.Case(
    (
        script.Open(),
        script.Send("a", "78", (script.NamedRights(("memfd#1..3",)),)),
        script.Receive("b", 64, 32),
        script.Close("a"),
    )
)
ACCEPTED = said.Transcript(
    (
        said.Done(),
        said.Sent(1),
        said.Got("78", (script.NamedRights(("memfd#1..3",)),)),
        said.Done(),
    )
)
OBSERVED = said.Transcript(
    (
        said.Done(),
        said.Sent(1),
        said.Got(
            "78",
            (script.NamedRights(("memfd#1",)),),
            facts=said.Facts(unreported=("memfd#2", "memfd#3")),
        ),
        said.Done(),
    ),
    leaked=("memfd#2", "memfd#3"),
)


def test_a_transcript_in_two_columns() -> None:
    assert text(transcript_lines(CASE, OBSERVED, ACCEPTED, LP64, width=80)) == (
        "  0 open a pair a, b: stream → done\n"
        "  1 a: send 1 byte (78), rights memfd#1..3 → sent 1 byte\n"
        "> 2 b: receive up to 64 bytes, 32 of control\n"
        "     accepted                               observed\n"
        "     got 1 byte (78)                      │ got 1 byte (78)\n"
        "     rights memfd#1..3                    ≠ rights memfd#1\n"
        "                                          "
        "≠ installed, not reported: memfd#2..3\n"
        "  3 a: close → done\n"
        "  4 at the end → still open: memfd#2..3\n"
    )


def test_a_transcript_that_agrees_is_the_list_of_steps() -> None:
    lines = [*transcript_lines(CASE, ACCEPTED, ACCEPTED, LP64, width=100)]
    assert len(lines) == len(CASE.steps)
    assert not [line for line in lines if line[0] == Segment(">", "mark")]


def test_where_there_is_no_opinion_what_was_observed_is_told() -> None:
    partly = said.Transcript(ACCEPTED.answers[:2])
    drawn = text(transcript_lines(CASE, OBSERVED, partly, LP64, width=200))
    assert "rights memfd#1; installed, not reported: memfd#2..3\n" in drawn
    assert "≠" not in drawn


def test_a_wrong_encoding_shows_its_bytes_marked_where_they_part() -> None:
    case = script.Case((script.Encode((script.PlainMessage(1, 1, "05000000"),), 24),))
    right = encode([ControlMessage(1, 1, bytes.fromhex("05000000"))], LP64)
    wrong = bytes([24]) + right[1:]
    accepted = said.Transcript((said.Encoded(right.hex()),))
    observed = said.Transcript((said.Encoded(wrong.hex()),))
    drawn = text(transcript_lines(case, observed, accepted, LP64, width=80))
    assert "\n>  0 18 00 00 00" in drawn
    assert "#0 cmsg_len 24" in drawn


def test_a_wrong_decoding_shows_the_bytes_marked_at_the_message() -> None:
    control = encode([RIGHTS, RIGHTS], LP64)
    message = script.PlainMessage(1, 1, RIGHTS.data.hex())
    case = script.Case((script.Decode(control.hex()),))
    accepted = said.Transcript((said.Decoded((message, message)),))
    observed = said.Transcript((said.Decoded((message,)),))
    drawn = text(transcript_lines(case, observed, accepted, LP64, width=80))
    marked = [line for line in drawn.splitlines() if line.startswith(">")]
    assert [line.split()[1] for line in marked] == ["0", "32"]  # the step, the offset


def test_a_difference_far_inside_a_long_text_is_in_sight() -> None:
    many = tuple(f"memfd#{n}" for n in range(1, 400, 2))
    changed = (*many[:150], "eventfd", *many[151:])
    case = script.Case((script.Receive("b"),))
    accepted = said.Transcript((said.Got("", (script.NamedRights(many),)),))
    observed = said.Transcript((said.Got("", (script.NamedRights(changed),)),))
    drawn = text(transcript_lines(case, observed, accepted, width=80))
    assert "eventfd" in drawn
    assert len(drawn.splitlines()) < 12


def test_the_native_layout_is_the_default() -> None:
    control = encode([RIGHTS])
    assert [*control_lines(control)] == [*control_lines(control, NATIVE)]
