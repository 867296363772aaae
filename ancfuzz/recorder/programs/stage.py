"""Where a real program is recorded: a folder of its own, and a deadline for all of it.

A scene (``sessions``, ``servers``) gets a :class:`Stage`, starts programs on it and
makes them talk.  What they do to descriptors is not looked at here.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import textwrap
import time
from typing import TYPE_CHECKING, Final

from ancfuzz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ancfuzz.recorder import Session

__all__ = ["PATH", "PYTHON", "SECONDS", "Stage"]

SECONDS: Final = 30.0  # for one program and its clients
PATH: Final = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/lib/postfix/sbin"

PYTHON: Final = "/usr/bin/python3"  # Debian's own, for it has Debian's modules


class Stage:
    """A temporary folder, and the programs that are recorded in it."""

    def __init__(self, session: Session, folder: Path) -> None:
        """Makes the runtime folder and the file that takes all output."""
        self.session = session
        self.folder = folder
        self.output = folder / "output"
        self.runtime = folder / "runtime"
        self.runtime.mkdir(mode=0o700)

    def start(
        self,
        *command: str,
        stdin: int = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Starts a program; ``env`` is added to its environment."""
        with self.output.open("ab") as output:
            return self.session.start(
                command,
                cwd=self.folder,
                stdin=stdin,
                stdout=output.fileno(),
                stderr=output.fileno(),
                extra=env,
            )

    def run(self, *command: str, env: Mapping[str, str] | None = None) -> int:
        """Runs a program to its end; returns its exit status."""
        return self.wait(self.start(*command, env=env))

    def wait(self, child: subprocess.Popen[bytes]) -> int:
        """Waits for a program that was started; returns its exit status."""
        status = self.session.wait(child)
        if status is None:
            raise UsageError(f"{child.args!r} did not end in {SECONDS:g} seconds")
        return status

    def python(self, name: str) -> str:
        """A name for Debian's Python, that of the library that it stands for."""
        path = self.folder / name
        path.symlink_to(PYTHON)
        return str(path)

    def write(self, name: str, text: str) -> str:
        """Writes a file; returns its path."""
        path = self.folder / name
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return str(path)

    def listening(self, name: str) -> None:
        """Waits until somebody listens on a socket, or receives from it."""
        path = self.folder / name
        while self.session.left:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                probe = socket.socket(socket.AF_UNIX, kind)
                with probe, contextlib.suppress(OSError):
                    probe.connect(str(path))
                    return
            time.sleep(0.05)
        raise UsageError(f"nobody listened on {name} in {SECONDS:g} seconds")

    def port(self) -> int:
        """A port of the loopback interface that nobody uses."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            return int(probe.getsockname()[1])

    def say(self, port: int | str, *lines: str) -> None:
        """Talks to a server, a line every half a second, and hears it to the end."""
        address = ("127.0.0.1", port) if isinstance(port, int) else port
        family = socket.AF_INET if isinstance(port, int) else socket.AF_UNIX
        with socket.socket(family) as client:
            client.connect(address)
            client.settimeout(5.0)
            for line in lines:
                time.sleep(0.5)
                client.sendall(line.encode() + b"\r\n")
            with contextlib.suppress(TimeoutError):
                while client.recv(4096):
                    pass
