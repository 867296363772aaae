"""Pictures: whatever is drawn, it fits, it is harmless, and it leaves nothing out."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Struct
from rich.cells import cell_len

from ancfuzz import case as script
from ancfuzz import transcript as said
from ancfuzz.abi import ABIS, NATIVE
from ancfuzz.codec import ControlMessage, encode, walk
from ancfuzz.names import expand
from ancfuzz.picture import (
    ASCII,
    MIN_WIDTH,
    UNICODE,
    case_lines,
    control_lines,
    printable,
    text,
    transcript_lines,
    window,
)
from ancfuzz.picture.lines import Segment, wrap
from ancfuzz.picture.words import answer_items, names_words, step_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ancfuzz.abi import Abi
    from ancfuzz.picture import Glyphs, Line

LP64 = ABIS["x86_64-linux-gnu"]
SPAN_ROLES = frozenset({"header", "data", "padding", "tail", "broken"})

widths = st.integers(MIN_WIDTH, 130)
glyph_sets = st.sampled_from([UNICODE, ASCII])
abis = st.sampled_from(sorted(ABIS.values(), key=lambda abi: abi.name))
texts = st.text(st.characters(exclude_categories=[]), max_size=40)

messages_on_the_wire = st.builds(
    ControlMessage,
    st.sampled_from([0, 1, 41, 0xFFFF, -1]),
    st.integers(0, 5),
    st.binary(max_size=70),
)


@st.composite
def buffers(draw: st.DrawFn) -> bytes:
    """Well-formed buffers, some cut or changed in one place, and plain noise."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=100))
    control = bytearray(encode(draw(st.lists(messages_on_the_wire, max_size=4)), LP64))
    if control and draw(st.booleans()):
        control[draw(st.integers(0, len(control) - 1))] = draw(st.integers(0, 255))
    return bytes(control[: draw(st.integers(0, len(control)))])


# A little of every step and every answer: what a stranger may have written included.
names = st.sampled_from(
    [
        "memfd",
        "memfd#1..3",
        "dup:memfd#2",
        "pipe-read*5",
        "socket:a",
        "phantom",
        "other",
    ]
)
plain_messages = st.builds(
    script.PlainMessage,
    st.integers(-(2**31), 2**31 - 1),
    st.integers(0, 9),
    st.binary(max_size=40).map(bytes.hex),
)
named_messages = st.one_of(
    plain_messages,
    st.builds(script.NamedRights, st.lists(names, max_size=4).map(tuple)),
    st.builds(script.NamedCredentials, st.sampled_from(["self", "none", 7])),
    st.builds(script.NamedPidfd, st.sampled_from(["self", "none", "other"])),
)
plain = st.lists(plain_messages, max_size=3).map(tuple)
named = st.lists(named_messages, max_size=3).map(tuple)
payloads = st.sampled_from(["", "78", "61*300000", "00ff" * 30])
hexes = buffers().map(bytes.hex)
facts = st.builds(
    said.Facts,
    st.lists(names, max_size=2).map(tuple),
    st.lists(names, max_size=2).map(tuple),
    st.none() | named,
)
steps = st.one_of(
    st.builds(script.Encode, plain, st.integers(0, 99)),
    st.builds(script.EncodeInto, plain, st.integers(0, 99), st.integers(0, 15)),
    st.builds(script.Decode, hexes),
    st.builds(script.Open, st.sampled_from(["stream", "dgram", "seqpacket"])),
    st.builds(script.SetOption, st.just("a"), st.just("SO_PASSCRED")),
    st.builds(script.Send, st.just("a"), payloads, named),
    st.builds(script.SendAll, st.just("a"), payloads, named),
    st.builds(
        script.SendRaw,
        st.just("a"),
        st.lists(hexes | st.sampled_from(["{memfd}", "{pid}"]), max_size=4).map(
            "".join
        ),
    ),
    st.builds(script.Receive, st.just("b"), st.integers(0, 99), st.integers(0, 99)),
    st.builds(script.Table, st.none() | st.integers(0, 9), st.booleans()),
    st.builds(script.Shutdown, st.just("a")),
    st.builds(script.Close, st.just("a")),
)
answers = st.one_of(
    st.builds(said.Done),
    st.builds(said.Failed, st.just("EAGAIN"), facts),
    st.builds(said.Sent, st.integers(-1, 9**9)),
    st.builds(said.Got, payloads, named, st.booleans(), facts=facts),
    st.builds(said.Encoded, st.none() | hexes),
    st.builds(said.EncodedInto, st.none() | st.integers(0, 9), hexes, st.booleans()),
    st.builds(said.Decoded, plain),
    st.just(said.Decoded((), said.Malformation(16, 16, 8))),
    st.builds(said.Refusal, texts, named, facts),
    st.builds(said.NotPerformed, texts),
    st.builds(said.Raised, texts, texts, facts),
    st.builds(said.Nonsense, texts, texts, facts),
    st.builds(said.Untold),
    st.builds(said.Hung, st.floats(0, 9)),
    st.builds(said.Died, texts, texts),
)
cases = st.lists(steps, max_size=6).map(lambda some: script.Case(tuple(some)))
transcripts = st.builds(
    said.Transcript,
    st.lists(answers, max_size=7).map(tuple),
    leaked=st.lists(names, max_size=2).map(tuple),
    output=texts,
)


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


# -- words ---------------------------------------------------------------------------


@given(st.lists(names, max_size=9))
def test_short_names_stand_for_the_same_descriptors(items: list[str]) -> None:
    def whole(words: Iterable[str]) -> list[str]:
        unknown = ("phantom", "other")
        return [
            name
            for word in words
            for name in (
                [word.partition("*")[0]] * int(word.partition("*")[2] or 1)
                if word.startswith(unknown)
                else expand(word)
            )
        ]

    assert whole(names_words(items).split()) == whole(items)


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ((), ""),
        (("memfd#1", "memfd#2", "memfd#3"), "memfd#1..3"),
        (("memfd#2", "memfd#1"), "memfd#2 memfd#1"),
        (("memfd", "memfd", "memfd#1"), "memfd*2 memfd#1"),
        (("memfd#1", "memfd#1", "memfd#2"), "memfd#1*2 memfd#2"),
        (("memfd#1", "dup:memfd#2"), "memfd#1 dup:memfd#2"),
        (("phantom", "phantom", "number:1"), "phantom*2 number:1"),
    ],
)
def test_names_are_written_short(items: tuple[str, ...], words: str) -> None:
    assert names_words(items) == words


@given(answers, answers)
def test_two_answers_are_told_alike_only_if_they_are(
    one: said.Answer, other: said.Answer
) -> None:
    if answer_items(one) == answer_items(other):
        assert canonical(one) == canonical(other)


GOT = said.Got("78")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (GOT, said.Got("7878")),
        (GOT, said.Got("78", truncated=True)),
        (GOT, said.Got("78", flags=())),
        (GOT, said.Got("78", control_length=0)),
        (GOT, said.Got("78", (script.NamedRights(),))),
        (GOT, said.Got("78", facts=said.Facts(unreported=("memfd",)))),
        (GOT, said.Got("78", facts=said.Facts(inheritable=("memfd",)))),
        (GOT, said.Got("78", facts=said.Facts(held=()))),
        (said.Failed("EIO"), said.Failed("EIO", said.Facts(unreported=("memfd",)))),
        (said.Encoded(None), said.Encoded("")),
        (said.EncodedInto(0, ""), said.EncodedInto(None, "")),
        (said.EncodedInto(0, ""), said.EncodedInto(0, "", outside=True)),
        (said.Decoded(), said.Decoded((script.PlainMessage(1, 9),))),
        (said.Decoded(), said.Decoded((), said.Malformation(0, 16, 0))),
        (
            said.Decoded((script.PlainMessage(41, 8, "00"),)),
            said.Decoded((script.PlainMessage(41, 8, "01"),)),
        ),
        (said.Refusal("no"), said.Refusal("no", (script.NamedPidfd("none"),))),
        (said.NotPerformed("x", "environment"), said.NotPerformed("x", "earlier step")),
        (said.Died("SIGSEGV"), said.Died("SIGSEGV", "last words")),
    ],
)
def test_small_differences_are_told(one: said.Answer, other: said.Answer) -> None:
    assert answer_items(one) != answer_items(other)


def canonical(value: object) -> object:
    """An answer up to the ways of writing the same descriptors."""
    match value:
        case script.NamedRights(descriptors, stray):
            return "rights", names_words(descriptors), stray
        case said.Facts(unreported, inheritable, held):
            return names_words(unreported), names_words(inheritable), canonical(held)
        case Struct():
            fields = (getattr(value, name) for name in value.__struct_fields__)
            return type(value), *map(canonical, fields)
        case tuple():
            return [*map(canonical, cast("tuple[object, ...]", value))]
        case _:
            return value


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (script.Open("dgram"), "open a pair a, b: dgram"),
        (
            script.Send("a", "61*300", (script.NamedRights(("memfd#1..3",), "ff"),)),
            "a: send 300 bytes (61*300), rights memfd#1..3 and stray bytes ff",
        ),
        (
            script.Receive("b", 64, 24, ("MSG_PEEK",)),
            "b: receive up to 64 bytes, 24 of control, MSG_PEEK",
        ),
        (script.Table(), "descriptor table: as it is"),
        (
            script.Table(free=0, holes=True, above=1023),
            "descriptor table: 0 free, with holes, above 1023",
        ),
        (
            script.Encode((script.PlainMessage(1, 1, "05000000"),), 24),
            "encode SCM_RIGHTS 1 descriptor: 5 (05000000) into 24 bytes",
        ),
    ],
)
def test_steps_in_words(step: script.Step, words: str) -> None:
    assert step_words(step, LP64) == words


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
