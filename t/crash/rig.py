# SPDX-License-Identifier: ISC
"""What every crash test needs: a name server, the sink, the suite on a disk, clients, and the verdict."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../lib"))
sys.path.insert(0, HERE)
import suite  # noqa: E402
from suite import *  # noqa: E402,F403
from ledger import Checker, Ledger, check_file, now_us  # noqa: E402
from load import UNIT, Client, LedgerSink, Shapes  # noqa: E402

INLINE = 65536
ROLES = ("smtpd", "qmgr", "smtp", "authd", "dnsd", "signd", "bounce")


def qid_number(text):
    """doc/QUEUE-FORMAT.md: to the base 31."""
    number = 0
    for c in text:
        number = number * 31 + "0123456789BCDFGHJKLMNPQRSTVWXYZ".index(c)
    return number


class CrashSuite(Suite):
    """Spool and databases in `disk`, all else in the test's folder."""

    made = 0

    def __init__(self, disk, port, extra=""):
        CrashSuite.made += 1
        super().__init__(start=False, name=f"inst{CrashSuite.made}", listeners=(
            f"listen local {{ address 127.0.0.1:{port}; tls none; reverse-lookup no; "
            "auth networks 127.0.0.0/8 tenant acme; }\n"),
            extra="retry { method linear; a 5; period 1d; }\n"
            f"limits {{ inline-size {INLINE}; errors 10000; messages-per-connection 1000000; messages-per-hour 0; }}\n" + extra)
        self.on(disk or self.dir)

    def on(self, disk):
        self.base = self.base.replace(f"{self.dir}/state\n", f"{disk}/state\n").replace(
            f"{self.dir}/spool\n", f"{disk}/spool\n").replace("level debug", "level info")
        self.write(self.extra)

    def write(self, extra=""):
        self.extra = extra
        super().write(extra)

    def start(self, seconds=20, **environment):
        os.environ.update(environment)
        try:
            return super().start(seconds)
        finally:
            for name in environment:
                del os.environ[name]

    def messages_on_stderr(self):
        with open(os.path.join(self.dir, "stderr"), errors="replace") as f:
            return f.read()


class Rig:
    patience = 20  # seconds from a restart until everything acknowledged must be seen

    def __init__(self, disk=None, extra="", seed=None, window_us=500000, shapes=None, zones=None):
        self.seed = seed if seed is not None else random.SystemRandom().randrange(1 << 32)
        self.rng = random.Random(self.seed)
        self.checker = Checker(window_us)
        self.ledger = Ledger(os.path.join(folder(), f"ledger-{time.monotonic_ns()}"), self.checker)
        self.nsd = Nsd(zones or {"rcpt.test": "@ IN MX 10 mx\nmx IN A 127.0.0.2",
                                 "sender.test": "@ IN MX 10 mx\nmx IN A 127.0.0.2"})
        self.sink = LedgerSink(self.ledger)
        self.port = free_port()
        self.shapes = shapes or Shapes(INLINE)
        self.disk = disk
        self.suite = CrashSuite(disk and disk.at, self.port, extra)
        self.clients, self.generation = [], 0

    def begin(self, **environment):
        self.suite.start(**environment)
        self.suite.tenant()

    def load(self, count=4, pause=0.0):
        self.generation += 1
        self.clients = [Client(self.ledger, self.port, self.shapes, f"g{self.generation}c{n}",
                               self.rng.random(), pause) for n in range(count)]

    def unload(self):
        for c in self.clients:
            c.end()
        acked = sum(c.acked for c in self.clients)
        self.clients = []
        return acked

    def fault(self, what, act):
        begin, sessions = now_us(), set(self.sink.open)
        act()
        # What a dead sender left in the sink's sockets is taken now, not after the end of the fault.
        ended = self.suite.proc.p.poll() is not None
        self.sink.let_go(sessions | set(self.sink.open) if ended else sessions, 3 if ended else 0.3)
        self.ledger.write(("FAULT", begin, what))

    def queued(self):
        """The units in the queue: by recipient, or for a report by its sender."""
        units, reports = set(), set()
        for row in self.suite.mtactl("queue", "list", json_rows=True):
            m = UNIT.match(row["rcpt"])
            if m:
                units.add((m.group(1), row["rcpt"]))
            else:
                reports.add(row["rcpt"].partition("@")[0])
        return units, reports

    def finished_qids(self):
        """Numbers of queue ids whose messages have left the queue."""
        open_now = {i for i, _ in self.checker.open_units()}
        return {qid_number(q) for q, i in list(self.checker.qids.items()) if i not in open_now}

    def missing(self):
        """Acknowledged units that are nowhere. The queue is read first: what leaves it meanwhile is at the
        sink when that is asked."""
        try:
            units, reports = self.queued()
        except (AssertionError, subprocess.TimeoutExpired) as e:
            self.unlisted = str(e)
            return None
        for u in self.checker.queued_unknown(units):
            self.checker.complain(f"queue: {u[0]} {u[1]}: never sent, or finished before")
        return {u for u in self.checker.open_units() - units if u[0] not in reports}

    def nothing_lost(self):
        """Right after a restart: qmgr may still be reading segments, or wait for its turn to start."""
        end = time.monotonic() + self.patience
        while True:
            missing = self.missing()
            if missing is not None and not missing:
                return True
            if time.monotonic() > end:
                if missing is None:
                    self.checker.complain(f"queue: cannot be listed {self.patience} s after a restart: "
                                          f"{self.unlisted}\n{self.suite.log()[-3000:]}")
                for u in sorted(missing or ()):
                    self.checker.complain(f"{u[0]} {u[1]}: LOST: answered 250, and not delivered, not "
                                          "reported, not queued")
                return False
            time.sleep(0.02)

    def settle(self, seconds=60):
        """Lets everything go and closes the accounts; given up `seconds` after the queue was shortest."""
        self.sink.hold = False
        end, flushed, shortest = time.monotonic() + seconds, 0, None
        while time.monotonic() < end:
            if time.monotonic() - flushed > 1:
                self.suite.mtactl("queue", "flush", "--all", check=False)
                flushed = time.monotonic()
            r = self.suite.mtactl("queue", "count", json_rows=True)
            if r and r[0]["messages"] == 0:
                break
            if r and (shortest is None or r[0]["messages"] < shortest):
                end, shortest = time.monotonic() + seconds, r[0]["messages"]
            time.sleep(0.05)
        else:
            self.checker.complain("queue: not empty at the end: " + str(
                self.suite.mtactl("queue", "list", "--limit=5", check=False).stdout))
            return  # the accounts stay open
        time.sleep(0.4)  # the last done marks
        self.ledger.write(("SETTLED",))
        self.sink.hold = True

    def verdict(self, name):
        """TAP for the whole run; the file of the ledger has the last word."""
        c = check_file(self.ledger.path, self.checker.window_us)
        c.wrong += [w for w in self.checker.wrong if w not in c.wrong]
        if c.wrong:  # for who has to find out why
            kept = os.path.join(suite.BUILD, "t/crash", f"failed-{self.seed}")
            os.makedirs(os.path.dirname(kept), exist_ok=True)
            shutil.copy(self.ledger.path, kept + ".ledger")
            shutil.copy(self.suite.logfile, kept + ".log")
        tap.ok(not c.wrong, f"S35 {name}: {c.figures()}", "\n".join(
            [f"seed {self.seed}"] + c.wrong[:20] + self.suite.log().splitlines()[-5:]))
        return c

    def end(self):
        """Everything but the disk."""
        self.suite.stop()
        self.sink.shutdown()
        self.sink.server_close()
        self.nsd.end()
