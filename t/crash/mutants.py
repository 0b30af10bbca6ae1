# SPDX-License-Identifier: ISC
"""The test of the test: builds that forget what keeps mail, each of which must turn a harness red.

A mutant is a switch that only a build with --enable-faults has (lib/fault.h): a call that is not made yet
succeeds (skip), every other one (late: the 250 goes out before the commit that makes it true), or code that
is wrong on purpose (mutant).
"""

import os
import re
import subprocess
import sys
import time

from points import fault_build
from rig import HERE, tap

# What is broken, EKIDEN_FAULT, the command that must see it, whether it belongs to the short form.
MUTANTS = (
    ("the data sync is removed", "seg.sync:0:skip", ("cuts", "--fs", "ext4", "--cuts", "10"), True),
    ("the data sync is removed", "seg.sync:0:skip", ("cuts", "--fs", "xfs", "--cuts", "10"), False),
    ("250 before the commit", "seg.sync:0:late", ("cuts", "--fs", "ext4", "--cuts", "30"), True),
    ("the folder sync is removed", "dir.sync:0:skip", ("admin", "--fs", "ext4", "--cuts", "3"), True),
    ("the folder sync is removed", "dir.sync:0:skip", ("admin", "--fs", "xfs", "--cuts", "3"), False),
    ("the done mark before the remote reply", "done.early:0:mutant", ("cuts", "--fs", "ext4", "--cuts", "10"),
     True),
    ("the done mark before the remote reply", "done.early:0:mutant", ("storm", "--cuts", "36"), False),
    ("the sync of done marks is removed", "done.sync:0:skip", ("cuts", "--fs", "ext4", "--cuts", "40"), False),
    ("the sync of big content is removed", "big.sync:0:skip", ("cuts", "--fs", "ext4", "--cuts", "60"), False),
    ("the sync of the database is removed", "db.sync:0:skip", ("admin", "--fs", "ext4", "--cuts", "3"), False),
)
# Without any mutant the same commands are green: otherwise red would prove nothing.
CONTROL = (("cuts", "--fs", "ext4", "--cuts", "10"), ("admin", "--fs", "ext4", "--cuts", "3"),
           ("storm", "--cuts", "18"))


def harness(command, fault, seed):
    """(exit status, first sign, seconds) of a run of its own."""
    began = time.monotonic()
    environment = {k: v for k, v in os.environ.items() if k not in ("EKIDEN_TEST_NETNS", "EKIDEN_TEST_MOUNTS")}
    argv = [os.path.join(HERE, "ekcrash"), *command, "--stop", "--quick"]
    argv += (["--fault", fault] if fault else []) + (["--seed", str(seed)] if seed is not None else [])
    r = subprocess.run([sys.executable] + argv, capture_output=True, text=True, env=environment, check=False)
    signs = re.findall(r"^#   .*(?:LOST|again at|the map|the tenant|content is not|never sent|  held  ).*", r.stdout, re.M)
    return r.returncode, r.stdout, signs, time.monotonic() - began


def main(args):
    if not fault_build():
        print("1..0 # SKIP mutants need a build with --enable-faults")
        return
    if not args.short:
        for command in CONTROL:
            status, out, _, seconds = harness(command, None, args.seed)
            tap.ok(status == 0, f"no mutant: {' '.join(command)} is green ({seconds:.0f} s)", out)
    for what, fault, command, short in MUTANTS:
        if args.short and not short:
            continue
        status, out, signs, seconds = harness(command, fault, args.seed)
        if "# skip" in out:
            tap.count += 1
            print(f"ok {tap.count} # skip {what}: {' '.join(command)} cannot run here")
            continue
        tap.ok(status != 0 and signs, f"mutant: {what} ({fault}): {' '.join(command)} is red ({seconds:.0f} s)",
               out)
        if signs:
            print(f"# {signs[0][4:].strip()[:150]}", flush=True)
    tap.done()
