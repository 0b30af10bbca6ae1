#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The client's name: asked before the greeting, bounded in time; early talkers. In a network of its own."""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import HOST, Smtpd, is_reply, private_network, tap  # noqa: E402

private_network()
for last in (10, 11, 12):
    subprocess.run(["ip", "address", "add", f"192.0.2.{last}/24", "dev", "lo"], check=True)
subprocess.run(["ip", "address", "add", "2001:db8::10/64", "dev", "lo", "nodad"], check=True)
s = Smtpd(address="0.0.0.0", listeners={
    "mx": "tls starttls; auth optional", "smtps": "tls implicit; auth required",
    "quiet": "tls starttls; auth optional; reverse-lookup no",
    "far": "tls none; auth networks 192.0.2.0/24 tenant acme"})


def connect(last, port="mx", **kw):
    return s.connect(port, host="192.0.2.10", source=f"192.0.2.{last}", **kw)


c = connect(10)
s.wait_log(r": connect from client\.example\[192\.0\.2\.10\]$", "LOGS the confirmed name")
is_reply(c.cmd("EHLO a"), f"250-{HOST}", "session goes on")
c.close()
c = connect(12)
s.wait_log(r": connect from unknown\[192\.0\.2\.12\]$", "LOGS unknown")
s.until("^ptr 4")
s.until("^ptr 4")
c = connect(12, "quiet")
tap.ok(s.nothing("^ptr"), "reverse-lookup no: nothing is asked")
start = time.monotonic()
c = connect(11)
took = time.monotonic() - start
tap.ok(4 < took < 8, "S25 a silent resolver delays the greeting by 5 s at most", took)
s.wait_log(r": connect from unknown\[192\.0\.2\.11\]$", "LOGS unknown")

c = connect(11, greet=False)
c.send("EHLO early\r\nMAIL FROM:<a@b.example>\r\n")
is_reply(c.reply(), "554 5.5.0", "atk-D3 S03 input before the greeting")
tap.ok(c.closed(), "atk-D3 closed")
s.wait_log(r": warning: commands before the greeting from unknown\[192\.0\.2\.11\]: EHLO early", "logged")
c = connect(11, "far", greet=False)
c.send("EHLO early\r\n")
is_reply(c.reply(), "220", "a trusted network may be early")
is_reply(c.reply(), "250", "and is answered in order")
c.cmd("MAIL FROM:<a@acme.example>")
is_reply(c.cmd("RCPT TO:<x@dest.example>"), "250", "client of the network")
c.cmd("DATA")
c.send("From: a@b.example\r\n\r\n")
is_reply(c.cmd("."),
         "250", "mail")
m = s.stored()
tap.equal((m["client"], m["tenant"], m["user"]), ("unknown[192.0.2.11]", "acme", ""), "identity by network")
c = connect(10, "smtps")
is_reply(c.cmd("EHLO a"), "250", "implicit TLS behind the look-up")
s.end()
tap.done()
