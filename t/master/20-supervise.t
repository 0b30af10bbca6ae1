#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Daemons that die, misbehave or hang: restarted with back-off, their peers told, nobody else hurt."""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fakes import Instance, tap, wait_for  # noqa: E402


def killed(m):
    before = m.ready()
    pid = before["authd/0"]["pid"]
    peers = m.state("smtpd")["peers"]
    begin = time.monotonic()
    os.kill(int(pid), signal.SIGKILL)
    row = m.again("authd/0", pid)
    tap.ok(time.monotonic() - begin < 1.0, "the first death is mended at once")
    tap.equal(row["restarts"], "1", "and counted")
    tap.match(m.log(), rf"error: authd/0 \(pid {pid}\) was killed by signal 9 \(Killed\)", "and logged")
    state = wait_for(lambda: (lambda s: s if s["gone"] == "1" else None)(m.state("smtpd")), 5, "news")
    tap.equal(state["peers"], peers, "smtpd was told and has a live channel to the new one")
    tap.equal(m.state("authd")["peers"].split(), ["smtpd/0", "smtpd/1", "qmgr/0", "dnsd/0"],
              "the new one has its peers")
    tap.equal(m.state("signd")["gone"], "0", "who is no peer of it hears nothing")
    tap.equal({k: r["pid"] for k, r in m.status().items() if k != "authd/0"},
              {k: r["pid"] for k, r in before.items() if k != "authd/0"}, "nobody else was touched")
    begin = time.monotonic()
    os.kill(int(row["pid"]), signal.SIGSEGV)
    row = m.again("authd/0", row["pid"])
    tap.ok(0.8 < time.monotonic() - begin < 3, "after the second death it waits a second")
    tap.match(m.log(), r"warning: authd/0 starts again in 1 s", "and says so")


def forbidden(m):
    pid = m.status()["bounce/0"]["pid"]
    tap.ok(m.do("forbidden", "bounce"), "atk-I13 a daemon that executes a program ends")
    m.again("bounce/0", pid)
    tap.match(m.log(), rf"error: bounce/0 \(pid {pid}\) was killed by its sandbox", "as such in the log")


def provoke(m, what, role):
    """Its answer may be lost: master does not wait for it before it acts."""
    try:
        m.ask(what, role)
    except (OSError, EOFError):
        pass


def forged(m):
    pid = m.status()["dnsd/0"]["pid"]
    provoke(m, "fake forge", "dnsd")
    tap.ok(m.again("dnsd/0", pid), "atk-I12 a daemon that forges a message is replaced")
    tap.match(m.log(), r"error: dnsd/0: bad frame 269 \(drain\) from dnsd: killed", "and why")
    pid = m.status()["dnsd/0"]["pid"]
    provoke(m, "fake dial", "dnsd")
    tap.ok(m.again("dnsd/0", pid), "atk-I12 one that wants connections that are not for it is replaced")
    tap.match(m.log(), r"error: dnsd/0: bad frame 515 \(milter_want\) from dnsd: killed", "and why")
    pid = m.status()["smtpd/0"]["pid"]
    for _ in range(5):
        provoke(m, "fake dial", "smtpd")
    tap.equal(m.status()["smtpd/0"]["pid"], pid, "atk-I12 smtpd may ask, also for too much, and gets answers")
    pid = m.status()["signd/0"]["pid"]
    provoke(m, "fake exit", "signd")
    row = m.again("signd/0", pid)
    tap.match(m.log(), rf"error: signd/0 \(pid {pid}\) ended with status 0", "a daemon that ends by itself is an error")
    provoke(m, "fake close", "signd")
    m.again("signd/0", row["pid"], 15)
    tap.match(m.log(), r"error: signd/0 does not end: killed", "one that leaves master but stays is killed")


def flood(m):
    """All at once, while they restart each other's peers."""
    for round_ in range(3):
        for name, row in m.status().items():
            if name != "master/0" and int(row["pid"]):
                try:
                    os.kill(int(row["pid"]), signal.SIGKILL)
                except ProcessLookupError:
                    pass
        time.sleep(0.2)
    wait_for(m.ready, 30, "all to come back")
    tap.ok(True, "atk-J15 all killed, three times: all come back")
    for role in ("smtpd", "qmgr", "dnsd"):
        peers = m.state(role)["peers"]
        tap.ok("dead" not in peers and "gone" not in peers, f"with live channels ({role})", peers)


def main():
    m = Instance()
    m.start()
    killed(m)
    forbidden(m)
    forged(m)
    flood(m)
    tap.equal(m.proc.end(), 0, "and it stops")
    tap.done()


main()
