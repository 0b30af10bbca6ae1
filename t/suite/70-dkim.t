#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""DKIM end to end: keys by mtactl, records in the DNS, signatures on relayed mail after a second hop of our own,
verified by libopendkim, python3-dkim and the opendkim milter."""
import glob
import os
import re
import smtplib
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

try:
    import dkim
    import nacl  # noqa: F401
except ImportError as e:
    skip_all(f"needs python3-dkim and python3-nacl: {e}")

private_network()
zones = {"signed.test": "", "host.test": "", "example.co.jp": "", "other.test": "", "nokey.test": ""}
ns = Nsd(zones)


def publish(zone, text):
    """The zone's records; dnsd forgets what it knew, since a new resolver starts empty."""
    global ns
    ns.end()
    zones[zone] = text
    ns = Nsd(zones)


class Milter:
    """A milter client, MTA side, as far as a verifier needs it: the fields that opendkim adds."""

    def __init__(self, port):
        self.s = socket.create_connection(("127.0.0.1", port), 10)
        self.send(b"O", struct.pack("!III", 6, 0x1ff, 0x10037f))
        _, data = self.recv()
        self.steps = struct.unpack("!III", data[:12])[2]

    def send(self, cmd, data=b""):
        self.s.sendall(struct.pack("!I", len(data) + 1) + cmd + data)

    def recv(self):
        def take(n):
            got = b""
            while len(got) < n:
                part = self.s.recv(n - len(got))
                if not part:
                    raise EOFError("milter closed")
                got += part
            return got
        n, = struct.unpack("!I", take(4))
        data = take(n)
        return data[:1], data[1:]

    def step(self, no, cmd, data=b""):
        if self.steps & no:
            return
        self.send(cmd, data)
        reply, _ = self.recv()
        assert reply in b"ca", (cmd, reply)

    def message(self, raw):
        self.send(b"D", b"Cj\0mx.test\0")
        self.step(1, b"C", b"client.test\0" + b"4" + struct.pack("!H", 25) + b"192.0.2.1\0")
        self.step(2, b"H", b"client.test\0")
        self.send(b"D", b"Mi\0QID1\0")
        self.step(4, b"M", b"<a@signed.test>\0")
        self.step(8, b"R", b"<b@rcpt.test>\0")
        head, _, body = raw.partition(b"\r\n\r\n")
        for field in re.split(rb"\r\n(?![ \t])", head):
            if not field.strip():
                continue  # a message that is a header only
            name, _, value = field.partition(b":")
            if not self.steps & 0x100000 and value[:1] == b" ":
                value = value[1:]
            self.step(0x20, b"L", name + b"\0" + value.replace(b"\r\n", b"\n") + b"\0")
        self.step(0x40, b"N")
        for i in range(0, len(body), 60000):
            self.step(0x10, b"B", body[i:i + 60000])
        self.send(b"E")
        added = []
        while True:
            reply, data = self.recv()
            if reply in b"actr":
                return added
            if reply in b"hi":
                added.append(data[4:] if reply == b"i" else data)


# An instance that signs, and a second one behind it that only relays.
sink = Sink("127.0.0.5", 25)
second = Suite(name="second", extra="relayhost [127.0.0.5]:25\nreceived full\n", listeners="""
listen hop { address 127.0.0.6:25; tls none; auth networks 127.0.0.0/8 tenant acme; reverse-lookup no; }
""")
second.mtactl("tenant", "add", "acme", "--enabled")
for domain in list(zones) + ["sub.example.co.jp"]:
    second.mtactl("domain", "add", "acme", domain, "--verified")
RULES = "dkim { oversign from to subject date message-id; expire 7d; organizational-domain yes; publish 1h; }\n"
s = Suite(extra="relayhost [127.0.0.6]:25\nsignd-processes 2\n" + RULES)
secret = s.tenant(domain="signed.test")
for domain in list(zones)[1:] + ["sub.example.co.jp"]:
    s.mtactl("domain", "add", "acme", domain, "--verified")


def row(*args, **kw):
    return s.mtactl("dkim", *args, json_rows=True, **kw)[0]


def send(data, sender="a@signed.test"):
    """The message as the sink got it, with the reply."""
    n = len(sink.messages)
    code, text = submit(s, secret, sender=sender, data=data)
    if code != 250:
        return code, text
    return code, sink.wait(n + 1)[n]["data"]


def dns(name, timeout=5):
    strings = s.mtactl("dns", "txt", name.decode().rstrip("."), json_rows=True)[0]["strings"]
    return strings[0].encode() if strings else None


def signatures(message):
    head = message.partition(b"\r\n\r\n")[0]
    return [f for f in re.split(rb"\r\n(?![ \t])", head) if f.lower().startswith(b"dkim-signature:")]


# --- keys

rsa = row("new", "SIGNED.test")
tap.ok(rsa["state"] == "pending" and rsa["bits"] == 2048 and rsa["name"] ==
       f"{rsa['selector']}._domainkey.signed.test" and rsa["record"].startswith("v=DKIM1; k=rsa; p=MII"),
       "G9/10/12 dkim new makes a pending RSA key of 2048 bits and shows its record", rsa)
tap.ok(all(len(part) <= 255 for part in re.findall(r'"([^"]*)"', rsa["zone"])) and
       "".join(re.findall(r'"([^"]*)"', rsa["zone"])) == rsa["record"], "... also as a line of a zone", rsa["zone"])
ed = row("new", "signed.test", "--algorithm=ed25519", "--selector=ed.one")
tap.equal((ed["selector"], ed["algorithm"]), ("ed.one", "ed25519-sha256"), "an Ed25519 key, a selector with a dot")
store = f"{s.dir}/state/dkim"
modes = {os.path.basename(p): oct(os.stat(p).st_mode & 0o7777) for p in glob.glob(store + "/*")}
tap.ok(os.stat(store).st_mode & 0o77 == 0 and set(modes.values()) == {"0o600"} and len(modes) == 3,
       "atk-B15 keys are files of root's alone", modes)
code, got = send(mail(sender="a@signed.test"))
tap.ok(code == 250 and not signatures(got), "a pending key signs nothing")
tap.ok(s.wait_log(r": not signed: no DKIM key for signed\.test$"), "atk-F10 ... and mail is never unsigned in silence")
r = s.mtactl("dkim", "activate", "signed.test", rsa["selector"], check=False)
tap.ok(r.returncode == 1 and "there is no record" in r.stderr, "a key without its record cannot be activated", r)
r = s.mtactl("dkim", "check", check=False)
tap.ok(r.returncode == 0 and r.stdout.count("wait") == 2, "check: pending keys wait for their records", r)

# The RSA record stands behind a CNAME, split in strings (E7).
publish("host.test", "rsa._domainkey IN TXT " + re.search(r"\((.*)\)", rsa["zone"]).group(1))
publish("signed.test", f"{rsa['selector']}._domainkey IN CNAME rsa._domainkey.host.test.\n"
        f"ed.one._domainkey IN TXT \"{ed['record'][:20]}\" \"{ed['record'][20:]}\"")
time.sleep(1.1)
for key in (rsa, ed):
    # What was not there is known for a while: minimum TTL of the zone is 1 s.
    wait_for(lambda: s.mtactl("dkim", "check", "signed.test", key["selector"], check=False).stdout.count("pass"),
             20, "the record", 0.5)
tap.ok(True, "E7 check finds the record through a CNAME, in several strings, and a probe verifies against it")
tap.equal(row("activate", "signed.test", rsa["selector"])["state"], "active", "activate the RSA key")
tap.equal(row("activate", "signed.test", "ed.one")["state"], "active", "... and the Ed25519 key")
states = {r["selector"]: r["state"] for r in s.mtactl("dkim", "list", "signed.test", json_rows=True)}
tap.equal(states, {rsa["selector"]: "active", "ed.one": "active"}, "list")

# --- signatures, after a hop of our own

conf = os.path.join(folder(), "opendkim.conf")
port = free_port()
with open(conf, "w") as f:
    f.write(f"Mode v\nSyslog no\nSocket inet:{port}@127.0.0.1\nNameservers 127.0.0.1\nAlwaysAddARHeader yes\n"
            f"ResolverConfiguration {conf}.unbound\nAuthservID mx.test\nUserID root\nInternalHosts 203.0.113.1\nTemporaryDirectory /tmp\nBackground no\n")
with open(conf + ".unbound", "w") as f:
    f.write("server:\n do-not-query-localhost: no\n module-config: iterator\n local-zone: test. nodefault\n"
            "forward-zone:\n name: .\n forward-addr: 127.0.0.1\n")
milter = Process(["opendkim", "-f", "-x", conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def milter_up():
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


wait_for(milter_up, what="opendkim")


def verdicts(message):
    path = os.path.join(folder(), "got.eml")
    with open(path, "wb") as f:
        f.write(message)
    ours = [(r["algorithm"], r["result"]) for r in s.mtactl("dkim", "verify", path, check=False, json_rows=True)]
    v = dkim.DKIM(message)
    try:
        python = [v.verify(idx=i, dnsfunc=dns) for i in range(len(signatures(message)))]
    except dkim.DKIMException as e:
        python = repr(e)
    added = b" ".join(Milter(port).message(message))
    return sorted(ours), python, added.count(b"dkim=pass")


BOTH = [("ed25519-sha256", "pass"), ("rsa-sha256", "pass")]
for path in sorted(glob.glob(f"{SRC}/t/dkim/corpus/*.eml")):
    name = os.path.basename(path)
    raw = open(path, "rb").read()
    if b"\r\n\r\n" in raw and not raw.endswith(b"\r\n"):
        raw += b"\r\n"
    code, got = send(raw)
    if code != 250:
        tap.ok(False, f"atk-F9 {name} is accepted", got)
        continue
    tap.equal(len(signatures(got)), 2, f"K03 K05 {name}: two signatures")
    ours, python, passes = verdicts(got)
    tap.equal((ours, python, passes > 0), (BOTH, [True, True], True),
              f"atk-F9 {name}: libopendkim, python3-dkim and the opendkim milter verify it after a hop")
    if b"\r\n\r\n" in raw:
        tap.ok(got.endswith(b"\r\n\r\n" + raw.partition(b"\r\n\r\n")[2]), f"A24 {name}: the body is unchanged")
body = "0123456789 abcdefghijklmnopqrstuvwxyz  \t 0123456789\r\n\r\n \r\n" * 170000
big = mail(sender="a@signed.test", body=body)[:10_400_000] + "\r\n"
code, got = send(big)
ours, python, passes = verdicts(got)
tap.equal((code, ours, python, passes > 0), (250, BOTH, [True, True], True), f"atk-F9 {len(big)} bytes: verified by all")

code, got = send(mail(sender="a@signed.test", extra="X-Selector: evil\r\nX-DKIM-Signature: v=1; s=evil\r\n"))
flat = [re.sub(rb"\s+", b"", f) for f in signatures(got)]
tap.ok(len(flat) == 2 and all(re.search(rb";d=signed\.test;", f) for f in flat) and
       {re.search(rb";s=([^;]*);", f).group(1).decode() for f in flat} == {rsa["selector"], "ed.one"},
       "A18 the domain's selectors, whatever a mail says; A19 X-DKIM-Signature does not count", flat)
tap.ok(all(not re.search(rb";l=", f) and re.search(rb";t=\d+;x=\d+;", f) for f in flat), "K04 atk-F2 no l=; atk-F3 t= and x=")
times = [int(x) for x in re.findall(rb";t=(\d+);", flat[0])] + [int(x) for x in re.findall(rb";x=(\d+);", flat[0])]
tap.ok(abs(times[0] - time.time()) < 60 and times[1] - times[0] == 7 * 86400, "atk-F3 x= is 7 days behind t=", times)
h = re.search(rb";h=([^;]*);", flat[0]).group(1).decode().lower().split(":")
tap.ok(all(h.count(n) == 2 for n in ("from", "to", "subject", "date", "message-id")),
       "K01 atk-F1 From, To, Subject, Date and Message-ID are oversigned", h)
code, got = send(mail(sender="a@signed.test", extra="List-Unsubscribe: <https://signed.test/u>\r\n"
                      "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"))
h = re.search(rb";h=([^;]*);", re.sub(rb"\s+", b"", signatures(got)[0])).group(1).lower()
tap.ok(b"list-unsubscribe:" in h and b"list-unsubscribe-post" in h, "A23 K06 List-Unsubscribe and -Post are in h=", h)
for field in ("DKIM-Signature", "dkim-SIGNATURE"):
    code, got = send(mail(sender="a@signed.test", extra=f"{field}: v=1; a=rsa-sha256; d=x.test; s=y; bh=; b=\r\n"))
    tap.ok(code == 250 and len(signatures(got)) == 1 and b"d=signed.test" not in got,
           f"A19 A20 a message with {field} gets no signature, and is not judged")
tap.ok(s.wait_log(r": not signed: it has a DKIM-Signature field$"), "... which the log says")
tap.ok(s.wait_log(rf": DKIM-Signature field added \(s={rsa['selector']}, d=signed\.test\)$"), "... and who signed")

# --- alignment and the policy without a key

org = row("new", "example.co.jp", "--selector=org")
row("activate", "example.co.jp", "org", "--force")
code, got = send(mail(sender="a@sub.example.co.jp"), sender="a@sub.example.co.jp")
tap.ok(b"d=example.co.jp" in got, "organizational-domain: the key of the domain it is registered under signs", got[:400])
code, got = send(mail(sender="a@nokey.test"), sender="a@nokey.test")
tap.ok(code == 250 and not signatures(got), "without-key send: unsigned")
for policy, want in (("defer", (451, "4.7.5")), ("refuse", (550, "5.7.5"))):
    s.write("relayhost [127.0.0.6]:25\nsignd-processes 2\n" + RULES.replace("expire", f"without-key {policy}; expire"))
    s.mtactl("reload")
    code, text = send(mail(sender="a@nokey.test"), sender="a@nokey.test")
    tap.ok((code, text[:5]) == want, f"atk-F10 without-key {policy}: {want}", (code, text))
s.write("relayhost [127.0.0.6]:25\nsignd-processes 2\n" + RULES.replace("expire", "default-domain signed.test; "
        "headers default X-Own; header-canonicalization simple; body-canonicalization simple; expire"))
s.mtactl("reload")
code, got = send(mail(sender="a@nokey.test", extra="X-Own:  x\r\n"), sender="a@nokey.test")
flat = re.sub(rb"\s+", b"", signatures(got)[0])
tap.ok(b"d=signed.test;" in flat and b"c=simple/simple;" in flat and b"h=X-Own:" in flat,
       "default-domain; headers with one more; simple/simple", flat)
tap.equal(verdicts(got)[:2], (BOTH, [True, True]), "... which verifies after the hop")

# --- rotation and the end of keys

r = s.mtactl("dkim", "rotate", "signed.test", check=False)
tap.ok(r.returncode == 1 and "not there yet" in r.stderr and "pending" in r.stdout, "rotate makes a new key and waits", r)
new = [r for r in s.mtactl("dkim", "list", "signed.test", json_rows=True) if r["state"] == "pending"][0]["selector"]
shown = row("show", "signed.test", new)
tap.ok(new != rsa["selector"] and shown["record"] != rsa["record"], "... under a selector of its own", new)
code, got = send(mail(sender="a@signed.test"))
tap.ok(rsa["selector"].encode() in b"".join(signatures(got)), "... the old key signs meanwhile")
publish("signed.test", zones["signed.test"] + f"\n{new}._domainkey IN TXT " +
        re.search(r"\((.*)\)", shown["zone"]).group(1))
r = s.mtactl("dkim", "rotate", "signed.test", "--wait=40s", check=False)
tap.equal(r.returncode, 0, "rotate switches when the record is seen", )
states = {r["selector"]: r["state"] for r in s.mtactl("dkim", "list", "signed.test", json_rows=True)}
tap.equal(states, {rsa["selector"]: "retiring", "ed.one": "active", new: "active"}, "... the old key is retiring")
code, got = send(mail(sender="a@signed.test"))
tap.ok(f"s={new};".encode() in b"".join(signatures(got)) and verdicts(got)[0] == BOTH, "... the new one signs")
until = [r for r in s.mtactl("dkim", "list", "signed.test", json_rows=True) if r["state"] == "retiring"][0]
tap.ok(until["publish_until"] is not None, "... and its record stays published until a time", until)
index = open(store + "/index").read()
lines = [line for line in index.splitlines() if rsa["selector"] + " " in line]
with open(store + "/index", "w") as f:
    f.write(re.sub(r"(retiring \d+) \d+ \d+", r"\1 1 1", index))
r = s.mtactl("dkim", "list", "signed.test")
tap.ok(rsa["selector"] + " " not in r.stdout and "is retired" in r.stderr and
       not glob.glob(f"{store}/{rsa['selector']}.*"), "after that time, with no older mail queued, it is gone", r)
r = row("revoke", "signed.test", new)
tap.equal(r["record"], "v=DKIM1; p=", "revoke prints the record that says so")
code, got = send(mail(sender="a@signed.test"))
tap.ok(code == 250 and len(signatures(got)) == 1 and f"s={new};".encode() not in got, "... and the key signs no more")

# --- what is wrong with a key

good_index = open(store + "/index").read()
pem = f"{store}/ed.one._domainkey.signed.test.pem"
good_pem = open(pem).read()


def broken(what, want, undo):
    r = s.mtactl("reload", check=False)
    t = s.mtactl("config", "check", check=False)
    ok = tap.ok(r.returncode and re.search(want, r.stderr + r.stdout) and t.returncode and re.search(want, t.stderr),
                f"{what}: told with file, line and what to do", (r, t))
    undo()
    code, got = send(mail(sender="a@signed.test"))
    tap.ok(code == 250 and len(signatures(got)) == 1, "... and the old keys stay")
    return ok


def put(path, text):
    with open(path, "w") as f:
        f.write(text)


os.chmod(pem, 0o640)
os.chown(pem, 0, 12)
broken("a key file that its group can read", r"dkim/index:\d+: signed\.test ed\.one: .*mode 0640.*chmod 600",
       lambda: (os.chmod(pem, 0o600), os.chown(pem, 0, 0)))
put(pem, "garbage")
broken("garbage in a key file", r"dkim/index:\d+: signed\.test ed\.one: .*no private key in PEM form.*dkim new signed\.test",
       lambda: put(pem, good_pem))
subprocess.run(["openssl", "genrsa", "-out", f"{folder()}/weak.pem", "512"], check=True, stderr=subprocess.DEVNULL)
weak = open(f"{folder()}/weak.pem").read()
org_pem = f"{store}/org._domainkey.example.co.jp.pem"
org_text = open(org_pem).read()
put(org_pem, weak)
broken("atk-F10 an RSA key of 512 bits", r"dkim/index:\d+: example\.co\.jp org: .*512 bits: at least 2048",
       lambda: put(org_pem, org_text))
put(store + "/index", good_index + "what is this\n")
broken("a damaged index", r"dkim/index:\d+: not a line of a key index", lambda: put(store + "/index", good_index))
r = s.mtactl("dkim", "new", "signed.test", "--bits=1024", check=False)
tap.ok(r.returncode == 1 and "rsa-bits" in r.stderr, "no short key unless rsa-bits allows it", r)
for args, why in ((("new", "not_a domain"), "is not a domain"), (("new", "x.test", "--selector=UP"), "not a name in the DNS"),
                  (("new", "x.test", "--algorithm=rsa-sha1"), "is not rsa-sha256"),
                  (("activate", "x.test", "none", "--force"), "has no key")):
    r = s.mtactl("dkim", *args, check=False)
    tap.ok(r.returncode and why in r.stderr, f"dkim {' '.join(args)}: {why}", r)

# --- signd ends: mail waits, nothing leaves unsigned

n = len(sink.messages)
stopped = s.pids("signd")
for pid, _ in stopped:
    os.kill(pid, signal.SIGKILL)
wait_for(lambda: len(s.pids("signd")) == 2 and not set(s.pids("signd")) & set(stopped), 20, "signd to start again")
wait_for(lambda: submit(s, secret, sender="a@signed.test", data=mail(sender="a@signed.test"))[0] == 250, 20, "signatures")
got = sink.wait(n + 1)[-1]["data"]
tap.ok(len(signatures(got)) == 1, "after kill -9 of every signd mail is signed again")
tap.done()
