"""A control buffer on its way into the kernel: what ``sendmsg`` makes of the bytes.

The buffer is real bytes, laid out by the codec or hostile, in which live values stand
for themselves: :class:`Names` gives every descriptor name, and the sender's own ids, a
number of the model's own making, lays out the bytes, and reads the names back.

The order of the checks is the kernel's, because the first error wins: header by header,
and within SCM_RIGHTS the count before the numbers.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from msgspec import Struct

from ancfuzz.codec import encode
from ancfuzz.names import CLOSED, NEGATIVE, description_of
from ancfuzz.naming import NO_PID, SELF_PID, Values, control_bytes, control_message

if TYPE_CHECKING:
    from ancfuzz.abi import Abi
    from ancfuzz.case import Message
    from ancfuzz.model.rules import Decide
    from ancfuzz.transcript import Environment

__all__ = ["Names", "Parcel", "parse"]

_FIRST_NUMBER = 1 << 20  # above RLIMIT_NOFILE's usual ceiling, so no literal is one
_STANDARD = ("number:0", "number:1", "number:2")


class Names:
    """Numbers for names, and names for numbers, within one performance of a case."""

    def __init__(self, environment: Environment, abi: Abi) -> None:
        pid = 1 if environment.is_init else SELF_PID
        self.own = (pid, environment.uid, environment.gid)
        self._values = Values(self.number, self.own, abi)
        self._numbers: dict[str, int] = {NEGATIVE: -1, CLOSED: _FIRST_NUMBER - 1}
        self._names: dict[int, str] = dict(enumerate(_STANDARD))

    def number(self, name: str) -> int:
        """The number that stands for a name."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = _FIRST_NUMBER + len(self._numbers)
            self._names[number] = description_of(name)
        return number

    def name(self, number: int) -> str | None:
        """The open file description behind a number; None if it is not open."""
        return self._names.get(number)

    def close(self, name: str) -> None:
        """The number behind a name is open no more."""
        self._numbers[name] = self._numbers[CLOSED]

    def control(self, messages: tuple[Message, ...]) -> bytes:
        """Messages as the reference lays them out."""
        if not messages:
            return b""
        return encode(
            [control_message(message, self._values) for message in messages],
            self._values.abi,
        )

    def raw(self, template: str) -> bytes:
        """Control bytes from a template, names filled in."""
        return control_bytes(template, self._values)


class Parcel(Struct, frozen=True, gc=False):
    """What the kernel took from a control buffer.

    Attributes:
        errno: the name of the error that it is refused with; None if it is taken.
        rights: descriptions of the descriptors, in order.
        credentials: explicit (pid, uid, gid), if any.
        unknown: why the model has no opinion, if it has none.
    """

    errno: str | None = None
    rights: tuple[str, ...] = ()
    credentials: tuple[int, int, int] | None = None
    unknown: str = ""


def parse(
    control: bytes, names: Names, abi: Abi, rule: Decide, environment: Environment
) -> Parcel:
    """Read a control buffer as ``__scm_send`` does."""
    constants = abi.constants
    header, header_size, data_offset, round_up, mask = abi.header_format
    rights: list[str] = []
    credentials: tuple[int, int, int] | None = None
    left = len(control)
    at = 0
    if not rule("S01", left, header_size):
        return Parcel()
    while rule("S12", left, header_size):
        length, level, type_ = header.unpack_from(control, at)
        if rule("S02", length, header_size) or rule("S05", length, left):
            return Parcel(errno="EINVAL")
        if level == constants["SOL_SOCKET"]:
            payload = control[at + data_offset : at + length]
            if not rule("S11", type_):
                return Parcel(errno="EINVAL")
            if type_ == constants["SCM_RIGHTS"]:
                taken = _take_rights(payload, len(rights), names, abi, rule)
                if taken.errno or taken.unknown:
                    return taken
                rights += taken.rights
            else:
                if not rule("S10", len(payload)):
                    return Parcel(errno="EINVAL")
                credentials = _ids(payload, abi)
                refused = _claim(credentials, names, rule, environment)
                if refused:
                    return refused
        step = (length + round_up) & mask
        at += step
        left -= step
    return Parcel(rights=tuple(rights), credentials=credentials)


def _take_rights(
    payload: bytes, before: int, names: Names, abi: Abi, rule: Decide
) -> Parcel:
    count = rule("S04", len(payload))
    if rule("S06", before + count):
        return Parcel(errno="EINVAL")
    rights: list[str] = []
    ints = payload.ljust(4 * count, b"\0")  # for another kernel's S04
    for number in struct.unpack_from(f"{abi.struct_order}{count}i", ints):
        name = names.name(number)
        if name is not None:
            rights.append(name)
        elif number < 0 or number == names.number(CLOSED):
            return Parcel(errno=rule("S07"))
        else:
            return Parcel(unknown=f"descriptor number {number} stands for itself")
    return Parcel(rights=tuple(rights))


def _ids(payload: bytes, abi: Abi) -> tuple[int, int, int]:
    ids = payload.ljust(12, b"\0")  # for another kernel's S10
    pid, uid, gid = struct.unpack_from(f"{abi.struct_order}iII", ids)
    return pid, uid, gid


def _exists(id_: int, known: tuple[tuple[int, int], ...]) -> bool:
    return not known or any(first <= id_ < first + count for first, count in known)


def _claim(
    ids: tuple[int, int, int], names: Names, rule: Decide, environment: Environment
) -> Parcel | None:
    """What becomes of a message that claims these ids, if it is not just taken."""
    pid = ids[0]
    exists: bool | None = None
    if pid in (names.own[0], 1):
        exists = True
    elif pid <= 0 or pid == NO_PID:
        exists = False
    errno = rule(
        "S10p",
        ids,
        names.own,
        environment.capabilities,
        ids_exist=_exists(ids[1], environment.uids)
        and _exists(ids[2], environment.gids),
        pid_exists=exists,
    )
    if errno:
        return Parcel(errno=errno)
    if exists is None:
        return Parcel(unknown="a process named by a number may exist or not")
    return None
