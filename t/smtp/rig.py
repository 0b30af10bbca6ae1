# SPDX-License-Identifier: ISC
"""The SMTP client under test as qmgr and dnsd see it, and scripted servers for it to talk to."""

import ipaddress
import os
import re
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time

from drive import *  # noqa: F403

CONF = """hostname mta.test
delivery {{
    reply-timeout {reply}; end-of-data-timeout {eod}; connect-timeout 2s; session-timeout {session}
    tls may
    {more}
}}
"""
DOTS, EIGHT_BIT, EIGHT_BITMIME, UTF8, BIG, EIGHT_BIT_HEADER = 1, 2, 4, 8, 16, 64


def conf(reply="5s", eod="5s", session="60s", more="", top=""):
    return CONF.format(reply=reply, eod=eod, session=session, more=more) + top


def _table():
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
        yield i


TABLE = list(_table())


def crc32c(data):
    crc = 0xFFFFFFFF
    for b in data:
        crc = TABLE[(crc ^ b) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


class Smtp(Drive):
    """Connections are numbered from 1, jobs too."""

    def __init__(self, text=None, material=(), peers=("qmgr", "dnsd")):
        super().__init__("smtp", text or conf(), material, peers)
        self.conns = self.jobs = self.contents = 0

    def open(self, nexthop="127.0.0.1", port=0, mx=False, tls=TLS_NONE, idle_s=10, **kw):
        self.conns += 1
        self.send("qmgr", "conn_open", conn=self.conns, nexthop=nexthop, mx=mx, port=port, tls=tls,
                  idle_s=idle_s, **kw)
        return self.conns

    def ready(self, conn, timeout=20):
        return self.expect("qmgr", "conn_ready", timeout, conn=conn)

    def closed(self, conn, timeout=20):
        return self.expect("qmgr", "conn_closed", timeout, conn=conn)

    def content(self, data):
        self.contents += 1
        path = os.path.join(self.dir, f"content{self.contents}")
        with open(path, "wb") as f:
            f.write(data)
        self.send("qmgr", "content", fd=path, content=self.contents)
        return self.contents

    def deliver(self, conn, rcpts=("r@dest.test",), body=b"Subject: t\r\n\r\nhello\r\n", front=b"",
                sender="s@src.test", flags=0, crc=None, big=False, **kw):
        self.jobs += 1
        now = int(time.time() * 1e6)
        if big:
            content, extra = self.content(b"junk" + front), self.content(body)
        else:
            content, extra = self.content(b"junk" + front + body), 0
        fields = dict(conn=conn, job=self.jobs, qid=self.jobs << 20 | 5, content=content, offset=4,
                      front_len=len(front), big=extra, content_len=len(body),
                      crc=crc32c(front + body) if crc is None else crc, flags=flags,
                      arrival_us=now - 500000, received_us=now - 400000, active_us=now - 100000,
                      sender=sender, tenant="acme", user="key1", lane="dest.test", attempt=1,
                      rcpts=[r if isinstance(r, dict) else {"index": i, "rcpt": r}
                             for i, r in enumerate(rcpts)])
        fields.update(kw)
        self.send("qmgr", "deliver", **fields)
        return self.jobs

    def done(self, job, timeout=20):
        """The results of a job, in the order of its recipients."""
        results, relay = [], None
        while True:
            m = self.expect("qmgr", "job_done", timeout, job=job)
            results += m["results"]
            relay = m["relay"]
            if not m["more"]:
                break
        for r in results:
            r["relay"] = relay
        return sorted(results, key=lambda r: r["index"])

    def answer_mx(self, hosts, status=0, implicit=False, text="", ttl_s=0, timeout=20):
        """Plays dnsd: hosts are (preference, name, [addresses])."""
        q = self.expect("dnsd", "mx_query", timeout)
        self.send("dnsd", "mx_answer", req=q["req"], status=status, implicit=implicit, text=text,
                  ttl_s=ttl_s, hosts=mx_hosts(hosts))
        return q

    def settle(self, conn, timeout=20):
        """conn_ready's relay, or conn_closed."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            with self.cond:
                hit = [e["msg"] for e in self.got if e["m"].get("conn") == conn and
                       e["msg"] in ("conn_ready", "conn_closed")]
                if not hit:
                    self.cond.wait(0.5)
                    continue
            m = self.expect("qmgr", hit[0], conn=conn)
            return m["relay"] if hit[0] == "conn_ready" else m
        raise Timeout(f"connection {conn} is neither ready nor closed")


def mx_hosts(hosts):
    """Records of what DNS said: (preference, name, [addresses])."""
    records = []
    for pref, name, addrs in hosts:
        packed = [ipaddress.ip_address(a) for a in addrs]
        records.append({"pref": pref, "name": name,
                        "v4": b"".join(p.packed for p in packed if p.version == 4),
                        "v6": b"".join(p.packed for p in packed if p.version == 6)})
    return records


def said(r):
    """A result as a report tells it."""
    code, e = r["code"], r["esc"]
    enhanced = f"{e >> 20}.{e >> 10 & 1023}.{e & 1023} " if e >> 20 == code // 100 else ""
    return f"{code} {enhanced}{r['text']}" if r["remote"] else r["text"]


class Gone(Exception):
    pass


class Peer:
    """One connection of a server."""

    def __init__(self, server, sock, number):
        self.server, self.sock, self.number = server, sock, number
        self.buf = b""
        self.said = []
        self.messages = []
        self.tls = False
        sock.settimeout(25)

    def send(self, *lines):
        data = b"".join((x if isinstance(x, bytes) else x.encode()) + b"\r\n" for x in lines)
        self.raw(data)

    def raw(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            raise Gone from None

    def _fill(self):
        try:
            data = self.sock.recv(65536)
        except (OSError, ssl.SSLError):
            raise Gone from None
        if not data:
            raise Gone
        self.buf += data

    def line(self):
        while b"\r\n" not in self.buf:
            self._fill()
        line, self.buf = self.buf.split(b"\r\n", 1)
        self.said.append(line.decode("utf-8", "replace"))
        return self.said[-1]

    def data(self):
        """Content up to its dot, still stuffed."""
        while len(self.buf) < 3:
            self._fill()
        if self.buf.startswith(b".\r\n"):
            self.buf = self.buf[3:]
            return b""
        while b"\r\n.\r\n" not in self.buf:
            self._fill()
        data, self.buf = self.buf.split(b"\r\n.\r\n", 1)
        return data + b"\r\n"

    def quiet(self, seconds=0.3):
        """Nothing more comes from the client in this time."""
        if self.buf:
            return False
        self.sock.settimeout(seconds)
        try:
            self.buf += self.sock.recv(65536)
            return False
        except (TimeoutError, socket.timeout, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        finally:
            self.sock.settimeout(25)

    def starttls(self, context):
        self.sock = context.wrap_socket(self.sock, server_side=True)
        self.sock.settimeout(25)
        self.tls = True
        self.buf = b""

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Server:
    """Runs `script(peer)` for each connection."""

    def __init__(self, script, host="127.0.0.1", port=0):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((host, port))
        self.sock.listen(256)
        self.port = self.sock.getsockname()[1]
        self.script = script
        self.peers = []
        self.error = None
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            peer = Peer(self, sock, len(self.peers))
            self.peers.append(peer)
            threading.Thread(target=self._run, args=(peer,), daemon=True).start()

    def _run(self, peer):
        try:
            self.script(peer)
        except Gone:
            pass
        except Exception as e:  # a broken script is a failed test
            self.error = repr(e)
        finally:
            peer.close()

    def stop(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)  # wakes accept(), which would keep it open
        except OSError:
            pass
        self.sock.close()

    @property
    def messages(self):
        return [m for p in self.peers for m in p.messages]


class Sink:
    """
    A well-behaved server whose replies can be replaced: `replies` maps a verb (GREETING, EHLO, HELO,
    STARTTLS, AUTH, MAIL, RCPT, DATA, EOD, RSET, QUIT) to a reply, a function(peer, line) or a list of
    these, one for each time. A reply is a string, a tuple of lines, CLOSE, RESET, or bytes: sent as they
    are, and nothing more is said.
    """
    CLOSE, RESET = "<close>", "<reset>"

    def __init__(self, ehlo=("PIPELINING", "8BITMIME"), replies=None, context=None, tls_ehlo=None):
        self.ehlo, self.tls_ehlo, self.context = ehlo, tls_ehlo, context
        self.replies = dict(replies or {})
        self.counts = {}
        self.lock = threading.Lock()

    def pick(self, verb, peer, line, default):
        r = self.replies.get(verb, default)
        if isinstance(r, list) and r and not isinstance(r[0], tuple):
            with self.lock:
                n = self.counts[verb] = self.counts.get(verb, -1) + 1
            r = r[n] if n < len(r) else default
        if callable(r):
            r = r(peer, line)
            if r is None:
                r = default
        return r

    def answer(self, verb, peer, line, default, message=None):
        r = self.pick(verb, peer, line, default)
        if message is not None and str(r).startswith("2"):
            peer.messages.append(message)  # before the client can hear of it
        if r == self.CLOSE:
            raise Gone
        if r == self.RESET:
            peer.reset()
            raise Gone
        if isinstance(r, bytes):
            peer.raw(r)
            while True:
                peer._fill()
        if isinstance(r, tuple):
            peer.send(*r)
            return r[-1]
        peer.send(r)
        return r

    def hello(self, peer):
        words = ("sink.test",) + tuple(self.tls_ehlo if peer.tls and self.tls_ehlo is not None
                                       else self.ehlo)
        return tuple(f"250{'-' if i + 1 < len(words) else ' '}{w}" for i, w in enumerate(words))

    def __call__(self, peer):
        self.answer("GREETING", peer, "", "220 sink.test ESMTP")
        envelope = None
        while True:
            line = peer.line()
            verb = re.split(r"[ :]", line)[0].upper()
            if verb == "EHLO":
                self.answer(verb, peer, line, self.hello(peer))
            elif verb == "STARTTLS":
                r = self.answer(verb, peer, line, "220 go ahead")
                if r.startswith("220"):
                    peer.starttls(self.context)
            elif verb == "MAIL":
                if envelope is not None:  # S06
                    self.answer("NESTED", peer, line, "503 5.5.1 nested MAIL")
                    continue
                r = self.answer(verb, peer, line, "250 2.1.0 Ok")
                envelope = {"mail": line, "rcpt": []} if r.startswith("2") else None
            elif verb == "RCPT":
                default = "250 2.1.5 Ok" if envelope is not None else "503 5.5.1 no MAIL"
                if self.answer(verb, peer, line, default).startswith("2"):
                    envelope["rcpt"].append(line)
            elif verb == "DATA":
                good = envelope is not None and envelope["rcpt"]
                r = self.answer(verb, peer, line, "354 go" if good else "554 5.5.1 no recipients")
                if r.startswith("354"):
                    message = dict(envelope or {}, data=peer.data())
                    self.answer("EOD", peer, "", f"250 2.0.0 Ok: queued as Q{peer.number}", message)
                    envelope = None
            elif verb == "QUIT":
                self.answer(verb, peer, line, "221 2.0.0 Bye")
                return
            else:
                self.answer(verb, peer, line, "250 2.0.0 Ok")
                if verb == "RSET":
                    envelope = None


def certificate(folder, name="mx.test", days=2):
    """A self-signed certificate; paths of certificate and key."""
    cert, key = os.path.join(folder, name + ".crt"), os.path.join(folder, name + ".key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-days",
                    str(days), "-subj", f"/CN={name}", "-addext",
                    f"subjectAltName=DNS:{name},IP:127.0.0.1"], check=True, capture_output=True)
    return cert, key


def server_context(cert, key):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(cert, key)
    return c


def closed_port(host="127.0.0.1"):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.bind((host, 0))
        return s.getsockname()[1]
