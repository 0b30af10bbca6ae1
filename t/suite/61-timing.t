#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""ATTACKS E2 with the shipped delay: neither text nor time of a refused log-in tells whether the user exists.

(71-rights.t has the same without the delay.)
"""
import base64
import math
import os
import random
import selectors
import socket
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

SAMPLES, EVERY_S, TRIES = 2000, 0.003, 4

private_network()
port = free_port()
s = Suite(listeners=f"listen plain {{ address 127.0.0.1:{port}; tls none; reverse-lookup no; "
          "auth networks 127.0.0.0/8 tenant acme and key; }\n",
          extra="limits { auth-failures 0; connections-per-client 0; }\n")
s.tenant()
taken, replies = {"app1": [], "app2": []}, set()  # app1 exists
waiting = selectors.DefaultSelector()


def connect():
    c = socket.create_connection(("127.0.0.1", port))
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    f = c.makefile("rb")
    f.readline()
    c.sendall(b"EHLO client.test\r\n")
    while f.readline()[3:4] == b"-":
        pass
    return c


def guess(c):
    user = random.choice(list(taken))
    line = b"AUTH PLAIN " + base64.b64encode(f"\0{user}\0{'w' * 40}".encode()) + b"\r\n"
    waiting.register(c, selectors.EVENT_READ, (user, time.perf_counter()))
    c.sendall(line)


def receive(timeout):
    for key, _ in waiting.select(timeout):
        user, begin = key.data
        taken[user].append(time.perf_counter() - begin)
        replies.add(key.fileobj.recv(1000))
        waiting.unregister(key.fileobj)
        key.fileobj.close()


def welch_p(a, b):
    a, b = (sorted(x)[:len(x) * 9 // 10] for x in (a, b))
    spread = math.sqrt(statistics.variance(a) / len(a) + statistics.variance(b) / len(b))
    return math.erfc(abs(statistics.mean(a) - statistics.mean(b)) / spread / math.sqrt(2))


found = []
for _ in range(TRIES):  # by chance alone one in a hundred would fail
    for t in taken.values():
        t.clear()
    due = time.monotonic()
    for _ in range(SAMPLES):
        c = connect()
        due = max(due + EVERY_S, time.monotonic())
        while (left := due - time.monotonic()) > 0:  # one at a time, so that none waits for another here
            receive(left)
        guess(c)
    while waiting.get_map():
        receive(5)
    found.append((welch_p(*taken.values()), [round(1e6 * statistics.median(t)) for t in taken.values()]))
    if found[-1][0] > 0.01:
        break
tap.equal(replies, {b"535 5.7.8 Error: authentication failed\r\n"}, "atk-E2 one text for both")
tap.ok(min(map(min, taken.values())) >= 0.99, "each answered after the delay")
tap.ok(found[-1][0] > 0.01, f"atk-E2 and the same time over {SAMPLES} log-ins (Welch)", f"p, medians in us: {found}")
print(f"# p, medians in us: {found}")

s.stop()
tap.done()
