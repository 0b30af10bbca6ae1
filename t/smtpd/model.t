#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""smtpd against the reference state machine of model.py (atk-D1, D2, D4): all pairs of commands, and random
sequences with log-ins, STARTTLS, failures of authd, and clients that reset the connection or come anew.

EKIDEN_SEED: the seed; EKIDEN_ROUNDS: sessions for each listener."""

import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from evil import Smtpd, reset, tap  # noqa: E402
from model import GOOD, LISTENERS, VIP, WRONG, Model  # noqa: E402

SEED = int(os.environ.get("EKIDEN_SEED", "4711"))
ROUNDS, LENGTH = int(os.environ.get("EKIDEN_ROUNDS", "100")), 40
GOOD_DATA = "From: a@acme.example\r\n\r\nbody\r\n.\r\n"
BAD_DATA = "Subject: no sender\r\n\r\nbody\r\n.\r\n"
SENDER, RCPT = "MAIL FROM:<a@acme.example>", "RCPT TO:<x@y.example>"
COMMANDS = ["EHLO a", "HELO a", "EHLO", SENDER, "MAIL FROM:<a@refused.example>", "MAIL FROM:<>", "MAIL FROM:<bad", "MAIL",
            RCPT, "RCPT TO:<bad", "RCPT TO:<joe@host>", "RCPT TO:<x@y.example> NOTIFY=NEVER", "DATA good", "DATA bad", "DATA", "RSET",
            "RSET x", "NOOP", "VRFY x", "VRFY", "HELP", "AUTH PLAIN " + GOOD, "AUTH PLAIN " + WRONG, "AUTH PLAIN !!", "AUTH LOGIN good",
            "AUTH LOGIN wrong", "AUTH CANCEL", "AUTH WHAT", "AUTH", "STARTTLS", "STARTTLS x", "WHAT", "", "EXPN x", "ETRN x",
            SENDER + " X=Y", SENDER + " SIZE=100", SENDER + " SIZE=99999999999", SENDER + " AUTH=<>", "QUIT x",
            "AUTH PLAIN " + VIP, SENDER + " HOLDFOR=60", SENDER + " HOLDFOR=0", SENDER + " MT-PRIORITY=3", SENDER + " MT-PRIORITY=10"]
LAST = ["QUIT", "BDAT 3 LAST", "GET / HTTP/1.1"]
# So that random walks get somewhere.
WEIGHTS = [6 if x in (SENDER, RCPT, "DATA good", "EHLO a", "AUTH PLAIN " + GOOD, "STARTTLS") else 1 for x in COMMANDS]
EXCHANGE = {"AUTH LOGIN good": ["AUTH LOGIN", "YXBw", "Z29vZA=="], "AUTH LOGIN wrong": ["AUTH LOGIN", "YXBw", "d3Jvbmc="],
            "AUTH CANCEL": ["AUTH LOGIN", "*"], "DATA good": ["DATA", GOOD_DATA], "DATA bad": ["DATA", BAD_DATA],
            # A word behind DATA is no argument of the script's.
            "DATA": ["DATA x"]}

s = Smtpd(limits="\terrors 10000\n\tidle-commands 100000\n\tmessages-per-connection 100000")
rng = random.Random(SEED)


def send(c, line):
    """The codes of its replies; the lines behind a first one are sent only where one is asked for."""
    codes = []
    for text in EXCHANGE.get(line, [line]):
        if codes and codes[-1] // 100 != 3:
            break
        c.send(text if text.endswith(".\r\n") else text + "\r\n")
        c.reply()
        if not c.code:
            break
        codes.append(c.code)
    if codes == [220]:
        c.wrap()
    return codes


def play(c, model, lines):
    """The first difference, or None."""
    for i, line in enumerate(lines):
        if line in ("authd drop", "authd new"):
            s.order(line, keep=True)
            time.sleep(0.05)  # smtpd hears of it from master
            model.authd = line == "authd new"
            continue
        want = model.step(line)
        try:
            got = send(c, line)
        except OSError as e:
            got = e
        if got != want:
            return f"{lines[:i + 1]}: got {got}, want {want}"
        if model.closed:
            return None if c.closed() else f"{lines[:i + 1]}: the session goes on"
    return None


def session(port, lines):
    model = Model(LISTENERS[port])
    c = s.connect(port)
    difference = play(c, model, lines)
    (reset if rng.random() < 0.3 else type(c).close)(c)
    return difference, model.messages


def check(name, port, scripts):
    wrong, expected = [], 0
    for lines in scripts:
        difference, messages = session(port, lines)
        expected += messages
        if difference:
            wrong.append(difference)
            expected = None
            break
    stored = len(s.unharmed(name, "net"))
    tap.equal(wrong, [], name)
    tap.equal(stored, expected if expected is not None else stored, f"S17 {name}: exactly the accepted messages are stored")


PREFIXES = {"net": [[], ["EHLO a"], ["EHLO a", SENDER], ["EHLO a", SENDER, RCPT]],
            "key": [["EHLO a", "AUTH PLAIN " + GOOD], ["EHLO a", "AUTH PLAIN " + GOOD, SENDER, RCPT]],
            "mx": [["EHLO a", SENDER]]}
for port, prefixes in PREFIXES.items():
    check(f"atk-D4 all pairs of commands on {port}, behind {len(prefixes)} states", port,
          (prefix + [one, two] for prefix in prefixes for one in COMMANDS for two in COMMANDS + LAST if one not in LAST and two != one))
for port in LISTENERS:
    def scripts():
        for _ in range(ROUNDS if port in ("net", "key") else ROUNDS // 2):
            lines = ["EHLO a"] * rng.randint(0, 1) + rng.choices(COMMANDS, WEIGHTS, k=rng.randint(1, LENGTH))
            if rng.random() < 0.1:
                at = rng.randrange(len(lines) + 1)
                lines[at:at] = ["authd drop"]
                lines += ["authd new"]
                lines = [x for x in lines if x not in LAST]
            else:
                lines += rng.choices(LAST, k=rng.randint(0, 1))
            yield lines
    check(f"atk-D1 atk-D2 atk-D4 random sessions on {port} (seed {SEED})", port, scripts())
    s.order("authd drop")  # a script may have ended before its last line
    s.order("authd new")
    time.sleep(0.05)

# The same as one pipelined write: replies are those of a lockstep session.
wrong = []
for _ in range(ROUNDS):
    lines = ["EHLO a"] + [x for x in rng.choices(COMMANDS, WEIGHTS, k=LENGTH) if not x.startswith(("AUTH", "DATA"))]
    model = Model(LISTENERS["net"])
    want = [code for x in lines for code in model.step(x)]
    c = s.connect("net")
    c.send("".join(x + "\r\n" for x in lines))
    got = []
    for _ in want:
        c.reply()
        got.append(c.code)
    if got != want:
        wrong.append((lines, got, want))
    c.close()
s.unharmed("P01")
tap.equal(wrong[:2], [], "P01 pipelined sessions answer as lockstep ones")
s.end()
tap.done()
