#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""kill -9 of every daemon during traffic, and of all at once: what was answered 250 is delivered."""
import os
import re
import signal
import smtplib
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

private_network()
ns = Nsd({"rcpt.test": "@ IN MX 10 mx\nmx IN A 127.0.0.2"})
sink = Sink("127.0.0.2", 25)
PORT = free_port()
s = Suite(listeners=f"listen local {{ address 127.0.0.1:{PORT}; tls none; reverse-lookup no; "
                    "auth networks 127.0.0.0/8 tenant acme; }\n",
          extra="retry { method linear; a 1; period 600; }\nlimits { messages-per-hour 0; }\n")
s.tenant()


class Client(threading.Thread):
    """Sends numbered messages; `acked` are those whose 250 was read."""

    def __init__(self, prefix):
        super().__init__(daemon=True)
        self.prefix, self.acked, self.stop = prefix, [], False
        self.start()

    def run(self):
        n = 0
        while not self.stop:
            try:
                with smtplib.SMTP("127.0.0.1", PORT, timeout=15, local_hostname="c.test") as c:
                    while not self.stop:
                        n += 1
                        subject = f"{self.prefix}-{n}"
                        c.sendmail("a@sender.test", ["b@rcpt.test"], mail(subject=subject))
                        self.acked.append(subject)
            except (OSError, smtplib.SMTPException):
                time.sleep(0.05)


def arrived():
    return [re.search(rb"^Subject: (\S+)", m["data"], re.M).group(1).decode() for m in list(sink.messages)]


def settled(acked, name, faults):
    try:
        wait_for(lambda: not set(acked) - set(arrived()), 60, "every acknowledged message")
    except AssertionError:
        pass
    missing = set(acked) - set(arrived())
    tap.ok(not missing, f"S35 {name}: all {len(acked)} acknowledged messages arrived",
           f"missing {sorted(missing)[:10]} of {len(missing)}\n" + s.log()[-3000:])
    seen = arrived()
    doubles = len(seen) - len(set(seen))
    tap.ok(doubles <= faults * 200, f"{name}: {doubles} duplicates, none without a fault")


clients = [Client("calm") for _ in range(1)]
time.sleep(1)
for c in clients:
    c.stop = True
    c.join(20)
settled(clients[0].acked, "calm", 0)

for role in ("smtpd", "qmgr", "smtp", "authd", "dnsd", "signd", "bounce"):
    clients = [Client(f"{role}{i}") for i in range(3)]
    time.sleep(0.7)
    for pid, _ in s.pids(role):
        os.kill(pid, signal.SIGKILL)
    time.sleep(1.5)
    for c in clients:
        c.stop = True
    for c in clients:
        c.join(30)
    acked = [a for c in clients for a in c.acked]
    tap.ok(len(acked) > 5, f"kill -9 {role}: clients go on ({len(acked)} accepted)")
    settled(acked, f"kill -9 {role}", 1)
    tap.ok(wait_for(lambda: s.pids(role), 10, role), f"{role} was restarted")

# Everything at once, with a full queue that cannot leave, then again with one that can.
sink.reply = lambda stage, arg, session: "451 4.3.0 later" if stage == "rcpt" else None
clients = [Client(f"all{i}") for i in range(3)]
time.sleep(1.5)
s.kill9()
for c in clients:
    c.stop = True
for c in clients:
    c.join(30)
acked = [a for c in clients for a in c.acked]
s.start()
count = s.queue_count()
tap.ok(count["messages"] >= len(set(acked)), f"restart with a queue: {count['messages']} messages for "
       f"{len(acked)} acknowledged")
sink.reply = lambda stage, arg, session: None
s.mtactl("queue", "flush", "--all")
settled(acked, "kill -9 of all, restart", 1)
wait_for(lambda: s.queue_count()["messages"] == 0, 20, "an empty queue")
tap.ok(True, "the queue is empty at the end")
tap.equal(s.stop(), 0, "graceful stop")
tap.done()
