"""The arguments of strategies, checked when the strategy is made.

Hypothesis calls a ``@composite`` function when it draws, long after the line that is
wrong.  :func:`checked` looks at the arguments first.  An argument of one name means the
same in every strategy, and has one row in a table here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from hypothesis.errors import InvalidArgument

from ancfuzz.abi import ABIS, Abi
from ancfuzz.codec import ControlMessage

__all__ = ["checked"]

P = ParamSpec("P")
T = TypeVar("T")


def checked(strategy: Callable[P, T]) -> Callable[P, T]:
    """Check the arguments of a function that makes a strategy, each by its name.

    Raises:
        InvalidArgument: when the strategy is made, with what to write instead.
    """
    signature = inspect.signature(strategy)

    @wraps(strategy)
    def make(*args: P.args, **kwargs: P.kwargs) -> T:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            _CHECKS[name](name, value)
        for least, most in _PAIRS:
            _check_order(least, most, bound.arguments)
        return strategy(*args, **kwargs)

    return make


def _check_abi(name: str, value: object) -> None:
    if not isinstance(value, Abi):
        raise InvalidArgument(
            f"{name}={value!r} is not an Abi: pass ancfuzz.abi.NATIVE or one of "
            f"ancfuzz.abi.ABIS; to draw it too, write "
            f"abis().flatmap(lambda abi: ...(abi=abi))"
        )


def _check_names(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, Collection) or isinstance(value, str):
        raise InvalidArgument(
            f"{name}={value!r}: pass a list of names in ancfuzz.abi.ABIS"
        )
    names = cast("Collection[object]", value)
    unknown = [one for one in names if one not in ABIS]
    if unknown or not names:
        raise InvalidArgument(
            f"{name}={value!r}: pass at least one name, and only names in "
            f"ancfuzz.abi.ABIS; not there: {unknown}"
        )


def _check_size(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidArgument(f"{name}={value!r}: pass a whole number, 0 or more")


def _check_messages(name: str, value: object) -> None:
    if not isinstance(value, Sequence) or not all(
        isinstance(one, ControlMessage) for one in cast("Sequence[object]", value)
    ):
        raise InvalidArgument(
            f"{name}={value!r}: pass a list of ControlMessage, as ancfuzz.decode "
            f"returns it; to draw it too, use flatmap"
        )


_CHECKS: dict[str, Callable[[str, object], None]] = {
    "abi": _check_abi,
    "max_messages": _check_size,
    "max_size": _check_size,
    "messages": _check_messages,
    "min_messages": _check_size,
    "names": _check_names,
}
_PAIRS = (("min_messages", "max_messages"),)


def _check_order(least: str, most: str, arguments: dict[str, Any]) -> None:
    if least in arguments and arguments[least] > arguments[most]:
        raise InvalidArgument(
            f"{least}={arguments[least]} is more than {most}={arguments[most]}: pass "
            f"a larger {most} too"
        )
