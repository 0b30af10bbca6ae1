#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""What admins see of dialogues: whose lines, no secrets, no content, no waiting; a dialogue on demand. J15, J16, A6, E8."""

import base64
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import *  # noqa: E402,F403

SECRET, USER = "canary-secret-8151", "relay-user-77"
d = Smtp(conf(reply="60s", session="90s"), [("secret", {"name": "smart", "user": USER, "secret": SECRET})])
work = tempfile.mkdtemp(prefix="ekiden-trace-")
atexit.register(shutil.rmtree, work, True)
cert = certificate(work)


def settled(r):
    return r["direction"] == "in" and r["text"].startswith("221")


def text(rows):
    arrow = {"in": "<", "out": ">", "note": "*"}
    return [f"{arrow[r['direction']]} {r['text']}" for r in rows]


def deliver_to(port, rcpts, **kw):
    c = d.open("relay.test", port, hosts=mx_hosts([(1, "mx.test", ["127.0.0.1"])]), **kw)
    d.done(d.deliver(c, rcpts, body=b"Subject: hidden-subject\r\n\r\nhidden-body\r\n"))
    return c


def watch(name, **args):
    d.admin(name, "trace", **args)
    d.rows(name, 10, lambda r: r["text"] == "watching")


# --- A whole dialogue, by the mail host; a second admin; one who asks for somebody else.
srv = Server(Sink(("STARTTLS", "PIPELINING"), context=server_context(*cert)))
watch("w1", domain="MX.test")
watch("w2", ip="127.0.0.1")
watch("other", domain="elsewhere.test")
c = deliver_to(srv.port, ["a@dest.test"], tls=TLS_MAY)
d.send("qmgr", "conn_close", conn=c)
rows = d.rows("w1", 10, settled)
got = text(rows)
want = ["* connected from 127.0.0.1", "< 220 sink.test ESMTP", "> EHLO mta.test", "< 250-sink.test", "< 250-STARTTLS", "< 250 PIPELINING",
        "> STARTTLS", "< 220 go ahead", "* TLSv1.3", "> EHLO mta.test", "< 250-sink.test", "< 250-STARTTLS", "< 250 PIPELINING",
        "> MAIL FROM:<s@src.test>", "> RCPT TO:<a@dest.test>", "> DATA", "< 250 2.1.0 Ok", "< 250 2.1.5 Ok", "< 354 go",
        "> (content of 40 bytes)", "< 250 2.0.0 Ok: queued as Q0", "> QUIT", "< 221 2.0.0 Bye"]
tap.equal(got, want, "J16: the dialogue of a domain's mail host, line by line")
tap.equal((rows[0]["process"], rows[0]["peer"]), ("smtp", f"mx.test[127.0.0.1]:{srv.port}"), "with process and peer")
tap.ok(len({r["session"] for r in rows}) == 1 and abs(int(rows[0]["time"]) / 1e6 - time.time()) < 60, "session and time")
tap.equal(text(d.rows("w2", 10, settled)), want, "J16: a second admin sees the same, by address")
tap.equal(d.rows("other"), [], "J16: who asks for another domain sees nothing")
d.close("w2")
d.close("other")

# --- By recipient's domain and by tenant: on a shared connection only the lines that concern them.
watch("acme", tenant="acme")
watch("dom", domain="two.test")
c = d.open("relay.test", srv.port, hosts=mx_hosts([(1, "mx9.test", ["127.0.0.1"])]))
for tenant, rcpt in (("acme", "x@one.test"), ("rival", "secret-rcpt@two.test"), ("acme", "z@one.test")):
    d.done(d.deliver(c, [rcpt], tenant=tenant))
d.send("qmgr", "conn_close", conn=c)
d.closed(c)
rows = text(d.rows("acme", 10, lambda r: "z@one.test" in r["text"]) + d.rows("acme"))
tap.ok("> RCPT TO:<x@one.test>" in rows and "> RCPT TO:<z@one.test>" in rows and "secret-rcpt" not in str(rows),
       "J16: a tenant's lines, and nobody else's on the same connection", rows)
rows = text(d.rows("dom", 10, lambda r: r["text"].startswith("250 2.0.0 Ok: queued")))
tap.ok("> RCPT TO:<secret-rcpt@two.test>" in rows and "one.test" not in str(rows), "J16: a recipient's domain", rows)
d.close("acme")
d.close("dom")
srv.stop()

# --- Secrets. The server says them back, in each form that it has them.
forms = [SECRET, base64.b64encode(SECRET.encode()).decode(), base64.b64encode(USER.encode()).decode(),
         base64.b64encode(f"\0{USER}\0{SECRET}".encode()).decode()]
for mechanism in ("PLAIN", "LOGIN"):
    for verdict in ("235 2.7.0 thank you for {}", "535 5.7.8 not {}"):
        steps = []

        def auth(peer, line):
            if mechanism == "LOGIN":
                peer.send("334 VXNlcm5hbWU6" + forms[1])
                peer.line()
                peer.send("334 UGFzc3dvcmQ6")
                return verdict.format(peer.line())
            return verdict.format(line.split()[2])

        srv = Server(Sink((f"AUTH {mechanism}",), {"AUTH": auth, "MAIL": f"250 {SECRET} is fine"}))
        c = d.open("127.0.0.1", srv.port, auth="smart")
        if isinstance(d.settle(c), str):
            d.done(d.deliver(c))
            d.send("qmgr", "conn_close", conn=c)
        watch("w3", domain="127.0.0.1")
        c = d.open("127.0.0.1", srv.port, auth="smart")
        if isinstance(d.settle(c), str):
            d.done(d.deliver(c))
            d.send("qmgr", "conn_close", conn=c)
            rows = d.rows("w3", 10, settled)
        else:
            rows = d.rows("w3", 10, lambda r: r["text"].startswith("535"))
        got = text(rows)
        tap.ok(any(x.startswith(f"> AUTH {mechanism}") for x in got), f"E8: AUTH {mechanism} is seen", got)
        tap.ok(f"< {verdict[:3]} (masked)" in got, f"A6: {verdict[:3]}: a reply that tells the secret is masked", got)
        tap.ok(not any(f in str(rows) for f in forms), f"A6: {mechanism}, {verdict[:3]}: no secret in any form", got)
        d.close("w3")
        srv.stop()
tap.ok("hidden" not in str(d.got), "J16: no content")

# --- Who does not read loses lines, and nobody waits.
many = ["r%04d-%s@dest.test" % (i, "x" * 60) for i in range(250)]
srv = Server(Sink(("PIPELINING",)))
watch("slow", domain="dest.test")
d.pause("slow")
c = d.open(port=srv.port)
start = time.monotonic()
for i in range(20):
    d.done(d.deliver(c, many))
tap.ok(time.monotonic() - start < 60, "J16: mail goes on while an admin's terminal does not take it")
d.resume("slow")
rows = d.rows("slow", 20, lambda r: "lines were lost" in r["text"])
lost = sum(int(r["text"].split()[0]) for r in rows if "lines were lost" in r["text"])
tap.ok(0 < lost < 20 * 2 * 250, "J16: the admin is told how many lines are missing", lost)
d.done(d.deliver(c))
seen = text(d.rows("slow", 10, lambda r: "<r@dest.test>" in r["text"]))
tap.ok("> RCPT TO:<r@dest.test>" in seen, "J16: and sees what comes then")
d.close("slow")
tap.ok(d.alive(), "the process goes on")

# --- Wrong use, the end of the time, too many.
for args, why in (({"ip": "127.0.0.300"}, "no address"), ({"for": "soon"}, "a duration")):
    d.admin("bad", "trace", **args)
    m = d.expect("bad", "ctl_end")
    tap.ok(m["status"] == 2 and why in m["text"], f"trace {args}: wrong use", m)
    d.close("bad")
d.admin("short", "trace", ip="::1", **{"for": "1s"})
tap.equal(d.expect("short", "ctl_end", 20)["status"], 0, "--for ends it")
for i in range(15):
    watch(f"m{i}", ip="::1")
d.admin("m15", "trace", ip="::1")
m = d.expect("m15", "ctl_end")
tap.ok(m["status"] == 1 and "watching already" in m["text"], "there is room for 16", m)
for i in range(15):
    d.close(f"m{i}")

# --- A dialogue on demand: to where mail could flow, without MAIL.
tls = Server(Sink(("STARTTLS", "PIPELINING"), context=server_context(*cert)))
d.admin("p1", "dialogue", nexthop="127.0.0.1", port=tls.port, tls=TLS_ENCRYPT, source="127.0.0.77", helo="out7.test")
m = d.expect("p1", "ctl_end", 20)
got = text(d.rows("p1"))
tap.ok(m["status"] == 0 and "would take mail, over TLSv1.3" in m["text"], "J15: dialogue: good", m)
tap.equal([x for x in got if x[0] == ">"], ["> EHLO out7.test", "> STARTTLS", "> EHLO out7.test", "> QUIT"],
          "J15: dialogue: what is said, and no MAIL")
tap.ok(got[-1] == "< 221 2.0.0 Bye", "J15: to its end", got)
tls.stop()
port = closed_port()
for n in range(2):
    d.admin(f"p2{n}", "dialogue", nexthop="127.0.0.1", port=port, tls=TLS_MAY)
    m = d.expect(f"p2{n}", "ctl_end", 20)
    tap.ok(m["status"] == 1 and "Connection refused" in m["text"] and "Connection refused" in str(d.rows(f"p2{n}")),
           "J15: dialogue: refused", m)
d.admin("p3", "dialogue", nexthop="relay.test", mx=1, port=srv.port, source="192.0.2.1")
d.answer_mx([(10, "mx1.test", ["127.0.0.1"])])
m = d.expect("p3", "ctl_end", 20)
tap.ok(m["status"] == 1 and "Cannot assign" in m["text"], "J15: dialogue: the MX is looked up; a source that is not here", m)
for args in ({}, {"nexthop": "x", "port": 70000}, {"nexthop": "x", "tls": 9}):
    d.admin("p4", "dialogue", **args)
    tap.equal(d.expect("p4", "ctl_end")["status"], 2, f"dialogue {args}: wrong use")
d.admin("p5", "dialogue", nexthop="127.0.0.1", port=srv.port)
d.close("p5")
srv.stop()
left = threading.Event()


def hang_on(peer):
    try:
        peer.line()
    finally:
        left.set()


# The admin leaves before the greeting; without that, the client would wait 60 s for it, and this server 25 s.
hang = Server(hang_on)
d.admin("p6", "dialogue", nexthop="127.0.0.1", port=hang.port)
wait = time.monotonic() + 10
while not hang.peers and time.monotonic() < wait:
    time.sleep(0.02)
d.close("p6")
tap.ok(left.wait(20), "J15: dialogue: it ends with the admin's connection")
hang.stop()
d.close("w1")
d.finish()
tap.done()
