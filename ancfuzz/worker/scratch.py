"""Files without a name, for what a worker and its parent share or keep.

The page in which a child notes its step must be memory: a page of a file on a full disk
is a SIGBUS for whoever touches it, and that is the parent.  What a child prints may be
long, and goes to a disk; where that is full, or not to be written, it goes to memory
too, for an implementation that prints is not to be blamed for the disk.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import BinaryIO, cast

__all__ = ["long_scratch", "page"]

_USUAL = 1 << 16  # bytes: traceback and all


def page() -> BinaryIO:
    """A file of one page, in memory where there are files in memory.

    Raises:
        OSError: no descriptor is left, or no page.
    """
    file = _in_memory()
    try:
        file.write(bytes(mmap.PAGESIZE))
        file.flush()
    except OSError:
        file.close()
        raise
    return file


def long_scratch() -> BinaryIO:
    """An empty file, on a disk that has room for what is usual.

    Raises:
        OSError: no descriptor is left.
    """
    try:
        # Closed by whoever gets it.
        file = cast("BinaryIO", tempfile.TemporaryFile(buffering=0))  # noqa: SIM115
    except OSError:
        return _in_memory()
    try:
        file.write(bytes(_USUAL))
        file.seek(0)
        os.ftruncate(file.fileno(), 0)
    except OSError:
        file.close()
        return _in_memory()
    return file


def _in_memory() -> BinaryIO:
    create = getattr(os, "memfd_create", None)
    if create is None:
        return cast("BinaryIO", tempfile.TemporaryFile(buffering=0))
    return cast("BinaryIO", os.fdopen(create("ancfuzz"), "w+b", buffering=0))
