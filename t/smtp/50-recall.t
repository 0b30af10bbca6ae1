#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Jobs that have become too old are called back, as far as nobody can have the message. C11, G4."""

import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import *  # noqa: E402,F403

EXPIRED = 4 << 20 | 4 << 10 | 7
d = Smtp(conf(reply="30s", eod="30s", session="60s"))


class Stuck:
    """A reply that never comes, or only when it is told to."""

    def __init__(self):
        self.at, self.go = threading.Event(), threading.Event()

    def __call__(self, peer, line):
        self.at.set()
        self.go.wait(20)


def recall(conn, job):
    d.send("qmgr", "job_recall", conn=conn, job=job)


def stuck_at(verb, ehlo):
    stuck = Stuck()
    srv = Server(Sink(ehlo, {verb: stuck}))
    conn = d.open(port=srv.port)
    d.ready(conn)
    job = d.deliver(conn, ["a@dest.test", "b@dest.test"])
    behind = d.deliver(conn, ["c@dest.test"])
    stuck.at.wait(10)
    return srv, stuck, conn, job, behind


for verb, ehlo in (("MAIL", ()), ("RCPT", ()), ("DATA", ()), ("MAIL", ("PIPELINING",)),
                   ("RCPT", ("PIPELINING",)), ("DATA", ("PIPELINING",))):
    what = verb + (" pipelined" if ehlo else "")
    srv, stuck, conn, job, behind = stuck_at(verb, ehlo)
    recall(conn, behind)
    tap.equal(d.done(behind, 5), [], f"{what}: a job that waits goes back without a result")
    recall(conn, job)
    res = d.done(job, 5)
    tap.equal([(r["status"], r["esc"]) for r in res], [(RCPT_DEFERRED, EXPIRED)] * 2,
              f"C11: {what}: the one under way is broken off")
    tap.ok(d.closed(conn, 5), f"{what}: with its connection")
    tap.equal(srv.messages, [], f"{what}: the server has nothing")
    stuck.go.set()
    srv.stop()

# Behind the final dot the server may have the message: only its reply tells.
srv, stuck, conn, job, behind = stuck_at("EOD", ("PIPELINING",))
recall(conn, job)
recall(conn, 4711)
time.sleep(0.5)
tap.ok(not [e for e in d.got if e["msg"] in ("job_done", "conn_closed")],
       "G6: after the final dot the reply is waited for, and an unknown job is nobody's")
stuck.go.set()
tap.equal([r["status"] for r in d.done(job, 10)], [RCPT_SENT] * 2, "and counts")
tap.equal([r["status"] for r in d.done(behind, 10)], [RCPT_SENT], "so does that of the next one")
srv.stop()

d.stop()
tap.done()
