"""Invariants as pure functions: silent where nothing differs, and never all silent.

Three properties, over answers that are made up:

* where accepted and observed are equal, every invariant holds;
* where they differ, at least one is broken: there is no hole between them;
* none raises, whatever it is shown.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ancfuzz import UsageError, tolerances
from ancfuzz.abi import NATIVE
from ancfuzz.case import (
    Case,
    Close,
    Decode,
    Encode,
    EncodeInto,
    NamedCredentials,
    NamedPidfd,
    NamedRights,
    Open,
    PlainMessage,
    Receive,
    Send,
    SendAll,
    SendRaw,
    SetOption,
    Shutdown,
    Step,
    Table,
)
from ancfuzz.codec import ControlMessage, encode
from ancfuzz.implementation import Promise
from ancfuzz.invariants import FAMILIES, INVARIANTS, View, judge, select
from ancfuzz.model import accept
from ancfuzz.transcript import (
    Answer,
    Decoded,
    Died,
    Done,
    Encoded,
    EncodedInto,
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
)

if TYPE_CHECKING:
    from collections.abc import Callable

PROMISE = Promise()
ERRNOS = st.sampled_from(["EAGAIN", "EBADF", "EINVAL", "EPIPE", "ECONNRESET"])
NAMES = st.sampled_from(["memfd", "memfd#1", "pipe-read", "other", "phantom"])
PLAIN = st.builds(
    PlainMessage,
    st.sampled_from([0, 1, 41]),
    st.sampled_from([1, 2, 29]),
    st.binary(max_size=9).map(bytes.hex),
)
RIGHTS = st.builds(
    NamedRights,
    st.lists(NAMES, max_size=3).map(tuple),
    st.sampled_from(["", "ab"]),
)
CREDENTIALS = st.builds(
    NamedCredentials, st.sampled_from(["self", 0, 7]), st.sampled_from(["self", 0, 9])
)
PIDFDS = st.builds(NamedPidfd, st.sampled_from(["self", "none", "other"]))
MESSAGES = st.lists(RIGHTS | CREDENTIALS | PIDFDS | PLAIN, max_size=3).map(tuple)
FACTS = st.builds(
    Facts,
    unreported=st.lists(NAMES, max_size=1).map(tuple),
    inheritable=st.lists(NAMES, max_size=1).map(tuple),
    held=st.none() | MESSAGES,
)
STALE = st.builds(Facts, held=st.none() | MESSAGES)
HIDDEN = st.builds(Facts, unreported=st.lists(NAMES, max_size=1).map(tuple))
FLAGS = st.sampled_from([(), ("MSG_CTRUNC",), ("MSG_TRUNC", "MSG_CTRUNC")])
PAYLOADS = st.sampled_from(["", "78", "61*5", "7878"])
MALFORMED = st.builds(
    Malformation, st.integers(0, 32), st.integers(0, 99), st.integers(0, 99)
)


def got(facts: st.SearchStrategy[Facts]) -> st.SearchStrategy[Got]:
    return st.builds(
        Got,
        PAYLOADS,
        MESSAGES,
        st.booleans(),
        FLAGS,
        st.integers(0, 64),
        facts,
    )


def failed(facts: st.SearchStrategy[Facts]) -> st.SearchStrategy[Failed]:
    return st.builds(Failed, ERRNOS, facts)


CRASHES: st.SearchStrategy[Answer] = st.one_of(
    st.builds(Raised, st.just("ValueError"), st.text(max_size=3), FACTS),
    st.builds(Nonsense, st.just("None"), st.just("bytes")),
    st.builds(Hung, st.just(2.0)),
    st.builds(Died, st.just("was killed by SIGSEGV")),
)
ENCODED = st.builds(Encoded, st.none() | st.binary(max_size=48).map(bytes.hex))
DECODED = st.builds(
    Decoded, st.lists(PLAIN, max_size=3).map(tuple), st.none() | MALFORMED
)
SENT = st.builds(Sent, st.integers(0, 9))


def an_encoding(draw: st.DrawFn, step: Encode | EncodeInto) -> Answer:
    """What might be observed of an encoding: right, nearly right, or anything."""
    control = encode(
        [ControlMessage(m.level, m.type, bytes.fromhex(m.data)) for m in step.messages]
    )
    if isinstance(step, Encode):
        near = st.sampled_from([control, control[:-1], control + b"\0"]).map(bytes.hex)
        return draw(near.map(Encoded) | ENCODED)
    before = bytes([step.fill]) * step.capacity
    whole = (control + before[len(control) :])[: step.capacity]
    anything = st.binary(min_size=step.capacity, max_size=step.capacity)
    return draw(
        st.builds(
            EncodedInto,
            st.sampled_from([None, len(control)]) | st.integers(0, step.capacity + 2),
            (st.sampled_from([whole, before]) | anything).map(bytes.hex),
            st.booleans(),
        )
    )


ENCODINGS = st.lists(PLAIN, max_size=2).map(tuple)
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(Encode, ENCODINGS, st.integers(0, 64)),
    st.builds(EncodeInto, ENCODINGS, st.integers(0, 64), st.just(0), st.just(255)),
    st.builds(Decode, st.binary(max_size=48).map(bytes.hex)),
    st.builds(Send, st.just("a")),
    st.builds(SendRaw, st.just("a"), st.just("")),
    st.builds(SendAll, st.just("a"), st.just("78")),
    st.builds(Receive, st.just("a")),
    st.sampled_from(
        [Open(), Table(), Shutdown("a"), Close("a"), SetOption("a", "SO_PASSCRED")]
    ),
)


@st.composite
def views(draw: st.DrawFn) -> View:
    """A step, what is accepted of it, and what was observed: often something else."""
    step = draw(STEPS)
    expected: Answer = Done()
    observed: Answer
    match step:
        case Encode() | EncodeInto():
            observed = an_encoding(draw, step)
        case Decode():
            observed = draw(DECODED)
        case Send() | SendRaw():
            expected = draw(SENT | failed(st.just(Facts())))
            observed = draw(SENT | failed(st.just(Facts())))
        case SendAll():
            expected = draw(at_the_reference(st.just(Facts())))
            observed = draw(at_the_reference(HIDDEN))
        case Receive():
            expected = draw(got(st.just(Facts())) | failed(st.just(Facts())))
            observed = draw(got(FACTS) | failed(STALE))
        case _:
            observed = draw(CRASHES)
    turn = draw(st.integers(0, 9))
    if turn == 0:
        observed = draw(CRASHES)
    elif turn == 1 and not isinstance(step, Encode | EncodeInto | Decode):
        observed = expected
    transcript = Transcript((observed,), "a")
    accepted = accepted_of(step, expected, observed, transcript)
    return View(Case((step,)), 0, step, accepted, observed, transcript, PROMISE, NATIVE)


def at_the_reference(
    facts: st.SearchStrategy[Facts],
) -> st.SearchStrategy[Answer]:
    """What drains the other end shows neither flags nor a length."""
    arrived = st.builds(Got, PAYLOADS, MESSAGES, st.booleans(), facts=facts)
    return arrived | failed(st.just(Facts()))


def accepted_of(
    step: Step, expected: Answer, observed: Answer, transcript: Transcript
) -> Answer:
    """What the acceptor makes of an expectation: the tolerances, and nothing else."""
    if isinstance(step, Encode | EncodeInto | Decode):
        (accepted,) = accept(Case((step,)), transcript).transcript.answers
        return accepted
    if isinstance(step, Receive):
        if isinstance(expected, Got):
            return tolerances.received(expected, observed, PROMISE)
        if isinstance(expected, Failed) and isinstance(observed, Failed):
            return replace(expected, facts=tolerances.stale(observed.facts))
    return expected


def looked(view: View) -> dict[str, str]:
    """What each invariant that looks at this step says, if it says something."""
    said = {
        id_: one.check(view)
        for id_, one in INVARIANTS.items()
        if type(view.step) in one.steps
    }
    return {id_: message for id_, message in said.items() if message is not None}


@given(views())
def test_where_nothing_differs_nothing_is_broken(view: View) -> None:
    transcript = replace(view.transcript, answers=(view.accepted,))
    same = dataclasses.replace(view, observed=view.accepted, transcript=transcript)
    assert looked(same) == {}


@settings(max_examples=1000)
@given(views())
def test_every_difference_is_a_breach(view: View) -> None:
    assume(view.accepted != view.observed)
    assert looked(view), (view.accepted, view.observed)


@given(views(), st.sampled_from(sorted(INVARIANTS)))
def test_no_invariant_raises(view: View, id_: str) -> None:
    message = INVARIANTS[id_].check(view)
    assert message is None or message.strip()


def test_a_message_is_one_line_whatever_the_exception_says() -> None:
    case = Case((Open(), Send("a")))
    observed = Transcript((Done(), Raised("ValueError", "one\ntwo\r\nthree")), "a")
    breaches, _ = judge(
        case,
        observed,
        accept(case, observed),
        promise=PROMISE,
        abi=NATIVE,
        chosen=select(),
    )
    (breach,) = breaches
    assert len(breach.message.splitlines()) == 1


ENDINGS: dict[str, dict[str, Any]] = {
    "LEAK.sent": {"leaked": ("memfd",)},
    "LEAK.foreign": {"lost": ("memfd",)},
    "LEAK.growth": {"growth": 2},
    "CRASH.close": {"closing": "ValueError: no"},
    "CRASH.output": {"output": "debug"},
}


@pytest.mark.parametrize("id_", ENDINGS)
def test_what_is_left_at_the_end_is_a_breach_of_its_own(id_: str) -> None:
    case = Case((Open(),))
    observed = Transcript((Done(),), "a", **ENDINGS[id_])
    breaches, judged = judge(
        case,
        observed,
        accept(case, observed),
        promise=PROMISE,
        abi=NATIVE,
        chosen=select(),
    )
    assert [(b.invariant, b.step) for b in breaches] == [(id_, 1)]
    assert judged.count(id_) == 1


def test_behind_the_first_surprise_only_the_end_is_judged() -> None:
    case = Case((Open(), Send("a"), Receive("b"), Receive("b")))
    answers = (Done(), Sent(1), Failed("EIO"), Failed("ENOSYS"))
    observed = Transcript(answers, "b", leaked=("memfd",))
    breaches, _ = judge(
        case,
        observed,
        accept(case, observed),
        promise=PROMISE,
        abi=NATIVE,
        chosen=select(),
    )
    assert {(b.invariant, b.step) for b in breaches} == {
        ("ERR.errno", 2),
        ("LEAK.sent", 4),
    }


@pytest.mark.parametrize("answer", [Refusal(), NotPerformed("no", "implementation")])
def test_what_is_declined_is_not_judged(answer: Answer) -> None:
    case = Case((Open(), Send("a"), Receive("b")))
    observed = Transcript((Done(), answer), "a")
    breaches, _ = judge(
        case,
        observed,
        accept(case, observed),
        promise=PROMISE,
        abi=NATIVE,
        chosen=select(),
    )
    assert breaches == ()


def test_only_what_is_chosen_is_looked_at_and_counted() -> None:
    case = Case((Open(), Send("a")))
    observed = Transcript((Done(), Failed("EIO")), "a", leaked=("memfd",))
    breaches, judged = judge(
        case,
        observed,
        accept(case, observed),
        promise=PROMISE,
        abi=NATIVE,
        chosen=frozenset({"LEAK.sent"}),
    )
    assert [b.invariant for b in breaches] == ["LEAK.sent"]
    assert judged == ("LEAK.sent",)


# -- the rows -----------------------------------------------------------------------


@pytest.mark.parametrize("id_", INVARIANTS)
def test_a_row_says_what_it_is(id_: str) -> None:
    one = INVARIANTS[id_]
    assert one.id == id_
    assert one.family in FAMILIES
    assert one.source
    assert one.title
    assert "\n" not in one.title + one.source


def test_no_family_is_empty() -> None:
    assert {one.family for one in INVARIANTS.values()} == set(FAMILIES)


CHOICES: dict[str, Callable[[str], bool]] = {
    "FD": lambda id_: id_.startswith("FD."),
    "fd": lambda id_: id_.startswith("FD."),
    "LEN.cmsg_len": lambda id_: id_ == "LEN.cmsg_len",
    "*.count": lambda id_: id_.endswith(".count"),
}


@pytest.mark.parametrize("pattern", CHOICES)
def test_a_pattern_chooses(pattern: str) -> None:
    chosen = {id_ for id_ in INVARIANTS if CHOICES[pattern](id_)}
    assert chosen
    assert select([pattern]) == chosen
    assert select(exclude=[pattern]) == INVARIANTS.keys() - chosen


@pytest.mark.parametrize(
    ("patterns", "exclude"),
    [(["FDS"], []), (None, ["nothing"]), (["FD"], ["FD"]), ([], [])],
)
def test_a_pattern_that_chooses_nothing_is_an_error(
    patterns: list[str] | None, exclude: list[str]
) -> None:
    with pytest.raises(UsageError):
        select(patterns, exclude)
