#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Name servers that are dead, slow, broken or lying, one behaviour for each name. atk-G10, G11, G12, C24."""

import os
import random
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../smtp"))
from drive import *  # noqa: E402,F403
import socket  # noqa: E402

A, CNAME, MX, TXT, AAAA = 1, 5, 15, 16, 28
rng = random.Random(int(os.environ.get("EKIDEN_SEED", "3")))


def wire(name):
    return b"".join(bytes([len(x)]) + x.encode("latin-1") for x in name.split(".") if x) + b"\0"


def rr(name, kind, data, ttl=60, cls=1, length=None):
    owner = name if isinstance(name, bytes) else wire(name)
    return owner + struct.pack(">HHIH", kind, cls, ttl, len(data) if length is None else length) + data


def mx(name, host, pref=10, **kw):
    return rr(name, MX, struct.pack(">H", pref) + (host if isinstance(host, bytes) else wire(host)), **kw)


def a(name, ip="192.0.2.1", **kw):
    return rr(name, A, socket.inet_aton(ip), **kw)


class Query:
    def __init__(self, data, send, tcp):
        self.data, self.send, self.tcp = data, send, tcp
        at, labels = 12, []
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]].decode("latin-1").lower())
            at += 1 + data[at]
        self.name, self.labels = ".".join(labels), labels
        self.kind = struct.unpack(">H", data[at + 1:at + 3])[0]
        self.question = data[12:at + 5]

    def message(self, *records, rcode=0, flags=0x8180, extra=(), count=None, question=None, ident=None):
        ident = self.data[:2] if ident is None else ident
        return ident + struct.pack(">HHHHH", flags | rcode, 1, len(records) if count is None else count, 0, len(extra)) + \
            (self.question if question is None else question) + b"".join(records) + b"".join(extra)

    def answer(self, *records, **kw):
        data = self.message(*records, **kw)
        if not self.tcp and len(data) > 1200:
            data = self.message(flags=0x8380)
        self.send(data)


POINTER = b"\xc0\x0c"  # the name in the question
BEHAVIOURS = {}


def behaviour(*wanted, **kw):
    """What is asked for NAME.evil.test may come out with any of these statuses."""
    def keep(f):
        BEHAVIOURS[f.__name__.replace("_", "-")] = (f, wanted, kw)
        return f
    return keep


@behaviour(DNS_OK)
def good(q):
    q.answer(*([mx(POINTER, "mx.good.evil.test")] if q.kind == MX else [a(POINTER)] if q.kind == A else []))


@behaviour(DNS_OK)
def slow(q):
    time.sleep(0.3)
    good(q)


@behaviour(DNS_TEMP)
def dead(q):
    pass


@behaviour(DNS_TEMP)
def wrong_id(q):
    q.send(q.message(a(POINTER, "6.6.6.6"), ident=bytes(b ^ 0x5A for b in q.data[:2])))


@behaviour(DNS_TEMP)
def wrong_question(q):
    q.send(q.message(a("other.evil.test", "6.6.6.6"), question=wire("other.evil.test") + q.question[-4:]))


@behaviour(DNS_TEMP)
def no_question(q):
    q.send(q.data[:2] + struct.pack(">HHHHH", 0x8180, 0, 1, 0, 0) + a("no-question.evil.test", "6.6.6.6"))


@behaviour(DNS_TEMP)
def other_port(q):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(q.message(a(POINTER, "6.6.6.6")), q.send.to)


@behaviour(DNS_TEMP)
def not_a_reply(q):
    q.send(q.message(a(POINTER, "6.6.6.6"), flags=0x0100))


@behaviour(DNS_OK)
def truncated(q):
    good(q) if q.tcp else q.send(q.message(flags=0x8380))


@behaviour(DNS_TEMP)
def truncated_no_tcp(q):
    if not q.tcp:
        q.send(q.message(flags=0x8380))


@behaviour(DNS_TEMP)
def garbage(q):
    q.send(q.data[:2] + bytes(rng.randrange(256) for _ in range(200)))


@behaviour(DNS_TEMP)
def header_only(q):
    q.send(q.data[:12])


@behaviour(DNS_TEMP)
def half_a_header(q):
    q.send(q.data[:5])


@behaviour(DNS_TEMP)
def nothing(q):
    q.send(b"")


@behaviour(DNS_TEMP)
def counts_lie(q):
    q.send(q.message(mx(POINTER, "mx.good.evil.test") if q.kind == MX else a(POINTER), count=1000))


@behaviour(DNS_TEMP)
def pointer_to_itself(q):
    at = 12 + len(q.question)
    q.send(q.message(rr(struct.pack(">H", 0xC000 | at), q.kind, b"\0\0\0\0")))


@behaviour(DNS_TEMP)
def pointers_in_a_circle(q):
    at = 12 + len(q.question)
    q.send(q.message(rr(struct.pack(">HH", 0xC000 | (at + 2), 0xC000 | at), q.kind, b"\0\0\0\0")))


@behaviour(DNS_TEMP)
def pointer_ahead(q):
    q.send(q.message(rr(b"\xff\xff", q.kind, b"\0\0\0\0")))


@behaviour(DNS_TEMP, DNS_NODATA, DNS_NXDOMAIN)
def pointer_in_rdata(q):
    at = 12 + len(q.question) + 2 + 10 + 2
    q.send(q.message(mx(POINTER, struct.pack(">H", 0xC000 | at)) if q.kind == MX else a(POINTER)))


@behaviour(DNS_TEMP)
def label_of_64(q):
    q.send(q.message(rr(bytes([64]) + b"x" * 64 + b"\0", q.kind, b"\0\0\0\0")))


@behaviour(DNS_TEMP)
def name_of_300(q):
    q.send(q.message(rr((bytes([60]) + b"x" * 60) * 5 + b"\0", q.kind, b"\0\0\0\0")))


@behaviour(DNS_TEMP, DNS_NODATA)
def cname_to_itself(q):
    q.answer(rr(POINTER, CNAME, POINTER))


@behaviour(DNS_TEMP)
def cname_circle(q):
    other = "b.cname-circle.evil.test" if q.labels[0] != "b" else "cname-circle.evil.test"
    q.answer(rr(POINTER, CNAME, wire(other)))


@behaviour(DNS_TEMP)
def cname_without_end(q):
    n = int(q.labels[0]) if q.labels[0].isdigit() else 0
    q.answer(rr(POINTER, CNAME, wire(f"{n + 1}.cname-without-end.evil.test")))


@behaviour(DNS_OK, hosts=(1, 100), seconds=9)
def mx_500(q):
    if q.kind == MX:
        q.answer(*[mx(POINTER, f"h{i}.mx-500.evil.test", i) for i in range(500)])
    else:
        q.answer(*([a(POINTER)] if q.kind == A else []))


@behaviour(DNS_OK, DNS_TEMP, hosts=(0, 1))
def mx_the_same_500_times(q):
    q.answer(*[mx(POINTER, "mx.good.evil.test", 10)] * 500 if q.kind == MX else [a(POINTER)] if q.kind == A else [])


@behaviour(DNS_OK, addresses=64)
def address_500(q):
    if q.kind == MX:
        q.answer(mx(POINTER, "h.address-500.evil.test"))
    elif q.kind == A:
        q.answer(*[a(POINTER, f"192.0.{i >> 8}.{i & 255}") for i in range(500)])
    else:
        q.answer()


@behaviour(DNS_TEMP, DNS_NODATA, DNS_NXDOMAIN)
def mx_of_length_0(q):
    q.send(q.message(rr(POINTER, MX, b"")) if q.kind == MX else q.message())


@behaviour(DNS_TEMP, DNS_NODATA, DNS_NXDOMAIN)
def mx_cut_short(q):
    q.send(q.message(rr(POINTER, MX, b"\0\x0a\x03ab")) if q.kind == MX else q.message())


@behaviour(DNS_TEMP)
def rdata_past_the_end(q):
    q.send(q.message(rr(POINTER, q.kind, b"\0\x0a", length=5000)))


@behaviour(DNS_TEMP, DNS_NODATA, DNS_NXDOMAIN)
def address_of_3_bytes(q):
    q.send(q.message(rr(POINTER, A, b"\x7f\0\0")) if q.kind == A else q.message())


@behaviour(DNS_TEMP, DNS_NODATA, DNS_NXDOMAIN, DNS_OK, hosts=(0, 0))
def mx_with_line_ends(q):
    if q.kind == MX:
        q.answer(mx(POINTER, wire("evil\r\nRCPT TO:<x>.evil.test")))
    else:
        q.answer(rcode=3)


@behaviour(DNS_TEMP, DNS_NODATA, DNS_NXDOMAIN)
def another_class(q):
    q.answer(mx(POINTER, "mx.good.evil.test", cls=3) if q.kind == MX else a(POINTER, cls=3))


@behaviour(DNS_TEMP, DNS_NXDOMAIN, DNS_OK)
def nxdomain_with_answers(q):
    q.answer(a(POINTER, "192.0.2.1") if q.kind == A else mx(POINTER, "mx.good.evil.test"), rcode=3)


@behaviour(DNS_OK)
def odd_ttl(q):
    q.answer(*([mx(POINTER, "mx.good.evil.test", ttl=0xFFFFFFFF)] if q.kind == MX else [a(POINTER, ttl=0x80000000)]
               if q.kind == A else []))


@behaviour(DNS_OK)
def poison(q):
    victim = a("victim.evil.test", "6.6.6.6", ttl=86400)
    q.answer(*([mx(POINTER, "mx.good.evil.test"), victim] if q.kind == MX else [a(POINTER), victim]), extra=(victim,))


@behaviour(DNS_TEMP)
def tcp_says_64k_and_stops(q):
    if not q.tcp:
        q.send(q.message(flags=0x8380))
    else:
        q.send.raw(b"\xff\xff" + q.message()[:20])
        time.sleep(6)


@behaviour(DNS_TEMP)
def tcp_drips(q):
    if not q.tcp:
        q.send(q.message(flags=0x8380))
        return
    for b in b"\0\x40" + q.message():
        q.send.raw(bytes([b]))
        time.sleep(0.5)


@behaviour(DNS_TEMP)
def tcp_resets(q):
    if not q.tcp:
        q.send(q.message(flags=0x8380))
    else:
        q.send.reset()


for code, name, wanted in ((1, "formerr", DNS_TEMP), (2, "servfail", DNS_TEMP), (3, "nxdomain", DNS_NXDOMAIN),
                           (4, "notimp", DNS_TEMP), (5, "refused", DNS_TEMP), (9, "notauth", DNS_TEMP),
                           (15, "rcode-15", DNS_TEMP)):
    BEHAVIOURS[name] = (lambda q, code=code: q.answer(rcode=code), (wanted,), {})
BEHAVIOURS["empty"] = (lambda q: q.answer(), (DNS_NODATA,), {})
BEHAVIOURS["null-mx"] = (lambda q: q.answer(*([mx(POINTER, b"\0", 0)] if q.kind == MX else [])), (DNS_NULLMX,), {})
BEHAVIOURS["mx-without-address"] = (
    lambda q: q.answer(*([mx(POINTER, "none.empty.evil.test")] if q.kind == MX else [])), (DNS_NODATA,), {})
BEHAVIOURS["mx-servfail-behind"] = (
    lambda q: q.answer(*([mx(POINTER, "x.servfail.evil.test")] if q.kind == MX else [])), (DNS_TEMP,), {})


class Reply:
    """A way to answer."""

    def __init__(self, sock, to=None):
        self.sock, self.to = sock, to

    def __call__(self, data):
        if self.to:
            self.sock.sendto(data, self.to)
        else:
            self.raw(struct.pack(">H", len(data)) + data)

    def raw(self, data):
        self.sock.sendall(data)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Server:
    def __init__(self):
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.udp.bind(("127.0.0.1", 0))
        self.port = self.udp.getsockname()[1]
        self.tcp = socket.socket()
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind(("127.0.0.1", self.port))
        self.tcp.listen(64)
        self.errors, self.count = [], 0
        for run in (self.run_udp, self.run_tcp):
            threading.Thread(target=run, daemon=True).start()

    def handle(self, data, send, tcp):
        try:
            self.count += 1
            q = Query(data, send, tcp)
            name = q.labels[-3] if len(q.labels) >= 3 else ""
            BEHAVIOURS.get(name, (lambda q: q.answer(rcode=3),))[0](q)
        except OSError:
            pass
        except Exception as e:  # a broken script is a failed test
            self.errors.append(repr(e))

    def run_udp(self):
        while True:
            data, who = self.udp.recvfrom(65536)
            threading.Thread(target=self.handle, args=(data, Reply(self.udp, who), False), daemon=True).start()

    def run_tcp(self):
        while True:
            sock, _ = self.tcp.accept()
            threading.Thread(target=self.one_tcp, args=(sock,), daemon=True).start()

    def one_tcp(self, sock):
        sock.settimeout(10)
        try:
            while True:
                size = sock.recv(2, socket.MSG_WAITALL)
                if len(size) < 2:
                    break
                self.handle(sock.recv(struct.unpack(">H", size)[0], socket.MSG_WAITALL), Reply(sock), True)
        except OSError:
            pass
        sock.close()


try:
    server = Server()
except OSError as e:
    skip_all(f"no port for both: {e}")
TIMEOUT = 4
CONF = f"hostname mta.test\nresolver {{ server 127.0.0.1:{server.port}; dnssec no; timeout {TIMEOUT}s }}\n"
d = Drive("dnsd", CONF, peers=["smtp", "authd"])
serial = 0


def ask(name, kind="mx_query", peer="smtp", **kw):
    global serial
    serial += 1
    d.send(peer, kind, req=serial, name=name, **kw)
    return serial


def take(req, kind="mx_answer", peer="smtp", timeout=TIMEOUT + 8):
    return d.expect(peer, kind, timeout, req=req)


def works():
    fresh = f"x{rng.randrange(1 << 30)}.good.evil.test"
    answer = take(ask(fresh, mx=True))
    return answer["status"] == DNS_OK and answer["hosts"][0]["name"] == "mx.good.evil.test"


tap.ok(works(), "a good server")
# First what has an answer: the resolver waits longer and longer for a server that it knows to be silent.
# All names have one server here.
asked = {}
for name in sorted(BEHAVIOURS, key=lambda name: DNS_TEMP in BEHAVIOURS[name][1]):
    if not any(DNS_TEMP in BEHAVIOURS[n][1] for n in asked) and DNS_TEMP in BEHAVIOURS[name][1]:
        time.sleep(3)
    asked[name] = ask(f"{name}.evil.test", mx=True), time.monotonic()
for name, (req, start) in asked.items():
    _, wanted, more = BEHAVIOURS[name]
    answer = take(req)
    took = time.monotonic() - start
    row = "atk-G11" if name.startswith(("wrong", "other", "no", "poison")) else "atk-G12" if "-" not in name else "atk-G10"
    tap.ok(answer["status"] in wanted, f"{row}: {name}: status {' or '.join(map(str, wanted))}", answer)
    low, high = more.get("hosts", (0, 100))
    tap.ok(low <= len(answer["hosts"]) <= high and took < more.get("seconds", TIMEOUT + 6),
           "   in time, and not too much of it", (took, len(answer["hosts"])))
    tap.ok("06060606" not in str(answer), "atk-G11: nothing forged is in it", answer)
    tap.ok(all(len(h["v4"]) // 8 <= more.get("addresses", 64) for h in answer["hosts"]), "atk-G10: at most 64 addresses a host",
           [len(h["v4"]) for h in answer["hosts"]])
    tap.ok(not any(c < " " for h in answer["hosts"] for c in h["name"]), "atk-G10: names of hosts are names", answer)
tap.ok(d.alive() and works(), "the process lives, and the next question is answered")
victim = take(ask("victim.evil.test", mx=False))
tap.equal(victim["status"], DNS_NXDOMAIN, "atk-G11: what was said of another name is not remembered")


# --- Addresses and texts asked for alone (C24).
def strings(*parts):
    return b"".join(bytes([len(p)]) + p for p in parts)


def text(name, wanted, *records):
    BEHAVIOURS[name] = (lambda q: q.answer(*[rr(POINTER, TXT, r) for r in records]), wanted, {})


text("txt-16k", (DNS_OK, DNS_TEMP), strings(*[b"x" * 255] * 64))
text("txt-of-many", (DNS_OK, DNS_TEMP), strings(*[b"y"] * 3000))
text("txt-500-records", (DNS_OK, DNS_TEMP), *[strings(b"z" * 100)] * 500)
text("txt-of-nothing", (DNS_OK, DNS_TEMP, DNS_NODATA), b"")
text("txt-empty", (DNS_OK,), strings(b""))
text("txt-past-its-end", (DNS_OK, DNS_TEMP, DNS_NODATA), b"\xff" + b"x" * 10)
text("txt-bytes", (DNS_OK,), strings(bytes(range(256))[:255]))
for name in [n for n in BEHAVIOURS if n.startswith("txt-")]:
    answer = take(ask(f"{name}.evil.test", "txt_query", "authd"), "txt_answer", "authd")
    size = max([len(s["text"]) // 2 for s in answer["strings"]] or [0])
    tap.ok(answer["status"] in BEHAVIOURS[name][1] and size <= 4096, f"atk-C24: {name}: at most 4 KiB of it",
           (answer["status"], size))
for name in ("cname-circle", "rdata-past-the-end", "address-of-3-bytes", "garbage"):
    answer = take(ask(f"y.{name}.evil.test", "txt_query", "authd"), "txt_answer", "authd")
    tap.ok(answer["status"] != DNS_OK, f"atk-C24: a text at {name}", answer)
tap.ok(d.alive() and works(), "the process lives, and the next question is answered")

# --- Mutations of a good answer: any status, no harm.
base = {}


@behaviour(*range(6))
def mutant(q):
    data = bytearray(q.message(*([mx(POINTER, "mx.good.evil.test"), mx(POINTER, "h.mutant.evil.test", 20)] if q.kind == MX
                                 else [a(POINTER)] if q.kind == A else [rr(POINTER, TXT, strings(b"abc", b"d"))])))
    for _ in range(rng.randrange(1, 5)):
        data[rng.randrange(2, len(data))] = rng.choice((0, 1, 0x3F, 0xC0, 0xFF, rng.randrange(256)))
    q.send(bytes(data[:rng.choice((len(data), len(data), rng.randrange(12, len(data))))]))


for n in range(400):
    ask(f"m{n}.mutant.evil.test", mx=True)
first = serial - 399
tap.ok(all(take(first + n, timeout=TIMEOUT + 10)["status"] in range(6) for n in range(400)),
       "atk-G10: 400 damaged answers: each question has its answer")
tap.ok(d.alive() and works(), "the process lives, and the next question is answered")

# --- One of two servers is dead: the other one will do.
quiet = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
quiet.bind(("127.0.0.1", 0))
d.configure(CONF.replace("server ", f"server 127.0.0.1:{quiet.getsockname()[1]} "))
d.expect("master", "ready")
tap.ok(all(works() for _ in range(10)), "atk-G10: a dead server beside a good one costs no answer")
tap.equal(server.errors, [], "no script failed")
d.finish()
tap.done()
