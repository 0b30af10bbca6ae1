#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""What is done to a message: its author, double fields, tags, envelope sender, recipients of other kinds."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Smtpd, is_reply, tap  # noqa: E402

H = b"From: app@acme.example\r\n\r\n"
EXTRA = """duplicate-fields refuse
tag-header X-Tag
batch-header X-Batch
label-header X-Label
simulator-domain sim.example
legacy-local-part-domains docomo.example
envelope-sender { bounce-domain bounce.example; }
"""
s = Smtpd(limits="\terrors 10000\n\tmessages-per-connection 10000", extra=EXTRA)
c = s.ready("net")

# E6, F1: the forms by which servers, signers and readers were made to see different authors. "own" is what the
# client may use, "evil" what it wants to be shown; whatever has two readings is refused.
ONE = "500 Valid Header From Required"
AUTHORS = {
    "a1 two From fields": ("From: <evil@bank.example>\r\nFrom: <own@acme.example>", ONE),
    "a1 the other order": ("From: <own@acme.example>\r\nFrom: <evil@bank.example>", ONE),
    "a1 other letter case": ("from: <own@acme.example>\r\nFROM: <evil@bank.example>", ONE),
    "A8 blank before the colon": ("From : <evil@bank.example>\r\nFrom: <own@acme.example>", ONE),
    "A8 tab before the colon": ("From\t: <evil@bank.example>\r\nFrom: <own@acme.example>", ONE),
    "A9 fold before the colon": ("From\r\n : <evil@bank.example>\r\nFrom: <own@acme.example>", ONE),
    "A10 blank before the first field": (" From: <evil@bank.example>\r\nFrom: <own@acme.example>", ONE),
    "A10 fold of nothing": (" \r\n From: <evil@bank.example>\r\nFrom: <own@acme.example>", ONE),
    "From behind garbage": ("garbage\r\nFrom: <evil@bank.example>\r\nFrom: <own@acme.example>", ONE),
    "empty": ("From: ", ONE),
    "empty brackets": ("From: <>", ONE),
    "a3 route": ("From: <@own.example,@any.example:evil@bank.example>", ONE),
    "a3 text behind the address": ("From: <own@acme.example> <evil@bank.example>", ONE),
    "a3 two addresses without comma": ("From: own@acme.example evil@bank.example", ONE),
    "a3 address then brackets": ("From: own@acme.example <evil@bank.example>", ONE),
    "a3 comment that does not end": ("From: (own@acme.example <evil@bank.example>", ONE),
    "a3 quotes that do not end": ("From: \"own@acme.example <evil@bank.example>", ONE),
    "a3 double brackets": ("From: <<own@acme.example>>", ONE),
    "a3 two at signs": ("From: <own@acme.example@bank.example>", ONE),
    "a3 encoded address": ("From: =?utf-8?B?b3duQGFjbWUuZXhhbXBsZQ==?=", ONE),
    "a3 encoded domain": ("From: own@=?utf-8?Q?acme.example?=", ONE),
    "group": ("From: friends: own@acme.example, evil@bank.example;", ONE),
    "empty group": ("From: undisclosed-recipients:;", ONE),
    "U03 without a full domain": ("From: own@acme", ONE),
    "8-bit address": ("From: \u00f6wn@acme.example", ONE),
    "comment": ("From: own@acme.example (evil@bank.example)", "250"),
    "comment inside": ("From: own(x)@(y)acme.example", "250"),
    "quoted name with an address": ("From: \"evil@bank.example\" <own@acme.example>", "250"),
    "encoded name with an address": ("From: =?utf-8?Q?evil=40bank.example?= <own@acme.example>", "250"),
    "quoted local part": ("From: \"o wn\"@acme.example", "250"),
    "folded": ("From:\r\n own\r\n\t<own@acme.example>", "250"),
    "two valid authors": ("From: own@acme.example, second@acme.example", "250"),
    "Sender beside it": ("From: own@acme.example\r\nSender: s@acme.example", "250"),
}
for name, (header, want) in AUTHORS.items():
    is_reply(c.mail((header + "\r\n\r\nbody\r\n").encode()), want, f"A22 E6 atk-E6 atk-F1 {name}")
stored = sum(1 for _, want in AUTHORS.values() if want == "250")
for _ in range(stored):
    s.stored()
tap.ok(s.nothing("^stored"), "A22 nothing else was stored")

# The same where the domains must be the tenant's.
TENANT = {
    "own": ("From: own@strict.example", "250"),
    "own and own": ("From: own@strict.example, me@STRICT.example", "250"),
    "another's": ("From: evil@bank.example", "550 5.7.1 Header From rejected: domain not registered for this "
                  "account: bank.example"),
    "own and another's": ("From: own@strict.example, evil@bank.example", "550 5.7.1"),
    "another's and own": ("From: evil@bank.example, own@strict.example", "550 5.7.1"),
    "own name, another's address": ("From: \"own@strict.example\" <evil@bank.example>", "550 5.7.1"),
    "own in a comment": ("From: evil@bank.example (own@strict.example)", "550 5.7.1"),
    "a sub-domain": ("From: own@sub.strict.example", "550 5.7.1"),
    "an address literal": ("From: own@[192.0.2.1]", "550 5.7.1"),
    "nobody can say": ("From: own@silent.example", "451 4.3.0"),
}
for name, (header, want) in TENANT.items():
    is_reply(c.mail((header + "\r\n\r\nbody\r\n").encode(), sender="a@strict.example"), want,
             f"E6 U04 header-from tenant: {name}")
    if want == "250":
        s.stored()
is_reply(c.mail(H), "250", "U04 and the session goes on")
s.stored()
c.envelope(sender="a@strict.example")
c.send(b"From: a@hang.example\r\n\r\n")
c.send(b".\r\n")
s.until("^from_check")
s.order("authd drop")
is_reply(c.reply(), "451 4.3.0", "a message that waits for authd when that goes away")
s.order("authd new")
c.envelope(sender="a@strict.example")
c.send(b"From: a@hang.example\r\n\r\n.\r\n")
s.until("^from_check")
c.close()
tap.ok(s.nothing("^stored"), "a session that ends while it waits leaves nothing")
c = s.ready("net")

# P26
for name in ("To", "Cc", "Bcc", "Subject", "Date", "Message-ID", "Sender", "Reply-To", "In-Reply-To", "References"):
    two = f"{name}: <a@b.example>\r\n{name.upper()}: <a@b.example>\r\n".encode()
    is_reply(c.mail(two + H), "550 5.6.0", f"P26 {name} twice")
is_reply(c.mail(b"Comments: a\r\nComments: b\r\nReceived: x\r\nReceived: y\r\n" + H), "250", "P26 others may be there twice")
s.stored()
s.write_conf("log", "\terrors 10000", EXTRA.replace("refuse", "log"))
s.order(f"reload {s.dir}/log")
s.until("^(ready|refused)")
c.close()
c = s.ready("net")
is_reply(c.mail(b"Subject: a\r\nSubject: b\r\n" + H), "250", "P26 log: taken")
tap.equal(s.stored()["content"], b"Subject: a\r\nSubject: b\r\n" + H, "P26 log: as it is")
s.wait_log("warning: header field that may be there once is there twice from .*: Subject", "P26 log: and reported")
is_reply(c.mail(b"From: b@acme.example\r\n" + H), ONE, "P26 A22 more than one From is always refused")

# P8, A25
c.mail(b"X-Tag: spring sale\r\nx-batch:\r\n  7\r\nX-LABEL : a\r\nX-Tag: second\r\nX-Tags: stays\r\n" + H)
line = s.until("^stored")
tap.match(line, r" tag=spring sale batch=7 label=a ", "P8 tag, batch and label are in the envelope")
with open(os.path.join(s.dir, "msg." + line.split()[1]), "rb") as f:
    data = f.read()
tap.ok(b"X-Tag:" not in data and b"x-batch" not in data and b"X-LABEL" not in data and b"X-Tags: stays" in data,
       "P8 and not in the mail", data)
s.wait_log(r": client=.*, tag=spring\\040sale, batch=7, label=a$", "P8 logged")
s.wait_log(r": client=.*, batch=unset, label=unset$", "A25 unset where none was given")
with open(os.path.join(s.dir, "events")) as f:
    tap.ok('"tag":"spring sale","batch":"7","label":"a"' in f.read(), "P8 in the event")
c.mail(b"X-Tag: " + b"x" * 600 + b"\x07\r\n" + H)
m = s.stored()
tap.ok(len(m["tag"]) <= 255, "P8 a tag is bounded")

# A13-A17: what authd decides is carried out
c.mail(H, sender="a@fixed.example")
m = s.stored()
tap.match(s.log(), r"sender=<bounce@other\.example>, sender_original=<a@fixed\.example>", "A17 C20 old and new are logged")
tap.equal((m["from"], m["original"]), ("<bounce@other.example>", "a@fixed.example"), "C20 the envelope sender is replaced")
c.mail(H, sender="a@verp.example")
m = s.stored()
tap.equal((m["from"], m["original"], m["return"], m["serial"], int(m["flags"]) & 128),
          ("<a@verp.example>", "a@verp.example", "bounce.example", "42", 128), "A16 A17 a return address for each recipient")
c.mail(H, sender="a@held.example")
m = s.stored()
tap.equal(int(m["flags"]) & 256, 256, "A29 over quota with policy hold: queued held")

# P25
for local, want in (("success", "250"), ("HARD", "250"), ("soft+x", "250"), ("complaint", "250"), ("suppressed", "250"),
                    ("other", "550 5.1.1")):
    c.cmd("MAIL FROM:<app@acme.example>")
    is_reply(c.cmd(f"RCPT TO:<{local}@Sim.example>"), want, f"P25 {local}@")
    c.cmd("RSET")
c.mail(H, to=("hard@sim.example", "x@y.example"))
tap.equal(s.stored()["kinds"], "30", "P25 kinds of recipients")

# P28
for local in ("a..b", ".a", "a.", "...", "a.b"):
    c.cmd("MAIL FROM:<app@acme.example>")
    is_reply(c.cmd(f"RCPT TO:<{local}@docomo.example>"), "250", f"P28 {local}@ at a listed domain")
    c.cmd("DATA")
    c.send(H)
    c.cmd(".")
    want = local if local == "a.b" else f'"{local}"'
    tap.equal(s.stored()["to"], [f"<{want}@docomo.example>"], "P28 sent with its local part quoted")
c.cmd("MAIL FROM:<app@acme.example>")
for rcpt in ("a..b@other.example", ".a@docomo.example.other", "a b@docomo.example", "@docomo.example",
             "a..\"b@docomo.example", "." * 63 + "@docomo.example"):
    tap.match(c.cmd(f"RCPT TO:<{rcpt}>"), r"^5\d\d", f"P28 refused: {rcpt[:30]}")
c.close()

# G11: strangers on the mx listener
c = s.connect("mx")
c.cmd("EHLO stranger.test")
c.cmd("MAIL FROM:<>")
for rcpt, want in (("user@hosted.example", "250 2.1.5"), ("user@other.example", "554 5.7.1 <user@other.example>: Relay access "
                   "denied"), ("user@[192.0.2.1]", "554 5.7.1"), ("b-good@bounce.example", "250 2.1.5"),
                   ("b-bad@bounce.example", "550 5.7.1"), ("PostMaster@Bounce.example", "250"), ("postmaster", "250"),
                   ("success@sim.example", "554 5.7.1")):
    is_reply(c.cmd(f"RCPT TO:<{rcpt}>"), want, f"G11 S11 A17 {rcpt}")
c.cmd("DATA")
c.send(b"Subject: no author\r\n\r\n")
is_reply(c.cmd("."), "250", "A22 is for relay clients: a stranger's mail is not judged by its From")
m = s.stored()
tap.equal(m["kinds"], "0200", "A17 the return address is for bounce")
tap.equal(m["tenant"], "", "G11 nobody's tenant")
tap.match(m["front"], r"^Received: [^\r]*(\r\n\t[^\r]*)*\r\n\Z", "U05 a stranger's mail is not completed")
c.send("MAIL FROM:<a@b.example>\r\nRCPT TO:<u@hosted.example>\r\nRCPT TO:<u@other.example>\r\nNOOP\r\nRCPT TO:<v@hosted.example>\r\n")
tap.equal([c.reply()[:3] for _ in range(5)], ["250", "250", "554", "250", "250"], "G11 P01 in one pipeline")
c.close()

# C15
s.write_conf("copies", "\terrors 10000", EXTRA + "bcc-forward [archive.example]:2525\n")
s.order(f"reload {s.dir}/copies")
tap.ok(s.until("^(ready|refused)").startswith("ready"), "bcc-forward is configured")
c = s.ready("net")
c.mail(H, to=("a@b.example", "c@d.example"))
m = s.stored()
tap.equal((m["kinds"], m["to"]), ("0011", ["<a@b.example>", "<c@d.example>"] * 2), "C15 a copy of each recipient's mail")
with open(os.path.join(s.dir, "events")) as f:
    tap.equal(re.findall(r'"nrcpt":(\d+)', f.read())[-1], "2", "C16 copies are not counted as recipients")

# J11
c = s.ready("net")
is_reply(c.mail(b"X: " + b"x" * 990 + (b"\r\n " + b"x" * 990) * 10500 + b"\r\n" + H), "552 5.3.4", "atk-J11 one field of 10 MiB")
is_reply(c.mail(b"X: y\r\n" * 100000 + H), "250", "atk-J11 100,000 fields within the limit are taken")
s.stored()
is_reply(c.mail(b"To: a@b.example" + b",\r\n someone.else@dest.example" * 280000 + b"\r\n" + H), "552 5.3.4", "atk-J11 an 8 MiB To list")
is_reply(c.mail(b"From: a@b.example" + b",\r\n someone.else@dest.example" * 30000 + b"\r\n\r\n"), "250", "atk-J11 30,000 authors")
s.stored()
c.close()
s.end()
tap.done()
