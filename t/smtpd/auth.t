#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""AUTH and TLS."""

import base64
import os
import smtplib
import socket
import ssl
import sys
import time
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import GOOD, HOST, Smtpd, is_reply, tap  # noqa: E402

CANARY = "canary-secret-4711"


def b64(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def plain(user, secret, authzid=""):
    return b64(f"{authzid}\0{user}\0{secret}")


s = Smtpd(limits="\terrors 1000")

# One exchange a row: lines, and what the last one must get.
EXCHANGES = {
    "G7 PLAIN with initial response": (["AUTH PLAIN " + plain("app", "good")], "235 2.7.0"),
    "G7 PLAIN": (["AUTH PLAIN", plain("app", "good")], "235 2.7.0"),
    "S02 any case": (["auth plain " + plain("app", "good")], "235"),
    "PLAIN with itself as authzid": (["AUTH PLAIN " + plain("app", "good", "app")], "235"),
    "G7 LOGIN": (["AUTH LOGIN", b64("app"), b64("good")], "235"),
    "G7 LOGIN with initial response": (["AUTH LOGIN " + b64("app"), b64("good")], "235"),
    "G7 user like a UUID, secret with a colon": (
        ["AUTH PLAIN " + plain("8f14e45f-ceea-467f-a0e6-1e5d5e3a7c11", "long:x")], "235"),
    "atk-E3 authzid of another": (["AUTH PLAIN " + plain("app", "good", "root")], "501 5.5.2"),
    "atk-E3 two fields": (["AUTH PLAIN " + b64("app\0good")], "501"),
    "atk-E3 four fields": (["AUTH PLAIN " + b64("\0app\0good\0x")], "501"),
    "atk-E3 empty user": (["AUTH PLAIN " + plain("", "good")], "535 5.7.8"),
    "atk-E3 empty": (["AUTH PLAIN ="], "501"),
    "A04 empty initial response of LOGIN": (["AUTH LOGIN =", b64("good")], "535 5.7.8"),
    "A05 wrong secret": (["AUTH PLAIN " + plain("app", "wrong")], "535 5.7.8 Error: authentication failed"),
    "A05 backend in trouble": (["AUTH PLAIN " + plain("app", "temp")], "454 4.7.0"),
    "A03 cancel": (["AUTH LOGIN", "*"], "501 5.7.0"),
    "A03 cancel later": (["AUTH LOGIN", b64("app"), "*"], "501"),
    "A03 bad base64": (["AUTH PLAIN !!!!"], "501 5.5.2"),
    "A03 bad base64 in a response": (["AUTH LOGIN", "a"], "501"),
    "A03 unknown mechanism": (["AUTH CRAM-MD5"], "504 5.5.4"),
    "atk-C13 NTLM": (["AUTH NTLM TlRMTVNTUAABAAAA"], "504 5.5.4"),
    "A04 12288 octets": (["AUTH PLAIN " + plain("app", "long" + "x" * 9207)], "235"),
    "A04 12288 octets in a response": (["AUTH PLAIN", plain("app", "long" + "x" * 9207)], "235"),
    "atk-C12 12289 octets": (["AUTH PLAIN " + plain("app", "long" + "x" * 9207) + "A"], "500 5.5.6"),
    "atk-C12 more than that": (["AUTH PLAIN " + plain("app", "x" * 9212)], "500 5.5.6"),
    "atk-C12 in a response": (["AUTH PLAIN", plain("app", "x" * 9212)], "500 5.5.6"),
    "atk-E4 any text is just a name": (["AUTH PLAIN " + plain("*)(uid=*../../x' or 1=1\n", "x")], "535"),
}
tap.equal(len(plain("app", "long" + "x" * 9207)), 12288, "the length of the row is what it says")
for name, (lines, want) in EXCHANGES.items():
    c = s.connect("key")
    c.cmd("EHLO a")
    for line in lines:
        got = c.cmd(line)
        if line is not lines[-1]:
            tap.equal(got[:4], "334 ", f"{name}: challenge")
    is_reply(got, want, name)
    if not want.startswith("500 5.5.2"):
        is_reply(c.cmd("MAIL FROM:<a@acme.example>"), "250" if want.startswith("235") else "530", f"{name}: MAIL")
    c.close()

c = s.connect("key")
c.cmd("EHLO a")
tap.equal(c.cmd("AUTH LOGIN"), "334 VXNlcm5hbWU6", "LOGIN asks for the user name")
tap.equal(c.cmd(b64("app")), "334 UGFzc3dvcmQ6", "LOGIN asks for the password")
is_reply(c.cmd(b64("good")), "235", "LOGIN")
is_reply(c.cmd("AUTH PLAIN " + GOOD), "503 5.5.1", "A02 after success")
is_reply(c.cmd("EHLO b"), "250", "EHLO again")
is_reply(c.cmd("AUTH LOGIN"), "503 5.5.1", "A02 atk-E9 the identity stays over EHLO")
is_reply(c.cmd("MAIL FROM:<a@acme.example> AUTH=<>"), "250", "A06 AUTH=<>")
c.cmd("RSET")
is_reply(c.cmd("MAIL FROM:<a@acme.example> AUTH=e+3Dmc2@example.com"), "250", "A06 AUTH= in xtext")
is_reply(c.cmd("AUTH PLAIN " + GOOD), "503 5.5.1", "A02 in a transaction")
c.cmd("RSET")
is_reply(c.cmd("MAIL FROM:<a@acme.example> AUTH=a+0Ab@c.example"), "501 5.5.4", "atk-C7 newline in AUTH=")
is_reply(c.cmd("MAIL FROM:<a@acme.example> AUTH=nonsense"), "501 5.5.4", "A06 not a mailbox")
is_reply(c.mail("From: a@acme.example\r\n\r\n"), "250", "authenticated mail")
m = s.stored()
tap.equal((m["tenant"], m["user"]), ("acme", "app"), "tenant and key of the message")
s.wait_log(r": \w{13}: client=localhost\[127\.0\.0\.1\], sasl_method=LOGIN, sasl_username=app, tenant=acme, "
           r"session=", "LOGS client with key")
is_reply(c.cmd("MAIL FROM:<a@refused.example>"), "550", "refused sender")
s.wait_log(r"NOQUEUE: reject: MAIL from localhost\[127\.0\.0\.1\]: 550 5\.7\.1 Sender domain not registered; "
           r"from=<a@refused\.example> proto=ESMTPA helo=<b> sasl_method=LOGIN sasl_username=app$",
           "LOGS reject with key")

c = s.connect("key")
c.cmd("EHLO a")
for i in range(4):
    is_reply(c.cmd("AUTH PLAIN " + plain("app,x=", CANARY)), "535", f"atk-E1 failure {i + 1}")
is_reply(c.cmd("AUTH PLAIN " + plain("app", "wrong")), "421 4.7.0", "atk-E1 then 421")
tap.ok(c.closed(), "atk-E1 closed")
s.wait_log(r": warning: localhost\[127\.0\.0\.1\]: SASL PLAIN authentication failed: because, "
           r"sasl_username=app\\054x=$", "LOGS failed authentication")

# A pipelined command waits for authd's answer (only this session does).
c = s.connect("key")
c.send("EHLO a\r\nAUTH PLAIN " + GOOD + "\r\nMAIL FROM:<a@acme.example>\r\nRSET\r\n")
for want in ("250-", "235", "250 2.1.0", "250 2.0.0"):
    is_reply(c.reply(), want, f"P01 in order with AUTH: {want}")
c = s.connect("key")
c.cmd("EHLO a")
c.send("AUTH PLAIN " + plain("app", "silent") + "\r\nNOOP\r\n")
other = s.ready("key")
is_reply(other.cmd("NOOP"), "250", "a silent authd holds up no other session")
s.order("authd drop")
is_reply(c.reply(), "454 4.7.0", "A05 authd gone")
is_reply(c.reply(), "250", "and the session goes on")
is_reply(c.cmd("AUTH PLAIN " + GOOD), "454 4.7.0", "A05 no authd")
is_reply(other.cmd("MAIL FROM:<a@acme.example>"), "451 4.3.0", "MAIL without authd")
s.order("authd new")
time.sleep(0.2)
is_reply(c.cmd("AUTH PLAIN " + GOOD), "235", "a new authd")
is_reply(other.cmd("MAIL FROM:<a@acme.example>"), "250", "MAIL again")
c.cmd("RSET")
c.send("MAIL FROM:<a@silent.example>\r\n")
time.sleep(0.1)
s.order("authd drop")
is_reply(c.reply(), "451 4.3.0", "authd gone while it is asked for a sender")
s.order("authd new")
time.sleep(0.2)

# STARTTLS
c = s.connect("submission")
c.cmd("EHLO before.test")
is_reply(c.cmd("STARTTLS"), "220 2.0.0", "STARTTLS")
c.wrap()
is_reply(c.cmd("MAIL FROM:<a@acme.example>"), "503 5.5.1", "A07 atk-B5 EHLO counts no more")
is_reply(c.cmd("EHLO after.test"), f"250-{HOST}\n250-PIPELINING\n250-SIZE 10485760\n250-8BITMIME\n"
         "250-ENHANCEDSTATUSCODES\n250-AUTH PLAIN LOGIN SCRAM-SHA-256\n250 LIMITS", "T01 A01 EHLO behind TLS")
is_reply(c.cmd("STARTTLS"), "503 5.5.1", "T01 not again")
is_reply(c.cmd("MAIL FROM:<a@acme.example>"), "530 5.7.0 Authentication required", "A2 U02 key needed")
is_reply(c.cmd("AUTH PLAIN " + GOOD), "235", "AUTH behind TLS")
is_reply(c.mail("From: a@acme.example\r\n\r\n"), "250", "mail behind TLS")
s.stored()
c.cmd("QUIT")
s.wait_log(r": Anonymous TLS connection established from localhost\[127\.0\.0\.1\]: TLSv1\.3 with cipher "
           r"TLS_\w+ \((128|256)/(128|256) bits\)$", "LOGS TLS")
s.wait_log(r"disconnect from localhost\[127\.0\.0\.1\] ehlo=2 starttls=1/2 auth=1 mail=1/3 rcpt=1 data=1 quit=1 "
           r"commands=8/11$", "LOGS disconnect of a TLS session")
c = s.ready("mx")
c.starttls()
c.cmd("EHLO a")
is_reply(c.cmd("AUTH PLAIN " + GOOD), "235", "G11 AUTH on mx behind TLS")
is_reply(c.mail("From: a@acme.example\r\n\r\n"), "250", "A1 an authenticated client relays on mx")
s.stored()
c = s.ready("submission")
is_reply(c.cmd("RSET"), "250", "RSET")
c.close()

for data in (b"STARTTLS\r\nEHLO injected\r\n", b"STARTTLS\r\nAUTH PLAIN " + GOOD.encode() + b"\r\nMAIL FROM:<a@b.c>\r\n"):
    c = s.connect("submission")
    c.cmd("EHLO a")
    c.send(data)
    is_reply(c.reply(), "554 5.5.0", "atk-B1 atk-B2 T02 text behind STARTTLS")
    tap.ok(c.closed(), "atk-B1 closed")
for cut in range(1, 30, 3):
    data = b"STARTTLS\r\nEHLO injected.test\r\n"
    c = s.connect("submission")
    c.cmd("EHLO a")
    c.send(data[:cut])
    time.sleep(0.01)
    c.send(data[cut:])
    got = b""
    try:
        while True:
            more = c.sock.recv(4096)
            if not more:
                break
            got += more
    except ConnectionResetError:
        pass
    tap.ok(b"250" not in got, f"atk-B1 split at {cut}: the injected command is not run", got)

c = s.connect("submission")
c.cmd("EHLO a")
c.cmd("STARTTLS")
c.send("MAIL FROM:<a@acme.example>\r\n")
try:
    c.sock.recv(100)
except ConnectionResetError:
    pass
s.wait_log(r": lost connection after STARTTLS from", "T04 a failed handshake ends the session")
warnings.simplefilter("ignore")
old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
old.check_hostname = False
old.verify_mode = ssl.CERT_NONE
old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
old.set_ciphers("DEFAULT@SECLEVEL=0")
c = s.connect("submission")
c.cmd("EHLO a")
c.cmd("STARTTLS")
try:
    old.wrap_socket(c.sock)
    tap.ok(False, "T06 G4 TLS 1.1 is refused")
except (ssl.SSLError, ConnectionResetError):
    tap.ok(True, "T06 G4 TLS 1.1 is refused")
s.order("signd drop")
c = s.connect("submission")
c.cmd("EHLO a")
c.cmd("STARTTLS")
try:
    c.wrap()
    tap.ok(False, "no handshake without signd")
except (ssl.SSLError, ConnectionResetError):
    tap.ok(True, "no handshake without signd")
s.order("signd new")
time.sleep(0.2)
is_reply(s.ready("submission").cmd("NOOP"), "250", "a new signd")

# Implicit TLS
c = s.connect("smtps", greet=False)
tap.equal(c.reply(), f"220 {HOST} ESMTP", "T05 greeting behind TLS")
r = c.cmd("EHLO a")
tap.ok("AUTH PLAIN LOGIN" in r and "STARTTLS" not in r, "T05 EHLO", r)
is_reply(c.cmd("AUTH PLAIN " + GOOD), "235", "T05 AUTH")
is_reply(c.mail("From: a@acme.example\r\n\r\n"), "250", "T05 mail")
s.stored()
c = socket.create_connection(("127.0.0.1", s.ports["smtps"]), 10)
c.sendall(b"EHLO plain\r\n")
try:
    tap.ok(b"220" not in c.recv(100), "plain text on the implicit port gets no greeting")
except ConnectionResetError:
    tap.ok(True, "plain text on the implicit port gets no greeting")
big = b"From: a@acme.example\r\n\r\n" + (b"x" * 98 + b"\r\n") * 30000
c = s.ready("smtps")
is_reply(c.mail(big), "250", "3 MB behind TLS")
tap.ok(s.stored()["content"] == big, "byte for byte")

# An ordinary library.
ctx = ssl.create_default_context()
ctx.check_hostname = False
ctx.verify_mode = ssl.CERT_NONE
with smtplib.SMTP("127.0.0.1", s.ports["submission"], timeout=20) as smtp:
    smtp.starttls(context=ctx)
    smtp.login("app", "good")
    smtp.sendmail("a@acme.example", ["x@dest.example", "y@dest.example"], "From: a@acme.example\r\n\r\n.x\r\n")
m = s.stored()
tap.equal((m["to"], m["content"][-4:]), (["<x@dest.example>", "<y@dest.example>"], b".x\r\n"), "smtplib")

with open(os.path.join(s.dir, "log")) as f, open(os.path.join(s.dir, "events")) as g:
    text = f.read() + g.read()
tap.ok(CANARY not in text and b64(CANARY)[:-4] not in text and plain("app,x=", CANARY) not in text,
       "atk-E8 no secret in log or events")
for kind in ("auth_failed", "received", "rejected"):
    tap.ok(f'"type":"{kind}"' in text, f"event {kind}", text[-2000:])
s.end()
tap.done()
