#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""ATTACKS A1-A8 through the whole suite: 22 ends of data that are none, on every kind of listener. The next host is a
sink that keeps raw bytes: however a lenient server would read them, there is one message for each accepted one."""
import base64
import os
import re
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from smuggling import TERMINATORS, payload  # noqa: E402
from suite import *  # noqa: E402,F403

private_network()


class RawSink:
    """An SMTP server that answers commands by verb and keeps the bytes of each content as they came."""

    def __init__(self, host, port):
        self.contents, self.envelopes = [], []
        self.listener = socket.create_server((host, port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            conn, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        buf = b""

        def until(end):
            nonlocal buf
            while end not in buf:
                more = conn.recv(65536)
                if not more:
                    raise ConnectionError
                buf += more
            piece, _, buf = buf.partition(end)
            return piece
        try:
            conn.sendall(b"220 raw.test ESMTP\r\n")
            sender = b""
            while True:
                line = until(b"\r\n")
                verb = line[:4].upper()
                if verb == b"MAIL":
                    sender = line
                if verb == b"DATA":
                    conn.sendall(b"354 go\r\n")
                    self.contents.append(until(b"\r\n.\r\n") + b"\r\n")
                    self.envelopes.append(sender)
                conn.sendall(b"250-raw.test\r\n250 PIPELINING\r\n" if verb == b"EHLO" else b"250 2.0.0 ok\r\n")
        except OSError:
            conn.close()


def lenient_ends(content):
    """Where any server that was ever taken in would end this content early."""
    return [name for name, t in TERMINATORS.items() if t in content] + re.findall(rb"(?<!\r)\n|\r(?!\n)|\0", content)


ns = Nsd({"rcpt.test": "@ IN MX 10 mx\nmx IN A 127.0.0.2", "sender.test": "@ IN A 127.0.0.2"})
sink = RawSink("127.0.0.2", 25)
PLAIN = free_port()
s = Suite(start=False)
s.listeners += f"listen local {{ address 127.0.0.1:{PLAIN}; tls none; reverse-lookup no; auth networks 127.0.0.0/8 tenant acme; }}\n"
s.write("limits { errors 1000; messages-per-connection 1000; }\n")
s.start()
secret = s.tenant()
context = client_context()
PORTS = {"25 (mx, behind TLS and AUTH)": s.mx, "587": s.submission, "465": s.smtps, "a trusted network": PLAIN}


class Session:
    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), 15)
        if port == s.smtps:
            self.sock = context.wrap_socket(self.sock)
        self.file = self.sock.makefile("rb")
        self.reply()
        self.cmd(b"EHLO client.test")
        if port in (s.mx, s.submission):
            self.cmd(b"STARTTLS")
            self.sock = context.wrap_socket(self.sock)
            self.file = self.sock.makefile("rb")
            self.cmd(b"EHLO client.test")
        if port != PLAIN:
            self.cmd(b"AUTH PLAIN " + base64.b64encode(f"\0app1\0{secret}".encode()))

    def reply(self):
        while True:
            line = self.file.readline()
            if line[3:4] != b"-":
                return line.decode().rstrip()

    def cmd(self, line):
        self.sock.sendall(line + b"\r\n")
        return self.reply()

    def data(self, content):
        """Replies to a message until the end of the connection, or to it alone."""
        for line in (b"MAIL FROM:<a@sender.test>", b"RCPT TO:<b@rcpt.test>", b"DATA"):
            self.cmd(line)
        self.sock.sendall(content)
        got = [self.reply()]
        while got[-1] and not got[-1].startswith("250"):
            got.append(self.reply())
        return [x[:9] for x in got if x]


HEADER = b"From: a@sender.test\r\nTo: b@rcpt.test\r\nSubject: %s\r\nDate: Sun, 22 Nov 2026 12:00:00 +0900\r\nMessage-ID: <%s@sender.test>\r\n\r\n"


def header(subject):
    return HEADER % (subject.encode(), subject.encode())


accepted = []
for where, port in PORTS.items():
    wrong = []
    for i, (name, terminator) in enumerate(TERMINATORS.items()):
        c = Session(port)
        try:
            got = c.data(payload(header(f"bad{i}"), terminator, b"smuggled@sender.test", b"victim@rcpt.test"))
        except ConnectionError as e:
            got = [str(e)]
        if got != ["550 5.5.2"]:
            wrong.append((name, got))
        c.sock.close()
    c = Session(port)
    subject = f"good-{port}"
    body = b"..\r\n..dot\r\n...\r\nMAIL FROM:<smuggled@sender.test>\r\n. \r\n..\r\n" + b".\r\n"
    if c.data(header(subject) + body)[:1] == ["250 2.0.0"]:
        accepted.append(subject)
    c.sock.close()
    tap.equal(wrong, [], f"atk-A1 atk-A2 atk-A5 atk-A6 atk-A7 atk-A8 {len(TERMINATORS)} false ends of data on {where}: refused and closed")

# A Message-ID on two lines, or with a control byte, is an ordinary message for every reader of its record (atk-J8).
for subject, odd in (("fold", b"<a@b>\r\n (a comment)"), ("escape", b"<a\x1b[31m@b>")):
    c = Session(PLAIN)
    if c.data(header(subject).replace(b"Message-ID: <" + subject.encode() + b"@sender.test>", b"Message-ID: " + odd) + b"x\r\n.\r\n")[:1] == ["250 2.0.0"]:
        accepted.append(subject)
    c.sock.close()
code, text = submit(s, secret, subject="last")
accepted += ["last"] if code == 250 else []
tap.equal(len(accepted), len(PORTS) + 3, "the messages between them are accepted")
try:
    wait_for(lambda: s.queue_count()["messages"] == 0, 30, "an empty queue")
except AssertionError:
    pass
found = sorted(re.search(rb"^Subject: (\S+)", x, re.M)[1].decode() for x in list(sink.contents))
tap.equal(found, sorted(accepted), "S17 exactly these are delivered, each once")
tap.equal({e.split()[1] for e in sink.envelopes}, {b"FROM:<a@sender.test>"}, "atk-A3 atk-A4 no envelope came out of a body")
tap.equal([lenient_ends(x) for x in sink.contents if lenient_ends(x)], [], "no content could be read as two by anybody")
tap.ok(all(b"\r\n..\r\n...dot" in x or b"\r\n..\r\n..dot\r\n" in x for x in sink.contents if b"Subject: good-" in x), "S18 dots are stuffed again")
bad = [line for line in s.log().splitlines() if re.search(r"bad frame|damaged|quarantine|killed|channel to", line)]
tap.equal(bad[:5], [], "no daemon complains of another")
stderr = open(os.path.join(s.dir, "stderr")).read()
tap.ok("Sanitizer" not in stderr and "runtime error" not in stderr, "no sanitizer speaks", stderr)
tap.equal(s.stop(), 0, "the suite stops")
tap.done()
