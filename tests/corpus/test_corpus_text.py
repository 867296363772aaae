"""The text of cases: for people and for machines the same case, as the schema says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ancfuzz import corpus
from ancfuzz.case import Case, Decode
from ancfuzz.errors import UsageError
from tests.case_files import CASE
from tests.drawing import CASES

if TYPE_CHECKING:
    from collections.abc import Callable


@given(CASES)
def test_what_is_written_for_people_is_the_same_case(case: Case) -> None:
    text = corpus.pretty(case)
    assert corpus.loads(text) == case
    assert corpus.pretty(corpus.loads(text)) == text
    assert text.endswith("\n}\n")


@given(CASES)
def test_for_people_there_is_one_line_for_each_step(case: Case) -> None:
    lines = corpus.pretty(case).splitlines()
    steps = [line for line in lines if line.startswith("    ")]
    assert [json.loads(line.rstrip(",")) for line in steps] == json.loads(
        corpus.dumps(case)
    )["steps"]
    assert json.loads(corpus.pretty(case))["format"] == case.format


@given(CASES, CASES)
def test_the_id_depends_on_the_steps_alone(one: Case, other: Case) -> None:
    same_steps = replace(one, name=other.name, note=other.note, source=other.source)
    assert corpus.case_id(one) == corpus.case_id(same_steps)
    equal = corpus.case_id(one) == corpus.case_id(other)
    assert equal == (one.steps == other.steps)


def test_ids_are_the_same_everywhere_and_ever() -> None:
    # Names of files and of issues hang on it.
    assert corpus.case_id(CASE) == "4a112c2aef6c"
    assert corpus.case_id(Case(())) == "4f53cda18c2b"


@given(st.text() | st.binary())
def test_any_text_is_a_case_or_refused_in_one_line(text: str | bytes) -> None:
    with pytest.raises(UsageError, match=r"\Ahere: .+\Z"):
        corpus.loads(text, where="here")


@given(CASES, st.data())
def test_every_cut_of_a_case_is_refused(case: Case, data: st.DataObject) -> None:
    text = corpus.dumps(case).encode()
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    with pytest.raises(UsageError):
        corpus.loads(cut)


@pytest.fixture(scope="module")
def validate() -> Callable[[object], None]:
    schema = corpus.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator: Any = jsonschema.Draft202012Validator(schema)

    def validate(told: object) -> None:
        validator.validate(told)

    return validate


@given(case=CASES)
def test_the_schema_takes_every_case(
    validate: Callable[[object], None], case: Case
) -> None:
    validate(json.loads(corpus.dumps(case)))
    validate(json.loads(corpus.pretty(case)))


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        '{"steps": [{"do": "fly"}]}',
        '{"steps": [{"do": "open", "kind": "raw"}]}',
        '{"steps": [{"do": "open", "colour": "red"}]}',
        '{"steps": [{"do": "decode", "control": "0"}]}',
        '{"steps": [{"do": "receive", "at": "B"}]}',
        '{"steps": [{"do": "receive", "at": "b", "data_capacity": -1}]}',
        '{"steps": [], "format": "ancfuzz-case-2"}',
        '{"steps": [], "notes": ""}',
    ],
)
def test_the_schema_refuses_what_reading_refuses(
    validate: Callable[[object], None], text: str
) -> None:
    with pytest.raises(UsageError):
        corpus.loads(text)
    with pytest.raises(jsonschema.ValidationError):
        validate(json.loads(text))


def test_decoding_needs_no_pair_and_no_name() -> None:
    assert corpus.loads('{"steps":[{"do":"decode","control":""}]}') == Case(
        (Decode(""),)
    )
