#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""ATTACKS B: STARTTLS and the handshake, seen from clients that abuse them."""

import os
import random
import socket
import ssl
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from evil import GOOD, HOST, Smtpd, attack, is_reply, ready, replies, tap  # noqa: E402

s = Smtpd(limits="\terrors 100\n\ttls-timeout 2s")
ENDED = ["220 2.0.0", "250-"]  # what an injected EHLO must never get

# B1, B2: whatever stands behind STARTTLS in the same segment ends the session.
for row, what, data in (
        ("B1", "EHLO", "EHLO x\r\n"), ("B1", "NOOP", "NOOP\r\n"), ("B1", "RSET", "RSET\r\n"), ("B1", "QUIT", "QUIT\r\n"),
        ("B1", "half a command", "EH"), ("B1", "an empty line", "\r\n"), ("B1", "a ClientHello", b"\x16\x03\x01\x02\x00\x01"),
        ("B2", "AUTH and MAIL", f"AUTH PLAIN {GOOD}\r\nMAIL FROM:<a@acme.example>\r\n"),
        ("B2", "a whole message", f"EHLO x\r\nAUTH PLAIN {GOOD}\r\nMAIL FROM:<a@acme.example>\r\nRCPT TO:<b@dest.example>\r\n"
         "DATA\r\nFrom: a@acme.example\r\n\r\n.\r\n")):
    for port in ("submission", "mx"):
        c = s.connect(port)
        c.cmd("EHLO a")
        c.send(b"STARTTLS\r\n" + (data if isinstance(data, bytes) else data.encode()))
        got = replies(c)
        c.close()
        tap.ok([r[:9] for r in got] == ["554 5.5.0"] and not s.unharmed(f"atk-{row}"),
               f"atk-{row} {what} behind STARTTLS on {port}", got)

# B1: the same cut at every byte. Late bytes are a broken handshake, never a command.
text = b"STARTTLS\r\nEHLO injected.test\r\nMAIL FROM:<a@acme.example>\r\n"
bad = []
for cut in range(1, len(text)):
    c = s.connect("mx")
    c.cmd("EHLO a")
    c.send(text[:cut])
    time.sleep(0.003)
    try:
        c.send(text[cut:])
        c.sock.settimeout(5)
        got = b""
        while more := c.sock.recv(4096):
            got += more
    except OSError:
        pass
    if b"250" in got:
        bad.append((cut, got))
    c.close()
tap.ok(not bad and not s.unharmed("atk-B1"), "atk-B1 an injected command at every split", bad)

# B5: what was said before TLS is gone.
c = s.connect("mx")
c.cmd("EHLO before.test")
is_reply(c.cmd("MAIL FROM:<>"), "250", "atk-B5 MAIL before TLS")
is_reply(c.cmd("STARTTLS"), "503 5.5.1", "atk-B5 no STARTTLS within a transaction")
c.cmd("RSET")
c.starttls()
for line, want in (("MAIL FROM:<>", "503 5.5.1"), ("RCPT TO:<b@dest.example>", "503 5.5.1"), ("DATA", "503 5.5.1"),
                   (f"AUTH PLAIN {GOOD}", "503 5.5.1"), ("EHLO after.test", "250-"), ("RCPT TO:<b@dest.example>", "503 5.5.1"),
                   (f"AUTH PLAIN {GOOD}", "235"), ("STARTTLS", "503 5.5.1")):
    is_reply(c.cmd(line), want, f"atk-B5 behind TLS: {line[:10]}")
is_reply(c.mail("From: a@acme.example\r\n\r\n"), "250", "atk-B5 a message behind TLS")
m = s.stored()
tap.ok("after.test" in m["front"] and "before.test" not in m["front"], "atk-B5 the name given in plain is forgotten", m)
c.close()

# B6: without TLS nothing but the way to TLS.
for line, want in ((f"AUTH PLAIN {GOOD}", "530 5.7.0"), ("AUTH LOGIN", "530 5.7.0"), ("MAIL FROM:<a@acme.example>", "530 5.7.0"),
                   ("RCPT TO:<b@dest.example>", "530 5.7.0"), ("DATA", "530 5.7.0"), ("VRFY x", "530 5.7.0")):
    attack(s, "B6", f"{line[:10]} without TLS", "submission", [b"EHLO a\r\n", line, "\r\n"], [f"250-{HOST}", want],
           state="greeted")
c = s.connect("mx")
c.cmd("EHLO a")
is_reply(c.cmd(f"AUTH PLAIN {GOOD}"), "538 5.7.11", "atk-B6 no secret is taken in plain on mx")
c.close()


def s_client(*options, typed=b"", seconds=10):
    """What `openssl s_client` says; typed lines follow the handshake one by one."""
    p = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{s.ports['smtps']}", *options], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    time.sleep(0.4)
    for line in typed.splitlines(True):
        try:
            p.stdin.write(line)
            p.stdin.flush()
        except OSError:
            break
        time.sleep(0.3)
    try:
        return p.communicate(timeout=seconds)[0].decode("latin-1")
    except subprocess.TimeoutExpired:
        p.kill()
        return p.communicate()[0].decode("latin-1")


# B7
out = s_client("-tls1_2", typed=b"R\nNOOP\n")
tap.ok("RENEGOTIATING" in out and ("no renegotiation" in out or "handshake failure" in out or "reset" in out) and
       not s.unharmed("atk-B7"), "atk-B7 T06 renegotiation by the client is refused", out[-1500:])
for version in ("-tls1", "-tls1_1"):
    out = s_client(version, "-cipher", "DEFAULT@SECLEVEL=0", typed=b"NOOP\n")
    tap.ok("250 2.0.0" not in out and not s.unharmed("atk-B7"), f"atk-B7 T06 {version} is refused", out[-800:])

# B9: a ticket of one listener is worth nothing at another, and works at its own.
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.maximum_version = ssl.TLSVersion.TLSv1_2


def handshake(port, session=None):
    c = s.connect(port, greet=False) if port != "smtps" else None
    if c:
        c.reply()
        c.cmd("EHLO a")
        c.cmd("STARTTLS")
        sock = c.sock
    else:
        sock = socket.create_connection(("127.0.0.1", s.ports[port]), 10)
    tls = context.wrap_socket(sock, server_hostname=HOST, session=session)
    if not c:
        tls.recv(1000)
    tls.sendall(b"NOOP\r\n")
    tls.recv(1000)
    result = tls.session, tls.session_reused
    tls.close()
    return result


for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context.maximum_version = version
    name = version.name.replace("v1_", " 1.")
    for here in ("mx", "submission", "smtps"):
        ticket, _ = handshake(here)
        reused = {port: handshake(port, ticket)[1] for port in ("mx", "submission", "smtps")}
        tap.equal(reused, {port: port == here for port in reused}, f"atk-B9 {name}: a ticket of {here} is taken only there")
s.unharmed("atk-B9")


def client_hello(name="x.example"):
    """The bytes of a ClientHello of OpenSSL, as one record."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    fresh = ssl.create_default_context()
    fresh.check_hostname = False
    fresh.verify_mode = ssl.CERT_NONE
    tls = fresh.wrap_bio(into, out, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def first_answer(data, step=None, seconds=6):
    """The type of the first TLS record that comes back: 22 handshake, 21 alert, None at an end without one."""
    sock = socket.create_connection(("127.0.0.1", s.ports["smtps"]), seconds)
    try:
        for i in range(0, len(data), step or len(data)):
            sock.sendall(data[i:i + (step or len(data))])
        got = sock.recv(1)
    except OSError:
        got = b""
    sock.close()
    return got[0] if got else None


# B13: absolute deadlines, records of any size.
hello = client_hello()
for port in ("smtps", "submission"):
    c = s.connect(port, greet=False) if port == "submission" else None
    if c:
        c.reply()
        c.cmd("EHLO a")
        c.cmd("STARTTLS")
    sock = c.sock if c else socket.create_connection(("127.0.0.1", s.ports[port]), 10)
    sock.settimeout(0.1)
    start = time.monotonic()
    for byte in hello:
        try:
            sock.sendall(bytes([byte]))
            if not sock.recv(100):
                break
        except TimeoutError:
            pass
        except OSError:
            break
    took = time.monotonic() - start
    tap.ok(1.5 < took < 5, f"atk-B13 a ClientHello byte by byte on {port}: the deadline is absolute", took)
    sock.close()
tap.equal(first_answer(hello, 1), 22, "atk-B13 a ClientHello in single bytes, in time")
body = hello[5:]
records = b"".join(hello[:3] + len(body[i:i + 16]).to_bytes(2, "big") + body[i:i + 16] for i in range(0, len(body), 16))
tap.ok(first_answer(records) in (22, 21), "atk-B13 a ClientHello in records of 16 bytes")
for what, data in {
        "an empty record": hello[:3] + b"\0\0", "a record of 16 KiB": b"\x16\x03\x01\x40\0\x01" + bytes(16383),
        "a record of 64 KiB": b"\x16\x03\x01\xff\xff" + bytes(65535), "a handshake of 16 MiB": b"\x16\x03\x01\x40\0\x01\xff\xff\xff" + bytes(16380),
        "a thousand empty records": (hello[:3] + b"\0\0") * 1000, "an alert": b"\x15\x03\x01\0\x02\x02\x28",
        "SSL 2": b"\x80\x2e\x01\0\x02\0\x15\0\0\0\x10" + bytes(40), "application data": b"\x17\x03\x03\0\x05hello"}.items():
    tap.ok(first_answer(data, seconds=4) != 22 and not s.unharmed("atk-B13"), f"atk-B13 {what} instead of a ClientHello")
rng = random.Random(int(os.environ.get("EKIDEN_SEED", "13")))
for i in range(150):
    broken = bytearray(hello)
    for _ in range(rng.randint(1, 4)):
        broken[rng.randrange(len(broken))] = rng.randrange(256)
    first_answer(bytes(broken[:rng.randrange(20, len(broken) + 1)]) + b"\0" * rng.randrange(20), seconds=0.05)
tap.ok(not s.unharmed("atk-B13"), "atk-B13 150 damaged ClientHellos")

# B14: the name inside is replaced by one of the same length.
for what, name in {"255 octets": b"a" * 255, "NUL": b"mta\0.evil.test", "an address": b"127.0.0.1",
                   "blanks and control bytes": b"a b\r\n\x1b[31m", "8-bit": b"\xff\xfe\xc0\x80.test", "a dot": b".",
                   "the host's own name with a dot": b"mta.test.", "path": b"../../etc/passwd",
                   "trailing backslash": b"mta.test\\"}.items():
    filler = (b"x" * 60 + b".") * 5
    filler = filler[:len(name) - 1] + b"x"
    crafted = client_hello(filler.decode()).replace(filler, name)
    answer = first_answer(crafted)
    tap.ok(name in crafted and answer in (21, 22) and not s.unharmed("atk-B14"), f"atk-B14 C2 SNI with {what}", answer)
tap.ok("\x1b" not in s.log() and all(0x20 <= b < 0x7f or b == 10 for b in s.log().encode()), "atk-B14 atk-J8 the log is clean")

# C6: pipelined commands behind TLS, and the connection ends anywhere in the ciphertext.
for i in range(120):
    raw, c = None, ready(s, "submission")
    raw = socket.socket(fileno=os.dup(c.sock.fileno()))
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    c.send("MAIL FROM:<a@acme.example>\r\nRCPT TO:<b@dest.example>\r\n" * rng.randrange(1, 30))
    garbage = bytes(rng.getrandbits(8) for _ in range(rng.randrange(1, 300)))
    how = i % 4
    try:
        if how == 0:
            raw.sendall(b"\x17\x03\x03" + rng.randrange(1, 2000).to_bytes(2, "big") + garbage)
        elif how == 1:
            raw.sendall(b"\x15\x03\x03\0\x02" + garbage[:2])
        elif how == 2:
            raw.shutdown(socket.SHUT_WR)
        if rng.random() < 0.5:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    except OSError:
        pass
    raw.close()
    c.close()
tap.ok(not s.unharmed("atk-C6", "submission"), "atk-C6 TLS that breaks off around pipelined commands")
s.end()
tap.done()
