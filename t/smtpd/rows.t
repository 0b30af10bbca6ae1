#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The rows of ATTACKS that are the SMTP server's: each is cited by a test. Where a test covers only what there is, WAITS
says what the rest of the row waits for."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import SRC, tap  # noqa: E402


def numbers(letter, text):
    for part in text.split():
        low, _, high = part.partition("-")
        yield from (f"{letter}{n}" for n in range(int(low), int(high or low) + 1))


ROWS = [row for letter, text in {"A": "1-16", "B": "1 2 5-7 9 13 14", "C": "1 3-9 11-15 17 18 20 21 23 26", "D": "1-7", "E": "1-11 13",
                                 "J": "1 2 4 5 8-11 15"}.items() for row in numbers(letter, text)]
# What the rest of a row waits for.
WAITS = {
    "A10": "BDAT is not offered (RFC 3030): refused with 502 and the end of the session, so that no octet behind it is a command",
    "A11": "as A10: the size is not parsed, every form gets the same answer",
    "A12": "as A10: the same body by BDAT is stored nowhere",
    "A13": "as A10: each interleaving ends at the first BDAT",
    "A14": "as A10: with DATA in the place of BDAT",
    "A15": "as A10",
    "A16": "as A10: there is no chunk that memory could grow with",
    "C9": "DSN is not offered: the parameters are 555, nothing of them is stored",
    "C21": "SMTPUTF8 is not offered: every UTF-8 address is refused, header and body are kept as they are",
    "C26": "SMTPUTF8 is not offered",
    "D2": "decisions of authd; milters, which could cache theirs, come with signing",
    "D7": "neither PROXY nor XCLIENT nor an allow-list for them is there: nobody is believed",
    "E1": "back-off per address, per user and per /64 is relay policy; what is there: five failures a connection, a delay, the error budget",
    "E7": "by REQUIREMENTS A21 the null sender of a relay client is always refused",
    "E13": "by REQUIREMENTS G2 a domain that is not registered is 550 5.7.1, not 553",
    "J1": "a cap per client address comes with connection counting (A30)",
}

cited = set()
for top, folders, names in os.walk(os.path.join(SRC, "t")):
    for name in names:
        if name.endswith((".t", ".c", ".py")) and name != "rows.t":
            with open(os.path.join(top, name), errors="replace") as f:
                text = f.read()
            cited |= set(re.findall(r"\batk-([A-J]\d{1,2})\b", text))
            # attack(s, "A9", ...) and the tables of evil clients name rows without the prefix.
            if name.startswith("atk-") or name == "smuggling.py":
                cited |= set(re.findall(r'"([A-J]\d{1,2})[" ]', text))
tap.equal([r for r in ROWS if r not in cited], [], "every row has a test")
tap.equal([r for r in WAITS if r not in ROWS or r not in cited], [], "what waits in part is tested in part")
tap.done()
