#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The graceful end, the ungraceful one, and both modes of running."""

import os
import pwd
import re
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fakes import Instance, gone, tap, wait_for  # noqa: E402


def order():
    m = Instance("order").start()
    m.ready()
    pids = m.children()
    os.kill(m.pid, signal.SIGTERM)
    tap.equal(m.proc.p.wait(20), 0, "SIGTERM: exit 0")
    drained = re.findall(r"ekiden/(\w+)\[\d+\]: fake drains", m.log())
    tap.equal(drained[:2], ["smtpd", "smtpd"], "smtpd finishes first")
    tap.equal(drained[2], "qmgr", "then the queue manager")
    tap.equal(sorted(drained[3:]), ["authd", "bounce", "dnsd", "signd", "smtp", "smtp"], "then the rest")
    tap.ok(gone(pids), "nobody is left")
    tap.ok("error" not in m.log(), "without an error in the log", m.log())
    tap.ok(not os.path.exists(m.control) and not os.path.exists(f"{m.dir}/run/master.pid"),
           "socket and pid file are removed")


def deadline():
    m = Instance("deadline")
    m.write(postmaster="slow-smtpd@x")
    m.start()
    begin = time.monotonic()
    os.kill(m.pid, signal.SIGTERM)
    wait_for(lambda: "fake drains" in m.log(), 5, "drain")
    tap.equal(m.status()["smtpd/0"]["state"], "draining", "one that does not finish is draining")
    tap.equal(m.proc.p.wait(30), 0, "its time is limited")
    tap.ok(9 < time.monotonic() - begin < 15, "to ten seconds", time.monotonic() - begin)
    tap.match(m.log(), "smtpd.*: warning: stopping with unfinished work", "it says so itself")


def impatient():
    m = Instance("impatient")
    m.write(postmaster="slow-smtpd@x")
    m.start()
    pids = m.children()
    begin = time.monotonic()
    os.kill(m.pid, signal.SIGTERM)
    wait_for(lambda: "fake drains" in m.log(), 5, "drain")
    os.kill(m.pid, signal.SIGTERM)
    tap.equal(m.proc.p.wait(5), 0, "the second SIGTERM means now")
    tap.ok(time.monotonic() - begin < 3 and gone(pids), "and everybody is gone")


def terminal():
    m = Instance("terminal").start()
    before = m.ready()
    for row in before.values():
        if row["role"] != "master":
            for sig in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE):
                os.kill(int(row["pid"]), sig)
    time.sleep(0.3)
    tap.equal({k: r["pid"] for k, r in m.ready().items()}, {k: r["pid"] for k, r in before.items()},
              "daemons leave INT, HUP, TERM and PIPE to master")
    sids = {os.getsid(int(r["pid"])) for r in before.values()}
    tap.equal(len(sids), len(before), "each in a session of its own")
    os.kill(m.pid, signal.SIGINT)
    tap.equal(m.proc.p.wait(20), 0, "SIGINT stops as SIGTERM does")


def ordinary_user():
    """The same without root: no change of ids, no chroot, seccomp all the same."""
    if os.geteuid() != 0:
        return
    user = pwd.getpwnam("nobody").pw_uid
    m = Instance("user", user=user).start()
    rows = m.ready()
    tap.ok(rows, "an ordinary user runs the suite", m.stderr() + m.log())
    if not rows:
        return
    for name, row in rows.items():
        status = open(f"/proc/{row['pid']}/status").read()
        tap.match(status, rf"Uid:\t{user}\t{user}\t{user}\t{user}", f"{name} runs as that user")
        if name != "master/0":
            tap.match(status, r"Seccomp:\t2", f"{name} has its sandbox")
    tap.equal(os.readlink(f"/proc/{rows['qmgr/0']['pid']}/cwd"), m.dir + "/spool",
              "qmgr works in its folder")
    tap.equal(m.state("qmgr")["confined"], "0", "and knows that it is not confined")
    tap.equal(m.ask("stop")[0], 0, "stop by command")
    tap.equal(m.proc.p.wait(10), 0, "exit 0")


def main():
    order()
    deadline()
    impatient()
    terminal()
    ordinary_user()
    tap.done()


main()
