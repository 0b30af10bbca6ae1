#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""ATTACKS A: what ends a message and what ends a command. data.t has every terminator at every split."""

import os
import random
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from evil import ENVELOPE, HEADER, SECOND, Smtpd, attack, replies, tap  # noqa: E402
from smuggling import TERMINATORS, payload  # noqa: E402

s = Smtpd(limits="\terrors 100")
CRUEL = ["550 5.5.2"]

# A1-A8 on each kind of listener: 25 behind STARTTLS and AUTH, 587, 465, trusted networks (A7: they have no exemption).
for name, terminator in TERMINATORS.items():
    for port in ("net", "mx", "submission", "smtps", "key"):
        row, _, what = name.partition(" ")
        data = payload(HEADER, terminator, b"smuggled@acme.example", b"victim@dest.example")
        attack(s, row, what, port, data, CRUEL, closed=True, state="data")
attack(s, "A4", "LF . CRLF, and the whole of it pipelined", "net",
       [ENVELOPE, b"DATA\r\n", HEADER, b"one\n.\r\n", SECOND, b"QUIT\r\n"],
       ["250 2.1.0", "250 2.1.5", "354", *CRUEL], closed=True)
attack(s, "A7", "a listener that asks for no key has the same rules", "net", [HEADER, b"x\ny\r\n.\r\n"], CRUEL,
       closed=True, state="data")
attack(s, "A3", "two whole messages in one write are two", "net",
       [ENVELOPE, b"DATA\r\n", HEADER, b"..\r\n..x\r\n.\r\n", ENVELOPE, b"DATA\r\n", HEADER, b".\r\n"],
       ["250 2.1.0", "250 2.1.5", "354", "250 2.0.0", "250 2.1.0", "250 2.1.5", "354", "250 2.0.0"], stored=2)
attack(s, "A5", "NUL in the header", "net", [b"X: a\0b\r\n", HEADER, b".\r\n", SECOND], CRUEL, closed=True, state="data")
attack(s, "A5", "NUL in the body", "net", [HEADER, b"a\0b\r\n.\r\n", SECOND], CRUEL, closed=True, state="data")

# A9 commands
for name, data in {
        "LF between two": b"NOOP\nMAIL FROM:<a@acme.example>\r\n", "EHLO LF MAIL": b"EHLO a\nMAIL FROM:<a@acme.example>\r\n",
        "CR between two": b"NOOP\rRSET\r\n", "NUL": b"NOOP\0RSET\r\n", "LF CR": b"NOOP\n\rRSET\r\n", "CR CR LF": b"NOOP\r\r\n",
        "RCPT with LF": b"RCPT TO:<b@dest.example>\nRCPT TO:<c@dest.example>\r\n", "LF alone": b"\n", "NUL CRLF": b"NOOP\0\r\n",
        "MAIL with CR in quotes": b'MAIL FROM:<"a\rb"@acme.example>\r\n',
        "MAIL with LF in quotes": b'MAIL FROM:<"a\nb"@acme.example>\r\n'}.items():
    attack(s, "A9", name, "net", [data, b"NOOP\r\n"], ["500 5.5.2"], closed=True)

# A10-A16 BDAT is not offered. What follows it may be content, so nothing behind it is run.
SMUGGLED = b"RSET\r\n" + SECOND
REFUSED = ["502 5.5.1"]
for port in ("net", "key", "submission"):
    attack(s, "A10", "octets behind BDAT that look like commands", port,
           [ENVELOPE, b"BDAT %d LAST\r\n" % len(SMUGGLED), SMUGGLED], ["250 2.1.0", "250 2.1.5", *REFUSED], closed=True)
for arg in (b"", b" -1", b" 99999999999999999999", b" 1e3", b" 0x10", b" 1 LASTX", b" 5", b" 0 LAST", b" 18446744073709551617",
            b" 1 LAST LAST"):
    attack(s, "A11", f"BDAT{arg.decode()}", "net", [b"BDAT" + arg + b"\r\nNOOP\r\n"], REFUSED, closed=True, state="rcpt")
attack(s, "A12", "a lone dot in BDAT content ends nothing", "net", [b"BDAT 5 LAST\r\n\r\n.\r\n", SECOND], REFUSED,
       closed=True, state="rcpt")
attack(s, "A15", "DATA behind a failed BDAT", "net", [b"BDAT x\r\nDATA\r\n", HEADER, b".\r\n"], REFUSED, closed=True,
       state="rcpt")
attack(s, "A16", "100,000 BDAT of one octet", "net", b"BDAT 1\r\nx" * 100000, REFUSED, closed=True, state="rcpt")

# A13: BDAT, DATA, RSET and failed MAIL and RCPT in any order; every session ends at its first BDAT.
rng = random.Random(int(os.environ.get("EKIDEN_SEED", "13")))
STEPS = [b"RSET\r\n", b"MAIL FROM:<a@acme.example>\r\n", b"MAIL FROM:<bad\r\n", b"RCPT TO:<b@dest.example>\r\n",
         b"RCPT TO:<bad\r\n", b"DATA\r\n.\r\n", b"NOOP\r\n"]
wrong = []
for _ in range(200):
    before = [rng.choice(STEPS) for _ in range(rng.randrange(8))]
    bdat = [b"BDAT %d%s\r\n" % (n := rng.choice((0, 1, 7, 300)), rng.choice((b"", b" LAST"))), b"x" * n]
    after = [rng.choice(STEPS + [SECOND]) for _ in range(rng.randrange(8))]
    c = s.ready("net")
    try:
        c.send(b"".join(before + bdat + after))
    except OSError:
        pass
    got = replies(c)
    if not got or not got[-1].startswith("502 5.5.1") or any(r.startswith("250 2.0.0 Ok: queued") for r in got):
        wrong.append((before, bdat, after, got))
    c.close()
stored = s.unharmed("atk-A13")
tap.equal((wrong[:1], stored), ([], []), "atk-A13 BDAT between other commands in any order")

# A14: TLS ends inside the content, plain bytes follow on the same connection.
for how in ("close_notify", "nothing"):
    c = s.ready("submission")
    c.envelope()
    c.send(HEADER + b"half\r\n")
    plain = socket.socket(fileno=os.dup(c.sock.fileno()))
    plain.settimeout(5)
    if how == "close_notify":
        c.sock.settimeout(0.3)
        try:
            c.sock.unwrap()
        except OSError:
            pass
    got = b""
    try:
        plain.sendall(b".\r\n" + SECOND)
        while more := plain.recv(4096):
            got += more
    except OSError:
        pass
    plain.close()
    c.close()
    others = s.unharmed("atk-A14", "submission")
    tap.ok(not others and b"250" not in got, f"atk-A14 plain bytes behind TLS ({how}) are not read", (others, got))
s.end()
tap.done()
