#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""What a relay lets its clients do: places, quotas, networks, guessing, rotation, pace, containment."""
import os
import re
import signal
import smtplib
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403
from scram import Scram, b64  # noqa: E402

private_network()


came = []


def behave(stage, arg, session):
    if stage == "mail":
        came.append(time.monotonic())
    if stage == "rcpt" and "unknown" in arg:
        return "550 5.1.1 <x>: no such user"
    if stage == "rcpt" and "later" in arg and not getattr(session.server, "open", False):
        return "451 4.2.0 try again later"
    return None


ns = Nsd({"rcpt.test": "@ IN MX 10 mx\nmx IN A 127.0.0.2", "sender.test": "@ IN MX 5 in\nin IN A 127.0.0.4",
          "xn--r8jz45g.test": "@ IN A 127.0.0.4"})
sink = Sink("127.0.0.2", 25, behave)
inbox = Sink("127.0.0.4", 25)
plain, mx = free_port(), free_port()
LISTENERS = (f"listen plain {{ address 127.0.0.1:{plain}; tls none; auth required; reverse-lookup no; }}\n"
             f"listen second {{ address 127.0.0.1:{mx}; tls none; auth required; reverse-lookup no; }}\n")
LIMITS = ("limits {{ auth-delay 0s; connections-per-client {}; messages-per-hour {}; auth-failures {}; "
          "auth-backoff 2s; errors 1000; }}\n")
MORE = ("retry {{ method linear; a 300; period 86400; }}\n"
        "reputation {{ window 60; sample 20; slow-at 20; slow-to 25; freeze-at {}; {} }}\n")


def settings(places=0, hour=0, failures=0, freeze=0, volume=""):
    return LIMITS.format(places, hour, failures) + MORE.format(freeze, volume)


s = Suite(extra=settings(places=10), listeners=LISTENERS)
secret = s.tenant()


def reload(**kw):
    s.write(settings(**kw))
    wait_for(lambda: s.mtactl("reload", check=False).returncode == 0, 15, "a reload")


class Client:
    def __init__(self, port=plain, source="127.0.0.1", greet=True):
        self.sock = socket.create_connection(("127.0.0.1", port), 20, (source, 0))
        self.file = self.sock.makefile("rb")
        if greet:
            self.greeting = self.reply()
            self.cmd("EHLO client.test")

    def reply(self):
        text = ""
        while True:
            line = self.file.readline().decode()
            text += line
            if line[3:4] != "-":
                return text.rstrip("\r\n")

    def cmd(self, line):
        self.sock.sendall(line.encode() + b"\r\n")
        return self.reply()

    def login(self, user="app1", password=None):
        return self.cmd("AUTH PLAIN " + b64(f"\0{user}\0{secret if password is None else password}"))

    def scram(self, user="app1", password=None):
        x = Scram(user, secret if password is None else password)
        got = self.cmd("AUTH SCRAM-SHA-256 " + x.first())
        got = self.cmd(x.final(got[4:])) if got.startswith("334 ") else got
        return self.cmd("") if got.startswith("334 ") and x.good_server(got[4:]) else got

    def send(self, to=("b@rcpt.test",), sender="a@sender.test"):
        got = self.cmd(f"MAIL FROM:<{sender}>")
        if not got.startswith("250"):
            return got
        got = [self.cmd(f"RCPT TO:<{t}>") for t in to]
        if not any(g.startswith("250") for g in got):
            self.cmd("RSET")
            return got[0]
        self.cmd("DATA")
        return self.cmd(mail(sender="a@sender.test") + "\r\n.")

    def close(self):
        self.file.close()
        self.sock.close()


def client(**kw):
    c = Client(**kw)
    got = c.login()
    if not got.startswith("235"):
        raise AssertionError(got)
    return c


# A30: places, over both ports and both workers

held = [Client(port=mx if i % 2 else plain) for i in range(10)]
c = Client(greet=False)
tap.match(c.reply(), r"^421 4\.7\.0 mta\.test Error: too many connections from 127\.0\.0\.1$", "A30 the 11th")
c = Client(source="127.0.0.9")
tap.match(c.cmd("NOOP"), "^250", "A30 another address has places of its own")
c.close()
held.pop().close()
wait_for(lambda: Client().greeting.startswith("220") or None, 5, "a place")
tap.ok(True, "A30 closing one frees a place")
for h in held:
    h.close()
time.sleep(0.3)
held = [Client() for _ in range(10)]
for pid, _ in s.pids("smtpd"):
    os.kill(pid, signal.SIGKILL)
wait_for(lambda: len(s.pids("smtpd")) == 2, 10, "new workers")


def ten():
    try:
        new = [Client() for _ in range(10)]
    except OSError:
        return None
    good = all(n.greeting.startswith("220") for n in new)
    for n in new:
        n.close()
    return good or None


wait_for(ten, 10, "ten places")
tap.ok(True, "A30 dead workers gave their places back")
for h in held:
    h.close()
reload()

# G7: SCRAM against what the store keeps

c = Client()
tap.match(c.scram(), "^235", "G7 SCRAM-SHA-256 with a key's secret")
tap.match(c.send(), "^250", "G7 and mail goes")
tap.match(Client().scram(password="wrong"), "^535 5.7.8", "G7 a wrong secret")
a = Client().cmd("AUTH SCRAM-SHA-256 " + Scram("nobody", "x").first())
b = Client().cmd("AUTH SCRAM-SHA-256 " + Scram("nobody", "x").first())
salt = [__import__("base64").b64decode(x[4:]).decode().split(",s=")[1] for x in (a, b)]
tap.equal(salt[0], salt[1], "atk-E2 who does not exist has a salt, and always the same one")
os.kill(s.pids("authd")[0][0], signal.SIGKILL)
wait_for(lambda: s.mtactl("tenant", "list", check=False).returncode == 0, 10, "authd")
a = Client().cmd("AUTH SCRAM-SHA-256 " + Scram("nobody", "x").first())
tap.equal(__import__("base64").b64decode(a[4:]).decode().split(",s=")[1], salt[0],
          "atk-E2 also after authd was started again")
# Its exit status tells what became of its standard input behind the log-in; its words tell of the log-in, with
# the signature of the server checked.
r = subprocess.run(["gsasl", "--smtp", "--no-starttls", "--connect", f"127.0.0.1:{plain}", "-m",
                    "SCRAM-SHA-256", "-a", "app1", "-p", secret], input="QUIT\n", capture_output=True, text=True,
                   timeout=30)
said = r.stdout + r.stderr
tap.ok("235 2.7.0" in said and "finished (server trusted)" in said, "G7 gsasl, a client of others, logs in", said)

# A7: two secrets for a time, by every mechanism

rows = s.mtactl("key", "rotate", "app1", "--overlap", "1h", json_rows=True)
former, secret = secret, rows[0]["secret"]
for name, password in (("new", secret), ("former", former)):
    tap.match(Client().login(password=password), "^235", f"A7 {name} secret, PLAIN")
    tap.match(Client().scram(password=password), "^235", f"A7 {name} secret, SCRAM")
secret = s.mtactl("key", "rotate", "app1", json_rows=True)[0]["secret"]
for password in (former, rows[0]["secret"]):
    tap.match(Client().login(password=password), "^535", "A7 without overlap the former one ends at once")
    tap.match(Client().scram(password=password), "^535", "A7 SCRAM likewise")

# A8, G3, A4, expiry: all refused with one text, each with its reason in the log

for what, undo, why in (
        (("key", "set", "app1", "--networks", "192.0.2.0/24,2001:db8::/32"), ("key", "set", "app1", "--networks="),
         "address is outside of the allowed networks"),
        (("tenant", "set", "acme", "--networks", "10.0.0.0/8"), ("tenant", "set", "acme", "--networks="),
         "address is outside of the allowed networks"),
        (("key", "set", "app1", "--rights", "none"), ("key", "set", "app1", "--rights", "send"),
         "key has no right to send"),
        (("key", "set", "app1", "--expires", "2020-01-01T00:00:00Z"), ("key", "set", "app1", "--expires", "never"),
         "key has expired"),
        (("key", "freeze", "app1"), ("key", "thaw", "app1"), "key is frozen"),
        (("tenant", "freeze", "acme"), ("tenant", "thaw", "acme"), "tenant is frozen"),
        (("tenant", "disable", "acme"), ("tenant", "enable", "acme"), "tenant is disabled")):
    c = client()
    s.mtactl(*what)
    tap.match(c.cmd("MAIL FROM:<a@sender.test>"), "^550 5.7.1 .*not enabled for this account",
              f"A8 G3 A4 in force at once, in a session that is there: {why}")
    d = Client()
    tap.equal(d.login(), "535 5.7.8 Error: authentication failed", f"A8 G3 A4 log-in refused: {why}")
    tap.equal(d.scram(), "535 5.7.8 Error: authentication failed", f"A8 G3 A4 by SCRAM too: {why}")
    tap.ok(s.wait_log(f"authentication failed: {why}, sasl_username=app1"), f"A8 the log has the reason: {why}")
    s.mtactl(*undo)
    tap.match(c.cmd("MAIL FROM:<a@sender.test>"), "^250", f"and ends at once: {undo}")
s.mtactl("key", "set", "app1", "--networks", "127.0.0.0/8")
tap.match(Client().login(), "^235", "A8 P13 from inside of the list")
s.mtactl("key", "set", "app1", "--networks=")

# G8, ATTACKS E5 and E13: one canonical form

s.mtactl("domain", "add", "acme", "xn--r8jz45g.test", "--verified")
for domain, want in (("SENDER.Test", "250"), ("sender.test.", "250|501"), ("sub.sender.test", "550 5.7.1"),
                     ("sender.test.evil.example", "550 5.7.1"), ("xsender.test", "550 5.7.1"),
                     ("XN--R8JZ45G.test", "250"), ("xn--ender-t5e.test", "550 5.7.1"),
                     ("[127.0.0.1]", "550 5.7.1")):
    c = client()
    tap.match(c.cmd(f"MAIL FROM:<a@{domain}>"), f"^({want})", f"G8 atk-E5 atk-E13 {domain}")
    c.close()

# A29, G18, P20: quotas

s.mtactl("tenant", "set", "acme", "--quota-hour", str(s.mtactl("quota", "show", "acme", json_rows=True)[1]["used"] + 3))
c = client()
got = [c.send() for _ in range(4)]
tap.ok(all(g.startswith("250") for g in got[:3]), "A29 three messages are within the quota", got)
tap.match(got[3], r"^452 4\.7\.0 Error: quota of \d+ messages an hour for tenant acme is used up; "
          r"the next is taken in (\d+) s$", "A29 P20 the fourth: which quota, and when it frees")
wait = int(re.search(r"in (\d+) s", got[3]).group(1))
tap.ok(3400 < wait <= 3660, "P20 within the hour", wait)
row = s.mtactl("quota", "show", "acme", json_rows=True)[1]
tap.ok(row["quota"] == "quota-hour" and row["used"] == row["limit"] and row["frees"], "G19 limit and use are shown", row)
for policy, want in (("reject", "^550 5.7.0 Error: quota of"), ("defer", "^452 4.7.0")):
    s.mtactl("key", "set", "app1", "--over-quota", policy)
    tap.match(c.send(), want, f"A29 over-quota {policy}")
s.mtactl("key", "set", "app1", "--over-quota", "hold")
tap.match(c.send(), "^250", "A29 over-quota hold: taken")
wait_for(lambda: s.queue_count()["held"] == 1 or None, 10, "a held message")
tap.ok(True, "A29 and held in the queue")
s.mtactl("queue", "release", "--all", "--yes")
s.mtactl("key", "set", "app1", "--over-quota", "defer")
s.mtactl("tenant", "set", "acme", "--quota-hour", "none")
tap.match(c.send(), "^250", "G19 raised without a restart")
s.mtactl("key", "set", "app1", "--quota-minute", "1", "--over-quota", "defer")
c.send()
tap.match(c.send(), "^452 4.7.0 Error: quota of 1 messages a minute for key app1", "A29 a key's own")
s.mtactl("key", "set", "app1", "--quota-minute", "none")
used = s.mtactl("quota", "show", "app1", json_rows=True)[0]["used"]
c.cmd("MAIL FROM:<a@sender.test>")
c.cmd("RSET")
time.sleep(0.2)
tap.equal(s.mtactl("quota", "show", "app1", json_rows=True)[0]["used"], used, "A29 what came to nothing costs nothing")
s.mtactl("key", "set", "app1", "--rcpt-hour", str(s.mtactl("quota", "show", "app1", json_rows=True)[4]["used"] + 2))
c.cmd("MAIL FROM:<a@sender.test>")
got = [c.cmd(f"RCPT TO:<{x}@rcpt.test>") for x in "xyz"]
tap.ok([g[:3] for g in got] == ["250", "250", "452"] and "recipients an hour for key app1" in got[2],
       "A29 by recipients", got)
c.cmd("RSET")
s.mtactl("key", "set", "app1", "--rcpt-hour", "none")

# A22: an answer to MAIL that was given in advance ends with a change

c = client()
got = [c.send() for _ in range(6)]
tap.ok(all(g.startswith("250") for g in got), "A22 one message after the other", got)
s.mtactl("tenant", "disable", "acme")
tap.match(c.cmd("MAIL FROM:<a@sender.test>"), "^550 5.7.1", "A22 a tenant that was just disabled sends no more")
s.mtactl("tenant", "enable", "acme")
tap.match(c.send(), "^250", "and when it was enabled it does")
before = s.mtactl("quota", "show", "acme", json_rows=True)[1]["used"]
for _ in range(40):
    c.send()
wait_for(lambda: s.mtactl("quota", "show", "acme", json_rows=True)[1]["used"] == before + 40 or None, 5, "40 more counted")
tap.ok(True, "A29 messages that were not asked about are counted")

# G18: kill -9 costs at most what was used since the last flush

c = client()
before = s.mtactl("quota", "show", "acme", json_rows=True)[1]["used"]
for _ in range(20):
    c.send()
time.sleep(1.3)
for _ in range(5):
    c.send()
os.kill(s.pids("authd")[0][0], signal.SIGKILL)
wait_for(lambda: s.mtactl("tenant", "list", check=False).returncode == 0, 10, "authd")
after = s.mtactl("quota", "show", "acme", json_rows=True)[1]["used"]
tap.ok(before + 20 <= after <= before + 25, "G18 A29 after kill -9 only the last second is forgotten",
       (before, after))
s.stop()
s.start()
tap.equal(s.mtactl("quota", "show", "acme", json_rows=True)[1]["used"], after, "G18 a restart forgets nothing")
c = client()

# ATTACKS E1: guessing

reload(failures=5)
s.mtactl("key", "freeze", "app1")
for i in range(8):
    Client(source="127.0.0.67").login()
tap.match(Client(source="127.0.0.67", greet=False).reply(), "^220", "the right secret of a frozen key is no guess")
s.mtactl("key", "thaw", "app1")
for i in range(5):
    Client(source="127.0.0.66").login(user=f"guess{i}", password="x")
tap.match(Client(source="127.0.0.66", greet=False).reply(), r"^421 4\.7\.0 mta\.test Error: too many failed "
          "authentications, try again in [12] s$", "atk-E1 an address that guesses has to wait")
tap.ok(s.wait_log(r"NOQUEUE: reject: CONNECT from \S+\[127\.0\.0\.66\]: 421"), "atk-E1 it is in the log")
for i in range(20):
    Client(source=f"127.1.{i}.1").login(password="x")
d = Client(source="127.2.0.1")
tap.match(d.login(), "^235", "atk-E1 app1 is guessed at from everywhere: elsewhere it logs in")
d = Client(source="127.1.3.1")
tap.match(d.login(password="x"), r"^454 4\.7\.0 Error: too many failed authentications",
          "atk-E1 but who guessed has to wait")
t = time.monotonic()
wait_for(lambda: Client(source="127.0.0.66", greet=False).reply().startswith("220") or None, 10, "the end of back-off")
tap.ok(True, "atk-E1 and may come again", time.monotonic() - t)
reload()

# A28: a tenant whose mail fails is slowed, never stopped, and recovers

s.mtactl("tenant", "add", "other", "--enabled")
s.mtactl("domain", "add", "other", "other.test", "--verified")
c = client()
for i in range(3):
    c.send(to=[f"unknown{i}.{k}@rcpt.test" for k in range(10)])
tap.ok(s.wait_log(r"tenant acme: \d+ of \d+ recipients failed: delivery slowed to 25%"), "A28 slowed, with the figures")
row = s.mtactl("tenant", "show", "acme", json_rows=True)[0]
tap.ok(row.get("pace") == 25 or 25 in row.values(), "A28 the state is shown", row)
n = len(sink.messages)
del came[:]
for _ in range(40):
    c.send()
    time.sleep(0.15)
sink.wait(n + 40, 60)
tap.ok(True, "A28 all of it is delivered")
early = sum(t % 4 < 2 for t in came[:40])
tap.ok(early >= 32, "A28 in its part of each period of 4 s", came)
tap.ok(s.wait_log("tenant acme: delivery at its normal pace again", 90), "A28 it recovers by itself")

# Containment

c.send(to=["later@rcpt.test"])
wait_for(lambda: s.queue_count()["deferred"] >= 1 or None, 15, "a deferred message")
reload(freeze=30)
for i in range(4):
    c.send(to=[f"unknown9{i}.{k}@rcpt.test" for k in range(10)])
tap.ok(s.wait_log(r"key app1 of tenant acme frozen: \d+ of \d+ recipients failed"), "containment: frozen by itself")
tap.match(c.cmd("MAIL FROM:<a@sender.test>"), "^550 5.7.1", "containment: nothing new")
wait_for(lambda: s.queue_count()["held"] >= 1 or None, 15, "held mail")
rows = s.mtactl("queue", "list", json_rows=True)
tap.ok(any("its key is frozen" in str(r) for r in rows), "containment: what is queued is held, with the reason", rows)
s.mtactl("queue", "release", "--all", "--yes")
time.sleep(0.3)
tap.ok(s.queue_count()["held"] >= 1, "containment: a release does not get around it", s.queue_count())
row = s.mtactl("key", "show", "app1", json_rows=True)[0]
tap.ok(row["frozen"] and "failed" in row["frozen_reason"], "containment: shown with its reason", row)
tap.ok("frozen" in s.mtactl("audit").stdout, "containment: in the audit trail")
os.kill(s.pids("qmgr")[0][0], signal.SIGKILL)
wait_for(lambda: s.mtactl("queue", "count", check=False).returncode == 0, 15, "qmgr")
time.sleep(0.5)
tap.ok(s.queue_count()["held"] >= 1, "containment: held over a crash of qmgr", s.queue_count())
sink.open = True
n = len(sink.messages)
reload()
s.mtactl("key", "thaw", "app1")
sink.wait(n + 1, 20)
tap.ok(True, "containment: thawed, it is delivered")
sink.open = False
c = client()
c.send(to=["later@rcpt.test"])
wait_for(lambda: s.queue_count()["deferred"] >= 1 or None, 15, "a deferred message")
s.mtactl("key", "freeze", "app1", "--reason", "on the phone")
wait_for(lambda: s.queue_count()["held"] >= 1 or None, 15, "held mail")
s.mtactl("key", "purge", "app1")
wait_for(lambda: s.queue_count()["messages"] == 0 or None, 15, "an empty queue")
tap.ok(True, "containment: purged")
s.mtactl("key", "thaw", "app1")
reload(volume="freeze-volume 3; freeze-floor 5;")
c = client()
got = [c.send() for _ in range(3)]
tap.ok(any(g.startswith("550 5.7.1") for g in got), "containment: more than its usual volume", got)
tap.ok(s.wait_log(r"key app1 of tenant acme frozen: \d+ messages in 24 hours, usually \d+ a day"),
       "containment: frozen with the figures")

text = s.log()
tap.ok(secret not in text and former not in text, "atk-E8 no secret in the log")
s.stop()
tap.done()
