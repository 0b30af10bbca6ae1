#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""C26: a configuration is checked whole, then taken by all, or by none."""

import os
import re
import signal
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fakes import Instance, ROLES, free_port, gone, tap, wait_for  # noqa: E402


def everywhere(m, what):
    return {m.state(role)[what] for role in ROLES[1:]}


def sockets(pid):
    return {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}


def good(m):
    pids = {k: r["pid"] for k, r in m.status().items()}
    port = free_port()
    tickets = re.findall(r"ticket=1,(\w+)", m.state("smtpd")["material"])
    m.write(postmaster="second@x", listeners=f"""
listen l1 {{ address 127.0.0.1:{m.ports[1]} 127.0.0.1:{port}; auth required; reverse-lookup no; }}
""")
    tap.equal(m.ask("reload")[:2], (0, ""), "C26 a good configuration: exit 0")
    tap.equal(everywhere(m, "postmaster"), {"second@x"}, "every daemon has it when the command returns")
    tap.equal(everywhere(m, "serial"), {"2"}, "by its number")
    tap.equal({k: r["pid"] for k, r in m.status().items()}, pids, "no process was restarted")
    words = m.state("smtpd")["material"].split()
    tap.equal([w for w in words if w.startswith("listener")],
              [f"listener=0,127.0.0.1:{p},listens" for p in (m.ports[1], port)], "the listeners are the new set")
    tap.equal(re.findall(r"ticket=0,(\w+)", " ".join(words)), tickets, "a listener of the same name keeps its ticket keys")
    tap.ok(socket.create_connection(("127.0.0.1", port), 5), "the new address listens")
    try:
        socket.create_connection(("127.0.0.1", m.ports[0]), 5)
        tap.ok(False, "the old one does not")
    except ConnectionRefusedError:
        tap.ok(True, "the old one does not")


def refused(m, name, pattern, status=1, **conf):
    """A configuration that must change nothing."""
    before, serials = open(m.conf).read(), everywhere(m, "serial")
    keep = everywhere(m, "postmaster")
    text = m.write(**conf)
    got, why, rows = m.ask("reload")
    tap.ok(got == status and re.search(pattern, why), f"C26 {name}: refused", (got, why, rows, text))
    tap.equal(everywhere(m, "postmaster"), keep, f"{name}: the former one stays everywhere")
    tap.ok(m.ready(), f"{name}: all still serve", m.status())
    with open(m.conf, "w") as f:
        f.write(before)
    return rows, serials


def bad(m):
    rows, serials = refused(m, "a wrong directive", r"ekiden\.conf:\d+:\d+: .*bogus", extra="bogus 1\n")
    tap.equal(everywhere(m, "serial"), serials, "no daemon even saw it")
    rows, _ = refused(m, "two errors", r"ekiden\.conf:\d+:\d+", extra="bogus 1\nbogus 2\n")
    tap.equal(len(rows), 2, "both are shown")
    tap.match(m.log(), r"error: .*ekiden\.conf:\d+:\d+: .*bogus", "and logged")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        refused(m, "a port in use", "Address already in use", listeners="listen x { address 127.0.0.1:"
                f"{s.getsockname()[1]}; auth required; reverse-lookup no; }}\n")
    refused(m, "another state-dir", "state-dir: a reload cannot change it", state=m.dir + "/elsewhere")
    refused(m, "a daemon that refuses", r"qmgr/0: told to refuse", postmaster="refuse-qmgr@x")
    tap.match(m.log(), r"refused, the former one stays: qmgr/0: told to refuse", "and why is logged")


def transport(m):
    """text: maps are built by mtactl, and copied to where the queue manager opens them."""
    source, db = f"{m.dir}/transport", f"{m.dir}/spool/maps/transport.db"
    with open(source, "w") as f:
        f.write("a.test [127.0.0.1]:25\nb.test mx.b.test\n")
    m.write(postmaster="map@x", extra=f"transport text:{source}\n")
    tap.equal(m.ask("reload")[:2], (0, ""), "a transport map")
    uid = os.stat(f"{m.dir}/spool").st_uid
    tap.equal((oct(os.stat(db).st_mode & 0o7777), os.stat(db).st_uid), ("0o600", uid),
              "is a file of the queue manager")
    first = open(db, "rb").read()
    with open(source, "a") as f:
        f.write("keyalone\n")
    status, why, _ = m.ask("reload")
    tap.ok(status == 1 and f"{source}:3" in why, "C26 a wrong line in it: refused, with file and line", why)
    tap.equal(open(db, "rb").read(), first, "the former map stays")
    if os.geteuid() == 0:
        target = f"{m.dir}/target"
        with open(target, "w") as f:
            f.write("untouched")
        for name in ("transport.db", ".transport.db.new"):
            if os.path.exists(f"{m.dir}/spool/maps/{name}"):
                os.unlink(f"{m.dir}/spool/maps/{name}")
            os.symlink(target, f"{m.dir}/spool/maps/{name}")
        with open(source, "w") as f:
            f.write("c.test [127.0.0.1]:25\n")
        m.ask("reload")
        tap.equal(open(target).read(), "untouched", "atk-I1 a link planted there is not followed")
    m.write(postmaster="nomap@x")
    tap.equal(m.ask("reload")[0], 0, "and without it again")


def counts(m):
    m.write(postmaster="third@x", smtpd=4)
    tap.equal(m.ask("reload")[0], 0, "more processes")
    wait_for(m.ready, 10, "the new ones")
    rows = m.status()
    tap.equal(sorted(k for k in rows if k.startswith("smtpd")), [f"smtpd/{i}" for i in range(4)],
              "are started")
    tap.ok("smtpd/3" in m.state("qmgr")["peers"].split(), "and joined to their peers")
    m.write(postmaster="fourth@x", smtpd=1)
    tap.equal(m.ask("reload")[0], 0, "fewer processes")
    tap.ok(wait_for(lambda: len([k for k in m.status() if k.startswith("smtpd")]) == 1, 10, "the drain"),
           "are drained")
    tap.ok(gone([int(rows[f"smtpd/{i}"]["pid"]) for i in (1, 2, 3)]), "and end")
    tap.equal(m.state("qmgr")["peers"].split().count("smtpd/0"), 1, "the first one stays")


def by_signal(m):
    m.write(postmaster="fifth@x")
    os.kill(m.pid, signal.SIGHUP)
    tap.ok(wait_for(lambda: everywhere(m, "postmaster") == {"fifth@x"}, 10, "reload"), "SIGHUP reloads")
    wait_for(m.ready, 10, "all")
    os.rename(m.logfile, m.logfile + ".1")
    os.kill(m.pid, signal.SIGUSR1)
    wait_for(lambda: "open anew" in m.log(), 10, "the new log")
    pid = m.status()["authd/0"]["pid"]
    tap.ok(wait_for(lambda: m.logfile in sockets(pid) and m.logfile + ".1" not in sockets(pid), 10, "it"),
           "SIGUSR1: daemons write to the new log", sockets(pid))
    os.kill(int(pid), signal.SIGKILL)
    m.again("authd/0", pid)
    tap.equal(m.state("authd")["postmaster"], "fifth@x", "a restarted daemon gets the current configuration")


def stalled(m):
    """A daemon that never answers delays the reload by its time-out, not master."""
    before = m.status()["smtp/0"]["pid"]
    m.write(postmaster="stall-smtp@x")
    os.kill(m.pid, signal.SIGHUP)
    wait_for(lambda: m.state("authd")["postmaster"] == "stall-smtp@x", 5, "the others")
    tap.ok(m.status(), "while one daemon hangs, master answers")
    m.write(postmaster="sixth@x")
    tap.equal(m.ask("reload")[1], "another reload is under way", "one reload at a time")
    tap.ok(wait_for(lambda: m.state("authd")["postmaster"] == "fifth@x", 60, "the way back"),
           "then everybody goes back")
    wait_for(m.ready, 20, "smtp")
    tap.ok(m.status()["smtp/0"]["pid"] != before, "and the one that hung is a new process")
    tap.match(m.log(), r"smtp/0 does not answer", "why is logged")


def main():
    m = Instance()
    m.start()
    good(m)
    bad(m)
    transport(m)
    counts(m)
    by_signal(m)
    stalled(m)
    tap.equal(m.proc.end(), 0, "and it stops")
    tap.done()


main()
