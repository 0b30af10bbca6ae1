#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""What an admin asks and does about mail that waits: why, lane, queue shape, pause, move, route, plan, top."""
import json
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

private_network()
ZONE = "@ IN MX 10 mx\nmx IN A 127.0.0.{}"
ns = Nsd({"slow.test": ZONE.format(2), "later.test": ZONE.format(3), "gone.test": ZONE.format(3),
          "free.test": ZONE.format(4) + "\nmail IN A 198.51.100.1",
          "100.51.198.in-addr.arpa": "1 IN PTR mail.free.test.\n2 IN PTR mail.free.test.", "tar.test": ZONE.format(5)})
says, peers = ["451 4.2.1 mailbox is busy"], {}


def later(stage, _arg, _session):
    return says[0] if stage == "rcpt" else None


def free(stage, arg, session):
    if stage == "rcpt":
        peers[re.search("<(.*)>", arg).group(1)] = session.client_address[0]
    return None


def tarpit(stage, _arg, _session):
    if stage == "rcpt":
        time.sleep(8)
    return None


slow, late, plain, tar = Sink("127.0.0.2", 25), Sink("127.0.0.3", 25, reply=later), \
    Sink("127.0.0.4", 25, reply=free), Sink("127.0.0.5", 25, reply=tarpit)
s = Suite(extra="""
source one { address 127.1.0.1; helo one.sender.test; }
source two { address 127.1.0.2; helo two.sender.test; }
source known { address 198.51.100.1; helo mail.free.test; }
source wrong { address 198.51.100.2; helo mail.free.test; }
pool first { source one; }
pool second { source two; }
group slow { domains slow.test; rate 2/1h; tls none; }
group free { domains free.test; pool first; }
retry { method linear; a 300; period 1d; }
""")
secret = s.tenant()


def rows(*args, **kw):
    return s.mtactl(*args, json_rows=True, **kw)


def why(what):
    return rows("why", what)


def fails(*args):
    r = s.mtactl(*args, check=False, stdin="")
    return r.returncode, r.stderr


# A limit of the destination, with its counter.
submit(s, secret, rcpts=[f"r{i}@slow.test" for i in range(5)])
slow.wait(1)
wait_for(lambda: len(why("slow.test")) == 3, what="three that wait")
w = why("r4@slow.test")
tap.equal([(x["rcpt"], x["state"], x["waits_for"], x["used"], x["limit"], x["per_s"]) for x in w],
          [("r4@slow.test", "active", "rate", 2, 2, 3600)], "why: the limit that holds it, its counter")
tap.ok(w[0]["until"] and w[0]["expires"] and w[0]["lane"] == "mx.slow.test", "why: when it frees, its lane, its end", w)

# Deferred, held, under way, not there.
qid = submit(s, secret, rcpts=("d@later.test",))[1].split()[-1]
wait_for(lambda: why(qid)[0]["state"] == "deferred", what="deferred")
w = why(qid)[0]
tap.ok(w["waits_for"] == "its next attempt" and w["until"] and "mailbox is busy" in w["reason"] and
       w["attempts"] == 1 and w["relay"].startswith("mx.later.test"), "why: deferred, with the last reply", w)
s.mtactl("queue", "hold", qid)
tap.equal(why(qid)[0]["waits_for"], "its release by the administrator", "why: held")
s.mtactl("queue", "release", qid)
submit(s, secret, rcpts=("t@tar.test",))
wait_for(lambda: why("t@tar.test")[0]["waits_for"].startswith("the answer"), what="under way")
tap.ok(True, "why: under way")
tap.equal(fails("why", "nobody@free.test")[0], 1, "why: what is not there is exit 1")
tap.equal(fails("why", "a@")[0], 2, "why: what is nothing is exit 2")
tap.equal(len(rows("why", "slow.test", "--limit=2")), 2, "why: at most so many")

# Lanes.
lanes = {x["lane"]: x for x in rows("lane", "list")}
tap.ok(lanes["mx.slow.test"]["waits_for"] == "rate" and lanes["mx.slow.test"]["group"] == "slow" and
       lanes["mx.slow.test"]["messages"] == 1 and lanes["mx.tar.test"]["connections"] == 1, "lane list", lanes)
shown = rows("lane", "show", "mx.slow.test")
tap.ok(shown[0]["lane"] == "mx.slow.test" and shown[1]["limit_rate"] == 2 and
       any(x.get("tenant") == "acme" and x["recipients"] == 3 for x in shown), "lane show: limits, tenants", shown)
tap.equal(fails("lane", "show", "mx.free.test")[0], 1, "lane show: one that is not there")

# Shape.
shape = {x["destination"]: x for x in rows("queue", "shape")}
tap.equal((shape["TOTAL"]["total"], shape["mx.slow.test"]["total"], shape["mx.slow.test"]["5m"]),
          (s.queue_count()["recipients"], 3, 3), "queue shape")
tap.equal([x["destination"] for x in rows("queue", "shape", "--limit=1")], ["TOTAL", "mx.slow.test"],
          "queue shape: the largest first")

# Pauses: of each kind, kept over a restart, ended by hand and by time.
for what, domain in (("--domain=free.test", "free"), ("--site=mx.free.test", "free"), ("--source=one", "free"),
                     ("--tenant=acme", "free"), ("--site=free", "free")):
    s.mtactl("pause", what, "--reason=maintenance there")
    before = len(plain.messages)
    submit(s, secret, rcpts=("p@free.test",))
    wait_for(lambda: [x["state"] for x in why("p@free.test")] == ["paused"], what="paused")
    if what == "--site=mx.free.test":
        s.stop()
        s.start()
    p = rows("pauses")
    tap.ok(len(p) == 1 and p[0]["reason"] == "maintenance there" and f"--{p[0]['what']}={p[0]['name']}" == what and
           why("p@free.test")[0]["waits_for"] == "the end of a pause", f"pause {what}", p)
    tap.equal(len(plain.messages), before, f"pause {what}: nothing goes")
    s.mtactl("queue", "flush", "--all")
    s.mtactl("resume", what)
    wait_for(lambda: len(plain.messages) == before + 1, what="resumed")
    tap.equal(rows("pauses"), [], f"resume {what}")
# J12: progress, stop and resume by command, as above; an end by time.
s.mtactl("pause", "--domain=.test", "--for=2s")
submit(s, secret, rcpts=("q@free.test",))
wait_for(lambda: plain.messages[-1]["rcpts"] == ["q@free.test"], 30, "the end of its time")
tap.ok(True, "pause --for ends by itself")
tap.equal((fails("pause")[0], fails("pause", "--site=a", "--domain=b")[0], fails("resume", "--site=a")[0],
           fails("pause", "--site=a", "--for=0")[0]), (2, 2, 1, 2), "pause: bad input")
# What waits in a lane is kept back too.
s.mtactl("pause", "--site=slow")
wait_for(lambda: {x["state"] for x in why("slow.test")} == {"paused"}, what="out of its lane")
s.mtactl("resume", "--site=slow")
wait_for(lambda: {x["waits_for"] for x in why("slow.test")} == {"rate"}, what="in its lane again")
tap.ok(True, "pause: what waits in lanes leaves them, and comes back")

# Sources by hand.
s.mtactl("pause", "--domain=free.test")
qid = submit(s, secret, rcpts=("moved@free.test",))[1].split()[-1]
wait_for(lambda: why(qid)[0]["state"] == "paused", what="paused")
s.mtactl("queue", "move", qid, "--pool=second")
s.stop()
s.start()
s.mtactl("resume", "--domain=free.test")
wait_for(lambda: "moved@free.test" in peers, what="moved mail")
tap.equal((peers["p@free.test"], peers["moved@free.test"]), ("127.1.0.1", "127.1.0.2"), "queue move --pool, durably")
tap.equal((fails("queue", "move", qid, "--pool=none")[0], fails("queue", "move", "--all", "--yes")[0]), (2, 2),
          "queue move: bad input")

# Sources: what they are, and whether DNS agrees (E1).
src = {x["source"]: x for x in rows("source", "list")}
tap.equal((src["one"]["address4"], src["one"]["helo"], src["one"]["state"]), ("127.1.0.1", "one.sender.test", "good"),
          "source list")
tap.equal(rows("dns", "ptr", "198.51.100.1")[0]["name"], "mail.free.test", "dns ptr: a name that has the address")
tap.equal(rows("dns", "ptr", "198.51.100.2")[0]["name"], "", "   and none that has not")
r = s.mtactl("-j", "source", "check", check=False)
tap.equal((r.returncode, [json.loads(line)["verdict"] for line in r.stdout.splitlines()]),
          (1, ["another name", "another name", "good", "no such name"]), "E1 source check: A, PTR and HELO")
tap.equal((s.mtactl("source", "check", "known").returncode, fails("source", "check", "none")[0], fails("dns", "ptr", "x")[0]),
          (0, 1, 2), "source check of one; bad input")

# Route and plan: nothing is sent.
r = rows("route", "x@free.test")[0]
tap.ok((r["site"], r["hosts"], r["group"], r["source"], r["address4"], r["helo"]) ==
       ("mx.free.test", ["mx.free.test"], "free", "one", "127.1.0.1", "one.sender.test"), "route ADDR", r)
text = s.mtactl("route", "x@free.test", "--connect").stdout
tap.match(text, r"220 (.*\n)*.*EHLO one\.sender\.test", "route --connect: the live dialogue")
tap.ok("MAIL FROM" not in text and "would take mail" in text, "and no message", text)
tap.equal((fails("route", "x")[0], fails("route", "x@nowhere.test", "--connect")[0]), (2, 1), "route: bad input")
file = os.path.join(folder(), "rcpts")
with open(file, "w") as f:
    f.writelines(f"u{i}@{'slow' if i % 3 else 'free'}.test\n" for i in range(30))
plan = {x["site"]: x for x in rows("plan", file)}
tap.equal([(k, plan[k]["recipients"], plan[k]["source"], plan[k]["seconds"]) for k in sorted(plan)],
          [("mx.free.test", 10, "one", 0), ("mx.slow.test", 20, "", 9 * 3600)], "plan: sites, sources, time")
with open(file, "a") as f:
    f.write("no address\n")
tap.equal(fails("plan", file)[0], 1, "plan: a line that is no address")

# Bulk changes ask.
code, err = fails("queue", "bounce", "--domain=slow.test")
tap.ok(code == 2 and "3 recipients of 1 messages" in err and len(why("slow.test")) == 3,
       "bulk changes print the count and want --yes", err)
tap.equal(fails("queue", "delete", "--domain=nobody.test")[0], 0, "unless there is nothing to change")
s.mtactl("queue", "delete", "--domain=slow.test", "--yes")
tap.equal(fails("why", "slow.test")[0], 1, "--yes does it")
tty = subprocess.run(["script", "-qec", f"{BUILD}/mtactl/mtactl -c {s.conf} queue delete --domain=later.test", "/dev/null"],
                     input="y\n", capture_output=True, text=True, timeout=30, check=False)
tap.ok("Go on? [y/N]" in tty.stdout and tty.returncode == 0 and fails("why", "later.test")[0] == 1,
       "and on a terminal the answer y", tty.stdout)

top = s.mtactl("top", "--count=2", "--every=1s").stdout
tap.ok(len(re.findall(r"^messages: ", top, re.M)) == 2 and len(re.findall(r"^\d\d:\d\d:\d\d$", top, re.M)) == 2,
       "top: a picture each second", top)

s.stop()
tap.done()
