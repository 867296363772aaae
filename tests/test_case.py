"""A case is a value: it prints, compares, is plain JSON, and is refused with the place.

What is not well-formed never becomes a case, and what is well-formed and makes no sense
is refused with the step; both errors name where.
"""

from __future__ import annotations

import json
from itertools import groupby
from typing import get_args

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ancfuzz import case as case_module
from ancfuzz import corpus
from ancfuzz.case import (
    Case,
    Close,
    Decode,
    Encode,
    Message,
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
    check,
    control_tokens,
    payload_bytes,
    payload_text,
)
from ancfuzz.errors import UsageError
from tests.drawing import CASES, MOST_BYTES, NAMES, payloads

MOST_STEPS = 256


def refused(text: str) -> str:
    """What is said of a text that is no case."""
    with pytest.raises(UsageError) as caught:
        corpus.loads(text)
    return str(caught.value)


# -- the value ----------------------------------------------------------------------


@given(CASES)
def test_whatever_can_be_said_makes_sense_and_survives_json(case: Case) -> None:
    check(case)
    text = corpus.dumps(case)
    assert corpus.loads(text) == case
    assert corpus.dumps(corpus.loads(text)) == text


@given(CASES)
def test_a_case_is_hashable_and_its_repr_makes_it_again(case: Case) -> None:
    again = eval(repr(case), {**vars(case_module)})  # noqa: S307  (our own repr)
    assert again == case
    assert hash(again) == hash(case)


@given(CASES)
def test_defaults_are_left_out_and_nothing_is_made_up(case: Case) -> None:
    told = json.loads(corpus.dumps(case))
    assert set(told) <= {"steps", "name", "note", "source", "flags"}
    assert len(told["steps"]) == len(case.steps)
    for one, step in zip(told["steps"], case.steps, strict=True):
        said = {"do", *msgspec.structs.asdict(step)}
        assert set(one) <= said


def test_a_case_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Case(()).name = "another"  # type: ignore[misc]  # what is tested


@pytest.mark.parametrize("union", [Step, Message])
def test_every_class_is_told_apart_by_its_tag(union: object) -> None:
    classes = get_args(union)
    tags = [one.__struct_config__.tag for one in classes]
    assert len(set(tags)) == len(tags) > 0
    (base,) = {one.__bases__[0] for one in classes}
    assert set(base.__subclasses__()) == set(classes)


# -- bytes --------------------------------------------------------------------------


@given(
    st.binary(max_size=200)
    | st.builds(bytes.__mul__, st.just(b"a"), st.integers(0, 5000))
)
@example(b"a" * 16)
@example(b"a" * 17)
def test_a_payload_is_the_bytes_that_it_stands_for(data: bytes) -> None:
    text = payload_text(data)
    assert payload_bytes(text) == data
    assert payload_text(payload_bytes(text)) == text
    assert len(text) <= max(2 * len(data), 32)


@given(payloads())
def test_two_ways_to_write_a_payload_have_one_meaning(payload: str) -> None:
    unit, star, times = payload.partition("*")
    data = payload_bytes(payload)
    assert len(data) == len(unit) // 2 * int(times or 1)
    assert data[: len(unit) // 2].hex() == unit
    if star:
        assert data == bytes.fromhex(unit) * int(times)


@pytest.mark.parametrize(
    ("payload", "fits"),
    [
        (f"61*{MOST_BYTES}", True),
        (f"61*{MOST_BYTES + 1}", False),
        (f"6162*{MOST_BYTES // 2}", True),
        (f"616263*{MOST_BYTES // 3 + 1}", False),
        ("*9999999", True),
    ],
)
def test_a_payload_is_bounded_written_out(payload: str, fits: bool) -> None:
    steps = Open(), Send("a", payload)
    text = corpus.dumps(Case(steps))
    if fits:
        assert corpus.loads(text).steps == steps
    else:
        assert str(MOST_BYTES) in refused(text)
        assert "$.steps[1]" in refused(text)


@given(st.lists(NAMES | st.binary(min_size=1, max_size=5), max_size=8))
def test_a_template_falls_into_bytes_and_names(pieces: list[str | bytes]) -> None:
    template = "".join(
        one.hex() if isinstance(one, bytes) else f"{{{one}}}" for one in pieces
    )
    expected: list[bytes | str] = []
    for are_bytes, run in groupby(pieces, lambda one: isinstance(one, bytes)):
        if are_bytes:
            expected.append(b"".join(one for one in run if isinstance(one, bytes)))
        else:
            expected += [one for one in run if isinstance(one, str)]
    assert list(control_tokens(template)) == expected


def test_a_name_in_a_template_may_stand_for_several() -> None:
    tokens = control_tokens("00{memfd#1..2}{file*2}{pid}ff")
    assert tokens == (b"\0", "memfd#1", "memfd#2", "file", "file", "pid", b"\xff")


# -- what makes no sense --------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "place", "said"),
    [
        ((Send("a"),), 0, "endpoint 'a' is not open"),
        ((Decode(""), Receive("b")), 1, "endpoint 'b' is not open"),
        ((Shutdown("a"),), 0, "endpoint 'a' is not open"),
        ((SetOption("b", "SO_PASSCRED"), Open()), 0, "endpoint 'b' is not open"),
        ((Open(), Close("c")), 1, "endpoint 'c' is not open"),
        ((Open(), Send("a"), Open("dgram")), 2, "opens its pair once"),
        ((Open(), Send("a", "78", (NamedRights(("phantom",)),))), 1, "'phantom'"),
        ((Open(), Send("a", "78", (NamedRights(("number:1",)),))), 1, "'number:1'"),
        ((Open(), Send("a", "78", (NamedRights(("memfd", "mem")),))), 1, "'mem'"),
        ((Open(), Send("a", "78", (NamedPidfd(),))), 1, "never sent"),
        ((Open(), SendAll("a", "78", (NamedRights(("other",)),))), 1, "'other'"),
        ((Open(), SendAll("a", "78", (NamedPidfd(),))), 1, "never sent"),
        ((Open(), SendRaw("a", "00{memory}")), 1, "'memory'"),
        ((Open(), SendRaw("a", "", f"00*{MOST_BYTES + 1}")), 1, "longer than"),
        ((Open(), SendAll("a", f"00*{MOST_BYTES + 1}")), 1, "longer than"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_step(
    steps: tuple[Step, ...], place: int, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check(Case(steps))
    assert str(caught.value).startswith(f"$.steps[{place}]: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert refused(corpus.dumps(Case(steps))) == f"case: {caught.value}"


def test_a_case_has_so_many_steps_and_no_more() -> None:
    check(Case((Decode(""),) * MOST_STEPS))
    with pytest.raises(UsageError, match="257 steps: at most 256"):
        check(Case((Decode(""),) * (MOST_STEPS + 1)))


def test_steps_on_bytes_and_the_table_need_no_pair() -> None:
    check(Case((Decode(""), Encode((), 0), Table(free=1))))


# -- what is no case ------------------------------------------------------------------


def with_step(step: str) -> str:
    return f'{{"steps": [{{"do": "open"}}, {step}]}}'


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{}", "`steps`"),
        ('{"steps": {}}', "$.steps"),
        ('{"steps": [7]}', "$.steps[0]"),
        ('{"steps": [{}]}', "`do`"),
        ('{"steps": [], "format": "ancfuzz-case-2"}', "$.format"),
        ('{"steps": [], "steeps": []}', "`steeps`"),
        ('{"steps": [], "flags": "Basic"}', "$.flags"),
        ('{"steps": [], "name": 7}', "$.name"),
        (with_step('{"do": "fly"}'), "$.steps[1]"),
        (with_step('{"do": "open", "kind": "raw"}'), "$.steps[1].kind"),
        (with_step('{"do": "send"}'), "`at`"),
        (with_step('{"do": "send", "at": "aa"}'), "$.steps[1].at"),
        (with_step('{"do": "send", "at": "a", "data": "7"}'), "$.steps[1].data"),
        (with_step('{"do": "send", "at": "a", "data": "7G"}'), "$.steps[1].data"),
        (with_step('{"do": "send", "at": "a", "data": "61*0"}'), "$.steps[1].data"),
        (with_step('{"do": "send", "at": "a", "data": "AB"}'), "$.steps[1].data"),
        (
            with_step('{"do": "send", "at": "a", "flags": ["MSG_OOB"]}'),
            "$.steps[1].flags[0]",
        ),
        (
            with_step('{"do": "send", "at": "a", "messages": [{"kind": "news"}]}'),
            "$.steps[1].messages[0]",
        ),
        (
            with_step(
                '{"do": "send", "at": "a",'
                ' "messages": [{"kind": "message", "level": 2147483648, "type": 1}]}'
            ),
            "$.steps[1].messages[0].level",
        ),
        (with_step('{"do": "receive", "at": "b", "size": 3}'), "`size`"),
        (
            with_step('{"do": "receive", "at": "b", "control_capacity": -1}'),
            "$.steps[1].control_capacity",
        ),
        (
            with_step('{"do": "receive", "at": "b", "data_capacity": 1048577}'),
            "$.steps[1].data_capacity",
        ),
        (with_step('{"do": "receive", "at": "b", "data_capacity": 1.5}'), "$.steps[1]"),
        (
            with_step('{"do": "option", "at": "b", "option": "SO_LINGER"}'),
            "$.steps[1].option",
        ),
        (with_step('{"do": "table", "free": 513}'), "$.steps[1].free"),
        (with_step('{"do": "send_raw", "at": "a", "control": "{"}'), "$.steps[1]"),
        (with_step('{"do": "send_raw", "at": "a", "control": "{}"}'), "$.steps[1]"),
        (with_step('{"do": "decode", "control": "abc"}'), "$.steps[1].control"),
        (
            with_step(
                '{"do": "encode_into", "messages": [], "capacity": 1, "fill": 256}'
            ),
            "$.steps[1].fill",
        ),
    ],
)
def test_what_is_no_case_is_refused_with_the_place(text: str, place: str) -> None:
    said = refused(text)
    assert place in said
    assert said.startswith("case: ")
    assert "\n" not in said


def test_plain_messages_take_every_c_int() -> None:
    for number in (-(2**31), -1, 0, 2**31 - 1):
        case = Case((Encode((PlainMessage(number, number),), 0),))
        assert corpus.loads(corpus.dumps(case)) == case
