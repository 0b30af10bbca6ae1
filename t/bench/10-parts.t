#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The bench's own judgement: is a sync seen where there is one, a loss, a doublet, a missed target?"""
import os
import sys
import types
import xml.etree.ElementTree as ET

sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), p) for p in ("../lib", "../../bench")]
from suite import *  # noqa: E402,F403
from ekb import report, rows, series, svg, trace  # noqa: E402

# --- Sync before 250, from traces

SYNC, OK = '7 fdatasync(9) = 0\n', '8 sendto(5, "250 2.0.0 Ok: queued"..., 30, 0, NULL, 0) = 30\n'
DATA = '8 write(5, "354 End data with a dot\\r\\n", 25) = 25\n'
PIPELINED = '8 sendmsg(5, {msg_iov=[{iov_base="250 2.1.0 Ok\\r\\n250 2.1.5 Ok\\r\\n354 Go\\r\\n", iov_len=9}]}, 0) = 9\n'
PAUSED = '7 fsync(9 <unfinished ...>\n8 read(3) = 1\n7 <... fsync resumed>) = 0\n'
LATE = '7 fsync(9 <unfinished ...>\n'


def ordered(text):
    path = os.path.join(folder(), "trace")
    with open(path, "w") as f:
        f.write(text)
    return trace.read_trace(path)


tap.equal(ordered(DATA + SYNC + OK), ({"fdatasync": 1}, 1, 1), "a sync between data and 250 counts")
tap.equal(ordered(PIPELINED + SYNC + OK)[1:], (1, 1), "also when 354 came in one write with other replies")
tap.equal(ordered(DATA + PAUSED + OK), ({"fsync": 1}, 1, 1), "a sync in two lines is one, done at its second")
tap.equal(ordered(DATA + OK), ({}, 0, 1), "no sync: the message is counted as not synced")
tap.equal(ordered(DATA + OK + SYNC)[1:], (0, 1), "a sync after the 250 is too late")
tap.equal(ordered(SYNC + DATA + OK)[1:], (0, 1), "a sync before the data does not cover it")
tap.equal(ordered(DATA + LATE + OK + '7 <... fsync resumed>) = 0\n')[1:], (0, 1),
          "a sync that has only begun before the 250 is too late")
tap.equal(ordered(DATA + '7 fsync(9) = -1 EIO (Input/output error)\n' + OK)[1:], (0, 1),
          "a failed sync is none")

SUBMIT = '7 io_submit(0x7f, 1, [{aio_data=0x5, aio_lio_opcode=IOCB_CMD_FDSYNC, aio_fildes=9, aio_flags=IOCB_FLAG_RESFD, aio_resfd=4}]) = 1\n'
ENDED = '7 io_getevents(0x7f, 0, 16, [{data=0x5, obj=0x7f, res=0, res2=0}], NULL) = 1\n'
FAILED = ENDED.replace("res=0,", "res=-5,")
tap.equal(ordered(DATA + SUBMIT + ENDED + OK), ({"fdatasync": 1}, 1, 1), "a sync by kernel AIO counts when it has ended")
tap.equal(ordered(DATA + SUBMIT + OK + ENDED)[1:], (0, 1), "not when it has only begun")
tap.equal(ordered(DATA + SUBMIT + FAILED + OK)[1:], (0, 1), "nor when it failed")

# --- Loss and doublets

ledger = rows.Ledger(types.SimpleNamespace(dir=rows.host.pathlib.Path(folder()), verify=True),
                     types.SimpleNamespace(name="x"))
out = {"run_id": "r", "accepted": 2}


def sink_line(n, body="b"):
    return f"message-id=<{n:010d}.r@mailsource.invalid> rcpts=rcpt{n:010d}@mailsink.invalid bytes=1 sha256=a body-sha256={body}\n"


def judged(*lines):
    ledger.path.write_text("".join(lines))
    return ledger.check(1, out)


tap.equal(judged(sink_line(0), sink_line(1)), {"lost": 0, "unknown": 0, "duplicates": 0, "bodies": 1}, "all is well")
tap.equal(judged(sink_line(0), sink_line(0)), {"lost": 1, "unknown": 0, "duplicates": 1, "bodies": 1},
          "one lost behind one doubled: both are seen, though the count is right")
tap.equal(judged(sink_line(0), sink_line(1), sink_line(2, "c")),
          {"lost": 0, "unknown": 1, "duplicates": 0, "bodies": 2}, "a message that was never accepted, and another body")

# --- Medians, ratios, targets, flatness


def result(rate, **more):
    return {"rate": rate, "cpu_ms": 1.0, **more}


row = report.finish_row({"name": "relay-4k", "title": "t", "runs": {
    "postfix": [result(10), result(30), result(20)],
    "ekiden": [result(300), {"error": "x"}, result(400)]}})
tap.equal((row["median"]["postfix"]["rate"], row["median"]["ekiden"]["rate"]), (20, 350), "medians, without failed runs")
tap.equal(row["ratio"]["ekiden"]["rate"], 17.5, "ratio to Postfix")
text = "\n".join(report.targets_markdown([row]))
tap.match(text, r"relay 4 KiB, 1 recipient, messages/s \| >= 15x \| 20 \| 350 \| 17\.5x \| reached", "a target that is reached")
tap.match(text, r"relay 4 KiB, 1 recipient, CPU a message \| <= 1/15 \| 1 \| 1 \| 1\.0x \| \*\*not reached\*\*",
          "a target that is missed says so")
tap.match(text, r"accept only, messages/s \| >= 16x \| - \| - \| not measured", "a target without a figure says so")
points = [{"x": x, "cpu_ms": c, "rate": 1, "disturbed": 0} for x, c in ((0, 2.0), (1000, 1.6), (100000, 2.4))]
tap.equal(round(series.flatness(points)["flat"], 3), 1.5, "flatness is largest over smallest")

# --- A chart

tree = ET.fromstring(svg.chart("A & B", "x", "y", {"postfix": [(0, 2), (1000, 2.5)], "ekiden": [(0, 0.1), (1000, 0.1)]}))
space = "{http://www.w3.org/2000/svg}"
lines = [[tuple(map(float, p.split(","))) for p in e.get("points").split()] for e in tree.iter(space + "polyline")]
tap.equal(len(lines), 2, "a line for each suite")
tap.ok(all(0 < x < svg.WIDTH and 0 < y < svg.HEIGHT for points in lines for x, y in points), "inside the picture", lines)
tap.ok(lines[0][1][1] < lines[0][0][1] < lines[1][0][1] == lines[1][1][1], "more is higher, equal is level", lines)
tap.ok("A & B" in "".join(tree.itertext()), "text is escaped")
tap.done()
