"""Typed payloads: rights, credentials and the rest, as far as the Abi has them.

What is drawn here can be built: values that do not fit into their structures are for
whoever tests :func:`ancfuzz.messages.build`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from ancfuzz.abi import NATIVE, Abi
from ancfuzz.messages import (
    CmsgCred,
    Payload,
    Pidfd,
    Rights,
    SecurityLabel,
    SockCred,
    SockCred2,
    Timestamp,
    Ucred,
    Unknown,
)
from ancfuzz.messages.kinds import KINDS, Form, form_of
from ancfuzz.strategies.arguments import checked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hypothesis.strategies import SearchStrategy

__all__ = ["c_ints", "payload_bytes", "payloads"]

_MOST_DESCRIPTORS = 253  # SCM_MAX_FD, where the Abi does not say
_FEW = 8
_MOST_GROUPS = 20  # sixteen are the most that a cmsgcred holds
_LONGEST_DRAWN = 64  # longer data repeats: Hypothesis has eight KiB for everything
_LONGEST_PERIOD = 32


def _integers(bits: int, *, signed: bool) -> SearchStrategy[int]:
    low = -(1 << bits - 1) if signed else 0
    high = low + (1 << bits) - 1
    return st.integers(low, high) | st.sampled_from([-1 if signed else 0, high, low])


def c_ints() -> SearchStrategy[int]:
    """C ints, -1 and the least and greatest more often."""
    return _integers(32, signed=True)


def _ids() -> SearchStrategy[int]:
    return _integers(32, signed=False)


def payload_bytes(size: int) -> SearchStrategy[bytes]:
    """So many bytes; many are a shorter stretch, repeated."""
    if size <= _LONGEST_DRAWN:
        return st.binary(min_size=size, max_size=size)
    periods = st.binary(min_size=1, max_size=_LONGEST_PERIOD)
    return periods.map(lambda period: (period * size)[:size])


def _sized_bytes(most: int) -> SearchStrategy[bytes]:
    return st.integers(0, most).flatmap(payload_bytes)


@st.composite
def _rights(draw: st.DrawFn, form: Form) -> Rights:
    most = form.abi.max_descriptors or _MOST_DESCRIPTORS
    # One draw, in which the edges come often: with a branch more, this would no longer
    # be the simplest of all payloads.
    few, many = [*range(_FEW + 1)] * 10, [most] * 60
    count = draw(st.sampled_from([*few, *range(most + 1), *many]))
    # Short lists are any numbers; long ones count up or are one number repeated.
    if count <= _FEW:
        numbers = tuple(draw(c_ints()) for _ in range(count))
    else:
        first, step = draw(st.integers(0, 1 << 20)), draw(st.sampled_from([1, 0]))
        numbers = tuple(first + step * index for index in range(count))
    return Rights(numbers, draw(st.binary(max_size=3)))


def _groups(most: int) -> SearchStrategy[tuple[int, ...]]:
    return st.lists(_ids(), max_size=most).map(tuple)


def _ucreds(_: Form) -> SearchStrategy[Ucred]:
    return st.builds(Ucred, pid=c_ints(), uid=_ids(), gid=_ids())


def _cmsgcreds(form: Form) -> SearchStrategy[CmsgCred]:
    return st.builds(
        CmsgCred,
        pid=c_ints(),
        uid=_ids(),
        euid=_ids(),
        gid=_ids(),
        groups=_groups(form.width - len(form.names)),
    )


def _sockcreds(form: Form) -> SearchStrategy[SockCred]:
    return st.builds(
        SockCred,
        uid=_ids(),
        euid=_ids(),
        gid=_ids(),
        egid=_ids(),
        groups=_groups(_MOST_GROUPS),
        pid=c_ints() if "pid" in form.names else st.none(),
    )


def _sockcred2s(_: Form) -> SearchStrategy[SockCred2]:
    return st.builds(
        SockCred2,
        pid=c_ints(),
        uid=_ids(),
        euid=_ids(),
        gid=_ids(),
        egid=_ids(),
        groups=_groups(_MOST_GROUPS),
        version=c_ints(),
    )


def _pidfds(_: Form) -> SearchStrategy[Pidfd]:
    # -24 is EMFILE: no descriptor was left for it.
    return st.builds(Pidfd, c_ints() | st.sampled_from([-24, 3]))


def _labels(_: Form) -> SearchStrategy[SecurityLabel]:
    return st.builds(SecurityLabel, _sized_bytes(_LONGEST_DRAWN))


def _times(form: Form) -> SearchStrategy[Timestamp]:
    numbers = _integers(form.fixed.size * 4, signed=True)
    unit = {"timeval": 1000, "timespec": 1}[form.kind.layout]
    return st.builds(
        Timestamp,
        seconds=numbers,
        nanoseconds=numbers.map(lambda number: number * unit),
        structure=st.just(form.kind.layout),
    )


_DRAWN: Mapping[type[Any], Callable[[Form], SearchStrategy[Payload]]] = {
    Rights: _rights,
    Ucred: _ucreds,
    CmsgCred: _cmsgcreds,
    SockCred: _sockcreds,
    SockCred2: _sockcred2s,
    Pidfd: _pidfds,
    SecurityLabel: _labels,
    Timestamp: _times,
}


@checked
@st.composite
def payloads(  # noqa: D417  (Hypothesis passes draw, and not the caller)
    draw: st.DrawFn, *, abi: Abi = NATIVE
) -> Payload:
    """Payloads of every type that the Abi has, and unknown ones.

    Shrinks towards an ``SCM_RIGHTS`` without descriptors.

    Args:
        abi: the layout that they can be built for.
    """
    return draw(_payloads(abi))


@lru_cache(maxsize=256)
def _payloads(abi: Abi) -> SearchStrategy[Payload]:
    forms = [form for kind in KINDS if (form := form_of(kind, abi)) is not None]
    unknown = st.builds(Unknown, c_ints(), c_ints(), _sized_bytes(_LONGEST_DRAWN))
    return st.one_of(*(_DRAWN[form.kind.payload](form) for form in forms), unknown)
