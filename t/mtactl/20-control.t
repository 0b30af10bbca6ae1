#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""mtactl against a scripted suite: the conversation, rows as tables and as JSON, failures."""
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import BUILD, tap  # noqa: E402

HELLO, OPEN, CALL, ARGS, ROW, END = 0x0001, 0x0f01, 0x0f02, 0x0f03, 0x1001, 0x1002
TEXT, NUMBER, TIME, BOOL, LIST = range(5)
ROLES = ["master", "smtpd", "authd", "signd", "qmgr"]
MTACTL = f"{BUILD}/mtactl/mtactl"
work = tempfile.TemporaryDirectory(prefix="ekiden-mtactl-")
os.mkdir(f"{work.name}/run")
conf = f"{work.name}/ekiden.conf"
with open(conf, "w") as f:
    f.write(f"run-dir {work.name}/run\n")
os.chmod(conf, 0o644)


def block(b):
    return struct.pack(">I", len(b)) + b


def frame(kind, body, flags=0):
    return struct.pack(">IHH", len(body), kind, flags) + body


def field(name, kind, value):
    if isinstance(value, list):
        value = b"".join(block(v) for v in value)
    elif isinstance(value, (int, bool)):
        value = str(int(value)).encode()
    return block(name.encode()) + bytes([kind]) + block(value)


def row(*fields):
    return frame(ROW, block(b"".join(field(*f) for f in fields)))


def end(status=0, text=b""):
    return frame(END, bytes([status]) + block(text))


class Fake:
    """One control connection: .role, .command, .args as they came; answers with `reply` bytes."""

    def __init__(self, reply, greeting=None, close_early=False):
        self.reply, self.greeting, self.close_early = reply, greeting, close_early
        self.role = self.command = None
        self.args, self.frames, self.early = [], 0, b""
        path = f"{work.name}/run/control"
        if os.path.exists(path):
            os.unlink(path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.listener.settimeout(20)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def read(self, sock):
        def exactly(n):
            data = b""
            while len(data) < n:
                part = sock.recv(n - len(data))
                if not part:
                    raise EOFError
                data += part
            return data
        size, kind, _ = struct.unpack(">IHH", exactly(8))
        return kind, exactly(size)

    def take(self, blob):
        while blob:
            n, = struct.unpack(">I", blob[:4])
            name, blob = blob[4:4 + n].decode(), blob[4 + n:]
            n, = struct.unpack(">I", blob[:4])
            self.args.append((name, blob[4:4 + n].decode()))
            blob = blob[4 + n:]

    def serve(self):
        try:
            sock, _ = self.listener.accept()
            sock.settimeout(20)
            kind, digest = self.read(sock)
            assert kind == HELLO
            kind, role = self.read(sock)
            assert kind == OPEN
            self.role = ROLES[role[0]]
            if self.close_early:
                sock.close()
                return
            # Nothing more may come before the daemon's greeting: master would lose it.
            sock.settimeout(0.1)
            try:
                self.early = sock.recv(100)
            except socket.timeout:
                pass
            sock.settimeout(20)
            sock.sendall(self.greeting if self.greeting is not None else frame(HELLO, digest))
            kind, again = self.read(sock)
            assert (kind, again) == (HELLO, digest)
            more = True
            while more:
                kind, body = self.read(sock)
                self.frames += 1
                if kind == CALL:
                    n, = struct.unpack(">I", body[:4])
                    self.command, body = body[4:4 + n].decode(), body[4 + n:]
                else:
                    assert kind == ARGS
                more, body = body[0], body[1:]
                self.take(body[4:])
            sock.sendall(self.reply)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
        except (EOFError, OSError):
            pass


def run(reply, *args, stdin="", **kw):
    fake = Fake(reply, **kw)
    r = subprocess.run([MTACTL, "-c", conf] + list(args), input=stdin, text=True, capture_output=True, timeout=30,
                       env=dict(os.environ, TZ="Asia/Tokyo"))
    fake.thread.join(20)
    fake.listener.close()
    r.fake = fake
    return r


# The conversation
r = run(end(), "key", "issue", "acme", "app1", "--note=a b")
tap.equal((r.returncode, r.stdout, r.stderr), (0, "", ""), "done, without words")
tap.equal((r.fake.role, r.fake.command, r.fake.args),
          ("authd", "key issue", [("tenant", "acme"), ("user", "app1"), ("note", "a b")]),
          "the daemon of the command gets the arguments by name")
tap.equal(r.fake.early, b"", "nothing is sent before the daemon's greeting")
tap.equal(run(end(), "status").fake.role, "master", "status is master's")
r = run(end(), "queue", "hold", "A", "--id=B", "--id", "C", "-j", "--tenant", "t")
tap.equal((r.fake.role, r.fake.args), ("qmgr", [("id", "A"), ("id", "B"), ("id", "C"), ("tenant", "t")]),
          "IDs as words and options")
r = run(end(), "queue", "release", "--all", "--yes")
tap.equal(r.fake.args, [("all", ""), ("yes", "")], "flags")
r = run(end(), "queue", "show", "--", "-x")
tap.equal(r.fake.args, [("id", "-x")], "-- ends the options")
ids = [f"ID{i:06d}" for i in range(20000)]
r = run(end(), "queue", "delete", "-", stdin="\r\n".join(ids) + "\n\n")
tap.equal(r.returncode, 0, "20,000 IDs on standard input")
tap.equal([v for _, v in r.fake.args], ids, "all of them arrive")
tap.ok(r.fake.frames > 3, f"in {r.fake.frames} frames")

# People read tables
two = (row(("tenant", TEXT, b"acme"), ("size", NUMBER, 5), ("enabled", BOOL, True), ("since", TIME, 1700000000123456)) +
       row(("tenant", TEXT, "t\u00e4st-longer".encode()), ("size", NUMBER, 12345), ("enabled", BOOL, False),
           ("since", TIME, b"")))
r = run(two + end(), "tenant", "list")
tap.equal(r.stdout, "TENANT        SIZE  ENABLED  SINCE\n"
                    "acme             5  yes      2023-11-15T07:13:20+09:00\n"
                    "t\u00e4st-longer  12345  no       -\n", "a list is an aligned table; times are local")
one = row(("user", TEXT, b"app1"), ("secret", TEXT, b"s3:cret"))
r = run(one + end(), "key", "issue", "acme", "app1")
tap.equal(r.stdout, "user: app1\nsecret: s3:cret\n", "A6 key issue: user: and secret:")
tap.equal(run(one + end(), "key", "list").stdout, "USER  SECRET\napp1  s3:cret\n", "one row of a list is a table")
r = run(row(("id", TEXT, b"X"), ("size", NUMBER, 1)) + row(("rcpt", TEXT, b"a@b")) + row(("rcpt", TEXT, b"c@d")) +
        row(("content", TEXT, b"Subject: x\r\n\r\nHe\x1bllo")) + row(("content", TEXT, b", you\r\n")) + end(),
        "queue", "show", "X", "--content")
tap.equal(r.stdout, "id: X\nsize: 1\n\nRCPT\na@b\nc@d\n\nSubject: x\n\nHe\\033llo, you\n",
          "one thing, its table, and a text")
r = run(row(("a", TEXT, b"x\x1b[31m\r\ny"), ("b", TEXT, b"\xff\xe4"), ("c", TEXT, b"\xc2\x9b1m"), ("d", TEXT, b""),
            ("e", LIST, [b"one", b"t\nwo"])) + end(), "tenant", "show", "x")
tap.equal(r.stdout, "a: x\\033[31m\\015\\012y\nb: \\377\\344\nc: \\302\\2331m\nd: -\ne: one, t\\012wo\n",
          "atk-J8 control characters never reach the terminal")
many = b"".join(row(("n", NUMBER, i), ("t", TEXT, b"x" * (i % 7))) for i in range(5000))
r = run(many + end(), "queue", "list")
tap.equal(len(r.stdout.splitlines()), 5001, "a long list")
tap.equal(r.stdout.splitlines()[5000].split()[0], "4999", "to its end")

# Programs read JSON
r = run(two + row(("list", LIST, [b"a", b"b\""])) + row(("bytes", TEXT, b"\xff\"\\\n\x00")) + end(), "-j", "tenant", "list")
rows = [json.loads(line) for line in r.stdout.splitlines()]
tap.equal(rows, [{"tenant": "acme", "size": 5, "enabled": True, "since": "2023-11-14T22:13:20.123Z"},
                 {"tenant": "t\u00e4st-longer", "size": 12345, "enabled": False, "since": None},
                 {"list": ["a", "b\""]}, {"bytes": "\ufffd\"\\\n\0"}], "-j: one object a line, with types")
rows = [json.loads(line) for line in run(one + end(), "-j", "key", "issue", "a", "b").stdout.splitlines()]
tap.equal(rows, [{"user": "app1", "secret": "s3:cret"}], "A6 key issue as JSON")
tap.equal(len(run(many + end(), "queue", "list", "-j").stdout.splitlines()), 5000, "a long list")

# Results
r = run(end(1, b"there is no tenant x"), "tenant", "show", "x")
tap.equal((r.returncode, r.stdout, r.stderr), (1, "", "mtactl: there is no tenant x\n"), "a failure is told")
r = run(end(2, b"a tenant's name has letters"), "tenant", "add", "x y")
tap.equal((r.returncode, r.stderr), (2, "mtactl: a tenant's name has letters\n"), "wrong use as the daemon sees it")
tap.equal(run(end(77), "status").returncode, 1, "no other exit status")
r = run(end(0, b"3 held"), "queue", "hold", "X")
tap.equal((r.returncode, r.stdout), (0, "3 held\n"), "a success may have words")
tap.equal(run(end(0, b"3 held"), "-j", "queue", "hold", "X").stdout, "", "not in JSON")
r = run(one, "key", "show", "x")
tap.equal((r.returncode, r.stdout), (1, "user: app1\nsecret: s3:cret\n"), "an end before the end is a failure")
tap.ok("connection closed" in r.stderr, "which is told", r.stderr)

# A suite that is not what it should be
r = run(b"", "tenant", "list", greeting=frame(HELLO, b"12345678"))
tap.ok(r.returncode == 1 and "of another version" in r.stderr, "another version", r.stderr)
r = run(b"", "tenant", "list", greeting=end(1, b"authd is not running at the moment"))
tap.equal((r.returncode, r.stderr), (1, "mtactl: authd is not running at the moment\n"), "a daemon that is down")
r = run(b"", "tenant", "list", close_early=True)
tap.ok(r.returncode == 1 and "refused the connection" in r.stderr, "a refused connection", r.stderr)
for what, bad in [("an unknown frame", frame(0x7777, b"")), ("a frame of another channel", frame(0x0601, b"\0" * 24)),
                  ("a cut row", frame(ROW, block(b"\0\0\0\x01"))), ("a number that is none", row(("n", NUMBER, b"x"))),
                  ("a name with a quote", row(('a":1,"b', TEXT, b"x"))), ("an unknown type", row(("a", 9, b"x"))),
                  ("an over-long frame", struct.pack(">IHH", 1 << 30, ROW, 0)),
                  ("65 fields", row(*[(f"f{i}", NUMBER, i) for i in range(65)]))]:
    for options in ([], ["-j"]):
        r = run(bad + end(), "tenant", "list", *options)
        tap.ok(r.returncode == 1 and r.stdout == "" and re.match("mtactl: authd", r.stderr), f"atk-I12 {what}", r)
tap.done()
