#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""FUTURERELEASE (RFC 4865) and MT-PRIORITY (RFC 6710): who is offered them, which values are taken, what is stored."""

import base64
import os
import re
import sys
import time
from datetime import datetime, timedelta, timezone

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Smtpd, is_reply, tap  # noqa: E402

VIP = base64.b64encode(b"\0vip\0good").decode()
H = b"Subject: x\r\nFrom: \"News\" <news@acme.example>, b@acme.example\r\n\r\n"
MAIL = "MAIL FROM:<a@acme.example>"
DAY = 86400


def rfc3339(seconds, offset=0):
    """That many seconds from now."""
    zone = timezone(timedelta(minutes=offset))
    return datetime.fromtimestamp(time.time() + seconds, zone).isoformat(timespec="seconds")


def vip(s, port="key"):
    c = s.connect(port)
    c.cmd("EHLO a")
    c.cmd("AUTH PLAIN " + VIP)
    return c


def stored(c, params):
    """The record of a message with these parameters, and the time of its final reply."""
    is_reply(c.cmd(f"{MAIL} {params}"), "250", f"MAIL {params}")
    c.cmd("RCPT TO:<b@dest.example>")
    c.cmd("DATA")
    c.send(H)
    c.cmd(".")
    return c.s.stored(), time.time()


s = Smtpd(limits="\terrors 10000\n\tfuture-release-max 2d", extra="received full\n")
c = s.connect("key")
plain = c.cmd("EHLO a")
c.cmd("AUTH PLAIN " + base64.b64encode(b"\0app\0good").decode())
tap.ok("FUTURERELEASE" not in plain + c.cmd("EHLO a"), "RFC 4865: not offered before AUTH, nor to a key without the right")
tap.ok("MT-PRIORITY" not in plain + c.cmd("EHLO a"), "RFC 6710: neither is the other")
is_reply(c.cmd(MAIL + " HOLDFOR=10"), "555 5.5.4", "RFC 4865: what was not offered is not taken")
is_reply(c.cmd(MAIL + " MT-PRIORITY=-10"), "501 5.5.4", "RFC 6710: a wrong value is one for everybody")
is_reply(c.cmd(MAIL + " MT-PRIORITY=4"), "250 2.3.6 0 ", "RFC 6710, 5: without the right the mail is taken at priority 0, and that is said")
c.cmd("RCPT TO:<b@dest.example>")
c.cmd("DATA")
c.send(H)
c.cmd(".")
tap.equal(s.stored()["mt"], "0", "RFC 6710: and is stored so")
is_reply(c.cmd(MAIL + " MT-PRIORITY=0"), "250 2.1.0", "what is 0 anyway is no news")
c.close()
c = s.connect("net")
c.cmd("EHLO a")
is_reply(c.cmd(MAIL + " MT-PRIORITY=4"), "555 5.5.4", "RFC 6710: without a key there is no such right")
c.close()

c = vip(s)
ehlo = c.cmd("EHLO a")
m = re.search(r"^250-FUTURERELEASE (\d+) (\S+)$", ehlo, re.M)
tap.ok(m and m[1] == "172800", "RFC 4865, 3: the longest time is announced", ehlo)
latest = datetime.strptime(m[2], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp() if m else 0
tap.ok(abs(latest - time.time() - 2 * DAY) < 60, "RFC 4865, 3: and the latest", ehlo)
tap.ok(re.search(r"^250-MT-PRIORITY$", ehlo, re.M), "RFC 6710, 3: MT-PRIORITY is announced", ehlo)

WRONG = ["HOLDFOR", "HOLDFOR=", "HOLDFOR=0", "HOLDFOR=01", "HOLDFOR=-1", "HOLDFOR=1x", "HOLDFOR=1000000000", "HOLDFOR=99999999999999999999",
         "HOLDFOR=172801", "HOLDUNTIL", "HOLDUNTIL=tomorrow", "HOLDUNTIL=" + rfc3339(2 * DAY + 60), "HOLDUNTIL=2026-13-01T00:00:00Z",
         "HOLDUNTIL=2026-02-29T00:00:00Z", "HOLDUNTIL=2026-01-01", "HOLDUNTIL=2026-01-01T00:00:00", "HOLDUNTIL=2026-01-01T24:00:00Z",
         "HOLDUNTIL=2026-01-01T00:00:00.Z", "HOLDUNTIL=2026-01-01T00:00:00Z1", "HOLDUNTIL=2026-01-01T00:00:00+1:00",
         "HOLDUNTIL=1969-12-31T23:59:59Z", "HOLDUNTIL=99999-01-01T00:00:00Z", "HOLDFOR=10 HOLDUNTIL=" + rfc3339(60),
         "HOLDUNTIL=" + rfc3339(60) + " HOLDFOR=10", "HOLDFOR=10 HOLDFOR=10", "MT-PRIORITY", "MT-PRIORITY=", "MT-PRIORITY=10",
         "MT-PRIORITY=+1", "MT-PRIORITY=-0", "MT-PRIORITY=01", "MT-PRIORITY=--1", "MT-PRIORITY=a", "MT-PRIORITY=1 MT-PRIORITY=1"]
for params in WRONG:
    is_reply(c.cmd(f"{MAIL} {params}"), "501 5.5.4", f"RFC 4865 RFC 6710: {params}")
is_reply(c.cmd("RCPT TO:<b@dest.example>"), "503", "and none of them opened a transaction")

for params, low in [("HOLDFOR=100", 100), ("holdfor=172800", 172800), ("HOLDUNTIL=" + rfc3339(300), 299),
                    ("HOLDUNTIL=" + rfc3339(300, 540), 299), ("HOLDUNTIL=" + rfc3339(300, -210), 299)]:
    start = time.time()
    m, end = stored(c, params)
    release = int(m["release"]) / 1e6
    tap.ok(start + low <= release <= end + low + 1, f"RFC 4865: {params} is stored", (start, release, end))
# RFC 3339: fractions, and T and Z in lower case.
far = datetime.fromtimestamp(int(time.time()) + 600, timezone.utc)
m, end = stored(c, "HOLDUNTIL=" + far.strftime("%Y-%m-%dt%H:%M:%S") + ".25z")
tap.equal(m["release"], str(int(far.timestamp()) * 1000000 + 250000), "RFC 3339: a fraction of a second")
m, end = stored(c, "HOLDUNTIL=" + rfc3339(-5))
tap.equal(m["release"], "0", "RFC 4865: a time that has passed is no hold")
tap.equal((m["header-from"], m["retry"], m["priority"]), ("news@acme.example", "gentle", "2"),
          "J9 C11: the first address of From, the key's schedule and priority go with the message")
for value, mt in [("-9", 1), ("0", 10), ("9", 19)]:
    m, end = stored(c, f"MT-PRIORITY={value} SIZE=100")
    tap.equal(m["mt"], str(mt), f"RFC 6710: MT-PRIORITY={value} is stored")
    tap.match(m["front"], rf"\r\n\tpriority {value}[;\r]", "RFC 6710: and stands in Received")
m, end = stored(c, "")
tap.equal((m["mt"], m["release"]), ("0", "0"), "neither stays for the next message")
tap.ok("priority" not in m["front"], "nor in its Received")
is_reply(c.cmd("MAIL FROM:<a@norights.example> HOLDFOR=10"), "550 5.7.1", "RFC 4865: a right that was taken away meanwhile")
is_reply(c.cmd("MAIL FROM:<a@norights.example> MT-PRIORITY=9"), "250 2.3.6", "RFC 6710: so is this one")
c.cmd("RSET")
c.cmd("HELO a")
is_reply(c.cmd(MAIL + " HOLDFOR=10"), "555", "not after HELO")
c.close()
s.end()

s = Smtpd(name="off", limits="\tfuture-release-max 0")
c = vip(s)
tap.ok("FUTURERELEASE" not in c.cmd("EHLO a"), "future-release-max 0: not offered")
is_reply(c.cmd(MAIL + " HOLDFOR=10"), "555 5.5.4", "nor taken")
c.close()
s.end()
tap.done()
