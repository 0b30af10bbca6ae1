#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""
What qmgr knows of a site goes along with a connection, and what happens to it comes back: hosts, sources, throttle
patterns, TCP events, priority. J5, J9, C13, E1, E2, E3, P2.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import *  # noqa: E402,F403

PATTERNS = r"""
group docomo { domains docomo.test }
group au { domains au.test }
throttle cut { text "(a+)+$"; action slow }
throttle mine { group docomo; code 451; action pause; for 5m }
throttle host { mx *.big.test; enhanced 4.7.*; action slow }
throttle greeting { stage greeting; code 421 554; action one }
throttle data { stage end-of-data; text "too (many|much)"; action slow }
throttle rate { enhanced 4.7.28; text "rate limit"; action slow }
"""
d = Smtp(conf(reply="2s", eod="2s", session="8s", top=PATTERNS))


def close(c):
    d.send("qmgr", "conn_close", conn=c)
    return d.closed(c)


def one(replies, host="mx.test", **kw):
    """A message on a connection of its own: results and conn_closed."""
    srv = Server(Sink(("PIPELINING",), replies))
    c = d.open("site.test", srv.port, mx=True, hosts=mx_hosts([(10, host, ["127.0.0.1"])]), **kw)
    results = d.done(d.deliver(c, ["a@t", "b@t"]))
    end = close(c)
    srv.stop()
    return results, end


# --- The site's hosts come with the connection: DNS is not asked, so that mail stays with the site it was sorted to.
a = Server(Sink(), "127.0.0.1")
b = Server(Sink(), "127.0.0.2", a.port)
hosts = mx_hosts([(20, "mx2.test", ["127.0.0.2"]), (10, "mx1.test", ["127.0.0.1"])])
c = d.open("moved.test", a.port, mx=True, hosts=hosts)
tap.equal(d.settle(c), f"mx1.test[127.0.0.1]:{a.port}", "E3: hosts that qmgr knows, by preference")
close(c)
a.stop()
tap.equal(d.settle(d.open("moved.test", a.port, mx=True, hosts=hosts)), f"mx2.test[127.0.0.2]:{a.port}",
          "E3: and the next one when it is refused")
tap.ok(d.none("dnsd", "mx_query", 0.1), "E3: nobody is asked")
r = d.settle(d.open("moved.test", a.port, mx=True, hosts=mx_hosts([(10, "mta.test", ["127.0.0.2"])])))
tap.ok(r["why"] == CONN_REFUSED and r["esc"] == 5 << 20 | 4 << 10 | 6, "E3: one of them is ourselves: a loop", r)
b.stop()

# --- Sources (E1, E2).
seen = []


def who(peer):
    seen.append(peer.sock.getpeername()[0])
    Sink()(peer)


srv = Server(who)
try:
    six = Server(who, "::1", srv.port)
except OSError:
    six = None
    print("# no IPv6 here")
both = mx_hosts([(10, "x.test", ["127.0.0.1"]), (20, "y.test", ["::1"])])
six_first = mx_hosts([(20, "x.test", ["127.0.0.1"]), (10, "y.test", ["::1"])])
c = d.open("s.test", srv.port, mx=True, hosts=both, source="127.0.0.77", source6="::1", helo="out7.mta.test")
tap.equal(d.settle(c), f"x.test[127.0.0.1]:{srv.port}", "E1: a source with both families")
d.done(d.deliver(c, source_name="out7", site="x.test+1"))
tap.equal(seen.pop(), "127.0.0.77", "E1: IPv4 leaves from its IPv4 address")
tap.equal(srv.peers[-1].said[0], "EHLO out7.mta.test", "E2: and with its HELO name")
ev = d.events()[-1]
tap.equal((ev["site"], ev["source"]), ("x.test+1", {"name": "out7", "addr": "127.0.0.77", "helo": "out7.mta.test"}),
          "E2: the event says site and source")
tap.ok(d.wait_log(" lane=dest.test source=out7 tls=none"), "E2: so does the log")
close(c)
if six:
    c = d.open("s.test", srv.port, mx=True, hosts=six_first, source="127.0.0.77", source6="::1")
    tap.equal(d.settle(c), f"y.test[::1]:{srv.port}", "E1, J14: IPv6 leaves from its IPv6 address")
    tap.equal(seen.pop(), "::1", "   which is that of the source")
    close(c)
    c = d.open("s.test", srv.port, mx=True, hosts=both, source6="::1")
    tap.equal(d.settle(c), f"y.test[::1]:{srv.port}", "E1: an IPv6 source uses IPv6 alone")
    close(c)
    c = d.open("s.test", srv.port, mx=True, hosts=six_first, source="127.0.0.77", source6="2001:db8::7")
    tap.equal(d.settle(c), f"x.test[127.0.0.1]:{srv.port}", "E1: one address is gone: the other family does it")
    close(c)
c = d.open("s.test", srv.port, mx=True, hosts=six_first, source="127.0.0.77")
tap.equal(d.settle(c), f"x.test[127.0.0.1]:{srv.port}", "E1: an IPv4 source uses IPv4 alone")
close(c)
del seen[:]
for n in range(2):
    r = d.settle(d.open("s.test", srv.port, mx=True, hosts=both, source="192.0.2.1"))
    tap.ok(r["why"] == CONN_SOURCE and r["stage"] == STAGE_CONNECT and "Cannot assign requested address" in r["text"],
           "E1: an address that this host has not: the source is to blame", r)
tap.equal(seen, [], "E1: nobody was connected to")
tap.equal(d.log().count("source address 192.0.2.1: bind: Cannot assign"), 1, "E1: logged once")
c = d.open("s.test", srv.port, mx=True, hosts=both)
tap.ok(isinstance(d.settle(c), str), "E1: the host is not taken for dead by that")
close(c)
del seen[:]
for n, kw in enumerate(({"source": "127.0.0.77"}, {"source": "127.0.0.78"}, {"helo": "other.test"})):
    c = d.open("s.test", srv.port, mx=True, hosts=both, **kw)
    for _ in range(2):
        d.done(d.deliver(c))
    tap.equal((len(seen), len(srv.peers[-1].messages)), (n + 1, 2),
              f"C13, C14: {kw}: a connection of its own, and both messages on it")
srv.stop()
if six:
    six.stop()

# --- Throttle patterns.
for replies, kw, name in (
        ({"RCPT": "451 4.3.0 slow"}, {"group": "docomo"}, "mine"),
        ({"RCPT": "451 4.3.0 slow"}, {"group": "au"}, ""),
        ({"RCPT": "450 4.7.1 slow"}, {"host": "mx1.BIG.test"}, "host"),
        ({"RCPT": "450 4.7.1 slow"}, {"host": "big.test"}, ""),
        ({"MAIL": "421 4.7.28 your Rate Limit is over"}, {}, "rate"),
        ({"EOD": ("450-4.2.0 too", "450 4.2.0 many")}, {}, "data"),
        ({"DATA": "450 4.2.0 too many"}, {}, ""),
        ({"RCPT": "550 5.1.1 no such user"}, {}, ""),
        ({"RCPT": "450 4.2.0 " + "a" * 900 + "!"}, {}, "")):
    res, end = one(replies, **kw)
    tap.equal([r["throttle"] for r in res], [name, name if "RCPT" in replies else ""],
              f"J5, P2: {str(replies)[:50]} {kw}: throttle {name or 'none'}, once for a reply")
    tap.equal(end["throttle"], "", "   and not again with the connection")
    tap.equal(res[0]["text"].count("slow"), str(replies).count("slow"), "   the verdict stays what it was")
tap.ok(d.wait_log("throttle cut: its text takes too long"), "a pattern that is cut is told")
one({"RCPT": "450 4.2.0 " + "a" * 900 + "!"})
tap.equal(d.log().count("throttle cut:"), 1, "   once")
for reply in ("421 4.3.2 not now", "554 no"):
    srv = Server(Sink((), {"GREETING": reply}))
    r = d.settle(d.open("g.test", srv.port, mx=True, hosts=mx_hosts([(1, "g", ["127.0.0.1"])])))
    tap.equal((r["why"], r["throttle"], r["stage"], r["event"]), (CONN_FAILED, "greeting", STAGE_GREETING, EVENT_NONE),
              f"J5: greeting {reply}: conn_closed names the pattern")
    srv.stop()
srv = Server(Sink((), {"MAIL": ["250 ok", "421 4.7.28 rate limit"]}))
c = d.open(port=srv.port)
d.done(d.deliver(c))
d.deliver(c)
r = d.closed(c)
tap.equal((r["throttle"], r["stage"]), ("rate", STAGE_MAIL),
          "J5, C14: 421 at MAIL of a later message costs that nothing, but is told of")
srv.stop()

# --- What happens to the TCP connection.
def silent(peer):
    peer.line()


for replies, stage in (({"GREETING": Sink.RESET}, STAGE_GREETING), ({"EHLO": Sink.RESET}, STAGE_EHLO)):
    srv = Server(Sink((), replies))
    r = d.settle(d.open(port=srv.port))
    tap.equal((r["why"], r["event"], r["stage"]), (CONN_FAILED, EVENT_RESET, stage), f"P2: reset at {stage}")
    srv.stop()
srv = Server(Sink((), {"GREETING": Sink.CLOSE}))
r = d.settle(d.open(port=srv.port))
tap.equal((r["why"], r["event"]), (CONN_FAILED, EVENT_NONE), "P2: a connection that is closed is not reset")
srv.stop()
port = closed_port()
for n in range(2):
    r = d.settle(d.open(port=port))
    tap.equal((r["why"], r["event"], r["stage"]), (CONN_FAILED, EVENT_REFUSED, STAGE_CONNECT),
              "P2: refused" + n * ", as it is remembered")
srv = Server(silent)
r = d.settle(d.open(port=srv.port))
tap.equal((r["why"], r["event"], r["stage"]), (CONN_FAILED, EVENT_TIMEOUT, STAGE_GREETING), "P2: no greeting in time")
srv.stop()
for verb, stage in (("MAIL", STAGE_MAIL), ("RCPT", STAGE_RCPT), ("EOD", STAGE_EOD)):
    srv = Server(Sink((), {verb: Sink.RESET}))
    c = d.open(port=srv.port)
    j = d.deliver(c)
    m = d.expect("qmgr", "job_done", job=j)
    tap.equal((m["event"], m["results"][0]["stage"]), (EVENT_RESET, stage), f"P2: reset at {verb}: the job says so")
    tap.equal(d.closed(c)["event"], EVENT_NONE, "   and only the job")
    srv.stop()
certs = certificate(d.dir)
srv = Server(Sink(("STARTTLS",), {"MAIL": lambda peer, line: (peer.sock.setsockopt(
    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)), os.close(peer.sock.detach()), Sink.CLOSE)[-1]},
    server_context(*certs)))
c = d.open(port=srv.port, tls=TLS_MAY)
tap.equal(d.expect("qmgr", "job_done", job=d.deliver(c))["event"], EVENT_RESET, "P2: a reset under TLS too")
d.closed(c)
srv.stop()

# --- Priority (RFC 6710).
srv = Server(Sink(("PIPELINING", "MT-PRIORITY MIXER")))
plain = Server(Sink(("PIPELINING",)))
for given, want in ((0, ""), (10, " MT-PRIORITY=0"), (16, " MT-PRIORITY=6"), (1, " MT-PRIORITY=-9")):
    for server, text in ((srv, want), (plain, "")):
        c = d.open(port=server.port)
        d.done(d.deliver(c, mt_priority=given))
        tap.equal(server.messages[-1]["mail"], f"MAIL FROM:<s@src.test>{text}",
                  f"RFC 6710: priority {given - 10 if given else 'none'}, {'' if server is srv else 'not '}offered")
        close(c)
srv.stop()
plain.stop()
d.finish()
tap.done()
