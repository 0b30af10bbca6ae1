#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""ATTACKS E with the real authd: who a log-in and a sender are, what time and logs tell of it; and ATTACKS J15."""
import base64
import math
import os
import re
import signal
import smtplib
import socket
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

private_network()
ns = Nsd({"rcpt.test": "@ IN MX 10 mx\nmx IN A 127.0.0.2", "sender.test": "@ IN A 127.0.0.2"})
sink = Sink("127.0.0.2", 25)
s = Suite(extra="limits { auth-delay 0s; auth-failures 0; connections-per-client 0; errors 10000; messages-per-connection 100000; }\nretry { method linear; a 1; period 600; }\n")
secret = s.tenant()
s.mtactl("tenant", "add", "rival")
s.mtactl("domain", "add", "rival", "rival.test", "--verified")
s.mtactl("domain", "add", "acme", "b\u00fccher.test", "--verified")
s.mtactl("domain", "add", "acme", "pending.test")
context = client_context()


class Session:
    """On the implicit port: commands and replies."""

    def __init__(self):
        self.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", s.smtps), 15))
        self.file = self.sock.makefile("rb")
        self.reply()
        self.cmd("EHLO client.test")

    def reply(self):
        while True:
            line = self.file.readline().decode("latin-1").rstrip("\r\n")
            if line[3:4] != "-":
                return line

    def cmd(self, line):
        self.sock.sendall((line if isinstance(line, bytes) else line.encode()) + b"\r\n")
        return self.reply()

    def auth(self, user, word):
        return self.cmd("AUTH PLAIN " + base64.b64encode(f"\0{user}\0{word}".encode()).decode())


# E3, E4: text that is a query, a path or a command elsewhere is a name that nobody has.
for user in ("*)(uid=*", "*", "app*", "../../../etc/passwd", "app1/../app1", "a' or '1'='1", "app1' --", "app1;id", "$(id)", "`id`", "%s%n", "app1\n", "app1\r\nx",
             "app1 ", " app1", "APP1", "app1\t", "", "\u0430pp1", "app1\u200b", "a" * 1024, "a" * 1025, "acme", "acme/app1", "app1@acme", "root"):
    c = Session()
    got = c.auth(user, secret)
    tap.ok(got.startswith("535 5.7.8 Error: authentication failed"), f"atk-E3 atk-E4 user {user[:20]!a} with a right secret: 535", got)
    c.sock.close()
c = Session()
tap.equal([c.auth("app1", x)[:3] for x in (secret[:-1], secret + "x", secret.upper(), "")], ["535"] * 4, "atk-E4 the secret is exact")
c.sock.close()
c = Session()
tap.ok(c.auth("app1", secret).startswith("235"), "atk-E3 and the right one still opens")

# E5, E13: one canonical form of a domain, and nothing beside it.
SENDERS = {"a@sender.test": "250", "a@SENDER.TEST": "250", "a@Sender.Test": "250", "a@xn--bcher-kva.test": "250", "A.b+c@sender.test": "250",
           "a@sender.test.": "501", "a@sub.sender.test": "550", "a@sender.test.rival.test": "550", "a@xsender.test": "550", "a@sender": "550",
           "a@test": "550", "a@rival.test": "550", "a@pending.test": "550", "a@[127.0.0.1]": "550", "a@sender.test@rival.test": "501",
           '"a@sender.test"@rival.test': "550", '"a@rival.test"@sender.test': "250", "@sender.test:a@rival.test": "550",
           "a%sender.test@rival.test": "550", "a@b\u00fccher.test": "501", "a@s\u0435nder.test": "501", "a@xn--snder-9of.test": "550",
           "a@sender\u3002test": "501", "a@sender.test\0.rival.test": "500", "a@rival.test\0sender.test": "500", "": "550"}
for sender, want in SENDERS.items():
    if want == "500":
        d = Session()
        d.auth("app1", secret)
        got = d.cmd(f"MAIL FROM:<{sender}>")
        d.sock.close()
    else:
        got = c.cmd(f"MAIL FROM:<{sender}>")
        c.cmd("RSET")
    tap.ok(got.startswith(want), f"atk-E5{' atk-E13' if not sender.isascii() or 'xn--' in sender else ''} G8 sender {sender!a}: {want}", got)
tap.equal(len(s.mtactl("queue", "list", json_rows=True)), 0, "and none of it is queued")

# E6, as far as it goes without a comparison of domains: exactly one From field, valid.
for header, want in (("From: a@sender.test\r\nFrom: b@sender.test\r\n", "500 Valid"), ("From: a@sender.test\r\nfrom : b@sender.test\r\n", "500 Valid"),
                     ("Sender: a@sender.test\r\n", "500 Valid"), ("From: undisclosed:;\r\n", "500 Valid"), ("From: <>\r\n", "500 Valid"),
                     ("From: a@sender.test <b@rival.test>\r\n", "500 Valid"), ("From: <@rival.test:a@sender.test>, x\r\n", "500 Valid"),
                     ("From: \"a@rival.test\" <a@sender.test>\r\n", "250"), ("From: (a@rival.test) a@sender.test\r\n", "250")):
    for line in ("MAIL FROM:<a@sender.test>", "RCPT TO:<b@rcpt.test>", "DATA"):
        c.cmd(line)
    got = c.cmd(header + "\r\n.")
    tap.ok(got.startswith(want), f"atk-E6 A22 {header.splitlines()[-1]!r}", got)
c.sock.close()


# E2: whether a user exists is not told by time.
def samples(count):
    times = {"unknown": [], "wrong": []}
    c, used = Session(), 0
    for i in range(2 * count):
        kind = ("unknown", "wrong")[(i + i // 2) % 2]  # neither is always the first
        if used == 4:
            c.sock.close()
            c, used = Session(), 0
            c.auth("warm", "up")
            used += 1
        used += 1
        start = time.perf_counter()
        c.auth("nobody" if kind == "unknown" else "app1", "x" * len(secret))
        times[kind].append(time.perf_counter() - start)
    c.sock.close()
    return times


def welch_p(a, b):
    """Two-sided, with the normal distribution in place of Student's: there are many samples. The slowest tenth, when
    the machine did something else, is left out on both sides."""
    a, b = (sorted(x)[:len(x) * 9 // 10] for x in (a, b))
    spread = math.sqrt(statistics.variance(a) / len(a) + statistics.variance(b) / len(b))
    return math.erfc(abs(statistics.mean(a) - statistics.mean(b)) / spread / math.sqrt(2))


results = []
for _ in range(4):  # by chance alone one in a hundred would fail
    times = samples(500)
    results.append(welch_p(times["unknown"], times["wrong"]))
    if results[-1] > 0.01:
        break
tap.ok(results[-1] > 0.01, "atk-E2 unknown user and wrong secret take the same time (Welch)", results)

# E8: a secret in no file of the suite but the shell's that asked for it.
for attempt in (lambda c: c.auth("app1", secret), lambda c: c.auth("app1", secret + "x"), lambda c: c.cmd("AUTH LOGIN") + c.cmd("YXBwMQ==") +
                c.cmd(base64.b64encode(secret.encode()).decode()), lambda c: c.cmd("AUTH NTLM " + secret), lambda c: c.cmd("AUTH PLAIN " + secret)):
    c = Session()
    attempt(c)
    c.sock.close()
needles = [x.encode() for x in (secret, base64.b64encode(f"\0app1\0{secret}".encode()).decode()[12:-4], base64.b64encode(secret.encode()).decode()[:-4])]
found = []
for top, _, names in os.walk(s.dir):
    for name in names:
        path = os.path.join(top, name)
        if os.path.isfile(path):
            with open(path, "rb") as f:
                text = f.read()
            found += [path for n in needles if n in text]
tap.equal(found, [], "atk-E8 A6 the secret stands in no log, database, segment or standard error")

# J15: reload, stop, and kill -9 with live sessions: what was acknowledged arrives.
acked, stop = [], False


def send(number):
    n = 0
    while not stop:
        try:
            with smtplib.SMTP_SSL("127.0.0.1", s.smtps, timeout=10, local_hostname="c.test", context=context) as c:
                c.login("app1", secret)
                while not stop:
                    n += 1
                    subject = f"j15-{number}-{n}"
                    c.sendmail("a@sender.test", ["b@rcpt.test"], mail(subject=subject))
                    acked.append(subject)
        except (OSError, smtplib.SMTPException):
            time.sleep(0.05)


threads = [threading.Thread(target=send, args=(i,)) for i in range(3)]
for t in threads:
    t.start()
steps = 0
for how in ("SIGHUP", "kill -9 smtpd", "SIGHUP", "stop and start", "kill -9 all"):
    before = len(acked)
    wait_for(lambda: len(acked) > before + 5, 30, "mail to be accepted")
    if how == "SIGHUP":
        s.proc.p.send_signal(signal.SIGHUP)
    elif how == "kill -9 smtpd":
        for pid, _ in s.pids("smtpd"):
            os.kill(pid, signal.SIGKILL)
    elif how == "stop and start":
        s.stop()
        s.start()
    else:
        s.kill9()
        s.start()
    before = len(acked)
    wait_for(lambda: len(acked) > before + 5, 40, f"mail to be accepted after {how}")
    tap.ok(True, f"atk-J15 new sessions work after {how}")
stop = True
for t in threads:
    t.join(30)


def missing():
    return set(acked) - {x.decode() for m in list(sink.messages) for x in re.findall(rb"^Subject: (\S+)", m["data"], re.M)}


try:
    wait_for(lambda: not missing(), 60, "every acknowledged message")
except AssertionError:
    pass
tap.equal(sorted(missing())[:5], [], f"atk-J15 all {len(acked)} acknowledged messages arrive")
stderr = open(os.path.join(s.dir, "stderr")).read()
tap.ok("Sanitizer" not in stderr and "runtime error" not in stderr, "no sanitizer speaks", stderr)
tap.equal(s.stop(), 0, "the suite stops")
tap.done()
