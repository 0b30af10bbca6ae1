#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""mtactl trace on the running suite: sessions of all processes at once, without secrets, without content. A6, A8, J16."""
import base64
import os
import smtplib
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from scram import Scram  # noqa: E402
from suite import *  # noqa: E402,F403

signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background job may have inherited that it is ignored
private_network()
ns = Nsd({"rcpt.test": "@ IN MX 10 mx\nmx IN A 127.0.0.2", "two.test": "@ IN MX 10 mx\nmx IN A 127.0.0.2"})
sink = Sink("127.0.0.2", 25)
s = Suite(extra="limits { auth-delay 0s; }\n")
secret = s.tenant()
rival = s.tenant("rival", "app2", "rival.test")
WRONG = "canary-wrong-secret"


class Trace:
    """mtactl trace; .lines() so far."""
    count = 0

    def __init__(self, *args, json_rows=False):
        Trace.count += 1
        self.path = os.path.join(folder(), f"trace{Trace.count}")
        self.json = json_rows
        self.out, self.err = open(self.path, "w"), open(self.path + ".err", "w")
        self.p = Process([f"{BUILD}/mtactl/mtactl", "-c", s.conf] + (["-j"] if json_rows else []) + ["trace", *args],
                         stdout=self.out, stderr=self.err)
        wait_for(lambda: self.text().count("watching") == 4, what="two smtpd and two smtp to be watched")

    def text(self):
        return open(self.path).read()

    def lines(self):
        return [json.loads(x) for x in self.text().splitlines()] if self.json else self.text().splitlines()

    def wait(self, what):
        wait_for(lambda: what in self.text(), what=what)


ours = Trace("--ip=127.0.0.1", "--tenant=acme")
by_ip = Trace("--ip=127.0.0.1")
out = Trace("--domain=rcpt.test", json_rows=True)

# --- Log-ins in every way: good, wrong, with and without an initial response, and a response that nobody asked for.
with smtplib.SMTP("127.0.0.1", s.submission, timeout=30, local_hostname="client.test") as c:
    c.starttls(context=client_context())
    c.ehlo()
    plain = base64.b64encode(f"\0app1\0{WRONG}".encode()).decode()
    c.docmd("AUTH", "PLAIN " + plain)
    c.docmd("AUTH", "LOGIN")
    c.docmd(base64.b64encode(b"app1").decode())
    c.docmd(base64.b64encode(WRONG.encode()).decode())
    c.docmd("AUTH", "NTLM " + plain)
    c.docmd(plain)
    scram = Scram("app1", secret)
    first = scram.first()
    code, challenge = c.docmd("AUTH", "SCRAM-SHA-256 " + first)
    proof = scram.final(challenge.decode())
    code, final = c.docmd(proof)
    code, _ = c.docmd("")
    tap.equal(code, 235, "G7 SCRAM passes while it is watched")
    c.mail("a@sender.test")
    c.rcpt("b@rcpt.test")
    c.data(mail(subject="hidden-subject", body="hidden-body\r\n" * 10))
    c.docmd("NOOP")
submit(s, secret)
submit(s, rival, sender="r@rival.test", rcpts=("rival-rcpt@two.test",), user="app2")
sink.wait(3)
by_ip.wait("rival-rcpt@two.test")
out.wait("221 2.0.0 bye")
ours.wait("disconnect")
secrets = [secret, rival, WRONG, plain, first, proof, challenge.decode(), final.decode(),
           base64.b64encode(f"\0app1\0{secret}".encode()).decode(), base64.b64encode(WRONG.encode()).decode(),
           base64.b64encode(secret.encode()).decode(), base64.b64encode(b"app1").decode()]
for t, who in ((ours, "tenant"), (by_ip, "address"), (out, "domain")):
    tap.equal([x for x in secrets if x in t.text()], [], f"A6 J16 by {who}: no secret in any form")
    tap.ok("hidden" not in t.text(), f"J16 by {who}: no content")
text = by_ip.text()
for want in ("* connect", "< EHLO client.test", "> 220 2.0.0 Ready to start TLS", "* TLSv1.3", "< AUTH PLAIN (masked)",
             "> 535 5.7.8 Error: authentication failed", "< AUTH LOGIN\n", "> 334 (masked)", "< (AUTH response)", "< AUTH (masked)",
             "< (no command)", "< AUTH SCRAM-SHA-256 (masked)", "> 235 2.7.0 Authentication successful", "< MAIL FROM:<a@sender.test>",
             "> 354 End data", "< (content of ", "> 250 2.0.0 Ok: queued as", "< RCPT TO:<rival-rcpt@two.test>",
             "< QUIT", "* disconnect"):
    tap.ok(want.lower() in text.lower(), f"J16 by address: {want.strip()}", text[-3000:])
tap.match(text, r"^\d\d:\d\d:\d\d\.\d{3} smtpd/[01] [0-9a-f.]+ localhost\[127\.0\.0\.1\] < [Ee][Hh][Ll][Oo] client\.test$", "in this form")
text = ours.text()
tap.ok("mail FROM:<a@sender.test>" in text and "rival" not in text, "A8 J16 a tenant's sessions, and no other's", text[-2000:])
rows = [r for r in out.lines() if r["text"] != "watching"]
tap.ok(rows and {r["process"] for r in rows} == {"smtp"} and {r["peer"] for r in rows} <= {"mx.rcpt.test[127.0.0.2]:25", ""},
       "J16 -j by domain: outgoing connections", rows)
tap.ok({"in", "out"} <= {r["direction"] for r in rows} and any(r["text"] == "RCPT TO:<b@rcpt.test>" for r in rows),
       "J16 -j: what goes in and out", rows)
tap.ok("two.test" not in out.text(), "J16 another domain's mail is not seen")

# --- Its end.
by_ip.p.p.send_signal(signal.SIGINT)
tap.ok(by_ip.p.p.wait(10) is not None, "Ctrl-C ends it")
short = Trace("--tenant=acme", "--for=1s")
tap.equal(short.p.p.wait(20), 0, "so does the time that was given, with status 0")
died = Trace("--tenant=acme")
victim = s.pids("smtpd")[0][0]
os.kill(victim, signal.SIGKILL)
wait_for(lambda: "is not watched" in open(died.path + ".err").read(), what="the end of one process to be told")
tap.ok(died.p.p.poll() is None, "a process that dies is told of, the others are watched on")
tap.equal(submit(s, secret)[0], 250, "and mail goes on")

# --- Who may, and wrong use.
for args, why in (((), "of whom"), (("--ip=300.1.1.1",), "no address"), (("--tenant=a", "--for=never"), "duration")):
    r = s.mtactl("trace", *args, check=False)
    tap.ok(r.returncode == 2 and why in r.stderr and r.stderr.count(why) == 1, f"trace {args}: wrong use, said once", r.stderr)
os.chmod(f"{s.dir}/run", 0o755)
r = subprocess.run([f"{BUILD}/mtactl/mtactl", "-c", s.conf, "trace", "--tenant=acme", "--for=2s"], capture_output=True, text=True,
                   user=65534, group=65534, extra_groups=[], timeout=60)
tap.ok(r.returncode == 1 and r.stdout == "", "J16 another user sees nothing", r.stdout + r.stderr)
s.stop()
tap.done()
