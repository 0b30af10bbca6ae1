#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Content: framing, limits, header rules, trace fields, large messages, a spool in trouble."""

import email
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import HOST, Smtpd, is_reply, tap  # noqa: E402
from smuggling import TERMINATORS, payload  # noqa: E402

H = b"From: app@acme.example\r\n\r\n"
s = Smtpd(limits="\terrors 100\n\thops 100", listeners={
    "net": "tls none; auth networks 127.0.0.0/8 tenant acme",
    "submission": "tls starttls; auth required", "key": "tls none; auth required"})


def begin(port="net"):
    c = s.ready(port)
    c.envelope()
    return c


def send_in_pieces(c, data, cut):
    c.send(data[:cut])
    time.sleep(0.004)
    c.send(data[cut:])


def smuggle(name, terminator, port, cuts):
    """Never a second message: one refusal, then the end of the connection."""
    data = payload(H, terminator, b"smuggled@acme.example", b"victim@dest.example")
    bad = []
    for cut in cuts:
        c = begin(port)
        at = len(H) + 8 + cut if cut is not None else 0
        if cut is None:
            c.send(data)
        else:
            send_in_pieces(c, data, at)
        replies = []
        while True:
            r = c.reply()
            if not r:
                break
            replies.append(r[:9])
        if replies != ["550 5.5.2"]:
            bad.append((cut, replies))
        c.close()
    tap.equal(bad, [], f"S01 atk-{name} on {port}: 550 and closed, every split")


for name, terminator in TERMINATORS.items():
    smuggle(name, terminator, "net", [None] + list(range(len(terminator) + 1)))
    smuggle(name, terminator, "submission", [None])
tap.ok(s.nothing("^stored"), "atk-A1 nothing was stored")
s.wait_log(r"NOQUEUE: reject: DATA from localhost\[127\.0\.0\.1\]: 550 5\.5\.2 Bare CR",
           "the refusal is logged")

# Commands (A9).
for name, data in {"LF": b"NOOP\nMAIL FROM:<a@acme.example>\r\n", "CR": b"NOOP\rNOOP\r\n",
                   "NUL": b"NOOP\0\r\n", "LF alone": b"\n", "CR CR LF": b"NOOP\r\r\n"}.items():
    c = s.connect()
    c.cmd("EHLO a")
    c.send(data + b"NOOP\r\n")
    is_reply(c.reply(), "500 5.5.2", f"atk-A9 S01 bare {name} in a command")
    tap.ok(c.closed(), "atk-A9 nothing behind it is run")

# Dots, every split of a proper message.
data = H + b"..dot\r\n...\r\ntext.\r\n..\r\n"
want = H + b".dot\r\n..\r\ntext.\r\n.\r\n"
c = s.ready("net")
good = True
for cut in range(0, len(data) + 3, 3):
    c.envelope()
    send_in_pieces(c, data + b".\r\n", cut)
    good &= c.reply().startswith("250 2.0.0")
    good &= s.stored()["content"] == want
tap.ok(good, "S18 dots are unstuffed, whatever the pieces")
c.envelope()
c.send(H + b"..dot\r\n.\r\n")
c.reply()
m = s.stored()
tap.equal((m["crc"], m["flags"], m["size"], m["body"]), ("good", "1", "6", b".dot\r\n"), "record: CRC, dots flag, size")
c.cmd("MAIL FROM:<app@acme.example> BODY=8BITMIME")
c.cmd("RCPT TO:<x@y.example>")
c.cmd("DATA")
c.send("From: \u3042 <app@acme.example>\r\n\r\n\u3042\r\n".encode())
c.cmd(".")
m = s.stored()
tap.equal(int(m["flags"]), 2 | 4 | 64, "record: 8-bit flags")

# A22
for name, header in {
        "no From": b"Subject: x\r\n", "no header": b"", "empty From": b"From:\r\n", "no address": b"From: me\r\n",
        "bad address": b"From: a@@b\r\n", "two From": b"From: a@acme.example\r\nFrom: b@acme.example\r\n",
        "From with a blank": b"From : a@acme.example\r\nFrom: b@acme.example\r\n",
        "From in the body": b"Subject: x\r\n\r\nFrom: a@acme.example\r\n"}.items():
    c.envelope()
    c.send(header + b"\r\nbody\r\n")
    tap.equal(c.cmd("."), "500 Valid Header From Required", f"A22 {name}")
is_reply(c.mail("From: a@acme.example\r\n\r\nusable\r\n"), "250 2.0.0", "A22 the connection stays usable")
tap.equal(s.stored()["content"][-10:], b"\r\nusable\r\n", "A22 nothing else was stored")
is_reply(c.mail("from:\r\n =?utf-8?q?x?= (c)\r\n <a@acme.example>\r\n\r\n"), "250", "A22 folded From")
s.stored()

# The Message-ID goes into the log and the record, where a fold or a control byte has no place.
for value, want in ((b"<a@b>\r\n (added later)", "<a@b>"), (b"\r\n <a@b>", "<a@b>"), (b"<a\x1b[31m@b>", "<a"), (b"<a\tb>", "<a"),
                    (b"\x7f", "")):
    data = b"Message-ID: " + value + b"\r\n" + H
    is_reply(c.mail(data), "250", f"atk-J8 Message-ID {value!r}")
    m = s.stored()
    tap.ok(m and m["message-id"] == want and m["content"] == data, "A24 is stored, and leaves as it came", m)

# Lines, header, hops, size.
is_reply(c.mail(H + b"x" * 998 + b"\r\n"), "250", "A27 S21 998+CRLF")
tap.equal(len(s.stored()["content"]), len(H) + 1000, "A27 unmodified")
is_reply(c.mail(H + b"x" * 999 + b"\r\n"), "500 5.5.2 Line too long", "A27 999+CRLF")
is_reply(c.mail(H + b"." + b"." * 998 + b"\r\n"), "250", "A27 a stuffed dot does not count")
s.stored()
is_reply(c.mail(b"X: " + b"x" * 997 + b"\r\n" + H), "500 5.5.2 Line too long", "A27 in the header")
is_reply(c.mail(b"X: " + (b"x" * 900 + b"\r\n ") * 1200 + b"x\r\n" + H), "552 5.3.4 Message header",
         "atk-J11 header of more than 1 MiB")
is_reply(c.mail(b"Received: x\r\n" * 99 + H), "250", "S38 99 hops")
s.stored()
is_reply(c.mail(b"Received: x\r\n" * 100 + H), "554 5.4.6", "S38 100 hops")
is_reply(c.mail(b"X-Relay-Hops: 100\r\n" + H), "554 5.4.6", "C6 loop guard")
line = b"x" * 98 + b"\r\n"
body = H + line * ((10485760 - len(H)) // 100)
body += b"y" * (10485760 - len(body) - 2) + b"\r\n"
for n, want in ((0, "250 2.0.0"), (1, "552 5.3.4")):
    data = body[:-2] + b"z" * n + b"\r\n"
    is_reply(c.mail(data), want, f"G20 {len(data)} bytes")
m = s.stored()
tap.ok(m["content"] == body and m["crc"] == "good", "G20 stored byte for byte")
tap.equal(int(m["flags"]) & 16, 16, "a large message has its own file")
s.until("^big_drop 2")
tap.ok(True, "the file of the refused one is given back")
c.cmd("MAIL FROM:<app@acme.example> SIZE=100")
c.cmd("RCPT TO:<x@y.example>")
c.cmd("DATA")
c.send(body[:-2] + b"zz\r\n.\r\n")
is_reply(c.reply(), "552 5.3.4", "P08 the real size counts, not SIZE=")
for n in (1048575, 1048576, 1048577, 1300000):
    data = H + line * ((n - len(H)) // 100)
    data += b"y" * (n - len(data) - 2) + b"\r\n"
    is_reply(c.mail(data), "250", f"message of {n}")
    m = s.stored()
    tap.ok(m["content"] == data and m["crc"] == "good", f"{n} bytes stored")
    tap.equal(bool(int(m["flags"]) & 16), n > 1048576, "in a file of its own when over the limit")
c.close()

# Trace fields.
DATE = r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} 20\d\d \d\d:\d\d:\d\d [+-]\d{4}"


def front(port="net", content=H, helo="client.test"):
    c = s.ready(port, helo)
    is_reply(c.mail(content), "250", "message")
    c.close()
    return s.stored()


m = front()
tap.match(m["front"], rf"^Received: from client\.test by mta\.test; {DATE}\r\nDate: {DATE}\r\n"
          r"Message-ID: <[0-9a-f.]+@mta\.test>\r\n\Z", "C1 U05 abbreviated; Date and Message-ID added")
tap.equal(m["message-id"], re.search("Message-ID: (.*)\r", m["front"])[1], "the added id is in the envelope")
tap.ok("127.0.0.1" not in m["front"], "C1 no address")
m = front(content=b"message-id: <a@b>\r\nDATE: x\r\n" + H)
tap.match(m["front"], rf"^Received: .*; {DATE}\r\n\Z", "U05 existing Date and Message-ID stay alone")
tap.equal(m["message-id"], "<a@b>", "message id of the envelope")
m = front(helo="evil;\x01()<x>\"y")
tap.match(m["front"], r"^Received: from evil\?\?\?\?\?x\?\?y by mta", "atk-F6 the name is made harmless")
m = front(helo="x" * 200)
tap.match(m["front"], rf"^Received: from x+ by mta\.test;\r\n\t{DATE}\r\n", "long names fold")
s.write_conf("full", "\terrors 100", "received full")
s.order(f"reload {s.dir}/full")
tap.equal(s.until("^(ready|refused)"), "ready 2", "reload")
m = front("submission")
tap.match(m["front"], rf"^Received: from client\.test \(localhost \[127\.0\.0\.1\]\)\r\n\tby mta\.test with "
          rf"ESMTPSA id [0-9a-f.]+\r\n\tfor <user@dest\.example>\r\n\ttls TLS_\w+ \(TLSv1\.3\);\r\n\t{DATE}\r\n",
          "C2 S30 T07 full")
m = front("key")
tap.match(m["front"], r"with ESMTPA id", "S30 protocol with a key in plain")
c = s.connect("net")
c.cmd("HELO client.test")
c.mail(H)
tap.match(s.stored()["front"], r"with SMTP id", "S30 protocol after HELO")
c.close()
old = b"Received: from a\r\n\tby b; date\r\nX: y\r\nrECEIVED: c\r\n"
for mode in ("none", "strip"):
    s.write_conf(mode, "\terrors 100", f"received {mode}")
    s.order(f"reload {s.dir}/{mode}")
    s.until("^(ready|refused)")
    m = front(content=old + H)
    tap.match(m["front"], r"^X-Relay-Hops: 3\r\nDate: ", f"C3 C4 C6 {mode}: a loop guard, no Received")
    want = old + H if mode == "none" else b"X: y\r\n" + H
    tap.equal(m["content"], want, f"C4 C5 {mode}: existing fields")
tap.ok(m["header"].endswith(b"X: y\r\n" + H), "C5 and the header ends as it did")
parsed = email.message_from_bytes(m["front"].encode() + m["content"])
tap.ok(parsed["From"] and parsed["Message-ID"] and not parsed["Received"], "C5 another parser agrees")

# A spool in trouble.
s.order("qmgr hold")
s.order("qmgr drop")
s.order("qmgr new")
c = begin()
c.send(H + b".\r\n")
c.sock.settimeout(0.5)
try:
    c.reply()
    tap.ok(False, "S17 no segment, no 250")
except TimeoutError:
    tap.ok(True, "S17 no segment, no 250")
c.sock.settimeout(20)
s.order("qmgr give")
is_reply(c.reply(), "250 2.0.0", "S37 the answer comes with the segment")
s.stored()
s.order("qmgr full")
s.order("qmgr drop")
s.order("qmgr new")
time.sleep(0.2)
is_reply(c.cmd("MAIL FROM:<a@acme.example>"), "452 4.3.1", "P08 atk-J4 disk full at MAIL")
is_reply(c.cmd("NOOP"), "250", "atk-J4 the session goes on")
s.order("qmgr give")
time.sleep(0.2)
is_reply(c.mail(H), "250", "atk-J4 and mail, when there is space again")
s.stored()
c.envelope()
s.order("qmgr drop")
c.send(H + b".\r\n")
time.sleep(0.1)
s.order("qmgr new")
r = c.reply()
tap.ok(r.startswith("250") or r.startswith("451 4.3.0"), "S35 qmgr restarted during DATA", r)
c.close()

# A large message while qmgr goes away, or has no space.
s.order("qmgr give")
c = begin()
c.send(body[:3000000])
s.until("^big ")
s.order("qmgr drop")
s.order("qmgr new")
time.sleep(0.5)
c.send(body[3000000:] + b".\r\n")
is_reply(c.reply(), "451 4.3.0", "S35 the file of a qmgr that is gone is not trusted")
s.order("qmgr full")
c.cmd("RSET")
c.envelope()
c.send(body + b".\r\n")
is_reply(c.reply(), "452 4.3.1", "atk-J4 no space for a large message")
s.order("qmgr give")
c.envelope()
c.send(body[:3000000])
s.until("^big ")
c.close()
s.until("^big_drop")
tap.ok(True, "atk-J6 a session that dies leaves no file")
c = begin()
c.send(H + b"never finished\r\n")
c.close()
tap.ok(s.nothing("^stored"), "atk-D5 nothing is kept of a message without end")

c = s.ready("net")
is_reply(c.mail(H), "250", "the next clean session works")
s.stored()
s.end()
tap.done()
