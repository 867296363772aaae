"""A transcript is a value: it compares, and survives JSON and MessagePack unchanged.

The first is what reports are written in, the second how a worker answers.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz import case as case_module
from ancfuzz import transcript as transcript_module
from ancfuzz.case import Flag, NamedPidfd
from ancfuzz.transcript import (
    Answer,
    Decoded,
    Died,
    Done,
    Encoded,
    EncodedInto,
    Environment,
    Facts,
    Failed,
    Got,
    Hung,
    Malformation,
    Nonsense,
    NotPerformed,
    Raised,
    Refusal,
    Sent,
    Transcript,
    Untold,
)
from tests.drawing import HEX, MESSAGES, NAMES, PLAINS, TEXT, payloads

if TYPE_CHECKING:
    from collections.abc import Callable

COUNTS = st.integers(0, 2**31)
WORDS = st.lists(TEXT, max_size=2).map(tuple)
FEW_NAMES = st.lists(NAMES | st.sampled_from(["phantom", "other"]), max_size=3).map(
    tuple
)
SEEN = st.lists(
    MESSAGES | st.builds(NamedPidfd, st.sampled_from(["self", "none", "other"])),
    max_size=3,
).map(tuple)
FACTS = st.builds(Facts, FEW_NAMES, FEW_NAMES, st.none() | SEEN)
FLAGS = st.lists(st.sampled_from(get_args(Flag)), unique=True).map(tuple)

ANSWERS: dict[type[Answer], st.SearchStrategy[Answer]] = {
    Done: st.just(Done()),
    Untold: st.just(Untold()),
    Failed: st.builds(Failed, st.sampled_from(["EBADF", "EAGAIN", "4095"]), FACTS),
    Sent: st.builds(Sent, COUNTS),
    Got: st.builds(
        Got,
        payloads(),
        SEEN,
        st.booleans(),
        st.none() | FLAGS,
        st.none() | COUNTS,
        FACTS,
    ),
    Encoded: st.builds(Encoded, st.none() | HEX),
    EncodedInto: st.builds(EncodedInto, st.none() | COUNTS, HEX, st.booleans()),
    Decoded: st.builds(
        Decoded,
        PLAINS,
        st.none() | st.builds(Malformation, COUNTS, st.integers(0, 2**64 - 1), COUNTS),
    ),
    Refusal: st.builds(Refusal, TEXT, SEEN, FACTS),
    NotPerformed: st.builds(
        NotPerformed,
        TEXT,
        st.sampled_from(["implementation", "environment", "earlier step"]),
    ),
    Raised: st.builds(Raised, TEXT, TEXT, FACTS),
    Nonsense: st.builds(Nonsense, TEXT, TEXT, FACTS),
    Hung: st.builds(Hung, st.floats(0, 1e9)),
    Died: st.builds(Died, TEXT, TEXT),
}
RANGES = st.lists(st.tuples(COUNTS, COUNTS), max_size=2).map(tuple)
ENVIRONMENTS = st.builds(
    Environment,
    kernel=TEXT,
    uid=COUNTS,
    gid=COUNTS,
    capabilities=WORDS,
    is_init=st.booleans(),
    uids=RANGES,
    gids=RANGES,
    root=st.tuples(COUNTS, COUNTS),
    features=WORDS,
    identity=TEXT,
)
TRANSCRIPTS = st.builds(
    Transcript,
    answers=st.lists(st.one_of(*ANSWERS.values()), max_size=4).map(tuple),
    subject=st.sampled_from(["", "a", "b"]),
    environment=ENVIRONMENTS,
    leaked=FEW_NAMES,
    lost=FEW_NAMES,
    closing=TEXT,
    output=TEXT,
)

CODECS = {
    "json": (msgspec.json.encode, msgspec.json.decode),
    "msgpack": (msgspec.msgpack.encode, msgspec.msgpack.decode),
}


def test_every_answer_is_drawn_and_told_apart_by_its_tag() -> None:
    assert set(ANSWERS) == set(get_args(Answer))
    tags = [one.__struct_config__.tag for one in ANSWERS]
    assert len(set(tags)) == len(tags)


@pytest.mark.parametrize(("encode", "decode"), CODECS.values(), ids=CODECS)
@given(transcript=TRANSCRIPTS)
def test_a_transcript_survives(
    encode: Callable[[object], bytes],
    decode: Callable[..., Transcript],
    transcript: Transcript,
) -> None:
    written = encode(transcript)
    again = decode(written, type=Transcript)
    assert again == transcript
    assert encode(again) == written


@given(TRANSCRIPTS)
def test_its_repr_makes_it_again_and_equal_ones_hash_equal(
    transcript: Transcript,
) -> None:
    names = {**vars(case_module), **vars(transcript_module)}
    again = eval(repr(transcript), names)  # noqa: S307  (our own repr)
    assert again == transcript
    assert hash(again) == hash(transcript)


@given(TRANSCRIPTS)
def test_as_json_it_says_one_thing_for_each_answer(transcript: Transcript) -> None:
    told = json.loads(msgspec.json.encode(transcript))
    assert [one["answer"] for one in told["answers"]] == [
        type(one).__struct_config__.tag for one in transcript.answers
    ]


def test_what_was_said_and_what_was_true_are_kept_apart() -> None:
    said = Got("78")
    assert said == Got("78", facts=Facts())
    assert said != Got("78", facts=Facts(unreported=("memfd",)))
    assert b"facts" not in msgspec.json.encode(said)


def test_a_transcript_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Transcript(()).subject = "a"  # type: ignore[misc]  # what is tested
