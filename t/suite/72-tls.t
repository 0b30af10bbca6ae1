#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""TLS of the listeners: certificates by name and kind, versions, ciphers, ALPN, session tickets, client certificates;
and no private key in the memory of a process that talks to the network."""
import base64
import os
import re
import socket
import ssl
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

private_network()


def certificate(file, names, kind):
    base = os.path.join(folder(), file)
    key = ["-newkey", "rsa:2048"] if kind == "rsa" else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run(["openssl", "req", "-x509", *key, "-nodes", "-days", "30", "-subj", f"/CN={names[0]}",
                    "-addext", "subjectAltName=" + ",".join(f"DNS:{n}" for n in names),
                    "-keyout", base + ".key", "-out", base + ".crt"], check=True, stderr=subprocess.DEVNULL)
    os.chmod(base + ".key", 0o600)
    return f"certificate {file} {{ chain {base}.crt; key {base}.key; }}\n"


blocks = (certificate("one-ec", ["mta.test", "one.test"], "ec") + certificate("one-rsa", ["mta.test"], "rsa") +
          certificate("two-rsa", ["two.test", "*.two.test"], "rsa") + certificate("two-ec", ["two.test"], "ec"))
ports = {name: free_port() for name in ("many", "second", "new", "old", "narrow", "plainalpn")}
LISTEN = f"""
listen many {{ address 127.0.0.1:{ports['many']}; tls starttls; auth optional; reverse-lookup no;
    certificate one-ec one-rsa two-rsa two-ec; }}
listen second {{ address 127.0.0.1:{ports['second']}; tls starttls; auth required; reverse-lookup no;
    certificate one-ec one-rsa two-rsa two-ec; }}
listen new {{ address 127.0.0.1:{ports['new']}; tls implicit; auth required; reverse-lookup no;
    certificate one-ec; tls-version 1.3; ciphersuites TLS_CHACHA20_POLY1305_SHA256; }}
listen old {{ address 127.0.0.1:{ports['old']}; tls implicit; auth required; reverse-lookup no;
    certificate one-rsa; legacy-tls yes; }}
listen narrow {{ address 127.0.0.1:{ports['narrow']}; tls implicit; auth required; reverse-lookup no;
    certificate one-rsa; ciphers ECDHE-RSA-AES256-GCM-SHA384:AES256-SHA; alpn "mail/1" smtp; }}
listen plainalpn {{ address 127.0.0.1:{ports['plainalpn']}; tls implicit; auth required; reverse-lookup no;
    certificate one-rsa; alpn ""; }}
"""
client_crt, client_key = make_certificate("client.mta.test")
seen = []


class AskingSink(Sink):
    """Asks for a client certificate."""

    def __init__(self, *a, **kw):
        super().__init__(*a, **kw)
        self.tls_context.verify_mode = ssl.CERT_OPTIONAL
        self.tls_context.load_verify_locations(os.path.join(folder(), "one-ec.crt"))

    def reply_to(self, stage, arg, session):
        if stage == "mail":
            seen.append(session.request.getpeercert(binary_form=True))


sink = AskingSink("127.0.0.5", 25, tls=make_certificate("sink.test"))
sink.reply = sink.reply_to
# A connection is not kept, so that each message makes its own.
EXTRA = "delivery { idle 1s; }\nreceived full\nticket-rotation 2s\nrelayhost [127.0.0.5]:25\n" + blocks
s = Suite(extra=EXTRA, listeners=LISTEN)
s.submission = ports["second"]
secret = s.tenant()
implicit = {"new", "old", "narrow", "plainalpn"}


def s_client(listener, *args, stdin=b"QUIT\r\n"):
    argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{ports[listener]}", "-ign_eof", *args]
    if listener not in implicit:
        argv += ["-starttls", "smtp"]
    r = subprocess.run(argv, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    return r.stdout.decode("latin-1")


def shown(out):
    """Subject and kind of key of the certificate that was shown."""
    pem = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", out, re.S)
    if not pem:
        return None
    text = subprocess.run(["openssl", "x509", "-noout", "-text"], input=pem.group(0), capture_output=True,
                          text=True).stdout
    return (re.search(r"Subject: CN = (\S+)", text).group(1),
            "rsa" if "rsaEncryption" in text else "ec")


RSA = ("-tls1_2", "-cipher", "ECDHE+aRSA")
EC = ("-tls1_2", "-cipher", "ECDHE+ECDSA")
for args, want, what in [
        (("-noservername",), ("mta.test", "ec"), "no name: the first certificate"),
        (("-noservername", *RSA), ("mta.test", "rsa"), "... its RSA sibling to a client without ECDSA"),
        (("-servername", "two.test", *RSA), ("two.test", "rsa"), "SNI two.test, RSA"),
        (("-servername", "TWO.test", *EC), ("two.test", "ec"), "SNI TWO.test, ECDSA"),
        (("-servername", "sub.two.test"), ("two.test", "rsa"), "SNI by wildcard"),
        (("-servername", "one.test"), ("mta.test", "ec"), "SNI of a second name"),
        (("-servername", "deep.sub.two.test"), ("mta.test", "ec"), "a wildcard is one label"),
        (("-servername", "unknown.test"), ("mta.test", "ec"), "atk-B14 an unknown name: the first certificate"),
        (("-servername", "-_.%n%s"), ("mta.test", "ec"), "atk-B14 atk-F6 no host name"),
        (("-servername", ".two.test"), ("mta.test", "ec"), "atk-B14 a name that begins with a dot"),
        (("-servername", "a" * 255), ("mta.test", "ec"), "atk-B14 255 bytes")]:
    out = s_client("many", *args)
    tap.equal(shown(out), want, what)
tap.ok(s.wait_log(r"TLS connection established from localhost\[127\.0\.0\.1\] to two\.test: TLSv1\.2 with cipher "
                  r"ECDHE-RSA\S+ \("), "the log says name, version and cipher")
tap.ok("%n%s" in s.log() and len(s.pids("smtpd")) == 2, "atk-B14 ... odd names as text")


def raw_hello(name):
    """A TLS 1.2 ClientHello with these bytes as server name; what the server says first."""
    sni = b"\0" + struct.pack("!H", len(name)) + name
    ext = struct.pack("!HH", 0, len(sni) + 2) + struct.pack("!H", len(sni)) + sni
    ext += bytes.fromhex("000a00040002001d") + bytes.fromhex("000d0006000404010403") + bytes.fromhex("000b00020100")
    body = b"\x03\x03" + b"r" * 32 + b"\0" + bytes.fromhex("0004c02fc02b") + b"\x01\0" + struct.pack("!H", len(ext)) + ext
    hs = b"\x01" + struct.pack("!I", len(body))[1:] + body
    c = socket.create_connection(("127.0.0.1", ports["old"]), 5)
    c.sendall(b"\x16\x03\x01" + struct.pack("!H", len(hs)) + hs)
    c.settimeout(5)
    try:
        return c.recv(1)
    except OSError:
        return b""
    finally:
        c.close()


import struct  # noqa: E402
tap.equal(raw_hello(b"mta.test"), b"\x16", "a hello by hand is answered")
tap.equal(raw_hello(b"mta\0test"), b"\x15", "atk-B14 NUL in the name: an alert")
tap.ok(raw_hello(b"x" * 300) in (b"\x15", b""), "atk-B14 300 bytes: an alert")

# Versions and ciphers of each listener.
for listener, args, works, what in [
        ("many", ("-tls1_2",), True, "G4/6 T06 TLS 1.2"), ("many", ("-tls1_3",), True, "TLS 1.3"),
        ("many", ("-tls1_1", "-cipher", "ALL@SECLEVEL=0"), False, "T06 no TLS 1.1 by default"),
        ("many", ("-tls1_2", "-cipher", "kRSA"), False, "no key exchange by RSA"),
        ("many", ("-tls1_2", "-cipher", "DHE"), False, "TLS 1.2: ECDHE only"),
        ("new", ("-tls1_2",), False, "tls-version 1.3: no TLS 1.2"), ("new", ("-tls1_3",), True, "... but 1.3"),
        ("new", ("-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"), False, "ciphersuites: no other"),
        ("old", ("-tls1_1", "-cipher", "ALL@SECLEVEL=0"), True, "legacy-tls: TLS 1.1"),
        ("old", ("-tls1_2", "-cipher", "kRSA@SECLEVEL=0"), False, "... but no key exchange by RSA"),
        ("narrow", ("-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"), True, "ciphers: the one"),
        ("narrow", ("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"), False, "... not another"),
        ("narrow", ("-tls1_2", "-cipher", "AES256-SHA"), False, "... and RSA key exchange not even when listed"),
        ("many", ("-alpn", "smtp"), True, "ALPN smtp"),
        ("many", ("-alpn", "h2,http/1.1"), False, "ALPN: a browser is refused"),
        ("narrow", ("-alpn", "http/1.1,mail/1"), True, "ALPN: one of the listener's own"),
        ("plainalpn", ("-alpn", "http/1.1"), True, "alpn \"\": no matter")]:
    out = s_client(listener, *args)
    tap.equal(bool(re.search(r"^221 ", out, re.M)), works, f"{listener}: {what}")
out = s_client("narrow", "-alpn", "http/1.1,smtp")
tap.ok("ALPN protocol: smtp" in out, "ALPN: the protocol in common is told")

# Tickets: shared by the workers of a listener, by no other, and their keys change.
session = os.path.join(folder(), "session")


def ticket(listener, version):
    s_client(listener, version, "-sess_out", session, stdin=b"NOOP\r\nQUIT\r\n")


def resumes(listener, version):
    return "Reused, " in s_client(listener, version, "-sess_in", session)


for version in ("-tls1_2", "-tls1_3"):
    ticket("many", version)
    tap.ok(all(resumes("many", version) for _ in range(6)), f"{version}: a session is resumed by every worker")
    ticket("many", version)
    tap.ok(not resumes("second", version), f"atk-B9 {version}: a ticket of one listener is none on another")
    ticket("many", version)
    s.mtactl("reload")
    tap.ok(resumes("many", version), f"{version}: ... is good after a reload")
    ticket("many", version)
    time.sleep(5)
    tap.ok(not resumes("many", version), f"{version}: ... and not for long: its key is gone")

# Received, T07.
code, text = submit(s, secret)
got = sink.wait(1)[0]["data"].decode()
tap.ok(code == 250 and re.search(r"with ESMTPSA id \S+\s+for <b@rcpt.test>\s+tls TLS_\w+ \(TLSv1\.3\);", got),
       "T07 Received shows cipher and version", got[:600])

# Client certificates.
tap.equal(seen, [None], "no client certificate unless it is set")
s.write(EXTRA.replace("idle 1s;", "idle 1s; certificate one-ec;"))
s.mtactl("reload")
time.sleep(2)
submit(s, secret)
sink.wait(2)
der = base64.b64decode("".join(open(f"{folder()}/one-ec.crt").read().split("\n")[1:-2]))
tap.equal((len(seen), seen[-1] == der), (2, True), "delivery certificate: shown to a server that asks, signed for by signd")

# What is wrong in the configuration.
conf_before = open(s.conf).read()


def refused(extra, want, what, listeners=None):
    with open(s.conf, "w") as f:
        f.write(s.base + (listeners or LISTEN) + EXTRA + extra)
    r = s.mtactl("reload", check=False)
    t = s.mtactl("config", "check", check=False)
    tap.ok(r.returncode and re.search(want, r.stdout + r.stderr) and t.returncode and re.search(want, t.stderr),
           f"{what}: refused with file and line", (r, t))
    out = s_client("many", "-noservername")
    tap.equal(shown(out), ("mta.test", "ec"), "... the old configuration stays")


line = r"ekiden\.conf:\d+:\d+: "
weak = os.path.join(folder(), "weak")
subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-days", "30", "-subj", "/CN=w",
                "-keyout", weak + ".key", "-out", weak + ".crt"], check=True, stderr=subprocess.DEVNULL)
os.chmod(weak + ".key", 0o600)
one, two = (os.path.join(folder(), name) for name in ("one-ec", "two-ec"))
junk = os.path.join(folder(), "junk.key")
with open(junk, "w") as f:
    f.write("junk\n")
os.chmod(junk, 0o600)
shared = os.path.join(folder(), "shared.key")
with open(shared, "w") as f:
    f.write(open(one + ".key").read())
os.chmod(shared, 0o640)
os.chown(shared, 0, 12)
for crt, key, want, what in [
        (one + ".crt", two + ".key", line + "certificate bad: certificate and key do not belong together", "a key of another"),
        (weak + ".crt", weak + ".key", line + "certificate bad: an RSA key of 1024 bits is too short", "a weak key"),
        (one + ".crt", junk, line + "certificate bad: no private key in PEM form", "a garbage key"),
        (junk, one + ".key", line + "certificate bad: no certificate in PEM form", "a garbage certificate"),
        (one + ".crt", "/nonexistent/x.key", line + "key: /nonexistent/x.key: No such file", "no such file"),
        (one + ".crt", shared, line + r"key: \S+: mode 0640 .*chmod 600", "a key that its group can read")]:
    refused(f"certificate bad {{ chain {crt}; key {key}; }}\n", want, what)
refused("", line + r'listen many: there is no certificate "one-eq"; did you mean "one-ec"\?', "an unknown certificate",
        LISTEN.replace("certificate one-ec one-rsa", "certificate one-eq one-rsa", 1))
refused("", line + "listen narrow: ciphers: no cipher match", "a cipher list without a cipher",
        LISTEN.replace("ECDHE-RSA-AES256-GCM-SHA384:AES256-SHA", "NONSENSE"))
with open(s.conf, "w") as f:
    f.write(conf_before)
s.mtactl("reload")

# Memory. The numbers of each key, as they stand in files and as arithmetic holds them.

def secrets(path):
    text = subprocess.run(["openssl", "pkey", "-in", path, "-noout", "-text"], capture_output=True, text=True).stdout
    found = {}
    for name, block in re.findall(r"^(priv|privateExponent|prime1|prime2|exponent1|exponent2|coefficient):\n((?:    .*\n)+)",
                                  text, re.M):
        raw = bytes.fromhex(re.sub(r"[\s:]", "", block)).lstrip(b"\0")
        found[name] = raw
        found[name + " reversed"] = raw[::-1]
    pem = open(path).read().split("\n")
    found["PEM"] = pem[2].encode()
    return found


def memory(pid):
    data = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for row in maps:
            m = re.match(r"([0-9a-f]+)-([0-9a-f]+) (r\S+) \S+ \S+ \d+\s*(.*)", row)
            if not m or m.group(4) in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
                continue
            at, end = int(m.group(1), 16), int(m.group(2), 16)
            try:
                mem.seek(at)
                data.append(mem.read(end - at))
            except (OSError, ValueError):
                pass
    return b"".join(data)


s.mtactl("dkim", "new", "sender.test", "--selector=r")
s.mtactl("dkim", "new", "sender.test", "--selector=e", "--algorithm=ed25519")
for selector in "re":
    s.mtactl("dkim", "activate", "sender.test", selector, "--force")
code, text = submit(s, secret)
got = sink.wait(3)[2]["data"]
tap.equal(got.count(b"DKIM-Signature:"), 2, "keys for mail are in use, too")
for args in (RSA, EC):
    s_client("many", "-servername", "two.test", *args)
files = {os.path.basename(p): p for p in
         [os.path.join(folder(), f"{n}.key") for n in ("one-ec", "one-rsa", "two-rsa", "two-ec")] +
         [f"{s.dir}/state/dkim/{n}._domainkey.sender.test.pem" for n in "re"]}
needles = {name: secrets(path) for name, path in files.items()}
tap.ok(all(len(v) >= 3 for v in needles.values()), "the private numbers of six keys are known", needles.keys())
for role in ("smtpd", "smtp", "qmgr", "authd", "dnsd", "bounce"):
    pids = [pid for pid, _ in s.pids(role)]
    image = b"".join(memory(pid) for pid in pids)
    found = [(n, part) for n, parts in needles.items() for part, raw in parts.items() if raw in image]
    tap.ok(pids and len(image) > 1 << 20 and not found, f"atk-B15 no byte of a private key is in {role}", found)
image = b"".join(memory(pid) for pid, _ in s.pids("signd"))
missing = [n for n, parts in needles.items() if not any(raw in image for raw in parts.values())]
tap.ok(not missing, "... and the search finds each of them in signd", missing)
tap.done()
