#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""ATTACKS E: log-in and rights as far as smtpd decides them; what authd decides is in t/suite/70-rights.t."""

import base64
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from evil import GOOD, SRC, Smtpd, attack, cpu_seconds, is_reply, ready, tap  # noqa: E402

CANARY = "Kanarienvogel-4711"
s = Smtpd(limits="\terrors 100")


def b64(data):
    return base64.b64encode(data.encode("latin-1") if isinstance(data, str) else data).decode()


# E1: what there is against guessing: five failures a connection, and nobody else waits for the guesser.
start, before, seen = time.monotonic(), cpu_seconds(s.pid), set()
slowest = 0.0
for i in range(200):
    c = s.connect("key")
    c.cmd("EHLO a")
    codes = []
    while c.code != 421 and len(codes) < 10:
        codes.append(c.cmd("AUTH PLAIN " + b64(f"\0user{i % 7}\0guess{i}.{len(codes)}"))[:3])
    seen.add(tuple(codes))
    c.close()
    if i % 20 == 0:
        at = time.monotonic()
        good = s.connect("key")
        good.cmd("EHLO good")
        good.cmd("AUTH PLAIN " + GOOD)
        is_reply(good.cmd("MAIL FROM:<a@acme.example>"), "250", "atk-E1 the right key is not locked out")
        good.close()
        slowest = max(slowest, time.monotonic() - at)
tap.equal(seen, {("535",) * 4 + ("421",)}, "atk-E1 1,000 guesses: five a connection, then 421")
tap.ok(slowest < 2, "atk-E1 others are served meanwhile", f"{slowest:.2f} s")
tap.ok(cpu_seconds(s.pid) - before < 5, "atk-E1 the CPU it takes is bounded", cpu_seconds(s.pid) - before)
slow = Smtpd(name="slow", limits="\tauth-delay 1s")
c = slow.connect("key")
c.cmd("EHLO a")
at = time.monotonic()
c.cmd("AUTH PLAIN " + b64("\0app\0wrong"))
took = time.monotonic() - at
at = time.monotonic()
other = slow.ready("key")
is_reply(other.cmd("MAIL FROM:<a@acme.example>"), "250", "atk-E1 the delay of one is not that of another")
tap.ok(took > 0.9 and time.monotonic() - at < 0.8, "atk-E1 a failure is answered late", took)
tap.ok(not slow.unharmed("atk-E1", "key"), "atk-E1 a session that waits")
slow.end()

# E3: PLAIN has three fields, LOGIN two responses; a name may be missing, the process may not.
for what, text, want in (
        ("nothing", "", "501"), ("one NUL", "\0", "501"), ("two NULs", "\0\0", "535"), ("three NULs", "\0\0\0", "501"),
        ("no user", "\0\0good", "535"), ("no secret", "\0app\0", "535"), ("no NUL", "appgood", "501"), ("authzid alone", "app\0\0", "501"),
        ("another authzid", "root\0app\0good", "501"), ("own authzid", "app\0app\0good", "235"), ("authzid in other case", "APP\0app\0good", "501"),
        ("a thousand NULs", "\0" * 1000, "501"), ("a user of 1,024", "\0" + "u" * 1024 + "\0wrong", "535"),
        ("a user of 1,025", "\0" + "u" * 1025 + "\0good", "535"), ("8-bit", "\0\xff\xfe\0wrong", "535"), ("a newline", "\0a\r\nb\0wrong", "535"),
        ("NUL at the end", "\0app\0good\0", "501")):
    for command in ("AUTH PLAIN " + (b64(text) or "="), None):
        c = s.connect("key")
        c.cmd("EHLO a")
        got = c.cmd(command) if command else (c.cmd("AUTH PLAIN"), c.cmd(b64(text)))[1]
        tap.ok(got.startswith(want) and c.cmd("MAIL FROM:<a@acme.example>")[:3] == ("250" if want == "235" else "530"),
               f"atk-E3 {what}{' with AUTH' if command else ''}", got)
        c.close()
for user, secret in (("app\0x", "good"), ("", "good"), ("app", ""), ("\0", "\0"), ("x" * 9000, "good")):
    c = s.connect("key")
    c.cmd("EHLO a")
    c.cmd("AUTH LOGIN")
    c.cmd(b64(user))
    got = c.cmd(b64(secret))
    is_reply(got, "535 5.7.8", f"atk-E3 LOGIN with {user[:8]!r}")
    c.close()
tap.equal(s.unharmed("atk-E3", "key"), [], "atk-E3 no message came of it")

# E7
for port in ("key", "submission", "smtps", "net"):
    attack(s, "E7", "A21 the null sender of a relay client", port, "MAIL FROM:<>\r\n", ["550 Syntax Error"])

# E8: every form of AUTH, with a secret that must be nowhere.
SECRET = b64("\0app\0" + CANARY)
for lines in (["AUTH PLAIN " + SECRET], ["AUTH PLAIN", SECRET], ["AUTH LOGIN", b64("app"), b64(CANARY)], ["AUTH LOGIN " + b64("app"), b64(CANARY)],
              ["AUTH  PLAIN " + SECRET], ["AUTH PLAIN  " + SECRET], ["auth plain " + SECRET + "="], ["AUTH NTLM " + SECRET], [" AUTH PLAIN " + SECRET],
              ["AUTH\tPLAIN " + SECRET], ["AUTH PLAIN " + SECRET + " " + SECRET], ["AUTH PLAIN", SECRET + "\0"], ["AUTH PLAIN\x01 " + SECRET],
              ["XAUTH PLAIN " + SECRET], ["AUTH PLAIN", "AUTH PLAIN " + SECRET], ["NOOP AUTH PLAIN " + SECRET + "\0"],
              ["AUTH LOGIN", b64("app"), b64(CANARY) + "\n"], ["AUTH PLAIN " + SECRET + "A" * 13000]):
    for port in ("key", "mx", "submission"):
        c = s.connect(port)
        c.cmd("EHLO a")
        for line in lines:
            c.cmd(line)
        c.close()
s.unharmed("atk-E8", "key")
time.sleep(0.2)
with open(os.path.join(s.dir, "events")) as f:
    text = s.log() + f.read() + s.complaints()
found = [x for x in (CANARY, b64(CANARY)[:-4], SECRET[8:-4]) if x in text]
tap.equal(found, [], "atk-E8 no secret in log, events or standard error, however AUTH is spelt")
with open("/proc/%d/limits" % s.pid) as f:
    tap.match(f.read(), r"^Max core file size +0 ", "atk-E8 no core file would hold one")

# E9: one identity, once; only the end of the session ends it.
c = s.ready("submission")
got = [c.cmd(x)[:9] for x in ("AUTH PLAIN " + GOOD, "RSET", "AUTH LOGIN", "EHLO b", "AUTH PLAIN " + GOOD, "HELO b", "AUTH PLAIN " + GOOD, "STARTTLS")]
tap.equal(got, ["503 5.5.1", "250 2.0.0", "503 5.5.1", "250-mta.t", "503 5.5.1", "250 mta.t", "503 5.5.1", "503 5.5.1"], "atk-E9 A02 AUTH again")
c.close()
c = ready(s, "mx")
is_reply(c.cmd("STARTTLS"), "503 5.5.1", "atk-E9 no TLS within TLS")
c.close()
c = s.connect("mx")
c.cmd("EHLO a")
c.cmd("AUTH PLAIN " + GOOD)
c.starttls()
c.cmd("EHLO a")
c.cmd("MAIL FROM:<a@acme.example>")
is_reply(c.cmd("RCPT TO:<b@dest.example>"), "554 5.7.1", "atk-E9 A3 a key typed before TLS opens nothing behind it")
c.close()

# E10: harvesting.
c = s.connect("mx")
c.cmd("EHLO a")
got = {c.cmd(f"VRFY {name}")[:9] for name in ("root", "postmaster", "nobody-here", "a@acme.example")}
got |= {c.cmd(f"EXPN {name}")[:9] for name in ("root", "staff")}
tap.equal(got, {"252 2.0.0", "502 5.5.1"}, "atk-E10 S39 VRFY and EXPN tell nothing")
c.close()
c = s.connect("mx")
c.cmd("EHLO a")
c.cmd("MAIL FROM:<>")
codes = []
while c.code != 421 and c.code and len(codes) < 200:
    codes.append(c.cmd(f"RCPT TO:<user{len(codes)}@acme.example>")[:3])
    if len(codes) == 100:
        codes.append(c.reply()[:3])
tap.equal((set(codes[:-1]), codes[-1], len(codes)), ({"554"}, "421", 101), "atk-E10 asking for recipients ends at the error budget")
c.close()

# E11, E12: no shell anywhere.
calls = []
for top, folders, names in os.walk(SRC):
    folders[:] = [d for d in folders if not d.startswith((".", "build", "autom4te")) and d not in ("t", "bench", "run")]
    for name in names:
        if name.endswith((".c", ".h")):
            with open(os.path.join(top, name)) as f:
                for number, line in enumerate(f, 1):
                    m = re.search(r"\b(system|popen|wordexp|execl|execlp|execle|execvp|execvpe|posix_spawnp?)\s*\(", line)
                    if m:
                        calls.append(f"{name}:{number} {m[1]}")
tap.equal(calls, [], "atk-E11 no source calls a shell or searches a path for a program")
for sender in (";touch x;", "|touch x", "`touch x`@acme.example", "$(touch x)@acme.example"):
    attack(s, "E11", f"sender {sender}", "net", f"MAIL FROM:<{sender}>\r\n", ["501 5.1.7"])

# E13: names that look like others are no names without SMTPUTF8.
for domain in ("\u0430cme.example", "acm\u0435.example", "acme.\u0435xample", "acme\u3002example", "ac\u200dme.example", "\uff41cme.example"):
    attack(s, "E13", f"sender domain {ascii(domain)}", "net", f"MAIL FROM:<a@{domain}>\r\n".encode(), ["501 5.1.7"])
s.end()
tap.done()
