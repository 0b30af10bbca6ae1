#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Sites: domains with the same MX set share connections and limits; sets that change; DNS that fails."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

private_network()
HOSTS = "$TTL 1\nmx1 IN A 127.0.0.2\nmx2 IN A 127.0.0.3\nmx9 IN A 127.0.0.4\n"
SHARED = "$TTL 1\n@ IN MX 10 mx1.hoster.test.\n@ IN MX 20 mx2.hoster.test."
MOVED = "$TTL 1\n@ IN MX 10 mx9.hoster.test."
zones = {"hoster.test": HOSTS + "@ IN MX 0 .", "a.test": SHARED, "b.test": SHARED, "c.test": SHARED,
         "moves.test": SHARED, "swap.test": "$TTL 1\n@ IN MX 20 mx1.hoster.test.\n@ IN MX 10 mx2.hoster.test.",
         "null.test": "@ IN MX 0 .", "alone.test": "$TTL 1\n@ IN A 127.0.0.4"}
ns = Nsd(zones)
sessions = []


def count(stage, arg, session):
    if stage == "connect":
        sessions.append(session.client_address)
    return None


first = Sink("127.0.0.2", 25, reply=count)
second = Sink("127.0.0.3", 25)
third = Sink("127.0.0.4", 25)
CONF = """
group hoster {{ mx mx1.hoster.*; rate {rate}; connections 1; }}
retry {{ method linear; a 1; period 600; }}
"""
s = Suite(start=False)
s.write(CONF.format(rate="none"))
s.start()
secret = s.tenant()

# One site.
submit(s, secret, rcpts=("x@a.test", "y@b.test", "z@c.test"))
first.wait(1)
tap.equal(sorted(first.messages[0]["rcpts"]), ["x@a.test", "y@b.test", "z@c.test"],
          "J5 domains with the same MX set share a transaction")
for d in ("a", "b", "c"):
    submit(s, secret, rcpts=(f"one@{d}.test",))
first.wait(4)
tap.equal(len(sessions), 1, "C14 and a connection")
submit(s, secret, rcpts=("w@swap.test",))
second.wait(1)
tap.equal(len(first.messages), 4, "J5 the same hosts in another order are another site")
submit(s, secret, rcpts=("w@alone.test",))
third.wait(1)
tap.ok(s.wait_log(r"to=<w@alone\.test>.*lane=alone\.test"), "a domain without MX is its own host")

# What DNS says no to is told to the sender as before.
submit(s, secret, rcpts=("n@null.test",))
tap.ok(s.wait_log(r"to=<n@null\.test>.*dsn=5\.1\.10.*status=bounced"), "a null MX is returned")
submit(s, secret, rcpts=("n@nowhere.invalid",))
tap.ok(s.wait_log(r"to=<n@nowhere\.invalid>.*dsn=5\.1\.2.*status=bounced", 40), "a domain that does not exist is returned")

# A group by its hosts.
s.write(CONF.format(rate="1/300s"))
s.mtactl("reload")
submit(s, secret, rcpts=("g@a.test",))
first.wait(5)
submit(s, secret, rcpts=("g@b.test",))
submit(s, secret, rcpts=("g@moves.test",))
wait_for(lambda: int(s.queue_count()["active"]) == 2, what="two waiting")
tap.equal(len(first.messages), 5, "J5 P2 a group by MX host limits all domains there")

# The hosts of a domain change while its mail waits: it moves, the other's does not.
zones["moves.test"] = MOVED
ns.end()
ns = Nsd(zones)
time.sleep(2)  # what dnsd has in its cache ends
s.mtactl("reload")
third.wait(2, 40)
tap.equal(third.messages[1]["rcpts"], ["g@moves.test"], "mail of a domain with other hosts now goes there")
tap.equal(len(first.messages), 5, "and nobody else's")

# dnsd dies with a question out: it is asked again.
for p, _ in s.pids("dnsd"):
    os.kill(p, signal.SIGSTOP)
submit(s, secret, rcpts=("k@swap.test", "k@fresh.alone.test"))
wait_for(lambda: int(s.queue_count()["active"]) >= 2, what="a waiting question")
for p, _ in s.pids("dnsd"):
    os.kill(p, signal.SIGKILL)
tap.ok(s.wait_log(r"to=<k@fresh\.alone\.test>.*dsn=5\.1\.2.*status=bounced", 40), "a question that was out is asked again")
second.wait(2, 40)
tap.equal(second.messages[1]["rcpts"], ["k@swap.test"], "and what is known goes on")
tap.done()
