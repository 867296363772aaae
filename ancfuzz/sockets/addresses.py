"""Where a Unix socket is: paths, abstract names, and ``struct sockaddr_un``.

A path is ended by a zero byte, an abstract name by the length of the address; and
neither may be longer than the structure has room for, which is less than a file
system allows.  What the kernel would cut short without a word is refused here.

This module must not know what the address is for.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from typing import TypeAlias

from ancfuzz.errors import UsageError

__all__ = [
    "InvalidInput",
    "SocketPath",
    "checked_path",
    "decode_address",
    "encode_address",
]

SocketPath: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes]"
"""A path in the file system; or an abstract name, which begins with a zero byte."""

# struct sockaddr_un: the BSDs begin with a length, and have less room for the path.
_LINUX = sys.platform in {"linux", "android"}
_FAMILY = struct.Struct("=H" if _LINUX else "=xB")
_PATH_CAPACITY = 108 if _LINUX else 104


class InvalidInput(UsageError, OSError, ValueError):
    """The arguments ask for what no socket can do; nothing was done.

    An ``OSError`` without errno, as :mod:`socket` raises for a path that is too long,
    and a ``ValueError``, as :class:`io.UnsupportedOperation` is both.
    """


def checked_path(path: SocketPath) -> bytes:
    """A path as the kernel takes it; abstract names begin with a zero byte.

    Raises:
        InvalidInput: it is too long, or would be cut at a zero byte.
    """
    encoded = os.fsencode(path)
    abstract = encoded[:1] == b"\0"
    # A path is ended by a zero byte, an abstract name by the address's length.
    longest = _PATH_CAPACITY if abstract else _PATH_CAPACITY - 1
    if len(encoded) > longest:
        raise InvalidInput(
            f"a path of {len(encoded)} bytes does not fit into a socket's address: "
            f"expected {longest} at most; a shorter one can lead there by a link, "
            "or be relative"
        )
    if not abstract and b"\0" in encoded:
        raise InvalidInput(
            f"the path {encoded!r} has a zero byte inside: expected none, or one at "
            "the beginning of an abstract name"
        )
    return encoded


def encode_address(path: SocketPath) -> bytes:
    """A path as a ``struct sockaddr_un``.

    Raises:
        InvalidInput: as :func:`checked_path`.
    """
    encoded = checked_path(path)
    end = b"" if encoded[:1] in {b"", b"\0"} else b"\0"
    return _FAMILY.pack(socket.AF_UNIX) + encoded + end


def decode_address(address: bytes | None) -> str | bytes | None:
    """An address as :mod:`socket` has it: a path, an abstract name, or none."""
    name = (address or b"")[_FAMILY.size :]
    if not name:
        return None
    if name[0] == 0:
        return name
    return os.fsdecode(name.split(b"\0", 1)[0])
