#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Sources: pools, health, suspension, warm-up, limits; paces and counts that outlive the process."""
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

private_network()
ZONE = "@ IN MX 10 mx\nmx IN A 127.0.0.{}"
names = ["plain", "warm", "angry", "few", "paced"]
ns = Nsd({f"{n}.test": ZONE.format(i + 2) for i, n in enumerate(names)})
peers = {n: [] for n in names}  # (source address, EHLO, recipient)
open_now, most = set(), 0
refuse = {"127.1.0.1"}


def taker(name):
    def reply(stage, arg, session):
        global most
        peer = session.client_address[0]
        if stage == "connect" and name == "few":
            open_now.add(session)
            most = max(most, len(open_now))
        if stage == "rcpt":
            if name == "angry" and peer in refuse:
                return "421 4.7.28 address blocked for now"
            peers[name].append((peer, re.search("<(.*)>", arg).group(1)))
        if stage == "eod" and name == "few":
            time.sleep(0.1)
        if stage == "quit":
            open_now.discard(session)
        return None
    return reply


sinks = {n: Sink(f"127.0.0.{i + 2}", 25, reply=taker(n)) for i, n in enumerate(names)}
today = time.strftime("%Y-%m-%d")
CONF = f"""
delivery {{{{ idle 1s; recipients-per-message 1; }}}}
source gone {{{{ address 192.0.2.77; helo gone.sender.test; }}}}
source one {{{{ address 127.1.0.1; helo one.sender.test; }}}}
source two {{{{ address 127.1.0.2; helo two.sender.test; }}}}
source new {{{{ address 127.1.0.3; helo new.sender.test; warm-up slow; warm-up-start {today}; }}}}
source lone {{{{ address 127.1.0.4; warm-up slow; warm-up-start {today}; }}}}
source tight {{{{ address 127.1.0.5; connections 2; }}}}
warm-up slow {{{{ daily 5 10; }}}}
pool health {{{{ source gone weight 3; source one; }}}}
pool both {{{{ source one; source two; }}}}
pool warming {{{{ source new weight 9; source two; }}}}
group warm {{{{ domains warm.test; pool warming; }}}}
group angry {{{{ domains angry.test; pool both; }}}}
group paced {{{{ domains paced.test; rate {{rate}}; }}}}
route health {{{{ to plain.test; pool health; }}}}
route lone {{{{ to warm.test; from lone@sender.test; source lone; }}}}
route tight {{{{ to few.test; source tight; }}}}
throttle blocked {{{{ enhanced 4.7.28; text blocked; action suspend; for 10m; }}}}
retry {{{{ method linear; a 1; period 600; }}}}
"""
s = Suite(start=False)
s.write(CONF.format(rate="5/300s"))
s.start()
secret = s.tenant()


def sent(name):
    return len(peers[name])


# Health: an address that this host does not have.
for i in range(8):
    submit(s, secret, rcpts=(f"h{i}@plain.test",))
wait_for(lambda: sent("plain") == 8, 30, "mail by the other source")
tap.equal({p for p, _ in peers["plain"]}, {"127.1.0.1"}, "P2 a source that this host does not have is left out")
tap.ok(s.wait_log(r"source gone is not used for 300 s: .*192\.0\.2\.77"), "and the log says why")
tap.equal({m["helo"] for m in sinks["plain"].messages}, {"one.sender.test"}, "E2 HELO is the source's")
tap.ok("status=deferred" not in s.log(), "and it cost no attempt")

# A source that a provider refuses is suspended there; the other one goes on.
for i in range(12):
    submit(s, secret, rcpts=(f"a{i}@angry.test",))
wait_for(lambda: sent("angry") == 12, 40, "mail by the source that is not refused")
tap.equal({p for p, _ in peers["angry"]}, {"127.1.0.2"}, "P2 what was refused goes out by the other source")
tap.ok(s.wait_log(r"lane mx\.angry\.test from one: its source is suspended, throttle blocked"), "P2 a suspended source is told")

# Warm-up: 5 on the first day, what is over by the warm one.
for i in range(30):
    submit(s, secret, rcpts=(f"w{i}@warm.test",))
wait_for(lambda: sent("warm") == 30, 40, "30 recipients")
by = [p for p, _ in peers["warm"]]
tap.equal((by.count("127.1.0.3"), by.count("127.1.0.2")), (5, 25), "P24 the new source sends its number, the warm one the rest")
submit(s, secret, sender="lone@sender.test", rcpts=[f"l{i}@warm.test" for i in range(7)])
wait_for(lambda: sent("warm") == 35, 40, "5 of 7")
time.sleep(1)
tap.equal(sent("warm"), 35, "P24 without a warm source the rest waits")
tap.equal(s.queue_count()["active"], 2, "P24 in the queue")

# Connections of a source over all destinations.
for i in range(10):
    submit(s, secret, rcpts=(f"f{i}@few.test",))
wait_for(lambda: sent("few") == 10, 40, "10 recipients")
tap.ok(most <= 2, "P2 never more connections than the source may have", most)

# J11: the pace and the numbers of the day survive a kill -9 and an orderly stop.
submit(s, secret, rcpts=[f"p{i}@paced.test" for i in range(8)])
wait_for(lambda: sent("paced") == 5, 20, "5 of 8")
time.sleep(0.3)
for p, _ in s.pids("qmgr"):
    os.kill(p, signal.SIGKILL)
wait_for(lambda: s.mtactl("queue", "count", check=False).returncode == 0, 20, "qmgr again")
tap.ok(s.wait_log(r"group paced: full since the last write"), "J11 after a kill -9 the pace is full")
submit(s, secret, rcpts=("later@paced.test",))
submit(s, secret, sender="lone@sender.test", rcpts=("l8@warm.test",))
submit(s, secret, rcpts=("h9@plain.test",))
wait_for(lambda: sent("plain") == 9, 30, "mail without limits")
time.sleep(1)
new = [r for _, r in peers["paced"]]
tap.equal(len(set(new)), 5, "J11 the pace survives a kill -9")
tap.equal(len({r for _, r in peers["warm"]}), 35, "P24 and so does the number of the day")
s.stop()
s.start()
submit(s, secret, rcpts=("h10@plain.test",))
wait_for(lambda: sent("plain") == 10, 30, "mail without limits")
time.sleep(1)
tap.equal((len({r for _, r in peers["paced"]}), len({r for _, r in peers["warm"]})), (5, 35), "J11 P24 and an orderly stop")
s.write(CONF.format(rate="none"))
s.mtactl("reload")
wait_for(lambda: len({r for _, r in peers["paced"]}) == 9, 30, "all")
tap.ok(True, "J11 without a rate the rest goes")

s.write(CONF.format(rate="none").replace(f"warm-up-start {today}", "warm-up-start 2026-02-30", 1))
out = s.mtactl("reload", check=False)
tap.match(out.stderr + out.stdout, r":\d+:\d+: .*warm-up-start.*is not a day", "C26 a day that is none is an error with its line")
tap.done()
