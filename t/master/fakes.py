# SPDX-License-Identifier: ISC
"""master with a stand-in (t/master/harness) in the place of every daemon."""

import os
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from control import Control, ROLES  # noqa: E402
from suite import (BUILD, Process, folder, free_port, make_certificate, tap, wait_for)  # noqa: E402

HARNESS = f"{BUILD}/t/master/harness"
MASTER = f"{BUILD}/master/ekiden"
DIGEST = int(subprocess.run([HARNESS, "digest"], capture_output=True, check=True).stdout)
UID_BASE = 61700


class Instance:
    def __init__(self, name="m", user=None):
        self.user = user
        self.dir = os.path.join(folder(), name)
        os.makedirs(self.dir)
        self.programs = os.path.join(folder(), "programs")
        if not os.path.exists(self.programs):
            os.makedirs(self.programs)
            for role in ROLES[1:]:
                os.symlink(HARNESS, os.path.join(self.programs, role))
        self.conf = f"{self.dir}/ekiden.conf"
        self.logfile = f"{self.dir}/mail.log"
        self.control = f"{self.dir}/run/control"
        self.ports = [free_port(), free_port()]
        self.certificate = make_certificate()
        self.write()
        if user:
            for path in (self.dir, self.conf) + self.certificate:
                os.chown(path, user, user)

    def write(self, postmaster="first@x", listeners=None, extra="", smtpd=2, state=None):
        crt, key = self.certificate
        if listeners is None:
            listeners = "".join(
                f"listen l{i} {{ address 127.0.0.1:{p}; tls starttls; auth required; "
                f"reverse-lookup no; }}\n" for i, p in enumerate(self.ports))
        text = f"""hostname mta.test
postmaster {postmaster}
state-dir {state or self.dir + '/state'}
spool-dir {self.dir}/spool
run-dir {self.dir}/run
uid-base {UID_BASE}
smtpd-processes {smtpd}
smtp-processes 2
certificate default {{ chain {crt}; key {key}; }}
resolver {{ server 127.0.0.1:5; dnssec no; }}
delivery {{ trust {crt}; }}
log {{ file {self.logfile}; level debug; events {self.dir}/events; }}
{listeners}{extra}"""
        with open(self.conf, "w") as f:
            f.write(text)
        return text

    def command(self, *options):
        return [MASTER, "-c", self.conf, "--daemon-dir", self.programs, *options]

    def start(self, notify=None):
        env = dict(os.environ)
        if notify:
            env["NOTIFY_SOCKET"] = notify
        self.errors = open(f"{self.dir}/stderr", "a")
        self.proc = Process(self.command("-f"), stderr=self.errors, stdout=self.errors, env=env,
                            user=self.user, group=self.user, extra_groups=[] if self.user else None)
        self.pid = self.proc.p.pid
        wait_for(lambda: self.proc.p.poll() is not None or self.ready(), 20, "all daemons")
        return self

    def run(self, *options, timeout=30):
        return subprocess.run(self.command(*options), capture_output=True, text=True,
                              timeout=timeout, user=self.user, group=self.user)

    def ask(self, command, role="master", timeout=60, instance=0):
        c = Control(self.control, DIGEST, role, timeout, instance)
        try:
            return c.call(command)
        finally:
            c.s.close()

    def status(self):
        """{"smtpd/0": row}, or {} when nobody answers."""
        try:
            rows = self.ask("status")[2]
        except (OSError, EOFError):
            return {}
        return {f"{r['role']}/{r['instance']}": r for r in rows}

    def ready(self):
        s = self.status()
        return s and all(r["state"] == "ready" for r in s.values()) and s

    def again(self, name, former, seconds=10):
        """The row of the next process of that name, when it is ready."""
        def fresh():
            row = self.status().get(name)
            return row if row and row["pid"] != former and row["state"] == "ready" else None
        return wait_for(fresh, seconds, f"{name} to come back")

    def state(self, role):
        return self.ask("fake state", role)[2][0]

    def do(self, what, role):
        """A command that ends the daemon; True when it did."""
        try:
            self.ask("fake " + what, role)
        except (EOFError, ConnectionError):
            return True
        return False

    def log(self):
        try:
            return open(self.logfile, errors="replace").read()
        except FileNotFoundError:
            return ""

    def stderr(self):
        return open(f"{self.dir}/stderr").read()

    def children(self):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                stat = open(f"/proc/{pid}/stat").read()
            except OSError:
                continue
            if stat.rpartition(")")[2].split()[1] == str(self.pid):
                found.append(int(pid))
        return found


def gone(pids):
    return not any(os.path.exists(f"/proc/{p}") for p in pids)


def notify_socket():
    path = os.path.join(folder(), "notify")
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(path)
    s.settimeout(10)
    return s, path
