# SPDX-License-Identifier: ISC
"""The list of rows, in the order in which they are run and shown."""

from . import series, trace
from .rows import KIB, Row, accept, fairness, idle, relay

BIG = ("--size", 100 * KIB)
PIPELINING = ("--pipelining",)
TLS = ("--starttls",)
EACH = ("--per-connection", 1)

ROWS = (
    Row("accept", "accept only, 4 KiB", accept, hold=True),
    Row("relay-4k", "relay 4 KiB, 1 recipient", relay),
    Row("relay-4k-10r", "relay 4 KiB, 10 recipients", relay, 0.4, recipients=10),
    Row("relay-100k", "relay 100 KiB, 1 recipient", relay, 0.3, BIG),
    Row("relay-100k-10r", "relay 100 KiB, 10 recipients", relay, 0.1, BIG, recipients=10),
    Row("conn", "relay 4 KiB, connection per message", relay, 0.6, EACH),
    Row("tls-reuse", "relay 4 KiB, TLS, connections reused", relay, 1, TLS, "starttls"),
    Row("tls-conn", "relay 4 KiB, TLS connection per message", relay, 0.3, TLS + EACH, "starttls"),
    Row("latency", "relay 4 KiB, one at a time", relay, 0.1, sessions=1, sink=("--track", "@")),
    Row("fair", "single messages beside a flood", fairness, 2,
        sink=("--delay", 20, "--track", "single")),
    Row("idle-plain", "idle sessions", idle, messages=False),
    Row("idle-tls", "idle sessions, TLS", idle, options=TLS, port="starttls", messages=False),
    Row("syscalls", "system calls, no pipelining", trace.syscalls, 0.4),
    Row("syscalls-pipe", "system calls, pipelining", trace.syscalls, 0.4, PIPELINING),
    Row("sessions", "cost against sessions", series.sessions),
    Row("queue-length", "cost against queue length", series.queue_length, sink=("--fail", "later=451"),
        long=True),
    Row("backlog", "backlog: fill, list, restart, drain", series.backlog, long=True),
)
