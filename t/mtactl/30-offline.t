#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""mtactl --offline: authd's work on its database while the suite does not run."""
import fcntl
import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import BUILD, tap  # noqa: E402

work = tempfile.TemporaryDirectory(prefix="ekiden-mtactl-")
os.chmod(work.name, 0o755)
conf = f"{work.name}/ekiden.conf"
root = os.geteuid() == 0
# LeakSanitizer cannot look into a process that changed its user id.
env = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + (":detect_leaks=0" if root else ""))


def write(text, mode=0o644):
    with open(conf, "w") as f:
        f.write(text)
    os.chmod(conf, mode)


def run(*args, check=None, stdin=""):
    r = subprocess.run([f"{BUILD}/mtactl/mtactl", "-c", conf, "--offline"] + list(args), text=True, input=stdin,
                       capture_output=True, timeout=60, env=env)
    if check is not None:
        tap.equal(r.returncode, check, f"exit {check}: {' '.join(args)}")
    return r


def rows(*args):
    return [json.loads(line) for line in run("-j", *args).stdout.splitlines()]


BASE = (f"hostname a.test\nuid-base 61500\nstate-dir {work.name}/state\nspool-dir {work.name}/spool\n"
        f"run-dir {work.name}/run\nlog {{ file {work.name}/mail.log }}\n")
write(BASE)
open(f"{work.name}/mail.log", "w").close()

run("tenant", "add", "acme", check=0)
r = run("key", "issue", "acme", "app1", check=0)
m = re.fullmatch(r"user: app1\nsecret: (\S{27,})\n", r.stdout)
tap.ok(m, "A5 A6 key issue before the first start of the suite", r)
secret = m.group(1) if m else "?"
issued = rows("key", "issue", "acme", "app2")
tap.ok(len(issued) == 1 and issued[0]["user"] == "app2" and issued[0]["secret"] != secret, "as JSON", issued)
tap.ok(secret not in run("key", "list").stdout + run("key", "show", "app1").stdout, "A6 never shown again")
run("domain", "add", "acme", "a.test", "--verified", check=0)
tap.equal([(d["domain"], d["tenant"]) for d in rows("domain", "list")], [("a.test", "acme")], "domain list")
if root:
    tap.equal(rows("key", "show", "app1")[0]["created_by"], 0, "made by root")
run("tenant", "add", "acme", check=2)
run("tenant", "show", "nobody", check=2)
run("tenant", "add", "no blank", check=2)
log = open(f"{work.name}/mail.log").read()
tap.ok("tenant acme added" in log and secret not in log, "changes are in the log, secrets are not (atk-E8)", log)

folder = f"{work.name}/state/authd"
owner = os.stat(folder).st_uid
tap.equal(owner, 61502 if root else os.geteuid(), "the database belongs to the daemon's user")
tap.equal({os.stat(f"{folder}/{f}").st_uid for f in os.listdir(folder)}, {owner}, "every file of it, too")
tap.equal(os.stat(folder).st_mode & 0o777, 0o700, "others cannot look into it")
tap.ok(all(secret.encode() not in open(f"{folder}/{f}", "rb").read() for f in os.listdir(folder)),
       "A6 it holds no secret")

with open(f"{folder}/lock", "r+") as lock:
    fcntl.lockf(lock, fcntl.LOCK_EX)
    first = run("tenant", "list")
    fcntl.lockf(lock, fcntl.LOCK_UN)
    fcntl.flock(lock, fcntl.LOCK_EX)
    second = run("tenant", "list")
tap.ok(1 in (first.returncode, second.returncode), "a locked database is not opened", (first, second))
run("tenant", "list", check=0)

write(BASE + "nonsense 1\n")
r = run("tenant", "list")
tap.ok(r.returncode == 1 and f"{conf}:7:1: " in r.stderr, "with a wrong configuration nothing is touched", r)
write(BASE, 0o666)
tap.ok(run("tenant", "list").returncode == 1, "atk-I6 nor with one that others can write")
tap.done()
