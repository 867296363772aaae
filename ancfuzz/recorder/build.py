"""The preloaded library: the C of ``shim/``, compiled once into the user's cache.

The cache key is a hash of everything that the result depends on: the source, the
command, and the compiler's own account of itself.  So a new release, or a new compiler,
never meets an old library, and nothing ever has to be invalidated.  The file appears
under its final name by one rename, so that two runs at once cannot see half of it.

Not a wheel's job: the library has to suit the libc of the *recorded* programs, which is
that of the machine, whatever the interpreter was built with.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from ancfuzz.errors import EnvironmentUnsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["build", "cache_directory"]

SOURCES = ("shim.c", "describe.h", "line.h", "log.h")
FLAGS = ("-shared", "-fPIC", "-O2")
LIBRARIES = ("-ldl",)  # dlsym's home before glibc 2.34; empty since
COMPILERS = ("cc", "gcc", "clang")
COMPILE_SECONDS = 60.0


def build() -> Path:
    """Returns the path of the compiled shim, compiling it if it is not there yet.

    The compiler is ``$CC``, else the first of cc, gcc and clang.

    Raises:
        EnvironmentUnsupported: there is no compiler, it failed, or the cache cannot be
            written; the message says what to do about it.
    """
    folder = files("ancfuzz.recorder") / "shim"
    sources = {name: (folder / name).read_bytes() for name in SOURCES}
    compiler = _compiler()
    key = hashlib.sha256()
    command = shlex.join([*compiler, *FLAGS, *LIBRARIES])
    for part in (*sources.values(), command.encode(), _ask(compiler, "--version")):
        key.update(hashlib.sha256(part).digest())
    library = cache_directory() / f"recorder-{key.hexdigest()[:16]}.so"
    if not library.exists():
        _compile(compiler, sources, library)
    return library


def cache_directory() -> Path:
    """The user's cache folder for ancfuzz (XDG base directory specification).

    A relative XDG_CACHE_HOME is ignored, as the specification says.

    Raises:
        EnvironmentUnsupported: there is neither that variable nor a home.
    """
    wanted = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        base = wanted if wanted.is_absolute() else Path.home() / ".cache"
    except RuntimeError as error:
        raise EnvironmentUnsupported(
            "the recorder has no cache: this user has no home; name a folder in "
            "XDG_CACHE_HOME"
        ) from error
    return base / "ancfuzz"


def _compiler() -> list[str]:
    named = os.environ.get("CC", "").strip()
    candidates = [shlex.split(named)] if named else [[name] for name in COMPILERS]
    for command in candidates:
        if shutil.which(command[0]) is not None:
            return command
    tried = f"$CC ({named})" if named else ", ".join(COMPILERS)
    raise EnvironmentUnsupported(
        f"the recorder needs a C compiler and found none (tried {tried}): install one "
        "(Debian: apt install gcc libc6-dev) or name it in CC"
    )


def _ask(compiler: list[str], *arguments: str, cwd: Path | None = None) -> bytes:
    """What the compiler prints; its complaint, in one line, if it fails."""
    try:
        done = subprocess.run(
            [*compiler, *arguments],
            cwd=cwd,
            capture_output=True,
            timeout=COMPILE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentUnsupported(
            f"the recorder's C compiler could not be run: {error}"
        ) from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").splitlines()
        said = next((line for line in lines if "error" in line), "no message")
        raise EnvironmentUnsupported(
            f"the recorder's library did not compile: {shlex.join(compiler)} ended "
            f"with status {done.returncode}: {said.strip()} (Debian: apt install gcc "
            "libc6-dev; another compiler: name it in CC)"
        )
    return done.stdout


def _compile(compiler: list[str], sources: Mapping[str, bytes], library: Path) -> None:
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as name:
            folder = Path(name)
            for source, text in sources.items():
                (folder / source).write_bytes(text)
            fresh = folder / library.name
            arguments = ("-o", library.name, SOURCES[0], *LIBRARIES)
            _ask(compiler, *FLAGS, *arguments, cwd=folder)
            fresh.replace(library)
    except OSError as error:
        raise EnvironmentUnsupported(
            f"the recorder cannot write its cache {library.parent}: {error.strerror}; "
            "name another folder in XDG_CACHE_HOME"
        ) from error
