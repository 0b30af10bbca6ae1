#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Groups: pace, connections, patterns of throttling, conditional routes, sources, retry schedules, reload."""
import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

private_network()
ZONE = "@ IN MX 10 mx\nmx IN A 127.0.0.{}"
ns = Nsd({"slow.test": ZONE.format(2), "busy.test": ZONE.format(3), "news.test": ZONE.format(4),
          "other.test": ZONE.format(4), "soon.test": ZONE.format(5)})
times, peers = {}, {}


def note(stage, arg, session):
    if stage == "rcpt":
        rcpt = re.search("<(.*)>", arg).group(1)
        times.setdefault(rcpt, time.monotonic())
        peers.setdefault(rcpt, session.client_address[0])
    return None


def throttled(stage, arg, session):
    if stage == "rcpt" and busy_says:
        return busy_says
    return note(stage, arg, session)


def later(stage, arg, session):
    return "451 4.3.0 not now" if stage == "rcpt" else None


busy_says = "421 4.7.28 unusual rate of mail"
slow = Sink("127.0.0.2", 25, reply=note)
busy = Sink("127.0.0.3", 25, reply=throttled)
plain = Sink("127.0.0.4", 25, reply=note)
soon = Sink("127.0.0.5", 25, reply=later)
gateway = Sink("127.0.0.6", 2525, reply=note)
events = os.path.join(folder(), "events.jsonl")
CONF = """
source one {{ address 127.1.0.1; helo one.sender.test; }}
source two {{ address 127.1.0.2; helo two.sender.test; }}
pool both {{ source one weight 1; source two weight 3; }}
retry-schedule quick {{ method linear; a 1; period 60; attempts 3; }}
group slow {{ domains slow.test; rate {rate}; }}
group busy {{ domains busy.test; }}
group soon {{ domains soon.test; retry quick; }}
throttle rate {{ code 421; enhanced 4.7.28; text "unusual (rate|volume)"; stage rcpt; action slow; factor 50; for 2s; }}
route gateway {{ to other.test; from news@sender.test; relay [127.0.0.6]:2525; }}
route pool {{ to other.test; pool both; }}
retry {{ method linear; a 1; period 600; }}
"""
s = Suite(start=False)
s.base = s.base.replace("level debug;", f"level debug; events {events};")
s.write(CONF.format(rate="10/3s"))
s.start()
secret = s.tenant()

# J11: 25 recipients at 10 per 3 s.
rcpts = [f"r{i}@slow.test" for i in range(25)]
submit(s, secret, rcpts=rcpts)
wait_for(lambda: sum(len(m["rcpts"]) for m in slow.messages) == 25, 40, "25 paced recipients")
sizes = [len(m["rcpts"]) for m in slow.messages]
tap.equal(sizes, [10, 10, 5], "J11 25 recipients at 10 in 3 s leave in three groups")
at = sorted(times.values())
tap.ok(2.9 < at[10] - at[0] < 20 and 2.9 < at[20] - at[10] < 20, "J5 never more than 10 in any 3 s", at)

# P2: a reply that a pattern knows slows the destination, which recovers by itself.
for i in range(3):
    submit(s, secret, rcpts=(f"b{i}@busy.test",))
tap.ok(s.wait_log(r"lane mx\.busy\.test: slowed to 50% .*throttle rate"), "P2 a throttling reply slows its lane")
busy_says = None
busy.wait(3, 60)
tap.ok(s.wait_log(r"lane mx\.busy\.test: released", 60), "P2 and it recovers in steps")
wait_for(lambda: "released" in open(events).read(), 15, "event")
seen = [e for e in map(json.loads, open(events)) if e["type"] in ("throttled", "released")]
tap.equal((seen[0]["type"], seen[0]["lane"], seen[0]["code"], seen[0]["enhanced"]),
          ("throttled", "mx.busy.test", 421, "4.7.28"), "the event names the reply that caused it")

# J9: conditional routes; the first that fits.
submit(s, secret, sender="news@sender.test", rcpts=("x@other.test",))
gateway.wait(1)
tap.equal(gateway.messages[0]["rcpts"], ["x@other.test"], "J9 mail of one sender goes by the gateway")
for i in range(24):
    submit(s, secret, rcpts=(f"p{i}@other.test",))
plain.wait(24)
tap.equal({v for k, v in peers.items() if k.startswith("p")}, {"127.1.0.1", "127.1.0.2"}, "E1 other mail by the sources of the pool")
tap.equal(len(gateway.messages), 1, "J9 and not by the gateway")

# C7: a retry schedule of the group.
submit(s, secret, rcpts=("q@soon.test",))
wait_for(lambda: s.log().count("to=<q@soon.test>") >= 3, 30, "three attempts")
time.sleep(2.5)
tap.equal(s.log().count("to=<q@soon.test>"), 3, "C11 three attempts, as the schedule of its group says")

# C26: an error in a pacing file names the line; the old one stays. A new one counts at once.
s.write(CONF.format(rate="0/3s"))
out = s.mtactl("reload", check=False)
tap.ok("rate" in str(out) and ":" in str(out), "C26 a rate of 0 is an error with its line", str(out)[-300:])
s.write(CONF.format(rate="none"))
s.mtactl("reload")
n = len(slow.messages)
submit(s, secret, rcpts=[f"s{i}@slow.test" for i in range(40)])
wait_for(lambda: sum(len(m["rcpts"]) for m in slow.messages[n:]) == 40, 20, "40 recipients")
tap.equal(len(slow.messages) - n, 1, "a reload takes the rate away: all at once")
tap.done()
