# SPDX-License-Identifier: ISC
"""Power cuts under load: shutdown of the file system at a random moment, kill, remount, restart, check."""

import json
import os
import shutil
import time

from disk import LOG_FLUSHED, LOG_LOST, try_disk
from rig import Rig, tap

SETTLE_EVERY = 20
FRESH_EVERY = 10  # on an empty file system: what making spool and databases forgets to sync shows here


def one_cut(rig, environment):
    disk, suite, rng = rig.disk, rig.suite, rig.rng
    how = rng.choice((LOG_FLUSHED, LOG_LOST))
    rig.load(4)
    # Mostly short; sometimes long enough for compaction and for timers of the database.
    time.sleep(rng.choice((0.02, 0.05, 0.1, 0.1, 0.2, 0.2, 0.3, 0.6)) * rng.random() * 2)

    def cut():
        disk.cut(how)
        time.sleep(rng.choice((0, 0, 0.01, 0.05)))  # what is answered now must be true, too
        suite.kill9()

    rig.fault(f"cut log-{'flushed' if how == LOG_FLUSHED else 'lost'}", cut)
    acked = rig.unload()
    disk.again()
    suite.start(**environment)
    rig.nothing_lost()
    return acked


def empty_disk(rig, environment):
    """The next life begins with nothing, not even a database."""
    rig.settle()
    rig.suite.kill9()
    for name in ("spool", "state"):
        shutil.rmtree(os.path.join(rig.disk.at, name), ignore_errors=True)
    os.sync()
    rig.begin(**environment)


def cuts(kind, count, minutes=None, seed=None, extra="", stop_when_wrong=False, fresh_every=FRESH_EVERY,
         environment=None):
    """(checker, seconds), or None when this file system cannot be cut here."""
    disk, why = try_disk(kind)
    if disk is None:
        tap.count += 1
        print(f"ok {tap.count} # skip {kind}: {why}", flush=True)
        return None
    rig = Rig(disk, extra, seed)
    environment = environment or {}
    rig.begin(**environment)
    began, done, acked = time.monotonic(), 0, 0
    while done < count and (minutes is None or time.monotonic() - began < minutes * 60):
        acked += one_cut(rig, environment)
        done += 1
        if rig.checker.wrong and stop_when_wrong:
            break
        if done % fresh_every == 0 and done < count:
            empty_disk(rig, environment)
        elif done % SETTLE_EVERY == 0:
            rig.settle()
    if not (rig.checker.wrong and stop_when_wrong):
        rig.settle()
    seconds = time.monotonic() - began
    tap.ok(acked > done, f"{kind}: {done} cuts under load, {acked} messages accepted before them, "
           f"{seconds / max(done, 1):.2f} s a cut, seed {rig.seed}")
    c = rig.verdict(f"{kind}: power cuts")
    rig.end()
    disk.remove()
    return c, done, seconds


def add_to_state(path, kind, c, done, seconds):
    """Long runs are made in slices: figures add up in a file."""
    state = {}
    if os.path.exists(path):
        with open(path) as f:
            state = json.load(f)
    s = state.setdefault(kind, dict(cuts=0, seconds=0, sent=0, acked=0, took=0, reported=0, duplicates=0,
                                    reports_again=0, wrong=0))
    s["cuts"] += done
    s["seconds"] = round(s["seconds"] + seconds, 1)
    for name in ("sent", "acked", "took", "reported", "duplicates", "reports_again"):
        s[name] += getattr(c, name)
    s["wrong"] += len(c.wrong)
    with open(path + ".new", "w") as f:
        json.dump(state, f, indent=1)
    os.replace(path + ".new", path)
    print(f"# so far: {json.dumps(state)}", flush=True)


def main(args):
    for kind in args.fs.split(","):
        result = cuts(kind, args.cuts, args.minutes, args.seed, stop_when_wrong=args.stop,
                      environment={"EKIDEN_FAULT": args.fault} if args.fault else None)
        if result and args.state:
            add_to_state(args.state, kind, *result)
    tap.done()
