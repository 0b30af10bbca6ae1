#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""dnsd validates: a signed zone with its own trust anchor, sound and damaged. atk-G11, X01."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../smtp"))
from drive import *  # noqa: E402,F403
from nsd import Nsd  # noqa: E402

if shutil.which("ldns-signzone") is None:
    skip_all("ldns-signzone is not installed")

ZONE = """$ORIGIN signed.test.
$TTL 300
@     IN SOA ns hostmaster 1 3600 600 86400 60
      IN NS  ns
ns    IN A   127.0.0.1
mail  IN MX  10 mx1
mx1   IN A   192.0.2.1
mx2   IN A   192.0.2.2
bad   IN MX  10 mx2
"""
work = tempfile.mkdtemp(prefix="ekiden-dnssec-")


def sign():
    """The signed zone as text, and the DS record of its key."""
    with open(os.path.join(work, "zone"), "w") as f:
        f.write(ZONE)
    run = {"cwd": work, "check": True, "capture_output": True, "text": True}
    key = subprocess.run(["ldns-keygen", "-k", "-r", "/dev/urandom", "-a", "ECDSAP256SHA256",
                          "signed.test"], **run).stdout.strip()
    subprocess.run(["ldns-signzone", "-o", "signed.test", "zone", key], **run)
    with open(os.path.join(work, "zone.signed")) as f:
        signed = f.read()
    with open(os.path.join(work, key + ".ds")) as f:
        return signed, f.read()


signed, ds = sign()
shutil.rmtree(work)
# The address of mx2 is changed behind its signature's back.
damaged = re.sub(r"^(mx2\.signed\.test\.\s+\d+\s+IN\s+A\s+)192\.0\.2\.2", r"\g<1>192.0.2.66", signed,
                 flags=re.M)
assert damaged != signed
plain = "$ORIGIN plain.test.\n$TTL 60\n@ SOA ns h 1 2 3 4 5\n NS ns\nns A 127.0.0.1\n@ MX 1 ns\n"
nsd = Nsd({"signed.test": damaged, "plain.test": plain})
CONF = f"hostname mta.test\nresolver {{ server 127.0.0.1:{nsd.port}; dnssec yes; timeout 10s }}\n"
anchor = "; the anchor of a test\n\n" + ds
d = Drive("dnsd", CONF, material=[("anchor", {"memfd": anchor})], peers=["smtp"])
serial = 0


def mx(name, by_mx=True):
    global serial
    serial += 1
    d.send("smtp", "mx_query", req=serial, name=name, mx=by_mx)
    return d.expect("smtp", "mx_answer", req=serial)


a = mx("mail.signed.test")
tap.equal(a["status"], DNS_OK, "a signed answer")
tap.ok(a["secure"] and a["hosts"][0]["secure"], "X01: MX and address are marked secure")
a = mx("bad.signed.test")
tap.equal(a["status"], DNS_BOGUS, "atk-G11: an address that was changed is refused")
tap.match(a["text"], "DNSSEC validation failed", "and the text says why")
a = mx("gone.signed.test")
tap.ok(a["status"] == DNS_NXDOMAIN, "a signed denial")
a = mx("plain.test")
tap.ok(a["status"] == DNS_OK and not a["secure"] and not a["hosts"][0]["secure"],
       "an unsigned zone is usable and unmarked")

# No check at all.
d.configure(CONF.replace("dnssec yes", "dnssec no"), material=[("anchor", {"memfd": anchor})])
d.expect("master", "ready")
a = mx("bad.signed.test")
tap.ok(a["status"] == DNS_OK and not a["secure"], "without dnssec nothing is checked, nothing marked")

# The servers of the host's resolv.conf: used, but never the reason to stop mail.
conf = "hostname mta.test\nresolver { dnssec yes; timeout 3s }\n"
d.configure(conf, material=[("anchor", {"memfd": anchor}),
                            ("nameservers", {"memfd": "# comment\nsearch test\n"
                                             "nameserver 127.0.0.1\nnameserver\t::1\n"})])
d.expect("master", "ready")
tap.ok(d.alive(), "a resolv.conf is read")
# A broken anchor is refused, the old configuration stays.
d.configure(CONF, material=[("anchor", {"memfd": "this is no record\n"})])
tap.match(d.expect("master", "refused")["why"], "root key", "a broken anchor refuses the configuration")
tap.ok(d.alive(), "and the process goes on")
d.finish()
nsd.stop()
tap.done()
