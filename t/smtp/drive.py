# SPDX-License-Identifier: ISC
"""One daemon under test, driven frame by frame through t/smtp/harness, and TAP. Every wait ends."""

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

SRC = os.environ.get("EKIDEN_SRC") or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("EKIDEN_BUILD") or os.path.join(SRC, "build")
ROLES = {"smtpd": 1, "authd": 2, "signd": 3, "qmgr": 4, "smtp": 5, "bounce": 6, "dnsd": 7}

RCPT_SENT, RCPT_DEFERRED, RCPT_BOUNCED, RCPT_AGAIN, RCPT_DAMAGED = 1, 2, 3, 4, 5
CONN_IDLE, CONN_FAILED, CONN_REFUSED, CONN_SOURCE = 0, 1, 2, 3
EVENT_NONE, EVENT_RESET, EVENT_REFUSED, EVENT_TIMEOUT = 0, 1, 2, 3
(STAGE_NONE, STAGE_DNS, STAGE_CONNECT, STAGE_GREETING, STAGE_EHLO, STAGE_TLS, STAGE_AUTH, STAGE_MAIL, STAGE_RCPT,
 STAGE_DATA, STAGE_EOD) = range(11)
TLS_NONE, TLS_MAY, TLS_ENCRYPT, TLS_VERIFY = 0, 1, 2, 3
DNS_OK, DNS_NXDOMAIN, DNS_NODATA, DNS_NULLMX, DNS_TEMP, DNS_BOGUS = 0, 1, 2, 3, 4, 5


class Tap:
    count = failed = 0

    def ok(self, passed, name, detail=None):
        self.count += 1
        print(f"{'' if passed else 'not '}ok {self.count} - {name}", flush=True)
        if not passed:
            self.failed += 1
            if detail is not None:
                for line in str(detail).splitlines()[-40:]:
                    print(f"#   {line}", flush=True)
        return bool(passed)

    def equal(self, got, want, name):
        return self.ok(got == want, name, f" got: {got!r}\nwant: {want!r}")

    def match(self, text, pattern, name):
        return self.ok(re.search(pattern, text, re.S), name, f"/{pattern}/ not in:\n{text}")

    def done(self):
        print(f"1..{self.count}", flush=True)
        sys.exit(1 if self.failed else 0)


tap = Tap()


def skip_all(why):
    print(f"1..0 # SKIP {why}")
    sys.exit(0)


PLAIN = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@:/+"


def esc(value):
    """A value for the harness: percent-encoded bytes, numbers, or a list of records."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return "".join("[" + ",".join(f"{k}={esc(v)}" for k, v in r.items()) + "]" for r in value)
    if isinstance(value, str):
        value = value.encode()
    return "".join(chr(c) if c in PLAIN else f"%{c:02x}" for c in value)


def ip(text):
    """An address as the harness prints one in a blob."""
    import ipaddress
    return ipaddress.ip_address(text).packed.hex()


class Timeout(Exception):
    pass


class Drive:
    def __init__(self, role, conf, material=(), peers=()):
        self.dir = tempfile.mkdtemp(prefix=f"ekiden-{role}-")
        atexit.register(self.stop)
        self.log_path = os.path.join(self.dir, "log")
        self.got = []
        self.cond = threading.Condition()
        self.exit = None
        program = os.path.join(BUILD, role, role)
        harness = os.path.join(BUILD, "t/smtp/harness")
        for needed in (program, harness):
            if not os.access(needed, os.X_OK):
                skip_all(f"{needed} is not built")
        self.err = open(os.path.join(self.dir, "stderr"), "w+b")
        self.proc = subprocess.Popen([harness, program], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=self.err)
        threading.Thread(target=self._read, daemon=True).start()
        self.send("master", "setup", role=ROLES[role], instances=1, dir=self.dir)
        self.configure(conf, material, peers)
        self.expect("master", "ready")

    def configure(self, conf, material=(), peers=()):
        self.send("master", "config", memfd=conf, serial=1)
        self.send("master", "log", fd=self.log_path, kind=0)
        self.send("master", "log", fd=self.log_path + ".events", kind=2)
        for name, kw in material:
            self.send("master", name, **kw)
        for peer in peers:
            self.peer(peer)
        self.send("master", "apply", serial=1)

    def _line(self, text):
        self.proc.stdin.write(text.encode() + b"\n")
        self.proc.stdin.flush()

    def peer(self, role, instance=0):
        self._line(f"peer {role} {instance} {role}")

    def admin(self, name, command, **args):
        """A control connection with one call."""
        self._line(f"admin {name}")
        self.send(name, "ctl_call", command=command,
                  args=[{"name": k, "value": str(v)} for k, v in args.items()])

    def rows(self, name, timeout=0.0, until=None):
        """The rows of a call so far as dicts, or from now on up to one that until(row) is true for."""
        found, end = [], time.monotonic() + timeout
        while True:
            with self.cond:
                mine = [e for e in self.got if e["on"] == name and e["msg"] == "ctl_row"]
                self.got = [e for e in self.got if e not in mine]
                found += [{f["name"]: bytes.fromhex(f["value"]).decode("utf-8", "replace")
                           for f in e["m"]["fields"]} for e in mine]
                if until is None or any(until(r) for r in found):
                    return found
                left = end - time.monotonic()
                if left <= 0 or self.exit is not None:
                    raise Timeout(f"no such row; have {found[-5:]}\n{self.stderr()}")
                self.cond.wait(left)

    def pause(self, name):
        """Nothing is read from this channel any more."""
        self._line(f"pause {name}")

    def resume(self, name):
        self._line(f"resume {name}")

    def close(self, name):
        self._line(f"close {name}")

    def send(self, on, message, memfd=None, fd=None, **fields):
        words = ["send", on, message]
        if memfd is not None:
            words.append("!memfd=" + esc(memfd))
        if fd is not None:
            words.append("!fd=" + fd)
        words += [f"{k}={esc(v)}" for k, v in fields.items()]
        self._line(" ".join(words))

    def _read(self):
        for line in self.proc.stdout:
            event = json.loads(line)
            with self.cond:
                if event["msg"] == "exit":
                    self.exit = event["m"]
                self.got.append(event)
                self.cond.notify_all()
        with self.cond:
            self.exit = self.exit or {"status": None}
            self.cond.notify_all()

    def expect(self, on, message, timeout=20, **match):
        """Takes the first such frame, now or later."""
        end = time.monotonic() + timeout
        with self.cond:
            while True:
                for i, e in enumerate(self.got):
                    if e["on"] == on and e["msg"] == message and \
                            all(e["m"].get(k) == v for k, v in match.items()):
                        return self.got.pop(i)["m"]
                left = end - time.monotonic()
                if left <= 0 or self.exit is not None:
                    raise Timeout(f"no {message} {match} from the daemon; exit {self.exit}; "
                                  f"have {self.got[-5:]}\n{self.stderr()}\n{self.log()[-1500:]}")
                self.cond.wait(left)

    def none(self, on, message, seconds, **match):
        """No such frame within this time."""
        try:
            self.expect(on, message, seconds, **match)
            return False
        except Timeout:
            return self.exit is None

    def log(self):
        try:
            with open(self.log_path) as f:
                return f.read()
        except OSError:
            return ""

    def events(self):
        with open(self.log_path + ".events") as f:
            return [json.loads(line) for line in f]

    def wait_log(self, pattern, timeout=10):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if re.search(pattern, self.log(), re.S):
                return True
            time.sleep(0.02)
        return False

    def stderr(self):
        self.err.flush()
        with open(self.err.name, errors="replace") as f:
            return f.read()[-6000:]

    def alive(self):
        return self.exit is None

    def finish(self):
        """The daemon drains and leaves cleanly, without a word from a sanitizer."""
        if self.exit is None:
            self.send("master", "drain", deadline_s=20)
            try:
                self.expect("", "exit", 25)
            except Timeout:
                pass
        if not tap.ok(self.exit and self.exit.get("status") == 0 and self.exit.get("signal") == 0,
                      "the process drains and ends cleanly", f"{self.exit}\n{self.stderr()}"):
            return
        tap.ok("Sanitizer" not in self.stderr() and "runtime error" not in self.stderr(),
               "no sanitizer report", self.stderr())

    def stop(self):
        if self.proc.poll() is None:
            try:
                self.proc.stdin.close()
                self.proc.wait(10)
            except (OSError, subprocess.TimeoutExpired):
                self.proc.kill()
        shutil.rmtree(self.dir, ignore_errors=True)
