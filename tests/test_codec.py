"""The codec: what is written is laid out by the rule, and any bytes can be read.

That what is read is right is in test_codec_decoding.
"""

from __future__ import annotations

import array
import mmap
import pickle
import re
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz.abi import ABIS, Abi
from ancfuzz.codec import ControlMessage, decode, encode, encoded_size, walk
from ancfuzz.strategies import control_messages
from tests.layouts import LAYOUTS, X86_64, for_each_layout, of_each_abi
from tests.second_codec import second_decode

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy
    from typing_extensions import Buffer


def message_lists(*, abi: Abi) -> SearchStrategy[list[ControlMessage]]:
    return st.lists(control_messages(abi=abi, max_size=64), max_size=5)


MESSAGES = of_each_abi(message_lists)


@given(MESSAGES)
def test_a_buffer_is_as_long_as_the_sum_of_cmsg_space(
    drawn: tuple[Abi, list[ControlMessage]],
) -> None:
    abi, messages = drawn
    space = sum(abi.cmsg_space(len(message.data)) for message in messages)
    assert len(encode(messages, abi)) == encoded_size(messages, abi) == space


@given(MESSAGES)
def test_what_was_written_is_read(drawn: tuple[Abi, list[ControlMessage]]) -> None:
    abi, messages = drawn
    assert decode(encode(messages, abi), abi) == messages


@given(MESSAGES)
def test_padding_is_zero(drawn: tuple[Abi, list[ControlMessage]]) -> None:
    abi, messages = drawn
    control = encode(messages, abi)
    for span in walk(control, abi):
        if span.kind == "padding":
            assert not any(control[span.start : span.stop])


@given(MESSAGES, st.integers(0, 5))
def test_messages_lie_one_behind_the_other(
    drawn: tuple[Abi, list[ControlMessage]], at: int
) -> None:
    abi, messages = drawn
    parts = encode(messages[:at], abi), encode(messages[at:], abi)
    assert b"".join(parts) == encode(messages, abi)
    assert encode(iter(messages), abi) == encode(tuple(messages), abi)


# One descriptor, number 5, as the headers of each layout lay it out.
BY_HAND = {
    "x86_64-linux-gnu": "1400000000000000 01000000 01000000 05000000 00000000",
    "aarch64_be-linux-gnu": "0000000000000014 00000001 00000001 00000005 00000000",
    "x86-linux-gnu": "10000000 01000000 01000000 05000000",
    "mips-linux-gnueabihf": "00000010 0000ffff 00000001 00000005",
    "x86_64-linux-musl": "14000000 00000000 01000000 01000000 05000000 00000000",
    "s390x-linux-musl": "00000000 00000014 00000001 00000001 00000005 00000000",
    "x86_64-freebsd-none": "14000000 ffff0000 01000000 00000000 05000000 00000000",
    "powerpc64-freebsd-none": "00000014 0000ffff 00000001 00000000 00000005 00000000",
    "aarch64-netbsd-none": (
        "14000000 ffff0000 01000000 00000000 05000000 00000000 00000000 00000000"
    ),
    "sparc64-openbsd-none": (
        "00000014 0000ffff 00000001 00000000 00000005 00000000 00000000 00000000"
    ),
}


def test_the_vectors_by_hand_are_of_every_layout() -> None:
    assert {ABIS[name].header_format[1:] for name in BY_HAND} == {
        abi.header_format[1:] for abi in LAYOUTS
    }
    assert len(BY_HAND) == len(LAYOUTS)


@pytest.mark.parametrize("name", BY_HAND)
def test_one_descriptor_by_hand(name: str) -> None:
    abi, control = ABIS[name], bytes.fromhex(BY_HAND[name])
    five = (5).to_bytes(4, abi.byte_order)
    message = ControlMessage(abi.constants["SOL_SOCKET"], 1, five)
    assert encode([message], abi) == control
    assert decode(control, abi) == [message]
    assert second_decode(control, abi) == [message]


def test_a_big_endian_musl_keeps_its_length_behind_the_padding() -> None:
    abi = ABIS["s390x-linux-musl"]
    control = encode([ControlMessage(1, 1, b"1234")], abi)
    assert (control[:4], control[4:8]) == (bytes(4), b"\0\0\0\x14")
    # glibc on the same machine reads one number of eight bytes: the same one.
    assert decode(control, ABIS["aarch64_be-linux-gnu"]) == decode(control, abi)


def test_no_messages_are_no_bytes() -> None:
    assert encode([]) == b""
    assert decode(b"") == []
    assert list(walk(b"")) == []


class Endless(bytes):
    """Says that it is longer than a length of four bytes can say."""

    def __len__(self) -> int:
        return 1 << 32


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (ControlMessage(1 << 31, 0, b""), "level 2147483648: expected a C int"),
        (ControlMessage(-(1 << 31) - 1, 0, b""), "level -2147483649: expected a C int"),
        (ControlMessage(0, 1 << 31, b""), "type 2147483648: expected a C int"),
        (ControlMessage(0, -(1 << 40), b""), "type -1099511627776: expected a C int"),
        (ControlMessage(0, 1.5, b""), "type 1.5: expected a C int"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (
            ControlMessage(0, 0, Endless()),
            "4294967296 payload bytes: cmsg_len of x86-linux-gnu has 4 bytes",
        ),
    ],
)
def test_what_cannot_be_written(message: ControlMessage, told: str) -> None:
    with pytest.raises(ValueError, match=f"^cannot encode {re.escape(told)}$"):
        encode([ControlMessage(1, 1, b""), message], ABIS["x86-linux-gnu"])


@pytest.mark.parametrize("number", [-(1 << 31), -1, 0, (1 << 31) - 1])
@for_each_layout
def test_level_and_type_are_any_c_ints(abi: Abi, number: int) -> None:
    messages = [ControlMessage(number, 7, b""), ControlMessage(7, number, b"")]
    assert decode(encode(messages, abi), abi) == messages


ONE = ControlMessage(1, 1, b"12345678")
BYTES = encode([ONE, ONE], X86_64)


@pytest.mark.parametrize(
    "control",
    [
        pytest.param(bytearray(BYTES), id="bytearray"),
        pytest.param(memoryview(BYTES), id="memoryview"),
        pytest.param(array.array("I", BYTES), id="array of four-byte items"),
        pytest.param(memoryview(BYTES).cast("Q"), id="memoryview of eight-byte items"),
        pytest.param(memoryview(BYTES).cast("B", (6, 8)), id="in two dimensions"),
        pytest.param(memoryview(BYTES[::-1])[::-1], id="backwards"),
        pytest.param(
            memoryview(bytes(b for byte in BYTES for b in (byte, 0xFF)))[::2],
            id="every second byte",
        ),
        pytest.param(type("Child", (bytes,), {})(BYTES), id="a subclass of bytes"),
    ],
)
def test_any_bytes_like_object(control: Buffer) -> None:
    assert decode(control, X86_64) == [ONE, ONE]
    assert list(walk(control, X86_64)) == list(walk(BYTES, X86_64))
    for message in decode(control, X86_64):
        assert type(message.data) is bytes


def test_a_mapped_file_is_bytes_like_and_not_kept() -> None:
    with mmap.mmap(-1, len(BYTES)) as mapped:
        mapped[:] = BYTES
        messages = decode(mapped, X86_64)
        mapped[:] = bytes(len(BYTES))
    assert messages == [ONE, ONE]


@pytest.mark.parametrize("wrong", [5, "text", None, [1, 2], 1.5])
def test_what_is_not_bytes_is_a_type_error(wrong: object) -> None:
    with pytest.raises(TypeError):
        decode(cast("Any", wrong))
    with pytest.raises(TypeError):
        list(walk(cast("Any", wrong)))


def test_a_payload_is_counted_in_bytes() -> None:
    numbers = array.array("i", [5, 6])
    message = ControlMessage(1, 1, cast("Any", numbers))
    assert decode(encode([message]))[0].data == numbers.tobytes()


def test_a_message_is_a_value() -> None:
    assert {ONE: 1}[ControlMessage(1, 1, b"12345678")] == 1
    twin = pickle.loads(pickle.dumps(ONE))  # noqa: S301  (our own bytes)
    assert twin == ONE
    with pytest.raises(AttributeError):
        ONE.level = 2  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
