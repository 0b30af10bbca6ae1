#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The way of a message: submitted by real clients, spooled, routed by DNS, delivered, deferred, returned."""
import email
import os
import re
import smtplib
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

private_network()


def behave(stage, arg, session):
    if stage == "rcpt" and "unknown" in arg:
        return "550 5.1.1 <x>: no such user"
    if stage == "rcpt" and "full" in arg:
        return "552 5.2.2 mailbox full"
    if stage == "rcpt" and "later" in arg and not getattr(session.server, "open", False):
        return "451 4.2.0 try again later"
    return None


ns = Nsd({
    "rcpt.test": "@ IN MX 20 backup\n@ IN MX 10 mx\nmx IN A 127.0.0.2\nbackup IN A 127.0.0.3",
    "sender.test": "@ IN MX 5 in\nin IN A 127.0.0.4",
    "nomx.test": "@ IN A 127.0.0.2",
    "null.test": "@ IN MX 0 .",
    "down.test": "@ IN MX 10 dead\n@ IN MX 20 up\ndead IN A 127.0.0.9\nup IN A 127.0.0.2",
    "alias.test": "mail IN CNAME target\ntarget IN MX 1 h\nh IN A 127.0.0.2",
    "loop.test": "@ IN MX 10 mta.test.\n",
    "mta.test": "@ IN A 127.0.0.1",
})
sink = Sink("127.0.0.2", 25, behave, tls=make_certificate("mx.rcpt.test"))
inbox = Sink("127.0.0.4", 25)
s = Suite(extra="local-domains mta.test\nretry { method linear; a 2; period 60; }\n")
secret = s.tenant()

# Python smtplib
code, text = submit(s, secret, subject="one", body="line\r\n.dot\r\n..two\r\n")
tap.ok(code == 250 and re.fullmatch(r"2\.0\.0 Ok: queued as \w+", text),
       "A1 G8 an authenticated client's mail is accepted", (code, text))
qid = text.split()[-1]
got = sink.wait(1)[0]
tap.equal(got["sender"], "a@sender.test", "E3 delivered to the best MX: envelope sender")
tap.equal(got["rcpts"], ["b@rcpt.test"], "envelope recipient")
tap.ok(got["data"].endswith(b"\r\n\r\nline\r\n.dot\r\n..two\r\n"), "S18 A24 the body is byte-identical",
       got["data"])
tap.match(got["data"].decode(), r"\AReceived: from client\.test by mta\.test;\s+\w{3}, ",
          "C1 abbreviated Received by default")
tap.ok(got["tls"], "opportunistic STARTTLS to the MX")
tap.equal(got["helo"], "mta.test", "EHLO is our host name")

# curl and swaks
message = os.path.join(folder(), "m.eml")
open(message, "w").write(mail(subject="curl"))
r = subprocess.run(["curl", "-sS", "--ssl-reqd", "-k", "--url", f"smtp://127.0.0.1:{s.submission}",
                    "--user", f"app1:{secret}", "--mail-from", "a@sender.test", "--mail-rcpt",
                    "c@rcpt.test", "--upload-file", message], capture_output=True, text=True, timeout=60)
tap.equal(r.returncode, 0, "curl hands in a message over STARTTLS")
r = subprocess.run(["curl", "-sS", "-k", "--url", f"smtps://127.0.0.1:{s.smtps}", "--user",
                    f"app1:{secret}", "--login-options", "AUTH=LOGIN", "--mail-from", "a@sender.test",
                    "--mail-rcpt", "d@rcpt.test", "--upload-file", message], capture_output=True,
                   text=True, timeout=60)
tap.equal(r.returncode, 0, "A9 G5 T05 curl hands in a message over implicit TLS with AUTH LOGIN")
r = subprocess.run(["swaks", "--server", "127.0.0.1", "--port", str(s.submission), "-tls", "--auth",
                    "PLAIN", "--auth-user", "app1", "--auth-password", secret, "--from",
                    "a@sender.test", "--to", "e@rcpt.test", "--helo", "swaks.test"],
                   capture_output=True, text=True, timeout=60)
tap.ok(r.returncode == 0, "swaks hands in a message", r.stdout[-1500:])
sink.wait(4)
tap.equal(sorted(m["rcpts"][0][0] for m in sink.messages[1:4]), ["c", "d", "e"], "all three arrive")

# What must be refused
with smtplib.SMTP("127.0.0.1", s.submission, local_hostname="client.test") as c:
    c.ehlo()
    tap.ok("auth" not in c.esmtp_features, "A3 A01 no AUTH in EHLO before STARTTLS")
    code, text = c.docmd("AUTH PLAIN AGEAYQ==")
    tap.ok(code == 530 and text.startswith(b"5.7.0"), "A3 AUTH before STARTTLS -> 530 5.7.0", (code, text))
    code, text = c.docmd("MAIL FROM:<a@sender.test>")
    tap.ok(code == 530 and text.startswith(b"5.7.0"), "A3 MAIL before STARTTLS -> 530 5.7.0", (code, text))
    c.starttls(context=client_context())
    c.ehlo()
    tap.ok("auth" in c.esmtp_features, "AUTH in EHLO after STARTTLS")
    tap.match(c.ehlo_resp.decode(), r"LIMITS .*MAILMAX=100", "A26 LIMITS MAILMAX=100 is announced")
    tap.equal(c.esmtp_features.get("size"), "10485760", "G20 SIZE in EHLO")
    code, text = c.docmd("MAIL FROM:<a@sender.test>")
    tap.ok(code == 530 and text.startswith(b"5.7.0"), "A2 MAIL before AUTH -> 530 5.7.0", (code, text))
    code, text = c.docmd("AUTH PLAIN AGFwcDEAd3Jvbmc=")
    tap.ok(code == 535 and text.startswith(b"5.7.8"), "A05 wrong secret -> 535 5.7.8", (code, text))
    c.login("app1", secret)
    code, text = c.docmd("MAIL FROM:<>")
    tap.equal((code, text), (550, b"Syntax Error"), "A21 null sender from a relay client -> 550 Syntax Error")
    code, text = c.docmd("RCPT TO:<b@rcpt.test>")
    tap.equal(code, 503, "A21 and there is no transaction")
    code, text = c.mail("x@other.test")
    tap.ok(code == 550 and text.startswith(b"5.7.1"), "G8 a sender domain that is not the tenant's -> 550 5.7.1")
    code, text = c.mail("X@SENDER.Test")
    tap.equal(code, 250, "G8 any local part, domain compared case-insensitively")
    c.rcpt("b@rcpt.test")
    code, text = c.data("Subject: no from\r\n\r\nx\r\n")
    tap.equal((code, text), (500, b"Valid Header From Required"), "A22 no header From")
    code, text = c.mail("a@sender.test")
    tap.equal(code, 250, "A22 the connection stays usable")
    c.rcpt("b@rcpt.test")
    code, text = c.data(mail(body="x" * 999 + "\r\n"))
    tap.ok(code == 500 and text.startswith(b"5.5.2"), "A27 a line of 999+CRLF -> 500 5.5.2", (code, text))
    c.mail("a@sender.test")
    c.rcpt("longline@rcpt.test")
    code, text = c.data(mail(body="x" * 998 + "\r\n"))
    tap.equal(code, 250, "A27 a line of 998+CRLF passes")
    code, text = c.mail("a@sender.test", ["SIZE=10485761"])
    tap.ok(code == 552 and text.startswith(b"5.3.4"), "G20 MAIL SIZE= over the limit -> 552 5.3.4")
with smtplib.SMTP("127.0.0.1", s.mx, local_hostname="client.test") as c:
    c.ehlo()
    c.mail("stranger@else.test")
    code, text = c.rcpt("b@rcpt.test")
    tap.ok(code in (554, 550, 530) and b"5.7" in text, "A1 an unauthenticated client never relays", (code, text))

# A 5xx becomes a report to the sender (the null sender's own mail never does)
code, text = submit(s, secret, rcpts=("unknown@rcpt.test",), subject="bounceme")
qid = text.split()[-1]
report = inbox.wait(1)[0]
tap.equal(report["sender"], "", "E16 D08 the report has a null sender")
tap.equal(report["rcpts"], ["a@sender.test"], "A12 it goes to the envelope sender")
m = email.message_from_bytes(report["data"])
tap.equal(m.get_content_type(), "multipart/report", "D10 multipart/report")
tap.equal(m["Subject"], "Undelivered Mail Returned to Sender", "the subject that readers recognise")
parts = m.get_payload()
tap.ok(parts[0].get_payload(decode=True).startswith(b"This is the mail system at host mta.test."),
       "the text part opens as readers expect")
status = parts[1].get_payload()
tap.equal(status[1]["Action"], "failed", "D13 Action")
tap.equal(status[1]["Status"], "5.1.1", "D13 Status")
tap.match(status[1]["Final-Recipient"], r"rfc822; ?unknown@rcpt\.test", "D13 Final-Recipient")
tap.equal(status[1]["Diagnostic-Code"], "smtp; 550 5.1.1 <x>: no such user",
          "D15 Diagnostic-Code holds what the remote host said, nothing else")
tap.ok(b"(in reply to RCPT TO command)" in parts[0].get_payload(decode=True), "the text part says in reply to what")
tap.ok(s.wait_log(rf"{qid}: sender non-delivery notification: \w+"), "log: sender non-delivery notification")
tap.ok(s.wait_log(rf"{qid}: removed"), "log: removed")

# Of a large message, whose body is in a file of its own, the header comes back.
n = len(inbox.messages)
submit(s, secret, rcpts=("unknown@rcpt.test",), subject="large one", body="0123456789" * 9 + "\r\n" + ("x" * 78 + "\r\n") * 20000)
m = email.message_from_bytes(inbox.wait(n + 1)[n]["data"])
tap.equal(m.get_payload()[2].get_content_type(), "text/rfc822-headers", "H7 of a large message the header is returned")
tap.ok("Subject: large one" in m.get_payload()[2].get_payload(), "and it is all there")

# DNS states
for rcpt, dsn in (("x@null.test", "5.1.10"), ("x@nothere.rcpt.test", "5.1.2|5.4.4"), ("x@loop.test", "5.4.6")):
    n = len(inbox.messages)
    submit(s, secret, rcpts=(rcpt,))
    inbox.wait(n + 1)
    tap.ok(s.wait_log(rf"to=<{rcpt}>, relay=.*, dsn=({dsn.replace('.', chr(92) + '.')}), status=bounced"),
           f"E3 S34 S40 {rcpt} is returned with {dsn}", s.log()[-2000:])
n = len(sink.messages)
for rcpt in ("x@nomx.test", "x@down.test", "x@mail.alias.test"):
    submit(s, secret, rcpts=(rcpt,))
sink.wait(n + 3)
tap.equal(sorted(m["rcpts"][0] for m in sink.messages[n:]), ["x@down.test", "x@mail.alias.test",
          "x@nomx.test"], "E3 S32 S33 S34 next MX when the best is dead, CNAME, address without MX")

# Temporary failures wait and come again
n = len(sink.messages)
code, text = submit(s, secret, rcpts=("later@rcpt.test", "full@rcpt.test", "ok@rcpt.test"))
qid = text.split()[-1]
sink.wait(n + 1)
tap.equal(sink.messages[n]["rcpts"], ["ok@rcpt.test"], "G7 the good recipient is served at once")
tap.ok(s.wait_log(rf"{qid}: to=<later@rcpt.test>.*dsn=4\.2\.0, status=deferred \("), "E9 4xx is deferred")
tap.ok(s.wait_log(rf"{qid}: to=<full@rcpt.test>.*status=deferred \("), "E9 a full mailbox is temporary")
rows = wait_for(lambda: len(s.mtactl("queue", "list", json_rows=True)) == 2 and
                s.mtactl("queue", "list", json_rows=True), what="two deferred recipients")
tap.equal(sorted(r["rcpt"] for r in rows), ["full@rcpt.test", "later@rcpt.test"], "mtactl queue list shows them")
sink.open = True
sink.wait(n + 2)
tap.equal(sink.messages[n + 1]["rcpts"], ["later@rcpt.test"], "C9 retried on schedule and delivered")
s.mtactl("queue", "delete", qid)
tap.equal(s.queue_count()["recipients"], 0, "mtactl queue delete empties the queue")

# 100 messages a connection
n = len(sink.messages)
with smtplib.SMTP("127.0.0.1", s.submission, local_hostname="client.test") as c:
    c.starttls(context=client_context())
    c.login("app1", secret)
    for i in range(100):
        c.sendmail("a@sender.test", ["b@rcpt.test"], mail(subject=f"n{i}"))
    code, text = c.docmd("MAIL FROM:<a@sender.test>")
    tap.ok(code == 421 and text.startswith(b"4.7.0"), "A26 the 101st message -> 421 4.7.0", (code, text))
sink.wait(n + 100, 30)
tap.ok(True, "A26 the 100 are delivered")

# The log
log = s.log()
for name, shape in {
    "connect": r"ekiden/smtpd\[\d+\]: connect from \S+\[127\.0\.0\.1\]$",
    "disconnect": r"disconnect from \S+\[127\.0\.0\.1\] .*ehlo=\d+.* commands=\d+(/\d+)?$",
    "accepted": r": \w+: client=\S+\[127\.0\.0\.1\], sasl_method=PLAIN, sasl_username=app1",
    "message id": r": \w+: message-id=<one\.\d+@sender\.test>$",
    "active": r"ekiden/qmgr\[\d+\]: \w+: from=<a@sender\.test>, size=\d+, nrcpt=1 \(queue active\)$",
    "delivery": r"ekiden/smtp\[\d+\]: \w+: to=<b@rcpt\.test>, relay=mx\.rcpt\.test\[127\.0\.0\.2\]:25, "
                r"(conn_use=\d+, )?delay=[\d.]+, delays=[\d.]+/[\d.]+/[\d.]+/[\d.]+, dsn=2\.0\.0, status=sent "
                r"\(250 2\.0\.0 Ok: taken\)",
    "TLS out": r"TLS connection established to mx\.rcpt\.test\[127\.0\.0\.2\]:25: TLSv1\.3 with cipher ",
    "TLS in": r"Anonymous TLS connection established from \S+\[127\.0\.0\.1\]: TLSv1\.3 with cipher ",
    "auth failed": r"warning: \S+\[127\.0\.0\.1\]: SASL PLAIN authentication failed: .*, sasl_username=app1$",
    "refused": r"NOQUEUE: reject: RCPT from \S+\[127\.0\.0\.1\]: 554 5\.7\.1 <b@rcpt\.test>: Relay access denied; "
               r"from=<stranger@else\.test> to=<b@rcpt\.test> proto=ESMTP helo=<client\.test>",
}.items():
    tap.match(log, shape, f"log shape: {name}")
tap.ok(secret not in log, "E8 A6 the secret is nowhere in the log (atk-E8)")
r = subprocess.run(["pflogsumm", s.logfile], capture_output=True, text=True,
                   env={**os.environ, "LC_ALL": "C"})
tap.equal(s.stop(), 0, "graceful stop")
tagged = os.path.join(folder(), "postfix.log")
open(tagged, "w").write(log.replace(" ekiden/", " postfix/"))
r = subprocess.run(["pflogsumm", tagged], capture_output=True, text=True)
delivered = re.search(r"^\s*(\d+)\s+delivered", r.stdout, re.M)
tap.equal(int(delivered.group(1)) if delivered else None, len(re.findall("status=sent", log)),
          "pflogsumm counts the deliveries")
tap.done()
