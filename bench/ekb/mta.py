# SPDX-License-Identifier: ISC
"""The suites under measurement: how each is configured, started, asked and stopped."""

import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess

from . import host

HERE = pathlib.Path(__file__).resolve().parent.parent
QUEUE_WAIT = 60


class Mta:
    """One suite.  A run: start(), ports, ..., stop().  Each start is from an empty folder."""

    name = "?"
    rows = None  # names of the rows that it can run; None: all
    session_limit = 1000  # of the sessions row: a process for each of 5,000 sessions needs 6 GB
    queue_limit = 100000  # of the queue-length row: filling it takes minutes, a million hours

    def __init__(self, settings):
        self.settings = settings  # namespace: cert, key, sink_port, concurrency, ...
        # other: the port that the fairness row's second sender uses
        self.ports = dict(zip(("plain", "starttls", "smtps", "other"), host.free_ports(4)))
        self.dir = self.account = self.proc = None

    # what a suite has to provide
    def version(self):
        raise NotImplementedError

    def configure(self, hold):
        """Writes the configuration to self.dir; hold: accept and keep, deliver nothing."""
        raise NotImplementedError

    def launch(self, wrapper):
        """Starts the processes, as children of wrapper (an argv prefix) if it is not empty."""
        raise NotImplementedError

    def shutdown(self):
        raise NotImplementedError

    def roots(self):
        """Process ids that the process tree hangs on."""
        raise NotImplementedError

    def alive(self):
        """False once it is clear that the start has failed."""
        return True

    def after_start(self, hold):
        """Anything that is done by command once the suite serves."""

    def queue_empty(self):
        """True, False, or None when it cannot tell."""
        raise NotImplementedError

    def queue_settled(self):
        """True when nothing is being tried: all of a backlog waits for its next time."""
        raise NotImplementedError

    def queue_known(self, count):
        """True when a suite that has just started knows of so many messages in its queue."""
        return True

    def queue_list(self):
        """argv that prints the whole queue."""
        raise NotImplementedError

    def queue_flush(self):
        """argv that makes all deferred mail due now."""
        raise NotImplementedError

    def log_tail(self):
        return ""

    def queue_folder(self):
        """Where the queue is on disk."""
        raise NotImplementedError

    # common
    def start(self, directory, hold=False, wrapper=()):
        """Returns the seconds until the banner."""
        self.dir = pathlib.Path(directory)
        host.remove_tree(self.dir)
        self.dir.mkdir(parents=True)
        self.configure(hold)
        return self.restart(hold, wrapper)

    def restart(self, hold=False, wrapper=()):
        """Starts on what is in the folder."""
        self.account = host.account(self.name, self.settings.proc_account)
        begin = host.monotonic()
        self.launch(list(wrapper))
        host.wait_banner(self.ports["plain"], 60, self.alive)
        took = host.monotonic() - begin
        self.account.roots = self.roots()
        self.after_start(hold)
        return took

    def stop(self):
        """Ends every process of the suite; those that do not go are killed by id."""
        if self.account is None:
            return
        pids = self.account.pids()
        try:
            self.shutdown()
        finally:
            left = host.wait_gone(set(pids) | set(self.account.pids()), 15)
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            host.wait_gone(left, 5)
            self.account.close()
            self.account = None

    def pids(self):
        return self.account.pids()

    def cpu_seconds(self):
        return self.account.cpu_seconds()

    def roles(self):
        """{program: [process ids]}"""
        out = {}
        for pid in self.pids():
            try:
                name = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
            except OSError:
                continue
            out.setdefault(name, []).append(pid)
        return out

    def fill(self, template, target, **more):
        """Copies a template with its @NAME@ replaced."""
        s = self.settings
        values = {"DIR": self.dir, "PORT": self.ports["plain"], "TLSPORT": self.ports["starttls"],
                  "SMTPSPORT": self.ports["smtps"], "OTHERPORT": self.ports["other"], "SINK": f"[127.0.0.1]:{s.sink_port}",
                  "CERT": self.dir / "etc/cert.pem", "KEY": self.dir / "etc/key.pem", **more}
        text = (HERE / template).read_text()
        for name, value in values.items():
            text = text.replace(f"@{name}@", str(value))
        target.write_text(text)

    def copy_tls(self):
        etc = self.dir / "etc"
        etc.mkdir(exist_ok=True)
        shutil.copy(self.settings.cert, etc / "cert.pem")
        shutil.copy(self.settings.key, etc / "key.pem")
        os.chmod(etc / "key.pem", 0o600)


def tail(path, lines=15):
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


class Postfix(Mta):
    """Debian's package, with a configuration and a queue of its own."""

    name = "postfix"
    queues = ("maildrop", "incoming", "active", "deferred", "hold")

    def version(self):
        return host.run(["postconf", "-hd", "mail_version"]).stdout.strip()

    def configure(self, hold):
        s = self.settings
        self.copy_tls()
        for name in ("queue", "data"):
            (self.dir / name).mkdir()
        os.chown(self.dir / "data", pwd.getpwnam("postfix").pw_uid, -1)
        extra = list(s.postfix_set)
        if hold:
            extra.append("smtpd_client_restrictions = check_client_access static:HOLD")
        for name in ("main.cf", "master.cf"):
            self.fill(f"postfix/{name}.in", self.dir / "etc" / name,
                      SMTPD=max(s.idle, self.session_limit) + 200,
                      CONCURRENCY=s.concurrency, EXTRA="\n".join(extra))

    def command(self, *argv):
        return [argv[0], "-c", str(self.dir / "etc"), *argv[1:]]

    def launch(self, wrapper):
        argv = wrapper + self.command("postfix", "start")
        with open(self.dir / "start.out", "wb") as out:
            self.proc = subprocess.Popen(argv, stdout=out, stderr=out,
                                         preexec_fn=self.account.enter)
        if wrapper:
            return  # it stays until the last process has ended
        if self.proc.wait(60) != 0:
            raise RuntimeError(f"postfix start: {tail(self.dir / 'start.out')}\n{self.log_tail()}")

    def shutdown(self):
        host.run(self.command("postfix", "stop"), check=False)
        try:
            self.proc.wait(20)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()

    def roots(self):
        return [int((self.dir / "queue/pid/master.pid").read_text())]

    def _files(self, name):
        todo, found = [self.dir / "queue" / name], 0
        while todo:
            with os.scandir(todo.pop()) as entries:
                for e in entries:
                    if e.is_dir(follow_symlinks=False):
                        todo.append(e.path)
                    else:
                        found += 1
        return found

    def queue_folder(self):
        return self.dir / "queue"

    def queue_empty(self):
        return not any(self._files(q) for q in self.queues)

    def queue_settled(self):
        return not any(self._files(q) for q in ("maildrop", "incoming", "active"))

    def queue_list(self):
        return self.command("postqueue", "-p")

    def queue_flush(self):
        return self.command("postqueue", "-f")

    def log_tail(self):
        return tail(self.dir / "mail.log")


class Ekiden(Mta):
    """The suite of this source tree, from its build folder.

    Accept-only: it has no switch to hold all mail, so its next host is a socket that takes connections
    and never greets: everything stays in the queue.
    """

    name = "ekiden"
    session_limit, queue_limit = 5000, 1000000  # its processes do not grow in number
    setup = (("tenant", "add", "bench", "--enabled"),
             ("domain", "add", "bench", "mailsource.invalid", "--verified"),
             ("tenant", "add", "single", "--enabled"),
             ("domain", "add", "single", "single.invalid", "--verified"))
    list_command = ("queue", "list")
    flush_command = ("queue", "flush", "--all")
    count_command = ("-j", "queue", "count")

    def __init__(self, settings):
        super().__init__(settings)
        self.build = pathlib.Path(settings.build).resolve()

    def binary(self, name):
        return self.build / name / (name if name != "master" else "ekiden")

    def available(self):
        return self.binary("master").exists()

    def version(self):
        if not self.available():
            return None
        p = host.run([str(self.binary("master")), "--version"], check=False, timeout=10)
        return p.stdout.strip().splitlines()[0] if p.stdout.strip() else "unknown"

    def configure(self, hold):
        self.copy_tls()
        (self.dir / "log").mkdir()
        self.silent = None
        relay = None
        if hold:
            self.silent = socket.create_server(("127.0.0.1", 0), backlog=1024)
            relay = f"[127.0.0.1]:{self.silent.getsockname()[1]}"
        self.fill("ekiden.conf.in", self.dir / "etc/ekiden.conf", RELAY=relay or
                  f"[127.0.0.1]:{self.settings.sink_port}")

    def launch(self, wrapper):
        argv = wrapper + [str(self.binary("master")), "-f", "-c",
                          str(self.dir / "etc/ekiden.conf")]
        with open(self.dir / "start.out", "ab") as out:
            self.proc = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                         preexec_fn=self.account.enter)

    def alive(self):
        return self.proc.poll() is None

    def shutdown(self):
        if not self.alive():
            return
        os.kill(self.roots()[0], signal.SIGTERM)
        try:
            self.proc.wait(20)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()

    def roots(self):
        """The master itself, also when it runs below strace."""
        pids = host.tree([self.proc.pid])
        for pid in pids:
            if os.path.realpath(f"/proc/{pid}/exe") == str(self.binary("master")):
                return [pid]
        return [self.proc.pid]

    def command(self, *argv):
        return [str(self.binary("mtactl")), "-c", str(self.dir / "etc/ekiden.conf"), *argv]

    def ask(self, argv):
        """Output of an mtactl command, None when it fails or is not there."""
        try:
            p = host.run(self.command(*argv), check=False, timeout=60)
        except OSError:
            return None
        if p.returncode != 0:
            print(f"ekbench: mtactl {' '.join(argv)}: {p.stdout.strip()[:200]}", flush=True)
            return None
        return p.stdout

    def after_start(self, hold):
        for argv in self.setup:
            self.ask(argv)

    def queue_folder(self):
        return self.dir / "spool"

    def queue_empty(self):
        count = self.counted()
        return None if count is None else count["messages"] == 0

    def counted(self):
        text = self.ask(self.count_command)
        return json.loads(text) if text else None

    def queue_known(self, count):
        now = self.counted()
        return now is not None and now["messages"] >= count

    def queue_settled(self):
        count = self.counted()
        return count is not None and count["active"] == 0

    def queue_list(self):
        return self.command(*self.list_command)

    def queue_flush(self):
        return self.command(*self.flush_command)

    def log_tail(self):
        return tail(self.dir / "start.out") + "\n" + tail(self.dir / "log/mail.log")
