"""Standard streams that cannot end a run.

A reader that goes away (``ancfuzz check | head -1``), a full disk behind a redirection,
an encoding without box characters, a stream that was closed before we began: none of
them may cost a finding, change the exit status, or print a traceback.  An
:class:`Outlet` stands before a standard stream and drops what cannot be written,
remembering why.

This room knows streams.  It must not know what is written to them.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import (
    ExitStack,
    contextmanager,
    redirect_stderr,
    redirect_stdout,
    suppress,
)
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Outlet", "guarded", "open_missing", "says_unicode"]


class Outlet(io.TextIOBase):
    """A text stream that goes on when the one behind it does not.

    Attributes:
        error: why the stream was given up; None as long as it is good, and None if its
            reader went away, which is the reader's right.
    """

    error: OSError | None

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lost = False
        self.error = None

    def write(self, text: str, /) -> int:
        """Write, or drop."""
        if not self._lost:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                safe = text.encode(self.encoding, "backslashreplace")
                self.write(safe.decode(self.encoding))
            except OSError as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Flush, or drop."""
        if not self._lost:
            try:
                self._stream.flush()
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._lost = True
        if error.errno != errno.EPIPE:
            self.error = error
        # What is still buffered would fail again when the interpreter ends, and set an
        # exit status of its own: let it flow into nothing.
        with suppress(OSError, ValueError):
            nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(nothing, self._stream.fileno())
            os.close(nothing)

    def writable(self) -> bool:
        """True, always."""
        return True

    def isatty(self) -> bool:
        """Whether the stream behind is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Of the stream behind."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed: a plain attribute
        """Of the stream behind."""
        return self._stream.encoding or "ascii"

    @property
    def errors(self) -> str | None:  # type: ignore[override]  # as encoding
        """Of the stream behind."""
        return self._stream.errors


@contextmanager
def guarded() -> Generator[tuple[Outlet, Outlet]]:
    """Put an outlet before standard output and standard error."""
    open_missing()
    out, err = (Outlet(stream or io.StringIO()) for stream in (sys.stdout, sys.stderr))
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        try:
            yield out, err
        finally:
            # Closed here, for a finalizer would flush a stream that may be gone then.
            out.close()
            err.close()


def open_missing() -> None:
    """Open /dev/null where a standard stream is closed.

    Else the next file or socket would become standard output by its number, and what is
    printed would go into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # open(2) gives out the lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)


def says_unicode(stream: TextIO) -> bool:
    """Whether to draw with characters that are not ASCII.

    The encoding has to have them; and a user who asks for the C locale by name gets
    plain text, although Python writes UTF-8 there (PEP 538, PEP 540).
    """
    if "C" in (os.environ.get("LC_ALL"), os.environ.get("LANG")):
        return False
    try:
        "│≠→…".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
