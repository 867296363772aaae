"""The model against the kernel, rule by rule.

Each row of :data:`tests.model_facts.FACTS` is performed on this very kernel, through
the reference, and has to show the fact that the rule states: it was observed, and the
model says so too.  "No violation" would be true of a model that says nothing.

Then the other way round: each rule is replaced by a wrong one, and the boundary sweeps
have to notice.
"""

# A rule decides from plain values, whichever it likes: Callable[..., Any].
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false

from __future__ import annotations

import os
import random
import struct
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from ancfuzz.case import (
    Case,
    Open,
    Receive,
    Send,
    SendAll,
    SetOption,
)
from ancfuzz.implementations import resolve
from ancfuzz.judging import Judge
from ancfuzz.model import LINUX, RULES, accept
from ancfuzz.sweeps import interleaved, sweeps
from ancfuzz.transcript import (
    Answer,
    Done,
    Environment,
    Failed,
    Got,
    Sent,
    Transcript,
)
from tests.model_facts import (
    FACTS,
    HERE,
    KINDS,
    LEN4,
    ONE,
    TWO,
    Fact,
    exchange,
    header,
    names,
    raw,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ancfuzz.case import Message


def needs(fact: Fact) -> set[str]:
    """The options that a kernel must have for a fact."""
    return {step.option for step in fact.steps if isinstance(step, SetOption)}


PERFORMABLE = [fact for fact in FACTS if needs(fact) <= set(HERE.features)]


@pytest.mark.parametrize(
    "fact", PERFORMABLE, ids=[f"{f.rule}-{n}" for n, f in enumerate(PERFORMABLE)]
)
def test_the_kernel_and_the_model_show_it(fact: Fact) -> None:
    with Judge(resolve("reference")) as judging:
        one = judging.perform(Case(fact.steps), "")
    assert one.not_judged == ""
    assert len(one.transcript.answers) == len(fact.steps)
    assert fact.shows(one.transcript.answers[fact.at]), one.transcript.answers[fact.at]
    assert fact.shows(one.accepted.transcript.answers[fact.at])
    assert one.breaches == ()


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_of_sockets_deliver_the_same(kind: Any) -> None:
    with Judge(resolve("reference")) as judging:
        one = judging.perform(Case(exchange((*ONE, *TWO), 64, kind=kind)), "")
    assert names(one.transcript.answers[-1]) == ["memfd", "eventfd", "file"]  # type: ignore[arg-type]
    assert one.breaches == ()


def test_every_rule_has_a_fact() -> None:
    assert {fact.rule for fact in FACTS} == set(RULES)


@pytest.mark.parametrize("id_", RULES)
def test_a_rule_says_what_it_is(id_: str) -> None:
    rule = RULES[id_]
    assert rule.id == id_
    assert rule.source
    assert rule.text.endswith(".")


# -- deliberately wrong rules -------------------------------------------------------


@cache
def performed() -> tuple[tuple[Case, Transcript], ...]:
    """The facts and a few thousand boundaries, performed once."""
    on_sockets = [s for s in sweeps() if len(s.axes) > 1 and opens(s.case(0))]
    drawn = islice(interleaved(on_sockets, random.Random(7)), 2500)
    cases = [*(Case(fact.steps) for fact in PERFORMABLE), *drawn]
    with Judge(resolve("reference")) as judging:
        return tuple((case, judging.perform(case, "").transcript) for case in cases)


def opens(case: Case) -> bool:
    return any(isinstance(step, Open) for step in case.steps)


def is_noticed(id_: str, wrong: Callable[..., Any]) -> bool:
    rules = {**LINUX, id_: LINUX[id_]._replace(decide=wrong)}
    for case, observed in performed():
        accepted = accept(case, observed, rules=rules)
        told = zip(accepted.transcript.answers, observed.answers, strict=False)
        if any(one != other for one, other in told):
            return True
    return False


def otherwise(id_: str) -> Callable[..., Any]:
    """A rule that decides the opposite, or one more, or something else."""
    decide = LINUX[id_].decide

    def wrong(*values: Any, **named: Any) -> Any:
        match decide(*values, **named):
            case bool(right):
                return not right
            case int(right):
                return right + 1
            case str():
                return "EXDEV"
            case (int(pid), uid, gid):
                return (pid + 1, uid, gid)
            case None:
                return INSTEAD_OF_NONE[id_]
            case right:
                return right[1:]

    return WRONG.get(id_, wrong)


INSTEAD_OF_NONE: dict[str, Any] = {
    "C1": (7, 7, 7),
    "R2": 0,
    "S10p": "EXDEV",
    "S22": "EXDEV",
}
WRONG: dict[str, Callable[..., Any]] = {
    # The opposite would be a timestamp that nobody asked for, of no kind.
    "R17": lambda kind: kind == "stream",
}


def test_with_the_right_rules_nothing_is_noticed() -> None:
    assert not is_noticed("S01", LINUX["S01"].decide)


@pytest.mark.parametrize("id_", sorted({fact.rule for fact in PERFORMABLE}))
def test_a_wrong_rule_is_noticed(id_: str) -> None:
    assert is_noticed(id_, otherwise(id_))


SUBTLE: dict[str, tuple[str, Callable[..., Any]]] = {
    "a length of zero data is too short": ("S02", lambda n, h: n <= h),
    "stray bytes are a descriptor": ("S04", lambda n: (n + 3) // 4),
    "a length may pass the end by one": ("S05", lambda n, left: n > left + 1),
    "254 descriptors go": ("S06", lambda n: n > 254),
    "252 descriptors go": ("S06", lambda n: n > 252),
    "more than a ucred is one": ("S10", lambda n: n >= 12),
    "a pidfd can be sent": ("S11", lambda type_: type_ in (1, 2, 4)),
    "a header needs a byte behind it": ("S12", lambda n, h: n > h),
    "an empty packet is not queued": ("S14", lambda kind, n: n > 0),
    "explicit credentials come only where asked": (
        "C1",
        lambda explicit, own, *, asked: (explicit or own) if asked else None,
    ),
    "what was cut is left out": (
        "R2",
        lambda n, left, h: None if left < h + n else n,
    ),
    "room is counted in CMSG_SPACE": (
        "R3",
        lambda left, h: max(0, (left - h) // 8 * 2),
    ),
    "one descriptor for its CMSG_SPACE": (
        "R3",
        lambda left, h: (left - h) // 4 - (left == h + 8) if left > h else 0,
    ),
    "a pidfd needs its padding": ("R4", lambda left, h: left >= h + 8),
    "the length is never cut": ("R5", lambda space, left: space),
    "no buffer is truncation only with descriptors": (
        "R6",
        lambda n, *, credentials, pidfd: n > 0,
    ),
    "a table has one place more": (
        "R8",
        lambda n, free: n if free is None else min(n, free + 1),
    ),
    "a packet that just fits is cut": ("R11", lambda n, room: n >= room),
    "a read stops behind each message": (
        "R12",
        lambda *, carried_rights, rest: True,
    ),
    "a read goes on behind descriptors": (
        "R12",
        lambda *, carried_rights, rest: rest > 0,
    ),
    "another sender is no boundary": ("R13", lambda a, b, *, check: False),
    "a peek minds its size": ("R15", lambda *, peek, room: room > 0),
    "streams have timestamps": ("R17", lambda kind: True),
}


@pytest.mark.parametrize("what", SUBTLE)
def test_a_slightly_wrong_rule_is_noticed(what: str) -> None:
    id_, wrong = SUBTLE[what]
    assert is_noticed(id_, wrong)


# -- an acceptor --------------------------------------------------------------------


def test_a_short_write_of_a_stream_is_accepted_as_it_was() -> None:
    case = Case((Open(), Send("a", "61*300000"), Receive("b", 9, 0)))
    some = Got("61*9", flags=(), control_length=0)
    for count in (1, 219264, 300000):
        observed = Transcript((open_answer(), Sent(count), some), "")
        assert accept(case, observed).transcript.answers[1] == Sent(count)
    none = Transcript((open_answer(), Sent(0), some), "")
    assert accept(case, none).transcript.answers[1] != Sent(0)


@pytest.mark.parametrize(
    ("capabilities", "messages", "is_judged"),
    [((), ONE, False), (("CAP_SYS_RESOURCE",), ONE, True), ((), (), True)],
    ids=["somebody's", "root's", "of no descriptors"],
)
@pytest.mark.parametrize("all_of_it", [False, True])
def test_what_a_user_has_in_flight_elsewhere_nobody_knows(
    capabilities: tuple[str, ...],
    messages: tuple[Message, ...],
    *,
    is_judged: bool,
    all_of_it: bool,
) -> None:
    send = SendAll("a", "78", messages) if all_of_it else Send("a", "78", messages)
    case = Case((Open(), send))
    environment = Environment(capabilities=capabilities)
    refused = Failed("ETOOMANYREFS")
    observed = Transcript((Done(), refused), "a", environment)
    accepted = accept(case, observed)
    assert bool(accepted.unknown) is not is_judged
    assert len(accepted.transcript.answers) == (2 if is_judged else 1)
    assert refused not in accepted.transcript.answers


def open_answer() -> Answer:
    with Judge(resolve("reference")) as judging:
        return judging.perform(Case((Open(),)), "").transcript.answers[0]


def test_the_rules_that_decided_are_counted() -> None:
    with Judge(resolve("reference")) as judging:
        fired = judging.perform(Case(exchange(ONE, 20)), "").accepted.rules
    assert fired.count("R3") == 1
    assert fired.count("S22") == 1
    assert "R4" not in fired


def test_a_number_that_stands_for_itself_is_not_judged() -> None:
    standard_input = raw(header(LEN4) + "00000000")
    unheard_of = raw(header(LEN4) + struct.pack("=i", os.getpid() + 5000).hex())
    with Judge(resolve("reference")) as judging:
        assert judging.perform(Case(unheard_of), "").not_judged
        assert judging.perform(Case(standard_input), "").breaches == ()
