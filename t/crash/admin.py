# SPDX-License-Identifier: ISC
"""Power cuts right after an answered admin command, with the databases on a file system of their own.

Nothing else syncs there: an entry that is only in the folder's memory is lost, whatever other files do.
"""

import os
import shutil

from disk import LOG_LOST, try_disk
from rig import CrashSuite, folder, free_port, tap


def one(disk, suite, name, environment):
    """New databases, answered commands, a cut: what of them is not known after it."""
    text, table = os.path.join(folder(), "routes"), os.path.join(disk.at, "routes")
    with open(text, "w") as f:
        f.write(f"{name}.test [127.0.0.9]\n")
    suite.start(**environment)
    suite.mtactl("tenant", "add", name)
    suite.mtactl("domain", "add", name, f"{name}.test", "--verified")
    os.environ.update(environment)
    suite.mtactl("map", "build", text, table + ".db")
    for variable in environment:
        del os.environ[variable]
    disk.cut(LOG_LOST)
    suite.kill9()
    disk.again()
    suite.start(**environment)
    lost = set()
    if name not in {r["tenant"] for r in suite.mtactl("domain", "list", json_rows=True)}:
        lost.add(f"{name}: the tenant and its domain")
    if "127.0.0.9" not in suite.mtactl("map", "query", table, f"{name}.test", check=False).stdout:
        lost.add(f"{name}: the map")
    suite.kill9()
    return lost


def admin(kind, count, environment=None, stop_when_wrong=False):
    disk, why = try_disk(kind)
    if disk is None:
        tap.count += 1
        print(f"ok {tap.count} # skip {kind}: {why}", flush=True)
        return
    suite = CrashSuite(None, free_port())
    suite.base = suite.base.replace(f"state-dir {suite.dir}/state\n", f"state-dir {disk.at}/state\n")
    suite.write()
    lost = []
    for n in range(count):
        name = f"tenant{n}"
        lost += one(disk, suite, name, environment or {})
        if lost and stop_when_wrong:
            break
        shutil.rmtree(os.path.join(disk.at, "state"))
        os.sync()
    tap.ok(not lost, f"S35 {kind}: what an admin command was answered is there after {n + 1} cuts", lost)
    disk.remove()


def main(args):
    for kind in args.fs.split(","):
        admin(kind, args.cuts, {"EKIDEN_FAULT": args.fault} if args.fault else None, args.stop)
    tap.done()
