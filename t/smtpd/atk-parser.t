#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""ATTACKS C: what once broke the parsers of others. Memory is watched by the build with sanitizers."""

import base64
import itertools
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from evil import GOOD, HEADER, Smtpd, attack, cpu_seconds, is_reply, pss_kib, sanitized, tap  # noqa: E402

LONG = bool(os.environ.get("EKIDEN_LONG"))  # 4 GiB for real
s = Smtpd(limits="\terrors 10000\n\tidle-commands 10000\n\trecipients-per-message 1000\n\tmessages-per-connection 10000")
rng = random.Random(int(os.environ.get("EKIDEN_SEED", "3")))


def b64(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


# One row: the command, and how its reply begins. All of a group run in one session, in turn.
def table(row, name, port, rows, before=(), undo="RSET"):
    c = s.ready(port)
    bad = []
    for line, want in rows:
        for b in before:
            c.cmd(b)
        got = c.cmd(line)
        if not got.startswith(want):
            bad.append(f"{line[:100]!r}: got {got!r}, want {want!r}")
        if undo:
            c.cmd(undo)
    c.close()
    others = s.unharmed(f"atk-{row}")
    tap.ok(not bad and not others, f"atk-{row} {name} ({len(rows)} rows)", "\n".join(bad[:6]))


MAIL = ["MAIL FROM:<a@acme.example>"]

# C1: lengths that are no multiple of four, bytes of no alphabet.
c = s.connect("key")
c.cmd("EHLO a")
bad = []
for n in list(range(1, 70)) + [4095, 4096, 4097, 8191, 12285, 12286, 12287]:
    for last in ("A", "=", "*", "\xff", "-"):
        text = "A" * (n - 1) + last
        want = {"501"}
        if n % 4 == 0 and last in "A=":
            want = {"501", "535"}
        got = c.cmd("AUTH PLAIN " + text)[:3]
        if got == "421" or not c.code:
            c = s.connect("key")
            c.cmd("EHLO a")
        elif got not in want and text != "=":
            bad.append((n, last, got))
tap.ok(not bad and not s.unharmed("atk-C1", "key"), "atk-C1 base64 of odd lengths", bad)

# C3
rows = [(f"EHLO {'x' * n}", "250-" if n <= 255 else "501 5.5.4") for n in (1, 254, 255, 256, 257, 511, 512, 1024, 2041)]
table("C3", "long EHLO", "net", rows, undo=None)
for n in (2042, 4096, 8192, 20480):
    attack(s, "C3", f"EHLO with {n} octets", "net", "EHLO " + "x" * n + "\r\n", ["500 5.5.2"], closed=True, state="greeted")
attack(s, "C3", "20 KiB without an end", "net", "EHLO " + "x" * 20480, ["500 5.5.2"], closed=True, state="greeted")

# C4 C23 E4: text is text, whatever language it would be elsewhere.
canary = os.path.join(s.dir, "canary")
for text in (f"${{run{{/usr/bin/touch {canary}}}}}", f"`touch${{IFS}}{canary}`", f"$(touch {canary})", f"|touch {canary}", ";touch x;",
             "a'or'1'='1", "a';DROP/**/TABLE/**/x;--", "*)(uid=*", "../../../etc/passwd", "%n%n%s%s", "{{7*7}}", "!ls", "&&id"):
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if len(quoted) > 64:
        quoted = quoted[:63] + '"'
    c = s.ready("net")
    one = c.cmd(f"MAIL FROM:<{quoted}@acme.example>")
    two = c.cmd(f"RCPT TO:<{quoted}@dest.example>")
    c.cmd("DATA")
    c.send(f"From: a@acme.example\r\nSubject: {text}\r\nMessage-ID: <x@{quoted}>\r\n\r\n{text}\r\n")
    three = c.cmd(".")
    m = s.stored()
    c.cmd(f"VRFY {text}")
    c.cmd(f"HELP {text}")
    c.cmd(f"EHLO {text}")
    c.cmd(f"ETRN {text}")
    c.close()
    good = one[:3] + two[:3] + three[:3] == "250250250" and m["to"] == [f"<{quoted}@dest.example>"]
    tap.ok(good and not os.path.exists(canary) and not s.unharmed("atk-C4"), f"atk-C4 atk-C23 atk-E11 {text[:24]!r} is only text",
           (one, two, three, m))

# C5: recipients and sizes beyond all counters.
c = s.ready("net")
c.cmd(MAIL[0])
c.send("".join(f"RCPT TO:<u{i}@dest.example>\r\n" for i in range(6000)))
codes = [c.reply()[:9] for _ in range(6000)]
tap.equal((codes[:1000], set(codes[1000:])), (["250 2.1.5"] * 1000, {"452 4.5.3"}), "atk-C5 5,000 recipients over the limit")
c.cmd("DATA")
c.send(HEADER)
is_reply(c.cmd("."), "250", "atk-C5 the message has those that were taken")
tap.equal(len(s.stored()["to"]), 1000, "atk-C5 and no more")
c.close()
table("C5", "sizes that wrap", "net", [(f"MAIL FROM:<a@acme.example> SIZE={n}", want) for n, want in (
    (2**31, "552"), (2**32, "552"), (2**32 + 1, "552"), (2**63, "552"), (2**64 - 1, "552"), (2**64, "552"), (2**64 + 5, "552"),
    (10**20 - 1, "552"), (10**20, "501"), ("0" * 20, "250"), ("0" * 21, "501"), ("1e3", "501"), ("0x10", "501"), ("+5", "501"),
    ("-1", "501"), ("", "501"), (" ", "501"))])

# C7 C9: coded newlines.
table("C7", "AUTH= with coded control bytes", "key", [(f"MAIL FROM:<a@acme.example> AUTH={x}", want) for x, want in (
    ("a+0Ab@c.example", "501"), ("a+0Db@c.example", "501"), ("a+00b@c.example", "501"), ("a+7Fb@c.example", "501"),
    ("a+1Bb@c.example", "501"), ("a+0ab@c.example", "501"), ("a+", "501"), ("a+4", "501"), ("a+G1@c.example", "501"),
    ("a=b@c.example", "501"), ("+", "501"), ("", "501"), ("<>", "250"), ("a+2Bb@c.example", "250"), ("+3C+3E", "501"),
    ("x" * 400 + "@c.example", "501"))])
table("C9", "DSN parameters are not offered", "net", [(f"RCPT TO:<b@dest.example> {x}", "5") for x in (
    "ORCPT=rfc822;a+0Ab", "ORCPT=rfc822;a@b.example", "NOTIFY=NEVER", "NOTIFY=SUCCESS,FAILURE", "ORCPT=" + "x" * 1900)] +
    [(f"MAIL FROM:<a@acme.example> {x}", "5") for x in ("RET=HDRS", "ENVID=a+0Ab", "ENVID=" + "x" * 1900)], before=MAIL)
attack(s, "C9", "a raw newline in ORCPT", "net", "RCPT TO:<b@dest.example> ORCPT=rfc822;a\nb\r\n", ["500 5.5.2"], closed=True,
       state="rcpt")

# C8: names and values of parameters.
table("C8", "parameters", "net", [(f"MAIL FROM:<a@acme.example>{x}", want) for x, want in (
    (" =x", "501"), (" A==", "501"), (" =", "501"), (" ==", "501"), (" A=", "501"), (" -A=x", "501"), (" A_B=x", "501"), (" A=b=c", "501"),
    (" A=\x01", "501"), (" A=\x7f", "501"), (" \xff=x", "501"), (" A" * 16, "555"), (" A=b" * 17, "555"),
    (" A=b" * 450, "555"), (" SIZE", "501"), (" SIZE=1 size=1", "501"), (" BODY=8BITMIME BODY=7BIT", "501"), (" SIZE=1" * 200, "501"),
    ("SIZE=1", "501"), ("\tSIZE=1", "501"), (" SIZE=1\t", "250"), (" \t SIZE=1", "250"), (" SIZE=1 \x0b", "501"))])

# C11 C12 C13 C14: AUTH exchanges that do not end, do not fit, or have no name here.
c = s.connect("key")
c.cmd("EHLO a")
steps = [c.cmd("AUTH LOGIN")]
while steps[-1].startswith("334") and len(steps) < 10:
    steps.append(c.cmd(b64("x" * 100)))
tap.equal([x[:3] for x in steps], ["334", "334", "535"], "atk-C11 an exchange has two responses, never a third")
bad = []
for n, want in ((12284, "535"), (12288, "535"), (12289, "500 5.5.6"), (12292, "500 5.5.6"), (12340, "500 5.5.")):
    text = b64("\0app\0" + "x" * ((n - n % 4) // 4 * 3 - 5)) + "A" * (n % 4)
    for mechanism in (f"AUTH PLAIN {text}", "AUTH PLAIN"):
        c = s.connect("key")
        c.cmd("EHLO a")
        got = c.cmd(mechanism)
        if got.startswith("334"):
            got = c.cmd(text)
        if not got.startswith(want) or len(text) != n:
            bad.append((n, mechanism[:11], got))
        c.close()
tap.ok(not bad and not s.unharmed("atk-C12", "key"), "atk-C12 A04 responses around 12,288 octets", bad)
for n in (12353, 20000, 1000000):
    attack(s, "C12", f"an AUTH line of {n}", "key", ["EHLO a\r\nAUTH PLAIN ", "A" * (n - 11), "\r\n"], ["250-", "500 5.5."], closed=True,
           state="greeted")
for mechanism in ("NTLM", "SPA", "CRAM-MD5", "DIGEST-MD5", "GSSAPI", "EXTERNAL", "ANONYMOUS", "XOAUTH2", "KERBEROS_V4", "PLAI", "PLAINX",
                  "X" * 1000, "LOGIN-", "%n", "\xff"):
    c = s.connect("key")
    c.cmd("EHLO a")
    got = [c.cmd(f"AUTH {mechanism} TlRMTVNTUAABAAAA"), c.cmd(f"AUTH {mechanism}"), c.cmd("AUTH PLAIN " + GOOD)]
    tap.equal([x[:9] for x in got], ["504 5.5.4", "504 5.5.4", "235 2.7.0"], f"atk-C13 atk-C14 {mechanism[:12]!r} is not there")
    c.close()

# C15: mechanisms in every order, each with a fresh exchange.
ATTEMPTS = {"PLAIN": (["AUTH PLAIN AGFwcAB3cm9uZw=="], "535"), "LOGIN": (["AUTH LOGIN", "YXBw", "d3Jvbmc="], "535"),
            "cancel": (["AUTH LOGIN", "YXBw", "*"], "501"), "bad": (["AUTH PLAIN", "!!"], "501"), "none": (["AUTH NTLM"], "504"),
            "two fields": (["AUTH PLAIN YXBwAGdvb2Q="], "501")}
bad = []
for order in itertools.permutations(ATTEMPTS, 3):
    c = s.connect("key")
    c.cmd("EHLO a")
    for name in order:
        lines, want = ATTEMPTS[name]
        for line in lines:
            got = c.cmd(line)
        if not got.startswith(want):
            bad.append((order, name, got))
    if not c.cmd("AUTH PLAIN " + GOOD).startswith("235") or not c.cmd("AUTH LOGIN").startswith("503"):
        bad.append((order, "at last"))
    c.close()
tap.ok(not bad and not s.unharmed("atk-C15", "key"), "atk-C15 three attempts in every order, then the right one", bad[:4])

# C17: a shorter reply behind a longer one holds nothing of it.
c = s.connect("key")
c.cmd("EHLO a")
long, short = c.cmd("AUTH PLAIN AGFwcAB3cm9uZw=="), c.cmd("AUTH PLAIN " + b64("\0app\0temp"))
tap.equal((long, short), ("535 5.7.8 Error: authentication failed", "454 4.7.0 Try later"), "atk-C17 nothing of a former reply is left")
c.close()

# C18 C21: addresses that are none, in linear time.
ADDRESSES = ["<" * 1000, "<>" * 500, "<" + "(" * 900 + ")" * 900 + "a@b.example>", "<@a" * 300 + ":b@c.example>", "<" + "@a.example," * 150,
             "<\xff@b.example>", "<a@\xff>", '<"' + "\\" * 63 + '@b.example>', '<"a@b.example>', "<a@b.example", "<a@b.example>>", "<<a@b.example>>",
             "<a@[" + "1." * 400 + "]>", "<a@[IPv6:" + ":" * 400 + "]>", "<a@[]>", "<a@b..example>", "<a@.b>", "<a@b.>", "<.a@b.example>",
             "<a.@b.example>", "<a..b@c.example>", "<a@-b.example>", "<a@b-.example>", "<" + "a" * 65 + "@b.example>",
             "<a@" + "b" * 64 + ".example>", "<a@" + "b." * 130 + "example>", "<@>", "<a@>", "<@b.example>", "< a@b.example>", "<a @b.example>",
             "a@b.example", "<a@b@c.example>", "<a,b@c.example>", "<a@b.example,c@d.example>", "<a;b@c.example", "<\"\"@b.example" + " " * 500]
UTF8 = ["<\xc3\xa9@b.example>", "<\xc3@b.example>", "<\xe2\x82@b.example>", "<\xc0\xaf@b.example>", "<\xed\xa0\x80@b.example>", "<\xf5\x80\x80\x80@b.example>",
        "<\xf0\x9f\x98@b.example>", "<a@\xc3\xa9.example>", "<a@\xe3\x81\x82.example>", "<\xe0\x80\xaf@b.example>", "<\x80@b.example>", "<a@b.example\xc3>"]
before = cpu_seconds(s.pid)
table("C18", "recipients that are none", "net", [(f"RCPT TO:{a}", "501 5.") for a in ADDRESSES], before=MAIL)
table("C18", "senders that are none", "net", [(f"MAIL FROM:{a}", "501 5.") for a in ADDRESSES])
table("C21", "UTF-8, whole and broken, without SMTPUTF8", "net", [(f"RCPT TO:{a}", "501 5.1.3") for a in UTF8] +
      [(f"MAIL FROM:{a}", "5") for a in UTF8], before=MAIL)
ALPHABET = '<>@".\\()[],:; a1-\x7f\x01\xff{}'
c = s.ready("net")
bad = []
for _ in range(400):
    text = "".join(rng.choice(ALPHABET) for _ in range(rng.randrange(1, 200)))
    c.cmd(MAIL[0])
    got = c.cmd("RCPT TO:" + text)
    if got[:3] not in ("501", "250", "504"):
        bad.append((text, got))
    c.cmd("RSET")
c.close()
tap.ok(not bad and not s.unharmed("atk-C18"), "atk-C18 400 random paths", bad[:3])
took = cpu_seconds(s.pid) - before
tap.ok(took < 3 or sanitized(), f"atk-C18 all of them take {took:.2f} s of CPU")
c = s.ready("net")
bad = []
for tail in (b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\x80", b"\xff" * 50, b"\x80"):
    data = b"From: " + tail + b" <a@acme.example>\r\nSubject: " + tail + b"\r\n\r\n" + tail + b"\r\n"
    got = c.mail(data)
    m = s.stored()
    if not got.startswith("250") or m["content"] != data or m["crc"] != "good":
        bad.append((tail, got, m))
c.close()
tap.ok(not bad and not s.unharmed("atk-C21"), "atk-C21 A24 broken UTF-8 in header and body is kept byte for byte", bad)

# C20: more than 32 bits of one header field, of one line, of one command.
size = (4 << 30) + 12345 if LONG else 96 << 20
block = b"x" * (1 << 20)
for what, head, want in (("one line", HEADER, "500 5.5.2"), ("one header field", b"X: ", "500 5.5.2"),
                         ("lines", HEADER, "552 5.3.4")):
    c = s.ready("net")
    c.envelope()
    before = pss_kib(s.pid)
    c.send(head)
    piece = (b"x" * 98 + b"\r\n") * 10485 if what == "lines" else block
    for _ in range(size // len(piece)):
        c.send(piece)
    grown = pss_kib(s.pid) - before
    c.send(b"\r\n.\r\n")
    c.sock.settimeout(60)
    got = c.reply()
    c.close()
    tap.ok(got.startswith(want) and (grown < 16384 or sanitized()) and not s.unharmed("atk-C20"),
           f"atk-C20 {size >> 20} MiB in {what}: refused, {'not measured' if sanitized() else str(grown) + ' KiB'} more memory", got)
if not sanitized():
    small = Smtpd(name="small", wrapper=("prlimit", "--as=268435456"))
    for _ in range(3):
        c = small.ready("net")
        c.envelope()
        for _ in range(32):
            c.send(block)
        c.close()
    tap.ok(not small.unharmed("atk-C20"), "atk-C20 256 MiB of address space are enough")
    small.end()
s.end()
tap.done()
