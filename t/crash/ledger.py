# SPDX-License-Identifier: ISC
"""The ledger of a crash run, and what must hold of it.

A unit is one recipient of one message. Lines, each synced before the event goes on, with the time in
microseconds since 1970 in front:

  INTENT id sha256 size rcpt…   the client is about to send DATA
  ACK id queue-id               it read the whole 250
  TOOK id rcpt sha256           the sink has the content and has not answered yet
  REPORT id rcpt made           the same of a report; made: when it was written, from its Message-ID
  FAULT from-us what            what was done to the suite, from then until now
  SETTLED                       the queue was empty here: every unit of the lines before is finished

The time of a line is when the event was over; the ledger lies on a file system that is not faulted.
"""

import bisect
import os
import threading
import time


def now_us():
    return time.time_ns() // 1000


class Ledger:
    """Appends to a file, synced line by line, and feeds the checker with the same events."""

    def __init__(self, path, checker):
        self.path, self.checker, self.lock = path, checker, threading.Lock()
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, *events):
        with self.lock:
            at = now_us()
            os.write(self.fd, "".join(f"{at} {' '.join(map(str, e))}\n" for e in events).encode())
            for e in events:
                self.checker.feed(at, [str(w) for w in e])
        os.fdatasync(self.fd)


class Message:
    __slots__ = ("at", "sha", "rcpts", "acked", "took", "reports")

    def __init__(self, at, sha, rcpts):
        self.at, self.sha, self.rcpts, self.acked = at, sha, set(rcpts), None
        self.took, self.reports = {}, {}  # rcpt -> times


class Checker:
    """Fed event by event. `wrong` is what must never be; `duplicates` what a fault explains.

    window_us: how long before a fault a unit may have been taken and yet be taken again: done marks are
    synced at most 50 ms after the sink's answer, plus what a loaded machine adds. The bound K*C of a run
    is the number of units taken in the windows of its K faults: C is counted in the ledger, not assumed.
    """

    def __init__(self, window_us=500000):
        self.window_us = window_us
        self.messages, self.faults, self.fault_ends, self.wrong = {}, [], [], []
        self.sent = self.acked = self.took = self.reported = self.duplicates = self.reports_again = 0
        self.bound = self.settled = 0
        self.qids = {}      # queue id -> message, since the accounts were closed
        self.oldest_us = 0  # how long before its fault a duplicate had been taken
        self.recent = []    # times of units taken lately, for the bound

    def feed(self, at, words):
        getattr(self, "on_" + words[0].lower())(at, *words[1:])

    def complain(self, text):
        self.wrong.append(text)

    def on_intent(self, at, ident, sha, size, *rcpts):
        self.sent += 1
        self.messages[ident] = Message(at, sha, rcpts)

    def on_ack(self, at, ident, qid):
        self.acked += 1
        self.messages[ident].acked = at
        self.qids[qid] = ident

    def known(self, what, ident, rcpt):
        m = self.messages.get(ident)
        if m is None or rcpt not in m.rcpts:
            self.complain(f"{what} {ident} {rcpt}: never sent, or finished before")
            return None
        return m

    def on_took(self, at, ident, rcpt, sha):
        m = self.known("taken", ident, rcpt)
        if m is None:
            return
        self.took += 1
        self.recent.append(at)
        if sha != m.sha:
            self.complain(f"{ident} {rcpt}: the content is not what was sent")
        m.took.setdefault(rcpt, []).append(at)

    def on_report(self, at, ident, rcpt, made):
        m = self.known("reported", ident, rcpt)
        if m is None:
            return
        self.reported += 1
        self.recent.append(at)
        if not rcpt.partition("@")[0].endswith(".never"):
            self.complain(f"{ident} {rcpt}: reported, and nobody had refused it")
        m.reports.setdefault(rcpt, []).append((int(made), at))

    def on_fault(self, at, begin, *what):
        self.faults.append((int(begin), at, " ".join(what)))
        self.fault_ends.append(at)
        since = int(begin) - self.window_us
        self.recent = [t for t in self.recent if t >= since]
        self.bound += sum(t <= at for t in self.recent)

    def explained(self, at):
        """By the first fault that was not over before `at`, if it began at most window_us later."""
        for begin, end, _ in self.faults[bisect.bisect_left(self.fault_ends, at):]:
            if begin - self.window_us <= at:
                self.oldest_us = max(self.oldest_us, begin - at)
                return True
            return False
        return False

    def count_again(self, ident, m):
        for rcpt, times in m.took.items():
            for first, second in zip(times, times[1:]):
                self.duplicates += 1
                if not self.explained(first):
                    self.complain(f"{ident} {rcpt}: taken at {first} and again at {second}, no fault "
                                  "between explains it")
        for rcpt, seen in m.reports.items():
            seen.sort()  # by when they were made: they may overtake each other
            for (made, first), (again, second) in zip(seen, seen[1:]):
                if made == again:
                    self.duplicates += 1  # one report, delivered twice
                else:
                    self.reports_again += 1  # two reports of the same failure
                    first = made
                if not self.explained(first):
                    self.complain(f"{ident} {rcpt}: reported at {first} and again at {second}, no fault "
                                  "between explains it")

    def open_units(self):
        """Acknowledged, and neither delivered nor reported yet."""
        return {(i, r) for i, m in list(self.messages.items()) if m.acked is not None
                for r in m.rcpts if r not in m.took and r not in m.reports}

    def queued_unknown(self, units):
        """Of what a queue listing shows: what was never sent."""
        return [u for u in units if u[0] not in self.messages or u[1] not in self.messages[u[0]].rcpts]

    def on_settled(self, at):
        """The queue is empty and no client is under way: all accounts are closed."""
        for ident, rcpt in sorted(self.open_units()):
            self.complain(f"{ident} {rcpt}: LOST: answered 250, and neither delivered nor reported")
        for ident, m in self.messages.items():
            self.count_again(ident, m)
        self.settled += len(self.messages)
        self.messages.clear()
        self.qids.clear()
        if self.duplicates + self.reports_again > self.bound:
            self.complain(f"{self.duplicates} duplicates and {self.reports_again} repeated reports are more "
                          f"than the {self.bound} units in flight at {len(self.faults)} faults")

    def figures(self):
        return (f"{self.sent} messages sent, {self.acked} acknowledged, {self.took} deliveries, "
                f"{self.reported} reports, {len(self.faults)} faults, {self.duplicates} duplicates and "
                f"{self.reports_again} repeated reports (bound {self.bound}; the oldest was taken "
                f"{self.oldest_us / 1000:.0f} ms before its fault), {len(self.wrong)} wrong")


def check_file(path, window_us=500000):
    """The same verdict from the file alone."""
    c = Checker(window_us)
    with open(path) as f:
        for line in f:
            words = line.split()
            c.feed(int(words[0]), words[1:])
    return c
