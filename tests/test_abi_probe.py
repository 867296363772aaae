"""What ``abi/probe.py`` asks, reads and compares: whatever is wrong is named.

Nothing is compiled here: what headers would say is made up from our tables.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz.abi import ABIS, Abi
from ancfuzz.strategies import abis

FOLDER = Path(__file__).resolve().parents[1] / "abi"


def load_probe() -> Any:
    spec = importlib.util.spec_from_file_location("probe", FOLDER / "probe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PROBE = load_probe()


def test_each_structure_of_our_tables_can_be_asked_for() -> None:
    for abi in ABIS.values():
        asked = PROBE.questions(abi)["layout.h"]
        for name in abi.structs:
            assert f"(struct {name}, " in asked


def said_by_headers(abi: Abi) -> dict[str, int]:
    """What the headers of a target would say if our tables were right."""
    return {**abi.constants, **PROBE.expected(abi)}


@given(abi=abis(), data=st.data())
def test_any_wrong_value_is_named(abi: Abi, data: st.DataObject) -> None:
    said = said_by_headers(abi)
    assert PROBE.compare(abi, said).differences == ()
    what = data.draw(st.sampled_from(sorted(said)))
    wrong = data.draw(st.integers().filter(lambda value: value != said[what]))
    (difference,) = PROBE.compare(abi, {**said, what: wrong}).differences
    assert difference == (abi.name, what, wrong, said[what])


@given(abi=abis(), data=st.data())
def test_what_is_not_in_a_header_is_not_verified(abi: Abi, data: st.DataObject) -> None:
    said = said_by_headers(abi)
    what = data.draw(st.sampled_from(sorted(said)))
    ours = said.pop(what)
    compared = PROBE.compare(abi, said)
    if what in abi.constants:
        assert (compared.undefined, compared.differences) == ((what,), ())
    else:
        assert compared.undefined == ()
        assert compared.differences == ((abi.name, what, None, ours),)


def as_compiled(expression: str, value: int) -> bytes:
    """A ``struct value`` of ``probe.c``."""
    sign = "-" if value < 0 else "+"
    name = expression.encode().ljust(80, b"\0")
    return b"ANCVALUE%b%b%019d;" % (name, sign.encode(), abs(value))


EXPRESSIONS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1)


@given(
    values=st.dictionaries(
        EXPRESSIONS.filter(lambda text: len(text) < 80 and text != "sizeof(char)"),
        st.integers(-(10**19) + 1, 10**19 - 1),
    ),
    around=st.binary(),
)
def test_values_are_read_out_of_an_object(
    values: dict[str, int], around: bytes
) -> None:
    cut = around + b"".join(as_compiled(*one) for one in values.items())
    assert PROBE.answers(cut + as_compiled("sizeof(char)", 1) + around) == values
    with pytest.raises(ValueError, match="without all values"):
        PROBE.answers(cut)
