#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Each misbehaviour at each step of the client's dialogue, and what becomes of each recipient.

atk-G1, atk-G2, atk-G6, atk-G7, atk-C16, atk-C17, atk-B3: one row for each misbehaviour, one column for each step.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from evil import *  # noqa: E402,F403

work = tempfile.mkdtemp(prefix="ekiden-evil-")
atexit.register(shutil.rmtree, work, True)
context = server_context(*certificate(work))
d = Smtp(conf(reply="3s", eod="3s", session="12s"),
         [("secret", {"name": "smart", "user": "relayuser", "secret": "s3"})])

# What both recipients get. S sent, D deferred, B bounced, U returned untried, F: the connection failed and
# nobody's mail was touched. A code behind it is the enhanced status; "|" separates what may happen.
STEPS = ("GREETING", "EHLO", "STARTTLS", "EHLO2", "AUTH", "MAIL", "RCPT", "DATA", "EOD", "RSET", "QUIT", "IDLE")
LOST, ODD = "F 4.4.2", "F 4.5.0"


def row(greeting, ehlo, starttls, ehlo2, auth, mail, rcpt, data, eod, rset, quit_, idle):
    return dict(zip(STEPS, (greeting, ehlo, starttls, ehlo2, auth, mail, rcpt, data, eod, rset, quit_, idle)))


def all_of(setup, transaction, rset="U"):
    """The same in all steps up to AUTH, and in those of the transaction."""
    return row(*[setup] * 5, *[transaction] * 4, rset, "S", "S")


FINE = row(*["S"] * 12)
BROKEN = all_of(ODD, "D 4.5.0")
TABLE = {
    # Codes.
    "250": (say("250 2.0.0 odd\r\n"), row("S", "S", "F", "S", "S", "S", "S", "D 4.5.0", "S 2.0.0", "S", "S", "S")),
    "250 and no text": (say("250\r\n"), row("S", "S", "F", "S", "S", "S", "S", "D 4.5.0", "S 2.0.0", "S", "S", "S")),
    "299": (say("299 x\r\n"), row("S", "S", "F", "S", "S", "S", "S", "D 4.5.0", "S", "S", "S", "S")),
    "354": (say("334 x\r\n"), row("F", "F", "F 4.7.4", "F", "F", "D", "D", "D", "D", "U", "S", "S")),
    "450": (say("450 4.7.1 later\r\n"),
            row("F 4.7.1", "F 4.7.1", "F 4.7.4", "F 4.7.1", "F 4.7.1", *["D 4.7.1"] * 4, "U", "S", "S")),
    "450 and no text": (say("450\r\n"), all_of("F", "D")),
    "421": (say("421 4.3.2 bye\r\n"), all_of("F 4.3.2", "D 4.3.2")),
    "421 and no text": (say("421\r\n"), all_of("F", "D")),
    "550": (say("550 5.7.1 never\r\n"),
            row("F 4.7.1", "S", "F 4.7.4", "F 4.7.1", "F 4.7.1", *["B 5.7.1"] * 4, "U", "S", "S")),
    "550 and no text": (say("550\r\n"), row("F 4.0.0", "S", "F 4.7.4", "F 4.0.0", "F 4.0.0", *["B 5.0.0"] * 4, "U", "S", "S")),
    "550 and a bare code": (say("550 5.7.2\r\n"), row("F 4.7.2", "S", "F 4.7.4", "F 4.7.2", "F 4.7.2", *["B 5.7.2"] * 4, "U", "S", "S")),
    "550 with a code of another class": (
        say("550 4.2.0 or so\r\n"), row("F 4.0.0", "S", "F 4.7.4", "F 4.0.0", "F 4.0.0", *["B 5.0.0"] * 4, "U", "S", "S")),
    "552 full": (say("552 5.2.2 full\r\n"), row("F 4.2.2", "S", "F 4.7.4", "F 4.2.2", "F 4.2.2", *["D 4.2.2"] * 4, "U", "S", "S")),
    # No codes.
    "a word": (say("hello\r\n"), BROKEN),
    "600": (say("600 x\r\n"), BROKEN),
    "100": (say("100 x\r\n"), BROKEN),
    "two digits": (say("25 x\r\n"), BROKEN),
    "code and letter": (say("<good>x\r\n"), BROKEN),
    "blank first": (say(" <good> x\r\n"), BROKEN),
    "bytes": (say(b"\x00\x01\xff\xfe\r\n"), BROKEN),
    "empty line": (say("\r\n"), BROKEN),
    "two classes": (say("550-x\r\n250 y\r\n"), BROKEN),
    "HTTP": (say("HTTP/1.1 400 Bad Request\r\n\r\n"), BROKEN),
    # Size.
    "4000 bytes": (say("<good> " + "x" * 4000 + "\r\n"), FINE),
    "100 lines": (say("<good>-x\r\n" * 99 + "<good> x\r\n"), FINE),
    "5000 bytes": (say("<good> " + "x" * 5000 + "\r\n"), BROKEN),
    "101 lines": (say("<good>-x\r\n" * 100 + "<good> x\r\n"), BROKEN),
    "11 KiB": (say(("<good>-" + "x" * 1000 + "\r\n") * 11 + "<good> x\r\n"), BROKEN),
    "endless line": (flood(b"<good> ", b"x" * 1024), BROKEN),
    "endless lines": (flood(b"", b"<good>-x\r\n"), BROKEN),
    "endless zeros": (flood(b"", b"\0" * 1024), BROKEN),
    # Pieces.
    "byte by byte": (split, FINE),
    # Too early.
    "an answer too many": (early, row(*[ODD] * 5, "D 4.5.0", "D 4.5.0", "D 4.5.0", "S", "D|U", "S", "S")),
    # Ends.
    "reset": (reset, all_of("F", "D 4.4.2")),
    "half-close": (half_close, all_of(LOST, "D 4.4.2")),
    "silence": (silence, all_of(LOST, "D 4.4.2")),
    "half a line": (only("25"), all_of(LOST, "D 4.4.2")),
    "half a reply": (only("<good>-x\r\n"), all_of(LOST, "D 4.4.2")),
    "good, then reset": (then(reset),
                         row("F", "F|D|U", "F", "F|D|U", "F|D|U", "D", "D", "D", "S|D", "U", "S", "S")),
    "good, then half-close": (then(half_close),
                              row("F", "F|D|U", "F", "F|D|U", "F|D|U", "D 4.4.2", "D 4.4.2", "D 4.4.2", "S", "U", "S", "S")),
    "good, then silence": (then(silence),
                           row("F", "D 4.4.2", "F", "D 4.4.2", "D 4.4.2", "D 4.4.2", "D 4.4.2", "D 4.4.2", "S", "D|U",
                               "S", "S")),
}
TRANSACTION = ("MAIL", "RCPT", "DATA", "EOD")


def case(what, act, step, ehlo):
    kw = {}
    if step in ("STARTTLS", "EHLO2", "AUTH"):
        kw["tls"] = TLS_ENCRYPT
        ehlo += ("STARTTLS",)
    if step == "AUTH":
        kw["auth"] = "smart"
    if step == "RSET":
        kw.update(rcpts=("no1@t", "no2@t"), second=("a@t", "b@t"))
    sink = Evil(step, act, ehlo, context, ("AUTH PLAIN",))
    how = "pipelined" if "PIPELINING" in ehlo else "lock-step"
    return Case(d, f"{what} at {step}, {how}", sink, idle_s=3, **kw)


def clean():
    """The next clean delivery works."""
    srv = Server(Sink())
    c = d.open(port=srv.port)
    good = d.done(d.deliver(c))[0]["status"] == RCPT_SENT
    d.send("qmgr", "conn_close", conn=c)
    d.closed(c)
    srv.stop()
    return good and len(srv.messages) == 1


def judge(c, step, wanted):
    if not tap.ok(fits(c.outcome(), wanted), f"atk-G6: {c.name}: {wanted}", (c.outcome(), c.results, c.closed)):
        return
    wrong = once(c, c.jobs)
    if step == "RSET" and c.outcome(c.jobs[0]) != ["B 5.1.1"] * 2:
        wrong = wrong or f"the message before: {c.outcome(c.jobs[0])}"
    taken = len(c.server.messages)
    sent = c.outcome()[0][0] == "S"
    if sent and taken != 1 or taken > 1:
        wrong = wrong or f"{taken} messages were taken"
    for r in ("a", "b"):
        lines = [x for x in d.log().splitlines() if f"to=<{r}@c{c.conn}.t>" in x]
        if len(lines) != (c.outcome()[0][0] in "SDB"):
            wrong = wrong or f"log lines: {lines}"
    tap.ok(wrong is None, "   atk-G7: each recipient has one final state, in the frames and in the log", wrong)


def run(batch):
    cases = [(case(what, act, step, ehlo), step, wanted[step]) for what, act, wanted, step, ehlo in batch]
    collect(d, [c for c, _, _ in cases])
    for c, step, wanted in cases:
        judge(c, step, wanted)
    errors = [c.server.error for c, _, _ in cases if c.server.error]
    tap.ok(not errors, "no script failed", errors)
    tap.ok(d.alive() and clean(), "the process lives, and the next clean delivery works")


todo = [(what, act, wanted, step, ("8BITMIME",)) for what, (act, wanted) in TABLE.items() for step in STEPS] + \
       [(what, act, wanted, step, ("8BITMIME", "PIPELINING")) for what, (act, wanted) in TABLE.items()
        for step in TRANSACTION]
BATCH = 120
for i in range(0, len(todo), BATCH):
    run(todo[i:i + BATCH])


# --- Every prefix of a legal reply, and the end: only the whole one counts (atk-C16).
REPLY = b"250-2.0.0 Ok\r\n250 2.0.0 queued as X1\r\n"


def prefix(n):
    def act(peer, step, good):
        peer.raw(REPLY[:n])
        half_close(peer, step, good)
        return b""
    return act


cases = [Case(d, f"{n} bytes", Evil("EOD", prefix(n))) for n in range(len(REPLY) + 1)]
collect(d, cases)
for n, c in enumerate(cases):
    tap.equal(c.outcome(), ["S 2.0.0" if n == len(REPLY) else "D 4.4.2"] * 2,
              f"atk-C16: {n} bytes of a good reply and the end")

# --- A reply without codes and text behind one with both: nothing of the former is left (atk-C17).
for first, second, want in ((b"550 5.7.1 no such luck here\r\n", b"450\r\n", "D 4.0.0"),
                            (b"450 4.2.1 wait\r\n", b"550\r\n", "B 5.0.0"),
                            (b"550-5.7.1 first\r\n550 second\r\n", b"550 x\r\n", "B 5.0.0")):
    replies = iter((first, second))

    def stale(peer, step, good):
        data = next(replies)
        peer.raw(data)
        return data

    c = Case(d, "stale", Evil("RCPT", stale))
    collect(d, [c])
    tap.equal(c.outcome()[1], want, f"atk-C17: {second!r} behind {first!r}")
    tap.ok("luck" not in c.results[c.jobs[0]][1]["text"] and "wait" not in c.results[c.jobs[0]][1]["text"],
           "atk-C17: nor of its text", c.results)
d.finish()
tap.done()
