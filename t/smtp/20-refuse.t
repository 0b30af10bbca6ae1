#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Servers that refuse, lie, stop or babble at each step. E9, S16, S23, S29, P03, C14, atk-G1 to G7, G14."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import *  # noqa: E402,F403

CLOSE, RESET = Sink.CLOSE, Sink.RESET
PIPE = ("PIPELINING", "8BITMIME")
d = Smtp(conf(reply="1s", eod="2s", session="4s"))


def esc(c, s, x):
    return c << 20 | s << 10 | x


def one(replies, ehlo=PIPE, rcpts=("a@t", "b@t"), **kw):
    """A message on a fresh connection: its results, or conn_closed when it was never ready."""
    srv = Server(Sink(ehlo, replies))
    c = d.open(port=srv.port)
    j = d.deliver(c, list(rcpts), **kw)
    end = time.monotonic() + 15
    while time.monotonic() < end:
        with d.cond:
            hit = [e for e in d.got if e["msg"] == "job_done" and e["m"]["job"] == j or
                   e["msg"] == "conn_closed" and e["m"]["conn"] == c]
            if not hit:
                d.cond.wait(1)
                continue
        break
    else:
        raise Timeout("neither job_done nor conn_closed")
    srv.stop()
    if hit[0]["msg"] == "job_done":
        return d.done(j), c, srv
    return d.closed(c), c, srv


def status(results):
    return [r["status"] for r in results] if isinstance(results, list) else None


# --- Codes at each step, with and without PIPELINING. What both recipients get.
S, D, B = RCPT_SENT, RCPT_DEFERRED, RCPT_BOUNCED
table = [
    ("MAIL", "450 4.7.1 later", D, "450 4.7.1 later (in reply to MAIL FROM command)"),
    ("MAIL", "550 5.7.1 never", B, "550 5.7.1 never (in reply to MAIL FROM command)"),
    ("MAIL", "552 5.2.2 full", D, "552 5.2.2 full"),
    ("MAIL", "299 odd but good", S, None),
    ("MAIL", "354 what", D, "354 what"),
    ("RCPT", "450 4.2.1 later", D, "450 4.2.1 later (in reply to RCPT TO command)"),
    ("RCPT", "550 5.1.1 unknown", B, "550 5.1.1 unknown (in reply to RCPT TO command)"),
    ("RCPT", "550", B, "550 5.0.0 (in reply to RCPT TO command)"),
    ("RCPT", "559 5.9.9 odd", B, "559 5.9.9 odd"),
    ("RCPT", "552 5.2.2 mailbox full", D, "552 5.2.2 mailbox full"),
    ("RCPT", "251 2.1.5 will forward", S, None),
    ("RCPT", ("550-5.1.1 first", "550 5.1.1 second"), B, "550 5.1.1 first second"),
    ("DATA", "451 4.3.0 later", D, "451 4.3.0 later (in reply to DATA command)"),
    ("DATA", "554 5.6.0 never", B, "554 5.6.0 never (in reply to DATA command)"),
    ("DATA", "250 huh", D, "250 huh"),
    ("EOD", "451 4.7.0 greylisted", D, "451 4.7.0 greylisted (in reply to end of DATA command)"),
    ("EOD", "550 5.7.1 spam", B, "550 5.7.1 spam (in reply to end of DATA command)"),
    ("EOD", "552 5.2.2 full", D, "552 5.2.2 full"),
    ("EOD", "250", S, None),
    ("EOD", "354 more", D, "354 more"),
    ("MAIL", "421 4.3.2 closing", D, "421 4.3.2 closing (in reply to MAIL FROM command)"),
    ("RCPT", "421 4.3.2 closing", D, "421 4.3.2 closing (in reply to RCPT TO command)"),
    ("DATA", "421 4.3.2 closing", D, "421 4.3.2 closing (in reply to DATA command)"),
    ("EOD", "421 4.3.2 closing", D, "421 4.3.2 closing (in reply to end of DATA command)"),
]
for how, ehlo in (("pipelined", PIPE), ("lock-step", ())):
    for verb, reply, want, text in table:
        res, c, srv = one({verb: reply}, ehlo)
        name = f"E9, S16, S29: {reply[0] if isinstance(reply, tuple) else reply} to {verb}, {how}"
        if tap.equal(status(res), [want] * 2, name) and text:
            tap.ok(text in said(res[0]) and res[0]["remote"], "   and its text", res[0])
            if isinstance(reply, str):
                tap.ok(d.wait_log("host 127.0.0.1\\[127.0.0.1\\] said: " + re.escape(reply) + r" \(in reply"),
                       "   and in the log")

# --- The connection is of use after a refusal, except 421 and nonsense.
for how, ehlo in (("pipelined", PIPE), ("lock-step", ())):
    for verb, reply in (("MAIL", "550 5.7.1 no"), ("RCPT", ["550 5.1.1 no"] * 2), ("DATA", "554 no"),
                        ("EOD", "554 no")):
        srv = Server(Sink(ehlo, {verb: reply if isinstance(reply, list) else [reply]}))
        c = d.open(port=srv.port)
        j1, j2, j3 = d.deliver(c, ["a@t", "b@t"]), d.deliver(c), d.deliver(c)
        d.done(j1)
        tap.equal([status(d.done(j2)), status(d.done(j3))], [[S], [S]],
                  f"S06: the next messages pass after {reply if isinstance(reply, str) else reply[0]} "
                  f"to {verb}, {how}")
        tap.equal(len(srv.peers), 1, "   on the same connection")
        d.send("qmgr", "conn_close", conn=c)
        d.closed(c)
        srv.stop()

# --- Before the connection is ready nobody's mail is touched.
for verb, reply, text in [
        ("GREETING", "554 5.7.1 go away", "refused to talk to me: 554 5.7.1 go away"),
        ("GREETING", "421 4.7.0 busy", "refused to talk to me: 421 4.7.0 busy"),
        ("GREETING", "450 later", "refused to talk to me: 450 later"),
        ("GREETING", CLOSE, "lost connection with 127.0.0.1[127.0.0.1] while receiving the initial"),
        ("GREETING", RESET, ""),  # seen as a failed connect or as a lost connection
        ("GREETING", b"HTTP/1.0 400 Bad\r\n", "protocol error"),
        ("GREETING", b"220 " + b"x" * 5000, "bad reply: line too long"),
        ("GREETING", b"220-x\r\n" * 200, "bad reply: too many lines"),
        ("GREETING", b"", "timed out while receiving the initial server greeting"),
        ("GREETING", b"220-a", "timed out while receiving the initial server greeting"),
        ("EHLO", "421 4.7.0 busy", "421 4.7.0 busy (in reply to EHLO command)"),
        ("EHLO", "450 later", "450 later (in reply to EHLO command)"),
        ("EHLO", CLOSE, "lost connection with 127.0.0.1[127.0.0.1] while performing the EHLO"),
        ("EHLO", RESET, "lost connection"),
        ("EHLO", b"\x00\x01\xff\r\n", "protocol error"),
        ("EHLO", b"", "timed out while performing the EHLO handshake")]:
    res, c, srv = one({verb: reply})
    tap.ok(status(res) is None and res["why"] == CONN_FAILED and text in res["text"],
           f"S29: {reply!r:.40} to {verb}: the connection failed, the job was not tried", res)
res, c, srv = one({"EHLO": "502 no", "HELO": "550 5.7.1 bad name"})
tap.ok(status(res) is None and "550 5.7.1 bad name (in reply to HELO command)" in res["text"],
       "S04: EHLO and HELO refused", res)

# --- Ends of the connection, silence and babble at each step of the first message.
doing = {"MAIL": "sending MAIL FROM", "RCPT": "sending RCPT TO", "DATA": "sending DATA command",
         "EOD": "sending end of data -- message may be sent more than once"}
for how, ehlo in (("pipelined", PIPE), ("lock-step", ())):
    for verb, words in doing.items():
        for what, reply, text in (
                ("close", CLOSE, f"lost connection with 127.0.0.1[127.0.0.1] while {words}"),
                ("reset", RESET, "lost connection with 127.0.0.1[127.0.0.1] while "),
                ("silence", b"", f"conversation with 127.0.0.1[127.0.0.1] timed out while {words}"),
                ("babble", b"what?\r\n", f"while {words}: bad reply: no reply code"),
                ("endless line", b"250 " + b"z" * 9000, f"while {words}: bad reply: line too long"),
                ("endless reply", b"250-z\r\n" * 150, f"while {words}: bad reply: too many lines"),
                ("half a reply", b"250-z\r\n25", f"timed out while {words}")):
            res, c, srv = one({verb: reply}, ehlo)
            tap.ok(status(res) == [D, D] and text in res[0]["text"],
                   f"atk-G6: {what} at {verb}, {how}: deferred", res)
            tap.equal(d.closed(c)["why"], CONN_IDLE, "   and the connection is over")

# --- Replies in pieces are the same replies (atk-C16).
class Pieces(Sink):
    def answer(self, verb, peer, line, default, message=None):
        r = self.pick(verb, peer, line, default)
        if message is not None:
            peer.messages.append(message)
        for x in r if isinstance(r, tuple) else (r,):
            for b in x.encode() + b"\r\n":
                peer.raw(bytes([b]))
                time.sleep(0.001)
        return r[-1] if isinstance(r, tuple) else r


for ehlo in (PIPE, ()):
    srv = Server(Pieces(ehlo))
    c = d.open(port=srv.port)
    tap.equal(status(d.done(d.deliver(c, ["a@t", "b@t"]))), [S, S], "atk-C16: replies byte by byte")
    srv.stop()


# --- Slow servers: each reply in time, but not the whole (atk-G4).
def drip(peer, line):
    for i in range(40):
        time.sleep(0.4)
        peer.raw(b"250-still here\r\n")
    return "250 ok"


start = time.monotonic()
res, c, srv = one({"RCPT": drip})
tap.ok(status(res) == [D, D] and "timed out" in res[0]["text"], "atk-G4: a drip of continuation lines",
       res)
tap.ok(time.monotonic() - start < 8, "atk-G4: ends at the deadline of the whole message")


# --- Too early.
def babbler(peer):
    peer.send("220 x", "250 x", "250 ok", "250 ok", "354 go", "250 done")
    peer.line()
    time.sleep(3)


srv = Server(babbler)
c = d.open(port=srv.port)
j = d.deliver(c)
res = d.closed(c)
tap.ok(d.none("qmgr", "job_done", 0.2, job=j), "replies before their commands deliver nothing", res)
srv.stop()


def early_verdict(reply):
    def script(peer):
        peer.send("220 x")
        peer.line()
        peer.send("250-x", "250 PIPELINING")
        for _ in range(3):
            peer.line()
        peer.send("250 ok", "250 ok", "354 go")
        peer.sock.recv(100)
        peer.send(reply)
        time.sleep(0.5)
    return script


for reply, want in (("552 5.3.4 too big", B), ("451 4.3.1 no space", D), ("250 2.0.0 lie", D)):
    srv = Server(early_verdict(reply))
    srv.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    c = d.open(port=srv.port)
    j = d.deliver(c, body=b"x" * 70 + b"\r\n" * 4000000)
    tap.equal(status(d.done(j)), [want], f"{reply} in the middle of the content")
    d.closed(c)
    srv.stop()

# --- Several recipients (atk-G7): each has exactly one result.
by_name = {"ok": "250 2.1.5 ok", "no": "550 5.1.1 no", "later": "450 4.2.0 later",
           "full": "552 5.2.2 full", "many": "452 4.5.3 Too many recipients",
           "old": "552 too many recipients", "bare": "452 insufficient system storage"}


def by_rcpt(peer, line):
    return by_name[line.split("<")[1].split("@")[0].rstrip("0123456789")]


def mixed(names, ehlo, more=None):
    return one({"RCPT": by_rcpt, **(more or {})}, ehlo, [f"{n}{i}@t" for i, n in enumerate(names)])


A = RCPT_AGAIN
for how, ehlo in (("pipelined", PIPE), ("lock-step", ())):
    for names, more, want in (
            (["ok", "no", "later", "ok", "full"], {}, [S, B, D, S, D]),
            (["no", "ok", "no"], {}, [B, S, B]),
            (["no", "no", "no"], {}, [B, B, B]),
            (["later", "no"], {}, [D, B]),
            (["ok", "ok", "many", "many"], {}, [S, S, A, A]),
            (["ok", "old", "no", "old"], {}, [S, A, B, A]),
            (["many", "old"], {}, [D, D]),
            (["ok", "bare"], {}, [S, D]),
            (["ok", "no", "many"], {"EOD": "554 5.6.0 no"}, [B, B, A]),
            (["ok", "no", "later"], {"EOD": "451 4.3.0 later"}, [D, B, D]),
            (["ok", "no", "later"], {"DATA": "451 4.3.0 later"}, [D, B, D]),
            (["ok", "no", "ok"], {"EOD": CLOSE}, [D, B, D]),
            (["ok", "no", "ok"], {"DATA": "421 4.3.0 bye"}, [D, B, D])):
        res, c, srv = mixed(names, ehlo, more)
        tap.equal(status(res), want, f"atk-G7, S23: {' '.join(names)} {more or ''}, {how}")
        if D in want and names[0] == "many":
            tap.match(said(res[0]), "452 4.5.3 Too many recipients", "   with the server's words")
        d.send("qmgr", "conn_close", conn=c)
        d.closed(c)


# --- P03: everybody refused, and yet 354.
def all_refused(peer):
    peer.send("220 x")
    peer.line()
    peer.send("250-x", "250 PIPELINING")
    for _ in range(4):
        peer.line()
    peer.send("250 ok", "550 5.1.1 no", "550 5.1.1 no", "354 go")
    peer.messages.append(peer.data())
    peer.send("554 5.5.1 no recipients")
    for _ in range(3):
        peer.line()
    peer.send("250 ok", "250 ok", "354 go")
    peer.messages.append(peer.data())
    peer.send("250 2.0.0 done")
    peer.line()


srv = Server(all_refused)
c = d.open(port=srv.port)
j1, j2 = d.deliver(c, ["a@t", "b@t"]), d.deliver(c)
tap.equal(status(d.done(j1)), [B, B], "P03: all recipients refused, but 354")
tap.equal(status(d.done(j2)), [S], "P03: the next message passes")
tap.equal(srv.messages, [b"", b"Subject: t\r\n\r\nhello\r\n"], "P03: the first got an empty body")
srv.stop()

# --- C14: a pooled connection that is dead costs nothing.
for what, how in (("closed while idle", "close"), ("421 while idle", "421"), ("reset while idle", "reset")):
    def pooled(peer):
        peer.send("220 x")
        peer.line()
        peer.send("250-x", "250 PIPELINING")
        for _ in range(3):
            peer.line()
        peer.send("250 ok", "250 ok", "354 go")
        peer.data()
        peer.send("250 2.0.0 done")
        time.sleep(0.1)
        if how == "421":
            peer.send("421 4.4.2 idle too long")
        elif how == "reset":
            peer.reset()

    srv = Server(pooled)
    c = d.open(port=srv.port)
    tap.equal(status(d.done(d.deliver(c))), [S], f"C14: {what}: the first message")
    tap.equal(d.closed(c)["why"], CONN_IDLE, "C14: qmgr hears of the end")
    srv.stop()
for reply in (CLOSE, RESET, "421 4.7.0 enough", b"421 4.7.0 enough\r\n"):
    for ehlo in (PIPE, ()):
        srv = Server(Sink(ehlo, {"MAIL": ["250 ok", reply]}))
        c = d.open(port=srv.port)
        j1, j2, j3 = d.deliver(c), d.deliver(c), d.deliver(c)
        tap.equal(status(d.done(j1)), [S], "C14: the first message passes")
        tap.equal(d.closed(c)["why"], CONN_IDLE, f"C14: {reply!r} at MAIL of the second")
        tap.ok(d.none("qmgr", "job_done", 0.1), "C14: it was not tried, nor the one behind it")
        srv.stop()
srv = Server(Sink(PIPE, {"RCPT": ["250 ok", CLOSE]}))
c = d.open(port=srv.port)
j1, j2 = d.deliver(c), d.deliver(c)
d.done(j1)
tap.equal(status(d.done(j2)), [D], "C14: but one that was begun counts")
srv.stop()

# --- G6: closed behind the 250.
srv = Server(Sink(PIPE, {"QUIT": CLOSE}))
c = d.open(port=srv.port, idle_s=1)
tap.equal(status(d.done(d.deliver(c))), [S], "atk-G6: 250 counts whatever comes behind it")
d.closed(c)
srv.stop()


# --- G14: hostile capabilities.
for ehlo in (("SIZE", "SIZE 0", "SIZE -1", "LIMITS RCPTMAX=0 MAILMAX=0", "PIPELINING " + "x" * 3000),
             ("AUTH " + "X " * 1500,), tuple(f"X{i}" for i in range(98)), ("8BITMIME\x01\x7f",)):
    srv = Server(Sink(ehlo))
    c = d.open(port=srv.port)
    tap.equal(status(d.done(d.deliver(c))), [S], f"atk-G14: {ehlo[0]:.30} and {len(ehlo) - 1} more")
    srv.stop()

# --- What a server says reaches log and frames without control bytes.
res, c, srv = one({"RCPT": b"550 5.1.1 a\x1b[31m\x00\x07\x7f b\r\n" * 2})
tap.ok(status(res) == [B, B] and "a?[31m??? b" in res[0]["text"], "atk-G1, J8: control bytes", res)
tap.ok(d.wait_log(r"a\?\[31m\?\?\? b") and "\x1b" not in d.log(), "atk-G1: nor in the log")
log = d.log()
tap.match(log, r"to=<a@t>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:\d+, delay=[\d.]+, delays=[\d./]+, "
          r"dsn=5\.1\.1, status=bounced \(host 127\.0\.0\.1\[127\.0\.0\.1\] said: 550 5\.1\.1 unknown "
          r"\(in reply to RCPT TO command\)\)", "a refusal in the log")
tap.match(log, r"dsn=4\.4\.2, status=deferred \(lost connection with ", "a lost connection in the log")
d.finish()
tap.done()
