"""Control messages on their way out of the kernel: what ``recvmsg`` puts in a buffer.

A :class:`Writer` is the kernel's cursor in the receiver's control buffer: it knows how
many bytes are left, cuts what does not fit, and remembers whether anything was lost.
What it writes are named messages, not bytes; a message that was cut is a plain one with
the bytes that arrived.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ancfuzz.case import Message, NamedPidfd, NamedRights, PlainMessage
from ancfuzz.naming import named_credentials

if TYPE_CHECKING:
    from ancfuzz.abi import Abi
    from ancfuzz.model.rules import Decide

__all__ = ["Writer"]


class Writer:
    """The kernel's cursor in a control buffer of so many bytes.

    Attributes:
        messages: written so far.
        truncated: MSG_CTRUNC.
        length: msg_controllen, once all is written.
    """

    def __init__(
        self,
        capacity: int,
        *,
        free: int | None,
        abi: Abi,
        rule: Decide,
        own: tuple[int, int, int],
    ) -> None:
        self._capacity = capacity
        self._left = capacity
        self._free = free
        self._abi = abi
        self._rule = rule
        self._own = own
        self.messages: list[Message] = []
        self.truncated = False

    @property
    def length(self) -> int:
        """Bytes of the buffer that are in use: msg_controllen on return."""
        return self._capacity - self._left

    def absent(self, descriptors: int, *, credentials: bool, pidfd: bool) -> None:
        """There is no control buffer at all."""
        if self._rule("R6", descriptors, credentials=credentials, pidfd=pidfd):
            self.truncated = True

    def _advance(self, payload: int) -> None:
        self._left -= self._rule("R5", self._abi.cmsg_space(payload), self._left)

    def _put(self, payload: int) -> int | None:
        """Make room for a message; how many of its bytes arrive, or None for none."""
        arrives: int | None = self._rule(
            "R2", payload, self._left, self._abi.header_size
        )
        if arrives is None or arrives < payload:
            self.truncated = True
        if arrives is not None:
            self._advance(payload)
        return arrives

    def credentials(self, ids: tuple[int, int, int]) -> None:
        """SCM_CREDENTIALS, cut if need be."""
        data = struct.pack(f"{self._abi.struct_order}iII", *ids)
        arrives = self._put(len(data))
        if arrives is not None:
            self.messages.append(
                named_credentials(data[:arrives], self._own, self._abi)
            )

    def rights(self, names: tuple[str, ...]) -> None:
        """SCM_RIGHTS: as many descriptors as there is room and free numbers for."""
        room = self._rule("R3", self._left, self._abi.header_size)
        count = self._rule("R8", min(len(names), room), self._free)
        if count:
            self.messages.append(NamedRights(names[:count]))
            self._advance(4 * count)
            if self._free is not None:
                self._free -= count
        if count < len(names):
            self.truncated = True

    def pidfd(self, sender: int | None) -> None:
        """SCM_PIDFD of the pid in the message's credentials: whole, or not at all."""
        if not self._rule("R4", self._left, self._abi.header_size):
            self.truncated = True
        elif sender is not None:
            self._put(4)
            if not self._rule("R8", 1, self._free):
                self.messages.append(NamedPidfd("none"))
            else:
                own = sender == self._own[0]
                self.messages.append(NamedPidfd("self" if own else "other"))

    def plain(self, type_: str, data: bytes) -> None:
        """Any other message of SOL_SOCKET, its type by name."""
        arrives = self._put(len(data))
        if arrives is not None:
            constants = self._abi.constants
            self.messages.append(
                PlainMessage(
                    constants["SOL_SOCKET"], constants[type_], data[:arrives].hex()
                )
            )
