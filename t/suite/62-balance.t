#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Clients are spread over the smtpd processes, however they come; one that hangs leaves its share to the others."""
import os
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

CLIENTS = 100
# Four may be accepted at once by a process that is four ahead, while its questions are under way; and while the
# other one gets no processor, it goes on after a while.
SPREAD, LEAST = 12, CLIENTS // 5

private_network()
port = free_port()
s = Suite(listeners=f"listen plain {{ address 127.0.0.1:{port}; tls none; reverse-lookup no; "
          "auth networks 127.0.0.0/8 tenant acme and key; }\n",
          extra="limits { connections-per-client 0; }\n")
workers = [pid for pid, _ in s.pids("smtpd")]
tap.equal(len(workers), 2, "two processes")


def sockets(pid):
    found = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found += os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
        except FileNotFoundError:
            pass
    return found


def burst(count):
    """All connections are made before any is greeted."""
    made = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(count)]
    greeted = sum(c.recv(1000).startswith(b"220 ") for c in made)
    tap.equal(greeted, count, "every client is greeted")
    return made


def settled():
    """Sockets of each process, when they do not change any more."""
    was = now = None
    while was is None or was != now:
        was, now = now, [sockets(pid) for pid in workers]
        time.sleep(0.2)
    return now


def close(clients):
    for c in clients:
        c.close()
    for _ in range(200):
        if [sockets(pid) for pid in workers] == before:
            break
        time.sleep(0.05)


before = settled()
spreads = []
for _ in range(3):
    clients = burst(CLIENTS)
    taken = [sockets(pid) - base for pid, base in zip(workers, before)]
    tap.equal(sum(taken), CLIENTS, "and has a session")
    tap.ok(min(taken) >= LEAST, f"each process has some: {taken}")
    spreads.append(max(taken) - min(taken))
    close(clients)
tap.ok(min(spreads) <= SPREAD, f"about half of them: {spreads} more at the one than at the other")

os.kill(workers[0], signal.SIGSTOP)
begin = time.monotonic()
clients = burst(CLIENTS)
tap.ok(time.monotonic() - begin < 20, "a process that hangs: the other one takes all")
tap.equal(sockets(workers[1]) - before[1], CLIENTS, "beside its own")
os.kill(workers[0], signal.SIGCONT)
close(clients)

policies = {role: os.sched_getscheduler(pid) for pid, role in s.pids()}
tap.equal(set(policies.values()), {os.SCHED_BATCH}, f"daemons do not push each other aside: {sorted(policies)}")
s.stop()
tap.done()
