#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""atk-J16: milters that break. Whatever one does at whatever point, the message is stored as it came or as the milter
wanted it as a whole, or refused as on-failure says; sessions of other listeners go on, and no process ends."""
import os
import re
import smtplib
import socketserver
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

private_network()


def packet(command, data=b""):
    return struct.pack("!I", len(data) + 1) + command + data


class Close(Exception):
    pass


class Evil(socketserver.ThreadingTCPServer):
    """.act(command) -> bytes to send instead of "continue"; None: nothing; Close raised: it closes."""
    allow_reuse_address = daemon_threads = True
    act = staticmethod(lambda command, peer: packet(b"c"))
    terms = struct.pack("!III", 6, 0x1ff, 0)

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Talk)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass


class Talk(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            while True:
                n, = struct.unpack("!I", self.rfile.read(4))
                command = self.rfile.read(n)[:1]
                if command in b"DAQK":
                    continue
                answer = self.server.act(command, self)
                if answer is None and command == b"O":
                    answer = packet(b"O", self.server.terms)
                if answer:
                    self.wfile.write(answer)
        except (Close, OSError, struct.error):
            pass


evil = Evil()
POLICIES = {"tempfail": 451, "accept": 250, "reject": 550}
PORTS = {p: free_port() for p in list(POLICIES) + ["none", "dead"]}
dead = free_port()
CONF = "relayhost [127.0.0.5]:25\nlimits { message-size 2M; inline-size 64K; connections-per-client 0; }\nretry { period 1d; }\n" + "".join(
    f"milter m-{p} {{ socket inet:127.0.0.1:{evil.port}; on-failure {p}; timeout 1s; }}\n" for p in POLICIES) + \
    f"milter m-dead {{ socket inet:127.0.0.1:{dead}; timeout 1s; }}\n"
LISTEN = "".join(f"listen {n} {{ address 127.0.0.1:{p}; tls none; auth networks 127.0.0.0/8 tenant acme; reverse-lookup no; "
                 f"milters {'m-' + n if n != 'none' else chr(34) * 2}; }}\n" for n, p in PORTS.items())
ns = Nsd({"rcpt.test": "@ IN MX 10 mx\nmx IN A 127.0.0.5"})
sink = Sink("127.0.0.5", 25)
s = Suite(listeners=LISTEN, extra=CONF)
s.tenant()
pids = sorted(s.pids())


def send(port, body="Hello\r\n"):
    """The first reply that is not a good one, or that to the message."""
    try:
        c = smtplib.SMTP("127.0.0.1", PORTS[port], timeout=30, local_hostname="client.test")
    except smtplib.SMTPConnectError as e:
        return e.smtp_code
    for step in (c.ehlo, lambda: c.mail("a@sender.test"), lambda: c.rcpt("b@rcpt.test"),
                 lambda: c.data(mail(subject="original", body=body))):
        try:
            code = step()[0]
        except smtplib.SMTPDataError as e:
            code = e.smtp_code
        except smtplib.SMTPServerDisconnected:
            return 421
        if code >= 400:
            break
    c.close()
    return code


def default(command):
    return packet(b"O", evil.terms) if command == b"O" else packet(b"c")


def on(point, what):
    """An act that does `what` at the point, and is good elsewhere."""
    def act(command, talk):
        if command != point:
            return default(command)
        return what(command, talk) if callable(what) else what
    return act


def close(command, talk):
    raise Close


def silent(command, talk):
    return b""


def half(command, talk):
    talk.wfile.write(packet(b"c")[:3])
    raise Close


def flood(command, talk):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        talk.wfile.write(packet(b"p") * 100)
        time.sleep(0.05)


EDITS = (packet(b"h", b"X-Half\0yes\0") + packet(b"m", struct.pack("!I", 1) + b"Subject\0changed\0") +
         packet(b"+", b"<x@rcpt.test>\0") + packet(b"e", b"<new@sender.test>\0"))
BODY = packet(b"b", b"HALF A BODY\r\n" * 1000)


def then_close(data):
    def act(command, talk):
        talk.wfile.write(data)
        raise Close
    return act


POINTS = {"O": "negotiation", "C": "connect", "H": "helo", "M": "mail", "R": "rcpt", "T": "data", "L": "header", "N": "eoh",
          "B": "body", "E": "end"}
CASES = []
for p, name in POINTS.items():
    p = p.encode()
    CASES += [(f"closes at {name}", on(p, close)), (f"an answer cut off at {name}", on(p, half)),
              (f"a length of 0 at {name}", on(p, b"\0\0\0\0")),
              (f"a length of 4 GiB at {name}", on(p, b"\xff\xff\xff\xffc")),
              (f"garbage at {name}", on(p, b"\0\0\0\5zzzzz")), (f"an answer with something behind it at {name}", on(p, packet(b"c", b"x")))]
CASES += [(f"silent at {POINTS[p]}", on(p.encode(), silent)) for p in "OCHMRTLNBE"]
CASES += [("an edit before the end", on(b"B", packet(b"h", b"X-Early\0yes\0"))),
          ("out of turn", on(b"C", packet(b"c") * 2)),
          ("dies after edits", on(b"E", then_close(EDITS))),
          ("dies within a new body", on(b"E", then_close(EDITS + BODY))),
          ("dies within a packet of a new body", on(b"E", then_close(EDITS + BODY + BODY[:700]))),
          ("a new body and silence", on(b"E", lambda c, t: EDITS + BODY)),
          ("a body that never ends", on(b"E", BODY * 400)),
          ("edits that never end", on(b"E", EDITS * 3000)),
          ("strings without an end", on(b"E", EDITS + packet(b"h", b"X-Open\0yes"))),
          ("a reply code that is none", on(b"E", EDITS + packet(b"y", b"250 2.0.0 fine\0"))),
          ("a reply with line ends", on(b"E", EDITS + packet(b"y", b"550 5.7.1 a\rb\0"))),
          ("progress without end", on(b"E", flood)),
          ("terms of version 1", lambda c, t: packet(b"O", struct.pack("!III", 1, 0x1ff, 0)) if c == b"O" else packet(b"c")),
          ("actions that were not offered", lambda c, t: packet(b"O", struct.pack("!III", 6, 0xffff, 0)) if c == b"O" else packet(b"c")),
          ("edits without leave", lambda c, t: packet(b"O", struct.pack("!III", 6, 0, 0)) if c == b"O" else EDITS + packet(b"c")
           if c == b"E" else packet(b"c")),
          ("macros of no stage", lambda c, t: packet(b"O", evil.terms + struct.pack("!I", 99) + b"j\0") if c == b"O" else packet(b"c"))]
# Edits that cannot be made: the milter is sound, the message is not stored (451 whatever on-failure says).
UNMAKEABLE = [("a field that would end the header", packet(b"h", b"X-A\0b\r\n\r\nbody\0")),
              ("a field name with a colon", packet(b"h", b"X-A: b\r\nX\0c\0")), ("an address that is none", packet(b"+", b"<a@b> <c@d>\0")),
              ("a body with a bare CR", packet(b"b", b"a\rb\r\n")), ("a body with a NUL", packet(b"b", b"a\0b\r\n")),
              ("a body with a long line", packet(b"b", b"a" * 2000))]


def unchanged(m):
    text = m["data"]
    return (b"Subject: original" in text and b"X-Half" not in text and b"HALF" not in text and b"X-A" not in text and
            text.endswith(b"Hello\r\n") and m["sender"] == "a@sender.test" and m["rcpts"] == ["b@rcpt.test"])


expected = 0
for name, act in CASES:
    evil.act = act
    slow = "silent" in name or "progress" in name or name.endswith("silence")
    policies = ["tempfail"] if slow and not name.endswith(("silence", "end")) else list(POLICIES)
    got, want = {}, {}
    for p in policies:
        want[p] = 250 if p == "accept" else 421 if p == "tempfail" and re.search("negotiation|connect|turn|version|offered|no stage", name) \
            else 554 if re.search("negotiation|connect|turn|version|offered|no stage", name) else POLICIES[p]
        if "out of turn" in name:
            want[p] = got[p] = send(p)
            tap.ok(got[p] == 250 if p == "accept" else got[p] >= 400, f"atk-J16 {name}: {p}", got[p])
        else:
            got[p] = send(p)
        expected += got[p] == 250
    tap.equal(got, want, f"atk-J16 {name}")
for name, edit in UNMAKEABLE:
    evil.act = on(b"E", EDITS + edit + packet(b"c"))
    got = [send(p) for p in POLICIES]
    tap.equal(got, [451] * 3, f"atk-J16 {name}")
evil.act = on(b"E", EDITS + BODY + packet(b"c"))
tap.equal(send("tempfail"), 250, "the same edits, with their end")
evil.act = on(b"E", packet(b"y", b"554-5.7.1 100%% spam\r\n554 5.7.1 go away\0"))
tap.equal(send("accept"), 554, "a reply of two lines")
tap.equal(send("dead"), 421, "nobody listens")
tap.equal(send("none"), 250, "other listeners work")
expected += 2
sink.wait(expected, 60)
changed = [m for m in sink.messages if not unchanged(m)]
tap.equal(len(changed), 1, "atk-J16 no message is stored half changed")
tap.ok(changed and b"HALF A BODY" in changed[0]["data"] and b"Subject: changed" in changed[0]["data"] and
       changed[0]["sender"] == "new@sender.test" and sorted(changed[0]["rcpts"]) == ["b@rcpt.test", "x@rcpt.test"],
       "the one that was to be changed has all of it", changed and changed[0])
tap.equal(len(sink.messages), expected, "what was answered 250 was delivered, nothing else")

# Older milters: commands that came later are not for them.
seen = []


def old(command, talk):
    seen.append(command)
    return packet(b"O", struct.pack("!III", 2, 0x3f, 0x7f & ~0x60 & 0x1f)) if command == b"O" else packet(b"c")


s.mtactl("reload")  # no connection is kept over that
evil.act = old
tap.equal((send("tempfail"), b"".join(seen)), (250, b"OLLLLLNE"), "version 2 with NO* for connect, helo, mail, rcpt and body")
seen.clear()
s.mtactl("reload")
evil.terms, terms = struct.pack("!III", 6, 0x1ff, 0x60), evil.terms
evil.act = lambda command, talk: seen.append(command) or default(command)
tap.equal((send("tempfail"), b"".join(seen)), (250, b"OCHMRTBE"), "version 6 without header and eoh")
evil.terms = terms

# While one is silent, others go on, also in the same process.
evil.act = on(b"M", silent)
waiting = [smtplib.SMTP("127.0.0.1", PORTS["tempfail"], timeout=30) for _ in range(8)]
for c in waiting:
    c.ehlo("x")
    c.putcmd("mail", "FROM:<a@sender.test>")
t0 = time.monotonic()
codes = [send("none") for _ in range(5)]
tap.ok(codes == [250] * 5 and time.monotonic() - t0 < 0.9, "atk-J16 a silent milter holds up its own sessions only", codes)
tap.equal({c.getreply()[0] for c in waiting}, {451}, "and those get their answer")
# A client that leaves in the middle of a question.
evil.act = on(b"E", silent)
for _ in range(5):
    c = smtplib.SMTP("127.0.0.1", PORTS["tempfail"], timeout=30)
    c.ehlo("x"), c.mail("a@sender.test"), c.rcpt("b@rcpt.test"), c.docmd("DATA")
    c.send(mail() + ".\r\n")
    c.close()
evil.act = lambda command, talk: default(command)
tap.equal(send("tempfail"), 250, "clients that left while a milter was asked")
tap.equal(sorted(s.pids()), pids, "atk-J16 no process has ended")
tap.done()
