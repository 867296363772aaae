"""Cases and transcripts in files: found, read, checked, written.

A case file is called ``NAME.anc.json`` and holds one case as JSON; what was answered to
it may lie beside it, as ``NAME.transcript.json``.  Whatever else a path turns out to be
- not JSON, another schema, a gigabyte, a FIFO, a directory, unreadable - ends in one
:class:`UsageError` that names the file and the place in it; reading one bad file never
keeps the others from being read.

A corpus file is data: it is bounded in size, parsed by a validating decoder, and
nothing in it is ever run.  This room must not know how a case is performed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import msgspec

from ancfuzz import case as case_module
from ancfuzz.case import Case
from ancfuzz.errors import UsageError
from ancfuzz.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "MOST_BYTES",
    "SUFFIX",
    "add",
    "bounded",
    "case_files",
    "case_id",
    "content",
    "dumps",
    "loads",
    "loads_transcript",
    "read",
    "read_transcript",
    "schema",
    "write",
    "write_transcript",
]

SUFFIX = ".anc.json"
TRANSCRIPT_SUFFIX = ".transcript.json"
MOST_BYTES = 4 << 20
"""Bytes of a file or a stream that are read: more is no case."""

_NOT_IN_A_NAME = str.maketrans({"/": "-", "\0": "-"})

_T = TypeVar("_T")

_decoder = msgspec.json.Decoder(Case)
_transcript_decoder = msgspec.json.Decoder(Transcript)
_encoder = msgspec.json.Encoder()


def loads(text: bytes | str, *, where: str = "case") -> Case:
    """Read a case from JSON text.

    Args:
        text: the JSON.
        where: what an error calls the text: a file name.

    Raises:
        UsageError: not JSON, not a case, or a case that makes no sense; with the place.
    """
    case = _decoded(_decoder, text, where, "case")
    try:
        case_module.check(case)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    return case


def _decoded(
    decoder: msgspec.json.Decoder[_T], text: bytes | str, where: str, expected: str
) -> _T:
    try:
        if isinstance(text, bytes):
            # The decoder would count from the beginning of a string, not of the file.
            text = text.decode()
        return decoder.decode(text)
    except UnicodeDecodeError as error:
        at, byte = error.start, error.object[error.start]
        line = error.object.count(b"\n", 0, at) + 1
        raise UsageError(
            f"{where}: not UTF-8: byte {at}, in line {line}, is 0x{byte:02x}"
        ) from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise UsageError(f"{where}: {error}") from None
    except RecursionError:
        raise UsageError(f"{where}: nested too deeply to be a {expected}") from None


def dumps(case: Case) -> str:
    """A case as JSON on one line, defaults left out."""
    return _encoder.encode(case).decode()


def pretty(case: Case) -> str:
    """A case as JSON for people: one line for each step."""
    fields: dict[str, Any] = msgspec.to_builtins(case)
    fields.setdefault("format", case.format)
    steps = fields.pop("steps")
    head = "".join(
        f"  {_json(key)}: {_json(value)},\n" for key, value in sorted(fields.items())
    )
    body = ",\n".join(f"    {_json(step)}" for step in steps)
    return f'{{\n{head}  "steps": [\n{body}\n  ]\n}}\n'


def _json(value: object) -> str:
    return msgspec.json.format(_encoder.encode(value), indent=0).decode()


def case_id(case: Case) -> str:
    """A short name that depends on the steps alone: equal scripts have equal ids."""
    steps = _encoder.encode(case.steps)
    return hashlib.sha256(steps).hexdigest()[:12]


def loads_transcript(text: bytes | str, *, where: str = "transcript") -> Transcript:
    """Read a transcript from JSON text.

    Args:
        text: the JSON.
        where: what an error calls the text: a file name.

    Raises:
        UsageError: not JSON, or not a transcript; with the place.
    """
    return _decoded(_transcript_decoder, text, where, "transcript")


def content(path: str | os.PathLike[str], expected: str = "case") -> bytes:
    """What a file holds, if it is a regular one and not too long to be a case.

    Args:
        path: of the file.
        expected: what errors say that a file should be.

    Raises:
        UsageError: in one line: the file, and why it is not read.
    """
    name = os.fspath(path)
    told = _told(name)
    try:
        # O_NONBLOCK: opening a FIFO must not wait for somebody to write to it.
        number = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{told}: cannot be read: {reason}") from None
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise UsageError(
                f"{told}: not a regular file: expected a {expected} as JSON"
            )
        with open(number, "rb", closefd=False) as file:
            return bounded(file.read, told, expected)
    finally:
        os.close(number)


def bounded(read: Callable[[int], bytes], where: str, expected: str = "case") -> bytes:
    """All that there is to read, if it is not too long to be a case.

    Raises:
        UsageError: it is, or it cannot be read.
    """
    try:
        # Not by st_size: /proc files say 0, and a file can grow.
        found = read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{where}: cannot be read: {error.strerror}") from None
    if len(found) > MOST_BYTES:
        raise UsageError(f"{where}: longer than {MOST_BYTES} bytes: no {expected} is")
    return found


def _told(name: str) -> str:
    return name if name.isprintable() else repr(name)  # one line, whatever it is called


def read(path: str | os.PathLike[str]) -> Case:
    """Read a case from a file; its name is that of the file if it has none.

    Raises:
        UsageError: in one line: the file, the place in it, what was expected.
    """
    name = os.fspath(path)
    case = loads(content(name), where=_told(name))
    if case.name:
        return case
    return msgspec.structs.replace(case, name=Path(name).name.removesuffix(SUFFIX))


def read_transcript(path: str | os.PathLike[str]) -> Transcript:
    """Read a transcript from a file.

    Raises:
        UsageError: in one line: the file, the place in it, what was expected.
    """
    name = os.fspath(path)
    return loads_transcript(content(name, "transcript"), where=_told(name))


def write(case: Case, folder: str | os.PathLike[str], name: str = "") -> Path:
    """Write a case to ``folder/NAME.anc.json``, whole or not at all.

    Args:
        case: what to write.
        folder: made if it is not there.
        name: without suffix; the case's own name, else its id, by default.

    Raises:
        OSError: the folder or the file cannot be written.
    """
    target = Path(folder) / f"{_plain(name or case.name) or case_id(case)}{SUFFIX}"
    _place(target, pretty(case))
    return target


def add(case: Case, folder: str | os.PathLike[str]) -> Path:
    """Write a case under a name that no file has, whole or not at all.

    Args:
        case: what to write; where its name is taken, a number is put behind it.
        folder: made if it is not there.

    Raises:
        OSError: the folder or the file cannot be written.
    """
    plain = _plain(case.name) or case_id(case)
    for number in count(1):
        name = plain if number == 1 else f"{plain}-{number}"
        target = Path(folder) / f"{name}{SUFFIX}"
        named = msgspec.structs.replace(case, name=name)
        with suppress(FileExistsError):
            _place(target, pretty(named), replacing=False)
            return target
    raise AssertionError("numbers do not end")


def write_transcript(
    transcript: Transcript, folder: str | os.PathLike[str], name: str
) -> Path:
    """Write a transcript to ``folder/NAME.transcript.json``, whole or not at all.

    Raises:
        OSError: the folder or the file cannot be written.
    """
    target = Path(folder) / f"{_plain(name)}{TRANSCRIPT_SUFFIX}"
    text = msgspec.json.format(msgspec.json.encode(transcript), indent=2).decode()
    _place(target, f"{text}\n")
    return target


def _plain(name: str) -> str:
    # A name may be anybody's words, and must not lead out of the folder.
    return name.translate(_NOT_IN_A_NAME).lstrip(".")


def _place(target: Path, text: str, *, replacing: bool = True) -> None:
    """Let a file appear, whole.

    Raises:
        FileExistsError: there is one, and it is not to be replaced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        if replacing:
            temporary.replace(target)
        else:
            _link(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _link(temporary: Path, target: Path) -> None:
    try:
        target.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:
        # A file system without links; then only the moment between is not covered.
        if target.exists() or target.is_symlink():
            raise FileExistsError(str(target)) from None
        temporary.replace(target)


def case_files(
    paths: Iterable[str | os.PathLike[str]],
    misuse: Callable[[UsageError], None] | None = None,
) -> Iterator[Path]:
    """The case files that paths stand for: themselves, or those below a folder, sorted.

    Links to folders are not followed, so that a loop of links ends.

    Args:
        paths: files and folders.
        misuse: told of what does not exist or cannot be read; the others follow.

    Raises:
        UsageError: of these, if nobody is to be told.
    """
    tell = _raise if misuse is None else misuse

    def unreadable(error: OSError) -> None:
        tell(UsageError(f"{error.filename}: cannot be read: {error.strerror}"))

    for given in paths:
        path = Path(given)
        if path.is_dir():
            for folder, folders, files in os.walk(path, onerror=unreadable):
                folders.sort()
                for name in sorted(files):
                    if name.endswith(SUFFIX):
                        yield Path(folder, name)
        elif path.exists() or path.is_symlink():
            yield path
        else:
            tell(UsageError(f"{path}: no such file or folder"))


def _raise(error: UsageError) -> NoReturn:
    raise error


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a case file."""
    from inspect import cleandoc

    (made,), components = msgspec.json.schema_components([Case])
    for component in components.values():
        if "description" in component:
            # A docstring: since 3.13 the compiler dedents it, before it does not.
            component["description"] = cleandoc(component["description"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": made["$ref"].replace("#/components/schemas/", "#/$defs/"),
        "$defs": components,
    }
