#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Clients that mean harm: resets in the wrong moment, floods of replies, endless content, secrets in odd lines."""

import base64
import os
import re
import signal
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Smtpd, is_reply, sanitized, tap, wait_for  # noqa: E402

H = b"From: a@acme.example\r\n\r\n"
RESET = struct.pack("ii", 1, 0)


def pss(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M)[1])


def sessions(s):
    """Sockets that smtpd holds."""
    return len(os.listdir(f"/proc/{s.pid}/fd"))


def reset(c):
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    c.close()


s = Smtpd(limits="\tdata-timeout 1s\n\tmessage-size 1M\n\tidle-commands 100000\n\terrors 1000")


# A reset that is there when the answer to STARTTLS is to be written.
def starttls_resets(count):
    held = [s.connect("submission") for _ in range(count)]
    for c in held:
        c.cmd("EHLO a")
    os.kill(s.pid, signal.SIGSTOP)
    for c in held:
        c.send("STARTTLS\r\n")
        reset(c)
    time.sleep(0.05)
    os.kill(s.pid, signal.SIGCONT)
    wait_for(lambda: sessions(s) < idle + 5, 10, "the end of sessions")


idle = sessions(s)
starttls_resets(200)
before = pss(s.pid)
for _ in range(3):
    starttls_resets(200)
grown = pss(s.pid) - before
tap.ok(grown < 1000 or sanitized(), "atk-J4 a reset behind STARTTLS leaves nothing behind", f"{grown} KiB")

# More replies than fit into one turn go on by themselves. A session that had stopped would stand until its deadline of
# minutes (command-timeout); a machine that is busy may well take seconds.
PATIENCE = 60
c = s.ready()
c.cmd("MAIL FROM:<a@acme.example>")
COUNT = 20000
writer = threading.Thread(target=c.send, args=("RCPT TO:<a@b.example>\r\n" * COUNT,), daemon=True)
c.sock.settimeout(PATIENCE)
start = time.monotonic()
writer.start()
got, last, end = 0, "", "all read"
try:
    while got < COUNT and (reply := c.reply()):
        got, last = got + 1, reply
    end = "the connection ended" if got < COUNT else end
except TimeoutError:
    end = "nothing more came"
took = time.monotonic() - start
tap.ok(got == COUNT, "P01 atk-J11 a flood of pipelined commands gets all of its replies",
       f"{got} of {COUNT}, the last {last!r}, {took:.1f} s: {end}\n{s.log()[-1000:]}{s.complaints()}")
tap.ok(took < PATIENCE, "without waiting for a deadline", f"{took:.1f} s")
c.close()

# Content without end.
c = s.ready()
c.envelope()
c.send(H)
start = time.monotonic()
line = b"x" * 98 + b"\r\n"
try:
    while time.monotonic() - start < 12:
        c.send(line * 5000)
        time.sleep(0.1)
except OSError:
    pass
took = time.monotonic() - start
tap.ok(took < 8, "atk-J1 content over the size limit buys no more time", f"{took:.1f} s")
c.close()

# The last reply reaches a client that is still sending.
c = s.connect()
failure = None
try:
    c.send("X" * 3000000)
except OSError as e:
    failure = e
tap.equal(failure, None, "what a refused client still sends is taken")
is_reply(c.reply(), "500 5.5.2 Error: line too long", "and it sees why it was refused")
tap.ok(c.closed(), "then the end")
c.close()
c = s.connect()
c.send("X" * 5000)
c.reply()
start = time.monotonic()
c.sock.settimeout(20)
try:
    while time.monotonic() - start < 20:
        c.send("X" * 100)
        time.sleep(0.2)
except OSError:
    pass
took = time.monotonic() - start
tap.ok(took < 15, "atk-J1 but not for ever", f"{took:.1f} s")
c.close()

# A secret in a line that is not well-formed stays out of the log.
SECRET = base64.b64encode(b"\0app\0MySecretWord").decode()
c = s.connect("key")
c.cmd("EHLO a")
c.send(f"AUTH PLAIN {SECRET}\n")
is_reply(c.reply(), "500 5.5.2", "AUTH with bare LF")
c = s.connect("key")
c.cmd("EHLO a")
c.cmd("AUTH PLAIN")
c.send(f"{SECRET}\n")
is_reply(c.reply(), "500 5.5.2", "response with bare LF")
time.sleep(0.2)
tap.ok(SECRET[:20] not in s.log(), "atk-A8 no secret in the log", s.log()[-1500:])


def copies(pid, needle):
    """How often it stands in the writable memory of a process."""
    count = 0
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for text in maps:
            place, rights = text.split()[:2]
            low, high = (int(x, 16) for x in place.split("-"))
            if rights.startswith("rw"):
                memory.seek(low)
                count += memory.read(high - low).count(needle)
    return count


if os.geteuid() == 0 and not sanitized():
    for port in ("key", "submission"):
        c = s.connect(port)
        c.cmd("EHLO a")
        if port == "submission":
            c.starttls()
            c.cmd("EHLO a")
        word = f"longUniqueSecretFor{port}".encode()
        whole = base64.b64encode(b"\0app\0" + word)
        c.send(b"AUTH PLAIN " + whole[:20])
        time.sleep(0.1)
        is_reply(c.cmd(whole[20:].decode()), "235", f"log-in on {port}")
        tap.equal((copies(s.pid, word[4:]), copies(s.pid, whole[12:44])), (0, 0), "atk-A8 no secret stays in memory")
        c.close()
s.end()

# As many connections as there are descriptors: those of the peers are kept free.
s = Smtpd(name="few", limits="\tsessions 1000", wrapper=("prlimit", "--nofile=150:150"))
held = [s.connect(greet=False) for _ in range(200)]
is_reply(held[-1].reply(), "421 4.3.2", "who finds no place is told")
s.order("qmgr drop")
s.order("qmgr new")
s.order(f"reload {s.conf}")
tap.equal(s.until("^(ready|refused|closed|exit)"), "ready 2", "atk-J3 a lack of descriptors for clients is none for reloads")
for c in held:
    c.close()
wait_for(lambda: s.connect("net", greet=False).reply().startswith("220"), 10, "free places")
c = s.ready()
is_reply(c.mail(H), "250", "mail is taken afterwards")
c.close()
s.end()
tap.done()
