"""Programs that pass descriptors to each other in one user's session."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import textwrap
import time
import wave
from pathlib import Path
from typing import TYPE_CHECKING

from ancfuzz.errors import UsageError
from ancfuzz.recorder.programs.stage import PATH

if TYPE_CHECKING:
    from collections.abc import Generator

    from ancfuzz.recorder.programs.stage import Stage


LIBDBUS = """
    import dbus, dbus.lowlevel, os, sys
    bus = dbus.bus.BusConnection(sys.argv[1])
    for fds in ((0,), (0, 1, 2), os.pipe() * 8):
        message = dbus.lowlevel.MethodCallMessage(
            bus.get_unique_name(), "/x", "x.y", "Take")
        for fd in fds:
            message.append(dbus.types.UnixFd(fd), signature="h")
        try:
            bus.send_message_with_reply_and_block(message, 1.0)
        except dbus.DBusException:
            pass  # nobody answers: the message has come back all the same
    """
JEEPNEY = """
    import os, sys
    from jeepney import DBusAddress, new_method_call
    from jeepney.io.blocking import open_dbus_connection
    bus = open_dbus_connection(bus=sys.argv[1], enable_fds=True)
    me = DBusAddress("/x", bus_name=bus.unique_name, interface="x.y")
    for fds in ((0,), (0, 1, 2), os.pipe() * 8):
        bus.send(new_method_call(me, "Take", "h" * len(fds), fds))
        while len(bus.receive(timeout=5).body) != len(fds):
            pass
    """


def dbus(stage: Stage) -> None:
    """A private bus; libdbus, jeepney and GDBus pass descriptors to themselves."""
    address = f"unix:path={stage.folder}/bus"
    stage.start("dbus-daemon", "--session", "--nofork", f"--address={address}")
    stage.listening("bus")
    for name, source in (("libdbus", LIBDBUS), ("jeepney", JEEPNEY)):
        if stage.run(stage.python(name), "-c", textwrap.dedent(source), address):
            raise UsageError(f"the client that uses {name} failed")
    bus = "org.freedesktop.DBus"
    stage.run(
        *("gdbus", "call", "--address", address, "--dest", bus),
        *("--object-path", "/", "--method", f"{bus}.ListNames"),
    )


MULTIPROCESSING = """
    import multiprocessing, socket

    def work(connection, sock):
        connection.send("begun")
        connection.recv()

    if __name__ == "__main__":
        context = multiprocessing.get_context("forkserver")
        here, there = context.Pipe()
        sockets = socket.socketpair()
        process = context.Process(target=work, args=(there, sockets[0]))
        process.start()
        here.recv()
        here.send(sockets[1])
        process.join()
    """


def multiprocessing(stage: Stage) -> None:
    """A forkserver, and sockets sent to a child through a pipe connection."""
    stage.run(stage.python("python"), stage.write("work.py", MULTIPROCESSING))


def netcat(stage: Stage) -> None:
    """``nc -F`` opens a connection and passes it to ssh (ProxyUseFdpass)."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = f"-oProxyCommand=nc -F 127.0.0.1 {server.getsockname()[1]}"
        client = stage.start(
            "ssh", "-F/dev/null", "-oProxyUseFdpass=yes", proxy, "nowhere"
        )
        server.settimeout(stage.session.left)
        server.accept()[0].close()
        stage.wait(client)


NODE = """
    const net = require('net'), { fork } = require('child_process');
    if (process.argv[2] === 'child') {
      process.on('message', (message, handle) => { handle.close(); process.exit(); });
    } else {
      const server = net.createServer().listen('socket', () => {
        const child = fork(__filename, ['child']);
        child.send('server', server);
        child.on('exit', () => server.close());
      });
    }
    """


def node(stage: Stage) -> None:
    """``child.send(message, handle)``: a listening socket for a child process."""
    stage.run("node", stage.write("main.js", NODE))


def openssh(stage: Stage) -> None:
    """A control master and the clients that pass it their descriptors."""
    for key in ("host", "user"):
        stage.run("ssh-keygen", "-q", "-ted25519", "-N", "", "-C", "", "-f", key)
    shutil.copy(stage.folder / "user.pub", stage.folder / "authorized")
    server = f"""
        HostKey {stage.folder}/host
        AuthorizedKeysFile {stage.folder}/authorized
        StrictModes no
        UsePAM no
        PermitRootLogin yes
        PidFile none
        """
    inetd = f"{shutil.which('sshd', path=PATH)} -i -f"
    client = f"""
        Host server
          ProxyCommand {inetd} {stage.write("sshd_config", server)}
          IdentityFile {stage.folder}/user
          UserKnownHostsFile {stage.folder}/known
          StrictHostKeyChecking no
          ControlPath {stage.folder}/control
        """
    ssh = ("ssh", "-F", stage.write("ssh_config", client))
    with _privilege_separation_folder():
        master = stage.start(*ssh, "-MN", "server")
        stage.listening("control")
        stage.run(*ssh, "server", "echo", "hello")
        stage.run(*ssh, "-tt", "server", "tty")
        stage.run(*ssh, "-O", "exit", "server")
        stage.wait(master)


@contextlib.contextmanager
def _privilege_separation_folder() -> Generator[None]:
    """Root's sshd insists on /run/sshd, which its service makes, and so do we."""
    folder = Path("/run/sshd")
    make = os.geteuid() == 0 and not folder.exists()
    if make:
        folder.mkdir(mode=0o755)
    try:
        yield
    finally:
        if make:
            folder.rmdir()


def pipewire(stage: Stage) -> None:
    """A server; a client that asks, and one that would play."""
    here = {"HOME": str(stage.folder), "XDG_RUNTIME_DIR": str(stage.runtime)}
    stage.start("pipewire", env=here)
    stage.listening("runtime/pipewire-0")
    stage.run("pw-cli", "list-objects", env=here)
    player = stage.start("pw-cat", "-p", silence(stage), env=here)
    time.sleep(1.0)
    player.terminate()


def pulseaudio(stage: Stage) -> None:
    """A server with a null sink; a client that asks, and one that plays."""
    here = {"HOME": str(stage.folder), "XDG_RUNTIME_DIR": str(stage.runtime)}
    path = f"{stage.folder}/pulse"
    stage.start(
        *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1"),
        *("-L", f"module-native-protocol-unix socket={path}", "-L", "module-null-sink"),
        env=here,
    )
    stage.listening("pulse")
    stage.run("pactl", "-s", f"unix:{path}", "info", env=here)
    stage.run("paplay", "-s", f"unix:{path}", silence(stage), env=here)


def silence(stage: Stage) -> str:
    """A sound file of half a second; returns its path."""
    path = str(stage.folder / "silence.wav")
    with wave.open(path, "wb") as sound:
        sound.setparams((2, 2, 48000, 24000, "NONE", ""))
        sound.writeframes(bytes(4 * 24000))
    return path


def tmux(stage: Stage) -> None:
    """A server, a session, a client on a terminal and clients without."""
    command = ("tmux", "-f/dev/null", f"-S{stage.folder}/server")
    terminal, inside = os.openpty()
    try:
        stage.run(*command, "new-session", "-d", "sleep 20", env={"TERM": "xterm"})
        attached = stage.start(*command, "attach", stdin=inside, env={"TERM": "xterm"})
        time.sleep(0.5)
        stage.run(*command, "list-sessions")
        stage.run(*command, "kill-server")
        stage.wait(attached)
    finally:
        os.close(terminal)
        os.close(inside)


def weston(stage: Stage) -> None:
    """A compositor without a display, its shell, and two clients."""
    here = {"XDG_RUNTIME_DIR": str(stage.runtime)}
    stage.start(
        *("weston", "--backend=headless-backend.so", "--no-config", "-Swayland"),
        env=here,
    )
    stage.listening("runtime/wayland")
    for client in ("weston-simple-shm", "weston-flower"):
        child = stage.start(client, env=here | {"WAYLAND_DISPLAY": "wayland"})
        time.sleep(1.0)
        child.terminate()
