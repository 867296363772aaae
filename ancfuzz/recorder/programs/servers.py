"""Servers whose processes pass descriptors, connections or credentials."""

from __future__ import annotations

import shutil
import textwrap
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ancfuzz.recorder.programs.stage import Stage


def dovecot(stage: Stage) -> None:
    """A login process passes its client to the process that serves the mail."""
    configuration = f"""
        base_dir = {stage.folder}/run
        state_dir = {stage.folder}/run
        log_path = {stage.folder}/messages
        mail_location = maildir:{stage.folder}/mail
        import_environment = LD_PRELOAD
        protocols = imap
        ssl = no
        disable_plaintext_auth = no
        first_valid_uid = 1
        passdb {{
          driver = static
          args = nopassword=y
        }}
        userdb {{
          driver = static
          args = uid=nobody gid=nogroup home={stage.folder}/mail
        }}
        service imap-login {{
          chroot =
          inet_listener imap {{
            port = 0
          }}
          inet_listener imaps {{
            port = 0
          }}
          unix_listener imap.socket {{
            mode = 0666
          }}
        }}
        """
    (stage.folder / "mail").mkdir()
    shutil.chown(stage.folder / "mail", "nobody", "nogroup")
    stage.start("dovecot", "-F", "-c", stage.write("dovecot.conf", configuration))
    stage.listening("run/imap.socket")
    time.sleep(1.0)
    stage.say(f"{stage.folder}/run/imap.socket", "a login user word", "b logout")


def haproxy(stage: Stage) -> None:
    """A new process takes the listeners over from an old one."""
    frontends = "".join(
        f"frontend f{i}\n  mode http\n  bind unix@{stage.folder}/f{i}\n"
        for i in range(4)
    )
    stage.write(
        "haproxy.cfg",
        f"global\n  stats socket {stage.folder}/stats expose-fd listeners\n"
        "defaults\n  timeout client 1s\n  timeout server 1s\n  timeout connect 1s\n"
        f"{frontends}",
    )
    command = ("haproxy", "-db", "-f", "haproxy.cfg")
    old = stage.start(*command)
    stage.listening("stats")
    stage.start(*command, "-x", f"{stage.folder}/stats", "-sf", str(old.pid))
    stage.wait(old)


def nginx(stage: Stage) -> None:
    """A master that tells its workers of each other, reloaded once."""
    folders = " ".join(
        f"{kind}_temp_path {stage.folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = f"""
        daemon off; worker_processes 3; pid {stage.folder}/pid; events {{}}
        http {{
          access_log off; {folders}
          server {{ listen unix:{stage.folder}/socket; }}
        }}
        """
    stage.write("nginx.conf", configuration)
    command = ("nginx", "-p", str(stage.folder), "-c", "nginx.conf", "-e", "error")
    master = stage.start(*command)
    stage.listening("socket")
    for order in ("reload", "quit"):
        time.sleep(0.5)
        stage.run(*command, "-s", order)
    stage.wait(master)


def postfix(stage: Stage) -> None:
    """Postscreen looks at a client and passes the connection to smtpd."""
    port = stage.port()
    for name in ("queue", "data"):
        (stage.folder / name).mkdir()
    shutil.chown(stage.folder / "data", "postfix")
    main = f"""
        compatibility_level = 3.6
        queue_directory = {stage.folder}/queue
        data_directory = {stage.folder}/data
        maillog_file = {stage.folder}/messages
        maillog_file_prefixes = {stage.folder}
        import_environment = LD_PRELOAD MAIL_CONFIG
        myhostname = host.invalid
        inet_interfaces = 127.0.0.1
        mynetworks = 192.0.2.1
        local_recipient_maps =
        postscreen_cache_map =
        postscreen_greet_wait = 1s
        """
    services = f"""
        127.0.0.1:{port} inet n - n - 1 postscreen
        smtpd pass - - n - - smtpd
        anvil unix - - n - 1 anvil
        postlog unix-dgram n - n - 1 postlogd
        proxymap unix - - n - - proxymap
        rewrite unix - - n - - trivial-rewrite
        """
    stage.write("main.cf", main)
    stage.write("master.cf", services)
    stage.run("postfix", "-c", str(stage.folder), "check")
    stage.start("master", "-d", "-c", str(stage.folder))
    time.sleep(1.0)
    stage.say(port, "EHLO client.invalid", "QUIT")
    time.sleep(0.5)


def rsyslog(stage: Stage) -> None:
    """A log socket that wants credentials and timestamps, and logger(1)."""
    configuration = f"""
        module(load="imuxsock" SysSock.Use="off")
        input(type="imuxsock" Socket="{stage.folder}/log" UseSysTimeStamp="on"
              UsePidFromSystem="on" Annotate="on")
        *.* action(type="omfile" file="{stage.folder}/messages")
        """
    stage.start(
        *("rsyslogd", "-n", "-f", stage.write("rsyslog.conf", configuration)),
        *("-i", f"{stage.folder}/pid"),
    )
    stage.listening("log")
    stage.run("logger", "-d", "-u", "log", "hello")
    time.sleep(0.2)


# The capacity is that of systemd's own manager: NOTIFY_FD_MAX in src/core/manager.c.
MANAGER = """
    import array, os, socket, sys
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    listener.bind(sys.argv[1])
    capacity = socket.CMSG_SPACE(12) + socket.CMSG_SPACE(4 * 768)
    while True:
        for _, kind, data in listener.recvmsg(4096, capacity)[1]:
            if kind == socket.SCM_RIGHTS:
                for fd in array.array("i", data):
                    os.close(fd)
    """
FDSTORE = """
    import ctypes, os
    notify = ctypes.CDLL("libsystemd.so.0").sd_pid_notify_with_fds
    for count in (1, 3):
        fds = [os.memfd_create("x") for _ in range(count)]
        numbers = (ctypes.c_int * count)(*fds)
        assert notify(0, 0, b"FDSTORE=1", numbers, count) > 0
    """


def systemd_notify(stage: Stage) -> None:
    """Readiness, the barrier and FDSTORE, for a stand-in of the manager."""
    path = str(stage.folder / "notify")
    stage.start(stage.python("manager"), "-c", textwrap.dedent(MANAGER), path)
    stage.listening("notify")
    here = {"NOTIFY_SOCKET": path}
    stage.run("systemd-notify", "--ready", "--status=hello", env=here)
    client = (stage.python("libsystemd"), "-c", textwrap.dedent(FDSTORE))
    stage.run(*client, env=here)
    time.sleep(0.2)
