#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""dnsd against a real name server (nsd) on loopback: the zone states of atk-G12, S32-S34, S40, E3."""

import ipaddress
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../smtp"))
from drive import *  # noqa: E402,F403
from nsd import Nsd, silent_server  # noqa: E402

ZONE = """
$ORIGIN zone.test.
$TTL 300
@           IN SOA ns hostmaster 1 3600 600 86400 60
            IN NS  ns
ns          IN A   127.0.0.1
one         IN MX  10 mx1
two         IN MX  20 mx2
two         IN MX  10 mx1
equal       IN MX  10 mx1
equal       IN MX  10 mx2
mx1         IN A   192.0.2.1
            IN AAAA 2001:db8::1
mx2         IN A   192.0.2.2
            IN A   192.0.2.3
null        IN MX  0 .
nullplus    IN MX  0 .
nullplus    IN MX  10 mx1
implicit    IN A   192.0.2.9
implicit6   IN AAAA 2001:db8::9
empty       IN TXT "neither MX nor address"
lost        IN MX  10 nowhere
half        IN MX  10 nowhere
half        IN MX  20 mx1
noaddr      IN MX  10 empty
alias       IN CNAME two
aliasgone   IN CNAME nowhere
aliasmx     IN MX  10 mxalias
mxalias     IN CNAME mx1
loop1       IN CNAME loop2
loop2       IN CNAME loop1
badmx       IN MX  10 bad\\032name
dup         IN MX  10 mx1
dup         IN MX  30 mx1
txt         IN TXT "v=spf1 " "-all"
txt         IN TXT "other"
txtalias    IN CNAME txt
longtxt     IN TXT %s
%s
%s
""" % (
    " ".join('"%s"' % ("x" * 250) for _ in range(8)),
    "\n".join(f"many IN MX {i} m{i}\nm{i} IN A 198.51.100.{i % 250}" for i in range(150)),
    "\n".join(f"wide IN A 203.0.113.{i}" for i in range(100)),
)
REVERSE = """
$ORIGIN 2.0.192.in-addr.arpa.
$TTL 300
@  IN SOA ns.zone.test. hostmaster.zone.test. 1 3600 600 86400 60
   IN NS ns.zone.test.
1  IN PTR mx1.zone.test.
2  IN PTR mx1.zone.test.
3  IN PTR nowhere.zone.test.
3  IN PTR mx2.zone.test.
"""
REVERSE6 = """
$ORIGIN 8.b.d.0.1.0.0.2.ip6.arpa.
$TTL 300
@  IN SOA ns.zone.test. hostmaster.zone.test. 1 3600 600 86400 60
   IN NS ns.zone.test.
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 IN PTR mx1.zone.test.
"""

nsd = Nsd({"zone.test": ZONE, "2.0.192.in-addr.arpa": REVERSE, "8.b.d.0.1.0.0.2.ip6.arpa": REVERSE6})
CONF = f"""hostname mta.test
resolver {{ server 127.0.0.1:{nsd.port}; dnssec no; timeout 5s }}
"""
d = Drive("dnsd", CONF, peers=["smtp", "smtpd"])
serial = 0


def ask(message, **kw):
    global serial
    serial += 1
    d.send("smtp", message, req=serial, **kw)
    return d.expect("smtp", message.replace("query", "answer"), req=serial)


def mx(name, by_mx=True):
    return ask("mx_query", name=f"{name}.zone.test", mx=by_mx)


def hosts(answer):
    return [(h["pref"], h["name"].split(".")[0]) for h in answer["hosts"]]


a = mx("one")
tap.equal(a["status"], DNS_OK, "atk-G12: one MX")
tap.equal(hosts(a), [(10, "mx1")], "E3: its host")
tap.equal(a["hosts"][0]["v4"], ip("192.0.2.1"), "with its IPv4 address")
tap.equal(a["hosts"][0]["v6"], ip("2001:db8::1"), "J14: and its IPv6 address")
tap.ok(0 < a["ttl_s"] <= 300 and not a["secure"] and not a["implicit"], "time to live and marks")
a = mx("two")
tap.equal(hosts(a), [(10, "mx1"), (20, "mx2")], "S32: in the order of preference")
tap.equal(len(a["hosts"][1]["v4"]), 16, "all addresses of a host")
tap.equal(sorted(hosts(mx("equal"))), [(10, "mx1"), (10, "mx2")], "equal preferences")
tap.equal(mx("ONE")["status"], DNS_OK, "names are asked in any case")
a = mx("null")
tap.equal(a["status"], DNS_NULLMX, "S40: null MX")
tap.match(a["text"], r"null\.zone\.test does not accept mail \(nullMX\)", "S40: its text")
tap.equal(hosts(mx("nullplus")), [(10, "mx1")], "S40: a null MX beside others is ignored")
a = mx("implicit")
tap.ok(a["status"] == DNS_OK and a["implicit"], "S33: no MX, but an address")
tap.equal(hosts(a), [(0, "implicit")], "S33: the name itself stands in")
tap.equal(mx("implicit6")["hosts"][0]["v6"], ip("2001:db8::9"), "S33: also with IPv6 only")
a = mx("nowhere")
tap.equal(a["status"], DNS_NXDOMAIN, "atk-G12: NXDOMAIN")
tap.match(a["text"], "name=nowhere.zone.test type=MX: Host not found$", "in words that people know")
a = mx("empty")
tap.equal(a["status"], DNS_NODATA, "atk-G12: neither MX nor address")
a = mx("lost")
tap.equal(a["status"], DNS_NODATA, "S33: MX without any address, no fallback to the name")
tap.match(a["text"], "name=nowhere.zone.test type=A/AAAA", "its text names the host")
a = mx("half")
tap.equal([(h["name"][:3], h["status"]) for h in a["hosts"]],
          [("now", DNS_NXDOMAIN), ("mx1", DNS_OK)], "one host of two can be used")
tap.equal(mx("noaddr")["status"], DNS_NODATA, "MX to a name without address")
tap.equal(hosts(mx("alias")), [(10, "mx1"), (20, "mx2")], "S34: an alias of a domain is followed")
tap.equal(mx("aliasgone")["status"], DNS_NXDOMAIN, "S34: an alias to nowhere")
tap.equal(mx("aliasmx")["hosts"][0]["v4"], ip("192.0.2.1"), "S34: an MX that is an alias")
tap.equal(mx("loop1")["status"], DNS_TEMP, "atk-G10: a loop of aliases is deferred")
tap.equal(mx("badmx")["status"], DNS_NODATA, "an MX that is no host name")
tap.equal(hosts(mx("dup")), [(10, "mx1")], "a host named twice counts once, with its best preference")
a = mx("many")
tap.equal(len(a["hosts"]), 100, "atk-G10: at most 100 MX")
tap.equal(hosts(a)[99], (99, "m99"), "the most preferred ones")
tap.equal(len(mx("wide")["hosts"][0]["v4"]) // 8, 64, "atk-G10: at most 64 addresses")
a = ask("mx_query", name="elsewhere.test", mx=True)
tap.equal(a["status"], DNS_TEMP, "atk-G12: SERVFAIL is temporary")
tap.match(a["text"], "Host not found, try again$", "in words that people know")
a = mx("one", by_mx=False)
tap.ok(a["status"] == DNS_NODATA, "addresses only: a name with MX alone has none")
v4 = mx("mx2", by_mx=False)["hosts"][0]["v4"]
tap.equal(sorted([v4[:8], v4[8:]]), [ip("192.0.2.2"), ip("192.0.2.3")], "addresses only: all of them")
tap.equal(mx("nowhere", by_mx=False)["status"], DNS_NXDOMAIN, "addresses only: NXDOMAIN")
tap.equal(ask("mx_query", name="bad..name", mx=True)["status"], DNS_NXDOMAIN, "not a name")
tap.equal(ask("mx_query", name="x" * 64 + ".test", mx=True)["status"], DNS_NXDOMAIN, "label too long")

# PTR
def ptr(text):
    return ask("ptr_query", ip=ipaddress.ip_address(text).packed)


a = ptr("192.0.2.1")
tap.equal((a["status"], a["name"]), (DNS_OK, "mx1.zone.test"), "E1: a confirmed reverse name")
tap.equal(ptr("2001:db8::1")["name"], "mx1.zone.test", "J14: of IPv6")
tap.equal(ptr("::ffff:192.0.2.1")["name"], "mx1.zone.test", "of a mapped IPv4 address")
a = ptr("192.0.2.2")
tap.ok(a["name"] == "" and a["status"] != DNS_OK, "a name that does not lead back is not told")
tap.equal(ptr("192.0.2.3")["name"], "mx2.zone.test", "the one of several that leads back")
tap.equal(ptr("192.0.2.77")["status"], DNS_NXDOMAIN, "no reverse name")
tap.equal(ptr("127.8.9.1")["name"], "localhost", "loopback needs no look-up")
tap.equal(ptr("::1")["name"], "localhost", "nor that of IPv6")
tap.equal(ask("ptr_query", ip=b"abc")["status"], DNS_TEMP, "not an address")

# TXT
def txt(name):
    a = ask("txt_query", name=f"{name}.zone.test")
    return a["status"], sorted(bytes.fromhex(s["text"]).decode() for s in a["strings"])


tap.equal(txt("txt"), (DNS_OK, ["other", "v=spf1 -all"]), "G2: TXT, strings joined")
tap.equal(txt("txtalias"), (DNS_OK, ["other", "v=spf1 -all"]), "E7: TXT through CNAME")
tap.equal([len(s) for s in txt("longtxt")[1]], [2000], "a long TXT over TCP")
tap.equal(txt("one"), (DNS_NODATA, []), "no TXT")
tap.equal(txt("nowhere"), (DNS_NXDOMAIN, []), "no name")

# Many at once, from two processes; equal questions are asked once.
for i in range(500):
    d.send("smtp", "mx_query", req=10000 + i, name="burst.zone.test", mx=True)
    d.send("smtpd", "mx_query", req=20000 + i, name="burst.zone.test", mx=True)
good = sum(d.expect("smtp", "mx_answer", req=10000 + i)["status"] == DNS_NXDOMAIN
           for i in range(500))
good += sum(d.expect("smtpd", "mx_answer", req=20000 + i)["status"] == DNS_NXDOMAIN
            for i in range(500))
tap.equal(good, 1000, "each of many requests has its answer")

# A channel that goes away in the middle.
for i in range(50):
    d.send("smtpd", "mx_query", req=i, name=f"gone{i}.zone.test", mx=True)
d.close("smtpd")
tap.equal(mx("one")["status"], DNS_OK, "a peer that leaves with open questions does no harm")
d.peer("smtpd")
d.send("smtpd", "mx_query", req=777777, name="one.zone.test", mx=True)
tap.equal(d.expect("smtpd", "mx_answer", req=777777)["status"], DNS_OK, "and may come again")

# The same channel again, while the old one is open: it is replaced.
d.peer("smtp")
tap.equal(mx("one")["status"], DNS_OK, "a new channel replaces the old one")

# Another server by reload; the old resolver is given up with its cache.
quiet = silent_server()
d.configure(CONF.replace(str(nsd.port), str(quiet.getsockname()[1])).replace("5s", "2s"))
d.expect("master", "ready")
start = time.monotonic()
a = mx("one")
took = time.monotonic() - start
tap.equal(a["status"], DNS_TEMP, "a server that does not answer: temporary")
tap.ok(1.5 < took < 4, "within the time of the configuration", took)
d.configure(CONF)
d.expect("master", "ready")
tap.equal(mx("one")["status"], DNS_OK, "and back")
d.finish()
nsd.stop()
tap.done()
