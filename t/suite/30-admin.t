#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The admin's view: queue commands, reload, disabled tenants, revoked keys, offline work."""
import os
import re
import smtplib
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

private_network()
ns = Nsd({"rcpt.test": "@ IN MX 10 mx\nmx IN A 127.0.0.2", "two.test": "@ IN MX 10 mx\nmx IN A 127.0.0.2"})
sink = Sink("127.0.0.2", 25)
s = Suite(extra="retry { method linear; a 300; period 86400; }\n")
secret = s.tenant()

rows = s.mtactl("status", json_rows=True)
tap.equal(sorted({r["role"] for r in rows} - {"master"}), sorted(
    ["smtpd", "authd", "signd", "qmgr", "smtp", "bounce", "dnsd"]), "status shows every role")

# Keys
shown = s.mtactl("key", "show", "app1").stdout + s.mtactl("key", "list").stdout
tap.ok(secret not in shown and "app1" in shown, "A6 show and list never print the secret")
tap.ok(len(secret) >= 27, "A5 at least 160 random bits")
r = s.mtactl("key", "issue", "acme", "app1", check=False)
tap.ok(r.returncode != 0, "A5 A7 a user name is issued once", r.stdout)
text = s.mtactl("key", "issue", "acme", "2b0c7f5e-8a5c-4c53-9a39-0f7d9f2d5f10").stdout
tap.match(text, r"^user: 2b0c7f5e-8a5c-4c53-9a39-0f7d9f2d5f10\n(.*\n)*secret: \S+$", "G7 a UUID user name; user: and secret:")
raw = b"".join(open(os.path.join(dp, f), "rb").read() for dp, _, fs in os.walk(os.path.join(s.dir, "state"))
               for f in fs)
tap.ok(secret.encode() not in raw, "A6 the store holds a hash only")

# Disabled tenant, revoked key
s.mtactl("tenant", "disable", "acme")
try:
    code, _ = submit(s, secret)
    refused = code >= 500
except smtplib.SMTPException:
    refused = True
tap.ok(refused, "A4 a key of a disabled tenant is refused")
s.mtactl("tenant", "enable", "acme")
tap.equal(submit(s, secret)[0], 250, "A4 accepted after the tenant is enabled")
s.mtactl("domain", "add", "acme", "pending.test")
with smtplib.SMTP_SSL("127.0.0.1", s.smtps, context=client_context()) as c:
    c.login("app1", secret)
    code, text = c.mail("x@pending.test")
    tap.ok(code == 550 and text.startswith(b"5.7.1"), "G2 a pending domain -> 550 5.7.1", (code, text))
sink.wait(1)

# The queue: hold, show, release, flush, delete, bounce
sink.reply = lambda stage, arg, session: "450 4.2.1 wait" if stage == "rcpt" else None
ids = [submit(s, secret, rcpts=(f"u{i}@{'two' if i % 2 else 'rcpt'}.test",))[1].split()[-1] for i in range(4)]
wait_for(lambda: [r["state"] for r in s.mtactl("queue", "list", json_rows=True)] == ["deferred"] * 4,
         what="four deferred")
count = s.queue_count()
tap.equal((count["messages"], count["recipients"]), (4, 4), "queue count")
rows = s.mtactl("queue", "list", "--domain=two.test", json_rows=True)
tap.equal(sorted(r["rcpt"] for r in rows), ["u1@two.test", "u3@two.test"], "queue list --domain")
tap.ok(all("450 4.2.1 wait" in str(r) for r in rows), "with the last remote reply", rows)
shown = s.mtactl("queue", "show", ids[0], "--content").stdout
tap.ok("u0@rcpt.test" in shown and "Hello" in shown, "queue show --content", shown)
s.mtactl("queue", "hold", ids[0])
tap.equal([r["state"] for r in s.mtactl("queue", "list", f"--id={ids[0]}", json_rows=True)], ["held"], "queue hold")
sink.reply = lambda stage, arg, session: None
s.mtactl("queue", "flush", "--all")
sink.wait(4)
time.sleep(0.3)
tap.equal(sorted(r for m in sink.messages[1:] for r in m["rcpts"]), ["u1@two.test", "u2@rcpt.test", "u3@two.test"],
          "queue flush tries all but the held one")
tap.equal(s.stop(), 0, "stop with a held message")
s.start()
tap.equal([r["state"] for r in s.mtactl("queue", "list", json_rows=True)], ["held"], "a hold survives a restart")
s.mtactl("queue", "release", "-", stdin=ids[0] + "\n")
sink.wait(5)
tap.equal(sink.messages[4]["rcpts"], ["u0@rcpt.test"], "queue release with ids on standard input")
r = s.mtactl("queue", "delete", check=False)
tap.equal(r.returncode, 2, "a bulk command without ids or filter is refused")

# Reload: sessions go on, new settings apply, errors leave the old configuration
with smtplib.SMTP("127.0.0.1", s.submission) as c:
    c.starttls(context=client_context())
    c.login("app1", secret)
    s.write("limits { message-size 20M; messages-per-connection 7; }\n")
    s.mtactl("reload")
    tap.equal(c.docmd("NOOP")[0], 250, "a session survives the reload")
with smtplib.SMTP("127.0.0.1", s.submission) as c:
    c.ehlo()
    tap.equal(c.esmtp_features.get("size"), "20971520", "new sessions see the new setting")
s.write("limits {\n  mesage-size 20M\n}\n")
r = s.mtactl("reload", check=False)
line = open(s.conf).read().split("\n").index("  mesage-size 20M") + 1
tap.ok(r.returncode == 1 and re.search(rf"ekiden\.conf:{line}:3: .*mesage-size.*message-size", r.stderr),
       "C26 an invalid configuration is refused with file:line:column and the nearest name", r.stderr)
s.write("retry { method linear; a 90000; period 86400; }\n")
r = s.mtactl("reload", check=False)
tap.ok(r.returncode == 1 and re.search(r"ekiden\.conf:\d+:\d+: .*", r.stderr), "C12 a >= period is refused",
       r.stderr)
with smtplib.SMTP("127.0.0.1", s.submission) as c:
    c.ehlo()
    tap.equal(c.esmtp_features.get("size"), "20971520", "C26 the old configuration stays")
s.write("")
s.mtactl("reload")

# Down: clear words; offline work
s.stop()
r = s.mtactl("queue", "list", check=False)
tap.ok(r.returncode == 1 and "not running" in r.stderr, "with the suite down a clear error", r.stderr)
s.mtactl("--offline", "tenant", "add", "later", "--enabled")
secret2 = s.mtactl("--offline", "key", "issue", "later", "app9", json_rows=True)[0]["secret"]
s.mtactl("--offline", "domain", "add", "later", "later.test", "--verified")
s.start()
code, text = submit(s, secret2, sender="z@later.test", user="app9")
tap.equal(code, 250, "what was made offline works")
tap.equal(s.stop(), 0, "stop")
tap.done()
