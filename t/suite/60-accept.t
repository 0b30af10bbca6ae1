#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""What an administrator relies on: hardened programs, install, service manager, system log, a full
disk, a damaged spool, mail that grows too old, TLS policies, IPv6, and the event stream."""
import base64
import glob
import json
import os
import re
import shutil
import smtplib
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

# A mount namespace as well: for a small file system, and a /dev with a system log of our own.
need_root()
if os.environ.get("EKIDEN_TEST_NETNS") != "1":
    os.environ["EKIDEN_TEST_NETNS"] = "1"
    os.execvp("unshare", ["unshare", "-nm", "--propagation", "private", sys.executable] + sys.argv)
private_network()

# --- The programs and the sources

PROGRAMS = [f"{BUILD}/master/ekiden", f"{BUILD}/mtactl/mtactl"] + [
    f"{BUILD}/{d}/{d}" for d in ("smtpd", "authd", "signd", "qmgr", "smtp", "bounce", "dnsd")]


def readelf(*args):
    return subprocess.run(["readelf", "-W", *args], capture_output=True, text=True, check=True).stdout


for program in PROGRAMS:
    name, symbols = os.path.basename(program), readelf("-s", program)
    if "__asan_init" in symbols:
        break
    dynamic, segments = readelf("-d", program), readelf("-l", program)
    tap.ok("Position-Independent" in readelf("-h", program) and "GNU_RELRO" in segments and
           re.search(r"FLAGS_1.*NOW.*PIE", dynamic) and not re.search("GNU_STACK.*RWE", segments),
           f"{name}: PIE, full RELRO, no executable stack", dynamic + segments)
    tap.ok("__stack_chk_fail" in symbols and re.search(r"__\w+_chk@", symbols),
           f"{name}: stack protector, FORTIFY")
    if os.uname().machine == "x86_64":
        tap.match(readelf("-n", program), "x86 feature: .*SHSTK", f"{name}: CET shadow stack")

bare = []
for top, folders, names in os.walk(SRC):
    folders[:] = [d for d in folders if not d.startswith(("build", "__pycache__", "autom4te")) and
                  d not in (".git", "run", "corpus", "found")]
    for name in names:
        path = os.path.join(top, name)
        if name in ("LICENSE", "configure", "configure~") or name.endswith((".o", ".d", ".a", ".pyc")):
            continue
        with open(path, "rb") as f:
            if b"SPDX-License-Identifier: ISC" not in f.read(300):
                bare.append(os.path.relpath(path, SRC))
tap.equal(bare, [], "every source file names its licence")

if os.path.exists(f"{BUILD}/Makefile"):
    dest = os.path.join(folder(), "dest")
    r = subprocess.run(["make", "-C", BUILD, "-o", "all", "install", f"DESTDIR={dest}"], capture_output=True, text=True)
    installed = {os.path.basename(p) for p in glob.glob(dest + "/**", recursive=True) if os.path.isfile(p)}
    tap.ok(r.returncode == 0 and {os.path.basename(p) for p in PROGRAMS} < installed,
           "make install DESTDIR= puts every program there", r.stderr)
    conf = glob.glob(dest + "/**/ekiden.conf", recursive=True)[0][len(dest):]
    page = open(glob.glob(dest + "/**/ekiden.8", recursive=True)[0]).read()
    tap.ok(conf in page, "the installed manual names the installed configuration", page)

# --- One name server and the hosts of the world

ns = Nsd({
    "rcpt.test": "@ IN MX 10 mx\nmx IN A 127.0.0.2\nsix IN MX 1 h6\nh6 IN AAAA ::1",
    "plain.test": "@ IN MX 10 mx\nmx IN A 127.0.0.3",
    "sender.test": "@ IN MX 5 in\nin IN A 127.0.0.4",
    "other.test": "@ IN MX 1 mx\nmx IN A 127.0.0.5",
})


def behave(stage, arg, session):
    if stage == "rcpt" and ("later" in arg or not session.server.open):
        return "450 4.2.1 later"
    return None


class Sink6(Sink):
    address_family = socket.AF_INET6


good = make_certificate("mx.rcpt.test")
sink = Sink("127.0.0.2", 25, behave, tls=good)
sink.open = True
plain, other = Sink("127.0.0.3", 25), Sink("127.0.0.5", 25, tls=make_certificate("elsewhere.test"))
inbox, six = Sink("127.0.0.4", 25), Sink6("::1", 25)
NEVER = "retry { method linear; a 3600; period 86400; }\n"


def log_with(suite, what):
    suite.base = re.sub(r"(?m)^log \{.*\}$", f"log {{ level debug; {what} }}", suite.base)


# --- A message that grows too old (in the background of what follows), and the event stream

old = Suite(name="old", start=False)
port6, local = free_port(), free_port()
old.listeners += (f"listen six {{ address [::1]:{port6}; tls starttls; auth optional; reverse-lookup no; }}\n"
                  f"listen local {{ address 127.0.0.1:{local}; tls none; reverse-lookup no; "
                  "auth networks 127.0.0.0/8 tenant acme; }\n")
log_with(old, f"file {old.logfile}; events {old.dir}/events;")
old.write("retry { method linear; a 31; period 60; }\n")
old.start()
secret = old.tenant()
old_id = submit(old, secret, rcpts=("later@rcpt.test",))[1].split()[-1]
old_started = time.monotonic()
held_id = submit(old, secret, rcpts=("later-held@rcpt.test",))[1].split()[-1]
tap.ok(old.wait_log(rf"{held_id}: to=.*status=deferred"), "E9 a 4xx is deferred")
old.mtactl("queue", "hold", held_id)
old.mtactl("pause", "--domain=paused.test")
paused_id = submit(old, secret, rcpts=("z@paused.test",))[1].split()[-1]

tap.equal(submit(old, secret, rcpts=("z@six.rcpt.test",))[0], 250, "mail for a host with an IPv6 address only")
six.wait(1)
tap.equal((six.messages[0]["peer"], six.messages[0]["rcpts"]), ("::1", ["z@six.rcpt.test"]), "goes over IPv6")
with smtplib.SMTP("::1", port6, local_hostname="[IPv6:::1]") as c:
    tap.equal(c.ehlo()[0], 250, "S12 a client over IPv6 with an address literal")
    c.docmd("MAIL FROM:<x@nowhere.test>")
    tap.equal(c.docmd("RCPT TO:<y@rcpt.test>")[0], 554, "A1 may not relay either")


def tls_session(suite):
    c = smtplib.SMTP("127.0.0.1", suite.submission, local_hostname="client.test")
    c.starttls(context=client_context())
    c.ehlo()
    return c


with tls_session(old) as c:
    initial = base64.b64encode(b"\0app1\0" + b"x" * 9195).decode()
    line = "AUTH PLAIN " + initial
    tap.ok(12200 < len(line) + 2 <= 12288, "a line of nearly 12288 octets", len(line))
    tap.equal(c.docmd(line)[0], 535, "A04 A05 AUTH with such an initial response is answered")
    c.docmd("AUTH PLAIN")
    tap.equal(c.docmd(initial)[0], 535, "A04 and such a response line")
    tap.equal(c.login("app1", secret)[0], 235, "and the session is whole")


def raw(*parts):
    """What the plain listener answers to the parts, sent apart, when we then send no more."""
    with socket.create_connection(("127.0.0.1", local)) as k:
        k.settimeout(10)
        k.recv(1000)
        for part in parts[:-1]:
            k.sendall(part)
            k.recv(1000)
        k.sendall(parts[-1])
        k.shutdown(socket.SHUT_WR)
        said = b""
        while chunk := k.recv(1000):
            said += chunk
        return said


head = b"From: a@sender.test\r\n\r\nx\r\n"
said = b"".join(raw(b"EHLO c\r\n", b"MAIL FROM:<a@sender.test>\r\n", b"RCPT TO:<half@rcpt.test>\r\n",
                    b"DATA\r\n", head + b".\r\n").splitlines(True)[:1])
tap.ok(said.startswith(b"250 2.0.0 Ok: queued as "), "a half-closed peer still gets its answer", said)
n = old.log().count("message-id=")
tap.equal(raw(b"EHLO c\r\n", b"MAIL FROM:<a@sender.test>\r\n", b"RCPT TO:<cut@rcpt.test>\r\n", b"DATA\r\n", head),
          b"", "S17 content without its end is no message")
tap.ok(old.wait_log("lost connection after DATA from"), "log: lost connection after DATA")
tap.equal(old.log().count("message-id="), n, "and nothing was queued")

# --- The service manager, daemon mode, the system log

sd = Suite(name="sd", start=False)
log_with(sd, "tag postfix;")
sd.write()
dev = os.path.join(folder(), "dev")
os.makedirs(dev)
subprocess.run(["mount", "-t", "tmpfs", "dev", dev], check=True)
for device in ("null", "zero", "random", "urandom", "tty"):
    subprocess.run(["cp", "-a", f"/dev/{device}", dev], check=True)
if os.path.isdir("/dev/shm"):
    os.makedirs(f"{dev}/shm")
subprocess.run(["mount", "--move", dev, "/dev"], check=True)


class Datagrams:
    def __init__(self, path):
        self.path, self.text = path, ""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        os.chmod(path, 0o666)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        try:
            while data := self.socket.recv(65536):
                self.text += data.decode() + "\n"
        except OSError:
            pass  # end() was called

    def wait(self, pattern, seconds=15):
        try:
            return wait_for(lambda: re.search(pattern, self.text, re.M), seconds, pattern)
        except AssertionError:
            return None

    def end(self):
        os.unlink(self.path)
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


syslog, manager = Datagrams("/dev/log"), Datagrams(f"{sd.dir}/notify")
os.environ["NOTIFY_SOCKET"] = manager.path
sd.start()
del os.environ["NOTIFY_SOCKET"]
secret_sd = sd.tenant()
tap.ok(manager.wait(r"^READY=1\nMAINPID=\d+"), "sd_notify: READY=1", manager.text)
submit(sd, secret_sd, rcpts=("s@rcpt.test",))
tap.ok(syslog.wait(r"^<22>\w{3} [ \d]\d [\d:]{8} postfix/smtp\[\d+\]: \w+: to=<s@rcpt\.test>.*status=sent"),
       "system log: facility mail, tag as set", syslog.text)
with tls_session(sd) as c:
    c.login("app1", secret_sd)
    c.mail("a@sender.test")
    c.rcpt("r@rcpt.test")
    sd.mtactl("reload")
    tap.equal(c.data(mail())[0], 250, "a transaction goes on over a reload")
tap.ok(manager.wait(r"^RELOADING=1\nMONOTONIC_USEC=\d+\n(.*\n)*READY=1"), "sd_notify: RELOADING=1, READY=1")
syslog.end()
syslog = Datagrams("/dev/log")
tap.ok(syslog.wait("logs are open anew"), "a system log that was started again is found")
submit(sd, secret_sd, rcpts=("again@rcpt.test",))
tap.ok(syslog.wait(r"smtp\[\d+\]: \w+: to=<again@rcpt\.test>.*status=sent"), "by every daemon", syslog.text)
sd.mtactl("stop")
tap.ok(manager.wait("^STOPPING=1"), "sd_notify: STOPPING=1")
sd.proc.p.wait(20)
r = subprocess.run([f"{BUILD}/master/ekiden", "-c", sd.conf], capture_output=True, text=True, timeout=30)
pid_file = f"{sd.dir}/run/master.pid"
tap.ok(r.returncode == 0 and os.path.exists(pid_file), "daemon mode returns when it serves", r.stderr)
tap.equal(sd.mtactl("status", json_rows=True)[0]["pid"], int(open(pid_file).read()), "its pid is in the file")
r = subprocess.run([f"{BUILD}/master/ekiden", "-c", sd.conf], capture_output=True, text=True, timeout=30)
tap.ok(r.returncode == 1 and "already running" in r.stderr, "a second one is refused", r.stderr)
sd.mtactl("stop")
tap.ok(not os.path.exists(pid_file), "mtactl stop returns when it is over")

# --- TLS policies of delivery

s = Suite(name="tls", extra=NEVER + "delivery { tls encrypt; }\n")
secret_tls = s.tenant()
submit(s, secret_tls, rcpts=("a@plain.test",))
submit(s, secret_tls, rcpts=("a@other.test",))
tap.ok(s.wait_log(r"to=<a@plain\.test>.*dsn=4\.7\.4, status=deferred \(TLS is required"),
       "tls encrypt: never plain")
tap.ok(s.wait_log(r"to=<a@other\.test>.*status=sent .*tls=TLSv1\.3"), "tls encrypt: any certificate")
trust = os.path.join(s.dir, "trust.pem")
open(trust, "w").write(open(good[0]).read() + open(make_certificate("elsewhere.test")[0]).read())
s.write(NEVER + f"delivery {{ tls verify; trust {trust}; }}\n")
s.mtactl("reload")
submit(s, secret_tls, rcpts=("b@other.test",))
submit(s, secret_tls, rcpts=("b@rcpt.test",))
tap.ok(s.wait_log(r"to=<b@other\.test>.*dsn=4\.7\.5, status=deferred \(.*hostname mismatch"),
       "tls verify: the name must be that of the host")
tap.ok(s.wait_log(r"Verified TLS connection established to mx\.rcpt\.test\[127\.0\.0\.2\]:25") and
       s.wait_log(r"to=<b@rcpt\.test>.*status=sent"), "tls verify: a good one is used")
tap.equal((len(plain.messages), len(other.messages)), (0, 1), "nothing else left")
s.stop()

# --- A damaged record

s = Suite(name="damage", extra=NEVER)
secret_damage = s.tenant()
sink.open = False
n = len(sink.messages)
ids = [submit(s, secret_damage, rcpts=(f"m{i}@rcpt.test",), body=f"marker{i}\r\n" * 50)[1].split()[-1]
       for i in range(3)]
wait_for(lambda: s.queue_count()["deferred"] == 3, what="three deferred")
s.kill9()
hit = 0
for path in glob.glob(f"{s.dir}/spool/seg/*"):
    at = open(path, "rb").read().find(b"marker1")
    if at > 0:
        with open(path, "r+b") as f:
            f.seek(at + 100)
            f.write(b"\xff\xfe")
        hit += 1
tap.equal(hit, 1, "one record is damaged on disk")
sink.open = True
s.start()
s.mtactl("queue", "flush", "--all")
sink.wait(n + 2)
tap.ok(s.wait_log(r"error: segment \w+: damaged bytes \d+-\d+ are kept in quarantine/"), "it is reported", s.log()[-2000:])
tap.equal(sorted(m["rcpts"][0] for m in sink.messages[n:]), ["m0@rcpt.test", "m2@rcpt.test"], "S35 the rest flows")
tap.equal(s.stop(), 0, "stop")

# --- A full disk

s = Suite(name="full", start=False)
spool = f"{s.dir}/spool"
os.makedirs(spool)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m,mode=0700,uid=61504,gid=61504", "tmpfs", spool], check=True)
s.write(NEVER + "limits { messages-per-connection 10000; }\n")
s.start()
secret_full = s.tenant()
sink.open = False
n, taken, refused = len(sink.messages), 0, None
with tls_session(s) as c:
    c.login("app1", secret_full)
    while refused is None and taken < 200:
        c.mail("a@sender.test")
        c.rcpt(f"f{taken}@rcpt.test")
        code, text = c.data(mail(subject=f"f{taken}", body=("x" * 78 + "\r\n") * 11000))
        if code == 250:
            taken += 1
        else:
            refused = code, text
tap.ok(taken > 10 and refused and refused[0] == 452 and refused[1].startswith(b"4.3.1"),
       "a full disk: 452 4.3.1", (taken, refused))
wait_for(lambda: s.queue_count()["deferred"] == taken, 30, "all deferred")
sink.open = True
s.mtactl("queue", "flush", "--all")
sink.wait(n + taken, 30)
tap.equal(len({m["rcpts"][0] for m in sink.messages[n:]}), taken, "and delivery goes on: all that was taken arrives")
wait_for(lambda: s.queue_count()["messages"] == 0, what="an empty queue")


def taken_again():
    try:
        return submit(s, secret_full)[0] == 250
    except smtplib.SMTPException:
        return False


tap.ok(wait_for(taken_again, 20, "room", 0.2), "then mail is taken again")
tap.equal(s.stop(), 0, "stop")

# --- Too old, and the events of all that

tap.ok(old.wait_log(rf"{old_id}: from=<a@sender\.test>, status=expired, returned to sender", 45),
       "C7 C11 the next attempt would be after the period: returned")
tap.ok(29 < time.monotonic() - old_started, "C9 not before the attempt that was due")
report = inbox.wait(1)[0]
tap.ok(b"Action: failed" in report["data"] and b"later@rcpt.test" in report["data"], "with a report")
tap.ok(old.wait_log(rf"{paused_id}: from=<a@sender\.test>, status=expired", 60), "nor does mail in a pause stay for ever")
wait_for(lambda: old.queue_count()["messages"] == 1, what="its report")
tap.equal([(r["id"], r["state"]) for r in old.mtactl("queue", "list", json_rows=True)], [(held_id, "held")],
          "a held message does not age")
old.stop()
events = [json.loads(line) for line in open(f"{old.dir}/events")]
kinds = {e["type"] for e in events}
tap.ok(kinds >= {"received", "rejected", "delivered", "deferred", "expired", "auth_failed"}, "event types", kinds)
tap.ok(all(e["v"] == 1 and re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z", e["time"]) for e in events),
       "each has a version and a time")
tap.equal([e["type"] for e in events if e.get("id") == old_id], ["received", "deferred", "deferred", "expired"],
          "the life of one message")
tap.done()
