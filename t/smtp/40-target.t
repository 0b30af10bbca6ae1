#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""From names to connections: MX, addresses that fail, loops, DNS trouble. E3, S27, S32-S34, S40, atk-G9, G12."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import *  # noqa: E402,F403

own = closed_port("127.0.0.1")
wild = closed_port("127.0.0.1")
TOP = f"""local-domains mx.self.test
listen mx {{ address 127.0.0.9:{own} 0.0.0.0:{wild}; tls none; auth networks 127.0.0.0/8 tenant t }}
"""
d = Smtp(conf(reply="2s", session="6s", more="deny 127.66.0.0/16 10.0.0.0/8", top=TOP))


def esc(c, s, x):
    return c << 20 | s << 10 | x


def servers(n, port=0, **kw):
    """The same port on 127.0.0.1, 127.0.0.2, ..."""
    out = []
    for i in range(n):
        out.append(Server(Sink(**kw), f"127.0.0.{i + 1}", port or (out[0].port if out else 0)))
    return out


def stop(*srv):
    for s in srv:
        s.stop()


count = 0


def domain():
    """A name that nobody asked for before."""
    global count
    count += 1
    return f"d{count}.test"


def route(hosts, port, name=None, **kw):
    c = d.open(name or domain(), port=port, mx=kw.pop("mx", True), idle_s=2)
    if hosts is not None:
        d.answer_mx(hosts, **kw)
    return c


settle = d.settle

# --- Preference, and what comes after a failure.
a, b = servers(2)
q = []
c = d.open("order.test", port=a.port, mx=True)
q = d.answer_mx([(20, "mx2.test", ["127.0.0.2"]), (10, "mx1.test", ["127.0.0.1"])])
tap.equal((q["name"], q["mx"]), ("order.test", True), "dnsd is asked for the next hop")
tap.equal(settle(c), f"mx1.test[127.0.0.1]:{a.port}", "S32: the preferred host")
tap.equal(d.done(d.deliver(c))[0]["relay"], f"mx1.test[127.0.0.1]:{a.port}", "delivery names it")
stop(a)
c = route([(10, "mx1.test", ["127.0.0.1"]), (20, "mx2.test", ["127.0.0.2"])], a.port)
tap.equal(settle(c), f"mx2.test[127.0.0.2]:{a.port}", "S32: refused: the next host")
tap.ok(d.wait_log(rf"connect to mx1\.test\[127\.0\.0\.1\]:{a.port}: Connection refused"), "logged")
c = route([(10, "mx1.test", ["127.0.0.1", "127.0.0.2"])], a.port)
tap.equal(settle(c), f"mx1.test[127.0.0.2]:{a.port}", "E3: all addresses of a host are tried")
stop(b)
c = route([(10, "mx1.test", ["127.0.0.3", "127.0.0.4"])], a.port)
r = settle(c)
tap.equal((r["why"], r["esc"]), (CONN_FAILED, esc(4, 4, 1)), "no address takes a connection")
tap.match(r["text"], rf"^connect to mx1\.test\[127\.0\.0\.[34]\]:{a.port}: Connection refused$",
          "in words that people know")

# --- Servers that do not greet well are as good as dead.
for reply in ("421 4.3.2 busy", "554 5.7.1 go away", "450 x", Sink.CLOSE, Sink.RESET, b"", b"junk\r\n"):
    bad = Server(Sink(replies={"GREETING": reply}), "127.0.0.1")
    ok = Server(Sink(), "127.0.0.2", bad.port)
    c = route([(10, "mx1.test", ["127.0.0.1"]), (20, "mx2.test", ["127.0.0.2"])], bad.port)
    tap.equal(settle(c), f"mx2.test[127.0.0.2]:{bad.port}", f"S32: greeting {reply!r}: the next host")
    stop(bad, ok)

# --- A host that answers nothing: connect times out (2s), and is not tried again for each connection.
dead = socket.socket()
dead.bind(("127.0.0.1", 0))
dead.listen(0)
port = dead.getsockname()[1]
fill = []
for _ in range(4):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(("127.0.0.1", port))
    fill.append(s)
ok = Server(Sink(), "127.0.0.2", port)
hosts = [(10, "mx1.test", ["127.0.0.1"]), (20, "mx2.test", ["127.0.0.2"])]
start = time.monotonic()
tap.equal(settle(route(hosts, port)), f"mx2.test[127.0.0.2]:{port}", "S32: timed out: the next host")
tap.ok(1.5 < time.monotonic() - start < 4, "after connect-timeout", time.monotonic() - start)
start = time.monotonic()
tap.equal(settle(route(hosts, port)), f"mx2.test[127.0.0.2]:{port}", "S27: the second connection")
tap.ok(time.monotonic() - start < 1, "S27: does not wait for the dead host again")
r = settle(route(hosts[:1], port))
tap.ok(r["why"] == CONN_FAILED and "Connection timed out" in r["text"], "S27: only the dead host: at once", r)
stop(ok)
for s in fill:
    s.close()
dead.close()

# --- DNS has no good news.
for status, mx, why, code, name in (
        (DNS_NXDOMAIN, True, CONN_REFUSED, esc(5, 1, 2), "NXDOMAIN"),
        (DNS_NODATA, True, CONN_REFUSED, esc(5, 4, 4), "MX without address"),
        (DNS_NULLMX, True, CONN_REFUSED, esc(5, 1, 10), "S40: null MX"),
        (DNS_TEMP, True, CONN_FAILED, esc(4, 4, 3), "SERVFAIL"),
        (DNS_BOGUS, True, CONN_FAILED, esc(4, 4, 3), "bogus"),
        (DNS_NXDOMAIN, False, CONN_FAILED, esc(4, 3, 5), "a relay host that does not exist")):
    r = settle(route([], 25, status=status, mx=mx, text="the reason"))
    tap.equal((r["why"], r["esc"], r["text"]), (why, code, "the reason"), f"atk-G12: {name}")
r = settle(route([(10, "mx1.test", [])], 25))
tap.equal(r["why"], CONN_FAILED, "hosts without addresses, but good status: temporary")

# --- Loops (atk-G9, S34).
best = Server(Sink(), "127.0.0.1")
c = route([(10, "mx1.test", ["127.0.0.1"]), (20, "mx.self.test", ["127.0.0.3"]),
           (30, "mx3.test", ["127.0.0.4"])], best.port)
tap.equal(settle(c), f"mx1.test[127.0.0.1]:{best.port}", "S34: a better host than ourselves")
stop(best)
for hosts, port, name in (
        ([(10, "mx.self.test", ["127.0.0.3"])], 25, "our name"),
        ([(10, "MTA.test", ["127.0.0.3"])], 25, "our host name"),
        ([(10, "x.test", ["127.0.0.9"])], own, "the address of a listener")):
    r = settle(route(hosts, port))
    tap.equal((r["why"], r["esc"]), (CONN_REFUSED, esc(5, 4, 6)), f"atk-G9: {name}: 5.4.6")
    tap.match(r["text"], "loops back to myself", "   and why")
self = Server(Sink(), "127.0.0.1", wild)
r = settle(route([(10, "x.test", ["127.0.0.1"])], wild))
tap.equal((r["why"], r["esc"]), (CONN_REFUSED, esc(5, 4, 6)), "atk-G9: a wildcard listener, found when connected")
stop(self)
us = Server(Sink(replies={"GREETING": "220 mta.test ESMTP"}))
r = settle(route([(10, "x.test", ["127.0.0.1"])], us.port))
tap.equal((r["why"], r["esc"]), (CONN_REFUSED, esc(5, 4, 6)), "atk-G9: an MX that greets with our name")
tap.ok(us.peers[0].said == [], "   is not spoken to")
tap.ok(isinstance(settle(d.open("127.0.0.1", us.port)), str), "a relay that is named by address may")
stop(us)

# --- Denied and senseless addresses.
for addrs in (["127.66.1.2"], ["10.0.0.1", "::ffff:10.1.1.1"], ["0.0.0.0"], ["::"], ["224.0.0.1"]):
    r = settle(route([(10, "x.test", addrs)], 25))
    tap.equal((r["why"], r["esc"]), (CONN_REFUSED, esc(5, 4, 4)), f"atk-G9: {addrs} is never connected to")
r = settle(d.open("127.66.0.1"))
tap.equal(r["why"], CONN_REFUSED, "atk-G9: nor as a literal")
ok = Server(Sink())
c = route([(10, "x.test", ["127.66.0.1", "127.0.0.1"])], ok.port)
tap.equal(settle(c), f"x.test[127.0.0.1]:{ok.port}", "but the others of the host are")
stop(ok)

# --- Source address, IPv6.
seen = []


def who(peer):
    seen.append(peer.sock.getpeername()[0])
    Sink()(peer)


srv = Server(who)
c = d.open("127.0.0.1", srv.port, source="127.0.0.77")
settle(c)
tap.equal(seen, ["127.0.0.77"], "E1: connections come from the source address")
c = d.open(domain(), srv.port, mx=True, source="127.0.0.77")
d.answer_mx([(10, "x.test", ["::1", "127.0.0.1"])])
tap.equal(settle(c), f"x.test[127.0.0.1]:{srv.port}", "only addresses of its family are used")
r = settle(d.open("127.0.0.1", srv.port, source="no address"))
tap.ok(r["why"] == CONN_SOURCE and "bad source address" in r["text"], "a source address that is none", r)
stop(srv)
try:
    six = Server(Sink(), "::1")
except OSError:
    print("# no IPv6 here")
else:
    tap.equal(settle(d.open("[IPv6:::1]", six.port)), f"::1[::1]:{six.port}", "J14: an IPv6 literal")
    c = route([(10, "x.test", ["::1"])], six.port)
    tap.equal(settle(c), f"x.test[::1]:{six.port}", "J14: an IPv6 address")
    stop(six)

# --- Answers are remembered for a moment.
srv = Server(Sink())
name = domain()
settle(route([(10, "x.test", ["127.0.0.1"])], srv.port, name, ttl_s=300))
c = d.open(name, srv.port, mx=True)
tap.ok(isinstance(settle(c), str), "a second connection to the same domain asks nobody")
name = domain()
settle(route([(10, "x.test", ["127.0.0.1"])], srv.port, name, ttl_s=0))
c = d.open(name, srv.port, mx=True)
d.answer_mx([(10, "x.test", ["127.0.0.1"])])
tap.ok(isinstance(settle(c), str), "unless the answer may not be kept")

# --- A name that cannot be asked for; one in UTF-8.
r = settle(d.open("bad name.test", mx=True))
tap.equal((r["why"], r["esc"]), (CONN_REFUSED, esc(5, 1, 2)), "a next hop that is no name")
c = d.open("b\u00fccher.test", srv.port, mx=True)
q = d.answer_mx([(10, "x.test", ["127.0.0.1"])])
tap.equal(q["name"], "xn--bcher-kva.test", "P13: a next hop in UTF-8 is asked for as an A-label")
settle(c)

# --- dnsd is restarted: questions are asked again.
c = d.open(domain(), srv.port, mx=True)
d.expect("dnsd", "mx_query")
d.close("dnsd")
time.sleep(0.1)
late = d.open(domain(), srv.port, mx=True)
d.peer("dnsd")
for _ in range(2):
    d.answer_mx([(10, "x.test", ["127.0.0.1"])])
tap.ok(isinstance(settle(c), str) and isinstance(settle(late), str),
       "a restarted dnsd is asked again, also what came meanwhile")
c = d.open(domain(), srv.port, mx=True)
r = d.closed(c, 10)
tap.ok(r["why"] == CONN_FAILED and r["esc"] == esc(4, 4, 3) and "no answer in time" in r["text"],
       "no answer at all: the set-up has its end", r)

# --- Many at once.
before = len(srv.messages)
conns = [d.open("127.0.0.1", srv.port) for _ in range(300)]
jobs = [d.deliver(c, [f"r{c}@t"]) for c in conns]
tap.equal(sum(d.done(j)[0]["status"] == RCPT_SENT for j in jobs), 300, "300 connections at a time")
for c in conns:
    d.send("qmgr", "conn_close", conn=c)
tap.equal(sum(d.closed(c)["why"] == CONN_IDLE for c in conns), 300, "and all end")

# --- conn_close before the connection is there; deliver for one that is gone; qmgr restarted.
c = d.open(domain(), srv.port, mx=True)
d.send("qmgr", "conn_close", conn=c)
tap.equal(d.closed(c)["why"], CONN_IDLE, "closed before it was ready")
d.deliver(9999)
c = d.open("127.0.0.1", srv.port)
d.ready(c)
d.close("qmgr")
d.peer("qmgr")
c2 = d.open("127.0.0.1", srv.port)
tap.equal(d.done(d.deliver(c2))[0]["status"], RCPT_SENT, "a restarted qmgr is served, the old work is dropped")
d.send("qmgr", "conn_open", conn=c2, nexthop="x", port=25)
d.expect("qmgr", "closed")
tap.ok(d.alive(), "I12: a number used twice closes the channel, not the process")
d.peer("qmgr")
c = d.open("127.0.0.1", srv.port)
j1 = d.deliver(c, body=b"x" * 70 + b"\r\n" * 100000)
d.send("master", "drain", deadline_s=10)
tap.equal(d.done(j1)[0]["status"], RCPT_SENT, "a message under way is finished when draining")
d.expect("", "exit", 10)
tap.equal((d.exit["status"], srv.peers[-1].said[-1]), (0, "QUIT"), "J15: then QUIT, and the end")
tap.ok("Sanitizer" not in d.stderr() and "runtime error" not in d.stderr(), "no sanitizer report", d.stderr())
tap.done()
