#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The manual: no complaint of mandoc, every directive documented, pages as made from the tables."""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import BUILD, SRC, tap  # noqa: E402

PAGES = ["ekiden.8", "ekiden.conf.5", "mtactl.8"]
if shutil.which("mandoc"):
    for page in PAGES:
        r = subprocess.run(["mandoc", "-Tlint", f"{SRC}/man/{page}"], capture_output=True, text=True, timeout=60)
        # Pages that are not installed yet cannot be found.
        words = [line for line in r.stdout.splitlines() if "referenced manual not found" not in line]
        tap.equal(words, [], f"mandoc -Tlint {page}")
else:
    tap.ok(True, "# SKIP mandoc is not installed")

schema = open(f"{SRC}/lib/conf_schema.h").read()
page = open(f"{SRC}/man/ekiden.conf.5").read()
directives = re.findall(r'D\((?!kind)\w+, \w+, "([^"]+)"', schema)
tap.ok(len(directives) > 60, f"{len(directives)} directives")
tap.equal([d for d in directives if f"\n.It Ic {d} " not in page], [], "each is in ekiden.conf(5)")

mangen = f"{BUILD}/mtactl/mangen"
if os.path.exists(mangen):
    for page in PAGES[1:]:
        with open(f"{SRC}/man/{page}.in") as template:
            r = subprocess.run([mangen, "man"], stdin=template, capture_output=True, text=True, timeout=60)
        tap.equal(r.stdout, open(f"{SRC}/man/{page}").read(), f"{page} is what the tables make of it")
else:
    tap.ok(True, "pages are made anew # SKIP mangen was not built")
tap.done()
