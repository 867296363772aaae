"""Cases and bytes, from whatever names them: a file, JSON, hex, standard input.

Input is never trusted for its size or its kind: a gigabyte, a FIFO, a directory, a
terminal that nobody types at end in one :class:`UsageError` that names them.  Several
files are read one by one, and a bad one keeps no other from being read.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Final

from ancfuzz import corpus
from ancfuzz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ancfuzz.case import Case
    from ancfuzz.transcript import Transcript

__all__ = ["case_or_bytes", "labelled_cases", "read_case", "read_transcript"]

STANDARD_INPUT: Final = "-"
_SEPARATORS: Final = re.compile(r"[\s:,_]+")


def read_case(argument: str) -> Case:
    """The case that an argument stands for.

    Args:
        argument: a file's name, ``-`` for standard input, or JSON.

    Raises:
        UsageError: it is none.
    """
    if argument == STANDARD_INPUT:
        return corpus.loads(_standard_input(), where="standard input")
    if _looks_like_json(argument.encode("utf-8", "surrogateescape")):
        return corpus.loads(argument, where="CASE")
    return corpus.read(argument)


def read_transcript(argument: str) -> Transcript:
    """The transcript that an argument stands for.

    Args:
        argument: a file's name, ``-`` for standard input, or JSON.

    Raises:
        UsageError: it is none.
    """
    if argument == STANDARD_INPUT:
        return corpus.loads_transcript(_standard_input(), where="standard input")
    if _looks_like_json(argument.encode("utf-8", "surrogateescape")):
        return corpus.loads_transcript(argument, where="TRANSCRIPT")
    return corpus.read_transcript(argument)


def case_or_bytes(argument: str) -> Case | bytes:
    """The case, or the control bytes, that an argument stands for.

    Args:
        argument: what :func:`read_case` takes, hex, or the name of a file that holds
            raw bytes.  A file that exists is that file, whatever its name looks like.

    Raises:
        UsageError: it is none of them, with where it goes wrong.
    """
    if argument != STANDARD_INPUT and not os.path.lexists(argument):
        if _looks_like_json(argument.encode("utf-8", "surrogateescape")):
            return corpus.loads(argument, where="CASE")
        return _from_hex(argument)
    if argument == STANDARD_INPUT:
        where, content = "standard input", _standard_input()
    else:
        where, content = argument, corpus.content(argument)
    if _looks_like_json(content) or argument.endswith(corpus.SUFFIX):
        return corpus.loads(content, where=where)
    return content


def _looks_like_json(content: bytes) -> bool:
    # Control bytes may begin with 0x7b as well, a cmsg_len of 123; but JSON has no NUL.
    return content.lstrip().startswith(b"{") and b"\0" not in content


def _from_hex(text: str) -> bytes:
    digits = _SEPARATORS.sub("", text.strip().removeprefix("0x"))
    wrong = re.search(r"[^0-9a-fA-F]", digits)
    if wrong is None and digits and len(digits) % 2 == 0:
        return bytes.fromhex(digits)
    if wrong is not None:
        fault = f"{wrong[0]!r} is not a hex digit"
    else:
        fault = f"{len(digits)} hex digits do not make whole bytes"
    raise UsageError(
        f"{text}: no such file, and {fault}: expected a case, hex bytes or a file"
    )


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise UsageError("standard input: closed")
    return corpus.bounded(sys.stdin.buffer.read, "standard input")


def labelled_cases(
    paths: Iterable[str], misuse: Callable[[UsageError], None]
) -> Iterator[tuple[str, Case]]:
    """The cases in files and folders, each with the name of the folder that it is in.

    Args:
        paths: case files, and folders with case files in or below them.
        misuse: is told of each path and each file that holds none; the others follow.
    """
    for given in paths:
        told: list[UsageError] = []
        found = list(corpus.case_files([given], told.append))
        for error in told:
            misuse(error)
        if not found and not told:
            misuse(UsageError(f"{given}: no case files (*{corpus.SUFFIX}) in it"))
        for path in found:
            try:
                case = corpus.read(path)
            except UsageError as error:
                misuse(error)
                continue
            yield path.absolute().parent.name, case
