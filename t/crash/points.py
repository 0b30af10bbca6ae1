# SPDX-License-Identifier: ISC
"""Every fault point that is in the binaries: the process dies there, or the call fails, or is cut short.

The list comes from the binaries (lib/fault.h), and a point that the load does not reach is a failure: a new
one is tested without a new test.
"""

import os
import re
import shutil
import signal
import subprocess
import time

from load import Shapes
from rig import INLINE, Process, Rig, folder, suite as library, tap, wait_for

ROOMS = ("smtpd", "authd", "signd", "qmgr", "smtp", "bounce", "dnsd", "mtactl", "master/ekiden")
AT_ALL, AT_CALLS = ("kill", "EIO", "ENOSPC", "short", "torn"), ("after",)


def names(binary, section):
    out = os.path.join(folder(), "section")
    r = subprocess.run(["objcopy", "-O", "binary", f"--only-section={section}", binary, out],
                       capture_output=True, text=True, check=False)
    if r.returncode or not os.path.exists(out):
        return set()
    with open(out, "rb") as f:
        found = {n.decode() for n in f.read().split(b"\0") if n}
    os.unlink(out)
    return found


def all_names(section):
    found = set()
    for room in ROOMS:
        path = room if "/" in room else f"{room}/{room}"
        found |= names(os.path.join(library.BUILD, path), section)
    return sorted(found)


def fault_build():
    return bool(all_names("ekiden_faults"))


class Points:
    """One suite, started anew for each fault, in a spool that lives through all of them."""

    def __init__(self, seed):
        # Segments that are no starters, so that starters are removed; a map, so that master replaces one.
        transport = os.path.join(folder(), "transport")
        with open(transport, "w") as f:
            f.write("elsewhere.test [127.0.0.2]\n")
        self.transport, self.damaged = transport, set()
        self.shapes = {big: Shapes(INLINE, mix=(("take", 60), ("later", 20), ("never", 20)),
                                   big=big) for big in (2, 30)}
        self.rig = Rig(seed=seed, extra=f"transport text:{transport}\n")
        s = self.rig.suite
        s.base = s.base.replace("segment-size 8M;", "segment-size 9M; compact-percent 90;")
        s.write(s.extra)
        self.rig.begin()
        s.stop()

    def fired(self, name):
        return f"fault: {name}:" in self.rig.suite.messages_on_stderr()

    def launch(self, environment):
        """The fault may keep the suite from starting: nobody waits for it."""
        s = self.rig.suite
        s.proc = Process([f"{library.BUILD}/master/ekiden", "-f", "-c", s.conf], stdout=s.stderr,
                         stderr=s.stderr, env={**os.environ, **environment})

    def damage(self):
        """One byte of a record whose message is finished, in a segment that is read again at the start.
        Another record each time: the same one would be mended."""
        seg = os.path.join(self.rig.suite.dir, "spool/seg")
        finished = self.rig.finished_qids()
        for name in sorted(os.listdir(seg)):
            if name.endswith(".done"):
                continue
            with open(os.path.join(seg, name), "r+b") as f:
                data = f.read()
                generation, at = data[8:16], 4096
                while data[at:at + 4] == b"EKRC":
                    qid, length = int.from_bytes(data[at + 16:at + 24]), int.from_bytes(data[at + 24:at + 28])
                    behind = data[at + length:at + length + 4]
                    if (qid in finished - self.damaged and behind == b"EKRC" and
                            data[at + 8:at + 16] == generation):
                        self.damaged.add(qid)
                        front = at + 64 + int.from_bytes(data[at + 28:at + 32])
                        f.seek(front)
                        f.write(bytes([data[front] ^ 1]))
                        return True
                    at += length
        return False

    def prepare(self, name):
        """What the points of a room need beside the load."""
        rig, s = self.rig, self.rig.suite
        rig.shapes = self.shapes[30 if name.startswith("big.") else 2]
        if name.startswith("quarantine."):  # records that the next start reads again, one of them damaged
            damaged = False
            while not damaged:
                self.launch({})
                rig.load(3)
                wait_for(lambda: sum(c.acked for c in rig.clients) > 60, 20, "messages to damage")
                s.kill9()
                rig.unload()
                damaged = self.damage()
        if name.startswith("replace."):  # a file that is as it was is not written again
            with open(self.transport, "a") as f:
                f.write(f"n{time.monotonic_ns()}.test [127.0.0.2]\n")
        if name.startswith("remove."):  # all segments are of another size than the configured one
            one, other = ("9M", "10M") if "size 9M" in s.base else ("10M", "9M")
            s.base = s.base.replace(f"segment-size {one};", f"segment-size {other};")
            s.write(s.extra)

    def scenario(self, name, environment):
        rig, s = self.rig, self.rig.suite
        self.prepare(name)
        self.launch(environment)
        rig.load(3)
        if name.startswith("map."):
            subprocess.run([f"{library.BUILD}/mtactl/mtactl", "map", "build", self.transport,
                            os.path.join(folder(), "map.db")], env={**os.environ, **environment},
                           stderr=s.stderr, check=False)
        slow = name.startswith("compact.")
        end = time.monotonic() + 3  # for the first message: a loaded machine is slow to start
        while time.monotonic() < end and not self.fired(name) and not any(c.acked for c in rig.clients):
            time.sleep(0.02)
        end = time.monotonic() + (6 if slow else 1)
        while time.monotonic() < end and not self.fired(name):
            time.sleep(0.02)
        time.sleep(0.1)
        if s.proc.p.poll() is None and not self.fired(name):
            s.proc.p.send_signal(signal.SIGTERM)
            try:
                s.proc.p.wait(3)
            except subprocess.TimeoutExpired:
                pass
        s.kill9()

    def one(self, name, occurrence, action, look=True):
        """Whether it was reached, and what is wrong after a start without it; that can wait for later ones."""
        rig, s = self.rig, self.rig.suite
        with open(os.path.join(s.dir, "stderr"), "w"):
            pass
        s.stderr = open(os.path.join(s.dir, "stderr"), "a")
        wrong = len(rig.checker.wrong)
        rig.fault(f"{name}:{occurrence}:{action}", lambda: self.scenario(
            name, {"EKIDEN_FAULT": f"{name}:{occurrence}:{action}"}))
        rig.unload()
        fired = self.fired(name)
        if not look:
            return fired, []
        s.start()
        rig.nothing_lost()
        rig.fault("kill all", s.kill9)
        return fired, rig.checker.wrong[wrong:]


def actions_of(name, calls):
    return AT_ALL + (AT_CALLS if name in calls else ())


def main(args):
    calls = set(all_names("ekiden_fault_calls"))
    every = sorted(set(all_names("ekiden_faults")) | calls)
    if not every:
        print("1..0 # SKIP this build has no fault points (--enable-faults)")
        return
    if args.only:
        every = [n for n in every if re.search(args.only, n)]
    if args.short:  # compaction looks around every 2 s: one of its points
        every = [n for n in every if not n.startswith("compact.") or n == "compact.copied"]
    p = Points(args.seed)
    p.rig.sink.hold = True
    began, runs = time.monotonic(), 0
    for turn, name in enumerate(every):
        reached, wrong, tried = 0, [], []
        chosen = [(o, a) for o in range(1, args.occurrences + 1) for a in actions_of(name, calls)]
        if args.short:
            chosen = [(1, ("kill", "EIO", "torn", "ENOSPC")[turn % 4])]
        for occurrence, action in chosen:
            fired, bad = p.one(name, occurrence, action, not args.short or turn % 3 == 2)
            reached += fired
            wrong += bad
            tried.append(f"{occurrence}:{action}{'' if fired else ' (not reached)'}")
            runs += 1
        tap.ok(reached and not wrong, f"S35 fault at {name}: {len(tried)} runs, reached in {reached}",
               "\n".join(tried + wrong[:10]))
        if turn % 8 == 7:
            p.rig.suite.start()
            p.rig.settle()
            p.rig.fault("kill all", p.rig.suite.kill9)
    p.rig.suite.start()
    p.rig.settle()
    print(f"# {len(every)} points, {runs} runs, {time.monotonic() - began:.0f} s")
    p.rig.verdict("fault points")
    p.rig.end()
    tap.done()
