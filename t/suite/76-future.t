#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""What a client and the admin say of when mail goes: FUTURERELEASE, MT-PRIORITY, a key's retry schedule, a tenant's weight."""
import os
import re
import signal
import smtplib
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

private_network()
ZONE = "@ IN MX 10 mx\nmx IN A 127.0.0.{}"
ns = Nsd({"rcpt.test": ZONE.format(2), "full.test": ZONE.format(3), "turns.test": ZONE.format(4)})
came = {}
turns_open = threading.Event()


def note(stage, arg, session):
    if stage == "rcpt":
        came.setdefault(re.search("<(.*)>", arg).group(1), time.time())
    return None


def wait_for_all(stage, arg, session):
    if stage == "rcpt":
        turns_open.wait(60)
    return None


sink = Sink("127.0.0.2", 25, reply=note)
full = Sink("127.0.0.3", 25, reply=lambda stage, arg, session: "452 4.2.2 full" if stage == "rcpt" else None)
turns = Sink("127.0.0.4", 25, reply=wait_for_all, ehlo=("PIPELINING", "MT-PRIORITY"))
CONF = """
limits { auth-delay 0s; connections-per-client 0; future-release-max 1d; }
simulator-domain sim.test
retry { method linear; a 600; period 86400; }
retry-schedule quick { method linear; a 1; period 60; attempts 2; }
group turns { domains turns.test; connections 1; }
"""
s = Suite(extra=CONF)
secret = s.tenant()
other = s.tenant("rival", "app2", "rival.test")


def send(rcpt, user="app1", word=None, sender="a@sender.test", params=()):
    """One message: the last reply, a time before its content was there, and what EHLO offered."""
    c = smtplib.SMTP("127.0.0.1", s.submission, timeout=30, local_hostname="client.test")
    c.starttls(context=client_context())
    c.login(user, word or secret)
    offered = c.ehlo()[1].decode()
    code, text = c.mail(sender, params)
    before = time.time()
    if code == 250:
        c.rcpt(rcpt)
        code, text = c.data(mail(sender=sender, to=rcpt))
    c.quit()
    return code, text.decode(), before, offered


def state(rcpt):
    return [r["state"] for r in s.mtactl("queue", "list", json_rows=True) if r["rcpt"] == rcpt]


code, text, at, offered = send("early@rcpt.test", params=["HOLDFOR=3"])
tap.ok(code == 555 and "FUTURERELEASE" not in offered, "G3 a key without the right is offered no FUTURERELEASE, and gets none", (code, text))
s.mtactl("key", "set", "app1", "--rights=send,future,priority", "--retry=quick")
s.mtactl("tenant", "set", "rival", "--weight=3")
shown = s.mtactl("key", "show", "app1", json_rows=True)[0]
tap.equal((shown["rights"], shown["retry"]), ("send,future,priority", "quick"), "C11 G3 the settings of the key")
tap.equal(s.mtactl("tenant", "show", "rival", json_rows=True)[0]["weight"], "3", "the weight of the tenant")
dump = s.mtactl("export").stdout
tap.ok(re.search(r'"retry": ?"quick"', dump) and re.search(r'"weight": ?3', dump), "export has both", dump)
audit = s.mtactl("audit").stdout
tap.ok("retry=quick" in audit and "weight=3" in audit, "so has the audit trail", audit[-600:])

# RFC 4865: not before its time, and not lost: qmgr is killed before and behind the tick of its database.
def arrived(*names):
    wait_for(lambda: all(f"{n}@rcpt.test" in came for n in names), 40, f"mail to {names}")


far = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 36000))
send("far@rcpt.test", params=["HOLDUNTIL=" + far])
accepted = {}
for i in range(4):
    code, text, accepted[f"late{i}"], offered = send(f"late{i}@rcpt.test", params=["HOLDFOR=5"])
    if i == 1:
        os.kill(s.pids("qmgr")[0][0], signal.SIGKILL)
tap.ok(code == 250 and re.search(r"^FUTURERELEASE 86400 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", offered, re.M), "RFC 4865: offered to the key", offered)
send("success@sim.test", params=["HOLDFOR=2"])
send("soon@rcpt.test")
arrived("soon")
os.kill(s.pids("qmgr")[0][0], signal.SIGKILL)
arrived(*accepted)
wait_for(lambda: s.mtactl("queue", "count", check=False).returncode == 0, 30, "qmgr")
early = {n: came[f"{n}@rcpt.test"] - at for n, at in accepted.items() if came[f"{n}@rcpt.test"] < at + 5}
tap.equal(early, {}, "RFC 4865: none came before its time")
tap.ok(s.wait_log(r"to=<success@sim.test>, relay=simulator"), "RFC 4865 P25: a simulator address waits, and is acted out")

# Far ahead: shown, held, released, flushed.
tap.equal(state("far@rcpt.test"), ["scheduled"], "RFC 4865: queue list calls it scheduled")
s.mtactl("queue", "hold", "--yes", "--domain=rcpt.test")
tap.equal(state("far@rcpt.test"), ["held"], "a scheduled message can be held")
s.mtactl("queue", "release", "--yes", "--domain=rcpt.test")
tap.equal(state("far@rcpt.test"), ["scheduled"], "and still waits for its time when it is released")
s.mtactl("queue", "flush", "--all")
tap.equal(state("far@rcpt.test"), ["scheduled"], "a flush of all leaves it")
qid = [r["id"] for r in s.mtactl("queue", "list", json_rows=True) if r["rcpt"] == "far@rcpt.test"][0]
s.mtactl("queue", "flush", qid)
arrived("far")
tap.ok("far@rcpt.test" in came, "a flush by its id sends it")

# C11: the key's own retry schedule; one that is gone is told once.
send("x@full.test")
tap.ok(s.wait_log(r"to=<x@full\.test>.*(\n.*)*status=expired", 30), "C11 two attempts and the end, as the key's schedule says")
tap.equal(len(re.findall(r"to=<x@full\.test>.*status=deferred", s.log())), 2, "C11 exactly two")
s.mtactl("key", "set", "app1", "--retry=gone")
for i in range(3):
    tap.equal(send(f"gone{i}@rcpt.test")[0], 250, "C11 an unknown schedule is no reason to refuse")
arrived("gone0", "gone1", "gone2")
tap.equal(s.log().count("no retry-schedule gone"), 1, "C11 it is told once")
s.mtactl("key", "set", "app1", "--retry=")

# Turns at a destination with one connection that is busy: the urgent one first; weights 1 to 3.
s.mtactl("tenant", "set", "acme", "--quota-minute=none")
for i in range(3):
    send(f"first{i}@turns.test", params=["MT-PRIORITY=-9"])
for i in range(12):
    send(f"acme{i}@turns.test")
    send(f"rival{i}@turns.test", "app2", other, "a@rival.test")
send("urgent@turns.test", params=["MT-PRIORITY=9"])
wait_for(lambda: len(s.mtactl("queue", "list", "--domain=turns.test", json_rows=True)) == 28, 20, "all in the queue")
turns_open.set()
turns.wait(28, 60)
order = [m["rcpts"][0].split("@")[0] for m in turns.messages]
ahead = [x for x in order if x.startswith("first")]
rest = order[len(ahead):]
tap.ok(order.index("urgent") <= 3 + 4, "RFC 6710: the urgent one has the tenant's next turn", order)
share = [x for x in order[3:] if x.startswith(("acme", "rival"))][:12]
tap.equal(sum(x.startswith("rival") for x in share), 9, "three turns of four are those of the tenant with weight 3")
tap.equal([x for x in order if x.startswith("acme")], [f"acme{i}" for i in range(12)], "and within a tenant the order stays")
tap.ok("MT-PRIORITY=9" in [m["mail"] for m in turns.messages if m["rcpts"] == ["urgent@turns.test"]][0], "RFC 6710: the next host is told")
tap.done()
