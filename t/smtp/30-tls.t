#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""STARTTLS by policy, and AUTH to a smarthost. E8, T02, T04, A07, atk-B3, B4, B6, G8, G13."""

import os
import ssl
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import *  # noqa: E402,F403

work = tempfile.mkdtemp(prefix="ekiden-tls-")
atexit.register(shutil.rmtree, work, True)
good = certificate(work, "mx.test")
other = certificate(work, "other.test")
with open(good[0], "rb") as f:
    ca = f.read()
SECRET = "canary:secret-4711"
material = [("trust", {"memfd": ca}), ("secret", {"name": "smart", "user": "relayuser",
                                                  "secret": SECRET}),
            ("secret", {"name": "wrong", "user": "relayuser", "secret": "nope"})]
d = Smtp(conf(reply="2s"), material)
context = server_context(*good)
OFFER = ("PIPELINING", "STARTTLS")


def attempt(sink, tls, script=None, **kw):
    """Results of a message, or None and conn_closed when the connection never was ready."""
    srv = Server(script or sink)
    c = d.open(port=srv.port, tls=tls, **kw)
    j = d.deliver(c)
    while True:
        for e in list(d.got):
            if e["msg"] == "job_done" and e["m"]["job"] == j:
                res = d.done(j)
                d.send("qmgr", "conn_close", conn=c)
                d.closed(c)
                srv.stop()
                return res[0], None, srv
            if e["msg"] == "conn_closed" and e["m"]["conn"] == c:
                srv.stop()
                return None, d.closed(c), srv
        with d.cond:
            d.cond.wait(0.05)


def plain_words(srv):
    """Verbs the server saw in plain text."""
    return {w.split()[0] for p in srv.peers if not p.tls for w in p.said}


# --- Opportunistic.
res, _, srv = attempt(Sink(OFFER, context=context, tls_ehlo=("SIZE 77777",)), TLS_MAY)
tap.equal(res["status"], RCPT_SENT, "T04: may: TLS when it is offered")
tap.equal(srv.peers[0].said[:4], ["EHLO mta.test", "STARTTLS", "EHLO mta.test",
                                  "MAIL FROM:<s@src.test> SIZE=21"],
          "T02, A07, atk-G8: EHLO again, and only what it offers under TLS counts")
tap.ok(d.wait_log(rf"Untrusted TLS connection established to 127\.0\.0\.1\[127\.0\.0\.1\]:{srv.port}: "
                  r"TLSv1\.3 with cipher \S+ \(\d+/\d+ bits\)"), "TLS is logged", d.log())
tap.ok(d.wait_log(r"status=sent .* tls=TLSv1\.3"), "and named in the delivery line")
res, _, srv = attempt(Sink(("PIPELINING",)), TLS_MAY)
tap.equal(res["status"], RCPT_SENT, "may: plain when it is not offered")
res, _, srv = attempt(Sink(OFFER, context=context), TLS_NONE)
tap.ok(res["status"] == RCPT_SENT and not srv.peers[0].tls, "none: plain though it is offered")
for reply in ("454 4.7.0 not now", "501 5.5.4 no", "500 what", "554 5.5.1 no", "334 x"):
    res, _, srv = attempt(Sink(OFFER, {"STARTTLS": reply}), TLS_MAY)
    tap.ok(res["status"] == RCPT_SENT and len(srv.peers) == 1,
           f"atk-B4: may: {reply} to STARTTLS: plain on the same connection")


def broken(how, after=None):
    """A server whose handshake fails on the first connection."""
    sink = Sink(OFFER, context=context)

    def script(peer):
        if peer.number > 0:
            sink.ehlo = ("PIPELINING", "STARTTLS")
            sink(peer)
            return
        peer.send("220 x")
        peer.line()
        peer.send("250-x", "250 STARTTLS")
        peer.line()
        peer.send("220 go")
        if how == "garbage":
            peer.raw(b"\x16\x03\x01 this is no handshake \r\n" * 20)
            time.sleep(0.5)
        elif how == "reset":
            peer.sock.recv(10)
            peer.reset()
        elif how == "silence":
            time.sleep(3)
        elif how == "no cipher":
            c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            c.maximum_version = ssl.TLSVersion.TLSv1_2
            c.load_cert_chain(*good)
            c.set_ciphers("PSK")
            try:
                peer.starttls(c)
            except (OSError, ssl.SSLError):
                pass
    return script


for how in ("garbage", "close", "reset", "no cipher", "silence"):
    res, closed, srv = attempt(None, TLS_MAY, broken(how))
    if how == "silence":
        tap.ok(closed and "timed out while performing the TLS handshake" in closed["text"],
               "atk-B13: may: a handshake that stalls ends in time", closed)
        continue
    tap.ok(res and res["status"] == RCPT_SENT and len(srv.peers) == 2,
           f"T04, atk-G13: may: {how} in the handshake: a new plain connection", (res, closed))
    tap.ok("STARTTLS" not in srv.peers[1].said, "   which does not try again")
for policy, name in ((TLS_ENCRYPT, "encrypt"), (TLS_VERIFY, "verify")):
    for how in ("garbage", "close", "reset"):
        res, closed, srv = attempt(None, policy, broken(how))
        tap.ok(res is None and closed["why"] == CONN_FAILED and len(srv.peers) == 1,
               f"atk-G13: {name}: {how} in the handshake: deferred", (res, closed))
        tap.ok("Cannot start TLS" in closed["text"] or "lost connection" in closed["text"],
               "   and why", closed)

# --- Never plain.
for policy, name in ((TLS_ENCRYPT, "encrypt"), (TLS_VERIFY, "verify")):
    res, closed, srv = attempt(Sink(("PIPELINING",)), policy)
    tap.ok(res is None and closed["why"] == CONN_FAILED, f"atk-B6: {name}: not offered: deferred")
    tap.match(closed["text"], r"TLS is required, but was not offered by host 127", "   and why")
    res, closed, srv2 = attempt(Sink(OFFER, {"STARTTLS": "454 4.7.0 no"}), policy)
    tap.ok(res is None and "was refused by host" in closed["text"], f"atk-B6: {name}: refused: deferred")
    res, closed, srv3 = attempt(Sink(OFFER, {"EHLO": "500 no"}), policy)
    tap.ok(res is None, f"atk-B6: {name}: no fallback to HELO")
    seen = plain_words(srv) | plain_words(srv2) | plain_words(srv3)
    tap.equal(sorted(seen), ["EHLO", "STARTTLS"], f"atk-B4: {name}: no envelope was seen in plain text")
res, _, srv = attempt(Sink(OFFER, context=context), TLS_ENCRYPT)
tap.equal(res["status"], RCPT_SENT, "encrypt: any certificate will do")

# --- Verified: chain and name.
res, closed, srv = attempt(Sink(OFFER, context=context), TLS_VERIFY)
tap.ok(res and res["status"] == RCPT_SENT, "verify: trusted, and the address is named", (res, closed))
tap.ok(d.wait_log(r"Verified TLS connection established to "), "logged as such")
res, closed, srv = attempt(Sink(OFFER, context=server_context(*other)), TLS_VERIFY)
tap.ok(res is None and "certificate" in closed["text"], "atk-G13: verify: not trusted: deferred", closed)


def by_name(host, policy):
    srv = Server(Sink(OFFER, context=context))
    c = d.open("domain.test", port=srv.port, mx=True, tls=policy)
    d.answer_mx([(10, host, ["127.0.0.1"])])
    try:
        return d.ready(c, 5) and True
    except Timeout:
        return d.closed(c)["text"]
    finally:
        srv.stop()


tap.equal(by_name("mx.test", TLS_VERIFY), True, "verify: trusted, and the MX host is named")
tap.match(str(by_name("mx2.test", TLS_VERIFY)), "certificate|No answer", "atk-G13: verify: wrong name")
tap.equal(by_name("mx2.test", TLS_MAY), True, "may: the name does not matter")


# --- B3: answers in advance.
def inject(*extra):
    def script(peer):
        peer.send("220 x")
        peer.line()
        peer.send("250-x", "250 STARTTLS")
        peer.line()
        peer.raw(b"220 go\r\n" + b"".join(extra))
        try:
            peer.starttls(context)
            peer.line()
            peer.send("250-x", "250 AUTH PLAIN")
            peer.line()
        except (OSError, ssl.SSLError):
            pass
    return script


for policy, name in ((TLS_MAY, "may"), (TLS_ENCRYPT, "encrypt"), (TLS_VERIFY, "verify")):
    res, closed, srv = attempt(None, policy, inject(b"250-x\r\n250 AUTH PLAIN\r\n"))
    tap.ok(res is None and closed["why"] == CONN_FAILED and "data behind the reply" in closed["text"],
           f"atk-B3: {name}: plain text behind the 220 is fatal", (res, closed))
    tap.equal((len(srv.peers), srv.peers[0].said), (1, ["EHLO mta.test", "STARTTLS"]),
              "   nothing more is said, and no second connection made")
res, closed, srv = attempt(None, TLS_MAY, inject(b"\r"))
tap.ok(res is None, "atk-B3: a single byte will do")
res, closed, srv = attempt(Sink(OFFER, {"GREETING": ("220 x", "250-x", "250 PIPELINING")}), TLS_MAY)
tap.ok(res is None and "data behind the reply" in closed["text"], "atk-B4: an answer to EHLO before EHLO")


# --- After the handshake.
def refuses_second(peer):
    sink = Sink(OFFER, {"EHLO": lambda p, line: "550 no" if p.tls else None}, context)
    sink(peer)


res, closed, srv = attempt(None, TLS_MAY, refuses_second)
tap.ok(res is None and "550 no (in reply to EHLO command)" in closed["text"],
       "EHLO refused under TLS: this host will not do")
res, closed, srv = attempt(Sink(OFFER, context=context, tls_ehlo=OFFER), TLS_MAY)
tap.ok(res["status"] == RCPT_SENT and srv.peers[0].said.count("STARTTLS") == 1,
       "T01: STARTTLS offered again under TLS is ignored")
srv = Server(Sink(OFFER, context=context))
c = d.open(port=srv.port, tls=TLS_ENCRYPT)
body = b"x" * 998 + b"\r\n"
jobs = [d.deliver(c, body=body * 2000), d.deliver(c), d.deliver(c, body=body)]
tap.ok(all(d.done(j)[0]["status"] == RCPT_SENT for j in jobs) and
       [len(m["data"]) for m in srv.messages] == [2000000, 21, 1000], "2 MB and two more under TLS")
srv.stop()

# --- AUTH (E8).
AUTH = ("PIPELINING", "AUTH LOGIN PLAIN")


def login(answer):
    def auth(peer, line):
        import base64
        words = line.split()
        if words[1] == "PLAIN":
            given = base64.b64decode(words[2]).decode().split("\0")[1:]
        else:
            peer.send("334 VXNlcm5hbWU6")
            user = base64.b64decode(peer.line()).decode()
            peer.send("334 UGFzc3dvcmQ6")
            given = [user, base64.b64decode(peer.line()).decode()]
        peer.given = given
        return answer
    return auth


for words, how in ((AUTH, "PLAIN"), (("AUTH LOGIN",), "LOGIN"), (("AUTH=LOGIN",), "LOGIN, as of old"),
                   (("AUTH PLAIN CRAM-MD5",), "PLAIN of two")):
    res, closed, srv = attempt(Sink(OFFER, {"AUTH": login("235 2.7.0 ok")}, context, words), TLS_ENCRYPT,
                               auth="smart")
    tap.ok(res and res["status"] == RCPT_SENT and srv.peers[0].given == ["relayuser", SECRET],
           f"E8: AUTH {how} over TLS", (res, closed))
for reply in ("535 5.7.8 bad", "454 4.7.0 later", "334 what", "500 no"):
    res, closed, srv = attempt(Sink(OFFER, {"AUTH": login(reply)}, context, AUTH), TLS_ENCRYPT,
                               auth="wrong")
    tap.ok(res is None and closed["why"] == CONN_FAILED and reply in closed["text"] and
           closed["esc"] >> 20 == 4, f"E8: {reply} to AUTH: mail waits", closed)
res, closed, srv = attempt(Sink(OFFER, context=context, tls_ehlo=()), TLS_ENCRYPT, auth="smart")
tap.ok(res is None and "neither PLAIN nor LOGIN" in closed["text"], "E8: AUTH is not offered: mail waits")
res, closed, srv = attempt(Sink(OFFER, context=context, tls_ehlo=AUTH), TLS_ENCRYPT, auth="unknown")
tap.ok(res is None and "no credentials" in closed["text"], "E8: credentials that are not there")
res, closed, srv = attempt(None, TLS_MAY, broken("garbage"), auth="smart")
tap.ok(res is None and len(srv.peers) == 1, "E8: with credentials a failed handshake never leads to plain")
res, closed, srv = attempt(Sink(AUTH, {"AUTH": login("235 ok")}), TLS_NONE, auth="smart")
tap.ok(res and res["status"] == RCPT_SENT, "E8: on loopback AUTH needs no TLS", closed)
b64 = __import__("base64").b64encode(SECRET.encode()).decode()
tap.ok(SECRET not in d.log() and "canary" not in d.log() and b64 not in d.log() and
       "canary" not in d.stderr(), "atk-E8: the secret is in no log line")

# --- New material by reload.
d.configure(conf(reply="2s"), [("secret", {"name": "smart", "user": "new", "secret": "fresh"})])
d.expect("master", "ready")
res, closed, srv = attempt(Sink(OFFER, {"AUTH": login("235 ok")}, context, AUTH), TLS_ENCRYPT, auth="smart")
tap.ok(res and srv.peers[0].given == ["new", "fresh"], "credentials are replaced as a set")
res, closed, srv = attempt(Sink(OFFER, {"AUTH": login("235 ok")}, context, AUTH), TLS_ENCRYPT, auth="wrong")
tap.ok(res is None and "no credentials" in closed["text"], "the former ones are gone")
res, closed, srv = attempt(Sink(OFFER, context=context), TLS_VERIFY)
tap.ok(res is None, "without CA certificates nothing is verified")
d.finish()
tap.done()
