#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""1,000 tarpits at once: servers that accept and say nothing, drip, or stop in the middle. J5, C13, atk-G4, S27."""

import os
import resource
import selectors
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import *  # noqa: E402,F403

COUNT, REPLY_S, SESSION_S, KIB_MAX = 1000, 8, 90, 12
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if hard < 2 * COUNT + 200:
    skip_all("too few descriptors")
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Tarpits:
    """One thread for all of them. What each says at once, and then again and again, one byte at a time."""
    KINDS = ((b"", b""), (b"", b"220-drip\r\n"), (b"220 mx ESMTP\r\n", b""), (b"220 mx ESMTP\r\n", b"250-slow\r\n"))

    def __init__(self):
        self.listen = socket.socket()
        self.listen.bind(("127.0.0.1", 0))
        self.listen.listen(4096)
        self.port = self.listen.getsockname()[1]
        self.socks, self.sent = [], []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        sel = selectors.DefaultSelector()
        sel.register(self.listen, selectors.EVENT_READ)
        next_drip = time.monotonic() + 1
        while True:
            for _ in sel.select(0.2):
                s, _ = self.listen.accept()
                s.setblocking(False)
                s.sendall(self.KINDS[len(self.socks) % 4][0])
                self.socks.append(s)
                self.sent.append(0)
            if time.monotonic() > next_drip:
                self.drip()
                next_drip = time.monotonic() + 1

    def drip(self):
        for i, s in enumerate(self.socks):
            text = self.KINDS[i % 4][1]
            try:
                s.send(text[self.sent[i] % len(text):][:1] if text else b"")
            except OSError:
                pass
            self.sent[i] += 1


def rss():
    """KiB of the daemon."""
    children = open(f"/proc/{d.proc.pid}/task/{d.proc.pid}/children").read().split()
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{children[0]}/status").read())[1])


d = Smtp(conf(reply=f"{REPLY_S}s", session=f"{SESSION_S}s"))
good = Server(Sink(("PIPELINING",)))
pits = Tarpits()
c0 = d.open(port=good.port, idle_s=60)
d.done(d.deliver(c0))
sanitizer = "asan" in subprocess.run(["ldd", f"{BUILD}/smtp/smtp"], capture_output=True, text=True).stdout
before, start = rss(), time.monotonic()
conns = [d.open("pit.test", pits.port, mx=True, hosts=mx_hosts([(10, "mx.pit.test", ["127.0.0.1"])]))
         for _ in range(COUNT)]
while len(pits.socks) < COUNT and time.monotonic() < start + 60:
    time.sleep(0.05)
tap.equal(len(pits.socks), COUNT, "J5: 1,000 connections that get nowhere")
took = []
for i in range(20):
    begin = time.monotonic()
    tap.ok(d.done(d.deliver(c0, [f"r{i}@t"]))[0]["status"] == RCPT_SENT, "J5: mail for others goes on") if i == 0 else \
        d.done(d.deliver(c0, [f"r{i}@t"]))
    took.append(time.monotonic() - begin)
tap.ok(sorted(took)[10] < 0.5, "J5: and no slower than usual", took)
c1 = d.open(port=good.port)
tap.ok(isinstance(d.settle(c1, 10), str), "J5: also on a new connection")
each = (rss() - before) / COUNT
print(f"# {each:.1f} KiB for each stuck connection")
tap.ok(sanitizer or each < KIB_MAX, f"J5: a stuck connection takes less than {KIB_MAX} KiB", each)
ends = [d.closed(c, 90) for c in conns]
took = time.monotonic() - start
tap.equal({(m["why"], m["event"]) for m in ends}, {(CONN_FAILED, EVENT_TIMEOUT)}, "atk-G4: each ends, with a timeout")
tap.equal({m["stage"] for m in ends}, {STAGE_GREETING, STAGE_EHLO}, "atk-G4: where it was stuck")
tap.ok(took < REPLY_S + 40, "atk-G4: by the clock, however steadily they drip", took)
tap.equal(d.done(d.deliver(c0))[0]["status"], RCPT_SENT, "C13: the connection that was kept meanwhile is still good")
for c in (c0, c1):
    d.send("qmgr", "conn_close", conn=c)
    d.closed(c)
good.stop()
d.finish()
tap.done()
