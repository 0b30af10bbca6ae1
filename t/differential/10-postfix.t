#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The same bytes to our smtpd and to Debian's Postfix: the classes of the replies are the same, or the file
`explained` says why not. A difference that it does not explain fails, and so does a line that explains nothing.

EKIDEN_SEED: the seed; EKIDEN_ROUNDS: random sessions for each listener."""

import os
import random
import re
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../smtpd"))
sys.path.insert(0, HERE)
from harness import Client, Smtpd, private_network, tap  # noqa: E402
from suite import skip_all  # noqa: E402
from postfix import Postfix  # noqa: E402

if not shutil.which("postfix"):
    skip_all("needs Postfix")
private_network()
SEED, ROUNDS = int(os.environ.get("EKIDEN_SEED", "1")), int(os.environ.get("EKIDEN_ROUNDS", "40"))
MAIL, RCPT, H = "MAIL FROM:<a@acme.example>", "RCPT TO:<b@dest.example>", "From: a@acme.example\r\n\r\n"
TO_RCPT, TO_DATA = ["EHLO a", MAIL, RCPT], ["EHLO a", MAIL, RCPT, "DATA"]
LONG_LOCAL = "a" * 65

# Lockstep scripts: each line gets its reply before the next is sent. "=" in front: these bytes, without a CRLF added;
# "~": the same, as content, only behind a 354.
SCRIPTS = [
    ["NOOP", "HELP", "VRFY x@dest.example", "RSET", "WHAT", MAIL, RCPT, "DATA", "EHLO a", "NOOP", "QUIT"],
    ["HELO a", MAIL, RCPT, "DATA", "~" + H + "x\r\n.\r\n", RCPT, "DATA", MAIL, "RSET", "QUIT"],
    ["EHLO", "HELO", "EHLO a", "EHLO b", MAIL, "EHLO c", RCPT, MAIL, MAIL, RCPT, "HELO d", "DATA", "QUIT"],
    ["EHLO a", "ehlo b", "mail from:<a@acme.example>", "rcpt to:<b@dest.example>", "data", "~" + H + ".\r\n", "quit"],
    ["EHLO a", "RSET x"], ["EHLO a", "QUIT x"], ["EHLO a", "NOOP x"], ["EHLO a", "VRFY"], ["EHLO a", "EXPN x"], ["EHLO a", "ETRN x"],
    ["EHLO a", "TURN"], ["EHLO a", "SEND"], ["EHLO a", ""], ["EHLO a", " NOOP"], ["EHLO a", "NOOP "], ["EHLO a", "NO OP"],
    ["EHLO a", "AUTH PLAIN AGFwcABnb29k"], ["EHLO a", "AUTH"], ["EHLO a", "STARTTLS x"], ["EHLO a", "BDAT 3 LAST"], TO_RCPT + ["BDAT x"],
    ["EHLO a", "HELP"], ["EHLO a", "MAIL"], ["EHLO a", "MAIL FROM"], ["EHLO a", "MAIL TO:<a@b.example>"], ["EHLO a", MAIL + "x"],
    ["EHLO a", "MAIL FROM: <a@acme.example>", "RCPT TO: <b@dest.example>", "RSET"], ["EHLO a", "MAIL FROM:a@acme.example"],
    ["EHLO a", "MAIL FROM:<a@acme.example"], ["EHLO a", "MAIL FROM:<a b@acme.example>"], ["EHLO a", "MAIL FROM:<>"],
    ["EHLO a", f"MAIL FROM:<{LONG_LOCAL}@acme.example>"], ["EHLO a", "MAIL FROM:<@r.example:a@acme.example>"],
    ["EHLO a", 'MAIL FROM:<"a b"@acme.example>'], ["EHLO a", "MAIL FROM:<a@[127.0.0.1]>"], ["EHLO a", "MAIL FROM:<a@acme..example>"],
    ["EHLO a", "MAIL FROM:<\xc3\xa9@acme.example>"], ["EHLO a", "MAIL FROM:<a@acme.example> SMTPUTF8"],
    ["EHLO a", MAIL + " SIZE=100"], ["EHLO a", MAIL + " SIZE=99999999"], ["EHLO a", MAIL + " SIZE=x"], ["EHLO a", MAIL + " SIZE="],
    ["EHLO a", MAIL + " BODY=8BITMIME"], ["EHLO a", MAIL + " BODY=7BIT"], ["EHLO a", MAIL + " BODY=9BIT"],
    ["EHLO a", MAIL + " BODY=BINARYMIME"], ["EHLO a", MAIL + " RET=HDRS ENVID=x"], ["EHLO a", MAIL + " AUTH=<>"], ["EHLO a", MAIL + " X=Y"],
    ["EHLO a", MAIL + " SIZE=1 SIZE=1"], ["HELO a", MAIL + " SIZE=100"], ["EHLO a", MAIL + " =x"],
    ["EHLO a", MAIL, "RCPT"], ["EHLO a", MAIL, "RCPT FROM:<b@dest.example>"], ["EHLO a", MAIL, "RCPT TO:<>"], ["EHLO a", MAIL, "RCPT TO:<b@host>"],
    ["EHLO a", MAIL, "RCPT TO:<joe>"], ["EHLO a", MAIL, "RCPT TO:<postmaster>"], ["EHLO a", MAIL, "RCPT TO:b@dest.example"],
    ["EHLO a", MAIL, RCPT + " NOTIFY=NEVER"], ["EHLO a", MAIL, RCPT + " X=Y"], ["EHLO a", MAIL, "RCPT TO:<b@dest..example>"],
    ["EHLO a", MAIL, "RCPT TO:<b@[127.0.0.1]>"], ["EHLO a", MAIL, "RCPT TO:<b%c@dest.example>"], ["EHLO a", MAIL, "RCPT TO:<@r.example:b@dest.example>"],
    ["EHLO a", MAIL, RCPT, RCPT, RCPT, "RSET", RCPT], TO_RCPT + ["DATA x", "DATA", "~" + H + ".\r\n"],
    TO_DATA + ["~" + H + "..\r\n..x\r\n.\r\n", "NOOP"], TO_DATA + ["~Subject: x\r\n\r\n.\r\n", "NOOP"], TO_DATA + ["~.\r\n", "NOOP"],
    TO_DATA + ["~" + H + "x" * 1500 + "\r\n.\r\n", "NOOP"], TO_DATA + ["~" + "Received: x\r\n" * 101 + H + ".\r\n", "NOOP"],
    TO_DATA + ["~" + H + "a\nb\r\n.\r\n", "NOOP"], TO_DATA + ["~" + H + "a\0b\r\n.\r\n", "NOOP"], TO_DATA + ["~" + H + "a\rb\r\n.\r\n", "NOOP"],
    TO_DATA + ["~" + H + "a\n.\r\nNOOP\r\n.\r\n", "NOOP"], TO_DATA + ["~From: a@acme.example\r\nFrom: b@acme.example\r\n\r\n.\r\n", "NOOP"],
    ["EHLO a", "=NOOP\n"], ["EHLO a", "=NO\0OP\r\n"], ["EHLO a", "=NOOP\rNOOP\r\n"], ["EHLO " + "x" * 300], ["EHLO " + "x" * 2500],
    ["EHLO [127.0.0.1]", MAIL], ["EHLO a b", MAIL], ["EHLO \xff", MAIL], ["GET / HTTP/1.1"], ["EHLO a", "CONNECT x:25 HTTP/1.0"],
    ["EHLO a", "STARTTLS", "EHLO a", MAIL, RCPT, "STARTTLS", "RSET", "QUIT"], ["STARTTLS", MAIL, "EHLO a", "NOOP"], [*TO_RCPT, "STARTTLS"],
    ["EHLO a", "STARTTLS", MAIL], ["EHLO a", "XCLIENT ADDR=1.2.3.4"], ["PROXY TCP4 1.2.3.4 1.2.3.4 1 1"],
]
WORDS = ["EHLO a", "HELO a", MAIL, RCPT, RCPT, "DATA", "RSET", "NOOP", "VRFY x@dest.example", "WHAT", "", "MAIL FROM:<bad", "RCPT TO:<bad",
         "RCPT TO:<b@host>", MAIL + " X=Y", MAIL + " SIZE=100", "STARTTLS", "RSET x", "EXPN x"]


class Row:
    """One line of `explained`: LISTENER | COMMAND | OURS | THEIRS | goes on or ends | why. Empty codes: no reply."""

    def __init__(self, line):
        self.text = line
        port, command, ours, theirs, then, self.why = (x.strip() for x in line.split(" | ", 5))
        self.port, self.command = re.compile(port + r"\Z"), re.compile(command + r"\Z", re.S)
        self.codes, self.ends, self.used = (ours, theirs), then == "ends", 0

    def fits(self, port, line, ours, theirs):
        return self.port.match(port) and self.command.match(line) and \
            all(re.match(want + r"\Z", got) for want, got in zip(self.codes, (ours, theirs)))


def read_rows():
    with open(os.path.join(HERE, "explained")) as f:
        return [Row(line.rstrip("\n")) for line in f if " | " in line and not line.startswith("#")]


def say(c, line):
    """The code of the reply, "" at the end of the connection, "-" for silence."""
    try:
        c.send(line[1:].encode("latin-1") if line[:1] in ("=", "~") else line.encode("latin-1") + b"\r\n")
        c.reply()
    except TimeoutError:
        return "-"
    except OSError:
        return ""
    if not c.code:
        return ""
    if line.upper() == "STARTTLS" and c.code == 220:
        c.wrap()
    return str(c.code)


rows, ours, theirs = read_rows(), Smtpd(limits="\terrors 10000"), Postfix()
print(f"# Postfix {theirs.version()}")
unexplained, compared, accepted = [], 0, [0, 0]


def play(port, lines):
    """Until the two differ for good."""
    global compared
    pair = [Client(target, port, True, 4, None, None) for target in (ours, theirs)]
    data = False
    for i, line in enumerate(lines):
        if line.startswith("~") and not data:
            continue
        a, b = (say(c, line) for c in pair)
        compared += 1
        row = None
        if a[:1] != b[:1]:
            row = next((r for r in rows if r.fits(port, line, a, b)), None)
            if row is None:
                unexplained.append(f"{port}: {[x[:70] for x in lines[max(0, i - 4):i + 1]]}: ours {a!r}, Postfix {b!r}")
                break
            row.used += 1
        if data:
            accepted[0] += a == "250"
            accepted[1] += b == "250"
        data = a == "354" and b == "354"
        if (row and row.ends) or not a or not b or "-" in (a, b):
            break
    for c in pair:
        c.close()


for port in ("net", "mx"):
    for script in SCRIPTS:
        play(port, script)
tap.ok(not unexplained, f"{compared} replies to scripts: of the same class, or explained", "\n".join(unexplained))
tap.equal([r.text for r in rows if not r.used], [], "every explanation is needed")
unexplained, compared = [], 0
rng = random.Random(SEED)
for port in ("net", "mx"):
    for _ in range(ROUNDS):
        words = rng.choices(WORDS, k=rng.randint(5, 25))
        play(port, [line for word in words for line in ([word, "~" + H + "x\r\n.\r\n"] if word == "DATA" else [word])])
tap.ok(not unexplained, f"{compared} replies in random sessions (seed {SEED})", "\n".join(unexplained))
stored = len(ours.unharmed("differential"))
tap.equal((stored, theirs.held()), tuple(accepted), "S17 both keep exactly what they accepted")
ours.end()
theirs.end()
tap.done()
