#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The bench in short: every row runs, nothing is lost or doubled, each 250 comes after its sync.  No time
is judged here."""
import os
import sys
import xml.etree.ElementTree as ET

sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), p) for p in ("../lib", "../../bench")]
from suite import *  # noqa: E402,F403
from ekb import catalog  # noqa: E402

private_network()
for program in ("postfix", "strace"):
    if shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
        skip_all(f"needs {program}")
if not os.path.exists(f"{BUILD}/bench/mailsource"):
    skip_all("needs make bench-programs")
work = folder()


def bench(name, *options):
    """Runs ekbench; (its status, its text, its JSON)."""
    result = os.path.join(work, name + ".json")
    p = subprocess.run([f"{SRC}/bench/ekbench", "--build", BUILD, "--bin", f"{BUILD}/bench", "--dir",
                        os.path.join(work, "d"), "--json", result, "--runs", "1", "--sessions", "4", "--idle", "20",
                        *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=150)
    with open(result) as f:
        return p.returncode, p.stdout, json.load(f)


def figures(doc, row, suite="ekiden"):
    return next(r for r in doc["rows"] if r["name"] == row)["runs"][suite][0]


# --- Every row, our suite alone

names = [r.name for r in catalog.ROWS]
status, text, doc = bench("all", "--only", "ekiden", "--messages", "60", "--rows", ",".join(names), "--queue", "80",
                          "--backlog", "60", "--sessions-max", "10", "--verify", "--no-durability",
                          "--svg", os.path.join(work, "svg"))
tap.equal(status, 0, "all rows run") or print("# " + text.replace("\n", "\n# "))
tap.equal([r["name"] for r in doc["rows"]], names, "the JSON has every row")
for r in catalog.ROWS:
    got = figures(doc, r.name)
    tap.ok("error" not in got and got["rate"] > 0 and got["cpu_ms"] > 0 and got["ceiling"] > 0 and r.title in text,
           f"{r.name}: rate, CPU and ceiling, and a line in the table", got)
    if "lost" in got:
        tap.equal([got[k] for k in ("lost", "unknown", "duplicates", "bodies")], [0, 0, 0, 1],
                  f"{r.name}: all delivered once and unaltered")
        tap.equal(got["deliveries"], got["messages"] * r.recipients, f"{r.name}: as many deliveries as were sent")
tap.ok(sum("lost" in figures(doc, n) for n in names) >= 8, "the relay rows were verified")
one = figures(doc, "fair")
tap.ok(one["singles"] > 0 and 0 < one["e2e_p50_ms"] <= one["e2e_p99_ms"] <= one["e2e_max_ms"], "fair: times of the singles", one)
tap.equal([p["x"] for p in figures(doc, "sessions")["points"]], [1, 10], "sessions: a point for each number")
tap.equal([p["x"] for p in figures(doc, "queue-length")["points"]], [0, 80], "queue-length: empty and full")
tap.ok(figures(doc, "queue-length")["flat"] >= 1, "queue-length: flatness")
got = figures(doc, "backlog")
tap.ok(got["drained"] == 60 and got["list_lines"] >= 60 and got["list_status"] == 0 and got["disk_bytes"] >= 0,
       "backlog: listed, restarted, and all of it drained", got)
calls = figures(doc, "syscalls-pipe")
tap.ok(calls["syscalls"] > 1 and {"smtpd", "qmgr", "smtp"} <= set(calls["by_process"]), "system calls by process", calls)
tap.ok(figures(doc, "relay-4k")["pss_total_mb"] > 1, "memory of the whole suite")

pages = sorted(os.listdir(os.path.join(work, "svg")))
tap.equal(pages, ["bench-queue.svg", "bench-sessions.svg"], "both plots")
for page in pages:
    tree = ET.parse(os.path.join(work, "svg", page))
    tap.equal(len(tree.findall("{http://www.w3.org/2000/svg}polyline")), 1, f"{page} parses and has its line")

# --- Side by side, with the look for the sync

status, text, both = bench("both", "--messages", "40", "--rows", "relay-4k")
tap.equal(status, 0, "both suites run") or print("# " + text.replace("\n", "\n# "))
row = both["rows"][0]
for name in ("postfix", "ekiden"):
    tap.ok(row["durability"].get(name, {}).get("durable"), f"{name}: a sync between the data and each 250",
           row["durability"].get(name))
tap.ok(row["ratio"]["ekiden"]["rate"] > 0, "a ratio to Postfix")

page = os.path.join(work, "page.md")
with open(page, "w") as f:
    f.write("before\n<!-- figures -->\nfigure of last year\n<!-- end of figures -->\nafter\n")
p = subprocess.run([f"{SRC}/bench/ekreport", os.path.join(work, "all.json"), os.path.join(work, "both.json"), "--update",
                    page], capture_output=True, text=True)
with open(page) as f:
    text = f.read()
tap.equal(p.returncode, 0, "ekreport reads both results") or print("# " + p.stderr.replace("\n", "\n# "))
tap.ok(text.startswith("before\n") and text.endswith("after\n") and "last year" not in text, "only the figures are replaced")
tap.match(text, r"relay 4 KiB, 1 recipient \| postfix \| .* \| sync before 250", "with the durability class of each row")
# --- Two builds in turn

for kind in ([], ["--relay"]):
    result = os.path.join(work, "pair.json")
    p = subprocess.run([f"{SRC}/bench/ekpair", f"one={BUILD}", f"two={BUILD}", "--rounds", "2", "--messages", "60",
                        "--sessions", "4", "--dir", work, "--json", result, *kind], capture_output=True, text=True,
                       timeout=120)
    tap.equal(p.returncode, 0, f"ekpair {' '.join(kind)}") or print("# " + p.stderr.replace("\n", "\n# "))
    with open(result) as f:
        slices = json.load(f)
    tap.equal({name: len(s) for name, s in slices.items()}, {"one": 2, "two": 2}, "as many slices of each")
    tap.match(p.stdout, r"(?m)^two .* x\d+\.\d{3} \(\d+\.\d\d-\d+\.\d\d\), x\d+\.\d{3}$", "and a line with the ratios")
tap.done()
