"""Errors: whose fault each is, what it says, and that it survives a trip home."""

from __future__ import annotations

import pickle
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz.errors import (
    AncfuzzError,
    EnvironmentUnsupported,
    MalformedControl,
    Refused,
    Unsupported,
    UsageError,
)

T = TypeVar("T")

FAULT = MalformedControl(offset=32, needed=16, available=3)


def sent_home(value: T) -> T:
    twin: T = pickle.loads(pickle.dumps(value))  # noqa: S301  (our own bytes)
    return twin


@pytest.mark.parametrize(
    "error",
    [UsageError, MalformedControl, EnvironmentUnsupported, Refused, Unsupported],
)
def test_every_error_is_one_of_ours(error: type[Exception]) -> None:
    assert issubclass(error, AncfuzzError)


def test_malformed_bytes_are_a_value_error_and_no_other_fault_is() -> None:
    assert issubclass(MalformedControl, ValueError)
    for other in (UsageError, EnvironmentUnsupported, Refused, Unsupported):
        assert not issubclass(other, ValueError)


def test_a_malformed_control_says_where_and_how_much() -> None:
    assert (FAULT.offset, FAULT.needed, FAULT.available) == (32, 16, 3)
    assert str(FAULT) == (
        "malformed control message at offset 32: 16 bytes needed, 3 available"
    )


@given(st.integers(0), st.integers(0), st.integers(0))
def test_a_malformed_control_pickles_and_is_one_line(
    offset: int, needed: int, available: int
) -> None:
    error = MalformedControl(offset=offset, needed=needed, available=available)
    copy = sent_home(error)
    assert type(copy) is MalformedControl
    assert copy.args == error.args
    assert (copy.offset, copy.needed, copy.available) == (offset, needed, available)
    assert str(copy) == str(error)
    assert len(str(error).splitlines()) == 1


def test_the_numbers_of_a_malformed_control_have_names() -> None:
    with pytest.raises(TypeError):
        MalformedControl(32, 16, 3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize(
    ("refused", "messages"),
    [
        pytest.param(Refused(), (), id="nothing"),
        pytest.param(Refused([b"one", b"two"]), (b"one", b"two"), id="messages"),
        pytest.param(Refused("more descriptors than it takes"), (), id="a reason"),
    ],
)
def test_what_a_refusal_hands_out(
    refused: Refused, messages: tuple[object, ...]
) -> None:
    assert refused.messages == messages
    assert sent_home(refused).messages == messages


def test_the_reason_of_a_refusal_is_not_taken_for_messages() -> None:
    assert str(Refused("too many")) == "too many"
    assert str(sent_home(Refused("too many"))) == "too many"
