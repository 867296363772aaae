"""Leniency and its limits: what is accepted otherwise, and what beside it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz import ControlMessage, Promise, decode, encode, tolerances
from ancfuzz.abi import ABIS, NATIVE
from ancfuzz.case import (
    EncodeInto,
    Message,
    NamedCredentials,
    NamedPidfd,
    NamedRights,
    PlainMessage,
)
from ancfuzz.strategies import control_messages
from ancfuzz.transcript import (
    Answer,
    Decoded,
    Encoded,
    EncodedInto,
    Facts,
    Failed,
    Got,
    Malformation,
    Refusal,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

ONE, TWO = ControlMessage(1, 1, b"\1\0\0\0"), ControlMessage(1, 1, b"\2\0\0\0")
EMPTY, OTHER = ControlMessage(1, 1, b""), ControlMessage(41, 7, b"abcde")
MERGED = ControlMessage(1, 1, b"\1\0\0\0\2\0\0\0")

MESSAGES = st.lists(
    control_messages() | st.sampled_from([ONE, TWO, EMPTY, OTHER]), max_size=4
)


def accepted(messages: list[ControlMessage], control: bytes, room: int = 999) -> bool:
    expected = Encoded(encode(messages).hex() if room > 900 else None)
    observed = Encoded(control.hex())
    return tolerances.encoded(expected, observed, messages, room, NATIVE) == observed


# -- encodings ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "laid_out"),
    [
        ([ONE, TWO], [MERGED]),
        ([ONE, OTHER, TWO], [MERGED, OTHER]),
        ([OTHER, ONE, TWO], [OTHER, MERGED]),
        ([EMPTY, ONE], [ONE]),
        ([ONE, EMPTY], [ONE]),
        ([EMPTY], []),
        ([ONE, EMPTY, TWO], [MERGED]),
    ],
)
def test_an_encoding_may_merge_and_leave_out(
    given_: list[ControlMessage], laid_out: list[ControlMessage]
) -> None:
    whole = encode(laid_out)
    assert accepted(given_, whole)
    last = len(laid_out[-1].data) if laid_out else 0
    assert accepted(given_, whole[: len(whole) - (NATIVE.align(last) - last)])


@pytest.mark.parametrize(
    ("given_", "laid_out"),
    [
        ([ONE, TWO], [TWO, ONE]),
        ([ONE, TWO], [ONE]),
        ([ONE], [ONE, EMPTY]),
        ([ONE, OTHER, TWO], [OTHER, MERGED]),
        ([OTHER], []),
        ([ControlMessage(41, 1, b"")], []),
        ([ControlMessage(1, 1, b"ab"), ONE], [ControlMessage(1, 1, b"ab\1\0\0\0")]),
    ],
)
def test_an_encoding_may_do_no_more(
    given_: list[ControlMessage], laid_out: list[ControlMessage]
) -> None:
    assert not accepted(given_, encode(laid_out))


@given(MESSAGES, st.sampled_from(sorted(ABIS)))
def test_every_allowed_encoding_says_the_same(
    messages: list[ControlMessage], abi_name: str
) -> None:
    abi = ABIS[abi_name]
    first, *others = tolerances.allowed_encodings(messages, abi)
    assert first == encode(messages, abi)
    for control in others:
        assert said(decode(control, abi), abi_name) == said(messages, abi_name)
        assert len(control) <= len(first)


def said(messages: Iterable[ControlMessage], abi_name: str) -> object:
    """What messages say, however the descriptors are divided among them."""
    constants = ABIS[abi_name].constants
    is_rights = (constants.get("SOL_SOCKET"), constants.get("SCM_RIGHTS"))
    messages = list(messages)
    rights = b"".join(m.data for m in messages if (m.level, m.type) == is_rights)
    return rights, [m for m in messages if (m.level, m.type) != is_rights]


def test_what_does_not_fit_may_not_be_smaller_by_magic() -> None:
    whole = encode([ONE])
    assert not accepted([ONE], whole, room=len(whole) - 1)
    assert accepted([ONE], whole[:20], room=20)  # unpadded, it does fit


def test_the_rest_of_a_buffer_is_free_after_a_success_only() -> None:
    step = EncodeInto((PlainMessage(1, 1, "01000000"),), 40, 0, 0xFF)
    control = encode([ONE])

    def judged(observed: EncodedInto) -> bool:
        expected = EncodedInto(24, (control + b"\xff" * 16).hex())
        return (
            tolerances.encoded_into(expected, observed, [ONE], step, NATIVE) == observed
        )

    assert judged(EncodedInto(24, (control + b"\0" * 16).hex()))
    assert judged(EncodedInto(20, (control[:20] + b"\xff" * 20).hex()))
    assert not judged(EncodedInto(24, (control + b"\0" * 16).hex(), outside=True))
    assert not judged(EncodedInto(None, (control + b"\0" * 16).hex()))
    assert not judged(EncodedInto(24, (b"\1" + control[1:] + b"\xff" * 16).hex()))


# -- decodings ----------------------------------------------------------------------

BROKEN = encode([ONE, OTHER]) + b"\7" * 16
AT = len(BROKEN) - 16
BEFORE = tolerances.plain_messages([ONE, OTHER])
MALFORMED = Decoded(malformed=Malformation(AT, 0x0707070707070707, 16))


def decoded(observed: Answer) -> bool:
    return tolerances.decoded(MALFORMED, observed, BROKEN, NATIVE) == observed


def test_at_a_break_one_may_stop_or_say_where() -> None:
    assert decoded(MALFORMED)
    assert decoded(Decoded(malformed=Malformation(AT, 1, 2)))
    assert decoded(Decoded(BEFORE))


@pytest.mark.parametrize(
    "observed",
    [
        Decoded(),
        Decoded(BEFORE[:1]),
        Decoded((*BEFORE, PlainMessage(0, 0))),
        Decoded(malformed=Malformation(AT - 8, 1, 2)),
        Failed("EINVAL"),
    ],
)
def test_at_a_break_one_may_do_nothing_else(observed: Answer) -> None:
    assert not decoded(observed)


def test_empty_rights_may_be_left_out_and_nothing_else() -> None:
    messages = [EMPTY, ONE, ControlMessage(41, 1, b"")]
    expected = Decoded(tolerances.plain_messages(messages))
    control = encode(messages)
    for kept, right in ([1, 2], True), ([0, 2], False), ([0, 1], False):
        plain = tolerances.plain_messages(messages[n] for n in kept)
        observed = Decoded(plain)
        result = tolerances.decoded(expected, observed, control, NATIVE)
        assert (result == observed) is right


# -- receives -----------------------------------------------------------------------

RIGHTS = NamedRights(("memfd", "eventfd"))
IDS = NamedCredentials()
CUT = PlainMessage(1, 2, "00000000")


def received(expected: Got, observed: Answer, promise: Promise | None = None) -> bool:
    result = tolerances.received(expected, observed, promise or Promise())
    return result == observed


def arrived(*messages: Message, **fields: object) -> Got:
    flags = ("MSG_CTRUNC",) if fields.get("truncated") else ()
    values = {"data": "78", "flags": flags, "control_length": 24, **fields}
    return Got(messages=messages, **values)  # type: ignore[arg-type]


class Freedom(NamedTuple):
    """What is expected and observed, under which promise, and whether it is right."""

    expected: Got
    observed: Answer
    promise: Promise = Promise()
    right: bool = True


OWN = Promise(capacity="own", max_descriptors=1)
RIGHTS_ONLY = Promise(reports="rights")
REFUSES = Promise(on_truncation="refuse")
WHOLE, HALF = arrived(RIGHTS), arrived(NamedRights(("memfd",)), truncated=True)
INHERITED = Facts(inheritable=("memfd",))
ROOT = NamedCredentials(0, 0, 0)

FREEDOMS = {
    "no flags shown": Freedom(WHOLE, arrived(RIGHTS, flags=None)),
    "no length shown": Freedom(WHOLE, arrived(RIGHTS, control_length=None)),
    "MSG_CMSG_CLOEXEC not shown": Freedom(
        arrived(flags=("MSG_CTRUNC", "MSG_CMSG_CLOEXEC"), truncated=True),
        arrived(flags=("MSG_CTRUNC",), truncated=True),
    ),
    "MSG_CTRUNC not shown": Freedom(
        arrived(flags=("MSG_CTRUNC",), truncated=True),
        arrived(flags=(), truncated=True),
        right=False,
    ),
    "a cut message": Freedom(arrived(CUT, truncated=True), arrived(truncated=True)),
    "a cut message without a word": Freedom(
        arrived(CUT, truncated=True), arrived(), right=False
    ),
    "a whole message of another kind": Freedom(arrived(CUT), arrived(), right=False),
    "root at the end": Freedom(arrived(ROOT, data=""), arrived(data="")),
    "root with data": Freedom(arrived(ROOT), arrived(), right=False),
    "anybody at the end": Freedom(arrived(IDS, data=""), arrived(data=""), right=False),
    "a failed pidfd": Freedom(arrived(NamedPidfd("none")), arrived()),
    "a pidfd": Freedom(arrived(NamedPidfd("self")), arrived(), right=False),
    "rights only": Freedom(
        arrived(IDS, RIGHTS, NamedPidfd("self")), arrived(RIGHTS), RIGHTS_ONLY
    ),
    "not even rights": Freedom(arrived(RIGHTS), arrived(), RIGHTS_ONLY, right=False),
    "credentials hidden": Freedom(arrived(IDS), arrived(), right=False),
    "inheritable, as promised": Freedom(
        WHOLE, arrived(RIGHTS, facts=INHERITED), Promise(close_on_exec=False)
    ),
    "inheritable": Freedom(WHOLE, arrived(RIGHTS, facts=INHERITED), right=False),
    "a buffer of its own": Freedom(WHOLE, HALF, OWN),
    "a buffer of its own, in silence": Freedom(
        WHOLE, arrived(NamedRights(("memfd",))), OWN, right=False
    ),
    "a buffer of its own, too small": Freedom(
        WHOLE, HALF, Promise(capacity="own", max_descriptors=2), right=False
    ),
    "a buffer of its own, the wrong half": Freedom(
        WHOLE, arrived(NamedRights(("eventfd",)), truncated=True), OWN, right=False
    ),
    "the caller's buffer": Freedom(WHOLE, HALF, right=False),
    "a refusal": Freedom(WHOLE, Refusal("no")),
    "a refusal that installs": Freedom(
        WHOLE, Refusal("no", facts=Facts(unreported=("memfd",))), right=False
    ),
    "a refusal that holds": Freedom(
        WHOLE, Refusal("no", facts=Facts(held=(RIGHTS,))), right=False
    ),
    "truncation refused": Freedom(HALF, Failed("EMSGSIZE"), REFUSES),
    "truncation refused against the promise": Freedom(
        HALF, Failed("EMSGSIZE"), right=False
    ),
    "no truncation refused": Freedom(WHOLE, Failed("EMSGSIZE"), REFUSES, right=False),
    "unreported": Freedom(
        WHOLE, arrived(RIGHTS, facts=Facts(unreported=("memfd",))), right=False
    ),
}


@pytest.mark.parametrize("name", FREEDOMS)
def test_a_receive_is_free_in_this_and_no_further(name: str) -> None:
    freedom = FREEDOMS[name]
    assert (
        received(freedom.expected, freedom.observed, freedom.promise) == freedom.right
    )


@given(
    st.sampled_from([WHOLE, HALF, arrived(IDS, RIGHTS), arrived(CUT, truncated=True)]),
    st.sampled_from([Promise(), OWN, RIGHTS_ONLY, REFUSES]),
)
def test_what_was_expected_is_always_right(expected: Got, promise: Promise) -> None:
    assert tolerances.received(expected, expected, promise) == expected


@pytest.mark.parametrize(
    ("count", "promise", "observed", "right"),
    [
        (17, Promise(max_descriptors=16), Failed("E2BIG"), True),
        (16, Promise(max_descriptors=16), Failed("E2BIG"), False),
        (17, Promise(), Failed("E2BIG"), False),
        (1, Promise(), Refusal("no"), True),
    ],
)
def test_a_send_is_declined_by_promise_only(
    count: int, promise: Promise, observed: Answer, right: bool
) -> None:
    messages = (NamedRights(("memfd", f"eventfd*{count - 1}")),)
    assert tolerances.refused_send(messages, promise, observed) is right
