"""Steps, names and answers in words: what differs is told differently."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from ancfuzz import case as script
from ancfuzz import transcript as said
from ancfuzz.names import expand
from ancfuzz.picture.words import answer_items, names_words, step_words
from tests.pictured import LP64, answers, names

if TYPE_CHECKING:
    from collections.abc import Iterable


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
