# SPDX-License-Identifier: ISC
"""Scripted clients that mean harm: bytes, what they must be answered, and what must be left afterwards."""

import os
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import GOOD, HOST, LISTENERS, Smtpd, SRC, is_reply, private_network, sanitized, tap, wait_for  # noqa: E402,F401

HEADER = b"From: a@acme.example\r\n\r\n"
ENVELOPE = b"MAIL FROM:<a@acme.example>\r\nRCPT TO:<b@dest.example>\r\n"
# What an attacker wants to have taken as a message of its own.
SECOND = (b"MAIL FROM:<smuggled@acme.example>\r\nRCPT TO:<victim@dest.example>\r\nDATA\r\n"
          b"From: smuggled@acme.example\r\n\r\nsmuggled\r\n.\r\n")


def raw(data):
    return data.encode("latin-1") if isinstance(data, str) else data


def replies(c, count=None):
    """That many replies, or all until the end of the connection."""
    got = []
    while count is None or len(got) < count:
        try:
            text = c.reply()
        except TimeoutError:
            text, count = "(nothing more, and no end)", 0
        if not text:
            break
        got.append(text)
    return got


def fits(got, want):
    return len(got) == len(want) and all(g.startswith(w) for g, w in zip(got, want))


def ready(s, port):
    """A client that may relay; on mx that takes TLS and a key."""
    c = s.ready(port)
    if port == "mx":
        c.starttls()
        c.cmd("EHLO client.test")
        c.cmd("AUTH PLAIN " + GOOD)
    return c


def attack(s, row, name, port, lines, want, closed=False, stored=0, state="ready"):
    """One client: `lines` in one write, then exactly the replies of `want` (each the beginning of one).

    closed: the connection ends behind them; otherwise the session goes on and has nothing more to say.
    state: ready (behind EHLO, TLS and AUTH), greeted, silent (before the greeting is read), rcpt, data.
    stored: how many messages this makes.
    """
    c = ready(s, port) if state in ("ready", "rcpt", "data") else s.connect(port, greet=state == "greeted")
    if state in ("rcpt", "data"):
        c.cmd("MAIL FROM:<a@acme.example>")
        c.cmd("RCPT TO:<b@dest.example>")
    if state == "data":
        c.cmd("DATA")
    c.sock.settimeout(6)
    why = ""
    try:
        c.send(b"".join(raw(x) for x in ([lines] if isinstance(lines, (bytes, str)) else lines)))
    except OSError as e:
        why = f"sending: {e}\n"
    got = replies(c, None if closed else len(want))
    if not fits(got, want):
        why += f" got: {got}\nwant: {want}\n"
    elif not closed and not c.cmd("NOOP").startswith("250 2.0.0"):
        why += "the session does not go on\n"
    elif not closed and c.buf:
        why += f"and then: {c.buf}\n"
    c.close()
    others = s.unharmed(f"atk-{row} {name}", "net" if port == "mx" else port)
    if len(others) != stored:
        why += f"stored: {others}\n"
    return tap.ok(not why, f"atk-{row} {name}" + ("" if port == "net" else f" on {port}"), why)


def reset(c):
    """The connection ends with a reset."""
    try:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    c.close()


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
