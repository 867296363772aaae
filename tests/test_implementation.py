"""The face that users write against: what is tested, and what a promise says."""

from __future__ import annotations

import msgspec
import pytest

from ancfuzz import Implementation, Promise, Received, implementation
from ancfuzz.abi import NATIVE

# An operation with a call that a base has to be able to answer.
CALLS: dict[str, tuple[object, ...]] = {
    "encode": ((), 0),
    "encode_into": (memoryview(bytearray()), ()),
    "decode": (b"",),
    "send": (None, b"", ()),
    "send_all": (None, b"", ()),
    "receive": (None, 0, 0),
    "held": (),
    "pair": ("stream",),
}


def test_nothing_is_abstract_and_nothing_is_asked_for() -> None:
    one = Implementation()
    assert one.abi is NATIVE
    assert one.promise == Promise()
    assert implementation.tested(Implementation) == frozenset()
    one.close()


def _anything(*_: object) -> None:
    """An operation that the reference does not have."""


@pytest.mark.parametrize("operation", implementation.OPERATIONS)
def test_an_operation_is_tested_iff_it_is_overridden(operation: str) -> None:
    override = {operation: _anything}
    cls = type("Mine", (Implementation,), override)
    assert implementation.tested(cls) == {operation}
    assert implementation.tested(type("Mine", (cls,), {})) == {operation}


def test_a_mixin_counts() -> None:
    class Mixin:
        def decode(self, control: bytes) -> list[object]:
            return []

    class Mine(Mixin, Implementation):  # type: ignore[misc]  # as users do it
        pass

    assert implementation.tested(Mine) == {"decode"}


@pytest.mark.parametrize("operation", CALLS)
def test_what_is_not_overridden_says_so_when_it_is_called(operation: str) -> None:
    with pytest.raises(NotImplementedError):
        getattr(Implementation(), operation)(*CALLS[operation])


def test_a_promise_is_plain_json_and_knows_no_other_fields() -> None:
    promise = Promise(capacity="own", max_descriptors=16, payload=b"\0x")
    text = msgspec.json.encode(promise)
    assert msgspec.json.decode(text, type=Promise) == promise
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"capasity": "own"}', type=Promise)


def test_the_defaults_are_those_of_a_plain_receiver() -> None:
    assert Promise() == Promise(
        capacity="caller",
        max_descriptors=None,
        reports="all",
        on_truncation="deliver",
        close_on_exec=True,
        payload=None,
        thread_safe=False,
    )
    assert Received(b"", (), False).flags is None
