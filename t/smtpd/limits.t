#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Deadlines, budgets, foreign protocols, many sessions, reload and drain."""

import os
import re
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import GOOD, HOST, Smtpd, is_reply, sanitized, tap, wait_for  # noqa: E402

H = b"From: a@acme.example\r\n\r\n"
NAMES = ("net", "mx", "submission", "key")
ALL = {"net": "tls none; auth networks 127.0.0.0/8 tenant acme", "mx": "tls starttls; auth optional",
       "submission": "tls starttls; auth required", "key": "tls none; auth required"}

s = Smtpd(limits="\terrors 5\n\tidle-commands 10\n\tcommand-timeout 2s\n\tdata-timeout 2s\n\ttls-timeout 2s\n"
          "\tsessions 30", listeners=ALL, name="short")


def timed(wait, name, low, high):
    start = time.monotonic()
    value = wait()
    took = time.monotonic() - start
    tap.ok(low < took < high, f"{name} after {low}-{high} s", f"{took:.1f} s")
    return value


def drip(c, data, seconds):
    """One byte at a time until the server has enough; how long that took."""
    start = time.monotonic()
    c.sock.settimeout(0.2)
    sent = 0
    while time.monotonic() - start < seconds:
        try:
            c.send(data[sent % len(data):][:1] if len(data) > 3 else data)
            sent += 1
            more = c.sock.recv(4096)
            c.buf += more
            break
        except TimeoutError:
            pass
        except OSError:
            break
    c.sock.settimeout(10)
    return time.monotonic() - start


c = s.connect()
is_reply(timed(c.reply, "S25 idle session", 1.5, 5), f"421 4.4.2 {HOST} Error: timeout exceeded", "S25 timeout")
tap.ok(c.closed(), "closed")
s.wait_log(r": timeout after CONNECT from localhost\[127\.0\.0\.1\]$", "LOGS timeout")
c = s.connect()
took = drip(c, b"N", 8)
tap.ok(1.5 < took < 5, "atk-J1 the command deadline is absolute, dripping does not move it", took)
c = s.ready()
c.envelope()
took = drip(c, b"x\r\n", 8)
tap.ok(1.5 < took < 5, "atk-J1 so is that of the content", took)
is_reply(c.reply(), "421 4.4.2", "timeout in DATA")
s.wait_log(r": timeout after DATA from localhost", "LOGS timeout after DATA")
c = s.connect("submission")
c.cmd("EHLO a")
c.cmd("STARTTLS")
took = drip(c, bytes.fromhex("16030102000100 01fc0303") + bytes(500), 8)
tap.ok(1.5 < took < 5, "atk-B13 so is that of the handshake", took)
c = s.connect("key")
c.cmd("EHLO a")
c.cmd("AUTH LOGIN")
is_reply(timed(c.reply, "AUTH exchange", 1.5, 5), "421 4.4.2", "AUTH exchange times out")

# A large message has time in proportion.
c = s.ready()
c.envelope()
c.send(H)
for _ in range(6):
    c.send((b"x" * 98 + b"\r\n") * 10486)
    time.sleep(0.7)
is_reply(c.cmd("."), "250", "data-timeout grows with what has come")
s.stored()

# Budgets.
c = s.connect()
for i in range(4):
    is_reply(c.cmd("WHAT"), "500", "error within the budget")
is_reply(c.cmd("WHAT"), "500", "last one")
is_reply(c.reply(), "421 4.7.0", "atk-J10 error budget")
tap.ok(c.closed(), "closed")
c = s.connect("mx")
c.cmd("EHLO a")
c.cmd("MAIL FROM:<>")
codes = [c.cmd(f"RCPT TO:<u{i}@x.example>")[:3] for i in range(5)]
tap.equal(codes, ["554"] * 5, "RCPT probing")
is_reply(c.reply(), "421 4.7.0", "atk-E10 RCPT probing ends")
c = s.ready()
for i in range(3):
    c.cmd("WHAT")
c.mail(H)
for i in range(4):
    is_reply(c.cmd("WHAT"), "500", "a message accepted renews the error budget")
c = s.connect()
codes = [c.cmd("NOOP")[:3] for i in range(11)]
tap.equal(codes, ["250"] * 10 + ["421"], "atk-J10 idle commands")
c = s.connect()
try:
    c.send("NOOP\r\n" * 100000)
except OSError:
    pass
n = 0
while c.reply():
    n += 1
tap.equal(n, 11, "atk-J10 pipelined idle commands")

# Lines.
for size, want in ((2046, "500 5.5.1"), (2047, "500 5.5.2 Error: line too long"), (20000, "500 5.5.2")):
    c = s.connect()
    c.send("X" * size + "\r\n")
    is_reply(c.reply(), want, f"S20 command of {size} octets")
c = s.connect()
is_reply(c.cmd("EHLO " + "x" * 4000), "500 5.5.2", "atk-C3 long EHLO")
c = s.ready()
is_reply(c.cmd("MAIL FROM:<" + "a" * 64 + "@" + ".".join(["x" * 60] * 2) + ".example> SIZE=1" + " " * 290), "250",
         "S20 a line of 512 octets")

# Who is not a mail client.
for name, data in {"GET": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST": b"POST / HTTP/1.1\r\nMAIL FROM:<a@b.c>\r\n",
                   "CONNECT": b"CONNECT x:25 HTTP/1.0\r\n", "ClientHello": b"\x16\x03\x01\x00\x05hello",
                   "SSH": b"SSH-2.0-OpenSSH_9\r\n"}.items():
    c = s.connect()
    c.send(data)
    tap.ok(c.closed(), f"atk-D6 {name}: closed without a word")
s.wait_log(r": warning: non-SMTP command from localhost\[127\.0\.0\.1\]: GET / HTTP/1\.1$", "atk-D6 logged")
c = s.connect("mx")
c.send("EHLO a\r\nMAIL FROM:<>\r\n")
is_reply(c.reply(), "554 5.5.0", "atk-D3 P02 pipelining behind the first EHLO on mx")
tap.ok(c.closed(), "closed")
c = s.connect("mx")
c.cmd("EHLO a")
c.send("MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\n")
is_reply(c.reply(), "250", "pipelining behind the reply")

# The number of sessions.
time.sleep(0.5)
held = [s.connect() for _ in range(30)]
c = s.connect(greet=False)
is_reply(c.reply(), "421 4.3.2", "one session too many")
tap.ok(c.closed(), "closed")
for c in held:
    c.close()
wait_for(lambda: s.connect(greet=False).reply().startswith("220"), 5, "free places")

# Reload: sessions go on with the settings they began with.
s.write_conf("next", "\tmessage-size 20000")
c = s.ready()
s.order(f"reload {s.dir}/next")
tap.equal(s.until("^(ready|refused)"), "ready 2", "C26 reload")
is_reply(c.cmd("MAIL FROM:<a@acme.example> SIZE=30000"), "250", "an old session keeps the old limit")
is_reply(s.ready().cmd("MAIL FROM:<a@acme.example> SIZE=30000"), "552", "a new one has the new limit")
text = open(s.write_conf("bad")).read().replace("certificate default", "certificate other")
open(os.path.join(s.dir, "bad"), "w").write(text.replace("tls starttls", "tls starttls\n\tcertificate other"))

# Drain: messages under way are finished, idle sessions end.
busy = s.ready()
busy.envelope()
idle = s.connect()
s.order("drain 20")
is_reply(idle.reply(), "421 4.3.2", "A10 S29 drain ends idle sessions")
busy.send(H + b".\r\n")
is_reply(busy.reply(), "250 2.0.0", "A10 a message under way is finished")
is_reply(busy.reply(), "421 4.3.2", "A10 then its session ends")
c.close()
tap.equal(s.until("^exit"), "exit 0", "the last session ends the process")

# Memory of idle sessions.
def rss(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M)[1])


s = Smtpd(listeners=ALL, name="idle")
warm = [s.ready() for _ in range(20)]
for c in warm:
    c.mail(H + b"x" * 900 + b"\r\n")
before = rss(s.pid)
held = [s.connect() for _ in range(900)]
for c in held:
    c.cmd("EHLO idle.test")
each = (rss(s.pid) - before) / len(held)
tap.ok(each <= 24 or sanitized(), f"an idle session takes {each:.1f} KiB")
print(f"# {each:.2f} KiB each")
for c in held:
    c.cmd("MAIL FROM:<a@acme.example>")
    c.cmd("RCPT TO:<b@dest.example>")
each = (rss(s.pid) - before) / len(held)
tap.ok(each <= 24 or sanitized(), f"one in a transaction {each:.1f} KiB")
for c in held + warm:
    c.close()
s.end()
tap.done()
