#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Random sequences of commands against a reference state machine (atk-D1, D2, D4, A13, A15)."""

import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import GOOD, Smtpd, tap  # noqa: E402

SEED = int(os.environ.get("EKIDEN_SEED", "4711"))
ROUNDS, LENGTH = 150, 40
GOOD_DATA = "From: a@acme.example\r\n\r\nbody\r\n.\r\n"
BAD_DATA = "Subject: no sender\r\n\r\nbody\r\n.\r\n"
COMMANDS = ["EHLO a", "HELO a", "MAIL FROM:<a@acme.example>", "MAIL FROM:<a@refused.example>", "MAIL FROM:<>",
            "MAIL FROM:<bad", "RCPT TO:<x@y.example>", "RCPT TO:<x@y.example>", "RCPT TO:<bad", "RCPT TO:<joe@host>",
            "DATA good", "DATA good", "DATA bad", "RSET", "NOOP", "VRFY x", "HELP", "AUTH PLAIN " + GOOD,
            "AUTH CANCEL", "AUTH PLAIN AGFwcAB3cm9uZw==", "AUTH WHAT", "STARTTLS", "WHAT", "",
            "MAIL FROM:<a@acme.example> X=Y", "DATA arg"]


class Model:
    """States: hello, ready, mail, rcpt. Knows the code of each reply and the messages to expect."""

    def __init__(self, needs_key):
        self.needs_key = needs_key
        self.state = "hello"
        self.authed = self.esmtp = False
        self.messages = self.rcpts = 0

    def reset(self):
        self.rcpts = 0
        if self.state != "hello":
            self.state = "ready"

    def step(self, line):
        verb, _, arg = line.partition(" ")
        return getattr(self, "do_" + verb.lower(), self.unknown)(arg)

    def unknown(self, arg):
        return [500]

    def do_ehlo(self, arg):
        self.state = "ready"
        self.rcpts = 0
        return [250]

    do_helo = do_ehlo

    def do_noop(self, arg):
        return [250]

    def do_help(self, arg):
        return [214]

    def do_vrfy(self, arg):
        return [252]

    def do_rset(self, arg):
        self.reset()
        return [250]

    def do_starttls(self, arg):
        return [502] if self.state in ("hello", "ready") else [503]

    def do_auth(self, arg):
        if self.state != "ready" or self.authed or not self.needs_key:
            return [503]
        if arg == "CANCEL":
            return [334, 501]
        if arg == "WHAT":
            return [504]
        if not arg.endswith(GOOD):
            return [535]
        self.authed = True
        return [235]

    def do_mail(self, arg):
        if self.state != "ready":
            return [503]
        if self.needs_key and not self.authed:
            return [530]
        if "bad" in arg:
            return [501]
        if "X=Y" in arg:
            return [555]
        if "refused" in arg or "<>" in arg:
            return [550]
        self.state = "mail"
        return [250]

    def do_rcpt(self, arg):
        if self.state not in ("mail", "rcpt"):
            return [503]
        if "bad" in arg:
            return [501]
        if "joe" in arg:
            return [504]
        self.state = "rcpt"
        self.rcpts += 1
        return [250]

    def do_data(self, arg):
        if self.state != "rcpt":
            return [503]
        if arg == "arg":
            return [501]
        good = arg == "good"
        self.messages += good
        self.reset()
        return [354, 250 if good else 500]


def play(c, model, lines):
    """The first difference, or None."""
    for i, line in enumerate(lines):
        want = model.step(line)
        send = {"AUTH CANCEL": "AUTH LOGIN", "DATA good": "DATA", "DATA bad": "DATA"}.get(line, line)
        c.cmd(send)
        got = [c.code]
        if c.code == 334:
            c.cmd("*")
            got.append(c.code)
        elif c.code == 354:
            c.send(GOOD_DATA if line == "DATA good" else BAD_DATA)
            c.reply()
            got.append(c.code)
        if got != want:
            return f"{lines[:i + 1]}: got {got}, want {want}"
    return None


s = Smtpd(limits="\terrors 10000\n\tidle-commands 10000\n\tmessages-per-connection 10000")
rng = random.Random(SEED)
for port, needs_key in (("net", False), ("key", True)):
    wrong, messages = [], 0
    for _ in range(ROUNDS):
        model = Model(needs_key)
        c = s.connect(port)
        lines = ["EHLO a"] * rng.randint(0, 1) + [rng.choice(COMMANDS) for _ in range(LENGTH)]
        # Five failed authentications end a session: the model leaves that to another test.
        failures = [i for i, x in enumerate(lines) if x.endswith("d3Jvbmc=") or x.endswith("3cm9uZw==")]
        for i in failures[4:]:
            lines[i] = "NOOP"
        difference = play(c, model, lines)
        if difference:
            wrong.append(difference)
        messages += model.messages
        c.close()
    tap.equal(wrong[:3], [], f"atk-D1 atk-D4 {ROUNDS} random sessions on {port} (seed {SEED})")
    stored = 0
    while s.stored(2 if stored < messages else 0.3):
        stored += 1
    tap.equal(stored, messages, f"S17 exactly the accepted messages are stored on {port}")

# The same as one pipelined write: replies are those of a lockstep session.
wrong = []
for _ in range(ROUNDS):
    lines = ["EHLO a"] + [x for x in (rng.choice(COMMANDS) for _ in range(LENGTH)) if not x.startswith(("AUTH", "DATA"))]
    model = Model(False)
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
tap.equal(wrong[:2], [], "P01 pipelined sessions answer as lockstep ones")
s.end()
tap.done()
