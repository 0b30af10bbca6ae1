#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The checker itself: what it must call wrong, and what a fault explains."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from ledger import Checker  # noqa: E402
from suite import tap  # noqa: E402

A, B = "x.0.take@rcpt.test", "x.1.never@rcpt.test"
SENT = ((1000000, "INTENT x h 10 " + A + " " + B), (1001000, "ACK x Q1"))
TOOK, REPORTED = (1002000, f"TOOK x {A} h"), (1003000, f"REPORT x {B} 1002500")
END = (9000000, "SETTLED")
LEDGERS = (
    ("S35 all is well", (*SENT, TOOK, REPORTED, END), None),
    ("S35 acknowledged, not delivered", (*SENT, REPORTED, END), "LOST"),
    ("S36 acknowledged, not reported", (*SENT, TOOK, END), "LOST"),
    ("not acknowledged, not delivered: nobody's fault", (SENT[0], END), None),
    ("not acknowledged, delivered: may be", (SENT[0], TOOK, REPORTED, END), None),
    ("another content", (*SENT, (1002000, f"TOOK x {A} other"), REPORTED, END), "content is not"),
    ("a message that nobody sent", (*SENT, TOOK, REPORTED, (1004000, f"TOOK y {A} h"), END), "never sent"),
    ("a recipient that nobody named", (*SENT, TOOK, REPORTED, (1004000, "TOOK x z@rcpt.test h"), END),
     "never sent"),
    ("a report on what was not refused", (*SENT, TOOK, REPORTED, (1004000, f"REPORT x {A} 1002500"), END),
     "nobody had refused"),
    ("twice without a fault", (*SENT, TOOK, REPORTED, (1500000, f"TOOK x {A} h"), END), "no fault"),
    ("twice over a fault", (*SENT, TOOK, REPORTED, (1010000, "FAULT 1009000 cut"), (1500000, f"TOOK x {A} h"),
                            END), None),
    ("thrice over one fault", (*SENT, TOOK, REPORTED, (1010000, "FAULT 1009000 cut"),
                               (1500000, f"TOOK x {A} h"), (1600000, f"TOOK x {A} h"), END), "no fault"),
    ("twice, long before the fault", (*SENT, TOOK, REPORTED, (2000000, "FAULT 1990000 cut"),
                                      (2500000, f"TOOK x {A} h"), END), "no fault"),
    ("twice, and the fault was over", ((900000, "FAULT 800000 cut"), *SENT, TOOK, REPORTED,
                                       (1500000, f"TOOK x {A} h"), END), "no fault"),
    ("S36 two reports without a fault", (*SENT, TOOK, REPORTED, (1600000, f"REPORT x {B} 1500000"), END),
     "no fault"),
    ("S36 two reports over a fault, the later one first",
     (*SENT, TOOK, (1010000, "FAULT 1009000 cut"), (1600000, f"REPORT x {B} 1500000"),
      (1600001, f"REPORT x {B} 1005000"), END), None),
    ("finished before, and there again", (*SENT, TOOK, REPORTED, END, (9500000, f"TOOK x {A} h")), "never sent"),
)
for name, lines, want in LEDGERS:
    c = Checker()
    for at, text in lines:
        c.feed(at, text.split())
    if want is None:
        tap.equal(c.wrong, [], name)
    else:
        tap.ok(any(want in w for w in c.wrong), f"{name}: wrong", c.wrong)
tap.done()
