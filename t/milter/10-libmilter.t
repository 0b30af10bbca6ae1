#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""A milter on libmilter behind a whole suite: every callback, the macros, each modification, each verdict at each
stage, the options of the negotiation, and connections that are used again. The sink has what came of a message."""
import os
import re
import smtplib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403
from testmilter import Milter  # noqa: E402

private_network()
LEADSPC, SKIP = 0x100000, 0x400
NR = 0x80 | 0x1000 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x20000 | 0x40000 | 0x80000
plain, quiet, named = Milter("plain"), Milter("quiet", LEADSPC | SKIP | NR), Milter(
    "named", symbols="j {client_port} {auth_type} {rcpt_addr} i {tls_version}")
hostile = Milter("hostile", env={"AT_CONNECT": "reject"})
PORTS = {n: free_port() for n in ("plain", "quiet", "named", "hostile", "both", "none", "tls", "implicit")}
USES = {"both": "plain quiet", "none": '""'}
CONF = "relayhost [127.0.0.5]:25\nlimits { message-size 3M; inline-size 64K; }\n"
for m in (plain, quiet, named, hostile):
    name = os.path.basename(m.path)[:-5]
    CONF += f"milter {name} {{ socket unix:{m.path}; timeout 2s; }}\n"
LISTEN = "".join(
    f"listen {n} {{ address 127.0.0.1:{p}; tls none; auth networks 127.0.0.0/8 tenant acme; reverse-lookup no; "
    f"milters {USES.get(n, n)}; }}\n" for n, p in PORTS.items())
SECURE = {"tls": "tls starttls; auth required; milters plain", "implicit": "tls implicit; auth required; milters hostile"}
for n, what in SECURE.items():
    LISTEN = re.sub(f"(listen {n} .*?;) tls none; .*", rf"\1 {what}; reverse-lookup no; }}", LISTEN)
ns = Nsd({"rcpt.test": "@ IN MX 10 mx\nmx IN A 127.0.0.5"})
sink = Sink("127.0.0.5", 25)
s = Suite(listeners=LISTEN, extra=CONF)
secret = s.tenant()
s.mtactl("domain", "add", "acme", "other.test", "--verified")


def connect(port="plain", helo="client.test"):
    c = smtplib.SMTP("127.0.0.1", PORTS[port], timeout=30, local_hostname=helo)
    c.ehlo()
    return c


def send(edits=(), port="plain", rcpts=("b@rcpt.test",), sender="a@sender.test", extra="", body="Hello\r\n", subject="m",
         client=None):
    """The reply to the message, and the message as the sink got it (None: none)."""
    n = len(sink.messages)
    c = client or connect(port)
    c.mail(sender)
    for r in rcpts:
        c.rcpt(r)
    extra += "".join(f"X-Do: {e}\r\n" for e in edits)
    code, text = c.data(mail(subject=subject, sender=sender, extra=extra, body=body).encode())
    if client is None:
        c.quit()
    if code == 250 and b"queued" in text:
        sink.wait(n + 1)
        return code, text.decode(), sink.messages[n]
    return code, text.decode(), None


# --- Callbacks and macros.
code, text, got = send(extra="X-Folded: one\r\n two\r\n\tthree\r\n", rcpts=("b@rcpt.test", "c@rcpt.test"))
said = plain.take()
tap.equal(code, 250, "a message passes")
for pattern, name in (
        (r"^connect localhost family=2$", "connect"), (r"^helo client.test$", "helo"),
        (r"^mail <a@sender.test>", "mail"), (r"^rcpt <b@rcpt.test>\nmacros.*\nrcpt <c@rcpt.test>$", "rcpt, each"),
        (r"^data$", "data"), (r"^header \[Subject\]\[m\]$", "header, without the blank"),
        (r"^header \[X-Folded\]\[one\\n two\\n\tthree\]$", "header: folds are line feeds"), (r"^eoh$", "eoh"),
        (r"^body 7$", "body"), (r"^eom body=7$", "eom"), (r"^macros connect .*j=mta.test _=localhost \[127.0.0.1\]", "macro j, _"),
        (r"^macros connect .*\{daemon_name\}=plain \{daemon_addr\}=127.0.0.1", "macros of the listener"),
        (r"^macros connect .*\{if_addr\}=127.0.0.1 \{client_addr\}=127.0.0.1 \{client_name\}=localhost \{client_port\}=\d+",
         "macros of the client"),
        (r"^macros mail .* i=[0-9a-f.]+ .*\{mail_addr\}=a@sender.test \{mail_host\}=sender.test", "macros of mail"),
        (r"^macros rcpt .*\{rcpt_addr\}=c@rcpt.test \{rcpt_host\}=rcpt.test", "macros of rcpt"),
        (r"^negotiate actions=1ff steps=1ff7ff$", "negotiation")):
    tap.match(said, pattern, name)
tap.ok("Received:" not in re.sub(r"(?s).*^data$", "", said), "our own trace field is not shown")

# --- Connections are used again; a milter that is new forgets nothing.
for _ in range(6):
    send()
tap.ok(plain.all().count("connect localhost") == 7 and plain.all().count("negotiate") <= 2,
       "each smtpd uses its connection again (QUIT_NC)", plain.take())
c = connect()
plain.take()
for n in range(2):
    send(client=c)
c.mail("a@sender.test")
c.rcpt("b@rcpt.test")
c.rset()
c.quit()
wait_for(lambda: "abort" in plain.all()[plain.seen:], what="abort")
said = plain.take()
tap.equal((said.count("\nmail") + said.startswith("mail"), said.count("negotiate"), said.count("\nabort")), (3, 0, 1),
          "two messages and an aborted one in a session")

# --- Modifications.
code, _, got = send(["add X-Added hello\\n\\tfolded", "insert 0 X-First one", "insert 2 X-Third three", "change 1 Subject new subject",
                     "change 1 X-Gone", "change 2 X-Twice second changed", "change 1 X-New fresh"],
                    extra="X-Gone: a\r\nX-Gone: b\r\nX-Twice: 1\r\nX-Twice: 2\r\n")
head = got["data"].split(b"\r\n\r\n")[0].decode().split("\r\n")
fields = [line for line in head if not line.startswith(("Received", "\t"))]
tap.equal(fields[0], "X-First: one", "insert: at the top")
tap.equal(fields[2], "X-Third: three", "insert: by index")
tap.ok("Subject: new subject" in head and "Subject: m" not in head, "change")
tap.equal([f for f in head if f.startswith("X-Gone")], ["X-Gone: b"], "change to nothing: the first of that name is gone")
tap.equal([f for f in head if f.startswith("X-Twice")], ["X-Twice: 1", "X-Twice: second changed"], "change: by index")
tap.ok("X-New: fresh" in head, "change of one that is not there puts it in")
tap.match("\n".join(head), r"^X-Added: hello\n\tfolded$", "add, folded")

code, _, got = send(["addrcpt <d@rcpt.test>", "addrcpt-par <e@rcpt.test>", "delrcpt <b@rcpt.test>", "from <new@other.test>"],
                    rcpts=("b@rcpt.test", "c@rcpt.test"))
tap.equal((got["sender"], sorted(got["rcpts"])), ("new@other.test", ["c@rcpt.test", "d@rcpt.test", "e@rcpt.test"]), "envelope")
code, text, got = send(["delrcpt <b@rcpt.test>"])
tap.equal((code, got), (250, None), "no recipient is left: nothing is sent")

c = connect()
c.mail("a@sender.test"), c.rcpt("b@rcpt.test")
n = len(sink.messages)
got = c.data(mail(subject="held", extra="X-Do: quarantine looks odd\r\nX-Do: add X-Q yes\r\n"))
c.quit()
tap.equal(got[0], 250, "quarantine: taken")
qid = got[1].decode().split()[-1]
tap.ok(wait_for(lambda: s.queue_count().get("held") == 1, what="a held message"), "quarantine: held")
tap.match(s.mtactl("queue", "show", qid, check=False).stdout, "held: quarantined: looks odd", "quarantine: with its reason")
time.sleep(0.5)
tap.equal(len(sink.messages), n, "quarantine: not delivered")
s.mtactl("queue", "release", qid, check=False)
tap.ok(sink.wait(n + 1) and b"X-Q: yes" in sink.messages[n]["data"], "quarantine: delivered when it is released")

LINE = b"A line of the body that a milter has put in place of the other one.\r\n"
for lines, body, name in ((3, "Hello\r\n", "small"), (0, "Hello\r\n", "nothing"), (2000, "Hello\r\n", "large for small: a file"),
                          (3, "x" * 70 + "\r\n", "small for large"), (3000, "y" * 70 + "\r\n", "large for large")):
    big = body if name.split(" ")[-1] not in ("large",) else body * 3000
    code, text, got = send([f"body {lines}"], body=big)
    tap.ok(code == 250 and got["data"].split(b"\r\n\r\n", 1)[1] == LINE * lines, f"atk-J16 body replaced: {name}", text)
plain.take()
code, _, got = send(body="z" * 70 + "\r\n" + ("." + "z" * 69 + "\r\n") * 3000)
tap.ok(got["data"].endswith(b"z\r\n") and b"\r\n.zzz" in got["data"], "a large message passes unchanged")
tap.match(plain.take(), r"eom body=216069$|eom body=216072$|eom body=2160\d\d$", "a large message is shown whole, unstuffed")
code, _, got = send(["progress 1", "progress 1", "progress 1", "add X-Late yes"])
tap.ok(got and b"X-Late: yes" in got["data"], "progress: three seconds with a time-out of two")

# --- Verdicts at each stage.
WANT = {"reject": (550, "5.7.1"), "tempfail": (451, "4.7.1"), "reply": (552, "5.6.7 first line 100% second line")}
for verb, (code, text) in WANT.items():
    c = smtplib.SMTP("127.0.0.1", PORTS["plain"], timeout=30)
    got = c.ehlo(verb)
    tap.ok(got[0] == code and text in got[1].decode(), f"helo: {verb}", got)
    c.ehlo("client.test")
    got = c.mail(f"{verb}-1@sender.test")
    tap.ok(got[0] == code and text in got[1].decode(), f"mail: {verb}", got)
    c.mail("a@sender.test")
    got = c.rcpt(f"{verb}-1@rcpt.test")
    tap.ok(got[0] == code and text.partition(" ")[0] in got[1].decode(), f"rcpt: {verb}", got)
    tap.equal(c.rcpt("b@rcpt.test")[0], 250, f"rcpt: {verb}: another one is taken")
    c.rset()
    for stage in ("header", "eoh", "body", "eom"):
        got = send(extra=f"X-Do-At: {stage} {verb}\r\nX-Do: add X-A b\r\n", client=c)
        tap.ok(got[0] == code and text in got[1], f"{stage}: {verb}", got)
    got = send(client=c)
    tap.equal(got[0], 250, f"{verb}: and the next message passes")
    c.quit()
for stage in ("mail", "rcpt"):
    n = len(sink.messages)
    got = send(sender="discard-1@sender.test" if stage == "mail" else "a@sender.test",
               rcpts=("discard-1@rcpt.test" if stage == "rcpt" else "b@rcpt.test",))
    tap.equal((got[0], got[2]), (250, None), f"{stage}: discard")
for stage in ("header", "eoh", "body", "eom"):
    got = send(extra=f"X-Do-At: {stage} discard\r\n")
    tap.equal((got[0], got[2]), (250, None), f"{stage}: discard")
got = send(extra="X-Do-At: eoh accept\r\nX-Do: add X-A b\r\n")
tap.ok(got[0] == 250 and b"X-A:" not in got[2]["data"], "accept before the end: the rest is not shown")
plain.take()
got = send(sender="accept-1@sender.test")
tap.ok(got[0] == 250 and "rcpt" not in plain.take(), "accept at mail")
c = smtplib.SMTP("127.0.0.1", PORTS["plain"], timeout=30)
tap.equal([c.docmd("VRFI x")[0], c.docmd("REPLY x")[0], c.docmd("BURL x")[0]], [500, 552, 500], "unknown commands are shown")
tap.match(plain.take(), r"^unknown VRFI x$", "unknown commands: as they came")
c.quit()
try:
    smtplib.SMTP("127.0.0.1", PORTS["hostile"], timeout=30)
    tap.ok(False, "connect: reject")
except smtplib.SMTPConnectError as e:
    tap.equal(e.smtp_code, 554, "connect: reject")

ssl_context = client_context()
with socket.create_connection(("127.0.0.1", PORTS["implicit"]), 10) as raw, ssl_context.wrap_socket(raw) as t:
    tap.match(t.recv(1000).decode(), r"^421 4.7.0 mta.test Command rejected\r\n", "connect: reject behind implicit TLS")

# --- TLS, AUTH, pipelining.
plain.take()
n = len(sink.messages)
c = smtplib.SMTP("127.0.0.1", PORTS["tls"], timeout=30, local_hostname="secure.test")
c.starttls(context=ssl_context)
c.login("app1", secret)
c.sendmail("a@sender.test", ["b@rcpt.test"], mail(subject="secure"))
c.quit()
said = plain.take()
tap.match(said, r"^macros helo .*\{tls_version\}=TLSv1.3 \{cipher\}=TLS_\w+ \{cipher_bits\}=\d+", "macros of TLS")
tap.match(said, r"^macros mail .*\{auth_type\}=\S+ \{auth_authen\}=app1", "macros of AUTH")
n = len(sink.wait(n + 1))
with socket.create_connection(("127.0.0.1", PORTS["plain"]), 10) as raw:
    f = raw.makefile("rwb")
    f.readline()
    body = mail(subject="piped").replace("\n.", "\n..")
    f.write(("EHLO x\r\nMAIL FROM:<a@sender.test>\r\nRCPT TO:<b@rcpt.test>\r\nRCPT TO:<reject-3@rcpt.test>\r\nBURL\r\n"
             f"RCPT TO:<c@rcpt.test>\r\nDATA\r\n{body}.\r\nMAIL FROM:<tempfail-3@sender.test>\r\nQUIT\r\n").encode())
    f.flush()
    codes = [line[:3] for line in f.read().decode().split("\r\n") if line[3:4] == " "]
tap.equal(codes, "250 250 250 550 500 250 354 250 451 221".split(), "a pipeline: replies in order")
tap.equal(sorted(sink.wait(n + 1)[n]["rcpts"]), ["b@rcpt.test", "c@rcpt.test"], "a pipeline: the recipients")
with socket.create_connection(("127.0.0.1", PORTS["plain"]), 10) as raw:
    raw.sendall(b"EHLO x\r\nMAIL FROM:<sleep-9@sender.test>\r\n")
    time.sleep(0.3)
tap.equal(send()[0], 250, "a client that left while a milter slept")

# --- The other options.
code, _, got = send(["add X-Two two", "change 1 X-Lead kept"], port="quiet", extra="X-Lead:  two blanks\r\n")
said = quiet.take()
tap.match(said, r"^header \[X-Lead\]\[  two blanks\]$", "leading blanks are part of the value (HDR_LEADSPC)")
tap.ok(code == 250 and b"X-Two:two\r\n" in got["data"], "and are those of the milter in what it adds", got and got["data"])
code, _, got = send(port="quiet", extra="X-Do-At: body skip\r\n", body=("s" * 70 + "\r\n") * 5000)
tap.ok(code == 250, "NR_*: a large message without answers in between")
code, _, got = send(port="named")
said = named.take()
tap.match(said, r"^macros connect j=mta.test \{client_port\}=\d+$", "only the macros that it asked for: connect")
tap.match(said, r"^macros rcpt j=mta.test i=[0-9a-f.]+ \{client_port\}=\d+ \{rcpt_addr\}=b@rcpt.test$", "only the macros that it asked for: rcpt")

# --- Two of them: each sees what the one before it made.
plain.take(), quiet.take()
code, _, got = send(["add X-By one", "body 2"], port="both")
a, b = plain.take(), quiet.take()
tap.ok("header [X-By]" not in a and "header [X-By][ one]" in b, "the second sees the changes of the first")
tap.match(b, r"^eom body=138$|^eom body=1\d\d$", "and its body")
tap.equal(got["data"].count(b"\nX-By:"), 2, "both changed it")
plain.take(), quiet.take()
c = connect("both")
tap.equal(c.mail("reject-2@sender.test")[0], 550, "the first refuses")
tap.ok("reject-2" not in quiet.take(), "and the second is not shown it")
c.quit()

# --- A slow one delays only its own sessions.
slow = connect("plain")
t0 = time.monotonic()
slow.putcmd("mail", "FROM:<sleep-1@sender.test>")
others = [send(port="none")[0] for _ in range(3)] + [send(port="named")[0]]
tap.ok(others == [250] * 4 and time.monotonic() - t0 < 2.5, "other sessions go on meanwhile", others)
tap.equal(slow.getreply()[0], 451, "the slow one: 451 after its time-out")
slow.quit()

# --- Restarts: of a milter between two sessions, and a new configuration.
for _ in range(4):
    send()
plain.proc.end()
os.unlink(plain.path) if os.path.exists(plain.path) else None
plain = Milter("plain")
tap.equal([send()[0] for _ in range(4)], [250] * 4, "a milter that was restarted: connections that were kept are no matter")
s.write(CONF.replace(f"unix:{plain.path}", f"unix:{quiet.path}"))
s.mtactl("reload")
plain.take(), quiet.take()
tap.equal(send()[0], 250, "a reload")
tap.ok("eom" in quiet.take() and "eom" not in plain.take(), "a reload: the new place of the milter is used")
s.write(CONF.replace(f"unix:{plain.path}", "unix:relative"))
r = s.mtactl("reload", check=False)
tap.ok(r.returncode and re.search(r"ekiden.conf:\d+:\d+: milter plain: socket", r.stderr + r.stdout), "a bad one: file and line",
       r.stderr + r.stdout)
tap.equal(send()[0], 250, "and the former one stays")
tap.done()
