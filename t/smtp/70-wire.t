#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""What leaves, byte for byte, and servers that hold on. atk-A5, A6, F11, G3, G4, G5, G14."""

import hashlib
import os
import random
import resource
import selectors
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import *  # noqa: E402,F403

resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
d = Smtp(conf(reply="30s", eod="30s", session="5s"))


class Strict:
    """
    A server that reads bytes, not lines: every command ends in CRLF and has no other control byte; content
    has no CR without LF and no LF without CR, ends at CRLF.CRLF, and each line that starts with a dot has
    one more.
    """

    def __init__(self, ehlo=("PIPELINING", "8BITMIME", "SIZE", "DSN", "SMTPUTF8")):
        self.ehlo, self.faults, self.messages, self.commands = ehlo, [], [], []

    def fault(self, text, data):
        self.faults.append((text, data[:80]))

    def take_command(self, line):
        self.commands.append(line)
        if any(b < 0x20 or b == 0x7F for b in line):
            self.fault("control byte in a command", line)

    def take_content(self, data):
        if data.count(b"\r") != data.count(b"\r\n") or data.count(b"\n") != data.count(b"\r\n"):
            self.fault("CR and LF do not pair", data)
        if b"\0" in data:
            self.fault("NUL", data)
        lines = data.split(b"\r\n")
        if lines and any(x.startswith(b".") and not x.startswith(b"..") for x in lines):
            self.fault("a dot that is not doubled", data)
        self.messages.append(b"\r\n".join(x[1:] if x.startswith(b".") else x for x in lines))

    def __call__(self, peer):
        peer.send("220 strict.test")
        while True:
            while b"\n" not in peer.buf:
                peer._fill()
            at = peer.buf.index(b"\n") + 1
            line, peer.buf = peer.buf[:at], peer.buf[at:]
            if not line.endswith(b"\r\n"):
                self.fault("a command ends in a bare LF", line)
            self.take_command(line.rstrip(b"\r\n"))
            if line.startswith(b"EHLO"):
                words = ("strict.test",) + tuple(self.ehlo)
                peer.send(*[f"250{'-' if i + 1 < len(words) else ' '}{w}" for i, w in enumerate(words)])
            elif line.startswith(b"DATA"):
                peer.send("354 go")
                self.take_content(peer.data())
                peer.send("250 2.0.0 ok")
            elif line.startswith(b"QUIT"):
                peer.send("221 bye")
                return
            else:
                peer.send("250 2.0.0 ok")


def digest(data):
    return hashlib.sha256(data).hexdigest()


# --- Content: whatever is stored arrives as it is, wherever the pieces are cut.
CHUNK = 65536
rng = random.Random(int(os.environ.get("EKIDEN_SEED", "11")))
bodies = {
    "dots at the start of lines": b".\r\n..\r\n...\r\n.x\r\n\r\n.\r\n",
    "a lone dot, then commands": b"a\r\n.\r\nMAIL FROM:<x@evil.test>\r\nRCPT TO:<y@evil.test>\r\nDATA\r\nboo\r\n.\r\n",
    "nothing": b"", "a dot": b".\r\n", "a dot without line end": b".", "CRLF dot": b"\r\n.", "only CR at the end": b"x\r",
    "line ends only": b"\r\n" * 1000, "8 bit": bytes(range(128, 256)) * 10 + b"\r\n",
}
for shift in range(-4, 5):  # a dot line across the border of two reads
    bodies[f"a dot line at {CHUNK}{shift:+d}"] = b"x" * (CHUNK + shift - 2) + b"\r\n.\r\n.y\r\n"
for n in range(12):
    bodies[f"random {n}"] = b"".join(rng.choice((b".", b"\r\n", b"\r\n.", b"\r\n.\r\n", b"..", b"a", b"b" * rng.randrange(
        9000), b"\xc3\xa9")) for _ in range(rng.randrange(400)))
strict = Strict()
srv = Server(strict)
c = d.open(port=srv.port)
for name, body in bodies.items():
    for front in (b"", b"Received: x\r\n"):
        dots = DOTS if b"\r\n." in b"\r\n" + front + body else 0
        bits = EIGHT_BIT if any(x > 127 for x in body) else 0
        # what the server side stores has whole line ends only
        n = len(strict.messages)
        res = d.done(d.deliver(c, body=body, front=front, flags=dots | bits, big=rng.random() < 0.3))
        want = front + body
        if want and not want.endswith(b"\r\n"):
            want += b"\n" if want.endswith(b"\r") else b"\r\n"
        got = strict.messages[n] if len(strict.messages) == n + 1 else b"?"
        tap.ok(res[0]["status"] == RCPT_SENT and digest(got) == digest(want),
               f"atk-A5, A6: {name}{', with our own header' if front else ''}: one message, the same digest",
               (res, len(got), len(want), got[:60], want[:60]))
tap.equal(strict.faults, [], "atk-A6: commands end in CRLF, content has no bare CR or LF, dots are doubled")
tap.equal(sum(x.startswith(b"MAIL") for x in strict.commands), len(strict.messages), "atk-A6: no command came out of content")

# --- Parameters of all kinds: encoded where the grammar has an encoding.
for envid in ("plain", "a=b+c d", "tab-less but = and + and ~", "x" * 100, "\u00e9"):
    d.done(d.deliver(c, envid=envid, ret=2, rcpts=[{"index": 0, "rcpt": "r@t", "orcpt": f"rfc822;{envid[:60]}",
                                                    "notify": 7}]))
    mail, rcpt = strict.commands[-3:-1]
    tap.ok(mail.count(b" ") == 4 and rcpt.count(b" ") == 3 and not strict.faults,
           f"atk-G3: ENVID and ORCPT {envid!r:.20}: one word each", (mail, rcpt))
srv.stop()

# --- F11: what the next hop cannot take comes back, unchanged.
for ehlo, kw, want in ((("PIPELINING",), {"flags": UTF8 | EIGHT_BIT | EIGHT_BIT_HEADER}, (5, 6, 3)),
                       (("PIPELINING", "8BITMIME"), {"flags": UTF8 | EIGHT_BIT | EIGHT_BIT_HEADER}, (5, 6, 7)),
                       (("PIPELINING", "8BITMIME"), {"flags": UTF8, "sender": "\u00e9@t"}, (5, 6, 7))):
    strict = Strict(ehlo)
    srv = Server(strict)
    c = d.open(port=srv.port)
    r = d.done(d.deliver(c, body="Subject: \u00e9\r\n\r\nx\r\n".encode(), **kw))[0]
    tap.ok(r["status"] == RCPT_BOUNCED and (r["esc"] >> 20, r["esc"] >> 10 & 1023, r["esc"] & 1023) == want and
           strict.messages == [], f"atk-F11: {kw['flags']:#x} to a host with {ehlo}: {want}, nothing is changed on the way",
           r)
    srv.stop()

# --- G14: capabilities of all kinds, at random: nothing but the extensions that are there is used.
words = ["SIZE", "SIZE 0", "SIZE 18446744073709551616", "SIZE -1", "SIZE=5", "SIZE 5 5", "LIMITS", "LIMITS RCPTMAX=0",
         "LIMITS RCPTMAX=", "LIMITS MAILMAX=99999999999999999999 RCPTMAX=1x", "LIMITS RCPTMAX=4294967296", "AUTH", "AUTH=",
         "AUTH " + "X" * 900, "AUTH=" + "PLAIN " * 100, "8BITMIME", "8BITMIME 8BITMIME", "DSN x", "PIPELINING  ", "\x01",
         " PIPELINING", "XCLIENT NAME ADDR", "STARTTLS STARTTLS", "SMTPUTF8", "CHUNKING", "BINARYMIME", "\u00e9", "-", "="]
for n in range(20):
    ehlo = [rng.choice(words) for _ in range(rng.randrange(1, 60))]
    ehlo = ehlo[:max(1, next((i for i in range(len(ehlo)) if sum(map(len, ehlo[:i])) > 8000), len(ehlo)))]
    strict = Strict(ehlo)
    srv = Server(strict)
    c = d.open(port=srv.port)
    r = d.done(d.deliver(c))[0]
    tap.ok(r["status"] == RCPT_SENT and not strict.faults, f"atk-G14: {len(ehlo)} capabilities at random", (r, ehlo))
    d.send("qmgr", "conn_close", conn=c)
    d.closed(c)
    srv.stop()


# --- 1000 servers that drip; mail for others does not wait (atk-G4, G5).
class Tarpit:
    """Accepts everybody and says one byte of an endless greeting each half second."""

    def __init__(self):
        self.sel, self.socks, self.stopped = selectors.DefaultSelector(), [], False
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(1024)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        last = time.monotonic()
        while not self.stopped:
            try:
                self.socks.append(self.listener.accept()[0])
                continue
            except BlockingIOError:
                time.sleep(0.01)
            if time.monotonic() - last > 0.5:
                last = time.monotonic()
                for s in self.socks:
                    try:
                        s.send(b"2" if last % 2 < 1 else b"20-\r\n")
                    except OSError:
                        pass


def speed(n):
    """Seconds for n messages, one after the other, on a connection of their own."""
    srv = Server(Sink())
    c = d.open(port=srv.port)
    d.ready(c)
    start = time.monotonic()
    good = all(d.done(d.deliver(c))[0]["status"] == RCPT_SENT for _ in range(n))
    took = time.monotonic() - start
    d.send("qmgr", "conn_close", conn=c)
    d.closed(c)
    srv.stop()
    return took if good else 1e9


TARPITS = 1000
alone = min(speed(100) for _ in range(3))
pit = Tarpit()
start = time.monotonic()
held = [d.open(port=pit.port) for _ in range(TARPITS)]
for c in held:
    d.deliver(c)
beside = min(speed(100) for _ in range(3))
tap.ok(len(pit.socks) > TARPITS * 0.9, f"{TARPITS} connections are held by servers that drip", len(pit.socks))
tap.ok(beside < alone * 2 + 0.5, "atk-G5: mail to a healthy host goes on beside them", (alone, beside))
ends = [d.closed(c, 30) for c in held]
took = time.monotonic() - start
tap.ok(all(e["why"] == CONN_FAILED and "timed out" in e["text"] or "bad reply" in e["text"] for e in ends),
       "atk-G4: every one of them ends at the deadline of the whole set-up", ends[0])
tap.ok(took < 20, "atk-G4: which byte by byte does not move", took)
tap.ok(d.none("qmgr", "job_done", 0.2), "atk-G4: their mail is returned untried")
pit.stopped = True
tap.ok(speed(10) < 1e9, "the next clean delivery works")
d.finish()
tap.done()
