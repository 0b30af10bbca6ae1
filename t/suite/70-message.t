#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Return addresses there and back, copies, tags, the simulator, hosted domains: the whole suite."""
import email
import json
import os
import re
import smtplib
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

private_network()
ns = Nsd({
    "rcpt.test": "@ IN MX 10 mx\nmx IN A 127.0.0.2",
    "docomo.test": "@ IN MX 10 mx.rcpt.test.",
    "sender.test": "@ IN MX 5 in\nin IN A 127.0.0.4",
    "archive.test": "@ IN A 127.0.0.5",
    "store.test": "@ IN A 127.0.0.6",
    "mta.test": "@ IN A 127.0.0.1",
})


def behave(stage, arg, session):
    return "550 5.1.1 <x>: no such user" if stage == "rcpt" and "unknown" in arg else None


def refuse(stage, arg, session):
    return "550 5.7.1 no copies today" if stage == "rcpt" and getattr(session.server, "closed", False) else None


sink = Sink("127.0.0.2", 25, behave)
inbox = Sink("127.0.0.4", 25)
archive = Sink("127.0.0.5", 25, refuse)
store = Sink("127.0.0.6", 25)
routes = os.path.join(folder(), "routes")
with open(routes, "w") as f:
    f.write("hosted.test [127.0.0.6]:25\n")
s = Suite(extra=f"""transport text:{routes}
retry {{ method linear; a 2; period 60; }}
log {{ file {os.path.join(folder(), "inst/mail.log")}; events {os.path.join(folder(), "inst/events")}; level debug; }}
envelope-sender {{ bounce-domain bounce.test; }}
bcc-forward [archive.test]:25
tag-header X-Tag
simulator-domain sim.test
legacy-local-part-domains docomo.test
header-from tenant
""", start=False)
s.base = re.sub(r"log \{.*\n", "", s.base)
s.write(open(s.conf).read().split(s.listeners)[1])
s.start()
secret = s.tenant()


def events(kind):
    with open(os.path.join(s.dir, "events")) as f:
        return [e for e in map(json.loads, f) if e["type"] == kind]


def some_event(kind, **fields):
    def look():
        return [e for e in events(kind) if all(e.get(k) == v for k, v in fields.items())]
    try:
        return wait_for(look, 15, f"event {kind}")[0]
    except AssertionError:
        return {}


# Kept as it is: no pattern
code, text = submit(s, secret, subject="plain", extra="X-Tag: spring\r\n")
qid = text.split()[-1]
got = sink.wait(1)[0]
tap.equal(got["sender"], "a@sender.test", "A13 without a pattern the sender is kept")
tap.ok(b"X-Tag" not in got["data"], "P8 the tag is not in the mail")
tap.ok(s.wait_log(rf"{qid}: to=<b@rcpt\.test>.*status=sent.* tag=spring"), "P8 the tag is in the delivery line", s.log()[-2000:])
tap.equal(some_event("delivered", id=qid).get("tag"), "spring", "P8 and in its event")
copy = archive.wait(1)[0]
tap.equal((copy["sender"], copy["rcpts"]), ("a@sender.test", ["b@rcpt.test"]), "C15 the copy has the same envelope")
tap.equal(copy["data"], got["data"], "C15 and is the same mail")
tap.equal(len([e for e in events("delivered") if e["id"] == qid]), 1, "C16 a copy makes no event")

# A16: each sender
s.mtactl("key", "set", "app1", "--pattern=@")
code, text = submit(s, secret, subject="verp", rcpts=("b@rcpt.test", "c@rcpt.test"))
qid = text.split()[-1]
got = sink.wait(3)[1:3]
tap.equal(sorted(len(m["rcpts"]) for m in got), [1, 1], "A17 a transaction for each recipient")
senders = {m["rcpts"][0]: m["sender"] for m in got}
tap.ok(all(re.fullmatch(r"b-[a-z2-7]{50}@bounce\.test", x) for x in senders.values()) and len(set(senders.values())) == 2,
       "A16 A17 from return addresses of their own", senders)
tap.ok(s.wait_log(rf"{qid}: client=.*sender_original=<a@sender\.test>"), "A17 the old sender is logged")
tap.ok(s.wait_log(rf"{qid}: to=<c@rcpt\.test>.* sender={re.escape(senders['c@rcpt.test'])} sender_original=a@sender\.test"),
       "A17 old and new at delivery", s.log()[-3000:])
e = some_event("delivered", id=qid, rcpt="c@rcpt.test")
tap.equal((e.get("sender"), e.get("sender_original")), (senders["c@rcpt.test"], "a@sender.test"), "A17 and in the event")
archive.wait(2)


# It comes back
def stranger(rcpt, sender="", data=None):
    with smtplib.SMTP("127.0.0.1", s.mx, local_hostname="mx.rcpt.test") as c:
        c.ehlo()
        c.mail(sender)
        code, text = c.rcpt(rcpt)
        if code == 250:
            code, text = c.data(data or mail(sender="MAILER-DAEMON@rcpt.test", to=rcpt, subject="returned"))
        return code, text.decode()


code, text = stranger(senders["c@rcpt.test"].upper().replace("BOUNCE", "bounce"))
tap.equal(code, 250, "A17 a good return address takes mail from anybody, in any letter case")
index = 1
e = some_event("late_bounce", id=qid)
tap.equal((e.get("rcpt_index"), e.get("sender")), (index, ""), "A17 late_bounce leads back to message and recipient")
serial = some_event("received", id=qid).get("key_serial")
tap.ok(serial and e.get("key_serial") == serial, "A17 and to the key", (serial, e))
tap.ok(s.wait_log(rf"{qid}: returned: \w+, rcpt_index=1, key_serial={serial}, from=<>"), "A17 logged")
good = senders["b@rcpt.test"]
forged = good[:10] + ("a" if good[10] != "a" else "b") + good[11:]
code, text = stranger(forged)
tap.ok(code == 550 and text.startswith("5.7.1"), "A17 a forged one is refused at RCPT", text)
code, text = stranger("somebody@bounce.test")
tap.ok(code == 550 and text.startswith("5.1.1"), "A17 what is no return address is refused", text)
s.kill9()
time.sleep(1)  # the ports are free when the last of them is gone
s.start()
code, text = stranger(good)
tap.equal(code, 250, "A17 return addresses survive kill -9")

# A failure in the session is told to the sender that the client gave
code, text = submit(s, secret, subject="fails", rcpts=("unknown@rcpt.test",))
report = inbox.wait(1)[0]
tap.equal((report["sender"], report["rcpts"]), ("", ["a@sender.test"]), "A12 a failure at delivery is reported to the original sender")

# G11, A1
code, text = stranger("user@hosted.test")
tap.ok(code == 554 and text.startswith("5.7.1"), "G11 not before it is hosted", text)
s.mtactl("domain", "add", "acme", "hosted.test", "--verified")
s.mtactl("domain", "set", "hosted.test", "--hosted=yes")
code, text = stranger("user@HOSTED.test", sender="x@else.test")
tap.equal(code, 250, "G11 mail for a hosted domain is taken from anybody")
got = store.wait(1)[0]
tap.equal((got["sender"], got["rcpts"]), ("x@else.test", ["user@HOSTED.test"]), "G11 and goes where the transport map says")
code, text = stranger("b@rcpt.test", sender="x@hosted.test")
tap.ok(code == 554 and "Relay access denied" in text, "G11 A1 a hosted domain as sender opens nothing", text)

# header-from tenant
code, text = submit(s, secret, data=mail(sender="boss@bank.test"))
tap.ok(code == 550 and "bank.test" in text, "U04 a header From of another's domain is refused", (code, text))
code, text = submit(s, secret, data="Subject: none\r\n\r\nx\r\n")
tap.equal((code, text), (500, "Valid Header From Required"), "A22 no From")

# P28
n = len(sink.messages)
code, text = submit(s, secret, rcpts=("a..b@docomo.test",))
tap.equal(sink.wait(n + 1)[n]["rcpts"], ['"a..b"@docomo.test'], "P28 an old carrier address is sent quoted")

# P25
n = len(inbox.messages)
code, text = submit(s, secret, rcpts=("success@sim.test", "hard@sim.test", "complaint@sim.test", "suppressed@sim.test"))
qid = text.split()[-1]
for kind, rcpt in (("delivered", "success"), ("bounced", "hard"), ("complaint", "complaint"), ("suppressed", "suppressed")):
    tap.ok(some_event(kind, id=qid, rcpt=f"{rcpt}@sim.test"), f"P25 {rcpt}@: event {kind}")
tap.ok("Undelivered" in email.message_from_bytes(inbox.wait(n + 1)[n]["data"])["Subject"], "P25 its bounces are reported")

# C16
archive.closed = True
n, r = len(sink.messages), len(inbox.messages)
code, text = submit(s, secret, subject="nocopy")
qid = text.split()[-1]
sink.wait(n + 1)
tap.ok(s.wait_log(rf"{qid}: to=<b@rcpt\.test>, no report: a copy"), "C16 a copy that fails touches nobody")
tap.ok(s.wait_log(rf"{qid}: removed"), "C16 and the message is done")
tap.equal(len(inbox.messages), r, "C16 nothing is reported to the sender")

s.stop()
tap.done()
