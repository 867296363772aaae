"""Strategies for cases, as far as the format goes and not only where it makes sense.

The grammar (``ancfuzz.grammar``) draws what is worth performing; what is drawn here is
whatever can be written down and ``case.check`` takes.  Tests of reading, writing and
comparing need the second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from hypothesis import strategies as st

from ancfuzz.case import (
    Case,
    Close,
    Decode,
    Encode,
    EncodeInto,
    Flag,
    NamedCredentials,
    NamedRights,
    Open,
    Option,
    PlainMessage,
    Receive,
    Send,
    SendAll,
    SendRaw,
    SetOption,
    Shutdown,
    SocketKind,
    Step,
    Table,
)
from ancfuzz.names import CLOSED, KINDS, NEGATIVE

if TYPE_CHECKING:
    from ancfuzz.case import Message

MOST_BYTES = 1 << 20
INT32 = st.integers(-(2**31), 2**31 - 1)
UINT32 = st.integers(0, 2**32 - 1)
SIZES = st.integers(0, MOST_BYTES)

HEX = st.binary(max_size=24).map(bytes.hex)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)

# -- names --------------------------------------------------------------------------

ENDPOINT_NAMES = st.sampled_from(["socket:a", "socket:b"])
STEMS = st.builds(
    str.__add__, st.sampled_from(["", "dup:", "dup2:"]), st.sampled_from(KINDS)
)
NAMES = st.one_of(
    STEMS,
    st.builds("{}#{}".format, STEMS, st.integers(1, 99999)),
    ENDPOINT_NAMES,
    ENDPOINT_NAMES.map("dup:{}".format),
    st.sampled_from([CLOSED, NEGATIVE]),
)
"""One descriptor each."""


@st.composite
def counted(draw: st.DrawFn) -> str:
    """An item that counts up."""
    first = draw(st.integers(1, 1000))
    return f"{draw(STEMS)}#{first}..{first + draw(st.integers(0, 9))}"


ITEMS = st.one_of(
    NAMES,
    counted(),
    st.builds("{}*{}".format, NAMES | counted(), st.integers(1, 9)),
)
"""What stands in a list of descriptors: one, or several."""

# -- messages -----------------------------------------------------------------------

PLAIN: st.SearchStrategy[PlainMessage] = st.builds(PlainMessage, INT32, INT32, HEX)
PLAINS = st.lists(PLAIN, max_size=3).map(tuple)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        NamedRights,
        st.lists(ITEMS, max_size=4).map(tuple),
        st.binary(max_size=3).map(bytes.hex),
    ),
    st.builds(
        NamedCredentials,
        INT32 | st.sampled_from(["self", "none"]),
        UINT32 | st.just("self"),
        UINT32 | st.just("self"),
    ),
    PLAIN,
)
"""What can be sent."""

# -- steps --------------------------------------------------------------------------

ENDS = st.sampled_from("ab")
FLAGS = st.lists(st.sampled_from(get_args(Flag)), unique=True).map(tuple)


@st.composite
def payloads(draw: st.DrawFn) -> str:
    """Bytes, and bytes so many times over."""
    unit = draw(HEX)
    times = draw(st.none() | st.integers(1, MOST_BYTES // max(len(unit) // 2, 1)))
    return unit if times is None else f"{unit}*{times}"


TEMPLATES = st.lists(
    HEX
    | (NAMES | counted()).map("{{{}}}".format)
    | st.sampled_from(["{pid}", "{uid}", "{gid}"]),
    max_size=6,
).map("".join)

CODEC_STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(Encode, PLAINS, SIZES),
    st.builds(EncodeInto, PLAINS, SIZES, st.integers(0, 15), st.integers(0, 255)),
    st.builds(Decode, HEX),
)
TABLES = st.builds(
    Table,
    st.none() | st.integers(0, 512),
    st.booleans(),
    st.none() | st.integers(0, 4096),
)
SENT = st.lists(MESSAGES, max_size=3).map(tuple)
SOCKET_STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(SetOption, ENDS, st.sampled_from(get_args(Option)), INT32),
    st.builds(Send, ENDS, payloads(), SENT, FLAGS),
    st.builds(SendRaw, ENDS, TEMPLATES, payloads(), FLAGS),
    st.builds(Receive, ENDS, SIZES, SIZES, FLAGS),
    st.builds(Shutdown, ENDS, st.sampled_from(["read", "write", "both"])),
)


SENDS_ALL = st.builds(SendAll, ENDS, payloads(), SENT)
"""Only at first: it drains what is sent, and nothing else may be there."""


@st.composite
def scripts(draw: st.DrawFn) -> tuple[Step, ...]:
    """Steps that a case may have: bytes, a pair, what is done with it, its end."""
    steps = draw(st.lists(CODEC_STEPS | TABLES, max_size=2))
    if draw(st.booleans()):
        kind = draw(st.sampled_from(get_args(SocketKind)))
        steps.append(Open(kind))
        if kind == "stream" and draw(st.booleans()):
            steps.append(draw(SENDS_ALL))
        steps += draw(st.lists(SOCKET_STEPS | TABLES | CODEC_STEPS, max_size=5))
        steps += [Close(end) for end in draw(st.permutations("ab"))][
            : draw(st.integers(0, 2))
        ]
    return tuple(steps)


CASES = st.builds(
    Case, scripts(), TEXT, TEXT, TEXT, st.lists(TEXT, max_size=2).map(tuple)
)
"""Cases that ``case.check`` takes."""
