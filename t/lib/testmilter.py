# SPDX-License-Identifier: ISC
"""The test milter on libmilter (t/milter/harness.c) on a socket of its own."""
import os

from suite import BUILD, Process, folder, wait_for


class Milter:
    """t/milter/harness on a socket; .take() is what it said since the last call."""

    def __init__(self, name, steps=0, symbols=None, env=None):
        self.path = os.path.join(folder(), name + ".sock")
        self.out = os.path.join(folder(), name + ".out")
        self.seen = 0
        argv = [f"{BUILD}/t/milter/harness", "unix:" + self.path, f"{steps:x}"] + ([symbols] if symbols else [])
        self.proc = Process(argv, stdout=open(self.out, "w"), env=dict(os.environ, **(env or {})))
        wait_for(lambda: "listening" in self.all() and os.path.exists(self.path), what="milter")

    def all(self):
        with open(self.out, errors="replace") as f:
            return f.read()

    def take(self):
        text = self.all()[self.seen:]
        self.seen += len(text)
        return text
