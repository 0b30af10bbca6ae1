#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""relayhost with STARTTLS and AUTH, transport maps, large messages, many recipients, a second hop of our own."""
import os
import re
import smtplib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

private_network()
ns = Nsd({"mapped.test": "@ IN MX 10 mx\nmx IN A 127.0.0.2"})
crt = make_certificate("smart.test")
smart = Sink("127.0.0.5", 587, tls=crt, auth=("us", "s3cret:with:colons"))
mapped = Sink("127.0.0.6", 2525)
secret_file = os.path.join(folder(), "relay.secret")
with open(secret_file, "w") as f:
    f.write("s3cret:with:colons\n")
os.chmod(secret_file, 0o600)
table = os.path.join(folder(), "transport")
with open(table, "w") as f:
    f.write("# routes\nmapped.test [127.0.0.6]:2525\n.sub.test [127.0.0.6]:2525\n")
s = Suite(extra=f"""
relayhost [127.0.0.5]:587
relay-user us
relay-secret {secret_file}
transport text:{table}
retry {{ method linear; a 1; period 600; }}
""")
secret = s.tenant()

tap.equal(submit(s, secret, rcpts=("any@where.test",))[0], 250, "accepted")
m = smart.wait(1)[0]
tap.ok(m["tls"] and m["auth"] == "us", "E8 relayhost: STARTTLS, then AUTH with a secret that holds colons")
submit(s, secret, rcpts=("x@mapped.test",))
m = mapped.wait(1)[0]
tap.equal(m["rcpts"], ["x@mapped.test"], "J8 the transport map wins over relayhost and MX")

# Sizes around the inline limit and the message limit
for size in (0, 1, 60_000, 1_000_000, 1_048_576, 1_100_000, 5_000_000):
    body = ("0123456789abcdef" * 4 + "\r\n") * (size // 66) + "e" * (size % 66) + "\r\n"
    data = mail(subject=f"s{size}", body=body)
    n = len(smart.messages)
    code, text = submit(s, secret, rcpts=("big@where.test",), data=data)
    tap.equal(code, 250, f"G20 a message of {len(data)} bytes is accepted")
    got = smart.wait(n + 1, 30)[n]["data"]
    tap.ok(got.split(b"\r\n", 1)[1].endswith(data.encode()) or got.endswith(data.encode()),
           f"A24 {len(data)} bytes arrive unchanged", f"{len(got)} bytes")
head = mail(subject="limit", body="")
limit = 10485760
fill = limit - len(head)
body = ("x" * 98 + "\r\n") * (fill // 100)
body += "y" * (fill - len(body) - 2) + "\r\n"
n = len(smart.messages)
code, text = submit(s, secret, rcpts=("big@where.test",), data=head + body)
tap.equal((len(head + body), code), (limit, 250), "G20 10,485,760 bytes pass")
smart.wait(n + 1, 60)
code, text = submit(s, secret, rcpts=("big@where.test",), data=head + "z" + body)
tap.ok(code == 552 and text.startswith("5.3.4"), "G20 one more byte -> 552 5.3.4", (code, text))

# Many recipients
n = len(smart.messages)
rcpts = [f"r{i}@where.test" for i in range(250)]
code, text = submit(s, secret, rcpts=rcpts)
tap.equal(code, 250, "S22 250 recipients in one transaction")
wait_for(lambda: sum(len(m["rcpts"]) for m in smart.messages[n:]) >= 250, 30, "250 recipients")
got = [r for m in smart.messages[n:] for r in m["rcpts"]]
tap.equal(sorted(got), sorted(rcpts), "G7 each recipient exactly once")
tap.equal(max(len(m["rcpts"]) for m in smart.messages[n:]), 100, "J5 at most 100 recipients a transaction")

# The smarthost refuses our secret: temporary, nothing is lost
bad = smart.auth
smart.auth = ("us", "changed")
smart.reply = lambda stage, arg, session: None
s.mtactl("reload")
code, text = submit(s, secret, rcpts=("auth@where.test",), subject="authfail")
qid = text.split()[-1]
n = len(smart.messages)
for c in range(40):
    if s.wait_log(rf"{qid}: to=<auth@where\.test>.*status=deferred", 0.5):
        break
    if any(m["rcpts"] == ["auth@where.test"] for m in smart.messages):
        break
smart.auth = bad
wait_for(lambda: any(m["rcpts"] == ["auth@where.test"] for m in smart.messages), 30, "delivery after AUTH works")
tap.ok(True, "A05 a refused AUTH at the smarthost is retried, never lost")
tap.equal(s.stop(), 0, "stop")
tap.done()
