# SPDX-License-Identifier: ISC
"""A whole Ekiden instance, a name server and scripted SMTP servers for tests, and TAP.

Everything lives in a temporary folder and, as root, in a network namespace of its own, so that
ports 25 and 53 are free and nothing can leave the machine. Every wait has a deadline.
"""

import atexit
import json
import os
import random
import re
import shutil
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
import time

BUILD = os.environ.get("EKIDEN_BUILD") or os.path.abspath("build")
SRC = os.environ.get("EKIDEN_SRC") or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


# --- TAP

class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def ok(self, passed, name, detail=None):
        self.count += 1
        print(f"{'' if passed else 'not '}ok {self.count} - {name}", flush=True)
        if not passed:
            self.failed += 1
            if detail is not None:
                for line in str(detail).splitlines()[-25:]:
                    print(f"#   {line}", flush=True)
        return bool(passed)

    def equal(self, got, want, name):
        return self.ok(got == want, name, f" got: {got!r}\nwant: {want!r}")

    def match(self, text, pattern, name):
        return self.ok(re.search(pattern, text, re.S | re.M), name, f"/{pattern}/ not in:\n{text}")

    def done(self):
        print(f"1..{self.count}", flush=True)
        sys.exit(1 if self.failed else 0)


tap = Tap()


def skip_all(why):
    print(f"1..0 # SKIP {why}")
    sys.exit(0)


def need_root():
    if os.geteuid() != 0:
        skip_all("needs root for a network namespace")


def private_network():
    """Runs the calling script again in a network namespace with only loopback up."""
    need_root()
    if os.environ.get("EKIDEN_TEST_NETNS") != "1":
        os.environ["EKIDEN_TEST_NETNS"] = "1"
        os.execvp("unshare", ["unshare", "-n", sys.executable] + sys.argv)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def wait_for(check, seconds=15.0, what="condition", step=0.02):
    """Polls until check() is true; its value, or an AssertionError at the deadline."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"timeout waiting for {what}")
        time.sleep(step)


_reserved = []


def free_port():
    """Below the range that the kernel gives to clients: it stays free while a suite is down. Tests that run at the same
    time pick before anybody listens, so the port is this process's by a name: two that listen on one port with
    SO_REUSEPORT get each other's clients."""
    while True:
        port = random.randint(10000, 32000)
        name = socket.socket(socket.AF_UNIX)
        with socket.socket() as s:
            try:
                name.bind(f"\0ekiden-test-port-{port}")
                s.bind(("127.0.0.1", port))
            except OSError:
                name.close()
                continue
        _reserved.append(name)
        return port


# --- Processes

class Process:
    """A child that ends with the test, by pid."""

    def __init__(self, argv, **kw):
        self.p = subprocess.Popen(argv, **kw)
        atexit.register(self.end)

    def end(self, sig=signal.SIGTERM, seconds=20):
        if self.p.poll() is None:
            self.p.send_signal(sig)
            try:
                self.p.wait(seconds)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()
        return self.p.returncode


_folder = None


def folder():
    """This test's temporary folder; kept when EKIDEN_KEEP is set."""
    global _folder
    if _folder is None:
        _folder = tempfile.mkdtemp(prefix="ekiden-t.")
        os.chmod(_folder, 0o755)
        if not os.environ.get("EKIDEN_KEEP"):
            atexit.register(shutil.rmtree, _folder, ignore_errors=True)
    return _folder


def make_certificate(name="mta.test"):
    base = os.path.join(folder(), name)
    if not os.path.exists(base + ".key"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "30", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
             "-keyout", base + ".key", "-out", base + ".crt"],
            check=True, stderr=subprocess.DEVNULL)
        os.chmod(base + ".key", 0o600)
    return base + ".crt", base + ".key"


# --- The name server

class Nsd:
    """nsd (Debian) on 127.0.0.1 with zone texts: {"example.test": "@ IN MX 10 mx\\n..."}"""

    def __init__(self, zones, port=53):
        self.port = port
        self.dir = os.path.join(folder(), "nsd")
        os.makedirs(self.dir, exist_ok=True)
        self.conf = os.path.join(self.dir, "nsd.conf")
        self.serial = 1
        self.zones = dict(zones)
        self._write()
        self.proc = Process(["nsd", "-d", "-c", self.conf], stdout=subprocess.DEVNULL,
                            stderr=open(os.path.join(self.dir, "err"), "w"))
        wait_for(self._up, what="nsd")

    def _write(self):
        names = ""
        for zone, text in self.zones.items():
            path = os.path.join(self.dir, zone + "zone")
            with open(path, "w") as f:
                f.write(f"$ORIGIN {zone}.\n$TTL 60\n@ IN SOA ns hostmaster {self.serial} 60 60 600 1\n"
                        f"@ IN NS ns\nns IN A 127.0.0.1\n{text}\n")
            names += f'zone:\n name: "{zone}"\n zonefile: "{path}"\n'
        with open(self.conf, "w") as f:
            f.write(f'server:\n ip-address: 127.0.0.1\n port: {self.port}\n username: ""\n chroot: ""\n'
                    f' database: ""\n zonesdir: "{self.dir}"\n pidfile: "{self.dir}/pid"\n'
                    f' xfrdfile: "{self.dir}/xfrd"\n zonelistfile: "{self.dir}/zonelist"\n'
                    f' xfrdir: "{self.dir}"\n server-count: 1\n'
                    f'remote-control:\n control-enable: no\n{names}')

    def _up(self):
        zone = next(iter(self.zones))
        query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + b"".join(
            bytes([len(part)]) + part.encode() for part in zone.split(".")) + b"\0\0\x06\0\x01"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.2)
            try:
                s.sendto(query, ("127.0.0.1", self.port))
                return s.recv(512)[3] & 15 == 0
            except OSError:
                return False

    def end(self):
        self.proc.end()


# --- Scripted SMTP server

class Sink(socketserver.ThreadingTCPServer):
    """Takes mail. reply(stage, argument, session) may return a reply line, "close", "hang" or None.

    stage: connect, ehlo, helo, starttls, auth, mail, rcpt, data, eod, rset, quit. Messages are in
    .messages as dicts: sender, rcpts, data (bytes, unstuffed), helo, tls, auth, peer.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host="127.0.0.1", port=0, reply=None, tls=None, auth=None, ehlo=("PIPELINING",
                 "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 50000000")):
        self.reply = reply or (lambda stage, arg, session: None)
        self.messages, self.lock, self.connections = [], threading.Lock(), 0
        self.tls_context = None
        self.auth, self.ehlo = auth, list(ehlo)
        if tls:
            self.tls_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls_context.load_cert_chain(*tls)
        super().__init__((host, port), SinkSession)
        self.port = self.server_address[1]
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()
        atexit.register(self.shutdown)

    def handle_error(self, request, client_address):
        pass

    def wait(self, count, seconds=20):
        wait_for(lambda: len(self.messages) >= count, seconds, f"{count} messages, have "
                 f"{len(self.messages)}")
        return self.messages


class SinkSession(socketserver.StreamRequestHandler):
    def say(self, line):
        self.wfile.write(line.encode() + b"\r\n")
        self.wfile.flush()

    def answer(self, stage, arg, default):
        line = self.server.reply(stage, arg, self)
        if line == "hang":
            time.sleep(3600)
        if line == "close":
            raise ConnectionError
        line = line or default
        if line:
            self.say(line)
        return (line or "2")[0]

    def handle(self):
        with self.server.lock:
            self.server.connections += 1
            self.number = self.server.connections
        self.helo, self.tls, self.user, self.sender, self.rcpts = "", False, None, None, []
        self.log = []
        try:
            if self.answer("connect", "", "220 sink.test ESMTP") != "2":
                return
            while self.command():
                pass
        except (ConnectionError, OSError, ValueError):
            pass

    def command(self):
        line = self.rfile.readline(5000)
        if not line:
            return False
        text = line.decode("latin-1").rstrip("\r\n")
        self.log.append(text)
        verb, _, arg = text.partition(" ")
        handler = getattr(self, "do_" + verb.lower(), None)
        if handler is None:
            self.say("500 5.5.1 unknown")
            return True
        return handler(arg) is not False

    def do_ehlo(self, arg):
        self.helo = arg
        words = list(self.server.ehlo)
        if self.server.tls_context and not self.tls:
            words.append("STARTTLS")
        if self.server.auth and self.tls:
            words.append("AUTH PLAIN LOGIN")
        lines = ["sink.test"] + words
        self.answer("ehlo", arg, "\r\n".join(
            f"250{' ' if i == len(lines) - 1 else '-'}{w}" for i, w in enumerate(lines)))

    def do_helo(self, arg):
        self.helo = arg
        self.answer("helo", arg, "250 sink.test")

    def do_starttls(self, arg):
        if self.answer("starttls", arg, "220 2.0.0 go") != "2":
            return
        self.request = self.server.tls_context.wrap_socket(self.request, server_side=True)
        self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb")
        self.tls, self.helo = True, ""

    def do_auth(self, arg):
        import base64
        method, _, initial = arg.partition(" ")
        if method.upper() == "PLAIN":
            if not initial:
                self.say("334 ")
                initial = self.rfile.readline(5000).decode().strip()
            user, secret = base64.b64decode(initial).split(b"\0")[1:]
        else:
            self.say("334 VXNlcm5hbWU6")
            user = base64.b64decode(self.rfile.readline(5000))
            self.say("334 UGFzc3dvcmQ6")
            secret = base64.b64decode(self.rfile.readline(5000))
        good = (user.decode(), secret.decode()) == self.server.auth
        if good:
            self.user = user.decode()
        self.answer("auth", arg, "235 2.7.0 ok" if good else "535 5.7.8 no")

    def do_mail(self, arg):
        if self.answer("mail", arg, "250 2.1.0 ok") == "2":
            self.sender, self.rcpts, self.mail_arg = re.search("<(.*?)>", arg).group(1), [], arg

    def do_rcpt(self, arg):
        if self.answer("rcpt", arg, "250 2.1.5 ok") == "2":
            self.rcpts.append(re.search("<(.*)>", arg).group(1))

    def do_data(self, arg):
        if not self.rcpts:
            self.say("554 5.5.1 no valid recipients")
            return
        if self.answer("data", arg, "354 go") != "3":
            return
        lines = []
        while True:
            line = self.rfile.readline(200000)
            if not line:
                raise ConnectionError
            if line == b".\r\n":
                break
            lines.append(line[1:] if line.startswith(b".") else line)
        message = dict(sender=self.sender, rcpts=list(self.rcpts), data=b"".join(lines), helo=self.helo,
                       tls=self.tls, auth=self.user, peer=self.client_address[0],
                       connection=self.number, mail=self.mail_arg)
        self.rcpts = []
        self.message = message
        if self.answer("eod", message, None if self.server.reply("hold-eod", message, self) else
                       "250 2.0.0 Ok: taken") == "2":
            with self.server.lock:
                self.server.messages.append(message)

    def do_rset(self, arg):
        self.rcpts = []
        self.answer("rset", arg, "250 2.0.0 ok")

    def do_noop(self, arg):
        self.say("250 2.0.0 ok")

    def do_quit(self, arg):
        self.answer("quit", arg, "221 2.0.0 bye")
        return False


# --- The suite

class Suite:
    """One instance: .mx, .submission, .smtps ports on 127.0.0.1, .mtactl(), .log()."""

    def __init__(self, extra="", listeners=None, dns_port=53, start=True, name="inst", user=None):
        self.user = user  # run as this uid: the ordinary user's mode
        self.dir = os.path.join(folder(), name)
        os.makedirs(self.dir, exist_ok=True)
        self.conf = os.path.join(self.dir, "ekiden.conf")
        self.logfile = os.path.join(self.dir, "mail.log")
        self.mx, self.submission, self.smtps, self.plain = (free_port() for _ in range(4))
        self.certificate = crt, key = make_certificate(f"{name}.mta.test")
        if listeners is None:
            listeners = f"""
listen mx {{ address 127.0.0.1:{self.mx}; tls starttls; auth optional; reverse-lookup no; }}
listen submission {{ address 127.0.0.1:{self.submission}; tls starttls; auth required; reverse-lookup no; }}
listen smtps {{ address 127.0.0.1:{self.smtps}; tls implicit; auth required; reverse-lookup no; }}
"""
        self.base = f"""
hostname mta.test
state-dir {self.dir}/state
spool-dir {self.dir}/spool
run-dir {self.dir}/run
uid-base 61500
smtpd-processes 2
smtp-processes 2
certificate default {{ chain {crt}; key {key}; }}
resolver {{ server 127.0.0.1:{dns_port}; dnssec no; timeout 5s; }}
spool {{ segment-size 8M; }}
log {{ file {self.logfile}; level debug; }}
"""
        self.listeners = listeners
        self.write(extra)
        self.proc = None
        if start:
            self.start()

    def write(self, extra=""):
        with open(self.conf, "w") as f:
            f.write(self.base + self.listeners + extra)
        os.chmod(self.conf, 0o644)

    def start(self, seconds=20):
        self.stderr = open(os.path.join(self.dir, "stderr"), "a")
        if self.user:
            for path in (self.dir, self.conf, *self.certificate):
                os.chown(path, self.user, self.user)
        self.proc = Process([f"{BUILD}/master/ekiden", "-f", "-c", self.conf], stdout=self.stderr,
                            stderr=self.stderr, user=self.user, group=self.user,
                            extra_groups=[] if self.user else None)
        try:
            wait_for(lambda: self.proc.p.poll() is not None or
                     self.mtactl("status", check=False).returncode == 0, seconds, "the suite to start")
        except AssertionError as e:
            self.bail(str(e))
        if self.proc.p.poll() is not None:
            self.bail(f"ekiden ended with {self.proc.p.returncode}")
        return self

    def bail(self, why):
        print(f"# {why}\n# " + "\n# ".join(self.log().splitlines()[-40:] +
              open(os.path.join(self.dir, "stderr")).read().splitlines()[-40:]))
        print(f"Bail out! {why}")
        sys.exit(1)

    def stop(self):
        return self.proc.end()

    def kill9(self):
        """SIGKILL to master and all its daemons, as one power cut of the processes."""
        pids = self.pids()
        for pid in [self.proc.p.pid] + [p for p, _ in pids]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.proc.p.wait()

    def pids(self, role=None):
        """(pid, role) of the daemons."""
        found = []
        me = str(self.proc.p.pid)
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                stat = open(f"/proc/{pid}/stat").read()
                ppid = stat.rpartition(")")[2].split()[1]
                exe = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
            except OSError:
                continue
            if ppid == me and (role is None or exe == role):
                found.append((int(pid), exe))
        return found

    def mtactl(self, *args, check=True, stdin=None, json_rows=False):
        r = subprocess.run([f"{BUILD}/mtactl/mtactl", "-c", self.conf] + (["-j"] if json_rows else []) +
                           list(args), capture_output=True, text=True, input=stdin, timeout=60)
        if check and r.returncode:
            raise AssertionError(f"mtactl {' '.join(args)}: exit {r.returncode}: {r.stderr}{r.stdout}")
        if json_rows:
            return [json.loads(line) for line in r.stdout.splitlines()]
        return r

    def tenant(self, tenant="acme", user="app1", domain="sender.test"):
        """Makes a tenant with a key and a verified domain; the secret."""
        self.mtactl("tenant", "add", tenant, "--enabled")
        self.mtactl("domain", "add", tenant, domain, "--verified")
        rows = self.mtactl("key", "issue", tenant, user, json_rows=True)
        return rows[0]["secret"]

    def log(self):
        try:
            return open(self.logfile, errors="replace").read()
        except FileNotFoundError:
            return ""

    def wait_log(self, pattern, seconds=15):
        try:
            return wait_for(lambda: re.search(pattern, self.log(), re.M), seconds, f"log /{pattern}/")
        except AssertionError:
            return None

    def queue_count(self):
        return self.mtactl("queue", "count", json_rows=True)[0]


def client_context():
    c = ssl.create_default_context()
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    return c


def mail(subject="test", sender="a@sender.test", to="b@rcpt.test", body="Hello\r\n", extra=""):
    return (f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\n"
            f"Date: Sun, 22 Nov 2026 12:00:00 +0900\r\nMessage-ID: <{subject}.{time.time_ns()}@sender.test>"
            f"\r\n{extra}\r\n{body}")


def submit(suite, secret, sender="a@sender.test", rcpts=("b@rcpt.test",), user="app1", data=None, **kw):
    """Python smtplib through STARTTLS and AUTH; the reply to the message as (code, text)."""
    import smtplib
    s = smtplib.SMTP("127.0.0.1", suite.submission, timeout=30, local_hostname="client.test")
    s.starttls(context=client_context())
    s.login(user, secret)
    code, text = s.mail(sender)
    if code == 250:
        for r in rcpts:
            code, text = s.rcpt(r)
        code, text = s.data(data if data is not None else mail(sender=sender, to=rcpts[0], **kw))
    s.quit()
    return code, text.decode()
