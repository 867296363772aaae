"""Strategies for what pictures are drawn of: buffers, steps, answers, transcripts.

A little of each, what a stranger may have written included; not every one of them could
be performed, or read back.
"""

from __future__ import annotations

from hypothesis import strategies as st

from ancfuzz import case as script
from ancfuzz import transcript as said
from ancfuzz.abi import ABIS
from ancfuzz.codec import ControlMessage, encode
from ancfuzz.picture import (
    ASCII,
    MIN_WIDTH,
    UNICODE,
)

LP64 = ABIS["x86_64-linux-gnu"]

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
