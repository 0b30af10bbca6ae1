#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""A listing has each recipient once, also of messages that leave memory while it is written."""
import json
import os
import smtplib
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

STAYING, GOING = 4000, 20  # the former fill all buffers between qmgr and a reader that stands still


def later(stage, _arg, _session):
    if stage != "rcpt":
        return None
    time.sleep(1)
    return "451 4.3.0 later"


private_network()
ns = Nsd({"stay.test": "@ IN MX 10 mx\nmx IN A 127.0.0.3", "go.test": "@ IN MX 10 mx\nmx IN A 127.0.0.2"})
silent = socket.create_server(("127.0.0.3", 25))
sink = Sink("127.0.0.2", 25, reply=later)
port = free_port()
s = Suite(listeners=f"listen local {{ address 127.0.0.1:{port}; tls none; reverse-lookup no; "
          "auth networks 127.0.0.0/8 tenant acme; }\n",
          extra="retry { method linear; a 300; period 1d; }\n"
          "limits { messages-per-connection 1000000; messages-per-hour 0; }\n")
s.tenant()

with smtplib.SMTP("127.0.0.1", port, "client.test") as c:
    for i in range(STAYING + GOING):
        c.sendmail("a@sender.test", [f"u{i}@{'stay' if i < STAYING else 'go'}.test"], mail(f"m{i}"))

argv = [f"{BUILD}/mtactl/mtactl", "-c", s.conf, "-j", "queue", "list"]
with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as listing:
    rows = [json.loads(listing.stdout.readline())]
    wait_for(lambda: {r["state"] for r in s.mtactl("queue", "list", "--domain=go.test", json_rows=True)} ==
             {"deferred"}, 30, "go.test deferred")
    rows += [json.loads(line) for line in listing.stdout]
at_end = s.mtactl("queue", "list", json_rows=True)
states = {d: {r["state"] for r in rows if r["rcpt"].endswith(d)} for d in ("@stay.test", "@go.test")}
tap.equal(states, {"@stay.test": {"active"}, "@go.test": {"deferred"}}, "listed before and after the change")
for what, listed in (("under way", rows), ("at the end", at_end)):
    seen = [r["rcpt"] for r in listed]
    tap.equal((len(seen), len(set(seen))), (STAYING + GOING,) * 2, f"{what}: each recipient once")

s.stop()
tap.done()
