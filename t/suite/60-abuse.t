#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Thousands of clients that break off anywhere, with random bytes; then all is as before.

EKIDEN_ABUSE_S: seconds of it (default 8)."""
import base64
import os
import random
import re
import signal
import smtplib
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

private_network()
SECONDS = float(os.environ.get("EKIDEN_ABUSE_S", "8"))
HELD = 400
CONNECTIONS = 2000
ns = Nsd({"rcpt.test": "@ IN MX 10 mx\nmx IN A 127.0.0.2", "sender.test": "@ IN A 127.0.0.2"})
sink = Sink("127.0.0.2", 25)
s = Suite(extra="limits { auth-delay 0s; command-timeout 5s; data-timeout 5s; tls-timeout 5s; inline-size 64K; }\n")
secret = s.tenant()
plain = base64.b64encode(f"\0app1\0{secret}".encode())
submit(s, secret, subject="before")
pids = sorted(pid for pid, _ in s.pids())
context = client_context()
rng = random.Random(int(os.environ.get("EKIDEN_SEED", "7")))
tap.ok(True, "a message before")


def garbage(r):
    return bytes(r.getrandbits(8) for _ in range(r.choice((1, 7, 200, 5000))))


COMMANDS = [
    lambda r: b"EHLO x\r\n", lambda r: b"HELO x\r\n", lambda r: b"STARTTLS\r\n", lambda r: b"RSET\r\n",
    lambda r: b"NOOP\r\n" * r.choice((1, 50)), lambda r: b"QUIT\r\n", lambda r: b"DATA\r\n", lambda r: b"AUTH LOGIN\r\n",
    lambda r: b"AUTH PLAIN " + plain + b"\r\n", lambda r: b"AUTH PLAIN\r\n", lambda r: b"*\r\n",
    lambda r: b"AUTH PLAIN " + base64.b64encode(garbage(r))[:8000] + b"\r\n",
    lambda r: b"MAIL FROM:<a@sender.test>\r\n", lambda r: b"MAIL FROM:<> SIZE=99999999999\r\n",
    lambda r: b"RCPT TO:<b@rcpt.test>\r\n" * r.choice((1, 3, 2000)),
    lambda r: b"From: a@sender.test\r\n\r\n" + b"x" * 70 + b"\r\n", lambda r: b".\r\n",
    lambda r: b"From: a@sender.test\r\n\r\n" + (b"y" * 78 + b"\r\n") * 4000 + b".\r\n",
    lambda r: b"VRFY x\n", garbage,
]
WHOLE = (b"MAIL FROM:<a@sender.test>\r\nRCPT TO:<b@rcpt.test>\r\nDATA\r\nFrom: a@sender.test\r\n\r\nhello\r\n.\r\n",
         b"MAIL FROM:<a@sender.test>\r\nRCPT TO:<b@rcpt.test>\r\nDATA\r\nFrom: a@sender.test\r\n\r\n" +
         (b"z" * 78 + b"\r\n") * 3000 + b".\r\n")


class Abuser:
    """One connection at some point of its life."""

    def __init__(self, r):
        self.r = r
        kind = r.choice(("mx", "submission", "submission", "smtps"))
        self.sock = socket.create_connection(("127.0.0.1", getattr(s, kind)), 10)
        self.sock.settimeout(3)
        if kind == "smtps" and r.random() < 0.8:
            self.tls()
        elif kind == "submission" and r.random() < 0.6:
            self.sock.recv(1000)
            self.sock.sendall(b"EHLO a\r\n")
            self.sock.recv(1000)
            self.sock.sendall(b"STARTTLS\r\n")
            if r.random() < 0.9:
                self.sock.recv(1000)
                self.tls()

    def tls(self):
        if self.r.random() < 0.15:  # half a handshake
            self.sock.sendall(bytes.fromhex("1603010200010001fc0303") + garbage(self.r)[:300])
            return
        self.sock = context.wrap_socket(self.sock)
        if self.r.random() < 0.8:
            self.sock.sendall(b"EHLO a\r\n")
            self.sock.recv(1000)
            self.sock.sendall(b"AUTH PLAIN " + plain + b"\r\n")
            self.sock.recv(1000)

    def step(self):
        r = self.r
        text = b"".join(r.choice(COMMANDS)(r) for _ in range(r.randrange(8)))
        if r.random() < 0.3:
            whole = r.choice(WHOLE)
            text += whole if r.random() < 0.6 else whole[:r.randrange(len(whole))]
        self.sock.settimeout(0.3)
        self.sock.sendall(text)
        if r.random() < 0.5:
            self.sock.recv(r.choice((1, 100, 100000)))

    def leave(self):
        how = self.r.random()
        try:
            if how < 0.4:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif how < 0.6:
                self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        self.sock.close()


made = [0] * 4


def abuse(number, end):
    r = random.Random(rng.random() + number)
    held = []
    while time.monotonic() < end or made[number] < CONNECTIONS / len(made):
        try:
            held.append(Abuser(r))
            made[number] += 1
            held[-1].step()
        except (OSError, ValueError):
            pass
        if len(held) > HELD / len(made) or r.random() < 0.5:
            held.pop(r.randrange(len(held))).leave() if held else None
        if time.monotonic() > end + 60:
            break
    for a in held:
        a.leave()


def all_at_once(meanwhile):
    """Abuse by all threads; meanwhile() is called every two seconds."""
    made[:] = [0] * len(made)
    end = time.monotonic() + SECONDS
    threads = [threading.Thread(target=abuse, args=(i, end)) for i in range(len(made))]
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        meanwhile()
        time.sleep(2)
    for t in threads:
        t.join()
    tap.ok(sum(made) >= CONNECTIONS, f"atk-J1 {CONNECTIONS} connections that break off anywhere", made)


def again(subject):
    """A clean session works, perhaps after a daemon's back-off."""
    def accepted():
        try:
            return submit(s, secret, subject=subject)[0] == 250
        except (smtplib.SMTPException, OSError):
            return False
    try:
        wait_for(accepted, 30, "a session", 0.5)
        wait_for(lambda: any(f"Subject: {subject}".encode() in m["data"] for m in sink.messages), 60, "delivery")
        tap.ok(True, f"a clean session works {subject}, and its mail is delivered")
    except AssertionError as e:
        tap.ok(False, f"a clean session works {subject}, and its mail is delivered", e)


all_at_once(lambda: s.mtactl("reload", check=False))
again("after")
tap.equal(sorted(pid for pid, _ in s.pids()), pids, "no daemon ended")
bad = [line for line in s.log().splitlines()
       if re.search(r"killed|ended with|bad frame|sandbox|ERROR: |no way from state|restart", line)]
tap.equal(bad[:5], [], "and none complains of another")
stderr = open(os.path.join(s.dir, "stderr")).read()
tap.ok("Sanitizer" not in stderr and "runtime error" not in stderr, "no sanitizer speaks", stderr)


def smtpd_sockets():
    return sum(os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:") for pid, _ in s.pids("smtpd")
               for fd in os.listdir(f"/proc/{pid}/fd"))


def settled():
    try:
        return smtpd_sockets() < 40
    except OSError:
        return False


try:
    wait_for(settled, 30, "the end of all sessions")
    tap.ok(True, "no session is left over")
except AssertionError:
    tap.ok(False, "no session is left over", smtpd_sockets())

# The same while the helpers of smtpd end and come back.
servers = sorted(pid for pid, _ in s.pids("smtpd"))


def kill_one():
    for pid, _ in s.pids(rng.choice(("authd", "signd", "qmgr", "dnsd"))):
        os.kill(pid, signal.SIGKILL)


all_at_once(kill_one)
again("afterwards")
tap.equal(sorted(pid for pid, _ in s.pids("smtpd")), servers, "smtpd outlives all of its peers")
stderr = open(os.path.join(s.dir, "stderr")).read()
tap.ok("Sanitizer" not in stderr and "runtime error" not in stderr, "no sanitizer speaks", stderr)
tap.equal(s.stop(), 0, "the suite stops")
tap.done()
