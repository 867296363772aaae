"""Real programs that pass descriptors or credentials: what each needs, how it is run.

    stage       a folder, a deadline, and programs started in it
    sessions    scenes of one user's session
    servers     scenes of servers
    __main__    the command line: corpora/captures/record.py starts it

The table below is all that there is: a program is added by a row and a scene.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ancfuzz.recorder.programs import servers, sessions
from ancfuzz.recorder.programs.stage import PYTHON, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PROGRAMS", "Program"]


@dataclass(frozen=True)
class Program:
    """A program that can be recorded.

    Attributes:
        run: starts it and its clients; its docstring says what is seen.
        version: the command that says its version.
        packages: what Debian calls what is needed.
        commands: what has to be there.
        root: whether it can only be run by root.
    """

    run: Callable[[Stage], None]
    version: tuple[str, ...]
    packages: str
    commands: str
    root: bool = False


PROGRAMS: Final = {
    "dbus": Program(
        sessions.dbus,
        ("dbus-daemon", "--version"),
        "dbus libglib2.0-bin python3-dbus python3-jeepney",
        "dbus-daemon gdbus",
    ),
    "dovecot": Program(
        servers.dovecot, ("dovecot", "--version"), "dovecot-imapd", "dovecot", root=True
    ),
    "haproxy": Program(servers.haproxy, ("haproxy", "-v"), "haproxy", "haproxy"),
    "multiprocessing": Program(
        sessions.multiprocessing, (PYTHON, "-V"), "python3", PYTHON
    ),
    "netcat": Program(
        sessions.netcat, ("ssh", "-V"), "netcat-openbsd openssh-client", "nc ssh"
    ),
    "nginx": Program(servers.nginx, ("nginx", "-v"), "nginx-light", "nginx"),
    "node": Program(sessions.node, ("node", "-v"), "nodejs", "node"),
    "openssh": Program(
        sessions.openssh,
        ("ssh", "-V"),
        "openssh-client openssh-server",
        "ssh sshd ssh-keygen",
    ),
    "pipewire": Program(
        sessions.pipewire,
        ("pipewire", "--version"),
        "pipewire-bin",
        "pipewire pw-cli pw-cat",
    ),
    "postfix": Program(
        servers.postfix,
        ("postconf", "mail_version"),
        "postfix",
        "postfix master",
        root=True,
    ),
    "pulseaudio": Program(
        sessions.pulseaudio,
        ("pulseaudio", "--version"),
        "pulseaudio pulseaudio-utils",
        "pulseaudio pactl paplay",
    ),
    "rsyslog": Program(
        servers.rsyslog, ("rsyslogd", "-v"), "rsyslog bsdutils", "rsyslogd logger"
    ),
    "systemd-notify": Program(
        servers.systemd_notify,
        ("systemd-notify", "--version"),
        "systemd",
        "systemd-notify",
    ),
    "tmux": Program(sessions.tmux, ("tmux", "-V"), "tmux", "tmux"),
    "weston": Program(sessions.weston, ("weston", "--version"), "weston", "weston"),
}
