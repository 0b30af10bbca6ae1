#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""mtactl dkim killed at each fault point of its changes: the keys are as before or as after, never in between."""
import os
import re
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import BUILD, skip_all, tap  # noqa: E402

MTACTL = None
for build in (BUILD, f"{BUILD}-asan"):
    program = f"{build}/mtactl/mtactl"
    if MTACTL is None and os.path.exists(program) and b"replace.sync" in open(program, "rb").read():
        MTACTL = program
if MTACTL is None:
    skip_all("needs a build with --enable-faults")
if os.geteuid() != 0:
    skip_all("needs root: the keys are root's")
work = tempfile.TemporaryDirectory(prefix="ekiden-dkim-")
os.chmod(work.name, 0o755)
conf = f"{work.name}/ekiden.conf"
with open(conf, "w") as f:
    f.write(f"hostname a.test\nuid-base 61500\nstate-dir {work.name}/state\nspool-dir {work.name}/spool\n"
            f"run-dir {work.name}/run\nlisten a {{ address 127.0.0.1:2525; tls none }}\n")
os.chmod(conf, 0o644)


def run(*args, fault=None):
    env = dict(os.environ)
    if fault:
        env["EKIDEN_FAULT"] = fault
    return subprocess.run([MTACTL, "-c", conf, *args], env=env, capture_output=True, text=True, timeout=60)


def keys():
    """The index as mtactl reads it, and whether every key in it has its file."""
    r = run("dkim", "list")
    shown = run("dkim", "show", "a.test").returncode == 0 or r.stdout.count("a.test") == 0
    return r.returncode == 0 and shown, sorted(re.findall(r"a\.test +(\S+) +\S+ +(\S+)", r.stdout))


counter = 0
for point in ("replace.write", "replace.sync", "replace.dir"):
    for occurrence in (1, 2):
        for how in ("kill", "EIO"):
            counter += 1
            before = keys()[1]
            r = run("dkim", "new", "a.test", "--algorithm=ed25519", f"--selector=k{counter}",
                    fault=f"{point}:{occurrence}:{how}")
            good, after = keys()
            tap.ok(r.returncode == (-signal.SIGKILL if how == "kill" else 1), f"new: {how} at {point} {occurrence}", r)
            tap.ok(good and after in (before, sorted(before + [(f"k{counter}", "pending")])),
                   "... the keys are as before, or there is one more", (before, after))
        run("dkim", "new", "a.test", "--algorithm=ed25519", f"--selector=n{counter}")
        before = keys()[1]
        r = run("dkim", "activate", "a.test", f"n{counter}", "--force", fault=f"{point}:1:kill")
        good, after = keys()
        switched = sorted([(s, "retiring" if state == "active" else "active" if s == f"n{counter}" else state)
                           for s, state in before])
        tap.ok(r.returncode == -signal.SIGKILL and good and after in (before, switched),
               f"activate killed at {point}: the old key signs, or the new one", (before, after))
        tap.ok(sum(state == "active" for _, state in after) <= 1, "... never two")
        run("dkim", "activate", "a.test", f"n{counter}", "--force")
tap.done()
