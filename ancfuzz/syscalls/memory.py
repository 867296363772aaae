"""Where a Python buffer lies, so that the kernel can read and write it in place.

The one question here is the address of a bytes, a bytearray, an array, an mmap or a
part of one, for as long as a system call or a :class:`~ancfuzz.syscalls.Message` needs
it.  While something holds the memory it can be neither resized nor released: Python's
own buffer protocol sees to that, and raises ``BufferError`` at whoever tries.

Writable memory ctypes shares by itself; ``bytes`` stay where they are for as long as
they live; and for other memory that may only be read there is ``PyObject_GetBuffer``
alone.  Nothing is copied, and nothing is asked of its alignment.

This room must not know what the memory is for.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["BYTES_BEGIN", "address_of", "no_buffer", "place", "share"]

share = ctypes.c_char.from_buffer
"""Hold writable memory of at least one byte: what this returns does."""

address_of = ctypes.addressof
"""The address of what :func:`share` holds."""

_probe = b"probe"
_as_string = ctypes.pythonapi.PyBytes_AsString
_as_string.restype = ctypes.c_void_p

BYTES_BEGIN: Final[int] = _as_string(ctypes.py_object(_probe)) - id(_probe)
"""How far behind its ``id`` a ``bytes`` object has its first byte.

In CPython an id is an address, and the bytes are part of the object: that is the same
distance for each of them, and adding it takes a tenth of the time of asking.
"""


class _PyBuffer(ctypes.Structure):
    """``Py_buffer``, part of the stable ABI since Python 3.11."""

    buf: int
    _fields_: ClassVar = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_void_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


class _ReadOnlyMemory:
    """Holds memory that may only be read."""

    def __init__(self, memory: memoryview) -> None:
        view = _PyBuffer()
        ctypes.pythonapi.PyObject_GetBuffer(
            ctypes.py_object(memory), ctypes.byref(view), 0
        )
        self._view = view
        self.address = view.buf

    def __del__(self) -> None:
        # Not there if the memory was refused.
        if hasattr(self, "_view"):
            ctypes.pythonapi.PyBuffer_Release(ctypes.byref(self._view))


def no_buffer(memory: object) -> TypeError:
    """What is raised for something that is no memory."""
    return TypeError(
        f"{type(memory).__name__} is no bytes-like object: data is given as a sequence "
        "of buffers, control as one buffer"
    )


def place(
    memory: Buffer, held: list[object], *, writable: bool
) -> tuple[int | None, int]:
    """Find where memory lies, and let ``held`` hold it there.

    Args:
        memory: any C-contiguous buffer.
        held: is given what holds the memory.
        writable: whether the memory is to be written to.

    Returns:
        The address (None where there is none), and the size in bytes.

    Raises:
        TypeError: it is no buffer, not C-contiguous, or read-only although it is to be
            written to.
    """
    if type(memory) is bytes and not writable:
        held.append(memory)
        return id(memory) + BYTES_BEGIN, len(memory)
    if type(memory) is bytearray and memory:
        shared = share(memory)
        held.append(shared)
        return address_of(shared), len(memory)
    try:
        view = memoryview(memory)
    except TypeError:
        raise no_buffer(memory) from None
    if view.readonly and writable:
        raise TypeError(
            f"cannot write to a read-only {type(memory).__name__}: "
            "expected a buffer such as a bytearray"
        )
    if not view.c_contiguous:
        raise TypeError("the memory has gaps: expected a C-contiguous buffer")
    if not view.nbytes:
        return None, 0
    if view.readonly:
        pinned = _ReadOnlyMemory(view)
        held.append(pinned)
        return pinned.address, view.nbytes
    shared = share(view)
    held.append(shared)
    return address_of(shared), view.nbytes
