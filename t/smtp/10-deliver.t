#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Messages that arrive: commands, content, reuse, pipelining, log lines. A1, C13, S18, P01, P02, P14."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import *  # noqa: E402,F403

d = Smtp()

# --- One message, with everything a server can offer.
sink = Sink(("PIPELINING", "8BITMIME", "SIZE 1000000", "DSN", "SMTPUTF8"))
srv = Server(sink)
c = d.open(port=srv.port)
r = d.ready(c)
tap.equal(r["relay"], f"127.0.0.1[127.0.0.1]:{srv.port}", "relay as host[ip]:port")
tap.equal(r["max_rcpts"], 0, "no limits were announced")
front, body = b"Received: by mta.test\r\n", b"Subject: x\r\n\r\nline\r\n"
j = d.deliver(c, ["a@dest.test", "b@dest.test"], body, front, ret=1, envid="id+1",
              flags=EIGHT_BIT)
res = d.done(j)
tap.equal([x["status"] for x in res], [RCPT_SENT] * 2, "A1: both recipients are delivered")
tap.equal(res[0]["text"], "Ok: queued as Q0", "with the server's own words")
tap.ok(res[0]["remote"] and res[0]["code"] == 250 and res[0]["esc"] == 2 << 20, "and codes")
m = srv.messages[0]
tap.equal(m["mail"], f"MAIL FROM:<s@src.test> SIZE={len(front + body)} BODY=8BITMIME RET=HDRS "
          "ENVID=id+2B1", "P08, P07, D04, D05: parameters that the server offers")
tap.equal(m["rcpt"], ["RCPT TO:<a@dest.test>", "RCPT TO:<b@dest.test>"], "recipients")
tap.equal(m["data"], front + body, "A24: content is what was stored, front first")
tap.equal(srv.peers[0].said[0], "EHLO mta.test", "EHLO with our name")
tap.ok(d.wait_log(r"status=sent"), "the delivery is logged")
line = [x for x in d.log().splitlines() if "to=<a@dest.test>" in x][0]
tap.match(line, r"ekiden/smtp\[\d+\]: [0-9B-Z]{13}: to=<a@dest\.test>, relay=127\.0\.0\.1\[127\.0\.0"
          r"\.1\]:\d+, delay=[\d.]+, delays=[\d.]+/[\d.]+/[\d.]+/[\d.]+, dsn=2\.0\.0, status=sent "
          r"\(250 2\.0\.0 Ok: queued as Q0\) tenant=acme key=key1 lane=dest\.test tls=none$",
          "in the shape of LOGS")
a, b, x, t = [float(v) for v in re.search(r"delays=([\d./]+)", line)[1].split("/")]
total = float(re.search(r"delay=([\d.]+)", line)[1])
tap.ok(abs(a + b + x + t - total) < 0.1 and 0.39 < a < 0.41, "delays add up to the delay", line)

e = [x for x in d.events() if x["rcpt"] == "a@dest.test"][0]
tap.equal([e[k] for k in ("type", "tenant", "key", "sender", "lane", "code", "enhanced", "attempt", "stage")],
          ["delivered", "acme", "key1", "s@src.test", "dest.test", 250, "2.0.0", 1, "eod"],
          "P5: and in the event stream")

# --- The connection is used again (C13); MAIL, RCPT, DATA in one write behind the content before.
jobs = [d.deliver(c, [f"m{i}@dest.test"], b"n: %d\r\n\r\n" % i) for i in range(20)]
tap.ok(all(d.done(j)[0]["status"] == RCPT_SENT for j in jobs), "20 more on the same connection")
tap.equal(len(srv.peers), 1, "C13: one connection")
tap.equal([m["data"] for m in srv.messages[1:]], [b"n: %d\r\n\r\n" % i for i in range(20)],
          "P01: in order")
tap.ok(d.wait_log(r"to=<m19@dest\.test>, relay=[^,]+, conn_use=21, "), "conn_use counts them")
d.send("qmgr", "conn_close", conn=c)
tap.equal(d.closed(c)["why"], CONN_IDLE, "conn_close ends it")
time.sleep(0.1)
tap.equal(srv.peers[0].said[-1], "QUIT", "S28: with QUIT")
srv.stop()

# --- What is written when: one group before 354, content and the next group in one.
chunks = []


def watch(peer):
    time.sleep(0.5)
    peer.send("220 x")
    peer.line()
    peer.send("250-x", "250 PIPELINING")
    for n in range(3):
        if n == 0:
            chunks.append(peer.sock.recv(65536))
        peer.send("250 ok", "250 ok", "354 go")
        chunks.append(peer.sock.recv(65536))
        peer.send("250 done")
    peer.line()


srv = Server(watch)
c = d.open(port=srv.port)
jobs = [d.deliver(c, [f"p{i}@t"], b"x\r\n") for i in range(3)]
for j in jobs:
    d.done(j)
group = b"MAIL FROM:<s@src.test>\r\nRCPT TO:<p%d@t>\r\nDATA\r\n"
tap.equal(chunks, [group % 0, b"x\r\n.\r\n" + group % 1, b"x\r\n.\r\n" + group % 2, b"x\r\n.\r\n"],
          "P02: the next envelope goes in the same write behind the content")
d.send("qmgr", "conn_close", conn=c)
d.closed(c)
srv.stop()


def late(peer):
    peer.send("220 x")
    peer.line()
    peer.send("250-x", "250 PIPELINING")
    peer.line(), peer.line(), peer.line()
    peer.send("250 ok", "250 ok", "354 go")
    peer.data()
    chunks.append(peer.sock.recv(65536))  # before the first message is answered
    peer.send("250 done", "250 ok", "250 ok", "354 go")
    peer.data()
    peer.send("250 done")
    peer.line()


chunks = []
srv = Server(late)
c = d.open(port=srv.port)
d.ready(c)
j1 = d.deliver(c)
time.sleep(0.3)
j2 = d.deliver(c, ["p1@t"])
d.done(j1)
d.done(j2)
tap.equal(chunks, [group % 1], "P02: nor does it wait for the answer to the content")
d.send("qmgr", "conn_close", conn=c)
d.closed(c)
srv.stop()

# --- Without PIPELINING each command waits for its reply.
early = []


def step(peer, line):
    if not peer.quiet(0.05):
        early.append(line)


sink = Sink((), {v: step for v in ("EHLO", "MAIL", "RCPT", "DATA")})
srv = Server(sink)
c = d.open(port=srv.port)
jobs = [d.deliver(c, ["a@t", "b@t", "c@t"]) for _ in range(3)]
tap.ok(all([x["status"] for x in d.done(j)] == [RCPT_SENT] * 3 for j in jobs),
       "jobs that were queued before the connection was ready")
tap.equal(early, [], "P01: lock-step without PIPELINING")
tap.equal(len(srv.messages), 3, "three messages")
tap.equal(srv.messages[0]["mail"], "MAIL FROM:<s@src.test>", "no parameter that was not offered")
d.send("qmgr", "conn_close", conn=c)
d.closed(c)
srv.stop()

# --- A server that knows HELO only.
srv = Server(Sink(replies={"EHLO": "500 5.5.1 what?"}))
c = d.open(port=srv.port)
tap.equal(d.done(d.deliver(c))[0]["status"], RCPT_SENT, "S04: HELO when EHLO is refused")
tap.equal(srv.peers[0].said[:2], ["EHLO mta.test", "HELO mta.test"], "in this order")
srv.stop()

# --- Content: dots, sizes, big files, no line end.
srv = Server(Sink())
c = d.open(port=srv.port, helo="other.test")
bodies = {
    "dots": b".\r\n..\r\n.a\r\n\r\n.\r\nb.\r\n.\r\n",
    "64k": b"0123456789abcde\r\n" * 4000,
    "1.5M of lines": b"x" * 70 + b"\r\n" + b".\r\n" * 400000 + b"y" * 300000 + b"\r\n",
    "empty": b"",
    "no line end": b"a\r\nb",
    "binary": bytes(i for i in range(1, 256) if i not in (10, 13)) + b"\r\n",
}
for name, body in bodies.items():
    for big in (False, True):
        n = len(srv.messages)
        flags = (DOTS if b"\n." in b"\n" + body else 0) | (EIGHT_BIT if name == "binary" else 0)
        res = d.done(d.deliver(c, body=body, front=b"F: 1\r\n", flags=flags, big=big))
        want = b"F: 1\r\n" + body + (b"" if not body or body.endswith(b"\r\n") else b"\r\n")
        got = b"".join(x[1:] if x.startswith(b".") else x
                       for x in srv.messages[n]["data"].splitlines(keepends=True)) \
            if len(srv.messages) > n else None
        if name == "binary" and got is not None:
            got = srv.messages[n]["data"]
        tap.ok(res[0]["status"] == RCPT_SENT and got == want,
               f"S18: {name}{', from a big file' if big else ''}: {len(body)} bytes")
tap.equal(srv.peers[0].said[0], "EHLO other.test", "E1: the helo name of the source")
d.send("qmgr", "conn_close", conn=c)
d.closed(c)
srv.stop()

# --- A server that reads slowly: output waits, nothing is lost.
def slow_reader(peer, line):
    time.sleep(1)
    return "354 go"


srv = Server(Sink(replies={"DATA": slow_reader}))
srv.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
c = d.open(port=srv.port)
body = b"0123456789abcdef" * 4 + b"\r\n"
j1, j2 = d.deliver(c, body=body * 100000), d.deliver(c)
tap.equal(d.done(j1)[0]["status"], RCPT_SENT, "a large message to a slow reader")
tap.equal(d.done(j2)[0]["status"], RCPT_SENT, "and the next behind it")
tap.ok(srv.messages[0]["data"] == body * 100000, "whole")
srv.stop()

# --- Damage is seen before the final dot.
srv = Server(Sink())
for big in (False, True):
    c = d.open(port=srv.port)
    d.ready(c)
    j1 = d.deliver(c, ["a@t", "b@t"], body=b"x" * 300000 + b"\r\n", crc=12345, big=big)
    j2 = d.deliver(c)
    tap.equal([x["status"] for x in d.done(j1)], [RCPT_DAMAGED] * 2, "S35: damaged content is not sent")
    tap.equal(d.closed(c)["why"], CONN_IDLE, "the connection is given up")
    tap.ok(d.none("qmgr", "job_done", 0.2, job=j2), "the job behind it is returned untried")
tap.equal(srv.messages, [], "nothing was delivered")
c = d.open(port=srv.port)
d.ready(c)
res = d.done(d.deliver(c, content=4711))
tap.equal(res[0]["status"], RCPT_DEFERRED, "content that is not there defers")
tap.equal(d.done(d.deliver(c))[0]["status"], RCPT_SENT, "and leaves the connection in order")
srv.stop()

# --- Announced limits (P14) and what a server cannot take.
srv = Server(Sink(("PIPELINING", "LIMITS MAILMAX=2 RCPTMAX=2", "SIZE 500")))
c = d.open(port=srv.port)
r = d.ready(c)
tap.equal((r["max_mails"], r["max_rcpts"]), (2, 2), "P14: qmgr hears of the limits")
j = d.deliver(c, ["a@t", "b@t", "c@t"])
tap.equal([x["status"] for x in d.done(j)], [RCPT_SENT, RCPT_SENT, RCPT_AGAIN], "P14: RCPTMAX is obeyed")
res = d.done(d.deliver(c, body=b"y" * 600 + b"\r\n"))
tap.equal((res[0]["status"], res[0]["esc"]), (RCPT_BOUNCED, 5 << 20 | 3 << 10 | 4),
          "P08: over the announced size: 5.3.4 without a word to the server")
tap.match(res[0]["text"], r"message size 602 exceeds size limit 500 of server 127\.0\.0\.1\[", "and why")
j2, j3, j4 = d.deliver(c), d.deliver(c), d.deliver(c)
tap.equal(d.done(j2)[0]["status"], RCPT_SENT, "the second message")
tap.equal(d.closed(c)["why"], CONN_IDLE, "P14: after MAILMAX messages the connection ends")
tap.ok(d.none("qmgr", "job_done", 0.2), "jobs behind it are returned untried")
tap.equal(len(srv.messages), 2, "two messages arrived")
srv.stop()
srv = Server(Sink(("PIPELINING",)))
c = d.open(port=srv.port)
res = d.done(d.deliver(c, flags=EIGHT_BIT, body=b"\xc3\xa9\r\n"))
tap.equal((res[0]["status"], res[0]["esc"]), (RCPT_BOUNCED, 5 << 20 | 6 << 10 | 3),
          "P07: 8-bit content to a host without 8BITMIME: 5.6.3")
res = d.done(d.deliver(c, ["\u00e9@t"], flags=UTF8))
tap.equal((res[0]["status"], res[0]["esc"]), (RCPT_BOUNCED, 5 << 20 | 6 << 10 | 7),
          "P12: an address in UTF-8 to a host without SMTPUTF8: 5.6.7")
tap.equal(d.done(d.deliver(c))[0]["status"], RCPT_SENT, "the connection is not disturbed")
srv.stop()

# --- Addresses and senders that would be no single command (atk-G3 reaches here only by a bug).
srv = Server(Sink())
c = d.open(port=srv.port)
tap.equal(d.done(d.deliver(c, ['"a b>c"@t'], sender=""))[0]["status"], RCPT_SENT,
          "S09, S08: quoted local part, null sender")
tap.equal((srv.messages[0]["mail"], srv.messages[0]["rcpt"]),
          ("MAIL FROM:<>", ['RCPT TO:<"a b>c"@t>']), "as they were")
many = [f"user{i}@dest.test" for i in range(900)]
j = d.deliver(c, many)
tap.equal([x["status"] for x in d.done(j)], [RCPT_SENT] * 900, "900 recipients in one transaction")
tap.equal(len(srv.messages[1]["rcpt"]), 900, "all were named")
srv.stop()
tap.equal([s.error for s in (srv,) if s.error], [], "no script failed")

# --- Idle for too long.
srv = Server(Sink())
c = d.open(port=srv.port, idle_s=1)
d.ready(c)
start = time.monotonic()
tap.equal(d.closed(c)["why"], CONN_IDLE, "C13: an idle connection ends")
tap.ok(0.8 < time.monotonic() - start < 3, "after its time")
d.finish()
tap.done()
