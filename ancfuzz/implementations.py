"""The implementations that there are, and finding the one that was asked for.

``reference`` is this project's own: the wire's codec, and the seed's raw system calls.
``cpython`` is ``socket.sendmsg`` and ``socket.recvmsg`` of the running interpreter;
``seed`` is the library that users call, ``SocketAncillary`` over its sockets.
Anything else is ``MODULE:ATTR``, ``FILE.py:ATTR``, or a prefix that a face has
registered (``zoo:ID``, ``driver:CMD``).

This room knows how to get hold of a class.  It must not know how it is performed.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, redirect_stdout, suppress
from copy import copy, deepcopy
from difflib import get_close_matches
from importlib.machinery import PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from ancfuzz import syscalls
from ancfuzz.abi import Abi
from ancfuzz.codec import ControlMessage, decode, encode
from ancfuzz.errors import EnvironmentUnsupported, UsageError
from ancfuzz.implementation import Implementation, Promise, Received, tested
from ancfuzz.seed import Seed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from types import ModuleType


__all__ = [
    "CPython",
    "Reference",
    "Subject",
    "import_name",
    "names",
    "register",
    "resolve",
    "subject",
]

_MSG_CTRUNC = int(getattr(socket, "MSG_CTRUNC", 8))
_CLOEXEC = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))
_PATIENCE = 5.0  # seconds that send_all waits for room: every wait has a deadline


class Reference(Implementation):
    """ancfuzz's own codec, and raw system calls with the control bytes untouched."""

    name = "reference"

    def encode(self, messages: Sequence[ControlMessage], capacity: int) -> bytes | None:
        control = encode(messages, self.abi)
        return control if len(control) <= capacity else None

    def encode_into(
        self, buffer: memoryview, messages: Sequence[ControlMessage]
    ) -> int | None:
        control = encode(messages, self.abi)
        if len(control) > len(buffer):
            return None
        buffer[: len(control)] = control
        return len(control)

    def decode(self, control: bytes) -> list[ControlMessage]:
        return decode(control, self.abi)

    def send(
        self,
        sock: socket.socket,
        data: bytes,
        messages: Sequence[ControlMessage],
        flags: int = 0,
    ) -> int:
        return syscalls.sendmsg(sock.fileno(), [data], encode(messages), flags)

    def send_all(
        self, sock: socket.socket, data: bytes, messages: Sequence[ControlMessage]
    ) -> None:
        rest = memoryview(data)
        deadline = time.monotonic() + _PATIENCE
        room = select.poll()  # not select(), which takes no number above 1023
        room.register(sock, select.POLLOUT)
        while True:
            try:
                sent = self.send(sock, bytes(rest), messages)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                room.poll(50)
                continue
            # Descriptors go with the first byte that is taken: never twice.
            messages = ()
            rest = rest[sent:]
            if not rest:
                return

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        data, message = bytearray(data_capacity), syscalls.Message(control_capacity)
        count = message.recvmsg(sock.fileno(), [data], flags)
        control, shown = message.control, message.flags
        return Received(
            data=bytes(data[:count]),
            messages=tuple(decode(control)),
            truncated=bool(shown & _MSG_CTRUNC),
            flags=shown,
            control_length=len(control),
        )


class CPython(Implementation):
    """``socket.sendmsg`` and ``socket.recvmsg`` of the Python that runs this."""

    name = "cpython"

    def send(
        self,
        sock: socket.socket,
        data: bytes,
        messages: Sequence[ControlMessage],
        flags: int = 0,
    ) -> int:
        return sock.sendmsg(
            [data], [(m.level, m.type, m.data) for m in messages], flags
        )

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        data, messages, shown, _ = sock.recvmsg(
            data_capacity, control_capacity, flags | _CLOEXEC
        )
        return Received(
            data=data,
            messages=tuple(ControlMessage(*message) for message in messages),
            truncated=bool(shown & _MSG_CTRUNC),
            flags=shown,
        )


class Subject(NamedTuple):
    """An implementation under test, found.

    Attributes:
        name: as it was asked for.
        make: makes a fresh instance, which serves one case.
        operations: those that are its own, and so are tested.
        promise: what it says of itself.
        abi: its layout.
        import_name: ``MODULE:ATTR`` by which another process finds it; "" if it cannot.
        trusted: whether it is performed in this process: ours and CPython's are.
        is_reference: whether it is what holds the other end anyway.
    """

    name: str
    make: Callable[[], Implementation]
    operations: frozenset[str]
    promise: Promise
    abi: Abi
    import_name: str = ""
    trusted: bool = False
    is_reference: bool = False


_BUILT_IN: dict[str, type[Implementation]] = {
    "reference": Reference,
    "cpython": CPython,
    "seed": Seed,
}
_PREFIXES: dict[str, Callable[[str], Subject]] = {}


def register(prefix: str, find: Callable[[str], Subject]) -> None:
    """Let ``PREFIX:REST`` be resolved by a function of REST."""
    _PREFIXES[prefix] = find


def names() -> list[tuple[str, str]]:
    """The implementations that need no import, with a line on each."""
    return [
        (name, (cls.__doc__ or "").partition("\n")[0])
        for name, cls in _BUILT_IN.items()
    ]


def resolve(name: str, *, probe: bool = True) -> Subject:
    """The implementation behind a name.

    Args:
        name: as on the command line.
        probe: whether to import it in a child first, for it may end or hang there.

    Raises:
        UsageError: there is none, it cannot be imported, or it is no Implementation.
    """
    if name in _BUILT_IN:
        return subject(_BUILT_IN[name], name=name, import_name=name)
    head, colon, rest = name.partition(":")
    if colon and head in _PREFIXES:
        return _PREFIXES[head](rest)
    if not colon or not head or not rest:
        close = get_close_matches(name, _BUILT_IN, 1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise UsageError(
            f"no implementation is called {name!r}{hint}: expected "
            f"{', '.join(_BUILT_IN)}, MODULE:ATTR or FILE.py:ATTR"
        )
    if probe:
        _probe(name)
    return subject(_import(head, rest, name), name=name, import_name=name)


_PROBED = 42  # the status of a child that got to the end; no other child's
_PROBE_SECONDS = 30.0
_PROBE = (
    "import json, os, signal, sys; signal.alarm(60); "  # whatever becomes of us
    "sys.path[:] = json.loads(sys.argv[2]); "
    "from ancfuzz.errors import UsageError; "
    "from ancfuzz.implementations import resolve; "
    "from ancfuzz.lifeline import die_with_parent, hear_no_terminal; "
    "die_with_parent(int(sys.argv[3])); hear_no_terminal()\n"
    "try:\n resolve(sys.argv[1], probe=False)\n"
    "except UsageError: pass\n"
    f"os._exit({_PROBED})"
)


def _probe(name: str) -> None:
    """Import somebody's module in a child: what it says will be said here again.

    Raises:
        UsageError: it ends the process that imports it, or does not come to an end.
        EnvironmentUnsupported: there is no process to be had.
    """
    settings = name, json.dumps(sys.path), str(os.getpid())
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, *settings],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except OSError as error:
        raise EnvironmentUnsupported(
            f"{name}: no process can be started to import it: {error.strerror}"
        ) from None
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"{name}: importing it takes more than {_PROBE_SECONDS:g} s"
        ) from None
    if done.returncode != _PROBED:
        said = done.stderr.decode("utf-8", "backslashreplace").strip().splitlines()
        last = f": {said[-1]}" if said else ""
        raise UsageError(
            f"{name}: importing it ends the process, with status "
            f"{done.returncode}{last}"
        )


def import_name(found: object) -> str:
    """``MODULE:ATTR``, or ``FILE.py:ATTR``, by which another process finds a class.

    Returns:
        "" for what no other process can import: a class in a function, or in a script.
    """
    path = str(getattr(found, "__qualname__", ""))
    module = sys.modules.get(str(getattr(found, "__module__", "")))
    if module is None or not path or "<" in path or module.__name__ == "__main__":
        return ""
    bound: object = module
    for part in path.split("."):
        bound = getattr(bound, part, None)
    if bound is not found:
        return ""  # the name means another object by now
    file = getattr(module, "__file__", None)
    if _found_on_path(module.__name__) == file:
        return f"{module.__name__}:{path}"
    return f"{file}:{path}" if str(file).endswith(".py") else ""


def _found_on_path(name: str) -> str | None:
    """The file that another process would import under a name.

    Not ``find_spec``: it answers from ``sys.modules``, and pytest puts modules there
    that nobody else can import.
    """
    folders: Sequence[str] | None = None
    spec = None
    prefix = ""
    for part in name.split("."):
        spec = PathFinder.find_spec(f"{prefix}{part}", folders)
        if spec is None:
            return None
        folders = spec.submodule_search_locations
        prefix += f"{part}."
    return spec.origin if spec is not None else None


@contextmanager
def _searched(here: str) -> Generator[None]:
    """Search a folder first, for a while."""
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with suppress(ValueError):  # the module may have changed it, too
            sys.path.remove(here)


def _module(name: str) -> ModuleType:
    """Import a module by its name, or from a file that is called ``*.py``."""
    if not name.endswith(".py"):
        # As `python -m` does, and an entry point does not.
        with _searched(str(Path.cwd())):
            return importlib.import_module(name)
    # A name that no module has: the file may be called random.py.
    spec = spec_from_file_location(f"ancfuzz_file_{Path(name).stem}", name)
    if spec is None or spec.loader is None:
        raise ImportError(f"{name} is no Python file")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    with _searched(str(Path(name).resolve().parent)):  # as `python FILE.py` does
        spec.loader.exec_module(module)
    return module


def _import(module_name: str, path: str, name: str) -> object:
    try:
        with redirect_stdout(sys.stderr):  # standard output is for what we say
            found: object = _module(module_name)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        # Importing runs somebody else's code: whatever it raises, or sys.exit().
        raise UsageError(
            f"{name}: module {module_name!r} cannot be imported: "
            f"{type(error).__name__}: {error}"
        ) from error
    for part in path.split("."):
        try:
            found = cast("object", getattr(found, part))
        except AttributeError:
            raise UsageError(
                f"{name}: {module_name!r} has no attribute {part!r}"
            ) from None
    return found


def subject(found: object, *, name: str = "", import_name: str = "") -> Subject:
    """A subject from a class, an instance, or a callable without arguments.

    Raises:
        UsageError: it is none of these, or what it makes is no Implementation.
    """
    make, made = _maker(found, name)
    cls = made if isinstance(made, type) else type(made)
    if not isinstance(cast("object", made.promise), Promise):
        raise UsageError(f"{name or found!r}: promise is no ancfuzz.Promise")
    if not isinstance(cast("object", made.abi), Abi):
        raise UsageError(f"{name or found!r}: abi is no ancfuzz.Abi")
    # Not the class's own `name`: a subclass inherits it, and nobody finds it by that.
    label = name or import_name or getattr(found, "__qualname__", cls.__qualname__)
    return Subject(
        name=str(label),
        make=make,
        operations=tested(cls),
        promise=made.promise,
        abi=made.abi,
        import_name=import_name,
        trusted=cls in _BUILT_IN.values(),
        is_reference=cls is Reference,
    )


def _twin(found: Implementation) -> Implementation:
    """A fresh instance like one that was given: what one case changes, no other sees.

    What cannot be copied, a lock or a connection, all of them share.
    """
    twin = copy(found)
    memo: dict[int, Any] = {id(found): twin}
    for name, value in getattr(twin, "__dict__", {}).items():
        with suppress(Exception):
            setattr(twin, name, deepcopy(value, memo))
    return twin


_Made: TypeAlias = Implementation | type[Implementation]


def _maker(found: object, name: str) -> tuple[Callable[[], Implementation], _Made]:
    """What makes a fresh instance, and an instance or class to ask."""
    if isinstance(found, type) and issubclass(found, Implementation):
        return found, found
    if isinstance(found, Implementation):
        return lambda: _twin(found), found
    factory = cast("Callable[[], Implementation]", found)
    if callable(factory):
        try:
            with redirect_stdout(sys.stderr):
                made = cast("object", factory())
        except Exception as error:
            raise UsageError(
                f"{name or found!r}: calling it raised {type(error).__name__}: {error}"
            ) from error
        if isinstance(made, type) and issubclass(made, Implementation):
            return made, made
        if isinstance(made, Implementation):
            return factory, made
    raise UsageError(
        f"{name or found!r} is no implementation: expected an ancfuzz.Implementation "
        "subclass, an instance of one, or a callable that makes one"
    )
