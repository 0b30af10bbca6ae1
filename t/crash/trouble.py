# SPDX-License-Identifier: ISC
"""Clocks that jump, a log that nobody reads, reloads without end, name servers that are dead, slow or lie.

None of these is a crash: nothing may be lost, and nothing may go out twice.
"""

import fcntl
import os
import re
import socket
import threading
import time

from points import fault_build
from rig import Rig, tap, wait_for

DAY = 86400


def run(rig, seconds, clients=3):
    rig.load(clients, pause=0.005)
    time.sleep(seconds)
    return rig.unload()


def verdict(rig, name, detail=""):
    rig.settle()
    c = rig.verdict(name + detail)
    tap.equal((c.duplicates, c.reports_again), (0, 0), f"{name}: nothing went out twice")
    rig.end()


def at_monotonic(seconds):
    return int(time.monotonic() + seconds)


def clock(args):
    if not fault_build():
        tap.count += 1
        print(f"ok {tap.count} # skip clock jumps need a build with --enable-faults")
        return
    for name, jump in (("back 1 day", -DAY), ("forward 10 days", 10 * DAY))[:1 if args.short else 2]:
        rig = Rig(seed=args.seed, extra="retry { period 30d; }\n")
        rig.suite.write(rig.suite.extra.replace("period 1d;", "period 30d;").replace(
            "retry { period 30d; }\n", ""))
        rig.begin(EKIDEN_CLOCK=f"{jump}@{at_monotonic(2)}")
        before = run(rig, 3)  # the jump is in the middle
        tap.ok(rig.nothing_lost(), f"S35 clock {name} while {before} messages are accepted: none is lost")
        rig.suite.stop()
        rig.suite.start()  # and the other way, over a restart
        after = run(rig, 0.7)
        tap.ok(after > 5, f"S35 clock {name}, and to the truth over a restart: mail flows ({after} accepted)")
        verdict(rig, f"clock {name}")


def stuck_log(args):
    rig = Rig(seed=args.seed)
    rig.begin()
    rig.suite.stop()
    os.unlink(rig.suite.logfile)
    os.mkfifo(rig.suite.logfile, 0o666)
    fd = os.open(rig.suite.logfile, os.O_RDWR | os.O_NONBLOCK)  # a reader that never reads
    fcntl.fcntl(fd, 1031, 4096)  # F_SETPIPE_SZ
    rig.suite.log = lambda: ""
    rig.suite.start()
    accepted = run(rig, 1.5)
    tap.ok(accepted > 20, f"J12 a log that nobody reads: mail flows ({accepted} accepted)")
    verdict(rig, "log stuck")
    os.close(fd)


def reloads(args):
    rig = Rig(seed=args.seed)
    rig.begin()
    rig.load(3, pause=0.005)
    good, text, refused = 0, rig.suite.extra, 0
    end = time.monotonic() + (2 if args.short else 20)
    while time.monotonic() < end:
        bad = rig.rng.random() < 0.2
        rig.suite.write(text + (f"delivery {{ connections {rig.rng.randrange(1, 40)}; }}\n" if not bad
                                else "delivery { connections none; }\n"))
        r = rig.suite.mtactl("reload", check=False)
        good += r.returncode == 0
        refused += r.returncode != 0
        if bad:
            tap.ok(r.returncode != 0, "C26 a wrong configuration is refused under load") if refused == 1 else None
    accepted = rig.unload()
    rig.suite.write(text)
    tap.ok(good > 5 and accepted > 20, f"C26 {good} reloads and {refused} refused ones while {accepted} "
           "messages are accepted")
    verdict(rig, "reload storm")


class Liar(threading.Thread):
    """A name server between the suite and the true one. mode: honest, dead, slow, garbage, other-id,
    other-name, servfail, refers (no answer in it)."""

    def __init__(self, port, true_port=53):
        super().__init__(daemon=True)
        self.mode, self.true = "honest", ("127.0.0.1", true_port)
        self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.bind(("127.0.0.1", port))
        self.asked = 0
        self.start()

    def run(self):
        while True:
            query, peer = self.s.recvfrom(4096)
            self.asked += 1
            threading.Thread(target=self.answer, args=(query, peer), daemon=True).start()

    def ask(self, query):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(2)
            s.sendto(query, self.true)
            return s.recv(4096)

    def answer(self, query, peer):
        mode = self.mode
        try:
            true = self.ask(query)
        except OSError:
            return
        if mode == "dead":
            return
        if mode == "slow":
            time.sleep(1.2)
        lies = {"garbage": os.urandom(60), "other-id": bytes([true[0] ^ 1]) + true[1:],
                "other-name": true[:13] + bytes([true[13] ^ 1]) + true[14:],
                "servfail": query[:2] + b"\x81\x82" + query[4:6] + b"\0" * 6 + query[12:],
                "refers": query[:2] + b"\x81\x80" + query[4:6] + b"\0" * 6 + query[12:]}
        self.s.sendto(lies.get(mode, true), peer)


def names(args):
    liar = Liar(5353)
    rig = Rig(seed=args.seed)
    rig.suite.base = rig.suite.base.replace("server 127.0.0.1:53; dnssec no; timeout 5s;",
                                            "server 127.0.0.1:5353; dnssec no; timeout 2s;")
    rig.suite.write(rig.suite.extra)
    rig.begin()
    modes = ("dead", "slow", "garbage", "other-id", "other-name", "servfail")
    for mode in modes[:2] if args.short else modes:
        liar.mode, asked = mode, liar.asked
        rig.fault("kill all", rig.suite.kill9)  # nobody shall know the answers from before
        rig.suite.start()
        accepted = run(rig, 1.5)
        wait_for(lambda: liar.asked > asked, 10, "a question")
        tap.ok(rig.nothing_lost() and accepted > 20, f"S35 name server {mode}: {accepted} accepted, none lost")
        liar.mode = "honest"
    verdict(rig, "name server dead, slow, lying")


TROUBLES = {"clock": clock, "log": stuck_log, "reload": reloads, "dns": names}


def main(args):
    for name, test in TROUBLES.items():
        if re.search(args.only or ".", name):
            test(args)
    tap.done()
