#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""TLS that fails in every way, by policy, and odd codes around STARTTLS. atk-B3, B4, B6, B8, B10, B13, G13."""

import itertools
import os
import sys
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from evil import *  # noqa: E402,F403

work = tempfile.mkdtemp(prefix="ekiden-secure-")
atexit.register(shutil.rmtree, work, True)


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=work)


def authority():
    """A CA that signs what it is told to, with the dates it is told."""
    with open(os.path.join(work, "ca.conf"), "w") as f:
        f.write("[ca]\ndefault_ca = x\n[x]\ndatabase = index\nserial = serial\nnew_certs_dir = .\n"
                "default_md = sha256\npolicy = p\nunique_subject = no\ncopy_extensions = copy\n[p]\ncommonName = supplied\n")
    open(os.path.join(work, "index"), "w").close()
    with open(os.path.join(work, "serial"), "w") as f:
        f.write("01\n")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca.test")


def signed(name, san, start="20200101000000Z", end="20400101000000Z"):
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name + ".key",
            "-out", name + ".csr", "-subj", f"/CN={name}", "-addext", f"subjectAltName={san}")
    openssl("ca", "-batch", "-config", "ca.conf", "-cert", "ca.crt", "-keyfile", "ca.key", "-in", name + ".csr",
            "-out", name + ".crt", "-startdate", start, "-enddate", end, "-notext")
    return os.path.join(work, name + ".crt"), os.path.join(work, name + ".key")


def nul_name():
    """A subjectAltName whose DNS name is "mx.test", a NUL and ".evil.test"; it must not pass for mx.test."""
    text = b"mx.test\0.evil.test"
    der = bytes([0x82, len(text)]) + text
    return "DER:" + ":".join(f"{b:02x}" for b in bytes([0x30, len(der)]) + der)


authority()
CERTS = {"good": signed("good", "DNS:mx.test"), "expired": signed("expired", "DNS:mx.test", end="20210101000000Z"),
         "not yet valid": signed("future", "DNS:mx.test", "20390101000000Z"), "wrong name": signed("other", "DNS:other.test"),
         "NUL in the name": signed("nul", nul_name()), "self-signed": certificate(work, "mx.test")}
with open(os.path.join(work, "ca.crt"), "rb") as f:
    CA = f.read()
SECRET = "canary-8151"
d = Smtp(conf(reply="5s", session="15s"), [("trust", {"memfd": CA}),
                                          ("secret", {"name": "smart", "user": "relayuser", "secret": SECRET})])
POLICIES = {"may": TLS_MAY, "encrypt": TLS_ENCRYPT, "verify": TLS_VERIFY}
HOST = "mx.test"


def context(cert="good", change=None):
    c = server_context(*CERTS[cert])
    if change:
        change(c)
    return c


# --- Handshakes. What the policies make of it: T sent under TLS, P sent in plain on a new connection, F not sent.
def no_cipher(c):
    c.maximum_version = ssl.TLSVersion.TLSv1_2
    c.set_ciphers("PSK")


def old(c):
    warnings.simplefilter("ignore", DeprecationWarning)  # it is the point
    c.set_ciphers("ALL:@SECLEVEL=0")
    c.minimum_version = ssl.TLSVersion.TLSv1
    c.maximum_version = ssl.TLSVersion.TLSv1_1


def raw(data, behind=half_close):
    """Instead of a handshake, after the ClientHello has come."""
    def act(peer):
        peer.sock.recv(16384)
        peer.raw(data)
        behind(peer, "STARTTLS", b"")
    return act


def garbage_hello():
    body = bytes(range(256)) * 2
    return b"\x16\x03\x03" + len(body).to_bytes(2, "big") + b"\x02\0\1\xfc" + body[4:]


KINDS = {  # how: certificate context or script; outcome for may, encrypt, verify
    "good": (context(), "TTT"),
    "expired": (context("expired"), "TTF"),
    "not yet valid": (context("not yet valid"), "TTF"),
    "self-signed": (context("self-signed"), "TTF"),
    "wrong name": (context("wrong name"), "TTF"),
    "NUL in the name": (context("NUL in the name"), "TTF"),
    "no shared cipher": (context(change=no_cipher), "PFF"),
    "TLS 1.1 at most": (context(change=old), "PFF"),
    "reset": (lambda p: p.reset(), "PFF"),
    "reset after the ClientHello": (raw(b"", reset), "PFF"),
    "half-close": (raw(b""), "PFF"),
    "half a ServerHello, then reset": (raw(b"\x16\x03\x03\0\x7a\x02\0\0\x76\x03\x03", reset), "PFF"),
    "half a ServerHello, then the end": (raw(b"\x16\x03\x03\0\x7a\x02\0\0\x76\x03\x03"), "PFF"),
    "a garbled ServerHello": (raw(garbage_hello()), "PFF"),
    "plain text": (raw(b"250 2.0.0 Ok\r\n" * 10), "PFF"),
    "plain 454": (raw(b"454 4.7.0 TLS not available\r\n"), "PFF"),
    "zeros": (raw(b"\0" * 4096), "PFF"),
    "an alert": (raw(b"\x15\x03\x03\0\x02\x02\x28"), "PFF"),
    "endless records": (raw(b"", flood(b"", b"\x16\x03\x03\x40\0" + b"\x01" * 16384)), "PFF"),
    "silence": (lambda p: silence(p, "STARTTLS", b""), "FFF"),
    "silence after half a record": (raw(b"\x16\x03\x03\0\x7a\x02", silence), "FFF"),
}


def server(how):
    """STARTTLS goes wrong on the first connection; on a second one there is a good server."""
    sink = Evil(None, None, ("8BITMIME", "STARTTLS"), how if isinstance(how, ssl.SSLContext) else context())

    def script(peer):
        if peer.number > 0 or isinstance(how, ssl.SSLContext):
            sink(peer)
            return
        peer.send("220 x")
        peer.line()
        peer.send("250-x", "250 STARTTLS")
        peer.line()
        peer.send("220 go")
        how(peer)
    script.step = None
    return script


def by_name(case_args):
    """A case whose host is found by name, so that there is a name to verify."""
    c = Case(d, *case_args, nexthop=HOST, mx=False)
    d.answer_mx([(0, HOST, ["127.0.0.1"])])
    return c


cases = []
for what, (how, outcomes) in KINDS.items():
    for (policy, tls), want in zip(POLICIES.items(), outcomes):
        cases.append((by_name((f"{what}, policy {policy}", server(how), tls)), want))
collect(d, [c for c, _ in cases], 40)
for c, want in cases:
    peers = c.server.peers
    outcome = c.outcome()[0]
    got = "F" if outcome[0] in "FU" else "T" if peers and peers[-1].tls else "P"
    plain = {w.split()[0] for p in peers if not p.tls for w in p.said}
    row = "atk-B8" if c.name.startswith("NUL") else "atk-B13" if c.name.startswith("silence") else "atk-G13"
    tap.ok(got == want and (want != "F" or outcome.startswith("F 4.")), f"{row}: {c.name}: {want}",
           (outcome, c.closed, [p.said for p in peers]))
    if want == "P":
        tap.ok(len(peers) == 2 and "STARTTLS" not in peers[1].said, "   on a second connection, without another try")
    elif "may" not in c.name:
        tap.ok(len(peers) == 1 and plain <= {"EHLO", "STARTTLS"}, "atk-B6: no second connection, no envelope in plain",
               [p.said for p in peers])
    tap.ok(once(c, c.jobs) is None, "   and one final state", once(c, c.jobs))

# --- Odd codes around STARTTLS: a server in plain text that agrees to everything (NO STARTTLS, scripted).
GREETINGS = (b"220 x", b"200 x", b"250 x", b"235 2.7.0 PREAUTH", b"220-x\r\n220 y", b"334 x", b"421 x", b"454 x", b"554 x",
             b"220 x\r\n250 x\r\n235 ok")
EHLOS = (b"250-x\r\n250 STARTTLS", b"250-x\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS", b"250-x\r\n250 AUTH PLAIN LOGIN",
         b"250 x", b"220-x\r\n220 STARTTLS", b"235 2.7.0 ok", b"334 x", b"354 x", b"454 x", b"502 x", b"530 x", b"xxx",
         b"250-x\r\n250 XSTARTTLS", b"250-x\r\n250-STARTTLS\r\n250 SIZE\r\n220 go")
STARTTLSES = (b"220 go", b"200 x", b"221 x", b"235 2.7.0 ok", b"250 x", b"250-x\r\n250 AUTH PLAIN", b"299", b"334 x",
              b"354 x", b"421 x", b"454 x", b"500 x", b"501 x", b"503 x", b"530 x", b"554 x", b"xxx", b"", b"22",
              b"220 go\r\n250 x", b"220-x\r\n220 go", b"220")


class Plain:
    """Answers greeting, EHLO and STARTTLS as told and everything else with success; keeps every byte."""
    step = None

    def __init__(self, greeting, ehlo, starttls):
        self.replies = {b"EHLO": ehlo, b"HELO": ehlo, b"STAR": starttls, b"DATA": b"354 go", b"AUTH": b"334 ",
                        b"QUIT": b"221 bye"}
        self.greeting, self.bytes = greeting, b""

    def __call__(self, peer):
        peer.raw(self.greeting + b"\r\n")
        peer.sock.settimeout(8)
        while True:
            data = peer.sock.recv(65536)
            if not data:
                return
            self.bytes += data
            for line in data.split(b"\r\n")[:-1]:
                peer.raw(self.replies.get(line[:4].upper(), b"250 2.0.0 ok") + b"\r\n")


def forbidden(data):
    """What must never be seen in plain: a credential, an envelope, an identity beyond EHLO."""
    words = (b"AUTH", b"MAIL", b"RCPT", b"DATA", b"HELO mta", b"src.test", b"relayuser", SECRET.encode(), b"Subject",
             __import__("base64").b64encode(b"\0relayuser\0" + SECRET.encode())[:20])
    return [w for w in words if w in data]


scripts = [(g, EHLOS[0], b"220 go") for g in GREETINGS] + [(GREETINGS[0], e, b"220 go") for e in EHLOS[1:]] + \
          [(GREETINGS[0], EHLOS[0], s) for s in STARTTLSES[1:]] + \
          list(itertools.product((b"235 2.7.0 PREAUTH",), EHLOS[1:3], STARTTLSES[3:6]))
tap.ok(len(scripts) >= 50, f"atk-B4: {len(scripts)} scripts")
for policy, tls in (("encrypt", TLS_ENCRYPT), ("verify", TLS_VERIFY)):
    cases = [Case(d, f"{g!r:.30} {e!r:.50} {s!r:.30}", Plain(g, e, s), tls, auth="smart") for g, e, s in scripts]
    collect(d, cases, 40)
    for c in cases:
        seen = c.server.script.bytes
        tap.ok(c.outcome()[0].startswith("F 4.") and not forbidden(seen) and once(c, c.jobs) is None,
               f"atk-B4: {policy}: {c.name}: deferred, no credential and no envelope in plain", (c.outcome(), seen))
tap.ok(SECRET not in d.log(), "atk-E8: nor is the secret in the log")

# --- Policies take turns with one host: each message goes by the rules of its own connection (atk-B10).
sink = Evil(None, None, ("STARTTLS",), context())
seen = []


def watch(peer):
    try:
        sink(peer)
    finally:
        seen.extend((m["mail"], peer.tls) for m in peer.messages)


watch.step = None
srv = Server(watch)
conns = []
for policy in (TLS_NONE, TLS_ENCRYPT, TLS_NONE, TLS_VERIFY, TLS_MAY):
    c = d.open(HOST, port=srv.port, tls=policy, idle_s=20)
    if not conns:
        d.answer_mx([(0, HOST, ["127.0.0.1"])], ttl_s=60)
    conns.append((c, policy))
jobs = [d.deliver(c, sender=f"s{n}p{p}@src.test") for n in range(3) for c, p in conns]
tap.ok(all(d.done(j)[0]["status"] == RCPT_SENT for j in jobs), "atk-B10: policies take turns with one host")
for c, _ in conns:
    d.send("qmgr", "conn_close", conn=c)
    d.closed(c)
srv.stop()
end = time.monotonic() + 5
while len(seen) < 15 and time.monotonic() < end:
    time.sleep(0.05)
tap.equal(sorted({(m.split("p")[1][0], tls) for m, tls in seen}), sorted({(str(p), p != TLS_NONE) for _, p in conns}),
          "atk-B10: none in plain that was to be encrypted")
d.finish()
tap.done()
