#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The suite of an ordinary user: no id change, no chroot, seccomp on, the same way of a message."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

private_network()
ns = Nsd({"rcpt.test": "@ IN MX 10 mx\nmx IN A 127.0.0.2"})
sink = Sink("127.0.0.2", 25)
s = Suite(user=65534)
secret = s.tenant()
tap.equal(submit(s, secret)[0], 250, "A1 an ordinary user's suite takes a message")
tap.equal(sink.wait(1)[0]["rcpts"], ["b@rcpt.test"], "and delivers it")
daemons = s.pids()
roles = {role for _, role in daemons}
tap.equal(len(roles), 7, "all seven roles run")
for pid, role in daemons:
    status = open(f"/proc/{pid}/status").read()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    tap.equal((fields["Uid"].split()[1], fields["Seccomp"], fields["NoNewPrivs"]), ("65534", "2", "1"),
              f"atk-I13 {role}: seccomp filter and no_new_privs are on")
tap.equal(s.stop(), 0, "stop")

# As root: one user id per role, chroot, seccomp, and nothing but the listed descriptors.
s = Suite(name="root")
secret = s.tenant()
tap.equal(submit(s, secret)[0], 250, "root's suite takes a message")
sink.wait(2)
uids = {}
for pid, role in s.pids():
    status = open(f"/proc/{pid}/status").read()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    uids.setdefault(role, set()).update(fields["Uid"].split() + fields["Gid"].split())
    tap.equal((fields["Seccomp"], fields["NoNewPrivs"], fields["CapEff"].strip("0")), ("2", "1", ""),
              f"atk-I13 {role}: seccomp, no_new_privs, no capability")
    tap.ok(os.readlink(f"/proc/{pid}/root") != "/", f"{role} is in a chroot",
           os.readlink(f"/proc/{pid}/root"))
    tap.equal(fields["Groups"].strip(), "", f"{role} has no supplementary group")
tap.equal(len(set().union(*uids.values())), 7, "one user id per role")
tap.ok("0" not in set().union(*uids.values()), "none of them root")
tap.equal(s.stop(), 0, "stop")
tap.done()
