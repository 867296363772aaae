"""Names mean what they say: items expand, duplicates share a description."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz.errors import UsageError
from ancfuzz.names import (
    CLOSED,
    KINDS,
    NEGATIVE,
    OTHER,
    PHANTOM,
    description_of,
    expand,
    is_sendable,
    kind_of,
)
from tests.drawing import ITEMS, NAMES, STEMS

MOST = 4096
IN_TRANSCRIPTS = [PHANTOM, OTHER, "number:0", "number:1", "number:2"]


@given(NAMES)
def test_one_name_stands_for_itself(name: str) -> None:
    assert expand(name) == (name,)
    assert is_sendable(name)
    assert kind_of(name) in (*KINDS, CLOSED, NEGATIVE)


@given(ITEMS)
def test_an_item_stands_for_names_of_one_kind(item: str) -> None:
    names = expand(item)
    assert names
    assert all(expand(name) == (name,) for name in names)
    assert len({kind_of(name) for name in names}) == 1


@given(STEMS, st.integers(1, 9000), st.integers(1, 100), st.integers(1, 40))
def test_counting_and_repeating(stem: str, first: int, count: int, times: int) -> None:
    last = first + count - 1
    names = tuple(f"{stem}#{n}" for n in range(first, last + 1))
    assert expand(f"{stem}#{first}..{last}") == names
    assert expand(f"{stem}#{first}..{last}*{times}") == names * times
    assert expand(f"{stem}*{times}") == (stem,) * times


@given(NAMES)
def test_a_duplicate_is_another_number_for_the_same_description(name: str) -> None:
    original = description_of(name)
    assert description_of(original) == original
    assert kind_of(original) == kind_of(name)
    assert description_of(f"dup:{original}") == original
    assert description_of(f"dup2:{original}") == original


@pytest.mark.parametrize("name", IN_TRANSCRIPTS)
def test_what_comes_up_in_transcripts_only_cannot_be_sent(name: str) -> None:
    assert expand(name) == (name,)
    assert not is_sendable(name)
    for item in (f"{name}*2", f"{name}#1", f"dup:{name}"):
        with pytest.raises(UsageError, match="does not name a descriptor"):
            expand(item)


@pytest.mark.parametrize(
    "item",
    [
        "",
        "mem",
        "Memfd",
        " memfd",
        "memfd ",
        "memfd\n",
        "memfd#",
        "memfd#0",
        "memfd#01",
        "memfd#-1",
        "memfd#1..",
        "memfd#..3",
        "memfd#1..0",
        "memfd*0",
        "memfd*",
        "memfd*2*2",
        "memfd#100000",
        "dup:",
        "dup:dup:memfd",
        "dup",
        "socket:",
        "socket:ab",
        "socket:A",
        "number:3",
        "7",
        "pid",
        "memfd,file",
        "m\N{GREEK SMALL LETTER EPSILON}mfd",
    ],
)
def test_what_is_no_name_is_refused_with_what_a_name_is(item: str) -> None:
    with pytest.raises(UsageError) as caught:
        expand(item)
    said = str(caught.value)
    assert repr(item) in said
    assert "KIND#N" in said
    assert all(kind in said for kind in KINDS)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("item", "count"),
    [
        ("memfd#3..1", 0),
        ("memfd*4097", 4097),
        ("memfd#1..4097", 4097),
        ("memfd#1..100*41", 4100),
        ("memfd#1..99999*99999", 99999 * 99999),
    ],
)
def test_an_item_names_so_many_and_no_more(item: str, count: int) -> None:
    with pytest.raises(UsageError, match=rf"names {count} descriptors: 1 to {MOST}"):
        expand(item)


@pytest.mark.parametrize("item", ["memfd*4096", "memfd#1..4096", "memfd#1..64*64"])
def test_the_most_that_an_item_names(item: str) -> None:
    assert len(expand(item)) == MOST


@given(st.text(max_size=30) | st.from_regex(r"[a-z:#.*0-9-]{0,25}", fullmatch=True))
def test_any_text_is_names_or_refused(text: str) -> None:
    try:
        names = expand(text)
    except UsageError:
        return
    assert 1 <= len(names) <= MOST
    assert text in IN_TRANSCRIPTS or all(kind_of(name) for name in names)
