#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Commands, states, replies and log lines of plain sessions."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import HOST, Smtpd, is_reply, tap  # noqa: E402

FROM = "From: app@acme.example\r\n\r\n"
s = Smtpd(limits="\tmessages-per-connection 3\n\trecipients-per-message 100")

# One row: listener, then commands with the beginning of the reply each must get.
DIALOGUES = {
    "S04 EHLO as RSET and again, HELO": ("net", [
        ("EHLO a.test", f"250-{HOST}\n250-PIPELINING\n250-SIZE 10485760\n250-8BITMIME\n"
         "250-ENHANCEDSTATUSCODES\n250 LIMITS MAILMAX=3 RCPTMAX=100"),
        ("MAIL FROM:<a@acme.example>", "250 2.1.0 Ok"),
        ("EHLO b.test", "250-"), ("RCPT TO:<x@y.example>", "503 5.5.1"),
        ("HELO c.test", f"250 {HOST}"), ("MAIL FROM:<a@acme.example>", "250 2.1.0"),
        ("HELO d.test", "250 "), ("DATA", "503 5.5.1")]),
    "S06 S07 order of commands": ("net", [
        ("MAIL FROM:<a@acme.example>", "503 5.5.1 Error: send EHLO first"),
        ("RCPT TO:<x@y.example>", "503 5.5.1"), ("DATA", "503 5.5.1"),
        ("EHLO a", "250-"), ("RCPT TO:<x@y.example>", "503 5.5.1 Error: need MAIL"),
        ("DATA", "503 5.5.1"), ("MAIL FROM:<a@acme.example>", "250 2.1.0"),
        ("MAIL FROM:<b@acme.example>", "503 5.5.1 Error: nested MAIL"),
        ("DATA", "503 5.5.1 Error: need RCPT"), ("RCPT TO:<x@y.example>", "250 2.1.5"),
        ("MAIL FROM:<b@acme.example>", "503 5.5.1"), ("RCPT TO:<z@y.example>", "250 2.1.5"),
        ("RSET", "250 2.0.0 Ok"), ("RCPT TO:<x@y.example>", "503 5.5.1"),
        ("DATA", "503 5.5.1")]),
    "atk-C26 S39 commands that leave the transaction alone": ("net", [
        ("EHLO a", "250-"), ("MAIL FROM:<a@acme.example>", "250"), ("VRFY root", "252 2.0.0"),
        ("NOOP", "250 2.0.0"), ("NOOP ignored text", "250 2.0.0"), ("HELP", "214 2.0.0"),
        ("RCPT TO:<x@y.example>", "250 2.1.5"), ("VRFY \xff", "252"), ("DATA", "354 End")]),
    "S13 unknown, unimplemented, empty": ("net", [
        ("EHLO a", "250-"), ("EXPN list", "502 5.5.1"), ("TURN", "502 5.5.1"),
        ("ETRN x", "502 5.5.1"), ("WHAT", "500 5.5.1"),
        ("", "500 5.5.1"), (" NOOP", "500 5.5.1"), ("NOOPX", "500 5.5.1"),
        ("AUTH PLAIN", "503 5.5.1"), ("STARTTLS", "502 5.5.1"), ("NOOP   ", "250")]),
    "S02 any case, blanks": ("net", [
        ("ehlo a", "250-"), ("mAiL fRoM: <a@acme.example> size=100 body=8bitmime", "250 2.1.0"),
        ("rcpt to: <x@y.example>  ", "250 2.1.5"), ("rset ", "250")]),
    "S13 syntax": ("net", [
        ("EHLO", "501 5.5.4"), ("HELO", "501 5.5.4"), ("EHLO " + "x" * 256, "501 5.5.4"),
        ("EHLO " + "x" * 255, "250-"), ("MAIL", "501 5.5.4"), ("MAIL TO:<a@b.example>", "501 5.5.4"),
        ("MAIL FROM:a@b.example", "501 5.1.7"), ("MAIL FROM:<a@b.example>x", "501 5.5.4"),
        ("MAIL FROM:<a b@c.example>", "501 5.1.7"), ("QUIT now", "501 5.5.4"),
        ("MAIL FROM:<a@acme.example>", "250"), ("RCPT", "501 5.5.4"), ("RCPT FROM:<a@b.example>", "501"),
        ("RCPT TO:<>", "501 5.1.3"), ("RCPT TO:<x@y.example", "501 5.1.3"),
        ("RCPT TO:<x@y..example>", "501 5.1.3"), ("VRFY", "501 5.5.4"),
        ("DATA now", "503"), ("RCPT TO:<x@y.example>", "250"), ("DATA now", "501 5.5.4")]),
    "S14 parameters": ("net", [
        ("EHLO a", "250-"), ("MAIL FROM:<a@acme.example> RET=HDRS", "555 5.5.4"),
        ("MAIL FROM:<a@acme.example> SMTPUTF8", "555 5.5.4"),
        ("MAIL FROM:<a@acme.example> AUTH=<>", "555 5.5.4"),
        ("MAIL FROM:<a@acme.example> BODY=BINARYMIME", "555 5.5.4"),
        ("MAIL FROM:<a@acme.example> BODY=9BIT", "501 5.5.4"),
        ("MAIL FROM:<a@acme.example> BODY", "501 5.5.4"),
        ("MAIL FROM:<a@acme.example> =x", "501 5.5.4"), ("MAIL FROM:<a@acme.example> A==", "501 5.5.4"),
        ("MAIL FROM:<a@acme.example> SIZE=1 SIZE=1", "501 5.5.4"),
        ("MAIL FROM:<a@acme.example> SIZE=", "501 5.5.4"), ("MAIL FROM:<a@acme.example> SIZE=-1", "501"),
        ("MAIL FROM:<a@acme.example>" + " A=b" * 100, "555"),
        ("HELO a", "250"), ("MAIL FROM:<a@acme.example> SIZE=1", "555"),
        ("MAIL FROM:<a@acme.example>", "250"), ("RCPT TO:<x@y.example> NOTIFY=NEVER", "555")]),
    "P08 P09 G20 SIZE": ("net", [
        ("EHLO a", "250-"), ("MAIL FROM:<a@acme.example> SIZE=10485761", "552 5.3.4"),
        ("MAIL FROM:<a@acme.example> SIZE=99999999999999999999", "552 5.3.4"),
        ("MAIL FROM:<a@acme.example> SIZE=18446744073709551616", "552 5.3.4"),
        ("MAIL FROM:<a@acme.example> SIZE=0", "250"), ("RSET", "250"),
        ("MAIL FROM:<a@acme.example> SIZE=10485760", "250")]),
    "A21 null sender of a relay client": ("net", [
        ("EHLO a", "250-"), ("MAIL FROM:<>", "550 Syntax Error"), ("RCPT TO:<x@y.example>", "503"),
        ("MAIL FROM:<a@acme.example>", "250")]),
    "G8 sender refused by authd": ("net", [
        ("EHLO a", "250-"), ("MAIL FROM:<a@refused.example>", "550 5.7.1 Sender domain not registered"),
        ("RCPT TO:<x@y.example>", "503"), ("MAIL FROM:<a@acme.example>", "250")]),
    "U03 S11 recipients without a domain": ("net", [
        ("EHLO a", "250-"), ("MAIL FROM:<a@acme.example>", "250"), ("RCPT TO:<joe>", "501 5.1.3"),
        ("RCPT TO:<joe@host>", "504 5.5.2 <joe@host>:"), ("RCPT TO:<PostMaster>", "250"),
        ("RCPT TO:<x@[192.0.2.1]>", "250")]),
    "A1 G11 S08 mx relays nothing": ("mx", [
        ("EHLO a", f"250-{HOST}\n250-PIPELINING\n250-SIZE 10485760\n250-8BITMIME\n"
         "250-ENHANCEDSTATUSCODES\n250-STARTTLS\n250 LIMITS"),
        ("MAIL FROM:<>", "250 2.1.0"), ("RCPT TO:<x@y.example>",
                                        "554 5.7.1 <x@y.example>: Relay access denied"),
        ("DATA", "503 5.5.1"), ("RCPT TO:<PostMaster>", "250 2.1.5"), ("AUTH PLAIN AGFwcABnb29k", "503"), ("RSET", "250"),
        ("AUTH PLAIN AGFwcABnb29k", "538 5.7.11"), ("QUIT", "221 2.0.0 Bye")]),
    "A2 U02 key needed": ("key", [
        ("EHLO a", "250-"), ("MAIL FROM:<a@acme.example>", "530 5.7.0"),
        ("RCPT TO:<x@y.example>", "503"), ("MAIL FROM:<>", "530 5.7.0")]),
    "foreign network": ("far", [
        ("EHLO a", "250-"), ("MAIL FROM:<a@acme.example>", "554 5.7.1 Client host rejected"),
        ("AUTH PLAIN AGFwcABnb29k", "503 5.5.1")]),
    "network and key": ("both", [
        ("EHLO a", "250-"), ("MAIL FROM:<a@acme.example>", "530 5.7.0"),
        ("AUTH PLAIN AGZvcmVpZ24AZ29vZA==", "535 5.7.8"),
        ("AUTH PLAIN AGFwcABnb29k", "235 2.7.0"), ("MAIL FROM:<a@acme.example>", "250")]),
    "A3 nothing before TLS": ("submission", [
        ("MAIL FROM:<a@acme.example>", "530 5.7.0 Must issue a STARTTLS command first"),
        ("EHLO a", "250-mta.test\n250-PIPELINING\n250-SIZE 10485760\n250-8BITMIME\n"
         "250-ENHANCEDSTATUSCODES\n250-STARTTLS\n250 LIMITS"),
        ("AUTH PLAIN AGFwcABnb29k", "530 5.7.0"), ("AUTH LOGIN", "530 5.7.0"),
        ("MAIL FROM:<a@acme.example>", "530 5.7.0"), ("RCPT TO:<x@y.example>", "530"),
        ("DATA", "530"), ("VRFY a", "530"), ("HELP", "530"), ("NOOP", "250"), ("RSET", "250"),
        ("STARTTLS now", "501 5.5.4"), ("QUIT", "221")]),
}
for name, (port, rows) in DIALOGUES.items():
    c = s.connect(port)
    for line, want in rows:
        is_reply(c.cmd(line.encode("latin-1").decode("latin-1")), want, f"{name}: {line[:60]}")
    c.close()

c = s.connect(greet=False)
tap.equal(c.reply(), f"220 {HOST} ESMTP", "S03 greeting")
tap.equal(c.cmd("QUIT"), "221 2.0.0 Bye", "S28 QUIT")
tap.ok(c.closed(), "S28 closed behind 221")

# S41: the class of the enhanced code is that of the reply, on every line but greeting and EHLO.
c = s.connect()
bad = []
for line in ("NOOP", "MAIL FROM:<a@b.example>", "EXPN", "FOO", "RSET", "VRFY x", "HELP", "RCPT TO:<x>",
             "DATA", "AUTH x", "STARTTLS", "QUIT"):
    r = c.cmd(line)
    if r[4:6] != r[0] + ".":
        bad.append(r)
tap.equal(bad, [], "S41 enhanced codes")

# P01: one write, replies in order; the DATA reply comes before the content is sent.
c = s.connect()
c.send("EHLO p.test\r\nMAIL FROM:<a@acme.example>\r\nRCPT TO:<x@y.example>\r\nRCPT TO:<bad\r\n"
       "RCPT TO:<z@y.example>\r\nDATA\r\n")
is_reply(c.reply(), "250-", "P01 EHLO")
for want in ("250 2.1.0", "250 2.1.5", "501 5.1.3", "250 2.1.5", "354"):
    is_reply(c.reply(), want, f"P01 pipelined reply {want}")
c.send(FROM + "one\r\n.\r\nMAIL FROM:<b@acme.example>\r\nRCPT TO:<x@y.example>\r\nDATA\r\n" +
       FROM + "two\r\n.\r\nQUIT\r\n")
is_reply(c.reply(), "250 2.0.0 Ok: queued as", "P01 first message")
first = s.stored()
tap.equal(first["to"], ["<x@y.example>", "<z@y.example>"], "P01 recipients")
for want in ("250 2.1.0", "250 2.1.5", "354", "250 2.0.0 Ok: queued as", "221"):
    is_reply(c.reply(), want, f"P01 behind the first message: {want}")
tap.equal(s.stored()["content"], (FROM + "two\r\n").encode(), "P01 second message")

# A26: the 101st MAIL (here the fourth).
c = s.ready("net")
for _ in range(3):
    is_reply(c.mail(FROM), "250 2.0.0", "A26 message within the limit")
is_reply(c.cmd("MAIL FROM:<a@acme.example>"), "421 4.7.0", "A26 one more")
tap.ok(c.closed(), "A26 closed")

# S22 S23 recipients; an excess one does not use up the error budget.
c = s.ready("net")
c.cmd("MAIL FROM:<a@acme.example>")
codes = [c.cmd(f"RCPT TO:<u{i}@y.example>")[:9] for i in range(150)]
tap.equal(codes, ["250 2.1.5"] * 100 + ["452 4.5.3"] * 50, "S22 S23 100 recipients, then 452")
c.cmd("DATA")
c.send(FROM)
is_reply(c.cmd("."), "250", "S23 mail with the first 100")
m = s.until("to=.*u99@")
tap.ok(m.count("<u") == 100, "S23 100 recipients stored")

# Answers and log lines of the trace.
c = s.connect()
c.cmd("EHLO log.test")
c.cmd("WRONG")
c.cmd("MAIL FROM:<a@acme.example>")
c.cmd("RCPT TO:<joe@h>")
c.cmd("RCPT TO:<x@y.example>")
c.cmd("DATA")
c.send("Message-ID: <id;1@test>\r\n" + FROM)
qid = c.cmd(".").split()[-1]
c.cmd("QUIT")
s.wait_log(r"connect from localhost\[127\.0\.0\.1\]$", "LOGS connect")
s.wait_log(r": disconnect from localhost\[127\.0\.0\.1\] ehlo=1 mail=1 rcpt=1/2 data=1 quit=1 "
           r"unknown=0/1 commands=5/7$", "LOGS disconnect")
s.wait_log(rf": {qid}: client=localhost\[127\.0\.0\.1\], tenant=acme, session=\S+, batch=unset, label=unset$", "LOGS A25 client")
s.wait_log(rf": {qid}: message-id=<id;1@test>$", "LOGS message-id")
s.wait_log(r": NOQUEUE: reject: RCPT from localhost\[127\.0\.0\.1\]: 504 5\.5\.2 <joe@h>: Recipient "
           r"address rejected: need fully-qualified address; from=<a@acme\.example> to=<joe@h> "
           r"proto=ESMTP helo=<log\.test>$", "LOGS reject")
s.wait_log(r": NOQUEUE: reject: MAIL from localhost\[127\.0\.0\.1\]: 550 Syntax Error; from=<> "
           r"proto=ESMTP helo=<a>$", "LOGS reject of a null sender")
c = s.connect()
c.cmd("EHLO lost.test")
c.close()
s.wait_log(r": lost connection after EHLO from localhost\[127\.0\.0\.1\]$", "LOGS lost connection")
c = s.connect()
c.cmd("EHLO \x1b[31m\\e\t<x> " + "\xff")
c.cmd("MAIL FROM:<\"a\\ b\"@refused.example>")
s.wait_log(r'from=<"a\\134 b"@refused\.example> proto=ESMTP '
           r"helo=<\\033\[31m\\134e\\011\\074x\\076 \\303\\277>$", "atk-J8 escapes")

# A half-closed client still gets its answers.
c = s.connect()
c.send("EHLO half.test\r\nMAIL FROM:<a@acme.example>\r\nRCPT TO:<x@y.example>\r\nDATA\r\n")
for _ in range(4):
    c.reply()
c.send(FROM + ".\r\n")
c.sock.shutdown(1)
is_reply(c.reply(), "250 2.0.0", "atk-D5 half-closed client is answered")
tap.ok(c.closed(), "and closed")
c = s.connect(greet=False)
c.sock.shutdown(1)
is_reply(c.reply(), "220", "half-closed before the greeting")
tap.ok(c.closed(), "closed at once")

s.end()
tap.done()
