#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Two relays that send everything to each other: the loop ends at the hop limit, and so does its report. atk-H1, H3, F8."""
import os
import re
import smtplib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

private_network()
HOPS = 100
ns = Nsd({"rcpt.test": "@ IN MX 10 mx\nmx IN A 127.0.0.2"})
ports = free_port(), free_port()


def relay(name, own, other):
    s = Suite(name=name, extra=f"relayhost [127.0.0.1]:{other}\n",
              listeners=f"listen local {{ address 127.0.0.1:{own}; tls none; reverse-lookup no; "
                        "auth networks 127.0.0.0/8 tenant acme; }\n")
    s.tenant()
    return s


a, b = relay("a", *ports), relay("b", *reversed(ports))
with smtplib.SMTP("127.0.0.1", ports[0], timeout=30, local_hostname="c.test") as c:
    c.sendmail("a@sender.test", ["b@rcpt.test"], mail(subject="round"))


def ends(pattern):
    return [x for s in (a, b) for x in s.log().splitlines() if re.search(pattern, x)]


def empty():
    return all(s.queue_count()["messages"] == 0 for s in (a, b)) if len(ends("status=bounced")) >= 1 else False


try:
    wait_for(empty, 90, "both queues to be empty", 0.5)
    tap.ok(True, "atk-H3 the loop ends by itself")
except AssertionError as e:
    tap.ok(False, "atk-H3 the loop ends by itself", f"{e}\n{a.queue_count()} {b.queue_count()}\n{a.log()[-1500:]}")
copies = len(ends(r"to=<b@rcpt\.test>.*status=sent"))
tap.ok(HOPS - 3 <= copies <= HOPS, f"atk-H3 a message has no more than {HOPS} copies", copies)
bounced = ends(r"to=<b@rcpt\.test>.*status=bounced")
tap.ok(len(bounced) == 1 and re.search(r"5\.4\.6", bounced[0]), "atk-F8 then it is refused with 5.4.6, once", bounced)
reports = ends(r"to=<a@sender\.test>.*status=")
tap.ok(len([x for x in reports if "status=bounced" in x]) <= 1 and len(reports) <= HOPS + 1,
       "atk-H1 its one report goes no further round, and there is none about the report", reports[-3:])
s_reports = [x for s in (a, b) for x in s.log().splitlines() if "sender non-delivery" in x or "ekiden/bounce" in x]
tap.ok(len(s_reports) <= 2, "atk-H3 a single report was written", s_reports)
for s in (a, b):
    tap.equal(s.stop(), 0, "the suite stops")
tap.done()
