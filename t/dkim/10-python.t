#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""What the corpus test signed, verified by python3-dkim: an implementation of its own."""
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import BUILD, skip_all, tap  # noqa: E402

try:
    import dkim
    import nacl  # noqa: F401
except ImportError as e:
    skip_all(f"needs python3-dkim and python3-nacl: {e}")

with tempfile.TemporaryDirectory(prefix="ekiden-dkim-") as work:
    r = subprocess.run([f"{BUILD}/t/unit/dkim_corpus_t", work], capture_output=True, text=True, timeout=120)
    tap.ok(r.returncode == 0, "the corpus is signed", r.stdout)
    records = {s: open(os.path.join(work, s), "rb").read() for s in "re"}

    def dns(name, timeout=5):
        return records[name.decode()[0]]

    names = sorted(n for n in os.listdir(work) if re.search(r"\.[0-3]$", n))
    tap.ok(len(names) > 80, f"{len(names)} signed messages")
    for name in names:
        message = open(os.path.join(work, name), "rb").read()
        try:
            verifier = dkim.DKIM(message)
            good = [verifier.verify(idx=i, dnsfunc=dns) for i in range(2)]
        except dkim.DKIMException as e:
            good = repr(e)
        tap.equal(good, [True, True], f"atk-F9 {name}: both signatures verify in python3-dkim")
tap.done()
