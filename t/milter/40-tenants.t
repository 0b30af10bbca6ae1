#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Milters of single tenants: who they are shown, what they hear before MAIL, and what they may do."""
import os
import re
import smtplib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403
from testmilter import Milter  # noqa: E402

private_network()


def heard(milter):
    """The callbacks since the last call, without macros, headers and the like."""
    return re.findall(r"^(connect|helo|mail|rcpt|eom|abort)\b", milter.take(), re.M)


every, acme, rest, shut = Milter("every"), Milter("acme"), Milter("rest"), Milter("shut", env={"AT_CONNECT": "reject"})
ports = {n: free_port() for n in ("key", "net")}
s = Suite(listeners=f"""
listen key {{ address 127.0.0.1:{ports['key']}; tls implicit; auth required; reverse-lookup no; milters every acme rest shut; }}
listen net {{ address 127.0.0.1:{ports['net']}; tls none; auth networks 127.0.0.0/8 tenant acme; reverse-lookup no; milters acme; }}
""", extra=f"""
relayhost [127.0.0.5]:25
milter every {{ socket unix:{every.path}; timeout 5s; }}
milter acme {{ socket unix:{acme.path}; tenants acme; timeout 5s; }}
milter rest {{ socket unix:{rest.path}; tenants other other-*; timeout 5s; }}
milter shut {{ socket unix:{shut.path}; tenants closed; timeout 5s; }}
""")
sink = Sink("127.0.0.5", 25)
secrets = {t: (f"{t}1", s.tenant(t, f"{t}1", f"{t}.test")) for t in ("acme", "other", "other-two", "closed", "free")}


def send(tenant, times=1, extra=""):
    """All replies at the end of data, over one connection; and what each milter heard."""
    got = []
    with smtplib.SMTP_SSL("127.0.0.1", ports["key"], context=client_context(), timeout=30, local_hostname="c.test") as c:
        c.login(*secrets[tenant])
        for _ in range(times):
            code, text = c.mail(f"a@{tenant}.test")
            if code == 250:
                c.rcpt("b@rcpt.test")
                code, text = c.data(mail(sender=f"a@{tenant}.test", extra=extra).encode())
            got.append(code)
    return got, heard(every), heard(acme), heard(rest), heard(shut)


INTRODUCTION, MESSAGE = ["connect", "helo"], ["mail", "rcpt", "eom"]
tap.equal(send("acme"), ([250], INTRODUCTION + MESSAGE, INTRODUCTION + MESSAGE, [], []),
          "a tenant's milter hears of the connection when there is mail of the tenant, one of others never")
got = send("other-two", 3)
tap.equal((got[0], got[2], got[3]), ([250] * 3, [], INTRODUCTION + MESSAGE * 3), "a pattern of tenants; introduced once")
got = send("free")
tap.equal((got[0], got[1:]), ([250], (INTRODUCTION + MESSAGE, [], [], [])), "a tenant without a milter of its own")
got = send("closed", 2)
tap.equal((got[0], got[4]), ([550, 550], ["connect", "connect"]), "what it says of the connection is said of MAIL")
n = len(sink.messages)
tap.equal(send("acme", extra="X-Do: addheader X-Seen yes\r\n")[0], [250], "a tenant's milter changes its mail")
with smtplib.SMTP("127.0.0.1", ports["net"], timeout=30, local_hostname="one.test") as c:
    c.ehlo("one.test")
    c.sendmail("a@acme.test", ["b@rcpt.test"], mail(sender="a@acme.test"))
    c.ehlo("two.test")
    c.sendmail("a@acme.test", ["b@rcpt.test"], mail(sender="a@acme.test"))
tap.equal(heard(acme), INTRODUCTION + MESSAGE + ["helo"] + MESSAGE, "of a network's tenant; a later HELO is told, too")
acme.proc.end()
tap.equal((send("free")[0], send("acme")[0]), ([250], [451]), "one that is gone concerns its tenants alone")

s.stop()
tap.done()
