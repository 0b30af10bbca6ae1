#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""1,000 hosts that accept connections and say nothing, at once: the others keep their rate; nothing grows.

EKIDEN_TARPITS, EKIDEN_MESSAGES and EKIDEN_ROUNDS make it a measurement.
"""
import os
import resource
import selectors
import smtplib
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

TARPITS = int(os.environ.get("EKIDEN_TARPITS", 1000))
MESSAGES = int(os.environ.get("EKIDEN_MESSAGES", 400))
ROUNDS = int(os.environ.get("EKIDEN_ROUNDS", 2))
TOTAL = 400  # connections: fewer than tarpits
private_network()
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)


class Tarpit(threading.Thread):
    """Takes every connection to many addresses, and says nothing."""

    def __init__(self, addresses):
        super().__init__(daemon=True)
        self.ready = selectors.DefaultSelector()
        for a in addresses:
            self.ready.register(socket.create_server((a, 25)), selectors.EVENT_READ)
        self.held = []
        self.start()

    def run(self):
        while True:
            self.held += [key.fileobj.accept()[0] for key, _ in self.ready.select()]


pit = Tarpit([f"127.1.{i // 250}.{i % 250 + 1}" for i in range(TARPITS)])
lines = "\n".join(f"d{i} IN MX 10 h{i}\nh{i} IN A 127.1.{i // 250}.{i % 250 + 1}" for i in range(TARPITS))
good = [f"good{i}" for i in range(4)]
ns = Nsd({"pit.test": lines, **{f"{g}.test": f"@ IN MX 10 mx\nmx IN A 127.0.0.{i + 2}" for i, g in enumerate(good)}})
sinks = [Sink(f"127.0.0.{i + 2}", 25) for i in range(4)]
s = Suite(extra=f"delivery {{ connections-total {TOTAL}; idle 1s; }}\nlimits {{ messages-per-hour 0; messages-per-connection 1000000; }}\n")
secret = s.tenant()
client = smtplib.SMTP("127.0.0.1", s.submission, timeout=30, local_hostname="client.test")
client.starttls(context=client_context())
client.login("app1", secret)


def send(rcpts):
    client.sendmail("a@sender.test", rcpts, mail(sender="a@sender.test", to=rcpts[0]))


def round_of(n):
    """Seconds that n messages to the good hosts take."""
    had = [len(x.messages) for x in sinks]
    began = time.monotonic()
    for i in range(n):
        send([f"r{i}@{good[i % 4]}.test"])
    for x, was in zip(sinks, had):
        x.wait(was + n // 4, 120)
    return time.monotonic() - began


round_of(40)
before = min(round_of(MESSAGES) for _ in range(ROUNDS))
for at in range(0, TARPITS, 50):
    send([f"x@d{i}.pit.test" for i in range(at, min(at + 50, TARPITS))])
wait_for(lambda: len(pit.held) >= TOTAL * 3 // 4 - 8, 60, "tarpits with connections")
during = min(round_of(MESSAGES) for _ in range(ROUNDS))
print(f"# {before:.2f} s without, {during:.2f} s with {TARPITS} tarpits that hold {len(pit.held)} connections:"
      f" {100 * before / during:.0f}% of the rate")
tap.ok(during < before * 1.5 + 1, "J5 hosts that say nothing do not slow the others", (before, during))
tap.ok(len(pit.held) <= TOTAL * 3 // 4, "and leave a quarter of all connections", len(pit.held))
tap.equal(s.queue_count()["active"], TARPITS, "their mail waits")
s.stop()
tap.done()
