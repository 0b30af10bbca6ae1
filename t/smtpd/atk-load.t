#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""ATTACKS J: floods, bombs, and everything running out."""

import base64
import json
import os
import re
import resource
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from evil import HEADER, Smtpd, attack, cpu_seconds, is_reply, pss_kib, replies, reset, sanitized, tap, wait_for  # noqa: E402

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))


def latency(s, count=40):
    """Seconds of one message in a session of its own: the median."""
    took = []
    for _ in range(count):
        start = time.monotonic()
        c = s.ready("net")
        c.mail(HEADER)
        c.close()
        took.append(time.monotonic() - start)
    return sorted(took)[count // 2]


# J1: slow ones in great number, one byte at a time.
SLOW = 1500
s = Smtpd(name="loris", limits=f"\tcommand-timeout 4s\n\tdata-timeout 4s\n\tsessions {SLOW + 100}")
alone = latency(s)
held = [s.connect("net" if i % 3 else "mx", greet=False) for i in range(SLOW)]
start = time.monotonic()
stop = False


def drip():
    while not stop:
        for c in held:
            try:
                c.sock.send(b"X")
            except OSError:
                pass
            if stop:
                return
        time.sleep(0.3)


dripping = threading.Thread(target=drip, daemon=True)
dripping.start()
time.sleep(0.5)
crowded = latency(s)
tap.ok(crowded < max(4 * alone, 0.1), f"atk-J1 {SLOW} slow clients: a message takes {crowded * 1000:.1f} ms, alone {alone * 1000:.1f} ms")
extra = [s.connect(greet=False) for _ in range(150)]
is_reply(extra[-1].reply(), "421 4.3.2", "atk-J1 one too many is told")
for c in extra:
    c.close()


def left():
    return len([f for f in os.listdir(f"/proc/{s.pid}/fd")])


try:
    wait_for(lambda: left() < 60, 25, "the end of slow sessions")  # 4 s, and 10 s for the last reply
    tap.ok(time.monotonic() - start < 20, "atk-J1 dripping buys no time: all are gone after their deadline", time.monotonic() - start)
except AssertionError:
    tap.ok(False, "atk-J1 dripping buys no time: all are gone after their deadline", left())
stop = True
dripping.join()
for c in held:
    c.close()
s.unharmed("atk-J1")
s.end()

# J2: no descriptors.
s = Smtpd(name="fds", wrapper=("prlimit", "--nofile=64:64"))
held = []
for _ in range(120):
    try:
        held.append(s.connect(greet=False))
    except OSError:
        break
is_reply(held[-1].reply(), "421 4.3.2", "atk-J2 64 descriptors: who finds no place is told")
before = cpu_seconds(s.pid)
time.sleep(1.5)
used = cpu_seconds(s.pid) - before
tap.ok(used < 0.4, "atk-J2 and no loop spins", used)
for c in held:
    reset(c)
wait_for(lambda: s.connect("net", greet=False).reply().startswith("220"), 10, "free places")
tap.ok(not s.unharmed("atk-J2"), "atk-J2 all is well when they are free again")
s.end()

# J4 J5: the disk is full, or does not keep what it was given.
s = Smtpd(name="disk", limits="\terrors 1000\n\tidle-commands 1000")


def supply(how):
    for text in (how, "qmgr drop", "qmgr new"):
        s.order(text)
    time.sleep(0.3)


for row, how, want in (("J4", "qmgr write-fails", "452 4.3.1"), ("J5", "qmgr sync-fails", "451 4.3.0")):
    supply(how)
    c = s.ready("net")
    got = [c.mail(HEADER) for _ in range(5)]
    tap.ok(all(g.startswith(want) for g in got) and s.nothing("^stored"), f"atk-{row} {how[5:]}: {want[:3]}, never 250", got)
    supply("qmgr give")
    tap.ok(c.mail(HEADER).startswith("250") and len(s.unharmed(f"atk-{row}")) == 1, f"atk-{row} the session goes on with a good disk")
    c.close()
supply("qmgr full")
c = s.ready("net")
is_reply(c.cmd("MAIL FROM:<a@acme.example>"), "452 4.3.1", "atk-J4 P08 known before MAIL: 452, not 354")
supply("qmgr give")
c.close()

# J8: what could forge a line, everywhere a client has a word.
for text in ("\x1b[2J\x1b[31m", "a\tb", "x\\", "\x07\x08\x7f", "\xe2\x80\xae", "\xc2\x85\xc2\x9b", "<x> from=<y>", "a: client=forged[1.2.3.4]",
             '","type":"received"', "%s%n", "\xff\xfe", "{}", "'"):
    c = s.connect("net")
    c.cmd(f"EHLO {text}")
    c.cmd(f"MAIL FROM:<{text}@refused.example>")
    quoted = '"' + re.sub(r'(["\\])', r"\\\1", "".join(x for x in text if 0x20 <= ord(x) < 0x7f)) + '"'
    c.cmd(f"MAIL FROM:<{quoted}@refused.example>")
    c.cmd(f"MAIL FROM:<{quoted}@acme.example>")
    c.cmd(f"RCPT TO:<{quoted}@dest>")
    c.cmd(f"RCPT TO:<{quoted}@dest.example>")
    c.cmd("DATA")
    c.send(f"From: a@acme.example\r\nMessage-ID: <{text}@x>\r\nSubject: {text}\r\n\r\n")
    c.cmd(".")
    c.cmd(f"{text} {text}")
    c.send(f"NOOP {text}\n")
    c.reply()
    c.close()
    k = s.connect("key")
    k.cmd("EHLO a")
    k.cmd("AUTH PLAIN " + base64.b64encode(f"\0{text}\nforged\0x".encode("latin-1")).decode())
    k.close()
s.unharmed("atk-J8")
time.sleep(0.2)
log = s.log()
odd = [line for line in log.splitlines() if not re.match(r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d mta\.test ekiden/smtpd\[\d+\]: ", line)]
tap.ok(not odd and all(0x20 <= ord(x) < 0x7f or x == "\n" for x in log), "atk-J8 every log line is one event, in printable ASCII", odd[:3])
tap.ok(not re.search(r"^\S+ \S+ \S+ mta\.test ekiden/smtpd\[\d+\]: a: client=forged|^forged", log, re.M), "atk-J8 no line is forged")
with open(os.path.join(s.dir, "events"), "rb") as f:
    events = f.read()
try:
    parsed = [json.loads(line) for line in events.splitlines()]
    tap.ok(len(parsed) > 30 and {e["type"] for e in parsed} <= {"received", "rejected", "auth_failed"}, "atk-J8 every event is one JSON object")
except ValueError as e:
    tap.ok(False, "atk-J8 every event is one JSON object", e)

# J9: the system log takes nothing.
s.order("log stuck")
before = pss_kib(s.pid)
c = s.ready("net")
bad = [got for got in (c.mail(HEADER) for _ in range(100)) if not got.startswith("250")]
c.close()
for _ in range(2000):  # more lines than may wait
    c = s.connect("net")
    c.send("EHLO a\r\nRCPT TO:<x>\r\nMAIL FROM:<" + "x" * 60 + "@refused.example>\r\nQUIT\r\n")
    c.reply()
    c.close()
grown = pss_kib(s.pid) - before
tap.ok(not bad and (grown < 8192 or sanitized()), f"atk-J9 a log that takes nothing stops no mail: {grown} KiB more memory", bad[:3])
tap.equal(len(s.unharmed("atk-J9")), 100, "atk-J9 all mail is stored, and the next session works")
s.order("log file")
s.wait_log(r"connect from", "atk-J9 the new log is written")

# J10: budgets.
s.write_conf("budget", "\terrors 20\n\tidle-commands 1000")
s.order(f"reload {s.dir}/budget")
s.until("^(ready|refused)")
for what, line, limit, state in (("unknown commands", "WHAT\r\n", 20, "ready"), ("NOOP", "NOOP\r\n", 1000, "ready"), ("RSET", "RSET\r\n", 1000, "ready"),
                                 ("EHLO", "EHLO a\r\n", 1000, "ready"), ("VRFY", "VRFY a\r\n", 1000, "rcpt"), ("empty lines", "\r\n", 20, "ready"),
                                 ("bad recipients", "RCPT TO:<x>\r\n", 20, "rcpt"), ("MAIL within MAIL", "MAIL FROM:<a@b.example>\r\n", 20, "rcpt")):
    c = s.ready("net")
    if state == "rcpt":
        c.cmd("MAIL FROM:<a@acme.example>")
    try:
        c.send(line * 10000)
    except OSError:
        pass
    got = replies(c)
    c.close()
    tap.ok(got and got[-1].startswith("421 4.7.0") and limit <= len(got) <= limit + 2 and not s.unharmed("atk-J10"),
           f"atk-J10 10,000 {what}: 421 after {limit}", (len(got), got[-2:]))
c = s.ready("net")
c.cmd("MAIL FROM:<a@acme.example>")
start = time.monotonic()
writer = threading.Thread(target=c.send, args=("RCPT TO:<a@dest.example>\r\n" * 100000,), daemon=True)
writer.start()
codes = [c.reply()[:3] for _ in range(100000)]
writer.join()
c.close()
tap.equal((codes.count("250"), codes.count("452")), (1000, 99000), f"atk-J10 100,000 recipients: 1,000, in {time.monotonic() - start:.1f} s")
s.unharmed("atk-J10")

# J11: headers of all sorts and sizes.
M = 1 << 20
for what, data, want in (
        ("one field of 10 MiB in folds", b"X: " + (b"x" * 70 + b"\r\n ") * (10 * M // 73 - 20) + b"x\r\n" + HEADER, "552 5.3.4"),
        ("one field of 10 MiB in one line", b"X: " + b"x" * 10 * M + b"\r\n" + HEADER, "500 5.5.2"),
        ("100,000 fields", b"X-Field: x\r\n" * 100000 + HEADER, "552 5.3.4"),
        ("an 8 MiB To list", b"To: " + b"user@dest.example,\r\n " * (8 * M // 21) + b"x@dest.example\r\n" + HEADER, "552 5.3.4"),
        ("80,000 fields without a name", b": x\r\n" * 80000 + HEADER, "250"),
        ("a From list of 500 KiB", b"From: " + b"a@acme.example,\r\n " * 27000 + b"a@acme.example\r\n\r\n", "250"),
        ("comments 10,000 deep", b"From: " + (b"(" * 500 + b"\r\n ") * 20 + (b")" * 500 + b"\r\n ") * 20 + b"a@acme.example\r\n\r\n", ("250", "500"))):
    c = s.ready("net")
    c.envelope()
    before = cpu_seconds(s.pid)
    c.send(data)
    got = c.cmd(".")
    used = cpu_seconds(s.pid) - before
    c.close()
    stored = s.unharmed("atk-J11")
    tap.ok(got.startswith(want) and len(stored) == got.startswith("250") and (used < 1 or sanitized()), f"atk-J11 {what}: {used:.2f} s of CPU", got)
s.end()
tap.done()
