#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Records and commands on a whole suite: settings at once and after kill -9, rotation, listeners, export and import,
a damaged database."""
import json
import os
import re
import shutil
import smtplib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

private_network()
ns = Nsd({"rcpt.test": "@ IN MX 10 mx\nmx IN A 127.0.0.2",
          "sender.test": "@ IN TXT \"none\"", "new.test": "@ IN TXT \"none\""})
sink = Sink("127.0.0.2", 25)
s = Suite(extra="published-addresses 192.0.2.7 2001:db8::25\n")


def login(secret, user="app1", port=None):
    """The reply code to AUTH."""
    with smtplib.SMTP_SSL("127.0.0.1", port or s.smtps, context=client_context(), timeout=30) as c:
        c.ehlo("client.test")
        try:
            return c.login(user, secret)[0]
        except smtplib.SMTPAuthenticationError as e:
            return e.smtp_code


# A4
s.mtactl("tenant", "add", "acme")
s.mtactl("domain", "add", "acme", "sender.test", "--verified")
secret = s.mtactl("key", "issue", "acme", "app1", json_rows=True)[0]["secret"]
tap.equal(login(secret), 535, "A4 a new tenant is off: its key is refused")
s.mtactl("tenant", "enable", "acme")
tap.equal(login(secret), 235, "A4 enabled: accepted")
s.mtactl("tenant", "add", "beta", "--enabled")
tap.equal(s.mtactl("tenant", "show", "beta", json_rows=True)[0]["enabled"], True, "A4 --enabled turns it on at once")

# Rotation
second = s.mtactl("key", "rotate", "app1", "--overlap=1h", json_rows=True)[0]["secret"]
tap.ok(second != secret, "A7 rotation gives another secret")
tap.equal(login(second), 235, "A7 the new secret works at once")
tap.equal(login(secret), 235, "A7 the former one, too, for the overlap")
shown = s.mtactl("key", "show", "app1").stdout + s.mtactl("key", "list").stdout + s.mtactl("export").stdout
tap.ok(secret not in shown and second not in shown, "A6 neither is shown again")
third = s.mtactl("key", "rotate", "app1", json_rows=True)[0]["secret"]
tap.equal((login(secret), login(second), login(third)), (535, 535, 235), "A7 without overlap former ones end at once")
secret = third

# Settings and the trail, across kill -9 of authd
s.mtactl("tenant", "set", "acme", "--quota-hour=9", "--networks=127.0.0.0/8,::1/128", "--header-from=tenant")
s.mtactl("key", "set", "app1", "--pattern=@sender", "--over-quota=reject", "--rights=send,future")
s.mtactl("domain", "set", "sender.test", "--rewrite=keep")
before = s.mtactl("export").stdout
(pid, _), = s.pids("authd")
os.kill(pid, 9)
wait_for(lambda: s.pids("authd") and s.pids("authd")[0][0] != pid, what="authd again")
wait_for(lambda: s.mtactl("export", check=False).returncode == 0, what="authd answers")
tap.equal(s.mtactl("export").stdout, before, "changes survive kill -9 of authd")
row = s.mtactl("tenant", "show", "acme", json_rows=True)[0]
tap.equal((row["quota_hour"], row["networks"], row["header_from"]), ("9", "127.0.0.0/8,::1/128", "tenant"),
          "A29 G18 A8 the settings of a tenant")
trail = s.mtactl("audit", "--tenant=acme", "--since=1h", json_rows=True)
tap.equal([r["change"] for r in trail][-3:], [
    "tenant acme: quota-hour=9 networks=127.0.0.0/8,::1/128 header-from=tenant",
    "key app1: rights=send,future pattern=@sender over-quota=reject", "domain sender.test: rewrite=keep"],
    "audit: what was changed")
tap.equal({(r["uid"], r["tenant"]) for r in trail}, {(os.getuid(), "acme")}, "audit: by whom")
tap.ok(s.wait_log(rf"admin uid={os.getuid()}: key app1: rights=send,future"), "changes are in the log")
s.mtactl("tenant", "set", "acme", "--quota-hour=default", "--header-from=default")
s.mtactl("key", "set", "app1", "--pattern=", "--rights=send")

# Bad input
whole = s.mtactl("export").stdout
for words in (("tenant", "set", "acme", "--networks=192.0.2.1/24"), ("tenant", "set", "acme", "--quota-hour=10x"),
              ("tenant", "set", "nobody", "--quota-hour=1"), ("key", "issue", "acme", "app1"),
              ("key", "issue", "nobody", "app2"), ("key", "set", "app1", "--rights=all"), ("key", "rotate", "nobody"),
              ("domain", "set", "sender.test", "--rewrite=@"), ("domain", "set", "other.test", "--hosted=yes"),
              ("tenant", "set", "acme"), ("audit", "--since=never"), ("listener", "pause", "127.0.0.1:1")):
    r = s.mtactl(*words, check=False)
    tap.ok(r.returncode == 2 and r.stderr.count("\n") == 1 and r.stdout == "", "bad input: " + " ".join(words), r)
tap.equal(s.mtactl("export").stdout, whole, "bad input changes nothing")

# What to publish
zone = s.mtactl("domain", "records", "sender.test", "--zone").stdout
tap.ok(f'sender.test. IN TXT "v=spf1 include:_spf.' in zone and '"v=spf1 ip4:192.0.2.7 ip6:2001:db8::25 ~all"' in zone,
       "A11 G9 both forms of SPF", zone)
tap.ok("7.2.0.192.in-addr.arpa. IN PTR " in zone and "_dmarc.sender.test. IN TXT" in zone and "IN MX 10 " in zone,
       "G9 G10 G12 PTR, DMARC and MX", zone)
s.mtactl("dkim", "new", "sender.test", "--selector=s1")
s.mtactl("dkim", "new", "sender.test", "--selector=s2", "--algorithm=ed25519-sha256")
records = {r["name"]: r["value"] for r in s.mtactl("domain", "records", "sender.test", json_rows=True) if r["record"] == "dkim"}
tap.equal(sorted(records), ["s1._domainkey.sender.test", "s2._domainkey.sender.test"], "G9 the DKIM records")
zone = s.mtactl("domain", "records", "sender.test", "--selector=s1", "--zone").stdout
strings = re.search(r"s1\._domainkey\.sender\.test\. IN TXT \( (.*) \)", zone).group(1)
tap.ok("".join(re.findall(r'"([^"]*)"', strings)) == records["s1._domainkey.sender.test"] and "s2._domainkey" not in zone,
       "G9 a long one is split into strings", zone)
pending = s.mtactl("domain", "add", "acme", "new.test", json_rows=True)[0]
tap.ok(f'{pending["txt_name"]}. IN TXT "{pending["txt_value"]}"' in s.mtactl("domain", "records", "new.test", "--zone").stdout,
       "G2 the verification record")
tap.equal(s.mtactl("domain", "verify", "new.test", check=False).returncode, 1, "G2 not published: not verified")
rows = s.mtactl("spf", "sender.test", json_rows=True)
tap.equal([r["record"] for r in rows][:3], ["spf", "spf-narrow", "spf-included"], "A11 mtactl spf")

# A10: one address is closed, the other is not disturbed
first, other = f"127.0.0.1:{s.submission}", f"127.0.0.1:{s.smtps}"
idle = smtplib.SMTP("127.0.0.1", s.submission, timeout=30, local_hostname="client.test")
idle.ehlo()
beside = smtplib.SMTP_SSL("127.0.0.1", s.smtps, context=client_context(), timeout=30)
beside.ehlo()


def greeting():
    try:
        with smtplib.SMTP("127.0.0.1", s.submission, timeout=30) as c:
            return c.noop()[0]
    except smtplib.SMTPConnectError as e:
        return e.smtp_code


s.mtactl("listener", "pause", first)
wait_for(lambda: greeting() == 421, what="421")
tap.equal([greeting() for _ in range(8)], [421] * 8, "A10 paused: new clients get 421, whichever process takes them")
tap.equal(idle.noop()[0], 250, "A10 paused: sessions go on")
tap.equal((login(secret), beside.noop()[0]), (235, 250), "A10 the other address is not disturbed")
states = {r["address"]: r["state"] for r in s.mtactl("listener", "list", json_rows=True)}
tap.equal((states[first], states[other]), ("paused", "open"), "A10 listener list")
tap.ok(any(r.get("address") == first and r["state"] == "paused" for r in s.mtactl("status", json_rows=True)),
       "A10 status shows it")
s.mtactl("reload")
tap.equal([greeting() for _ in range(8)], [421] * 8, "A10 survives a reload")
(victim, _), *rest = s.pids("smtpd")
os.kill(victim, 9)
wait_for(lambda: len(s.pids("smtpd")) == 1 + len(rest) and all(p != victim for p, _ in s.pids("smtpd")), what="smtpd again")
wait_for(lambda: all(r["state"] == "ready" for r in s.mtactl("status", json_rows=True) if r.get("role")), what="ready")
tap.equal([greeting() for _ in range(8)], [421] * 8, "A10 survives a crash of smtpd")
s.mtactl("listener", "resume", first)
wait_for(lambda: greeting() == 250, what="250")
tap.equal([greeting() for _ in range(8)], [250] * 8, "A10 resumed")
idle = smtplib.SMTP("127.0.0.1", s.submission, timeout=30, local_hostname="client.test")
idle.ehlo()
busy = smtplib.SMTP("127.0.0.1", s.submission, timeout=30, local_hostname="client.test")
busy.starttls(context=client_context())
busy.login("app1", secret)
busy.mail("a@sender.test")
s.mtactl("listener", "drain", first)
tap.equal(idle.sock and idle.getreply()[0], 421, "A10 drained: an idle session ends with 421")
tap.equal((busy.rcpt("b@rcpt.test")[0], busy.data(mail())[0]), (250, 250), "A10 drained: a message under way is taken")
tap.equal(busy.getreply()[0], 421, "A10 and its session ends behind it")
tap.equal(login(secret), 235, "A10 the other address is not disturbed")
s.mtactl("listener", "resume", first)
wait_for(lambda: greeting() == 250, what="250")
tap.ok(s.wait_log(rf"listener {first} drained by user \d+"), "A10 it is in the log")

# Export, damage, restore
backup = os.path.join(s.dir, "backup.jsonl")
with open(backup, "w") as f:
    f.write(s.mtactl("export").stdout)
types = [json.loads(line)["type"] for line in open(backup)]
tap.equal(types, sorted(types, key=["tenant", "key", "domain"].index), "an export is JSON lines")
r = s.mtactl("import", backup, "--dry-run")
tap.match(r.stdout, r"^2 tenants, 1 keys, 2 domains would be imported$", "import --dry-run")
s.stop()
state = os.path.join(s.dir, "state", "authd")
with open(f"{state}/keys.db", "r+b") as f:
    f.seek(4096 + 1500)
    f.write(b"damage")
s.start()
tap.equal(login(secret), 454, "a damaged policy database: AUTH gets 454")
tap.ok(s.wait_log(r"authd\[\d+\]: error: the policy database is damaged.*keys.*checksum"), "authd says which file", s.log()[-2000:])
r = s.mtactl("tenant", "list", check=False)
tap.ok(r.returncode == 1 and "keys" in r.stderr, "commands say it, too", r)
restarts = [p["restarts"] for p in s.mtactl("status", json_rows=True) if p.get("role") == "authd"]
tap.equal(restarts, [0], "authd is not started again and again")
r = s.mtactl("--offline", "import", backup, check=False)
tap.ok(r.returncode == 1, "nothing is imported while authd holds it", r)
s.stop()
r = s.mtactl("--offline", "import", backup, check=False)
tap.ok(r.returncode == 1 and "checksum" in r.stderr, "nor into the damaged one", r)
shutil.move(state, state + ".damaged")
r = s.mtactl("--offline", "import", backup)
tap.equal(r.returncode, 0, "mtactl --offline import into a fresh database")
tap.equal(s.mtactl("--offline", "export").stdout, open(backup).read(), "the round trip is equal")
s.start()
tap.equal(login(secret), 235, "restored: the key is good again")
tap.equal(submit(s, secret)[0], 250, "and mail flows")
s.stop()
tap.done()
