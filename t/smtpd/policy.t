#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""smtpd's questions to authd: SCRAM, places for connections, recipients of a pipelined group."""
import os
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403
from scram import Scram, b64  # noqa: E402

private_network()
s = Smtpd()


def hello(port="key"):
    c = s.connect(port)
    c.cmd("EHLO a")
    return c


def challenge(reply):
    return reply[4:] if reply.startswith("334 ") else "!" + reply


# SCRAM-SHA-256

c = hello()
x = Scram("app", "good")
final = c.cmd(x.final(challenge(c.cmd("AUTH SCRAM-SHA-256 " + x.first()))))
tap.ok(final.startswith("334 ") and x.good_server(final[4:]), "G7 SCRAM: the server proves itself", final)
is_reply(c.cmd(""), "235 2.7.0", "G7 SCRAM: then 235")
is_reply(c.mail("From: a@acme.example\r\n\r\n"), "250", "G7 and mail is taken")
m = s.stored()
tap.equal((m["tenant"], m["user"]), ("acme", "app"), "G7 in the name of the key")
s.wait_log(r"client=localhost\[127\.0\.0\.1\], sasl_method=SCRAM-SHA-256, sasl_username=app,", "LOGS its method")

c = hello()
x = Scram("app", "good", flag="y")
is_reply(c.cmd("AUTH SCRAM-SHA-256"), "334 ", "G7 without initial response")
final = c.cmd(x.final(challenge(c.cmd(x.first()))))
tap.ok(x.good_server(final[4:]), "G7 flag y: a client that could bind channels", final)
is_reply(c.cmd("AAAA"), "501", "G7 an answer to the server's proof is malformed")
is_reply(c.cmd("MAIL FROM:<a@acme.example>"), "530", "G7 and nobody is authenticated")

x = Scram("a,b=c", "good", authzid="a=2Cb=3Dc")
c = hello()
final = c.cmd(x.final(challenge(c.cmd("AUTH SCRAM-SHA-256 " + x.first()))))
is_reply(c.cmd(""), "235", "G7 a name with comma and equals sign, as authzid too")
s.until("^scram a,b=c$")


def failing(name, first=None, want="535 5.7.8", **kw):
    c = hello()
    x = Scram("app", kw.pop("secret", "good"))
    got = c.cmd("AUTH SCRAM-SHA-256 " + (b64(first) if first is not None else x.first()))
    if got.startswith("334 "):
        got = c.cmd(x.final(got[4:], **kw))
    is_reply(got, want, f"G7 SCRAM refused: {name}")
    is_reply(c.cmd("MAIL FROM:<a@acme.example>"), "530", f"G7 not authenticated: {name}")
    c.close()


failing("wrong secret", secret="bad")
failing("wrong proof", spoil=True)
failing("another nonce", nonce="x" * 40)
failing("another gs2 header", gs2="y,,")
failing("channel binding", first="p=tls-unique,,n=app,r=abc")
failing("another authzid", first="n,a=root,n=app,r=abc")
failing("a mandatory extension", first="n,,m=1,n=app,r=abc", want="501")
failing("no nonce", first="n,,n=app", want="501")
failing("NUL in the name", first="n,,n=a\0p,r=abc", want="501")
failing("an empty name", first="n,,n=,r=abc")
failing("too long", first="n,,n=app,r=" + "x" * 2000, want="501")
c = hello()
is_reply(c.cmd("AUTH SCRAM-SHA-256 %%%"), "501", "G7 no base64")
is_reply(c.cmd("AUTH SCRAM-SHA-256-PLUS " + x.first()), "504", "G7 no channel binding on offer")
is_reply(c.cmd("AUTH SCRAM-SHA-256 " + x.first()), "334", "G7 begun")
is_reply(c.cmd("*"), "501 5.7.0", "G7 aborted")
is_reply(c.cmd("AUTH PLAIN " + GOOD), "235", "G7 and PLAIN goes on")

c = hello()
x = Scram("silent", "good")
c.send("AUTH SCRAM-SHA-256 " + x.first() + "\r\n")
time.sleep(0.1)
s.order("authd drop")
is_reply(c.reply(), "454 4.7.0", "authd gone while a salt is looked up")
is_reply(c.cmd("AUTH SCRAM-SHA-256 " + x.first()), "454 4.7.0", "no authd")
s.order("authd new")

# Recipients in one frame

c = s.connect("net")
c.cmd("EHLO a")
is_reply(c.cmd("MAIL FROM:<a@checked.example>"), "250", "a sender whose recipients are asked about")
rcpts = [f"u{i}@{'full' if i % 3 == 0 else 'dest'}.example" for i in range(1, 10)]
lines = [f"RCPT TO:<{r}>" for r in rcpts]
lines[3:3] = ["RCPT TO:<bad", "RCPT TO:<x@nodots>"]
while not s.nothing("^rcpts", 0.1):
    pass
c.send("".join(x + "\r\n" for x in lines) + "DATA\r\n")
got = [c.reply() for _ in range(len(lines) + 1)]
want = ["452 4.7.0 <u3@full.example>: Quota exceeded" if "full" in x else "501 5" if x.endswith("<bad") else
        "504 5.5.2" if "nodots" in x else "250 2.1.5" for x in lines] + ["354"]
tap.ok(all(g.startswith(w[:9]) for g, w in zip(got, want)), "P20 replies in the order of the commands", got)
tap.equal(s.until("^rcpts"), "rcpts 9", "one frame for the recipients of one pipelined group")
is_reply(c.cmd("From: a@acme.example\r\n\r\n."), "250", "and the message")
m = s.stored()
tap.equal(m["to"], [f"<{r}>" for r in rcpts if "full" not in r], "to those that have room")
tap.equal(s.until("^txn_end"), "txn_end at=77 stored=1 rcpts=6 reserved=6", "A29 authd hears that it was stored")

c.cmd("MAIL FROM:<a@checked.example>")
is_reply(c.cmd("RCPT TO:<a@full.example>"), "452 4.7.0 <a@full.example>: Quota exceeded", "one alone")
is_reply(c.cmd("DATA"), "503", "no recipient was taken")
is_reply(c.cmd("RCPT TO:<a@dest.example>"), "250", "another one")
c.cmd("RSET")
tap.equal(s.until("^txn_end"), "txn_end at=77 stored=0 rcpts=1 reserved=1", "A29 RSET gives back")
c.cmd("MAIL FROM:<a@checked.example>")
c.cmd("RCPT TO:<a@dest.example>")
c.close()
tap.equal(s.until("^txn_end"), "txn_end at=77 stored=0 rcpts=1 reserved=1", "A29 so does the end of the session")

# Leases: a yes to MAIL that is good for further messages of the session

LEASED = dict(sender="a@leased.example")
MAIL = "From: a@leased.example\r\n\r\nx\r\n"


def settled():
    while not s.nothing("^(mail|txn_end|stored)", 0.1):
        pass


def asked():
    """What authd was asked and told until the message after it was stored."""
    got = []
    while True:
        line = s.until("^(mail|txn_end|stored)")
        if line.startswith("stored"):
            return got
        got.append(line.split(" tenant")[0])


ASKED = "mail <a@leased.example>"
settled()
c = s.connect("net")
c.cmd("EHLO a")
want = [[ASKED], [ASKED], [], [], [], ["txn_end at=0 stored=1 rcpts=4 leased=3", ASKED]]
for i, w in enumerate(want):
    is_reply(c.mail(MAIL, to=("u@dest.example",) * (2 if i == 3 else 1), **LEASED), "250", f"A22 message {i}")
    tap.equal(asked(), w, "A22 asked twice, then no more until the lease is used up")
c.mail(MAIL, **LEASED)
c.cmd("MAIL FROM:<a@leased.example>")
c.cmd("RCPT TO:<u@dest.example>")
c.cmd("RSET")
settled()
c.mail(MAIL, sender="b@leased.example")
tap.equal(asked(), ["txn_end at=0 stored=1 rcpts=1 leased=1", "mail <b@leased.example>"],
          "A22 another sender is asked about; A29 what came to nothing is not counted")
c.mail(MAIL, sender="b@leased.example")
tap.equal(asked(), [], "a lease of its own")
tap.equal(s.until("^txn_end", 2), "txn_end at=0 stored=1 rcpts=1 leased=1", "A29 told after half a second")
c.mail(MAIL, sender="b@leased.example")
tap.equal(asked(), ["mail <b@leased.example>"], "A22 a lease ends by the clock")
c.mail(MAIL, sender="b@leased.example")
asked()
s.order("authd change")
tap.equal(s.until("^txn_end", 0.3), "txn_end at=0 stored=1 rcpts=1 leased=1", "A22 authd ends it")
c.mail(MAIL, sender="b@leased.example")
tap.equal(asked(), ["mail <b@leased.example>"], "A22 and is asked again")
c.envelope(sender="b@leased.example")
c.send(MAIL)
s.order("authd change")
is_reply(c.cmd("."), "250", "A22 a message under way goes on")
tap.equal(asked() + [s.until("^txn_end", 2)], ["txn_end at=0 stored=1 rcpts=1 leased=1"],
          "A29 and is counted, though its lease has ended")
c.mail(MAIL, sender="b@leased.example")
c.mail(MAIL, sender="b@leased.example")
asked(), asked()
c.close()
tap.equal(s.until("^txn_end", 0.4), "txn_end at=0 stored=1 rcpts=1 leased=1", "A29 the end of the session tells")
c = s.connect("net")
c.cmd("EHLO a")
for _ in range(3):
    c.mail(MAIL, **LEASED)
s.order("authd drop")
time.sleep(0.1)  # smtpd hears of it from master; a lease would last longer
is_reply(c.cmd("MAIL FROM:<a@leased.example>"), "451", "A22 without authd there is no lease")
s.order("authd new")
wait_for(lambda: c.cmd("MAIL FROM:<a@leased.example>").startswith("250") or None, 10, "authd")
c.cmd("RSET")
is_reply(c.mail(MAIL, **LEASED), "250", "and with a new one all is well")
c.close()
settled()

many = s.connect("net")
many.cmd("EHLO a")
many.cmd("MAIL FROM:<a@checked.example>")
many.send("".join(f"RCPT TO:<u{i}@dest.example>\r\n" for i in range(1000)) + "RCPT TO:<one@more.example>\r\nRSET\r\n")
got = [many.reply() for _ in range(1002)]
tap.ok(all(g.startswith("250 2.1.5") for g in got[:1000]), "1000 pipelined recipients", got[:3])
is_reply(got[1000], "452 4.5.3", "and not one more")
is_reply(got[1001], "250 2.0.0", "RSET behind them")

# A line that ends the session, behind recipients that wait: all are answered, in order.
c = s.connect("net")
c.cmd("EHLO a")
c.cmd("MAIL FROM:<a@checked.example>")
c.send("RCPT TO:<a@dest.example>\r\nRCPT TO:<b@dest.example>\nX\r\n")
is_reply(c.reply(), "451 4.3.0", "atk-A9 a recipient that waited is not taken")
is_reply(c.reply(), "500 5.5.2", "atk-A9 bare LF ends the session")

c = s.connect("net")
c.cmd("EHLO a")
c.cmd("MAIL FROM:<a@checked.example>")
s.order("authd drop")
is_reply(c.cmd("RCPT TO:<a@dest.example>"), "451 4.3.0", "no authd: recipients are for later")
s.order("authd new")
c.close()

# Places for connections

for other in (many,):
    other.close()
time.sleep(0.3)
s.order("room 2")
a, b = hello(), hello()
c = s.connect("key", greet=False)
is_reply(c.reply(), f"421 4.7.0 {HOST} Error: too many connections", "A30 one too many")
tap.ok(c.closed(), "A30 and closed")
s.wait_log(r"NOQUEUE: reject: CONNECT from localhost\[127\.0\.0\.1\]: 421 4\.7\.0 Error: too many connections",
           "A30 LOGS")
c = s.connect("smtps", greet=False)
is_reply(c.reply(), "421 4.7.0", "A30 behind implicit TLS: said after the handshake")
a.close()
time.sleep(0.3)
a = hello()
is_reply(a.cmd("NOOP"), "250", "A30 closing one frees a place")
s.order("authd drop")
extra = hello()
is_reply(extra.cmd("NOOP"), "250", "without authd all are let in")
s.order("authd new")
time.sleep(0.3)
c = s.connect("key", greet=False)
is_reply(c.reply(), "421 4.7.0", "A30 a new authd is told who is here")
s.order("room 0")
s.end()
tap.done()
