# SPDX-License-Identifier: ISC
"""SIGKILL, SIGSTOP and SIGTERM of each role, of master, and of all, at random moments under load."""

import os
import signal
import time

from rig import ROLES, Rig, tap, wait_for

ALL = ROLES + ("master", "all")


def send(pids, sig):
    for pid in pids:
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            pass


def stop_a_while(pids, seconds):
    send(pids, signal.SIGSTOP)
    time.sleep(seconds)
    send(pids, signal.SIGCONT)


def stand_up(suite):
    """A daemon that dies before the suite is ready ends it: the service manager would start it again."""
    if suite.proc.p.poll() is not None:
        suite.start()


def one_blow(rig, target):
    """What was done to whom; the suite may have ended by it."""
    suite, rng = rig.suite, rig.rng
    if target == "all":
        rig.fault("kill all", suite.kill9)
        suite.start()
        return "kill"
    if target == "master":
        # A daemon whose master is gone ends by itself; the next master must find everything released.
        daemons = [p for p, _ in suite.pids()]
        rig.fault("kill master", lambda: (suite.proc.p.kill(), suite.proc.p.wait(), wait_for(
            lambda: not any(os.path.exists(f"/proc/{p}/exe") for p in daemons), 15, "daemons to end")))
        suite.start()
        return "kill"
    pids = [p for p, _ in suite.pids(target)]
    if rng.random() < 0.3:
        pids = pids[:1]
    what = rng.choice(("kill", "kill", "stop", "term"))
    if what == "stop":
        rig.fault(f"stop {target}", lambda: stop_a_while(pids, rng.uniform(0.05, 0.6)))
        return what
    if what == "term":  # daemons take their orders from master: a stray signal changes nothing
        rig.fault(f"{what} {target}", lambda: send(pids, signal.SIGTERM))
        return what
    rig.fault(f"{what} {target}", lambda: (send(pids, signal.SIGKILL), wait_for(
        lambda: not set(pids) & {p for p, _ in suite.pids(target)}, 15, f"{target} to end")))
    wait_for(lambda: suite.pids(target) or suite.proc.p.poll() is not None, 15,
             f"{target} to be started again")
    return what


def storm(rounds, minutes=None, seed=None, environment=None, stop_when_wrong=False):
    rig = Rig(seed=seed)
    rig.begin(**(environment or {}))
    began, done, counts, acked = time.monotonic(), 0, {}, 0
    targets = []
    while done < rounds and (minutes is None or time.monotonic() - began < minutes * 60):
        if not targets:
            targets = list(ALL)
            rig.rng.shuffle(targets)
        if not rig.clients:
            rig.load(3, pause=0.002)
        time.sleep(rig.rng.uniform(0.02, 0.3))
        target = targets.pop()
        stand_up(rig.suite)
        what = one_blow(rig, target)
        counts[what] = counts.get(what, 0) + 1
        done += 1
        if done % 6 == 0:
            acked += rig.unload()
            stand_up(rig.suite)
            rig.nothing_lost()
        if done % 40 == 0:
            acked += rig.unload()
            stand_up(rig.suite)
            rig.settle()
        if rig.checker.wrong and stop_when_wrong:
            break
    acked += rig.unload()
    stand_up(rig.suite)
    if not (rig.checker.wrong and stop_when_wrong):
        rig.settle()
    seconds = time.monotonic() - began
    tap.ok(acked > done, f"atk-J15 {done} blows ({', '.join(f'{n} {w}' for w, n in sorted(counts.items()))}), "
           f"{acked} messages accepted, {seconds:.0f} s, seed {rig.seed}")
    c = rig.verdict("kill storm")
    tap.equal(rig.suite.stop(), 0, "a graceful stop afterwards")
    rig.end()
    return c, done, seconds


def main(args):
    storm(args.cuts, args.minutes, args.seed, {"EKIDEN_FAULT": args.fault} if args.fault else None,
          args.stop)
    tap.done()
