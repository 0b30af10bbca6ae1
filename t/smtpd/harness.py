# SPDX-License-Identifier: ISC
"""smtpd with played peers (harness.c), and a client that sends exactly the bytes it is told to."""

import base64
import os
import queue
import re
import socket
import ssl
import subprocess
import sys
import threading
import time

SRC = os.environ.get("EKIDEN_SRC") or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(SRC, "t/lib"))
from suite import BUILD, folder, free_port, make_certificate, private_network, tap, wait_for  # noqa: E402,F401

LISTENERS = {
    "submission": "tls starttls; auth required",
    "smtps": "tls implicit; auth required",
    "mx": "tls starttls; auth optional",
    "key": "tls none; auth required",
    "net": "tls none; auth networks 127.0.0.0/8 tenant acme",
    "both": "tls none; auth networks 127.0.0.0/8 tenant acme and key",
    "far": "tls none; auth networks 192.0.2.0/24 tenant acme",
}
HOST = "mta.test"
# The fields that smtpd puts on top.
OURS = re.compile(rb"(Received: from [^\r]*\r\n(\t[^\r]*\r\n)*|X-Relay-Hops: \d+\r\n)"
                  rb"(Date: \w[^\r]*\r\n)?(Message-ID: <[0-9a-f.]+@mta\.test>\r\n)?")
GOOD = base64.b64encode(b"\0app\0good").decode()


def sanitized():
    """Whether memory figures mean nothing: clang links the sanitizer into the program."""
    with open(os.path.join(BUILD, "smtpd/smtpd"), "rb") as f:
        return b"__asan_" in f.read()


def free_ports(count):
    return [free_port() for _ in range(count)]


class Smtpd:
    def __init__(self, limits="", extra="", listeners=None, address="127.0.0.1", name="a", wrapper=()):
        self.dir = os.path.join(folder(), name)
        os.makedirs(self.dir)
        names = list(listeners or LISTENERS)
        self.ports = dict(zip(names, free_ports(len(names))))
        self.address = address
        self.listeners = listeners or LISTENERS
        cert, key = make_certificate(HOST)
        self.conf = self.write_conf("conf", limits, extra)
        self.p = subprocess.Popen(
            [*wrapper, os.path.join(BUILD, "t/smtpd/harness"), os.path.join(BUILD, "smtpd/smtpd"), self.conf,
             self.dir, cert, key], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=open(os.path.join(self.dir, "stderr"), "w"))
        self.lines, self.kept = queue.Queue(), []
        threading.Thread(target=self._read, daemon=True).start()
        self.pid = 0
        first = [self.line(), self.line()]
        for text in first:
            if text.startswith("pid "):
                self.pid = int(text[4:])
        tap.ok("ready 1" in first, f"smtpd {name} is ready", first + [self.complaints()])
        self.clean = 0

    def write_conf(self, file, limits="", extra=""):
        path = os.path.join(self.dir, file)
        blocks = "".join(
            f"listen {n} {{\n\taddress {self.address}:{self.ports[n]}\n\t" +
            text.replace("; ", "\n\t") + "\n}\n" for n, text in self.listeners.items())
        with open(path, "w") as f:
            delay = "" if "auth-delay" in limits else "\tauth-delay 0s\n"
            f.write(f"hostname {HOST}\nlog {{\n\tevents {self.dir}/events\n}}\nlimits {{\n{delay}{limits}\n}}\n{extra}\n{blocks}"
                    "certificate default {\n\tchain /c\n\tkey /k\n}\n")
        return path

    def _read(self):
        for line in self.p.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put("EOF")

    def line(self, seconds=20):
        if self.kept:
            return self.kept.pop(0)
        try:
            return self.lines.get(timeout=seconds)
        except queue.Empty:
            return "(nothing)"

    def until(self, pattern, seconds=20):
        """The next line that matches; those before it are dropped."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            text = self.line(max(0.01, end - time.monotonic()))
            if re.search(pattern, text):
                return text
            if text == "EOF":
                break
        return f"(no line {pattern})"

    def nothing(self, pattern, seconds=0.3):
        """No line of that kind comes in this time."""
        return self.until(pattern, seconds).startswith("(no line")

    def order(self, text, keep=False):
        """Lines in front of the answer are dropped, or kept for later."""
        self.p.stdin.write(text + "\n")
        self.p.stdin.flush()
        if not keep:
            return self.until(re.escape("did " + text))
        before, self.kept = self.kept, []
        while (line := self.line()) not in ("did " + text, "EOF", "(nothing)"):
            before.append(line)
        self.kept = before
        return line

    def stored(self, seconds=20):
        """The next message: its line as a dict; front: what was added, content: what the client sent of it; header and
        body as they are stored."""
        text = self.until("^stored ", seconds)
        m = re.match(r"stored (\d+) (\w+) (.*) to=(.*)$", text)
        if not m:
            return None
        d = dict(x.split("=", 1) for x in m[3].split(" ") if "=" in x)
        with open(os.path.join(self.dir, f"msg.{m[1]}"), "rb") as f:
            data = f.read()
        n = int(d["front"])
        ours = OURS.match(data).end()
        d.update(qid=m[2], to=m[4].split(","), front=data[:ours].decode(), content=data[ours:], header=data[:n],
                 body=data[n:])
        return d

    def complaints(self):
        """What smtpd, a sanitizer or the harness wrote to standard error."""
        with open(os.path.join(self.dir, "stderr"), errors="replace") as f:
            return f.read()

    def unharmed(self, name, port="net"):
        """What every attack must leave (the head of ATTACKS): the process, no word from a sanitizer, and a next
        session that works. The messages stored since the last call, without the one that it sends."""
        self.clean += 1
        mark, others, why = f"<clean-{self.clean}@acme.example>", [], ""
        try:
            with open(f"/proc/{self.pid}/stat") as f:
                if f.read().rpartition(")")[2].split()[0] == "Z":
                    why = "it ended"
            c = self.ready(port)
            got = c.mail(f"From: a@acme.example\r\nMessage-ID: {mark}\r\n\r\n")
            c.close()
            if not got.startswith("250"):
                why = f"a clean session: {got}"
        except OSError as e:
            why = str(e)
        while not why:
            m = self.stored()
            if m is None:
                why = "its message is not stored"
            elif m["message-id"] == mark:
                break
            else:
                others.append(m)
        if "Sanitizer" in self.complaints() or "runtime error" in self.complaints():
            why += self.complaints()
        if why:
            tap.ok(False, f"{name}: harms nobody else", why + self.complaints()[-2000:])
        return others

    def log(self):
        with open(os.path.join(self.dir, "log")) as f:
            return f.read()

    def wait_log(self, pattern, name, seconds=10):
        try:
            wait_for(lambda: re.search(pattern, self.log(), re.M), seconds)
            return tap.ok(True, name)
        except AssertionError:
            return tap.ok(False, name, f"/{pattern}/ not in:\n{self.log()[-3000:]}")

    def connect(self, port="net", greet=True, timeout=20, host=None, source=None):
        return Client(self, port, greet, timeout, host, source)

    def ready(self, port="net", helo="client.test"):
        """A client behind EHLO, STARTTLS and AUTH, as the listener wants it."""
        c = self.connect(port)
        c.cmd(f"EHLO {helo}")
        if port == "submission":
            c.starttls()
            c.cmd(f"EHLO {helo}")
        if port in ("submission", "smtps", "key", "both"):
            c.cmd("AUTH PLAIN " + GOOD)
        return c

    def end(self, status=0, name="smtpd ends clean"):
        self.order("drain 10")
        text = self.until("^exit ")
        tap.ok(text == f"exit {status}", name, f"{text}\n{self.complaints()}")
        self.p.stdin.close()
        self.p.wait(10)


class Client:
    def __init__(self, smtpd, port, greet, timeout, host, source):
        self.s = smtpd
        self.buf = b""
        self.code = 0
        self.sock = socket.create_connection((host or "127.0.0.1", smtpd.ports[port]), timeout,
                                             (source, 0) if source else None)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if port == "smtps":
            self.wrap()
        if greet:
            self.reply()

    def wrap(self):
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ctx.check_hostname = False
        ctx.verify_mode = ssl.CERT_NONE
        self.sock = ctx.wrap_socket(self.sock, server_hostname=HOST)

    def starttls(self):
        self.cmd("STARTTLS")
        self.wrap()

    def send(self, data):
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def reply(self):
        """One reply: its lines joined by newlines; "" at the end of the connection."""
        lines = []
        while True:
            while b"\r\n" not in self.buf:
                try:
                    more = self.sock.recv(65536)
                except (ConnectionResetError, ssl.SSLError):
                    more = b""
                if not more:
                    self.code = 0
                    return "\n".join(lines)
                self.buf += more
            line, self.buf = self.buf.split(b"\r\n", 1)
            lines.append(line.decode("latin-1"))
            if line[3:4] != b"-":
                self.code = int(line[:3])
                return "\n".join(lines)

    def cmd(self, line):
        self.send(line + "\r\n")
        return self.reply()

    def envelope(self, sender="app@acme.example", to=("user@dest.example",)):
        self.cmd(f"MAIL FROM:<{sender}>")
        for rcpt in to:
            self.cmd(f"RCPT TO:<{rcpt}>")
        return self.cmd("DATA")

    def mail(self, content, **kw):
        """A whole message; content without final dot. The last reply."""
        self.envelope(**kw)
        self.send(content)
        return self.cmd(".")

    def closed(self):
        """Nothing but the end of the connection comes."""
        return self.reply() == ""

    def close(self):
        self.sock.close()


def is_reply(got, want, name):
    """want: the beginning of the reply."""
    return tap.ok(got.startswith(want), name, f" got: {got!r}\nwant: {want!r}")
