#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""atk-I4: the control socket and hostile bytes on it."""

import os
import random
import resource
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fakes import Control, DIGEST, Instance, tap, wait_for  # noqa: E402
from control import OPEN, HELLO, frame  # noqa: E402

root = os.geteuid() == 0


def raw(m, data, half_close=True):
    """What comes back before the connection ends."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(15)
        s.connect(m.control)
        try:
            s.sendall(data)
            if half_close:
                s.shutdown(socket.SHUT_WR)
            got = b""
            while chunk := s.recv(4096):
                got += chunk
            return got
        except (ConnectionError, BrokenPipeError):
            return b""


def opening(role, instance=0):
    return frame(OPEN, struct.pack(">BI", role, instance))


def hostile(m):
    pids = {k: r["pid"] for k, r in m.status().items()}
    hello = frame(HELLO, DIGEST.to_bytes(8, "big"))
    for name, data in {
            "nothing": b"", "half a header": hello[:5], "text": b"GET / HTTP/1.0\r\n\r\n" * 4,
            "a huge length": b"\xff" * 64, "another schema": frame(HELLO, b"12345678") + opening(2),
            "no such daemon": hello + opening(0x42), "mtactl as a daemon": hello + opening(8),
            "two hellos": hello + hello + hello,
            "a longer open": hello + frame(OPEN, b"\2\0\0\0\0\2"),
            "a good opening, then text": hello + opening(2) + b"A" * 5000,
            "to master, then text": hello + opening(0) + b"A" * 5000}.items():
        got = raw(m, data)
        tap.ok(len(got) <= 16 + 8, f"atk-I4 {name}: the connection ends", got)
    rng = random.Random(7)
    good = hello + opening(2) + hello
    for _ in range(300):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        raw(m, bytes(data[:rng.randrange(len(data) + 1)]))
    tap.equal({k: r["pid"] for k, r in m.status().items()}, pids,
              "300 mutated openings later every process is the same")


def silent(m):
    held = []
    for _ in range(64):
        s = socket.socket(socket.AF_UNIX)
        s.connect(m.control)
        held.append(s)
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(5)
    s.connect(m.control)
    tap.equal(s.recv(1), b"", "too many that say nothing: the next one is refused")
    tap.ok(wait_for(m.status, 20, "room"), "they are dropped after their time, and others served")
    for s in held:
        s.close()


def stranger(m):
    """Another user, even where the mode of the socket lets him in."""
    if not root:
        return
    os.chmod(m.control, 0o666)
    pid = os.fork()
    if pid == 0:
        os.setgid(65534)
        os.setuid(65534)
        try:
            Control(m.control, DIGEST, "master", 5).call("status")
            os._exit(1)
        except (EOFError, ConnectionError):
            os._exit(0)
    tap.equal(os.waitpid(pid, 0)[1], 0, "another user is refused by his credentials")
    tap.match(m.log(), r"control connection of user 65534 refused", "and logged")
    os.chmod(m.control, 0o600)


def split(m):
    """One byte at a time: master takes its two frames and not a byte more."""
    hello = frame(HELLO, DIGEST.to_bytes(8, "big"))
    c = Control.__new__(Control)
    c.s = socket.socket(socket.AF_UNIX)
    c.s.settimeout(10)
    c.s.connect(m.control)
    for b in hello + opening(4) + hello:
        c.s.send(bytes([b]))
    status, _, rows = c.call("fake state")
    tap.equal((status, rows[0]["admin"]), (0, str(os.geteuid())), "an opening in single bytes reaches qmgr")
    tap.equal(c.call("fake state")[0], 0, "a connection takes more than one call")
    tap.equal(c.call("no such")[0], 2, "an unknown command: status 2")


def starved(m):
    """No descriptor is left for another connection."""
    def ticks():
        with open(f"/proc/{m.proc.p.pid}/stat") as f:
            return sum(map(int, f.read().rpartition(")")[2].split()[11:13]))
    pid = m.proc.p.pid
    former = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    fds = sorted(int(fd) for fd in os.listdir(f"/proc/{pid}/fd"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (next(i for i in range(1000) if i not in fds), former[1]))
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(m.control)
        before = ticks()
        time.sleep(1)
        used = ticks() - before
    tap.ok(used < 20, "atk-I4 without descriptors the control socket rests instead of spinning", f"{used} ticks")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, former)
    tap.equal(m.ask("fake state", "qmgr")[0], 0, "then it accepts again")


def absent(m):
    tap.equal(m.ask("fake state", "authd", instance=7)[:2], (1, "authd is not running at the moment"),
              "a process of a number that there is not: says so")
    pid = m.status()["authd/0"]["pid"]
    os.kill(int(pid), 9)
    os.kill(int(m.again("authd/0", pid)["pid"]), 9)
    wait_for(lambda: m.status()["authd/0"]["state"] == "waiting", 5, "back-off")
    status, text, _ = m.ask("fake state", "authd")
    tap.equal((status, text), (1, "authd is not running at the moment"), "a daemon in back-off: says so")


def main():
    m = Instance()
    m.start()
    hostile(m)
    stranger(m)
    split(m)
    starved(m)
    absent(m)
    wait_for(m.ready, 10, "authd")
    silent(m)
    tap.equal(m.proc.end(), 0, "and it stops")
    tap.done()


main()
