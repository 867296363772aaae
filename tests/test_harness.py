"""Performing: who does what, and what is true whatever is said."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from ancfuzz import (
    ControlMessage,
    Implementation,
    MalformedControl,
    Received,
    Refused,
    Unsupported,
)
from ancfuzz.case import (
    Case,
    Decode,
    Encode,
    EncodeInto,
    NamedRights,
    Open,
    PlainMessage,
    Receive,
    Send,
    SendAll,
    Step,
)
from ancfuzz.descriptors import open_numbers
from ancfuzz.harness import Performer, ends_to_hold
from ancfuzz.implementation import OPERATIONS
from ancfuzz.implementations import Reference, subject
from ancfuzz.transcript import (
    Answer,
    Decoded,
    Done,
    Encoded,
    Failed,
    Got,
    Malformation,
    Nonsense,
    NotPerformed,
    Raised,
    Refusal,
    Sent,
    Transcript,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

RIGHT = Reference()
OPENED = Open()
SEND, RECEIVE = Send("a", "78", (NamedRights(("memfd",)),)), Receive("b", 9, 64)
BACK = Send("b"), Receive("a", 9, 64)


@pytest.fixture
def performer() -> Iterator[Performer]:
    before = open_numbers()
    performer = Performer()
    yield performer
    performer.close()
    assert open_numbers() == before


def perform(
    performer: Performer, cls: type[Implementation], *steps: Step, end: str = "b"
) -> Transcript:
    return performer.perform(Case(steps), subject(cls), end)


class Ends(Implementation):
    """Ends each call in the way that the test sets."""

    error: BaseException = ValueError("unset")

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        raise self.error

    def send(
        self,
        sock: socket.socket,
        data: bytes,
        messages: tuple[ControlMessage, ...],
        flags: int = 0,
    ) -> int:
        raise self.error

    def decode(self, control: bytes) -> list[ControlMessage]:
        raise self.error

    def encode(
        self, messages: tuple[ControlMessage, ...], capacity: int
    ) -> bytes | None:
        raise self.error


ENDINGS: list[tuple[BaseException, Answer]] = [
    (OSError(errno.EBADF, "bad"), Failed("EBADF")),
    (Refused("full"), Refusal("full")),
    (Unsupported("no flags"), NotPerformed("no flags", "implementation")),
    (ValueError("odd"), Raised("ValueError", "odd")),
    (SystemExit(3), Raised("SystemExit", "3")),
    (OSError("no errno"), Raised("OSError", "no errno")),
    (TimeoutError("late"), Raised("TimeoutError", "late")),
]


@pytest.mark.parametrize(("error", "answer"), ENDINGS, ids=str)
@pytest.mark.parametrize(
    "steps",
    [
        (OPENED, SEND, RECEIVE),
        (OPENED, Send("b")),
        (Decode(""),),
        (Encode((), 0),),
    ],
    ids=["receive", "send", "decode", "encode"],
)
def test_an_exception_is_an_answer(
    performer: Performer,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    answer: Answer,
    steps: tuple[Step, ...],
) -> None:
    monkeypatch.setattr(Ends, "error", error)
    end = "b" if steps[0] == OPENED else ""
    transcript = perform(performer, Ends, *steps, end=end)
    assert transcript.answers[-1] == answer
    assert transcript.leaked == transcript.lost == ()


def test_malformed_is_a_word_of_decode(
    performer: Performer, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = MalformedControl(offset=1, needed=2, available=3)
    monkeypatch.setattr(Ends, "error", error)
    transcript = perform(performer, Ends, Decode(""), end="")
    assert transcript.answers == (Decoded(malformed=Malformation(1, 2, 3)),)
    (answer,) = perform(performer, Ends, Encode((), 0), end="").answers
    assert isinstance(answer, Raised)


def test_behind_what_is_not_performed_nothing_is(
    performer: Performer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ends, "error", Unsupported("no"))
    transcript = perform(performer, Ends, OPENED, SEND, RECEIVE, RECEIVE)
    assert len(transcript.answers) == 3


# -- who does what ------------------------------------------------------------------

CALLED: list[str] = []


class Notes(Reference):
    """The reference, noting what it is asked."""

    def __getattribute__(self, name: str) -> object:
        if name in OPERATIONS and name != "close":
            CALLED.append(name)
        return super().__getattribute__(name)


class NotesReceive(Implementation):
    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        CALLED.append("receive")
        return RIGHT.receive(sock, data_capacity, control_capacity, flags)


def test_the_other_end_is_always_the_reference(performer: Performer) -> None:
    CALLED.clear()
    perform(performer, NotesReceive, OPENED, SEND, RECEIVE, *BACK)
    assert CALLED == ["receive"]
    CALLED.clear()
    perform(performer, NotesReceive, OPENED, SEND, RECEIVE, *BACK, end="a")
    assert CALLED == ["receive"]


@pytest.mark.parametrize(
    ("steps", "operations", "ends"),
    [
        ((OPENED, SEND, RECEIVE), {"send"}, ("a",)),
        ((OPENED, SEND, RECEIVE), {"receive"}, ("b",)),
        ((OPENED, SEND, RECEIVE), {"send", "receive"}, ("a", "b")),
        ((OPENED, SEND, RECEIVE), {"decode"}, ()),
        ((OPENED, SEND, RECEIVE), {"pair"}, ("",)),
        ((OPENED, SEND, RECEIVE), {"close", "held"}, ()),
        ((Decode(""),), {"decode"}, ("",)),
        ((Decode(""),), {"pair"}, ()),
        ((EncodeInto((), 0),), {"encode"}, ()),
        ((OPENED, SendAll("a", "78")), {"send_all"}, ("a",)),
    ],
)
def test_an_end_is_held_where_something_is_tested(
    steps: tuple[Step, ...], operations: set[str], ends: tuple[str, ...]
) -> None:
    assert ends_to_hold(Case(steps), frozenset(operations)) == ends


INSTANCES: list[Implementation] = []


class Counts(NotesReceive):
    def __init__(self) -> None:
        INSTANCES.append(self)

    def close(self) -> None:
        INSTANCES.remove(self)


def test_one_instance_serves_one_case_and_is_closed(performer: Performer) -> None:
    INSTANCES.clear()
    for _ in range(2):
        perform(performer, Counts, OPENED, SEND, RECEIVE, SEND, RECEIVE)
        assert INSTANCES == []


# -- what is asked, and what is answered --------------------------------------------


class Asked(Implementation):
    """Notes how it was called."""

    seen: tuple[object, ...] = ()

    def send(
        self,
        sock: socket.socket,
        data: bytes,
        messages: tuple[ControlMessage, ...],
        flags: int = 0,
    ) -> int:
        Asked.seen = (data, messages, flags, sock.getblocking())
        return RIGHT.send(sock, data, messages, flags)


def test_a_send_gets_bytes_a_tuple_and_a_socket_that_does_not_block(
    performer: Performer,
) -> None:
    steps = OPENED, Send("a", "6162", SEND.messages, ("MSG_DONTWAIT",))
    perform(performer, Asked, *steps, end="a")
    data, messages, flags, blocking = Asked.seen
    assert (data, type(messages), flags, blocking) == (b"ab", tuple, 0x40, False)


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        (b"", [], 0, None),
        Received("text", (), False),  # type: ignore[arg-type]  # as wrong as can be
        Received(b"", None, False),  # type: ignore[arg-type]
        Received(b"", ((1, 1, b""),), False),  # type: ignore[arg-type]
        Received(b"", (ControlMessage(1, 1, "x"),), False),  # type: ignore[arg-type]
        Received(b"", (), False, flags="none"),  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_a_wrong_type_is_nonsense_and_no_crash(
    performer: Performer, value: object
) -> None:
    class Returns(Implementation):
        def receive(self, *_: object) -> object:  # type: ignore[override]
            return value

    answer = perform(performer, Returns, OPENED, Send("a"), RECEIVE).answers[-1]
    assert isinstance(answer, Nonsense)
    assert answer.expected


def test_an_odd_repr_is_no_crash(performer: Performer) -> None:
    class Odd:
        def __repr__(self) -> str:
            raise ValueError("no repr")

    class Returns(Implementation):
        def decode(self, control: bytes) -> list[ControlMessage]:
            return Odd()  # type: ignore[return-value]  # as wrong as can be

    (answer,) = perform(performer, Returns, Decode(""), end="").answers
    assert isinstance(answer, Nonsense)


def test_answers_are_what_came(performer: Performer) -> None:
    answers = perform(performer, Reference, OPENED, SEND, RECEIVE, end="").answers
    assert answers[:2] == (Done(), Sent(1))
    got = answers[2]
    assert isinstance(got, Got)
    assert (got.data, got.messages) == ("78", (NamedRights(("memfd",)),))
    plain = PlainMessage(41, 7, "ff")
    steps = Encode((plain,), 99), Decode("")
    encoded, decoded = perform(performer, Reference, *steps, end="").answers
    assert isinstance(encoded, Encoded)
    assert decoded == Decoded(())


def test_a_long_send_is_drained_to_its_end(performer: Performer) -> None:
    step = SendAll("a", "61*200000", SEND.messages)
    answer = perform(performer, Reference, OPENED, step, end="a").answers[-1]
    assert isinstance(answer, Got)
    assert (answer.data, answer.messages) == ("61*200000", SEND.messages)
