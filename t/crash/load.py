# SPDX-License-Identifier: ISC
"""Clients that enter what they do into the ledger, and a sink that enters what it takes.

The address tells what the sink does with a recipient, and whose it is:
  <id>.<n>.take@rcpt.test    taken at once
  <id>.<n>.later@rcpt.test   451 while sink.hold is set, so that it goes through the database
  <id>.<n>.never@rcpt.test   550, so that a report goes to <id>@sender.test
"""

import hashlib
import os
import random
import re
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import Sink  # noqa: E402

MARK = b"X-Ledger: "
UNIT = re.compile(r"^(\w+)\.\d+\.(take|later|never)@rcpt\.test$")


def digest(data):
    return hashlib.sha256(data).hexdigest()[:32]


def body(rng, size):
    """Text lines with leading dots, 8-bit bytes and an empty line here and there."""
    lines, left = [], size
    while left > 0:
        n = min(left, rng.randrange(0, 200))
        line = bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz \xc3\xa9", k=n))
        lines.append((b"." if rng.random() < 0.1 else b"") + line)
        left -= n + 2
    return b"".join(line + b"\r\n" for line in lines)


class Shapes:
    """Sizes and recipients of the messages of a run; big ones are over `inline`."""

    def __init__(self, inline=65536, mix=(("take", 70), ("later", 20), ("never", 10)), recipients=4,
                 big=2):
        self.inline, self.recipients = inline, recipients
        self.kinds = [k for k, n in mix for _ in range(n)]
        self.store = [body(random.Random(n), size) for n, size in
                      enumerate([0, 1, 60, 500, 1500, 3900, 8000, 20000, inline - 3000, inline * 2])]
        self.weights = [1, 1, 10, 20, 20, 20, 10, 3, 1, big]

    def message(self, rng, ident):
        rcpts = [f"{ident}.{n}.{rng.choice(self.kinds)}@rcpt.test"
                 for n in range(rng.randrange(1, self.recipients + 1))]
        data = MARK + (f"{ident}\r\nFrom: {ident}@sender.test\r\nTo: {rcpts[0]}\r\nSubject: {ident}\r\n"
                       f"Date: Sun, 22 Nov 2026 12:00:00 +0900\r\nMessage-ID: <{ident}@sender.test>\r\n"
                       "\r\n").encode()
        return rcpts, data + rng.choices(self.store, self.weights)[0]


class Refused(Exception):
    pass


class Client(threading.Thread):
    """One message after the other until .stop; a reply that is not the wanted one ends the connection."""

    def __init__(self, ledger, port, shapes, name, seed, pause=0.0):
        super().__init__(daemon=True)
        self.ledger, self.port, self.shapes, self.name = ledger, port, shapes, name
        self.rng, self.pause, self.stop, self.refused, self.acked = random.Random(seed), pause, False, 0, 0
        self.number = 0
        self.sock, self.input = None, b""
        self.start()

    def reply(self, want):
        while True:
            line, eol, rest = self.input.partition(b"\r\n")
            if eol:
                self.input = rest
                if line[3:4] == b"-":
                    continue
                if not line.startswith(want):
                    raise Refused(line)
                return line
            got = self.sock.recv(65536)
            if not got:
                raise Refused(b"closed")
            self.input += got

    def connect(self):
        self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=8)
        self.input = b""
        self.reply(b"220")
        self.sock.sendall(b"EHLO client.test\r\n")
        self.reply(b"250")

    def one(self):
        self.number += 1
        ident = f"{self.name}n{self.number}"
        rcpts, data = self.shapes.message(self.rng, ident)
        self.sock.sendall(f"MAIL FROM:<{ident}@sender.test> BODY=8BITMIME\r\n".encode())
        self.reply(b"250")
        for r in rcpts:
            self.sock.sendall(f"RCPT TO:<{r}>\r\n".encode())
        for _ in rcpts:
            self.reply(b"250")
        self.ledger.write(("INTENT", ident, digest(data), len(data), *rcpts))
        self.sock.sendall(b"DATA\r\n")
        self.reply(b"354")
        self.sock.sendall(re.sub(rb"(?m)^\.", b"..", data) + b".\r\n")
        line = self.reply(b"250")
        self.ledger.write(("ACK", ident, line.split()[-1].decode()))
        self.acked += 1

    def run(self):
        while not self.stop:
            try:
                if self.sock is None:
                    self.connect()
                self.one()
                time.sleep(self.pause)
            except (OSError, Refused):
                self.refused += 1
                self.close()
                time.sleep(0.03)
        self.close()

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock = None

    def end(self):
        """Also out of a wait for a reply that will not come."""
        self.stop = True
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except (OSError, AttributeError):
            pass
        self.join(20)


class LedgerSink(Sink):
    def __init__(self, ledger, host="127.0.0.2", port=25):
        self.ledger, self.hold, self.open = ledger, True, set()
        super().__init__(host, port, reply=self.decide)

    def decide(self, stage, arg, session):
        if stage == "rcpt":
            if ".never@" in arg:
                return "550 5.1.1 no such user"
            if ".later@" in arg and self.hold:
                return "451 4.3.0 later"
        elif stage == "eod":
            self.enter(arg)
            self.messages.clear()
        return None

    def process_request(self, request, address):
        self.open.add(request)
        super().process_request(request, address)

    def shutdown_request(self, request):
        super().shutdown_request(request)
        self.open.discard(request)

    def let_go(self, sessions, seconds):
        """What the other side left in the sockets of these sessions is taken, too, as far as it is whole."""
        end = time.monotonic() + seconds
        while sessions & self.open and time.monotonic() < end:
            time.sleep(0.005)

    def enter(self, m):
        if m["sender"]:
            at = m["data"].find(MARK)
            content = m["data"][at:] if at >= 0 else b""
            ident = m["sender"].partition("@")[0]
            self.ledger.write(*(("TOOK", ident, r, digest(content)) for r in m["rcpts"]))
            return
        ident = m["rcpts"][0].partition("@")[0]
        made = re.search(rb"^Message-ID: <\w+\.([0-9a-f]+)@", m["data"], re.M)
        failed = re.findall(rb"^Final-Recipient: rfc822; (\S+)", m["data"], re.M)
        self.ledger.write(*(("REPORT", ident, r.decode(), int(made.group(1), 16) if made else 0)
                            for r in failed or [b"nobody"]))
