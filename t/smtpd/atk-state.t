#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""ATTACKS D: the order of things. Random sequences are in model.t, early talkers also in name.t."""

import os
import random
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from evil import ENVELOPE, GOOD, HEADER, HOST, LISTENERS, Smtpd, attack, is_reply, private_network, replies, reset, tap  # noqa: E402

private_network()
for last in (10, 11, 12):
    subprocess.run(["ip", "address", "add", f"192.0.2.{last}/24", "dev", "lo"], check=True)
s = Smtpd(address="0.0.0.0", listeners={k: v for k, v in LISTENERS.items() if k != "key"}, limits="\terrors 100\n\trecipients-per-message 100")

# D1: a refusal at the end of data ends the transaction, for every reason there is.
OVER = [b"RCPT TO:<c@dest.example>\r\n", b"DATA\r\n"]
for what, content, want in (("no From", b"Subject: x\r\n\r\n.\r\n", "500 Valid"), ("a long line", HEADER + b"x" * 1200 + b"\r\n.\r\n", "500 5.5.2"),
                            ("hops", b"Received: x\r\n" * 101 + HEADER + b".\r\n", "554 5.4.6"),
                            ("size", HEADER + (b"x" * 98 + b"\r\n") * 104900 + b".\r\n", "552 5.3.4")):
    attack(s, "D1", f"RCPT and DATA behind a refusal for {what}", "net", [content, *OVER], [want, "503 5.5.1", "503 5.5.1"], state="data")
attack(s, "D1", "RCPT and DATA behind an accepted message", "net", [HEADER, b".\r\n", *OVER], ["250 2.0.0", "503 5.5.1", "503 5.5.1"],
       state="data", stored=1)
for order, codes in (("qmgr write-fails", "452 4.3.1"), ("qmgr sync-fails", "451 4.3.0"), ("qmgr full", "452 4.3.1")):
    c = s.ready("net")
    c.envelope()
    for text in (order, "qmgr drop", "qmgr new"):
        s.order(text)
    time.sleep(0.3)
    c.send(HEADER + b".\r\n")
    got = [c.reply(), c.cmd("RCPT TO:<c@dest.example>"), c.cmd("DATA")]
    c.close()
    for text in ("qmgr give", "qmgr drop", "qmgr new"):
        s.order(text)
    time.sleep(0.3)
    tap.ok(got[0].startswith(codes) and [g[:3] for g in got[1:]] == ["503", "503"] and not s.unharmed("atk-D1"),
           f"atk-D1 RCPT and DATA behind a spool that fails ({order[5:]})", got)

# D2: what was decided for one message is not for the next.
for lines in (["a@refused.example", "a@acme.example", "a@refused.example"], ["a@acme.example", "a@refused.example", "a@acme.example"]):
    c = s.ready("both")
    got = [c.mail(HEADER, sender=sender)[:4] if sender.endswith("acme.example") else c.cmd(f"MAIL FROM:<{sender}>")[:4] for sender in lines]
    c.close()
    want = ["250 " if sender.endswith("acme.example") else "550 " for sender in lines]
    tap.ok(got == want and len(s.unharmed("atk-D2", "both")) == want.count("250 "), f"atk-D2 {' then '.join(lines)}", got)

# D3: on mx nobody speaks before he is spoken to; elsewhere pipelining may begin with EHLO.
TALK = b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA\r\n"


def early(port, data):
    c = s.connect(port, greet=False, host="192.0.2.10", source="192.0.2.11")  # its name takes time
    c.send(data)
    got = replies(c)
    c.close()
    return got


for data in (TALK, b"EHLO a\r\n", b"\r\n", b"x"):
    got = early("mx", data)
    tap.ok([x[:9] for x in got] == ["554 5.5.0"] and not s.unharmed("atk-D3"), f"atk-D3 {data[:8]!r} before the greeting of mx", got)
attack(s, "D3", "all in one write behind the greeting of mx", "mx", TALK, ["554 5.5.0"], closed=True, state="greeted")
attack(s, "D3", "a pipeline that begins with EHLO elsewhere", "net", [b"EHLO a\r\n", ENVELOPE], [f"250-{HOST}", "250 2.1.0", "250 2.1.5"],
       state="greeted")

# D5: the client goes right behind the final dot: the message is there once, or not at all.
rng = random.Random(5)
for how in ("close", "reset", "half"):
    counts = set()
    for _ in range(15):
        c = s.ready("net")
        c.envelope()
        c.send(HEADER + b"x\r\n" * rng.randrange(1000) + b".\r\n")
        if how == "reset":
            reset(c)
        elif how == "half":
            c.sock.shutdown(socket.SHUT_WR)
            c.reply()
        c.close()
        counts.add(len(s.unharmed("atk-D5")))
    tap.ok(counts <= ({1} if how == "half" else {0, 1}), f"atk-D5 {how} behind the final dot", counts)
c = s.ready("net")
c.envelope()
c.send(HEADER + b"x\r\n.")
c.close()
tap.equal(s.unharmed("atk-D5"), [], "atk-D5 close before the final dot is whole")

# D6: other protocols.
FOREIGN = {"GET": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST with an envelope": b"POST / HTTP/1.1\r\nContent-Length: 99\r\n\r\nEHLO a\r\n" + ENVELOPE,
           "CONNECT": b"CONNECT mta.test:25 HTTP/1.1\r\n\r\n", "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "SSH": b"SSH-2.0-x\r\n",
           "OPTIONS": b"OPTIONS * HTTP/1.1\r\n", "ClientHello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)}
for what, data in FOREIGN.items():
    for port in ("net", "mx", "submission"):
        attack(s, "D6", what, port, data, [], closed=True, state="greeted")
attack(s, "D6", "a browser behind TLS", "smtps", FOREIGN["GET"], [], closed=True, state="greeted")
attack(s, "D6", "replies to what came before still leave", "net", [HEADER, b".\r\nNOOP\r\n", FOREIGN["POST with an envelope"]],
       ["250 2.0.0 Ok: queued", "250 2.0.0"], closed=True, state="data", stored=1)
s.wait_log(r"warning: non-SMTP command from localhost\[127\.0\.0\.1\]: POST / HTTP/1\.1$", "atk-D6 it is logged")
attack(s, "D6", "DNS over TCP", "net", b"\0\x1d\x12\x34\1\0\0\1\0\0\0\0\0\0\3foo\4test\0\0\1\0\1\r\n", ["500 5.5.2"], closed=True, state="greeted")
attack(s, "D6", "IMAP", "net", b"a1 LOGIN user secret\r\n", ["500 5.5.1"], state="greeted")

# D7: nobody is believed to speak for another: no such header or command is known.
V2 = b"\r\n\r\n\0\r\nQUIT\n"
for what, data, want, closed in (
        ("PROXY v1", b"PROXY TCP4 203.0.113.7 192.0.2.1 1 25\r\n", ["500 5.5.1"], False),
        ("PROXY v1 without end", b"PROXY TCP4 203.0.113.7 192.0.2.1 1 " + b"2" * 3000, ["500 5.5.2"], True),
        ("PROXY v2", V2 + b"\x21\x11\0\x0c\xcb\x00\x71\x07\xc0\0\2\1\0\1\0\x19", ["500 5.5.1", "500 5.5.1", "500 5.5.2"], True),
        ("PROXY v2 that is short", V2 + b"\x21\x11\xff\xff", ["500 5.5.1", "500 5.5.1", "500 5.5.2"], True),
        ("XCLIENT", b"XCLIENT ADDR=203.0.113.7 NAME=trusted.example LOGIN=app\r\n", ["500 5.5.1"], False),
        ("XFORWARD", b"XFORWARD ADDR=203.0.113.7 HELO=x\r\n", ["500 5.5.1"], False)):
    attack(s, "D7", what, "net", data, want, closed=closed, state="greeted")
tap.ok("[203.0.113.7]" not in s.log() and "trusted.example[" not in s.log(), "atk-D7 no line of the log names another client")

# C26: commands that ask leave the transaction alone, whatever they ask.
for line in ("VRFY \xc3\xa9", "VRFY a SMTPUTF8", "NOOP", "HELP MAIL", "EXPN \xff", "ETRN x", "WHAT", "", "DATA x", "RCPT TO:<bad", "MAIL FROM:<x@y.example>",
             "AUTH PLAIN " + GOOD, "STARTTLS", "QUIT x", "RSET x"):
    c = s.ready("both")
    c.cmd("MAIL FROM:<a@acme.example>")
    c.cmd("RCPT TO:<b@dest.example>")
    c.cmd(line)
    c.cmd("DATA")
    c.send(HEADER)
    got = c.cmd(".")
    c.close()
    stored = s.unharmed("atk-C26", "both")
    tap.ok(got.startswith("250") and [m["to"] for m in stored] == [["<b@dest.example>"]], f"atk-C26 {line[:12]!r} in a transaction", (got, stored))
s.end()
tap.done()
